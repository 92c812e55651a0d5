"""How does a test serve channels, without the rest of the edge?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.edge.channel import Channel, accept, check_handshake
from gateway.protocol.codec import codec_for
from gateway.protocol.websocket import Message
from tests.edge.raw_phone import RawPhone
from tests.edge.visits import Server

MESSAGE_BYTES = 1024
Serve = Callable[[Channel], Awaitable[None]]


class Serving(Protocol):
    """Serves channels with a function of the test's own."""

    def __call__(self, serve: Serve) -> Awaitable[TestClient[web.Request, web.Application]]:
        """Return who may connect."""
        ...


@asynccontextmanager
async def channels_served() -> AsyncIterator[Serving]:
    """Serve channels until the test is over."""
    clients: list[TestClient[web.Request, web.Application]] = []

    async def start(serve: Serve) -> TestClient[web.Request, web.Application]:
        async def upgrade(request: web.Request) -> web.StreamResponse:
            check_handshake(request)
            codec = codec_for(request.headers["Sec-WebSocket-Protocol"])
            assert codec is not None
            channel, response = await accept(request, codec, message_bytes=MESSAGE_BYTES)
            try:
                await serve(channel)
            finally:
                channel.abort()
            return response

        app = web.Application()
        app.router.add_get("/", upgrade)
        client: TestClient[web.Request, web.Application] = TestClient(Server(app))
        await client.start_server()
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()


async def echo(channel: Channel) -> None:
    """Say what is said, until the end."""
    while isinstance(said := await channel.receive(), Message):
        channel.write([said.data])
        await channel.drained()
    await channel.close(said.code, "")


async def raw(client: TestClient[web.Request, web.Application], **how: Any) -> RawPhone:  # noqa: ANN401 - see there
    """Connect without any rules."""
    assert client.port is not None
    return await RawPhone.connect(client.port, "/", **how)
