"""Is a link's connection taken from aiohttp on every event loop, in clear text and through TLS?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvloop

from gateway.app.process import SystemClock
from gateway.domain.commands import KeepAlive
from gateway.domain.upstream import LinkClosed, Opened
from gateway.simulator.web import self_signed, server_context
from gateway.upstream.oscce.client import MESSAGE_BYTES, OsccServer, tls_context
from tests.upstream.samples import TIME_MS
from tests.upstream.scripted_server import SECRET, USER, scene

MESSAGES = 20


async def talk(folder: Path | None) -> None:
    """Hear more than may wait, ask, and close, with the real clock."""
    tls, clock = None, SystemClock()
    if folder is not None:
        certificate, key = self_signed("127.0.0.1")
        (folder / "ca.pem").write_bytes(certificate)
        tls = (server_context(certificate, key), tls_context(folder / "ca.pem"))
    async with AsyncExitStack() as stack:
        at = await stack.enter_async_context(scene(tls=tls))
        mine = None if tls is None else tls[1]
        server = await stack.enter_async_context(OsccServer("main", at.server.url, clock, tls=mine))
        began = clock.now()
        link = await server.open(USER, SECRET, token=1, holder="a")
        assert isinstance(await link.receive(), Opened)
        text = b'{"Type":"Greeting","Text":"' + b"x" * (MESSAGE_BYTES // 16) + b'"}'
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_say(at.server.say, text))
            for _ in range(MESSAGES):
                assert await link.receive() is None
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(link.request(KeepAlive()))
            # as a server's clock goes on: one that stood still for two seconds would have been set back
            await at.server.respond(Time=TIME_MS + round(1000 * (clock.now() - began)))
            assert await link.receive() is None
        assert asking.result() is None
        await link.close()
        assert at.server.link is not None
        assert at.server.link.close_code == 1000
        with pytest.raises(LinkClosed):
            await link.receive()


async def _say(say: Callable[[bytes], Awaitable[object]], text: bytes) -> None:
    for _ in range(MESSAGES):
        await say(text)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("is_tls", [False, True])
def test_a_link_is_carried(
    loop: Callable[[], asyncio.AbstractEventLoop], is_tls: bool, tmp_path: Path
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(talk(tmp_path if is_tls else None))
