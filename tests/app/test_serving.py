"""``serve``: starts from the smallest file, and ends cleanly."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from gateway.app import cli as command_line
from gateway.app import wiring
from gateway.app.cli import main
from gateway.simulator import Simulator, SimulatorSettings
from tests.app.processes import ENDED_WITHIN_S, environ_of, run, running
from tests.app.samples import ANY_PORT, KEY, LOG_ON, OTHER_KEY, SECRET, SMALLEST, write
from tests.doubles.servers import free_port, redis_server, until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_smallest_file_starts_and_a_signal_ends_it_well(tmp_path: Path, number: signal.Signals) -> None:
    path = write(tmp_path, SECRET if number is signal.SIGINT else SMALLEST)
    with running("serve", "--config", str(path), environ=ANY_PORT) as process:
        line = json.loads(process.until('"listener": "client"'))
        with urllib.request.urlopen(f"http://127.0.0.1:{line['port']}/v1/about") as answer:
            assert json.load(answer)["sites"][0]["id"] == "main"
        ended = process.end(number)
    assert (ended.code, ended.err) == (0, "")
    lines = [json.loads(each) for each in ended.out.splitlines()]
    assert len({each.get("node") for each in lines}) == 1, "also those before the node is made"
    assert lines[0]["node"]
    events = [each["event"] for each in lines]
    assert events[-2:] == ["drain_started", "stopped"]
    made_own = "secrets_generated"
    assert (made_own in events) == (number is signal.SIGTERM)
    assert KEY not in ended.out
    assert OTHER_KEY not in ended.out


@pytest.mark.parametrize(("connections", "is_low"), [(1_000_000, True), (10, False)])
def test_too_few_descriptors_for_the_phones_are_a_warning(
    tmp_path: Path, connections: int, is_low: bool
) -> None:
    path = write(tmp_path, f"{SECRET}[limits]\nconnections = {connections}\n")
    with running("serve", "--config", str(path), environ=ANY_PORT) as process:
        process.until('"listener": "client"')
        ended = process.end(signal.SIGTERM)
    lines = [json.loads(each) for each in ended.out.splitlines()]
    found = [(line["level"], line["needed"]) for line in lines if line["event"] == "file_limit_low"]
    assert found == ([("warning", 2_000_200)] if is_low else [])


def test_a_node_whose_standard_output_is_closed_ends_well(tmp_path: Path) -> None:
    serve = (sys.executable, "-m", "gateway", "serve", "--config", str(write(tmp_path, SMALLEST)))
    closed = ("sh", "-c", 'exec "$@" >&-', "sh", *serve)
    with subprocess.Popen(closed, stderr=subprocess.PIPE, text=True, env=environ_of(ANY_PORT)) as process:
        assert process.stderr is not None
        try:
            assert any('"listener": "client"' in line for line in process.stderr)
            process.terminate()
            process.stderr.read()
            assert process.wait(ENDED_WITHIN_S) == 0
        finally:
            process.kill()


def test_a_configuration_that_cannot_be_used_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, SMALLEST.replace("memory://", "redis://user:canary@host"))
    assert main(["serve", "--config", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "oscc-gateway: [secrets] is missing" in shown.err
    assert "canary" not in shown.err


def test_files_that_cannot_be_used_start_nothing(
    tmp_path: Path, own_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, SMALLEST + '[notices]\nfiles = ["none.toml"]\n')
    assert main(["serve", "--config", str(path)]) == 2
    assert f"oscc-gateway: Notice {tmp_path}/none.toml cannot be read" in capsys.readouterr().err


def test_a_taken_port_is_reported(
    tmp_path: Path, own_logging: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name, value in {**ANY_PORT, "OSCC_GATEWAY__OPS__PORT": str(port)}.items():
            monkeypatch.setenv(name, value)
        assert main(["serve", "--config", str(write(tmp_path, SMALLEST))]) == 1
    assert capsys.readouterr().err == (
        f"oscc-gateway: The ops listener cannot listen at 127.0.0.1 port {port}: address already in use.\n"
    )


def test_a_fault_of_ours_shows_type_and_place_only(
    tmp_path: Path, own_logging: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(wiring, "serving", fail)
    args = argparse.Namespace(config=write(tmp_path, SMALLEST))
    assert command_line.run_serve(args) == 1
    shown = capsys.readouterr()
    assert '"error": "RuntimeError"' in shown.out
    assert "canary" not in shown.out + shown.err


# ---- one of many ----


@pytest.mark.takes(15)
async def test_a_node_with_a_wrong_password_is_not_ready_and_says_whom_it_does_not_reach(
    tmp_path: Path,
) -> None:
    ports = {f"OSCC_GATEWAY__{name}__PORT": str(free_port()) for name in ("CLIENT", "OPS", "ADMIN")}
    environ = {**ports, "OSCC_GATEWAY__ADMIN__TOKEN": "an operator's token"}
    readyz = f"http://127.0.0.1:{ports['OSCC_GATEWAY__OPS__PORT']}/readyz"
    async with redis_server("--requirepass", "right") as server, aiohttp.ClientSession() as http:
        url = f"redis://:wrong@127.0.0.1:{server.port}"
        path = write(tmp_path, SECRET.replace("memory://", url))

        async def is_reported(expected: str) -> bool:
            async with http.get(readyz) as answer:
                return await answer.text() == expected

        with running("serve", "--config", str(path), environ=environ) as process:
            await asyncio.to_thread(process.until, '"listener": "client"')
            refused = "Redis refuses this node: WRONGPASS\n"
            await until(lambda: is_reported(refused), "it does not say that Redis refuses it")
            sessions = await asyncio.to_thread(run, "sessions", "--config", str(path), environ=environ)
            assert sessions.code == 1
            assert "Not reached: the other nodes, of which this one knows none (bus_down)." in sessions.err
            await server.command("CONFIG", "SET", "requirepass", "wrong")
            await until(lambda: is_reported("ok\n"), "it is not ready")
            sessions = await asyncio.to_thread(run, "sessions", "--config", str(path), environ=environ)
            assert sessions.code == 0


def test_a_node_starts_without_its_redis_and_shows_no_password(tmp_path: Path) -> None:
    path = write(tmp_path, SECRET.replace("memory://", "redis://:canary@127.0.0.1:1"))
    with running("serve", "--config", str(path), environ=ANY_PORT) as process:
        fault, _ = process.until_each("bus_check_failed", '"listener": "client"')
        received = json.loads(fault)
        ended = process.end(signal.SIGTERM)
    assert (received["level"], ended.code) == ("error", 0)
    assert "cannot be used: it refused the connection" in received["fault"]
    assert "canary" not in ended.out + ended.err


# ---- log-offs that nobody confirmed ----


async def test_a_node_alone_says_which_log_offs_it_could_not_confirm_and_ends_with_a_code(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as http:
        centre = await stack.enter_async_context(Simulator(SimulatorSettings(agents=2, queues=1, users=1)))
        path = write(tmp_path, SMALLEST.replace("https://oscce.example", centre.url))
        with running("serve", "--config", str(path), environ=ANY_PORT) as process:
            received = json.loads(await asyncio.to_thread(process.until, '"listener": "client"'))
            base = f"http://127.0.0.1:{received['port']}"
            async with http.post(f"{base}/v1/sessions", json=LOG_ON) as answer:
                token = (await answer.json())["token"]
            await stack.aclose()
            async with http.delete(
                f"{base}/v1/session", headers={"Authorization": f"Bearer {token}"}
            ) as answer:
                assert answer.status == 202
            ended = await asyncio.to_thread(process.end, signal.SIGTERM)
    assert ended.code == command_line.UNCONFIRMED
    assert '"event": "log_offs_unconfirmed"' in ended.out
    assert "has not confirmed 1 log-off(s)" in ended.err
