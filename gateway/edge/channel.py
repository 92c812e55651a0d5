"""One WebSocket connection after its handshake: frames in, frames out, close, and its statistics.

It is independent of sessions. The handshake is in :mod:`gateway.edge.handshake`.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import termios
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple, Protocol, assert_never

from gateway.core.outbox import Outbox
from gateway.core.session import Answered, Live, Resumed
from gateway.domain.errors import CloseCode
from gateway.domain.model import Application, Ticket, UserId
from gateway.edge.request_context import IPAddress
from gateway.protocol import websocket
from gateway.protocol.codec import Codec
from gateway.protocol.websocket import (
    CloseReceived,
    Message,
    Parser,
    PongFrame,
    Violation,
    WebSocketEvent,
    WebSocketPing,
)
from gateway.telemetry import OTHER, Telemetry

CLOSE_S: Final = 1.0
"""Time for the peer to answer a close, and to read what was written before it."""
PIECE_BYTES: Final = 16 * 1024
"""Largest write to the transport. A TLS transport would accept everything and hide the unsent bytes."""
PONGS_MAX: Final = 16
"""RFC 6455 §5.5.3: of several unanswered pings, only the newest need be answered."""
NO_FD: Final = -1
DEFLATE_BYTES_MIN: Final = 4 * 1024
"""Smallest frame that is compressed. Only state is, and never a frame with a token (CRIME, BREACH)."""


class Disconnect(NamedTuple):
    """End of a connection: nothing can be read or written after it.

    *by*: ``client``: it closed with *code*; ``network``: the connection broke (1006).
    """

    by: Literal["client", "network"]
    code: int


class _Waiting(NamedTuple):
    """A large frame to be compressed (*is_raw*), or whole WebSocket frames that are sent after one."""

    data: bytes
    is_raw: bool


ChannelEvent = Message | WebSocketPing | PongFrame | Violation
"""Events for the listener of a channel. The channel answers pings itself."""


class ChannelListener(Protocol):
    """Receiver of the events of a channel. No method blocks."""

    def event_received(self, event: ChannelEvent) -> None:
        """Handle a message, a ping or pong, or a violation, after which nothing follows."""

    def fail(self, fault: Exception) -> None:
        """Handle the exception that an event caused."""

    def disconnected(self, gone: Disconnect) -> None:
        """Handle the end of the connection. Called at most once, not after :meth:`Channel.close`."""

    def write_blocked(self) -> None:
        """Handle a full send buffer: the kernel has not accepted everything."""

    def write_unblocked(self) -> None:
        """Handle an empty send buffer: the kernel has accepted everything."""


class Channel(asyncio.Protocol):
    """WebSocket after its handshake, as the asyncio protocol of its transport.

    Invariants: frames are sent in the order of :meth:`write`, and none after a close. What arrives is passed
    on at once; only an incomplete message is stored.

    Args:
        transport: The connection. Nothing else reads, writes or closes it.
        early: Bytes that arrived together with the handshake.
        deflate: Whether compressed messages were agreed on (RFC 7692).
    """

    __slots__ = (
        "_frames", "_has_closed", "_is_lost", "_is_paused", "_listener", "_message_bytes", "_parser",
        "_pongs", "_transport", "_until_lost", "_waiting", "codec", "deflate", "open_fd",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        codec: Codec,
        *,
        message_bytes: int,
        early: bytes = b"",
        deflate: bool = False,
    ) -> None:
        self.codec: Final = codec
        self._transport = transport
        self._message_bytes = message_bytes
        self.deflate: Final = deflate
        self._frames: deque[_Waiting] | None = None
        """Data that waits behind a large uncompressed frame; None most of the time."""
        self._parser: Parser | None = None
        """Parser of an incomplete message; None between messages."""
        if early:
            self._feed(early)
        self._has_closed = False
        self._is_lost = False
        self._is_paused = False
        self._pongs: tuple[bytes, ...] = ()
        self._waiting: bytearray | None = None
        self.open_fd = NO_FD
        """The descriptor while whole WebSocket frames may be written to it directly; else :data:`NO_FD`."""
        self._listener: ChannelListener | None = None
        self._until_lost: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """Take the connection over. Nothing is read before :meth:`listen`."""
        self._transport.set_protocol(self)
        # full as soon as data waits: updates then wait as keys in the outbox. A clear-text transport
        # is full above the mark, a TLS transport at it
        is_tls = self._transport.get_extra_info("sslcontext") is not None
        self._transport.set_write_buffer_limits(high=int(is_tls))
        self._transport.pause_reading()
        self._allow_direct_writes()

    # ---- for the session ----

    def listen(self, listener: ChannelListener) -> None:
        """Pass events to *listener*, first those that arrived with the handshake."""
        self._listener = listener
        if self._is_lost:
            self._report_end(Disconnect("network", websocket.BROKEN))
            return
        self._transport.resume_reading()
        if self._parser is not None:
            self._process_all(self._parser)

    def write(self, frames: list[bytes]) -> None:
        """Send *frames*. Never waits. On a dead connection they are lost.

        Large state is compressed where that was agreed on: one frame in each turn of the loop.
        """
        if not (self.deflate and any(self._is_compressible(frame) for frame in frames)):
            self.put(packed(frames, self.codec))
            return
        waiting = self._frames or deque()
        for frame in frames:
            is_raw = self._is_compressible(frame)
            waiting.append(_Waiting(frame if is_raw else packed([frame], self.codec), is_raw))
        if self._frames is None and self._send_some(waiting) and self._listener is not None:
            self._listener.write_blocked()

    def _is_compressible(self, frame: bytes) -> bool:
        return len(frame) >= DEFLATE_BYTES_MIN and self.codec.is_changes(frame)

    def _send_some(self, waiting: deque[_Waiting]) -> bool:
        """Send waiting data up to its second large frame. Return whether the rest follows in a later turn."""
        opcode = websocket.TEXT if self.codec.text else websocket.BINARY
        parts: list[bytes] = []
        is_large = False
        while waiting and not (is_large and waiting[0].is_raw):
            data, is_raw = waiting.popleft()
            parts.append(websocket.deflated(opcode, data) if is_raw else data)
            is_large = is_large or is_raw
        self._frames = None
        self._allow_direct_writes()
        self.put(b"".join(parts))
        if not waiting:
            return False
        self._frames, self.open_fd = waiting, NO_FD
        asyncio.get_running_loop().call_soon(self._send_more, waiting)
        return True

    def _send_more(self, waiting: deque[_Waiting]) -> None:
        """Send more of the waiting data, unless a close has sent it or the connection is gone."""
        if self._frames is not waiting or self._send_some(waiting):
            return
        if self._listener is not None and not self.is_full:
            self._listener.write_unblocked()

    def put(self, data: bytes) -> None:
        """Send *data*, which is whole WebSocket frames, after waiting data."""
        sent_bytes = 0
        if self.open_fd >= 0:
            try:
                sent_bytes = os.write(self.open_fd, data)
            except OSError:  # full or lost: the transport detects which
                sent_bytes = 0
        if sent_bytes != len(data):
            self._send(data[sent_bytes:])

    def _send(self, data: bytes) -> None:
        """Send *data* through the transport, in pieces."""
        if self._has_closed or self._transport.is_closing() or not data:
            return
        if self._frames is not None:
            self._frames.append(_Waiting(data, is_raw=False))
        elif self._waiting or len(data) > PIECE_BYTES:
            self._waiting = (self._waiting or bytearray()) + data
            self.open_fd = NO_FD
            self._write_pieces()
            self._allow_direct_writes()
        else:
            self._transport.write(data)

    @property
    def is_full(self) -> bool:
        """Whether the kernel has not accepted everything."""
        return self._is_paused or self._frames is not None or bool(self._waiting)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the kernel has not accepted. With TLS, asyncio does not count up to 64 KiB."""
        frames_bytes = sum(len(each.data) for each in self._frames or ())
        return frames_bytes + len(self._waiting or b"") + self._transport.get_write_buffer_size()

    @property
    def has_unread(self) -> bool:
        """Whether the kernel has data of the peer that the node has not read yet."""
        fd = self._transport.get_extra_info("socket").fileno()
        return fd >= 0 and any(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))

    async def close(self, code: int, reason: str) -> None:
        """Close with *code*, unless the peer has closed. Bounded in time, whatever the peer does."""
        self._listener = None
        try:
            self._write_close(code, reason)
            self._transport.resume_reading()  # reading is paused without a listener
            self._discard()
            self._end_output()
            if not self._is_lost:
                self._until_lost = asyncio.get_running_loop().create_future()
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_S):
                        await self._until_lost
        finally:
            self.abort()

    def abort(self) -> None:
        """End the connection now. Do nothing when it has ended."""
        self.open_fd = NO_FD
        if not self._is_lost:
            self._transport.abort()

    def restart_count(self) -> None:
        """Restart the count of frames without a message."""
        if self._parser is not None:
            self._parser.restart_count()

    # ---- asyncio.Protocol ----

    def data_received(self, data: bytes) -> None:
        """Handle received bytes."""
        parser = self._feed(data)
        if self._until_lost is not None:
            self._discard()
        else:
            self._process_all(parser)

    def eof_received(self) -> None:
        """Handle the end of the peer's data: without a close frame the connection broke."""
        self.open_fd = NO_FD  # the transport closes
        self._report_end(Disconnect("network", websocket.BROKEN))

    def pause_writing(self) -> None:
        """Handle a full send buffer."""
        self._is_paused = True
        self.open_fd = NO_FD
        if self._listener is not None:
            self._listener.write_blocked()

    def resume_writing(self) -> None:
        """Handle an empty send buffer of the transport."""
        self._is_paused = False
        self._write_pieces()
        self._allow_direct_writes()
        self._flush_pongs()
        if self._listener is not None and not self.is_full:
            self._listener.write_unblocked()

    def connection_lost(self, _: Exception | None) -> None:
        """Handle the end of the connection."""
        self._is_lost = True
        self._frames = None
        self.open_fd = NO_FD
        self._report_end(Disconnect("network", websocket.BROKEN))
        if self._until_lost is not None and not self._until_lost.done():
            self._until_lost.set_result(None)

    # ---- inner ----

    def _feed(self, data: bytes) -> Parser:
        """Pass *data* to the parser and return it."""
        self._parser = self._parser or Parser(self._message_bytes, deflate=self.deflate)
        self._parser.feed(data)
        return self._parser

    def _process_all(self, parser: Parser) -> None:
        last: WebSocketEvent | None = None
        while self._listener is not None and (event := parser.take()) is not None:
            self._process(event, self._listener)
            last = event
        if isinstance(last, Message) and parser.is_between:
            self._parser = None  # after a whole message the next one needs no earlier data
        self._flush_pongs()

    def _process(self, event: WebSocketEvent, listener: ChannelListener) -> None:
        match event:
            case Message() | Violation():
                self._flush_pongs()
                self._pass_on(event, listener)
            case WebSocketPing(payload=payload):
                self._pongs = (*self._pongs, payload)[-PONGS_MAX:]
                self._pass_on(event, listener)
            case PongFrame():
                self._pass_on(event, listener)
            case CloseReceived(code=code):
                self._write_close(code, "")  # §5.5.1: with the peer's own code
                self._transport.close()  # §7.1.1: the server closes first
                self._report_end(Disconnect("client", code))
            case _:
                assert_never(event)

    def _pass_on(self, event: ChannelEvent, listener: ChannelListener) -> None:
        try:
            listener.event_received(event)
        except Exception as fault:  # noqa: BLE001 - a fault of one socket ends that socket only
            listener.fail(fault)

    def _report_end(self, gone: Disconnect) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.disconnected(gone)

    def _discard(self) -> None:
        """Discard received data, up to the peer's close, after which the server closes (§7.1.1)."""
        while self._parser is not None and (event := self._parser.take()) is not None:
            if isinstance(event, CloseReceived):
                self._transport.close()

    def _end_output(self) -> None:
        """End the outgoing side after a violation, so that the peer leaves (§7.1.7)."""
        transport = self._transport
        is_over = self._parser is not None and self._parser.is_over
        if is_over and not (self._waiting or transport.is_closing()) and transport.can_write_eof():
            transport.write_eof()

    def _allow_direct_writes(self) -> None:
        """Write to the descriptor directly while no data waits, which saves a fifth of a write."""
        transport = self._transport
        is_clear = transport.get_extra_info("sslcontext") is None
        if is_clear and not (self._has_closed or self._is_lost or self.is_full or transport.is_closing()):
            self.open_fd = transport.get_extra_info("socket").fileno()

    def _flush_pongs(self) -> None:
        """Answer pings when the send buffer is empty (§5.5.2), in one write."""
        if self._pongs and not self.is_full:
            pongs, self._pongs = self._pongs, ()
            self.put(b"".join(websocket.frame(websocket.PONG, payload) for payload in pongs))

    def _write_close(self, code: int, reason: str) -> None:
        waiting, self._frames = self._frames, None
        for data, is_raw in waiting or ():  # there is no later turn: it is sent as it is
            self.put(packed([data], self.codec) if is_raw else data)
        self.put(websocket.close(code, reason))
        self._has_closed = True
        self.open_fd = NO_FD

    def _write_pieces(self) -> None:
        """Write waiting data to the transport, piece by piece, until the send buffer is full."""
        while self._waiting and not (self._is_paused or self._transport.is_closing()):
            piece = bytes(self._waiting[:PIECE_BYTES])
            del self._waiting[:PIECE_BYTES]
            self._transport.write(piece)
        if not self._waiting:
            self._waiting = None  # an emptied bytearray keeps its memory


def packed(frames: list[bytes], codec: Codec) -> bytes:
    """Return *frames* as WebSocket messages. Servers do not mask, so all peers get equal bytes."""
    parts: list[bytes] = []
    for frame in frames:
        parts += (codec.heads[len(frame)], frame)
    return b"".join(parts)


Initiator = Literal["gateway", "client", "network"]

PEER_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011})
"""Close codes of peers with their own label (RFC 6455 §7.4.1). Clients may send any other."""
PLATFORMS: Final = ("android", "ios", "web", OTHER)
"""Platforms of clients with their own label."""
OK: Final = "ok"
"""Result of a handshake that led to a welcome."""
LEFT: Final = "left"
"""Result of a handshake that ended before a welcome or a refusal: the phone left, or the process ended."""
REFUSED: Final = {code.value: code.name.lower() for code in CloseCode}
"""Close code → result of a handshake that was refused after the upgrade."""


@dataclass(frozen=True, slots=True)
class ConnectionSummary:
    """Summary of a closed connection. It contains no data that the phone received."""

    user: UserId | None
    """None: no session was served."""
    application: Application | None
    codec: str
    address: IPAddress
    lasted_s: float
    initiator: Initiator
    close_code: int
    close_reason: str
    frames_in: int
    frames_out: int
    bytes_out: int
    conflated: int
    commands: int


@dataclass(frozen=True, slots=True)
class StatsOutput:
    """Receivers of statistics. *on_close* receives the summary of each connection."""

    telemetry: Telemetry
    on_close: Callable[[ConnectionSummary], None]


class ConnectionStats:
    """Statistics of one connection, from its upgrade to its end.

    Invariants: each connection that was added to a gauge is subtracted once, at :meth:`closed`. The handshake
    is counted once: at :meth:`welcomed`, or else at :meth:`closed`.

    *now* is monotonic seconds, here and below.
    """

    __slots__ = (
        "_address", "_began", "_connected", "_user", "bytes_out", "commands", "conflated", "frames_in",
        "frames_out", "output",
    )  # fmt: skip

    def __init__(self, output: StatsOutput, codec: Codec, address: IPAddress, now: float) -> None:
        self.output = output
        self._connected = _interned(("", OTHER, codec.name))
        self._address = address.packed
        self._began = now
        self._user: UserId | None = None
        self.commands = self.frames_in = 0
        self.frames_out = self.bytes_out = 0
        """Frames written to this phone, and their bytes."""
        self.conflated = 0
        """Values that newer ones have replaced, as far as they are counted."""

    @property
    def address(self) -> IPAddress:
        """The client's address."""
        return ip_address(self._address)

    def welcomed(self, ticket: Ticket, platform: str, now: float) -> None:
        """Record that the session is served, to a client on *platform*."""
        self._user = ticket.user
        label = platform.lower() if platform.lower() in PLATFORMS else OTHER
        self._connected = _interned((ticket.application.value, label, self._connected[2]))
        self.output.telemetry.handshakes[OK].inc()
        self.output.telemetry.handshake_seconds.observe(now - self._began)
        self.output.telemetry.connections[self._connected].inc()

    def effect_received(self, effect: Resumed | Answered) -> None:
        """Record an effect that is only measured."""
        if isinstance(effect, Resumed):
            self.output.telemetry.resumes[effect.how].inc()
        else:
            self.output.telemetry.ping_rtt_seconds.observe(effect.seconds)

    def frames_written(
        self, frames: list[bytes], now: float, waited: tuple[int, float] | None, outbox: Outbox | None
    ) -> None:
        """Count *frames* of *outbox* that were written. *waited*: what waited before."""
        if outbox is not None and outbox.conflated != self.conflated:
            self.count_conflated(outbox.conflated)
        if frames:
            size_bytes = sum(map(len, frames))
            self.frames_out += len(frames)
            self.bytes_out += size_bytes
            telemetry = self.output.telemetry
            if waited is None or outbox is None:
                telemetry.frames.value += len(frames)
                telemetry.frame_bytes.value += size_bytes
            else:
                names = waited[0] and waited[0] - outbox.dirty
                since, ledger = waited[1] if names else math.inf, outbox.ledger
                came_at, under_way_s = ledger.came_at, ledger.under_way_s
                telemetry.update_times.sent(len(frames), size_bytes, names, since, came_at, under_way_s, now)

    def shared_frames_written(self, live: Live | None) -> None:
        """Count the frames of a session that ends which were written by its fan-out group."""
        if live is not None:
            frames, size_bytes = live.outbox.shipped
            self.frames_out += frames
            self.bytes_out += size_bytes
            self.count_conflated(live.outbox.conflated)

    def count_conflated(self, conflated: int) -> None:
        """Count values that were replaced by newer ones. *conflated* is the total so far."""
        self.output.telemetry.conflated.inc(conflated - self.conflated)
        self.conflated = conflated

    def closed(self, initiator: Initiator, code: int, reason: str, now: float) -> None:
        """Record the end of the connection. Called once."""
        telemetry = self.output.telemetry
        label = str(code) if initiator == "gateway" or code in PEER_CODES else OTHER
        telemetry.closes[initiator, label].inc()
        telemetry.connection_age_seconds.observe(now - self._began)
        if initiator == "gateway" and code == CloseCode.SLOW:
            telemetry.slow_closes.inc()
        application = None
        if self._user is None:
            telemetry.handshakes[REFUSED.get(code, LEFT) if initiator == "gateway" else LEFT].inc()
        else:
            application = Application(self._connected[0])
            telemetry.connections[self._connected].dec()
        self.output.on_close(
            ConnectionSummary(
                user=self._user,
                application=application,
                codec=self._connected[2],
                address=self.address,
                lasted_s=round(now - self._began, 3),
                initiator=initiator,
                close_code=code,
                close_reason=reason,
                frames_in=self.frames_in,
                frames_out=self.frames_out,
                bytes_out=self.bytes_out,
                conflated=self.conflated,
                commands=self.commands,
            )
        )


_INTERNED: Final[dict[tuple[str, str, str], tuple[str, str, str]]] = {}


def _interned(labels: tuple[str, str, str]) -> tuple[str, str, str]:
    """Return one shared tuple for equal *labels*, so that a phone stores none of its own."""
    return _INTERNED.setdefault(labels, labels)
