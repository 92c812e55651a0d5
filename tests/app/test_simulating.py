"""``simulate``: runs a server, refuses invalid options, ends cleanly."""

from __future__ import annotations

import argparse
import errno
import json
import re
import signal
import socket
import urllib.request
from itertools import chain

import pytest

from gateway.app.cli import main
from gateway.simulator.settings import SimulatorSettings, add_arguments
from tests.app.processes import running


def test_it_runs_until_a_signal_comes() -> None:
    with running("simulate", "--port", "0", "--agents", "2", "--queues", "1") as process:
        port = process.until("OSCC-E Server (simulated) at ").split(":")[-1].strip()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/oscce/v1/about") as answer:
            assert json.load(answer)["Product"] == "OSCC-E"
        ended = process.end(signal.SIGTERM)
    assert (ended.code, ended.err) == (0, "")


def test_a_centre_without_log_ons_and_events_can_be() -> None:
    SimulatorSettings(log_on_budget_per_s=0, events_per_s=0)


@pytest.mark.parametrize("option", ["--port", "--control-port"])
def test_a_taken_port_is_reported(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"--port": "0"} | {option: port}
        assert main(["simulate", *chain(*ports.items()), "--agents", "1", "--queues", "1"]) == 1
    assert capsys.readouterr().err == (
        f"oscc-gateway: The simulator cannot listen at 127.0.0.1 port {port}: address already in use.\n"
    )


def test_each_reason_is_reported_when_it_cannot_listen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused(_: SimulatorSettings) -> None:
        taken = OSError(errno.EADDRINUSE, "", "127.0.0.1 port 80")
        forbidden = OSError(errno.EACCES, "", "127.0.0.1 port 81")
        raise ExceptionGroup("", [taken, forbidden])

    monkeypatch.setattr("gateway.app.cli.demo._simulate", refused)
    assert main(["simulate", "--port", "80"]) == 1
    assert capsys.readouterr().err == (
        "oscc-gateway: The simulator cannot listen at 127.0.0.1 port 80: address already in use; "
        "at 127.0.0.1 port 81: permission denied.\n"
    )


def test_its_help_shows_each_default(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(prog="simulate")
    add_arguments(parser)
    shown = " ".join(parser.format_help().split())
    for name, value in vars(parser.parse_args([])).items():
        option = name.replace("_", "-")
        if value is False:
            assert re.search(rf"--{option} [^-]+(?:-[^-]+)*?default: off", shown), name
        elif value is not None:
            assert re.search(rf"--{option} \S+ [^-].*?default: {re.escape(str(value))}", shown), name
    assert "default: as many as its agents make" in shown
