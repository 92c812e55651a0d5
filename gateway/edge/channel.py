"""How do messages cross one WebSocket?

It knows nothing of sessions; how a connection comes to be one is asked in :mod:`gateway.edge.handshake`.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Final, Literal, NamedTuple, Protocol, assert_never

from gateway.protocol import websocket
from gateway.protocol.codec import Codec
from gateway.protocol.websocket import CloseReceived, Event, Message, Parser, Ping, PongFrame, Violation

CLOSE_S: Final = 1.0
"""How long the peer may take to answer a close, and to take what was written before it."""
PIECE_BYTES: Final = 16 * 1024
"""The transport gets no more at once: one for TLS would take all, and tell of none of it any more."""
PONGS_MAX: Final = 16
"""RFC 6455 §5.5.3: of pings that wait for their pongs, the newest may be answered alone."""
NO_FD: Final = -1


class Gone(NamedTuple):
    """There are no more messages; nothing can be written either.

    *by*: ``client`` when it closed with *code*, ``network`` when the connection broke (1006).
    """

    by: Literal["client", "network"]
    code: int


Heard = Message | Ping | PongFrame | Violation
"""What a channel tells whoever listens; pings are answered by itself."""


class Listener(Protocol):
    """Whoever hears what comes over a channel. No method blocks."""

    def heard(self, event: Heard) -> None:
        """Take in a message, a sign of life, or that nothing follows as the rules were broken."""
        ...

    def fail(self, fault: Exception) -> None:
        """Take in that what was heard could not be served."""
        ...

    def lost(self, gone: Gone) -> None:
        """Take in that there is nothing more; told once, and never after :meth:`Channel.close`."""
        ...

    def filled(self) -> None:
        """Take in that the kernel has not taken all that was written."""
        ...

    def drained(self) -> None:
        """Take in that the kernel has taken all that was written."""
        ...


class Channel(asyncio.Protocol):
    """One WebSocket after its handshake, as the protocol of its transport.

    Invariants: frames leave in the order of :meth:`write`; after a close nothing does. What comes is
    told at once, and nothing of it is kept but the part of a message.

    Args:
        transport: The connection. Nobody else reads, writes or closes it.
        codec: The agreed subprotocol.
        message_bytes: The largest message that may come.
        early: What came together with the handshake.
    """

    __slots__ = (
        "_has_closed",
        "_is_lost",
        "_is_paused",
        "_leaver",
        "_listener",
        "_message_bytes",
        "_open_fd",
        "_parser",
        "_pongs",
        "_transport",
        "_waiting",
        "codec",
    )

    def __init__(
        self, transport: asyncio.Transport, codec: Codec, *, message_bytes: int, early: bytes = b""
    ) -> None:
        self.codec: Final = codec
        self._transport = transport
        self._message_bytes = message_bytes
        self._parser: Parser | None = None
        """What a message has come of so far; between messages there is none."""
        if early:
            self._parsed(early)
        self._has_closed = False
        self._is_lost = False
        self._is_paused = False
        self._pongs: tuple[bytes, ...] = ()
        self._waiting: bytearray | None = None
        self._open_fd = NO_FD
        self._listener: Listener | None = None
        self._leaver: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """Take the connection over; nothing is read before :meth:`listen`."""
        self._transport.set_protocol(self)
        # full as soon as anything waits: what waits, waits as names in the outbox. Clear text is full
        # above the mark, TLS at it
        is_tls = self._transport.get_extra_info("sslcontext") is not None
        self._transport.set_write_buffer_limits(high=int(is_tls))
        self._transport.pause_reading()
        self._open()

    # ---- for the session ----

    def listen(self, listener: Listener) -> None:
        """Tell *listener* what comes from now on, beginning with what came together with the handshake."""
        self._listener = listener
        if self._is_lost:
            self._end(Gone("network", websocket.BROKEN))
            return
        self._transport.resume_reading()
        if self._parser is not None:
            self._tell_all(self._parser)

    def write(self, frames: list[bytes]) -> None:
        """Send *frames*. Never waits; what a dead connection cannot take is lost."""
        self.put(packed(frames, self.codec))

    def put(self, data: bytes) -> None:
        """Send *data*, which is whole WebSocket frames, after all that waits."""
        if self._open_fd >= 0 and not self._transport.is_closing():
            try:
                sent_bytes = os.write(self._open_fd, data)
            except OSError:  # full, or lost: which, the transport finds out
                sent_bytes = 0
            if sent_bytes == len(data):
                return
            data = data[sent_bytes:]
        self._send(data)

    def _send(self, data: bytes) -> None:
        """Send what the kernel may not take at once."""
        if self._has_closed or self._transport.is_closing() or not data:
            return
        if self._waiting or len(data) > PIECE_BYTES:
            self._waiting = (self._waiting or bytearray()) + data
            self._open_fd = NO_FD
            self._pour()
            self._open()
        else:
            self._transport.write(data)

    @property
    def is_full(self) -> bool:
        """Whether the kernel has not taken all that was written."""
        return self._is_paused or bool(self._waiting)

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken yet. Through TLS some 64 KiB less: asyncio's sum of its own."""
        return len(self._waiting or b"") + self._transport.get_write_buffer_size()

    async def close(self, code: int, reason: str) -> None:
        """Close with *code*, if the peer has not; bounded in time, whatever the peer does."""
        self._listener = None
        try:
            self._say_close(code, reason)
            self._transport.resume_reading()  # nobody may have listened
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
        """Take in what came."""
        parser = self._parsed(data)
        if self._leaver is not None:
            self._drop()
        else:
            self._tell_all(parser)

    def eof_received(self) -> None:
        """Take in that the peer sends nothing more: as it did not say so by a close, the connection broke."""
        self._end(Gone("network", websocket.BROKEN))

    def pause_writing(self) -> None:
        """Take in that the kernel does not take all."""
        self._is_paused = True
        self._open_fd = NO_FD
        if self._listener is not None:
            self._listener.filled()

    def resume_writing(self) -> None:
        """Take in that the kernel has taken what the transport got."""
        self._is_paused = False
        self._pour()
        self._open()
        self._flush_pongs()
        if self._listener is not None and not self.is_full:
            self._listener.drained()

    def connection_lost(self, _: Exception | None) -> None:
        """Take in that the connection has ended."""
        self._is_lost = True
        self._open_fd = NO_FD
        self._end(Gone("network", websocket.BROKEN))
        if self._leaver is not None and not self._leaver.done():
            self._leaver.set_result(None)

    # ---- inner ----

    def _parsed(self, data: bytes) -> Parser:
        """Give the parser what came, and return it."""
        self._parser = self._parser or Parser(self._message_bytes)
        self._parser.feed(data)
        return self._parser

    def _tell_all(self, parser: Parser) -> None:
        last: Event | None = None
        while self._listener is not None and (event := parser.take()) is not None:
            self._tell(event, self._listener)
            last = event
        if isinstance(last, Message) and parser.is_between:
            self._parser = None  # a whole message leaves nothing that the next one depends on
        self._flush_pongs()

    def _tell(self, event: Event, listener: Listener) -> None:
        match event:
            case Message() | Violation():
                self._flush_pongs()
                self._hear(event, listener)
            case Ping(payload=payload):
                self._pongs = (*self._pongs, payload)[-PONGS_MAX:]
                self._hear(event, listener)
            case PongFrame():
                self._hear(event, listener)
            case CloseReceived(code=code):
                self._say_close(code, "")  # §5.5.1: with the peer's own code
                self._transport.close()  # §7.1.1: the server closes first
                self._end(Gone("client", code))
            case _:
                assert_never(event)

    def _hear(self, event: Heard, listener: Listener) -> None:
        try:
            listener.heard(event)
        except Exception as fault:  # noqa: BLE001 - one socket's fault ends one socket
            listener.fail(fault)

    def _end(self, gone: Gone) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.lost(gone)

    def _drop(self) -> None:
        """Let go of all that came, up to the peer's close, after which the server closes (§7.1.1)."""
        while self._parser is not None and (event := self._parser.take()) is not None:
            if isinstance(event, CloseReceived):
                self._transport.close()

    def _hang_up(self) -> None:
        """After a breach no answer can be read: let the peer see that nothing more comes, and go (§7.1.7)."""
        transport = self._transport
        is_over = self._parser is not None and self._parser.is_over
        if is_over and not (self._waiting or transport.is_closing()) and transport.can_write_eof():
            transport.write_eof()

    def _open(self) -> None:
        """Let writes go to the descriptor itself while nothing waits: a fifth of each was the transport's."""
        is_clear = self._transport.get_extra_info("sslcontext") is None
        if is_clear and not (self._has_closed or self._is_lost or self.is_full):
            self._open_fd = self._transport.get_extra_info("socket").fileno()

    def _flush_pongs(self) -> None:
        """Answer pings when the kernel takes the answers (§5.5.2); one write for all."""
        if self._pongs and not self.is_full:
            pongs, self._pongs = self._pongs, ()
            self.put(b"".join(websocket.frame(websocket.PONG, payload) for payload in pongs))

    def _say_close(self, code: int, reason: str) -> None:
        self.put(websocket.close(code, reason))
        self._has_closed = True
        self._open_fd = NO_FD

    def _pour(self) -> None:
        """Give the transport as much of what waits as leaves at once, and one piece more."""
        while self._waiting and not (self._is_paused or self._transport.is_closing()):
            piece = bytes(self._waiting[:PIECE_BYTES])
            del self._waiting[:PIECE_BYTES]
            self._transport.write(piece)
        if not self._waiting:
            self._waiting = None  # one that was emptied keeps its memory


def packed(frames: list[bytes], codec: Codec) -> bytes:
    """Return *frames* as WebSocket messages in one piece, the same for all peers: a server masks nothing."""
    opcode = websocket.TEXT if codec.text else websocket.BINARY
    parts: list[bytes] = []
    for frame in frames:
        parts += (websocket.head(opcode, len(frame)), frame)
    return b"".join(parts)
