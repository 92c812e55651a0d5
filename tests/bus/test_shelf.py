"""Does the shelf on Redis tell answers that make no sense from answers? See also tests/contracts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.bus.line import Line, Pace
from gateway.bus.names import Names
from gateway.bus.shelf import RedisShelf
from gateway.domain.errors import EndReason, GatewayError
from tests.bus.peer import OK, Peer, Words, door, usual
from tests.doubles.clock import ManualClock


@asynccontextmanager
async def shelf(answer: bytes) -> AsyncIterator[tuple[RedisShelf, Peer]]:
    def server(words: Words) -> bytes | None:
        return answer if words[0] in {b"GET", b"SET", b"EVALSHA"} else usual(words)

    clock, peer = ManualClock(), Peer(server)
    line = Line(door(peer, clock), clock, lambda: 0.5, Pace())
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(line.run())
        yield RedisShelf(line, Names(b"p" * 32)), peer
        run.cancel()


async def test_a_reason_of_a_later_version_is_unknown_and_counts() -> None:
    async with shelf(b"$5\r\nlater\r\n") as (there, _):
        assert await there.denied("a") is EndReason.UNKNOWN


@pytest.mark.parametrize("answer", [b"*0\r\n", b"-WRONGTYPE\r\n", b"+no number\r\n"])
async def test_answers_that_make_no_sense_are_bus_down(answer: bytes) -> None:
    async with shelf(answer) as (there, _):
        with pytest.raises(GatewayError):
            await there.counted("a")
        with pytest.raises(GatewayError):
            await there.count("a", 1.0)
        if not answer.startswith(b"+"):
            with pytest.raises(GatewayError):
                await there.denied("a")


@pytest.mark.parametrize(("ttl_s", "ms"), [(60.0, b"60000"), (0.0001, b"1"), (0.0, b"1"), (-5.0, b"1")])
async def test_what_is_noted_has_an_end(ttl_s: float, ms: bytes) -> None:
    async with shelf(OK) as (there, peer):
        await there.deny("a", EndReason.BLOCKED, ttl_s)
        assert peer.asked(b"SET")[0][2:] == (b"blocked", b"PX", ms)
