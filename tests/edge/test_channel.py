"""Does a channel carry messages both ways, tell how they end, and wait for nobody for long?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.edge.channel import NOTSENT_BYTES, Channel, Gone, Message, accept, check_handshake
from gateway.protocol.codec import JSON, MSGPACK, Codec, codec_for
from tests.edge.visits import Server, SlowPhone

Serve = Callable[[Channel], Awaitable[None]]


class Serving(Protocol):
    """Serves channels with a function of the test's own."""

    def __call__(self, serve: Serve) -> Awaitable[TestClient[web.Request, web.Application]]:
        """Return who may connect."""
        ...


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """Serve channels until the test is over."""
    clients: list[TestClient[web.Request, web.Application]] = []

    async def start(serve: Serve) -> TestClient[web.Request, web.Application]:
        async def upgrade(request: web.Request) -> web.StreamResponse:
            check_handshake(request)
            codec = codec_for(request.headers["Sec-WebSocket-Protocol"])
            assert codec is not None
            channel, response = await accept(request, codec, message_bytes=1024)
            await serve(channel)
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


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
async def test_messages_cross_in_order_and_in_the_codecs_type(serving: Serving, codec: Codec) -> None:
    received: list[Message | Gone] = []

    async def serve(channel: Channel) -> None:
        received.append(await channel.receive())
        received.append(await channel.receive())
        await channel.write([b"one", b"two"])
        await channel.close(1000, "")

    client = await serving(serve)
    ws = await client.ws_connect("/", protocols=(codec.subprotocol,))
    await ws.send_str("text")
    await ws.send_bytes(b"\xff")
    answers = [await ws.receive(timeout=5) for _ in range(2)]
    assert received == [Message(b"text", text=True), Message(b"\xff", text=False)]
    kind = aiohttp.WSMsgType.TEXT if codec.text else aiohttp.WSMsgType.BINARY
    assert [answer.type for answer in answers] == [kind, kind]


async def ending(
    serving: Serving, leave: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[object]]
) -> Gone:
    """Return how a channel sees its client leave."""
    seen: asyncio.Future[Message | Gone] = asyncio.get_running_loop().create_future()

    async def serve(channel: Channel) -> None:
        seen.set_result(await channel.receive())

    client = await serving(serve)
    ws = await client.ws_connect("/", protocols=(JSON.subprotocol,))
    await leave(ws)
    async with asyncio.timeout(5):
        gone = await seen
    assert isinstance(gone, Gone)
    return gone


@pytest.mark.parametrize("code", [1000, 1001, 3456])
async def test_a_client_that_closes_says_why(serving: Serving, code: int) -> None:
    assert await ending(serving, lambda ws: ws.close(code=code)) == Gone("client", code)


async def test_a_broken_connection_says_nothing(serving: Serving) -> None:
    async def abort(ws: aiohttp.ClientWebSocketResponse) -> None:
        assert ws._conn is not None
        assert ws._conn.transport is not None
        ws._conn.transport.abort()

    assert await ending(serving, abort) == Gone("network", 1006)


async def test_a_message_far_too_large_is_never_taken_in(serving: Serving) -> None:
    assert await ending(serving, lambda ws: ws.send_str("x" * 4097)) == Gone("gateway", 1009)


async def test_a_breach_of_the_rules_is_closed(serving: Serving) -> None:
    breach = lambda ws: ws.send_frame(b"\x03\xe8", aiohttp.WSMsgType.CONTINUATION)  # noqa: E731 - one breach
    assert await ending(serving, breach) == Gone("gateway", 1002)


async def test_the_kernel_is_told_to_send_at_once_and_queue_little(serving: Serving) -> None:
    told: dict[str, int] = {}

    async def serve(channel: Channel) -> None:
        raw = channel._transport.get_extra_info("socket")
        told["nodelay"] = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        told["notsent"] = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)

    client = await serving(serve)
    await client.ws_connect("/", protocols=(JSON.subprotocol,))
    assert told == {"nodelay": 1, "notsent": NOTSENT_BYTES}


async def test_what_the_kernel_does_not_take_is_seen_and_drains(serving: Serving) -> None:
    unsent: asyncio.Queue[int] = asyncio.Queue()

    async def serve(channel: Channel) -> None:
        await channel.write([b"x" * 1_000_000])
        unsent.put_nowait(channel.unsent_bytes)
        await channel.drained()
        unsent.put_nowait(channel.unsent_bytes)

    async with await SlowPhone.connect(await serving(serve), "/") as slow, asyncio.timeout(10):
        assert await unsent.get() > 500_000
        await slow.reader.readexactly(1_000_000)
        assert await unsent.get() == 0


@pytest.mark.parametrize(("size", "whole"), [(10, True), (4_000_000, False)])
async def test_a_peer_that_does_not_answer_a_close_is_left(
    serving: Serving, *, size: int, whole: bool
) -> None:
    left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(channel: Channel) -> None:
        await channel.write([b"x" * size])
        await channel.close(4108, "slow")
        left.set_result(None)

    async with await SlowPhone.connect(await serving(serve), "/") as slow:
        async with asyncio.timeout(5):
            await left
        assert (await slow.read_to_the_end() > size) is whole


async def test_a_channel_whose_peer_has_gone_takes_frames_without_complaint(serving: Serving) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(channel: Channel) -> None:
        await channel.receive()
        await channel.write([b"late"])
        await channel.drained()
        await channel.close(1000, "late")
        done.set_result(None)

    client = await serving(serve)
    ws = await client.ws_connect("/", protocols=(JSON.subprotocol,))
    await ws.close()
    async with asyncio.timeout(5):
        await done
