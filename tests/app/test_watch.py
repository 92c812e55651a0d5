"""``watch`` shows the board until its end, whatever happens."""

from __future__ import annotations

import argparse
import io
import re
from contextlib import AbstractAsyncContextManager
from datetime import UTC
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from gateway.app.cli import main, watch
from gateway.app.cli.watch import PASSWORD_VARIABLE, BoardState, WatchError, WatchOptions, watch_options
from gateway.client import (
    Connected,
    Ended,
    Event,
    HealthChanged,
    LogOffPending,
    NoticeShown,
    Reconnecting,
    Refused,
    Renewed,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol import frames
from gateway.protocol.bodies import problem_members
from gateway.protocol.frames import ErrorFrame
from tests.app.watching import QUEUES, SITE, Board, about
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import ScriptedGateway, created, notice, ping
from tests.doubles.tasks import beside


async def test_once_prints_one_frame_with_data_and_logs_off(board: Board) -> None:
    async with beside(board.run(for_s=0.0)) as running:
        phone = await board.gateway.phone()
        await board.clock.advance(1)
        assert board.file.getvalue() == ""
        assert (await phone.serve(put=QUEUES)).ping_s == 10, "pings are asked for often"
        await phone.send(ping(5, 5))
        await phone.receive(frames.Pong)
        await board.clock.advance(1)
    assert (running.result(), board.frames) == (0, 1)
    assert re.search(r"Sales +ok +7", board.file.getvalue())
    assert "upstream ● live" in board.file.getvalue()
    assert "\x1b" not in board.file.getvalue()
    assert board.gateway.count("DELETE", "/v1/session") == 1


async def test_once_gives_up_when_no_data_comes(board: Board) -> None:
    async with beside(board.run(for_s=0.0)) as running:
        await board.gateway.phone()
        await board.clock.advance(31)
    assert running.result() == 1
    assert "connecting" in board.file.getvalue()


async def test_for_a_while_a_plain_frame_comes_each_refresh_with_a_fresh_footer(board: Board) -> None:
    received = iter("abcdef")
    async with beside(board.run(for_s=10.0, refresh_s=2.0, footer=lambda: next(received))) as running:
        await board.serve()
        await board.clock.advance(10)
    assert running.result() == 0
    # as soon as there is data, after 2, 4, 6 and 8 seconds, and at the end
    assert board.frames == 6
    assert "connecting" not in board.file.getvalue()
    assert board.file.getvalue().count("\n\ndashboard · site") == 5
    assert "".join(re.findall(r"^([a-f]) *$", board.file.getvalue(), re.MULTILINE)) == "abcdef"


class _Hasty(ManualClock):
    """Wakes up early, as event loops do."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return super().timeout(seconds - 0.001)


async def test_a_clock_that_wakes_early_makes_no_second_last_frame(board: Board) -> None:
    board.clock = _Hasty()
    async with beside(board.run(for_s=10.0, refresh_s=5.0)):
        await board.serve()
        await board.clock.advance(10)
    assert board.frames == 3


async def test_frames_without_data_come_only_when_it_takes_long(board: Board) -> None:
    async with beside(board.run(for_s=5.0)):
        await board.gateway.phone()
        await board.clock.advance(2.9)
        assert board.frames == 0
        await board.clock.advance(2.1)
    # after 3 and 4 seconds, and at the end
    assert board.frames == 3
    assert "connecting" in board.file.getvalue()


@pytest.mark.parametrize(("options", "lines"), [({}, 40), ({"lines": 20}, 20)])
async def test_a_frame_without_a_terminal_has_few_lines(
    board: Board, options: dict[str, int], lines: int
) -> None:
    many = {f"agent:{n}": {"routing_state": "available"} for n in range(200)}
    async with beside(board.run(for_s=0.0, footer="below", **options)):
        phone = await board.gateway.phone()
        await phone.serve(put=many)
        await phone.send(ping(5, 5))
        await phone.receive(frames.Pong)
        await board.clock.advance(1)
    shown = board.file.getvalue().splitlines()
    assert len(shown) == lines
    assert shown[-1].rstrip() == "below"


async def test_it_goes_on_until_the_end_is_asked_for(board: Board) -> None:
    async with beside(board.run()) as running:
        phone = await board.serve()
        for _ in range(5):
            await board.clock.advance(20)
            await phone.send(ping(5, 5))
            await phone.receive(frames.Pong)
        assert not running.done()
        board.stopping.ask()
    assert running.result() == 0
    assert board.gateway.count("DELETE", "/v1/session") == 1


async def test_on_a_terminal_the_second_screen_is_used_and_left(
    gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")  # whatever the tests run in
    board = Board(gateway, terminal=True)
    async with beside(board.run(for_s=3.0)):
        await board.serve()
        await board.clock.advance(3)
    text = board.file.getvalue()
    assert text.index("\x1b[?1049h") < text.index("Sales") < text.rindex("\x1b[?1049l")
    assert "Sales" not in text[text.rindex("\x1b[?1049l") :]


async def test_an_ended_session_is_shown_and_fails(board: Board) -> None:
    async with beside(board.run()) as running:
        phone = await board.serve()
        await phone.bye(4005, "logged_off_by_supervisor", by="Bob")
        await board.clock.advance(1)
    assert running.result() == 1
    last = board.file.getvalue().split("site Main site")[-1]
    assert "session ended: logged_off_by_supervisor by Bob" in last
    assert "Sales" not in last
    assert board.gateway.count("DELETE", "/v1/session") == 0


async def test_a_lost_connection_is_shown(board: Board) -> None:
    async with beside(board.run()):
        phone = await board.serve()
        await phone.bye(4200, "draining", window_s=(100.0, 100.0))
        await board.clock.advance(10)
        board.stopping.ask()
    last = board.file.getvalue().split("site Main site")[-1]
    assert re.search(r"connecting in (89|90) s \(draining\)", last)
    assert "Sales" in last


def test_what_an_encoding_has_not_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "ascii", write_through=True))
    watch._console().print("●")
    assert raw.getvalue() == b"?\n"


# ---- ``watch``: log-on and log-off of a supervisor, and helpful refusals ----


NOTICES: list[dict[str, str | int | bool | None]] = [{"id": "n1", "version": 2}, {"id": "odd"}]
MUST_READ = GatewayError(ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED, "Read.", notices=NOTICES)
BUSY = GatewayError(ErrorCode.RATE_LIMITED, "Busy.")


def _refuse(gateway: ScriptedGateway, error: GatewayError, headers: dict[str, str] | None = None) -> None:
    gateway.forget("POST", "/v1/sessions")
    gateway.answer("POST", "/v1/sessions", error.status, problem_members(error), headers)


async def _shown(board: Board, **options: object) -> dict[str, Any]:
    """Run the board until it shows something; returns the last log-on."""
    async with beside(board.run(for_s=1.0, **options)):
        await board.serve()
        await board.clock.advance(1)
    body = [asked.body for asked in board.gateway.asked if asked.method == "POST"][-1]
    assert body is not None
    return body


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GatewayError(ErrorCode.INVALID_CREDENTIALS, "Wrong."), "Wrong."),
        (GatewayError(ErrorCode.ALREADY_LOGGED_ON, "Elsewhere."), "--takeover"),
        (MUST_READ, "(n1) --accept-notices"),
    ],
)
async def test_a_refused_log_on_says_what_helps(
    gateway: ScriptedGateway, error: GatewayError, said: str
) -> None:
    _refuse(gateway, error)
    with pytest.raises(WatchError, match=re.escape(said)):
        await Board(gateway).run()


async def test_a_busy_gateway_is_come_back_to_when_it_says(gateway: ScriptedGateway) -> None:
    _refuse(gateway, BUSY, {"Retry-After": "3"})
    gateway.answer("POST", "/v1/sessions", 201, created())
    board = Board(gateway)
    async with beside(board.run(for_s=1.0)):
        await board.clock.advance(2.9)
        assert gateway.count("POST", "/v1/sessions") == 1
        await board.clock.advance(0.2)
        await board.serve()
        await board.clock.advance(1)
    assert gateway.count("POST", "/v1/sessions") == 2


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "31"}])
async def test_one_that_is_busy_for_long_or_says_not_how_long_is_left_alone(
    gateway: ScriptedGateway, headers: dict[str, str]
) -> None:
    _refuse(gateway, BUSY, headers)
    with pytest.raises(WatchError, match="Busy"):
        await Board(gateway).run()
    assert gateway.count("POST", "/v1/sessions") == 1


async def test_the_log_on_says_who_and_what_and_notices_are_accepted_when_the_person_says_so(
    gateway: ScriptedGateway,
) -> None:
    _refuse(gateway, MUST_READ)
    gateway.answer("POST", "/v1/sessions", 201, created())
    board = Board(gateway)
    asked = await _shown(board, accept_notices=True, takeover=True)
    assert asked["accepted_notices"] == [{"id": "n1", "version": 2}]
    assert (asked["site"], asked["application"], asked["user_name"]) == ("main", "dashboard", "eve")
    assert asked["takeover"] is True
    assert "secret" not in board.file.getvalue()


async def test_of_several_sites_one_must_be_named(gateway: ScriptedGateway) -> None:
    gateway.forget("GET", "/v1/about")
    about(gateway, SITE, SITE | {"id": "other"})
    for site in (None, "third"):
        with pytest.raises(WatchError, match="main, other"):
            await Board(gateway).run(site=site)
    assert (await _shown(Board(gateway), site="other"))["site"] == "other"


@pytest.mark.parametrize("hurried", [True, False])
async def test_nobody_waits_for_ever_for_a_log_off(
    gateway: ScriptedGateway, capsys: pytest.CaptureFixture[str], hurried: bool
) -> None:
    gateway.forget("DELETE", "/v1/session")
    gateway.answer("DELETE", "/v1/session", 202, {"state": "pending", "routed_until_ms": None})
    board = Board(gateway)
    async with beside(board.run()) as running:
        await board.serve()
        board.stopping.ask()
        await board.clock.advance(1)
        assert not running.done()
        if hurried:
            board.stopping.ask()
        else:
            await board.clock.advance(10)
    assert "not confirmed" in capsys.readouterr().err


# ---- ``watch``: options for user, mode and duration ----


def parse(*arguments: str) -> argparse.Namespace:
    """Return what the parser of ``watch`` makes of *arguments*."""
    parser = argparse.ArgumentParser()
    watch.add_watch_arguments(parser)
    return parser.parse_args(arguments)


def _options(*arguments: str) -> WatchOptions:
    return watch_options(parse("https://gw", "--user", "eve", *arguments))


def test_the_command_line_makes_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    seen = [
        _options("--once", "--site", "main", "--takeover"),
        _options("--for", "5", "--refresh", "0.5", "--lines", "60"),
        _options(),
    ]
    assert [(o.for_s, o.refresh_s, o.site, o.takeover, o.lines) for o in seen] == [
        (0.0, 1.0, "main", True, None),
        (5.0, 0.5, None, False, 60),
        (None, 1.0, None, False, None),
    ]
    assert {(o.address, o.user_name, o.password) for o in seen} == {("https://gw", "eve", "secret")}
    assert "secret" not in repr(seen)


def test_a_gateway_that_is_not_reached_comes_with_advice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    assert main(["watch", "http://127.0.0.1:1", "--user", "eve", "--once"]) == 1
    assert capsys.readouterr().err.endswith("Check the address, and for https the certificate (--ca-file).\n")


def test_the_password_is_asked_for_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    asked = Mock(side_effect=["typed", EOFError])
    monkeypatch.setattr("getpass.getpass", asked)
    for is_terminal, typed in ((False, None), (True, "typed"), (True, None)):
        monkeypatch.setattr("sys.stdin", Mock(isatty=Mock(return_value=is_terminal)))
        if typed is not None:
            assert _options().password == typed
            continue
        with pytest.raises(WatchError, match=PASSWORD_VARIABLE):
            _options()


def test_authorities_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(WatchError, match=name):
            _options("--ca-file", str(tmp_path / name))


# ---- ``watch``: the age of data, and the last events ----


T = 1_700_000_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def view(clock: ManualClock) -> BoardState:
    return BoardState("Main site", "Ada", "dashboard", clock, UTC)


async def test_a_lost_connection_counts_down_to_the_next_try(view: BoardState, clock: ManualClock) -> None:
    view.received(Connected(False), T)
    assert view.health.connected
    view.received(Reconnecting(8.0, "draining"), T)
    await clock.advance(3)
    assert (view.health.connected, view.health.reason) == (False, "draining")
    assert view.health.reconnect_in_s == pytest.approx(5.0)
    view.received(Connected(True), T)
    assert (view.health.connected, view.health.reason, view.health.reconnect_in_s) == (True, None, None)


def test_health_is_what_was_reported_last(view: BoardState) -> None:
    view.received(HealthChanged("live", "live", 7), T)
    assert view.health.last_event is None
    view.received(HealthChanged("live", "live", 9), T)
    assert view.health.last_event is None
    view.received(HealthChanged("stale", "degraded", 9), T)
    assert (view.health.upstream, view.health.bus, view.health.as_of_ms) == ("stale", "degraded", 9)
    assert view.health.last_event == "22:13:20 upstream stale, bus degraded"


def test_live_data_is_as_old_as_the_later_of_ping_and_change(view: BoardState) -> None:
    view.changed("agent:1", None, {}, at_ms=T)
    view.received(HealthChanged("live", "live", T - 9), T)
    assert view.health.as_of_ms == T
    view.received(HealthChanged("live", "live", T + 5), T + 5)
    assert view.health.as_of_ms == T + 5
    view.changed("agent:1", {}, {}, at_ms=T + 7)
    assert view.health.as_of_ms == T + 7
    view.received(HealthChanged("stale", "live", T + 5), T + 9)
    assert view.health.as_of_ms == T + 5


@pytest.mark.parametrize(
    ("event", "last"),
    [
        (Connected(False), "connected"),
        (Reconnecting(1.0, "lost"), "connection lost: lost"),
        (Ended(4005, "logged_off", "Bob"), "session ended: logged_off by Bob"),
        (Ended(4300, "session_ended", None), "session ended: session_ended"),
        (NoticeShown(notice()), "notice: New statement"),
        (Refused(ErrorFrame("rate_limited", "Slower.")), "refused: Slower."),
        (LogOffPending(7), "log-off is not confirmed yet"),
        (Renewed(7), None),
    ],
)
def test_what_happened_last_is_reported_with_its_time(
    view: BoardState, event: Event, last: str | None
) -> None:
    view.received(event, T)
    assert view.health.last_event == (last and f"22:13:20 {last}")
    view.received(event, None)
    assert view.health.last_event == last
    if isinstance(event, Ended):
        assert view.health.ended == (last or "").removeprefix("session ended: ")
        assert not view.health.connected


@pytest.mark.parametrize(
    ("key", "before", "after", "last"),
    [
        ("queue:1", {"level": "ok"}, {"level": "action", "name": "Sales"}, "22:13:20 Sales: action"),
        ("queue:1", {}, {"level": "attention"}, "22:13:20 queue:1: attention"),
        ("queue:1", {"level": "action"}, {"level": "action"}, None),
        ("queue:1", {"level": "action"}, {"level": "ok"}, None),
        ("queue:1", None, {"level": "action"}, None),
        ("queue:1", {"level": "ok"}, None, None),
        ("agent:1", {"level": "ok"}, {"level": "action"}, None),
    ],
)
def test_a_queue_that_gets_worse_is_an_event(
    view: BoardState,
    key: str,
    before: dict[str, object] | None,
    after: dict[str, object] | None,
    last: str | None,
) -> None:
    view.changed(key, before, after, at_ms=T)
    assert view.health.last_event == last
