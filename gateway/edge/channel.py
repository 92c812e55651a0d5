"""How do messages cross one WebSocket?

The one room of the edge that knows how a connection is taken from aiohttp, which does the handshake
only. It knows nothing of sessions.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from aiohttp import HttpVersion11, hdrs, web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol import websocket
from gateway.protocol.codec import Codec
from gateway.protocol.frames import PROTOCOLS
from gateway.protocol.websocket import CloseReceived, Message, Parser, Ping, PongFrame, Violation

NOTSENT_BYTES: Final = 16 * 1024
"""The kernel takes no more than this beyond what is in flight; without it megabytes grow stale there."""
CLOSE_S: Final = 1.0
"""How long the peer may take to answer a close, and to take what was written before it."""
PIECE_BYTES: Final = 16 * 1024
"""The transport gets no more at once: one for TLS would take all, and tell of none of it any more."""
PONGS_MAX: Final = 16
"""RFC 6455 §5.5.3: of pings that wait for their pongs, the newest may be answered alone."""
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §4.2.2."""
_VERSION: Final = "13"


class Gone(NamedTuple):
    """There are no more messages; nothing can be written either.

    *by*: ``client`` when it closed with *code*, ``network`` when the connection broke (1006).
    """

    by: Literal["client", "network"]
    code: int


class Channel(asyncio.Protocol):
    """One WebSocket after its handshake, as the protocol of its transport.

    Invariants: frames leave in the order of :meth:`write`; after a close nothing does. What came
    and was not received is held as bytes, and no more is read while that is more than a message.

    Args:
        transport: The connection. Nobody else reads, writes or closes it.
        server: Whose it was; it is told when the connection is lost.
        codec: The agreed subprotocol.
        message_bytes: The largest message that may come.
    """

    __slots__ = (
        "_drainer",
        "_gone",
        "_has_closed",
        "_held_bytes_max",
        "_is_held",
        "_leaver",
        "_opcode",
        "_parser",
        "_pongs",
        "_receiver",
        "_server",
        "_transport",
        "_waiting",
        "codec",
    )

    def __init__(
        self, transport: asyncio.Transport, server: asyncio.BaseProtocol, codec: Codec, *, message_bytes: int
    ) -> None:
        self.codec: Final = codec
        self._transport = transport
        self._server: asyncio.BaseProtocol | None = server
        self._opcode = websocket.TEXT if codec.text else websocket.BINARY
        self._parser = Parser(message_bytes)
        self._held_bytes_max = message_bytes + websocket.HEAD_BYTES_MAX
        self._is_held = False
        self._has_closed = False
        self._gone: Gone | None = None
        self._pongs: tuple[bytes, ...] = ()
        self._waiting = bytearray()
        self._receiver: asyncio.Future[None] | None = None
        self._drainer: asyncio.Future[None] | None = None
        self._leaver: asyncio.Future[None] | None = None

    def begin(self, early: bytes) -> None:
        """Take the connection over. *early*: what came together with the handshake."""
        self._transport.set_protocol(self)
        # full as soon as anything waits: what waits, waits as names in the outbox. Clear text is full
        # above the mark, TLS at it
        is_tls = self._transport.get_extra_info("sslcontext") is not None
        self._transport.set_write_buffer_limits(high=int(is_tls))
        self._transport.resume_reading()
        _tune(self._transport.get_extra_info("socket"))
        if early:
            self.data_received(early)

    # ---- for the session ----

    async def receive(self) -> Message | Violation | Gone:
        """Return the next message, or why there is none. After that there is nothing more to receive."""
        while True:
            match self._parser.take():
                case Message() | Violation() as event:
                    self._flush_pongs()
                    return event
                case Ping(payload=payload):
                    self._pongs = (*self._pongs, payload)[-PONGS_MAX:]
                case PongFrame():
                    pass
                case CloseReceived(code=code):
                    self._say_close(code, "")  # §5.5.1: with the peer's own code
                    self._transport.close()  # §7.1.1: the server closes first
                    return Gone("client", code)
                case None:
                    self._flush_pongs()
                    if self._gone is not None:
                        return self._gone
                    await self._more()

    def write(self, frames: list[bytes]) -> None:
        """Send *frames*. Never waits; what a dead connection cannot take is lost."""
        parts: list[bytes] = []
        for frame in frames:
            parts += (websocket.head(self._opcode, len(frame)), frame)
        self._send(b"".join(parts))

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken yet. Through TLS some 64 KiB less: asyncio's sum of its own."""
        return len(self._waiting) + self._transport.get_write_buffer_size()

    async def drained(self) -> None:
        """Return when the kernel has taken all, or nothing will; to be cancelled with the connection only."""
        while self.unsent_bytes and not self._is_lost:
            self._drainer = asyncio.get_running_loop().create_future()
            await self._drainer

    async def close(self, code: int, reason: str) -> None:
        """Close with *code*, if the peer has not; bounded in time, whatever the peer does."""
        try:
            self._say_close(code, reason)
            self._drop()
            self._hang_up()
            if not self._is_lost:
                self._leaver = asyncio.get_running_loop().create_future()
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_S):
                        await self._leaver
        finally:
            self.abort()

    def abort(self) -> None:
        """End the connection now. Does nothing when it has ended."""
        if not self._is_lost:
            self._transport.abort()

    # ---- asyncio.Protocol ----

    def data_received(self, data: bytes) -> None:
        """Take in what came, and stop reading when more waits than a message."""
        self._parser.feed(data)
        if self._leaver is not None:
            self._drop()
        elif self._parser.waiting_bytes > self._held_bytes_max and not self._is_held:
            self._is_held = True
            self._transport.pause_reading()
        _wake(self._receiver)

    def eof_received(self) -> None:
        """Take in that the peer sends nothing more: as it did not say so by a close, the connection broke."""
        self._end()

    def resume_writing(self) -> None:
        """Take in that the kernel has taken what the transport got."""
        self._pour()
        self._flush_pongs()
        _wake(self._drainer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take in that the connection has ended."""
        server, self._server = self._server, None
        self._end()
        _wake(self._drainer)
        _wake(self._leaver)
        if server is not None:
            server.connection_lost(exc)

    # ---- inner ----

    @property
    def _is_lost(self) -> bool:
        return self._server is None

    def _end(self) -> None:
        self._gone = Gone("network", websocket.BROKEN)
        _wake(self._receiver)

    async def _more(self) -> None:
        """Return when more has come."""
        if self._is_held:
            self._is_held = False
            self._transport.resume_reading()
        self._receiver = asyncio.get_running_loop().create_future()
        await self._receiver

    def _drop(self) -> None:
        """Let go of all that came, up to the peer's close, after which the server closes (§7.1.1)."""
        while (event := self._parser.take()) is not None:
            if isinstance(event, CloseReceived):
                self._transport.close()
        if self._is_held and not self._is_lost:
            self._is_held = False
            self._transport.resume_reading()

    def _hang_up(self) -> None:
        """After a breach no answer can be read: let the peer see that nothing more comes, and go (§7.1.7)."""
        transport = self._transport
        if (
            self._parser.is_over
            and not (self._waiting or transport.is_closing())
            and transport.can_write_eof()
        ):
            transport.write_eof()

    def _flush_pongs(self) -> None:
        """Answer pings when the kernel takes the answers (§5.5.2); one write for all."""
        if self._pongs and not self.unsent_bytes:
            pongs, self._pongs = self._pongs, ()
            self._send(b"".join(websocket.frame(websocket.PONG, payload) for payload in pongs))

    def _say_close(self, code: int, reason: str) -> None:
        self._send(websocket.close(code, reason))
        self._has_closed = True

    def _send(self, data: bytes) -> None:
        """Write after all that waits."""
        if data and not (self._has_closed or self._transport.is_closing()):
            if self._waiting or len(data) > PIECE_BYTES:
                self._waiting += data
                self._pour()
            else:
                self._transport.write(data)

    def _pour(self) -> None:
        """Give the transport as much of what waits as leaves at once, and one piece more."""
        while self._waiting and not (self._transport.get_write_buffer_size() or self._transport.is_closing()):
            piece = bytes(self._waiting[:PIECE_BYTES])
            del self._waiting[:PIECE_BYTES]
            self._transport.write(piece)


def check_handshake(request: web.Request) -> None:
    """Refuse what asks for no WebSocket (RFC 6455 §4.2.1).

    Raises:
        GatewayError: ``bad_request``.
    """
    asks = (
        request.version >= HttpVersion11
        and not request.body_exists
        and request.headers.get(hdrs.SEC_WEBSOCKET_VERSION) == _VERSION
        and web.WebSocketResponse(protocols=PROTOCOLS).can_prepare(request)
    )
    if not asks:
        raise GatewayError(ErrorCode.BAD_REQUEST, "A WebSocket handshake is needed here.")


async def accept(
    request: web.Request, codec: Codec, *, message_bytes: int
) -> tuple[Channel, web.StreamResponse]:
    """Upgrade *request*; returns the channel, and what its handler must return when that has ended.

    Raises:
        ConnectionResetError: The peer has left.
    """
    key = request.headers[hdrs.SEC_WEBSOCKET_KEY].encode()
    # §4.2.2; SHA-1 guards nothing here, it only shows that the server means WebSocket
    proof = base64.b64encode(hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest()).decode()
    response = web.StreamResponse(
        status=101,
        headers={
            hdrs.UPGRADE: "websocket",
            hdrs.CONNECTION: "Upgrade",
            hdrs.SEC_WEBSOCKET_ACCEPT: proof,
            hdrs.SEC_WEBSOCKET_PROTOCOL: codec.subprotocol,
        },
    )
    response.force_close()  # what aiohttp does when the handler returns, and then finds done
    await response.prepare(request)
    transport, server = request.transport, request.protocol
    if transport is None:
        raise ConnectionResetError("the peer left during the handshake")
    channel = Channel(transport, server, codec, message_bytes=message_bytes)
    channel.begin(_let_go(server))
    return channel, response


def _let_go(server: web.RequestHandler) -> bytes:
    """Take its connection from aiohttp; returns what came behind the handshake.

    Without a transport aiohttp neither writes nor closes, whatever becomes of the handler; its timer
    is stopped. It still waits for the handler, and cancels it when the server ends.
    """
    server.keep_alive(False)
    server.transport = None
    early, server._message_tail = server._message_tail, b""  # noqa: SLF001 - it offers no other way
    return early


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def _tune(raw: socket.socket | None) -> None:
    """Send at once, and let the kernel queue little. Not every socket can: then it does not."""
    if raw is None or raw.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with suppress(OSError):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_BYTES)
