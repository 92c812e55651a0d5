"""Example for nginx: valid, and phones are carried as the gateway needs it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from gateway.app.cli.demo import ChildProcess
from gateway.app.config.settings import LimitsSection
from gateway.core.rate_limits import BEYOND_PART, LOG_ON_PART
from tests.app import certificates
from tests.deploy.behind_proxy import (
    TRIES,
    Front,
    in_front,
    knock_too_often,
    let_an_office_on,
    log_on,
    lose_all_nodes,
    proxied_nodes,
    stand_in,
    tell_the_story,
)
from tests.deploy.programs import DEPLOY, ask, machine
from tests.doubles.servers import free_port

FILE = DEPLOY / "nginx" / "nginx.conf"


def placed(folder: Path, changes: Mapping[str, str]) -> str:
    """Return the example with what an operator changes, and some files elsewhere."""
    text = FILE.read_text("utf-8")
    usual = {
        "pid /run/nginx.pid;": f"pid {folder}/nginx.pid;",
        "/etc/nginx/oscc-gateway.crt": str(folder / "server.crt"),
        "/etc/nginx/oscc-gateway.key": str(folder / "server.key"),
        "worker_rlimit_nofile 131072;": "",
        "worker_connections 32768;": "worker_connections 1000;",
        "http {": f"http {{\n    client_body_temp_path {folder}/body;\n    proxy_temp_path {folder}/proxy;\n"
        f"    fastcgi_temp_path {folder}/f;\n    uwsgi_temp_path {folder}/u;\n    scgi_temp_path {folder}/s;",
    }
    for old, new in {**usual, **changes}.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def proxy(made: Front, more: Mapping[str, str] | None = None) -> ChildProcess:
    first, second = made.ports
    changes = {
        **(more or {}),
        "listen 443 ssl;": f"listen 127.0.0.1:{made.port} ssl;",
        "    listen [::]:443 ssl;": "",
        "listen 127.0.0.1:8404;": f"listen 127.0.0.1:{made.watch_port};",
        "127.0.0.1:8080 ": f"127.0.0.1:{first['client']} ",
        "127.0.0.1:8081 ": f"127.0.0.1:{second['client']} ",
        "127.0.0.1:9090 ": f"127.0.0.1:{first['ops']} ",
        "127.0.0.1:9190 ": f"127.0.0.1:{second['ops']} ",
        "worker_processes auto;": "worker_processes 1;",
    }
    file = made.folder / "nginx.conf"
    file.write_text(placed(made.folder, changes), "utf-8")
    command = (machine("nginx"), "-c", str(file), "-e", "stderr", "-g", "daemon off; master_process off;")
    return ChildProcess("nginx", command, made.folder / "nginx.log")


def checked(folder: Path, changes: Mapping[str, str]) -> tuple[int, str]:
    """Return what nginx says about the example with *changes*."""
    certificates.make(folder)
    file = folder / "nginx.conf"
    file.write_text(placed(folder, changes), "utf-8")
    return ask(machine("nginx"), "-t", "-q", "-e", "stderr", "-c", file)


def test_nginx_takes_it_without_a_warning(tmp_path: Path) -> None:
    assert checked(tmp_path, {}) == (0, "")


def test_nginx_would_report_a_fault(tmp_path: Path) -> None:
    code, text = checked(tmp_path, {"least_conn;": "least_con;"})
    assert code != 0
    assert 'unknown directive "least_con"' in text


def test_phones_outlive_its_timeouts_and_nothing_is_held_back() -> None:
    text = FILE.read_text("utf-8")
    realtime = text[text.index("location = /v1/realtime") :].partition("}")[0]
    hours = re.findall(r"proxy_(?:read|send)_timeout (\d+)h;", realtime)
    assert [int(one) * 3600 > 2 * 55 for one in hours] == [True, True]  # 55 s: the longest ping_s
    assert "proxy_buffering off;" in text


def test_headers_of_the_realtime_door_are_those_of_all() -> None:
    text = FILE.read_text("utf-8")
    server, realtime = text.split("location = /v1/realtime", 1)
    headers = [set(re.findall(r"proxy_set_header (\S+) (.*);", part)) for part in (server, realtime)]
    ours = {(name, value) for name, value in headers[0] if name != "Connection"}
    assert ours
    # a location with headers of its own inherits none
    assert ours <= headers[1]


def test_one_neighbourhood_cannot_use_up_what_a_site_takes() -> None:
    found = re.search(r"zone=log_ons:16m +rate=(\d+)r/s;", FILE.read_text("utf-8"))
    assert found is not None
    # so much of a site's budget one network may use whose passwords are right
    assert float(found[1]) < LimitsSection().log_ons_per_s * LOG_ON_PART * (1 + BEYOND_PART)


def strict(made: Front) -> ChildProcess:
    """Let few log-ons through, and let a header of the test say where a connection comes from."""
    believed = "    set_real_ip_from 127.0.0.1;\n    real_ip_header X-Test-From;\n"
    changes = {
        "    access_log off;\n": f"    access_log off;\n{believed}",
        "rate=14r/s": "rate=1r/m",
        "burst=80 ": "burst=5 ",
    }
    return proxy(made, changes)


NETWORKS = (
    ("2001:db8:1:2:{:x}:0:0:1", "2001:db8:1:3::1"),
    ("2001:db8::{:x}:1:2:3", "2001:db8:0:1::1"),
    ("2001:db8::7:{:x}:1:2:3", "2001:db8:0:8::1"),
    ("2001:0:0:a::{:x}", "2001:0:0:d::1"),
    ("a0a:a0a:a0a:a0a::{:x}", "a0a:a0a:a0a:a0b::1"),
)
"""How the addresses of a network are written, and one beside it."""


async def test_a_network_is_one_neighbourhood_however_its_addresses_are_written(tmp_path: Path) -> None:
    async with stand_in(tmp_path, strict) as made:

        async def answered(address: str) -> int:
            return (await log_on(made, headers={"X-Test-From": address}))[0]

        for network, beside in NETWORKS:
            statuses = {await answered(network.format(number + 1)) for number in range(TRIES)}
            assert (statuses, await answered(beside)) == ({201, 429}, 201), network
        assert {(await log_on(made, "/v1/%73ess%69ons"))[0] for _ in range(TRIES)} == {201, 429}, (
            "other spelling"
        )
    log = (tmp_path / "nginx.log").read_text("utf-8")
    assert "client:" not in log, "a refusal is logged with the full address of the client"


@pytest.mark.scenario
@pytest.mark.takes(15)
async def test_an_office_behind_one_address_gets_in(tmp_path: Path) -> None:
    async with stand_in(tmp_path, proxy) as made:
        await let_an_office_on(made)


@pytest.mark.scenario
@pytest.mark.takes(7)
async def test_phones_live_behind_it(tmp_path: Path) -> None:
    async with proxied_nodes(tmp_path, proxy) as made:
        await tell_the_story(made, looks_at_readyz=False)


@pytest.mark.scenario
async def test_crowds_are_held_off_and_an_empty_house_is_reported(tmp_path: Path) -> None:
    async with proxied_nodes(tmp_path, proxy) as made:
        await knock_too_often(made)
        async with made.http.get(f"http://127.0.0.1:{made.watch_port}/readyz") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
        await lose_all_nodes(made)
        async with made.http.get(f"http://127.0.0.1:{made.watch_port}/readyz") as answer:
            assert answer.status == 502


async def test_a_node_that_was_away_is_given_all_phones_at_once(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http, AsyncExitStack() as stack:
        ports = [{"client": free_port(), "ops": free_port()} for _ in range(2)]
        served = await asyncio.start_server(_upgraded, "127.0.0.1", ports[0]["client"])
        made = await stack.enter_async_context(in_front(tmp_path, http, ports, proxy))
        served.close()
        await served.wait_closed()
        assert [await _phone(made, stack) for _ in range(4)] == [503] * 4
        served = await asyncio.start_server(_upgraded, "127.0.0.1", ports[0]["client"])
        stack.callback(served.close)
        assert [await _phone(made, stack) for _ in range(20)] == [101] * 20


async def _upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asked = await reader.readuntil(b"\r\n\r\n")
    if b"/v1/about" in asked:  # the proxy is looked for
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        return
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    await reader.read()
    writer.close()


async def _phone(made: Front, stack: AsyncExitStack) -> int:
    """Connect as a phone does, and stay; returns the status of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", made.port, ssl=made.tls)
    stack.callback(writer.close)
    writer.write(
        b"GET /v1/realtime HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with asyncio.timeout(10):
        line = await reader.readline()
    return int(line.split()[1])
