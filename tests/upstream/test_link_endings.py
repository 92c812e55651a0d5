"""Does a link end as the page says, and leave nobody waiting, however it ends?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import WSMsgType

from gateway.domain.commands import KeepAlive
from gateway.domain.upstream import LinkClosed, LinkReplaced
from gateway.upstream.oscce.link import OsccLink
from gateway.upstream.oscce.socket import LinkSocket
from tests.upstream.samples import TIME_MS, USER_REALTIME, event
from tests.upstream.scripted_server import Scene, code_seen, ended, execute, link_of, outcome, scene

MESSAGE_BYTES = 8 * 2**20


@pytest.fixture
async def at() -> AsyncIterator[Scene]:
    async with scene() as made:
        yield made


# ---- what cannot be read ----


@pytest.mark.parametrize(
    ("message", "kind", "code"),
    [
        (b"{", WSMsgType.TEXT, 1002),
        (event("UserRealtime", {"NoKey": 1}), WSMsgType.TEXT, 1002),
        (b'{"Type":"Response","RequestID":1,"Error":"x"}', WSMsgType.TEXT, 1002),
        (b'{"Type":"Notice"}', WSMsgType.BINARY, 1002),
        (b'{"Type":"Notice","Text":"\xff"}', WSMsgType.TEXT, 1007),
        (b" " * (MESSAGE_BYTES + 1), WSMsgType.TEXT, 1009),
    ],
)
async def test_what_cannot_be_read_closes_the_link(
    at: Scene, message: bytes, kind: WSMsgType, code: int
) -> None:
    link = await at.open()
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(outcome(link, KeepAlive()))
        await at.server.hear()
        await link_of(at).send_frame(message, kind)
        assert await ended(link) == "lost"
    assert asking.result() == "lost"
    assert await code_seen(at) == code


async def test_a_message_may_have_eight_mebibytes(at: Scene) -> None:
    link = await at.open()
    head = b'{"Type":"Greeting","Text":"'
    await at.server.say(head + b"x" * (MESSAGE_BYTES - len(head) - 2) + b'"}')
    assert await link.receive() is None


async def test_a_server_clock_set_back_ends_the_link_for_what_is_told_after_it_would_be_ignored(
    at: Scene,
) -> None:
    async def ask(*, later_ms: int) -> tuple[object, object]:
        await at.clock.advance(10)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(outcome(link, KeepAlive()))
            await at.server.respond(Time=TIME_MS + later_ms)
            received = tasks.create_task(_received(link))
        return asking.result(), received.result()

    link = await at.open()
    assert await ask(later_ms=10_000) == (None, None)
    assert await ask(later_ms=18_500) == (None, None), "jitter"
    assert await ask(later_ms=25_000) == ("lost", "lost")
    assert await code_seen(at) == 1000, "nothing of it was against the page"


async def _received(link: OsccLink) -> object:
    try:
        return await link.receive()
    except LinkClosed as closed:
        return closed.reason


# ---- hearing ----


async def test_every_message_and_ping_is_heard_and_silence_is_not(at: Scene) -> None:
    link = await at.open()
    opened_at = link.heard_at
    await at.clock.advance(7)
    await link_of(at).ping(b"are you there")
    assert await link.receive() is None
    assert link.heard_at == opened_at + 7
    assert await at.server.hear() == {"Type": "PONG", "Payload": "are you there"}
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(ended(link))
        await at.clock.advance(600)
        assert not waiting.done()
        assert link.heard_at == opened_at + 7
        await link.close()


# ---- the end ----


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4409])
async def test_the_server_closes(at: Scene, code: int) -> None:
    link = await at.open()
    await link_of(at).close(code=code)
    assert await ended(link) == "lost"
    assert await outcome(link, KeepAlive()) == "lost"


async def test_the_connection_breaks(at: Scene) -> None:
    link = await at.open()
    transport = link_of(at)._req.transport  # type: ignore[union-attr] # a plug is pulled
    assert transport is not None
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(outcome(link, KeepAlive()))
        await at.clock.settle()
        transport.abort()
        assert await ended(link) == "lost"
    assert asking.result() == "lost"


async def test_a_replaced_link_says_so_and_nothing_more(at: Scene) -> None:
    link = await at.open()
    await at.server.say({"Type": "LinkReplaced", "Token": 77})
    await at.server.say(event("UserRealtime", USER_REALTIME))
    assert await link.receive() == LinkReplaced(77)
    assert await outcome(link, execute()) == "lost"
    with pytest.raises(LinkClosed):
        await link.receive()
    assert at.server.told == type(at.server.told)()


async def test_closing_ends_whoever_waits(at: Scene) -> None:
    link = await at.open()
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(outcome(link, KeepAlive()))
        receiving = tasks.create_task(ended(link))
        await at.clock.settle()
        await link.close()
    assert (asking.result(), receiving.result()) == ("lost", "lost")
    assert await code_seen(at) == 1000
    await link.close()


async def test_a_server_that_does_not_answer_the_closing_holds_nobody_up(at: Scene) -> None:
    link = await at.open()
    link_of(at)._req.transport.pause_reading()  # type: ignore[union-attr] # deaf from now on
    async with asyncio.TaskGroup() as tasks:
        closing = tasks.create_task(link.close())
        await at.clock.settle()
        assert not closing.done()
        await at.clock.advance(1)
    assert closing.done()


@pytest.mark.parametrize("by", ["request", "pong"])
async def test_a_connection_that_can_no_longer_be_written_to_is_lost(at: Scene, by: str) -> None:
    link = await at.open()
    if by == "pong":
        await link_of(at).ping()
        await at.clock.settle()
    assert isinstance(link._socket, LinkSocket)
    link._socket.abort()
    if by == "request":
        assert await outcome(link, KeepAlive()) == "lost"
    assert await ended(link) == "lost"
    assert await outcome(link, KeepAlive()) == "lost"


async def test_an_unasked_pong_is_heard(at: Scene) -> None:
    link = await at.open()
    await at.clock.advance(3)
    await link_of(at).pong()
    assert await link.receive() is None
    assert link.heard_at == at.clock.now()
