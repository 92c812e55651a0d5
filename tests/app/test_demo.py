"""``demo``: it shows a site, and ends cleanly."""

from __future__ import annotations

import json
import signal
from http.client import HTTPConnection
from pathlib import Path

import pytest

from gateway.app.cli.demo import SECRET_VARIABLE, board_options, introduction
from gateway.app.main import main
from gateway.app.wiring import Addresses
from gateway.simulator import SimulatorSettings
from tests.app.processes import run, running
from tests.app.samples import LOG_ON

SMALL = ("--port", "0", "--agents", "3", "--queues", "2")


def test_a_board_is_shown_as_plain_frames_where_no_terminal_is() -> None:
    ended = run("demo", *SMALL, "--for", "2")
    assert (ended.code, ended.err) == (0, "")
    assert "3 agents, 2 queues" in ended.out
    assert "upstream ● live" in ended.out


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGINT, ()), (signal.SIGTERM, ("--no-board",))], ids=["board", "no board"]
)
def test_a_signal_ends_all_of_it(number: signal.Signals, options: tuple[str, ...]) -> None:
    with running("demo", *SMALL, *options) as process:
        process.until("Ctrl-C ends it." if options else "upstream ")
        ended = process.end(number)
    assert (ended.code, ended.err) == (0, "")


def test_both_apps_log_on_at_a_simulated_asterisk() -> None:
    with running("demo", "--asterisk", *SMALL) as process:
        client = process.until("A gateway to it").split()[-1]
        process.until("upstream ● live")  # the board is a Dashboard that has logged on
        agent = {"application": "remote_assistant", "user_name": "remote1", "remote_number": "+49301234567"}
        http = HTTPConnection(client.removeprefix("http://"))
        body = json.dumps({**LOG_ON, "site": "demo", **agent})
        http.request("POST", "/v1/sessions", body, {"Content-Type": "application/json"})
        assert http.getresponse().status == 201
        http.close()
        ended = process.end(signal.SIGINT)
    assert ended.code == 0
    assert [json.loads(line)["logger"] for line in ended.err.splitlines()] == ["gateway.audit"]


def test_a_real_asterisk_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, own_logging: None
) -> None:
    url, named = "ami://127.0.0.1:1", ("--people", str(tmp_path / "people.toml"))
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)

    def refusal(*arguments: str) -> str:
        assert main(["demo", *SMALL, *arguments]) == 2
        return capsys.readouterr().err

    missing = refusal("--asterisk", url)
    assert "needs --people FILE" in missing
    assert f"secret in {SECRET_VARIABLE}" in missing
    assert "needs --asterisk URL" in refusal("--asterisk", *named)
    monkeypatch.setenv(SECRET_VARIABLE, "canary")
    assert "cannot be read: No such file" in refusal("--asterisk", url, *named)


def test_without_a_board_the_time_ends_it(own_logging: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *SMALL, "--no-board", "--for", "0.1"]) == 0
    assert capsys.readouterr().err == ""


def test_what_no_centre_can_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--agents", "0"]) == 2
    assert "at least one agent" in capsys.readouterr().err


def test_the_introduction_names_what_there_is_to_try() -> None:
    center, addresses = SimulatorSettings(), Addresses("http://127.0.0.1:8080", "http://127.0.0.1:9090")
    text = introduction(center, "http://127.0.0.1:1", addresses)
    for part in ("200 agents, 20 queues", "supervisor1", "agent1", "password demo", "/v1/about", "/metrics"):
        assert part in text
    assert "http://127.0.0.1:8080/app/\n" in text
    assert "oscc-gateway watch http://127.0.0.1:8080 --user supervisor2\n" in text
    assert max(map(len, text.splitlines())) <= 80
    options = board_options(center, addresses, 5.0, 60)
    assert (options.lines, options.for_s) == (60, 5.0)
    assert options.footer == "gateway http://127.0.0.1:8080 · password demo · Ctrl-C ends it"
    assert (options.address, options.user_name) == (addresses.client, "supervisor1")
