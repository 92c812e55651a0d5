"""Is there something to see, and does it end well?"""

from __future__ import annotations

import signal
import socket

import pytest

from gateway.app.cli.demo import board_options, demo_settings, introduction
from gateway.app.config.errors import rule_faults
from gateway.app.main import main
from gateway.app.wiring import Addresses
from gateway.simulator import SimulatorSettings
from tests.app.processes import run, running

SMALL = ("--port", "0", "--agents", "3", "--queues", "2")


def test_a_board_is_shown_as_plain_frames_where_no_terminal_is() -> None:
    ended = run("demo", *SMALL, "--for", "2")
    assert (ended.code, ended.err) == (0, "")
    assert "3 agents, 2 queues" in ended.out
    assert "upstream ● live" in ended.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("board", ["board", "no board"])
def test_a_signal_ends_all_of_it(number: signal.Signals, board: str) -> None:
    options = ("--no-board",) if board == "no board" else ()
    with running("demo", *SMALL, *options) as process:
        process.until("Ctrl-C ends it." if options else "upstream ")
        ended = process.end(number)
    assert (ended.code, ended.err) == (0, "")


def test_without_a_board_the_time_ends_it() -> None:
    ended = run("demo", *SMALL, "--no-board", "--for", "0.1")
    assert (ended.code, ended.err) == (0, "")


def test_what_no_centre_can_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--agents", "0"]) == 2
    assert "at least one agent" in capsys.readouterr().err


def test_a_taken_port_is_told(own_logging: None, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["demo", *SMALL, "--port", port]) == 1
    assert f"cannot have 127.0.0.1 port {port}: address already in use." in capsys.readouterr().err


def test_its_settings_are_right_and_stay_on_this_machine() -> None:
    settings = demo_settings("http://127.0.0.1:1", 8080)
    assert list(rule_faults(settings)) == []
    assert {settings.client.host, settings.ops.host, settings.admin.host} == {"127.0.0.1"}


def test_the_introduction_names_what_there_is_to_try() -> None:
    center = SimulatorSettings()
    addresses = Addresses("http://127.0.0.1:8080", "http://127.0.0.1:9090")
    text = introduction(center, "http://127.0.0.1:1", addresses)
    for part in (
        "200 agents, 20 queues",
        "supervisor1",
        "agent1",
        "password demo",
        "http://127.0.0.1:8080/app/\n",
        "/v1/about",
        "/metrics",
    ):
        assert part in text
    assert "oscc-gateway watch http://127.0.0.1:8080 --user supervisor2\n" in text
    assert max(map(len, text.splitlines())) <= 80
    options = board_options(center, addresses, 5.0, 60)
    assert options.lines == 60
    assert options.footer == "gateway http://127.0.0.1:8080 · password demo · Ctrl-C ends it"
    assert (options.address, options.user_name, options.for_s) == (addresses.client, "supervisor1", 5.0)
