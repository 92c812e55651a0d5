"""Channels without the rest of the edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.edge.channel import Channel, ChannelEvent, Disconnect
from gateway.edge.handshake import TRANSPORTS, accept, check_handshake
from gateway.protocol.codec import codec_for
from gateway.protocol.websocket import Message, Violation
from gateway.runtime.event_loop import EpollTransports
from tests.edge.raw_phone import RawPhone
from tests.edge.visits import Server

MESSAGE_BYTES = 1024
Serve = Callable[[Channel], Awaitable[None]]


class Serving(Protocol):
    """Serves channels with a function of the test's own."""

    def __call__(
        self, serve: Serve, *, deflate: bool = False
    ) -> Awaitable[TestClient[web.Request, web.Application]]:
        """Return who may connect."""
        ...


@asynccontextmanager
async def channels_served() -> AsyncIterator[Serving]:
    clients: list[TestClient[web.Request, web.Application]] = []
    served: list[asyncio.Task[None]] = []

    async def start(serve: Serve, *, deflate: bool = False) -> TestClient[web.Request, web.Application]:
        async def upgrade(request: web.Request) -> web.StreamResponse:
            check_handshake(request)
            codec = codec_for(request.headers["Sec-WebSocket-Protocol"])
            assert codec is not None
            channel, response = await accept(request, codec, message_bytes=MESSAGE_BYTES, deflate=deflate)
            served.append(tasks.create_task(_served(serve, channel)))
            return response

        app = web.Application()
        app[TRANSPORTS] = EpollTransports()
        app.router.add_get("/", upgrade)
        client: TestClient[web.Request, web.Application] = TestClient(Server(app))
        await client.start_server()
        clients.append(client)
        return client

    async with asyncio.TaskGroup() as tasks:
        yield start
        for client in clients:
            await client.close()
        for one in served:
            one.cancel()


async def _served(serve: Serve, channel: Channel) -> None:
    try:
        await serve(channel)
    finally:
        channel.abort()


class Ear:
    """Listener of a channel whose results can be awaited."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._received: asyncio.Queue[Message | Violation | Disconnect] = asyncio.Queue()
        self._drained = asyncio.Event()
        self.fills = 0
        channel.listen(self)

    async def receive(self) -> Message | Violation | Disconnect:
        """Return the next message, or why there is none."""
        return await self._received.get()

    async def empty(self) -> None:
        """Return when the kernel has taken all, or nothing will."""
        if self._channel.is_full:
            self._drained.clear()
            await self._drained.wait()

    def event_received(self, event: ChannelEvent) -> None:
        if isinstance(event, Message | Violation):
            self._received.put_nowait(event)

    def fail(self, fault: Exception) -> None:
        raise fault

    def disconnected(self, gone: Disconnect) -> None:
        self._received.put_nowait(gone)
        self._drained.set()

    def write_blocked(self) -> None:
        self.fills += 1

    def write_unblocked(self) -> None:
        self._drained.set()


class Echo:
    """Repeats what it receives, in the same turn."""

    def __init__(self, channel: Channel) -> None:
        self.over: asyncio.Future[Violation | Disconnect] = asyncio.get_running_loop().create_future()
        self._channel = channel
        channel.listen(self)

    def event_received(self, event: ChannelEvent) -> None:
        if isinstance(event, Message):
            self._channel.write([event.data])
        elif isinstance(event, Violation):
            self.over.set_result(event)

    def fail(self, fault: Exception) -> None:
        raise fault

    def disconnected(self, gone: Disconnect) -> None:
        if not self.over.done():
            self.over.set_result(gone)

    def write_blocked(self) -> None:
        """Do nothing."""

    def write_unblocked(self) -> None:
        """Do nothing."""


async def echo(channel: Channel) -> None:
    over = await Echo(channel).over
    await channel.close(over.code, "")


async def raw(client: TestClient[web.Request, web.Application], **how: Any) -> RawPhone:  # noqa: ANN401 - see there
    assert client.port is not None
    return await RawPhone.connect(client.port, "/", **how)
