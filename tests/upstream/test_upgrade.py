"""Upgrade of a link: only a genuine WebSocket server is accepted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
import uvloop
from yarl import URL

from gateway.domain.commands import Alive, KeepAlive
from gateway.domain.upstream import LinkClosed, Opened
from gateway.protocol import websocket
from gateway.runtime.event_loop import LinkScheduler, SystemClock
from gateway.simulator.web import self_signed, server_context
from gateway.upstream.oscce import MESSAGE_BYTES, OsccServer, upgrade
from gateway.upstream.oscce.http import tls_context
from gateway.upstream.oscce.socket import Closed, LinkSocket
from tests.doubles.tasks import beside
from tests.upstream.samples import TIME_MS
from tests.upstream.scripted_server import SECRET, USER, scene

LIMIT = 1_000_000
TURNS = LinkScheduler(SystemClock())
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Asked(NamedTuple):
    """What a raw server was asked, and its way back."""

    head: bytes
    writer: asyncio.StreamWriter

    def header(self, name: bytes) -> bytes:
        """Return the value of a header."""
        found = [line for line in self.head.split(b"\r\n") if line.lower().startswith(name.lower() + b":")]
        assert len(found) == 1
        return found[0].split(b":", 1)[1].strip()

    def accept(self, *, status: str = "101 Switching Protocols", **changed: str) -> bytes:
        """Return the head of an answer, in which headers may be *changed*."""
        key = self.header(b"Sec-WebSocket-Key") + GUID
        proof = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest()).decode()
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": proof} | {
            name.replace("_", "-"): value for name, value in changed.items()
        }
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode()


class Place(NamedTuple):
    """Address of a raw server, and a client for it."""

    url: URL
    http: aiohttp.ClientSession

    async def upgrade(self, **headers: str) -> LinkSocket:
        return await upgrade(
            self.http,
            self.url,
            headers,
            tls=True,
            subprotocol="s.v1",
            message_bytes=LIMIT,
            link_scheduler=TURNS,
            ended=lambda *_: None,
        )

    @property
    def is_idle(self) -> bool:
        """Whether the client's session holds no connection."""
        connector = self.http.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        return not connector._acquired


@asynccontextmanager
async def raw(answer: Callable[[Asked], bytes]) -> AsyncIterator[Place]:
    """Run a server that answers the first request of each connection with bytes, and hears what follows."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = Asked(await reader.readuntil(b"\r\n\r\n"), writer)
            writer.write(answer(asked))
            while await reader.read(1000):
                pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, aiohttp.ClientSession() as http:
        host, port = server.sockets[0].getsockname()
        yield Place(URL(f"http://{host}:{port}/link"), http)


async def test_what_comes_with_the_handshake_is_received() -> None:
    hello = websocket.frame(1, b"hello")
    for early in (hello, hello * 2 + hello[:3], websocket.frame(1, b"x" * 300_000)):
        async with raw(lambda asked, early=early: asked.accept() + early) as at:  # type: ignore[misc] # a lambda has no types
            socket = await at.upgrade()
            first = await socket.receive()
            assert first == "hello" if early.startswith(hello) else len(str(first)) == 300_000
            socket.abort()
            while await socket.receive() != Closed():
                pass


async def test_it_asks_for_what_it_speaks_and_its_session_holds_nothing_before_and_after_the_end() -> None:
    seen: list[Asked] = []

    def answer(asked: Asked) -> bytes:
        seen.append(asked)
        return asked.accept()

    async with raw(answer) as at:
        for _ in range(2):
            socket = await at.upgrade(**{"X-Mine": "1"})
            assert (at.is_idle, len(TURNS.transports)) == (True, 1)
            socket.abort()
            assert await socket.receive() == Closed()
            assert (at.is_idle, len(TURNS.transports)) == (True, 0)
    first, second = seen
    assert first.header(b"Sec-WebSocket-Protocol") == b"s.v1"
    assert first.header(b"Sec-WebSocket-Version") == b"13"
    assert first.header(b"X-Mine") == b"1"
    assert len(base64.b64decode(first.header(b"Sec-WebSocket-Key"))) == 16
    assert first.header(b"Sec-WebSocket-Key") != second.header(b"Sec-WebSocket-Key")


@pytest.mark.parametrize(
    "connection", ["keep-alive, Upgrade", "UPGRADE,close", "keep-alive\r\nConnection: upgrade"]
)
async def test_what_else_the_server_says_of_the_connection_is_legal(connection: str) -> None:
    async with raw(lambda asked: asked.accept(Connection=connection)) as at:
        socket = await at.upgrade()
        await socket.send("hello")
        socket.abort()


@pytest.mark.parametrize(
    "answer",
    [
        lambda asked: asked.accept(Upgrade="other"),
        lambda asked: asked.accept(Connection="keep-alive, upgraded"),
        lambda asked: asked.accept(Connection="close"),
        lambda asked: asked.accept(Sec_WebSocket_Accept="AAAA"),
        lambda asked: asked.accept(Sec_WebSocket_Protocol="other"),
        lambda asked: asked.accept(Sec_WebSocket_Extensions="permessage-deflate"),
        lambda asked: asked.accept(status="200 OK", Content_Length="0"),
        lambda asked: asked.accept(status="307 Elsewhere", Location="/elsewhere", Content_Length="0"),
        lambda _: b"",
    ],
)
async def test_what_is_no_websocket_is_refused(answer: Callable[[Asked], bytes]) -> None:
    def once(asked: Asked) -> bytes:
        received = answer(asked)
        if not received:
            asked.writer.close()
        return received

    async with raw(once) as at:
        with pytest.raises(aiohttp.ClientError):
            await at.upgrade()
        assert at.is_idle


# ---- taking a link's connection from aiohttp ----


MESSAGES = 20


async def talk(folder: Path | None) -> None:
    """OnReadings more than may wait, ask, and close, with the real clock."""
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
        async with beside(_say(at.server.say, text)):
            for _ in range(MESSAGES):
                assert await link.receive() is None
        async with beside(link.request(KeepAlive())) as asking:
            # as a server's clock goes on: one that stood still for two seconds would have been set back
            await at.server.respond(Time=TIME_MS + round(1000 * (clock.now() - began)))
            assert await link.receive() is None
        assert isinstance(asking.result(), Alive)
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
