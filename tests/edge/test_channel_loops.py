"""Channel: taken over from aiohttp on every event loop, in clear text and TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from gateway.edge.channel import Channel
from gateway.edge.handshake import WIRES, accept
from gateway.protocol.codec import JSON
from gateway.runtime.event_loop import Wires
from tests.app.certificates import make
from tests.edge.channels import Ear, echo
from tests.edge.raw_phone import RawPhone
from tests.protocol.framing import Received, closing, framed, text

BIG_BYTES = 3_000_000


@asynccontextmanager
async def serving(
    folder: Path | None, unsent: list[int], wires: Wires | None
) -> AsyncIterator[Callable[..., Awaitable[RawPhone]]]:
    """Say what is said, after a lot that must drain first when that is asked for."""

    async def upgrade(request: web.Request) -> web.StreamResponse:
        channel, response = await accept(request, JSON, message_bytes=1024)
        tasks.create_task(serve(channel, is_big="big" in request.query))
        return response

    async def serve(channel: Channel, *, is_big: bool) -> None:
        try:
            if is_big:
                await pour(channel, Ear(channel), unsent)
            await echo(channel)
        finally:
            channel.abort()

    certificate, key = make(folder, days=36_500) if folder else (None, None)
    theirs, ours = None, None
    if certificate is not None:
        theirs, ours = ssl.create_default_context(cafile=certificate), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ours.load_cert_chain(certificate, key)
    app = web.Application()
    if wires is not None:
        app[WIRES] = wires
    app.router.add_get("/", upgrade)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ours).start()

    async def connect(path: str, early: bytes = b"") -> RawPhone:
        return await RawPhone.connect(runner.addresses[0][1], path, early=early, tls=theirs)

    async with asyncio.TaskGroup() as tasks:
        yield connect
        await runner.cleanup()


async def pour(channel: Channel, ear: Ear, unsent: list[int]) -> None:
    channel.write([b"x" * BIG_BYTES])
    unsent.append(channel.unsent_bytes)
    await ear.empty()
    unsent.append(channel.unsent_bytes)


async def conversation(folder: Path | None, wires: Wires | None) -> None:
    unsent: list[int] = []
    async with serving(folder, unsent, wires) as connect:
        async with await connect("/", text("early") + text("cut")[:4]) as phone:
            phone.send(text("cut")[4:] + framed(9, b"ping") + text("more"))
            said = [await phone.hear() for _ in range(4)]
            assert said == [
                Received(1, b"early"),
                Received(1, b"cut"),
                Received(10, b"ping"),
                Received(1, b"more"),
            ]
            phone.send(closing(3000))
            assert await phone.end() == [Received(8, (3000).to_bytes(2, "big"))]
        async with await connect("/", framed(3)) as phone:
            assert [frame.payload[:2] for frame in await phone.end()] == [(1002).to_bytes(2, "big")]
        async with await connect("/?big") as phone:
            assert await phone.hear() == Received(1, b"x" * BIG_BYTES)
            phone.send(text("drained"))
            assert await phone.hear() == Received(1, b"drained")
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert unsent[0] > 1_000_000
    assert unsent[1] == 0


@pytest.mark.parametrize(
    ("loop", "tls", "wires"),
    [
        pytest.param(asyncio.new_event_loop, True, None, id="asyncio TLS transports"),
        pytest.param(asyncio.new_event_loop, False, Wires(), id="asyncio clear wires"),
        pytest.param(uvloop.new_event_loop, False, None, id="uvloop clear transports"),
        pytest.param(uvloop.new_event_loop, True, Wires(), id="uvloop TLS wires"),
    ],
)
def test_a_conversation_goes_its_way(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], *, tls: bool, wires: Wires | None
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(conversation(tmp_path if tls else None, wires))
    assert wires is None or len(wires) == 0
