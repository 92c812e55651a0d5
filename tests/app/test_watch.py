"""``watch`` shows the board until its end, whatever happens."""

from __future__ import annotations

import asyncio
import io
import re
from contextlib import AbstractAsyncContextManager

import pytest

from gateway.app.cli import watch
from gateway.protocol import frames
from tests.app.watching import QUEUES, Board
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import ScriptedGateway, ping


async def test_once_prints_one_frame_with_data_and_logs_off(board: Board) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.run(for_s=0.0))
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
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.run(for_s=0.0))
        await board.gateway.phone()
        await board.clock.advance(31)
    assert running.result() == 1
    assert "connecting" in board.file.getvalue()


async def test_for_a_while_a_plain_frame_comes_each_refresh_with_a_fresh_footer(board: Board) -> None:
    received = iter("abcdef")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.run(for_s=10.0, refresh_s=2.0, footer=lambda: next(received)))
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
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.run(for_s=10.0, refresh_s=5.0))
        await board.serve()
        await board.clock.advance(10)
    assert board.frames == 3


async def test_frames_without_data_come_only_when_it_takes_long(board: Board) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.run(for_s=5.0))
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
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.run(for_s=0.0, footer="below", **options))
        phone = await board.gateway.phone()
        await phone.serve(put=many)
        await phone.send(ping(5, 5))
        await phone.receive(frames.Pong)
        await board.clock.advance(1)
    shown = board.file.getvalue().splitlines()
    assert len(shown) == lines
    assert shown[-1].rstrip() == "below"


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


async def test_on_a_terminal_the_second_screen_is_used_and_left(
    gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")  # whatever the tests run in
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


def test_what_an_encoding_has_not_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "ascii", write_through=True))
    watch._console().print("●")
    assert raw.getvalue() == b"?\n"
