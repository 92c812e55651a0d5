"""Example for HAProxy: valid, and phones are carried as the gateway needs it."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import pytest

from gateway.app.cli.demo import ChildProcess
from gateway.app.config.settings import LimitsSection
from gateway.core.rate_limits import BEYOND_PART, LOG_ON_PART
from tests.app import certificates
from tests.deploy.behind_proxy import (
    OFFICE,
    TRIES,
    Front,
    ProxiedNodes,
    knock_too_often,
    let_an_office_on,
    log_on,
    lose_all_nodes,
    proxied_nodes,
    stand_in,
    tell_the_story,
)
from tests.deploy.expressions import alerts
from tests.deploy.programs import DEPLOY, ask, machine
from tests.doubles.servers import until

FILE = DEPLOY / "haproxy" / "haproxy.cfg"


def proxy(made: Front, **more: str) -> ChildProcess:
    first, second = made.ports
    environ = {
        "OSCC_BIND": f"127.0.0.1:{made.port}",
        "OSCC_WATCH_BIND": f"127.0.0.1:{made.watch_port}",
        "OSCC_CERTIFICATE": str(made.folder / "both.pem"),
        "OSCC_NODE_1": f"127.0.0.1:{first['client']}",
        "OSCC_NODE_1_OPS": str(first["ops"]),
        "OSCC_NODE_2": f"127.0.0.1:{second['client']}",
        "OSCC_NODE_2_OPS": str(second["ops"]),
        "OSCC_MAXCONN": "1000",
        **more,
    }
    command = (machine("haproxy"), "-db", "-f", str(FILE))
    return ChildProcess("haproxy", command, made.folder / "haproxy.log", {**os.environ, **environ})


def checked(folder: Path, text: str) -> tuple[int, str]:
    """Return what HAProxy says about a configuration of *text*."""
    certificate, key = certificates.make(folder)
    both = folder / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    file = folder / "haproxy.cfg"
    file.write_text(text.replace('"/etc/haproxy/oscc-gateway.pem"', f'"{both}"'), "utf-8")
    return ask(machine("haproxy"), "-c", "-f", file)


def test_haproxy_takes_it_without_a_warning(tmp_path: Path) -> None:
    assert checked(tmp_path, FILE.read_text("utf-8")) == (0, "")


def test_haproxy_would_report_a_fault(tmp_path: Path) -> None:
    code, text = checked(tmp_path, FILE.read_text("utf-8").replace("balance leastconn", "balance leastcon"))
    assert code != 0
    assert "balance" in text


def seconds(pattern: str) -> float:
    found = re.search(pattern, FILE.read_text("utf-8"), re.MULTILINE)
    assert found is not None, pattern
    return float(found[1])


def test_a_node_that_leaves_is_seen_before_it_sends_its_phones_away() -> None:
    looks = seconds(r"default-server check inter (\d+)s") * seconds(r"fall (\d+)")
    assert looks + seconds(r"timeout check (\d+)s") < LimitsSection().drain_notice_s


def test_phones_outlive_its_timeouts() -> None:
    assert seconds(r"timeout tunnel (\d+)h") * 3600 > 2 * 55  # the longest ping_s


def test_one_neighbourhood_cannot_use_up_what_a_site_takes() -> None:
    at_once = seconds(r'presetenv OSCC_LOG_ONS +"(\d+)"')
    # so much of a site's budget one network may use whose passwords are right
    assert at_once / 10 < LimitsSection().log_ons_per_s * LOG_ON_PART * (1 + BEYOND_PART)


async def test_a_path_in_another_spelling_is_counted_too(tmp_path: Path) -> None:
    async with stand_in(tmp_path, partial(proxy, OSCC_LOG_ONS="5")) as made:
        statuses = {(await log_on(made, "/v1/%73ess%69ons"))[0] for _ in range(TRIES)}
        assert statuses == {201, 429}


async def test_refusals_are_counted_as_the_alert_asks(tmp_path: Path) -> None:
    named = re.search(r"haproxy_\w+\{[^}]+\}", alerts()["OsccGatewayProxyRefuses"]["expr"])
    assert named is not None
    async with stand_in(tmp_path, partial(proxy, OSCC_LOG_ONS="5")) as made:

        async def counted() -> int:
            async with made.http.get(f"http://127.0.0.1:{made.watch_port}/metrics") as answer:
                lines = (await answer.text()).splitlines()
            (count,) = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{named[0]} ")]
            return int(count)

        assert await counted() == 0
        statuses = [(await log_on(made))[0] for _ in range(TRIES)]
        assert await counted() == statuses.count(429) > 0


async def test_who_lists_sessions_is_no_log_on(tmp_path: Path) -> None:
    async with stand_in(tmp_path, partial(proxy, OSCC_LOG_ONS="5")) as made:

        async def listed() -> int:
            async with made.http.get(f"{made.url}/v1/sessions", ssl=made.tls) as answer:
                return answer.status

        nowhere = 405
        assert {await listed() for _ in range(TRIES)} == {nowhere}
        assert {(await log_on(made))[0] for _ in range(TRIES)} == {201, 429}
        assert await listed() == nowhere


@pytest.mark.scenario
async def test_an_office_behind_one_address_gets_in(tmp_path: Path) -> None:
    async with stand_in(tmp_path, proxy) as made:
        # appointments are kept: hardly anybody is refused twice
        assert await let_an_office_on(made) <= 2 * OFFICE


@pytest.mark.scenario
@pytest.mark.takes(6)
async def test_phones_live_behind_it(tmp_path: Path) -> None:
    async with proxied_nodes(tmp_path, proxy) as made:
        await tell_the_story(made, looks_at_readyz=True)
        assert "203.0.113" not in (log := (tmp_path / "haproxy.log").read_text("utf-8"))
        assert "127.0.0.1" not in log


@pytest.mark.scenario
async def test_crowds_are_held_off_and_an_empty_house_is_reported(tmp_path: Path) -> None:
    async with proxied_nodes(tmp_path, proxy) as made:
        await knock_too_often(made)
        assert await _health(made) == 200
        async with made.http.get(f"http://127.0.0.1:{made.watch_port}/metrics") as answer:
            assert "haproxy_server_status" in await answer.text()
        await lose_all_nodes(made)

        async def is_reported() -> bool:
            return await _health(made) == 503

        await until(is_reported, "nobody says inside that no node is ready")


async def _health(made: ProxiedNodes) -> int:
    async with made.http.get(f"http://127.0.0.1:{made.watch_port}/healthz") as answer:
        return answer.status
