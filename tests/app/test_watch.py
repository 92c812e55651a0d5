"""Does ``watch`` log on, show the board as long as it should, and log off whatever happens?"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC
from pathlib import Path

import pytest
from rich.console import Console

from gateway.app import watch
from gateway.app.stopping import Stopping
from gateway.app.watch import PASSWORD_VARIABLE, Options, Refusal
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol import frames
from gateway.protocol.http_form import problem_members
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import Phone, ScriptedGateway, created, ping

SITE = {"id": "main", "display_name": "Main site", "applications": ["dashboard"]}
QUEUES = {"queue:1": {"name": "Sales", "level": "ok", "contacts_waiting": 7}}


class Board:
    """A running command: its screen, its time and its gateway."""

    def __init__(self, gateway: ScriptedGateway, *, terminal: bool = False) -> None:
        self.gateway = gateway
        self.clock = ManualClock()
        self.stopping = Stopping()
        self.file = io.StringIO()
        self.console = Console(
            file=self.file,
            width=80,
            height=30,
            force_terminal=terminal,
            color_system=None,
            legacy_windows=False,
        )

    async def run(self, **options: object) -> int:
        given = {"address": self.gateway.address, "user_name": "eve", "password": "secret", "zone": UTC}
        return await watch.watch(
            Options(**(given | options)),  # type: ignore[arg-type]  # each test names what it changes
            console=self.console,
            stopping=self.stopping,
            clock=self.clock,
        )

    async def serve(self) -> Phone:
        """Be the gateway that lets the board in."""
        phone = await self.gateway.phone()
        await phone.serve(put=QUEUES)
        await phone.send(ping(5, 5))
        await phone.receive(frames.Pong)
        return phone

    @property
    def frames(self) -> int:
        return self.file.getvalue().count("site Main site")


def _about(gateway: ScriptedGateway, *sites: Mapping[str, object]) -> None:
    privacy = {"contact": None, "statement_url": None}
    about = {"name": "gw", "version": "1", "sites": sites, "trusted_transport": True, "privacy": privacy}
    gateway.answer("GET", "/v1/about", 200, about)


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with ScriptedGateway() as gateway:
        _about(gateway, SITE)
        gateway.answer("POST", "/v1/sessions", 201, created())
        gateway.answer("DELETE", "/v1/session", 204)
        yield gateway


@pytest.fixture
def board(gateway: ScriptedGateway) -> Board:
    return Board(gateway)


# ---- showing ----


async def test_once_prints_one_frame_with_data_and_logs_off(board: Board) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.run(for_s=0.0))
        phone = await board.gateway.phone()
        await board.clock.advance(1)
        assert board.file.getvalue() == ""
        await phone.serve(put=QUEUES)
        await phone.send(ping(5, 5))
        await phone.receive(frames.Pong)
        await board.clock.advance(1)
    assert running.result() == 0
    assert board.frames == 1
    assert re.search(r"Sales +ok +7", board.file.getvalue())
    assert "upstream ● live" in board.file.getvalue()
    assert "\x1b" not in board.file.getvalue()
    assert board.gateway.count("DELETE", "/v1/session") == 1


async def test_once_gives_up_when_no_data_comes(board: Board) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.run(for_s=0.0))
        await board.gateway.phone()
        await board.clock.advance(31)
    assert running.result() == 1
    assert "connecting" in board.file.getvalue()


async def test_for_a_while_a_plain_frame_comes_each_refresh(board: Board) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.run(for_s=10.0, refresh_s=2.0))
        await board.serve()
        await board.clock.advance(10)
    assert running.result() == 0
    # at 0, 2, 4, 6 and 8 seconds, and at the end
    assert board.frames == 6


async def test_it_goes_on_until_the_end_is_asked_for(board: Board) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.run())
        phone = await board.serve()
        for _ in range(5):
            await board.clock.advance(20)
            await phone.send(ping(5, 5))
            await phone.receive(frames.Pong)
        assert not running.done()
        board.stopping.ask()
    assert running.result() == 0
    assert board.gateway.count("DELETE", "/v1/session") == 1


async def test_on_a_terminal_the_second_screen_is_used_and_left(gateway: ScriptedGateway) -> None:
    board = Board(gateway, terminal=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.run(for_s=3.0))
        await board.serve()
        await board.clock.advance(3)
    text = board.file.getvalue()
    assert text.index("\x1b[?1049h") < text.index("Sales") < text.rindex("\x1b[?1049l")
    assert "Sales" not in text[text.rindex("\x1b[?1049l") :]


async def test_an_ended_session_is_shown_and_fails(board: Board) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.run())
        phone = await board.serve()
        await phone.bye(4005, "logged_off_by_supervisor", by="Bob")
        await board.clock.advance(1)
    assert running.result() == 1
    last = board.file.getvalue().split("site Main site")[-1]
    assert "session ended: logged_off_by_supervisor by Bob" in last
    assert "Sales" not in last
    assert board.gateway.count("DELETE", "/v1/session") == 0


async def test_a_lost_connection_is_shown(board: Board) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.run())
        phone = await board.serve()
        await phone.bye(4200, "draining", window_s=(100.0, 100.0))
        await board.clock.advance(10)
        board.stopping.ask()
    last = board.file.getvalue().split("site Main site")[-1]
    assert re.search(r"connecting in (89|90) s \(draining\)", last)
    assert "Sales" in last


# ---- log-on and log-off ----


def _refuse(gateway: ScriptedGateway, error: GatewayError) -> None:
    gateway.answer("POST", "/v1/sessions", error.status, problem_members(error))


async def test_the_log_on_says_who_and_what(board: Board) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.run(for_s=1.0, takeover=True))
        await board.serve()
        await board.clock.advance(1)
    (body,) = [asked.body for asked in board.gateway.asked if asked.method == "POST"]
    assert body is not None
    assert (body["site"], body["application"], body["user_name"]) == ("main", "dashboard", "eve")
    assert body["takeover"] is True
    assert "secret" not in board.file.getvalue()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GatewayError(ErrorCode.INVALID_CREDENTIALS, "Wrong."), "Wrong."),
        (GatewayError(ErrorCode.ALREADY_LOGGED_ON, "Elsewhere."), "--takeover"),
        (
            GatewayError(
                ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED, "Read.", notices=[{"id": "n1", "version": 2}]
            ),
            "(n1) --accept-notices",
        ),
    ],
)
async def test_a_refused_log_on_says_what_helps(
    gateway: ScriptedGateway, error: GatewayError, said: str
) -> None:
    gateway.forget("POST", "/v1/sessions")
    _refuse(gateway, error)
    with pytest.raises(Refusal, match=re.escape(said)):
        await Board(gateway).run()


async def test_notices_are_accepted_when_the_person_says_so(gateway: ScriptedGateway) -> None:
    gateway.forget("POST", "/v1/sessions")
    notices: list[dict[str, str | int | bool | None]] = [{"id": "n1", "version": 2}, {"id": "odd"}]
    _refuse(gateway, GatewayError(ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED, "Read.", notices=notices))
    gateway.answer("POST", "/v1/sessions", 201, created())
    board = Board(gateway)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.run(for_s=1.0, accept_notices=True))
        await board.serve()
        await board.clock.advance(1)
    last = [asked.body for asked in gateway.asked if asked.method == "POST"][-1]
    assert last is not None
    assert last["accepted_notices"] == [{"id": "n1", "version": 2}]


async def test_of_several_sites_one_must_be_named(gateway: ScriptedGateway) -> None:
    gateway.forget("GET", "/v1/about")
    _about(gateway, SITE, SITE | {"id": "other"})
    with pytest.raises(Refusal, match="main, other"):
        await Board(gateway).run()
    with pytest.raises(Refusal, match="main, other"):
        await Board(gateway).run(site="third")
    board = Board(gateway)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.run(for_s=1.0, site="other"))
        await board.serve()
        await board.clock.advance(1)
    last = next(asked.body for asked in gateway.asked if asked.method == "POST")
    assert last is not None
    assert last["site"] == "other"


@pytest.mark.parametrize("hurried", [True, False])
async def test_nobody_waits_for_ever_for_a_log_off(
    gateway: ScriptedGateway, capsys: pytest.CaptureFixture[str], hurried: bool
) -> None:
    gateway.forget("DELETE", "/v1/session")
    gateway.answer("DELETE", "/v1/session", 202, {"state": "pending", "routed_until_ms": None})
    board = Board(gateway)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.run())
        await board.serve()
        board.stopping.ask()
        await board.clock.advance(1)
        assert not running.done()
        if hurried:
            board.stopping.ask()
        else:
            await board.clock.advance(10)
    assert "not confirmed" in capsys.readouterr().err


# ---- command line ----


def _parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    watch.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_command_line_makes_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Options] = []

    async def show(options: Options) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr(watch, "watch", show)
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    assert watch.run(_parse("https://gw", "--user", "eve", "--once", "--site", "main", "--takeover")) == 0
    assert watch.run(_parse("https://gw", "--user", "eve", "--for", "5", "--refresh", "0.5")) == 0
    assert watch.run(_parse("https://gw", "--user", "eve")) == 0
    assert [(o.for_s, o.refresh_s, o.site, o.takeover) for o in seen] == [
        (0.0, 1.0, "main", True),
        (5.0, 0.5, None, False),
        (None, 1.0, None, False),
    ]
    assert "secret" not in repr(seen)


@pytest.mark.parametrize(
    "wrong", [["--for", "0"], ["--for", "x"], ["--once", "--for", "5"], ["--refresh", "1e9"]]
)
def test_a_wrong_command_line_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        _parse("https://gw", "--user", "eve", *wrong)


def test_without_a_terminal_the_password_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert watch.run(_parse("https://gw", "--user", "eve")) == 1
    assert PASSWORD_VARIABLE in capsys.readouterr().err


def test_on_a_terminal_the_password_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda: "typed")
    assert watch._password() == "typed"


def test_authorities_that_cannot_be_read_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        assert watch.run(_parse("https://gw", "--user", "eve", "--ca-file", str(tmp_path / name))) == 1
        assert name in capsys.readouterr().err


def test_what_an_encoding_has_not_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "ascii", write_through=True))
    watch._console().print("●")
    assert raw.getvalue() == b"?\n"
