"""Handshake: the connection is taken over from aiohttp whole."""

from __future__ import annotations

import asyncio
import gc

import pytest
from aiohttp import web

from gateway.edge.channel import Channel
from gateway.protocol.codec import JSON
from tests.edge.channels import Serving, echo, raw
from tests.edge.raw_phone import PROOF
from tests.protocol.framing import Received, closing, framed, text


@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade"])
async def test_the_handshake_is_answered_as_the_rfc_says(serving: Serving, connection: str) -> None:
    client = await serving(echo)
    async with await raw(client, connection=connection) as phone:
        status, *lines = phone.head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert status == "HTTP/1.1 101 Switching Protocols"
        assert headers["sec-websocket-accept"] == PROOF
        assert headers["sec-websocket-protocol"] == JSON.subprotocol
        assert (headers["upgrade"], headers["connection"]) == ("websocket", "Upgrade")
        assert not {"sec-websocket-extensions", "content-length", "transfer-encoding"} & headers.keys()


async def test_what_came_with_the_handshake_is_not_lost(serving: Serving) -> None:
    early = text("a" * 1000) * 100
    async with await raw(await serving(echo), early=early + text("b")[:3]) as phone:
        phone.send(text("b")[3:] + closing(1000))
        assert await phone.end() == [Received(1, b"a" * 1000)] * 100 + [
            Received(1, b"b"),
            Received(8, b"\x03\xe8"),
        ]


DEFLATE = "permessage-deflate"


@pytest.mark.parametrize(
    "offer",
    [
        DEFLATE,
        f"{DEFLATE}; client_no_context_takeover; client_max_window_bits",
        f'{DEFLATE}; server_max_window_bits=10, x-webkit-deflate-frame, {DEFLATE}; x="1, 2"',
        "; ,=",
    ],
)
async def test_compression_is_refused_by_saying_nothing_of_it(serving: Serving, offer: str) -> None:
    asks = f"Upgrade\r\nSec-WebSocket-Extensions: {offer}"
    async with await raw(await serving(echo), connection=asks) as phone:
        assert phone.head.startswith("HTTP/1.1 101 ")
        assert "extensions" not in phone.head.lower()
        phone.send(text("plain"))
        assert await phone.hear() == Received(1, b"plain")
        phone.send(framed(1, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=4))  # "Hello" (RFC 7692 §7.2.3.1)
        assert [frame.payload[:2] for frame in await phone.end()] == [(1002).to_bytes(2, "big")]


async def test_a_client_that_would_compress_does_not(serving: Serving) -> None:
    client = await serving(echo)
    async with client.ws_connect("/", protocols=(JSON.subprotocol,), compress=15) as ws:
        assert ws.compress == 0
        await ws.send_str("x" * 1000)
        assert await ws.receive_str(timeout=5) == "x" * 1000


@pytest.mark.parametrize("said", ["Content-Length: 5", "Transfer-Encoding: chunked"])
async def test_a_handshake_with_a_body_is_none(serving: Serving, said: str) -> None:
    client = await serving(echo)
    async with await raw(client, connection=f"Upgrade\r\n{said}") as phone:
        assert phone.head.startswith("HTTP/1.1 500"), "the test's own server knows no problems"


async def test_the_parts_of_aiohttp_that_are_touched_are_there() -> None:
    async def never(request: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError

    server = web.Server(never)()
    assert (server._message_tail, server.transport) == (b"", None)
    server.connection_lost(None)


async def test_aiohttp_is_let_go(serving: Serving) -> None:
    """Nothing of it is left: neither its protocol, nor the request, nor a task, nor a timer."""
    seen: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()

    async def serve(channel: Channel) -> None:
        seen.set_result(channel)
        await echo(channel)

    client = await serving(serve)
    assert client.server.runner is not None
    server = client.server.runner.server
    assert isinstance(server, web.Server)
    async with await raw(client) as phone:
        transport = (await seen)._transport
        phone.send(text("still here"))
        assert await phone.hear() == Received(1, b"still here")
        assert isinstance(transport.get_protocol(), Channel)
        assert server.connections == []
        gc.collect()
        kinds = {type(each) for each in gc.get_objects()}  # of what a weak reference stands for none is asked
        assert not [kind for kind in kinds if issubclass(kind, web.RequestHandler | web.Request)]
        assert not [task for task in asyncio.all_tasks() if "web_protocol" in repr(task)]


async def test_a_server_that_ends_leaves_open_sockets_to_their_owner(serving: Serving) -> None:
    client = await serving(echo)
    assert client.server.runner is not None
    server = client.server.runner.server
    assert isinstance(server, web.Server)
    async with await raw(client) as phone:
        server.pre_shutdown()
        await server.shutdown(0.2)
        phone.send(text("still here"))
        assert await phone.hear() == Received(1, b"still here")
