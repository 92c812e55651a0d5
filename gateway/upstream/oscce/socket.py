"""The WebSocket of one link after its handshake, with the framing of its client side (RFC 6455)."""

from __future__ import annotations

import array
import asyncio
import fcntl
import secrets
import struct
import termios
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeAlias

from gateway.core.rate_limits import ReaderPace
from gateway.protocol.websocket import (
    CLOSE,
    CONTINUATION,
    FRAMES_BETWEEN_MAX,
    INVALID_TEXT,
    PING,
    POLICY,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    Breach,
    PongFrame,
    Violation,
    WebSocketPing,
    check_control,
    head,
    unmask,
)
from gateway.runtime.event_loop import READ_BYTES, EpollTransport, LinkScheduler
from gateway.upstream.oscce.readings import EVENT_BYTES, Kept, Unread, text_of

MASK_BYTES: Final = 4
FRAGMENT_BYTES: Final = 64
"""Mean size that the fragments of a message must have where they are many: each takes memory of its own."""

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_OPCODE: Final = 0x0F
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_LONG: Final = 126
"""A length in the next 2 bytes; one more: in the next 8."""
_WHOLE_TEXT: Final = _FIN | TEXT
_MEDIUM_TEXT: Final = _WHOLE_TEXT << 8 | _LONG
"""The first 2 bytes of a text whose length is in the next 2."""
_head_of: Final = struct.Struct("!HH").unpack_from
_NO_HEAD: Final = 0, 0


class Closed(NamedTuple):
    """The server sends nothing more (§5.5.1), for any reason."""


Incoming: TypeAlias = str | WebSocketPing | PongFrame | Closed | Violation
"""A received text message, or an event of the connection."""


class SocketReader(Protocol):
    """Receiver of messages as they arrive, while :meth:`LinkSocket.receive` waits for it."""

    def take_readings(self, unread: list[Kept], came_at: float | None = None) -> ReaderPace | None:
        """Process and remove readings; leave the first one that must be received, and all behind it.

        Args:
            unread: The readings.
            came_at: When the first of them came; None: just now.

        Returns:
            The pace of the only one who is sent what they change; None: later readings must not wait.
        """

    def take_text(self, text: str) -> bool:
        """Process a message that is no reading; False: it must be received."""


class Frames:
    """Reads what one server sends, however it is fragmented.

    Invariants: it holds at most one message, and one chunk of data. After :class:`Closed` or a
    :class:`Violation` there is nothing more, and nothing is held.

    Args:
        message_bytes: The largest message, over all its fragments.
    """

    __slots__ = (
        "_held", "_held_bytes", "_message_bytes", "_needed", "_parts", "_parts_bytes", "is_between",
        "is_over",
    )  # fmt: skip

    def __init__(self, message_bytes: int) -> None:
        self.is_over = False
        """Whether reading has ended."""
        self.is_between = True
        """Whether the next frame begins a message: no incomplete message is held."""
        self._message_bytes = message_bytes
        self._held: list[bytes] | None = None
        """Pieces of an incomplete frame; they are joined once, when all have arrived."""
        self._held_bytes = 0
        self._needed = 0
        self._parts: list[bytes] | None = None
        """Fragments of an incomplete message."""
        self._parts_bytes = 0

    def feed(self, data: bytes) -> list[Incoming]:
        """Add *data*; return what it completes, in order."""
        return self.complete(self.joined(data))

    def joined(self, data: bytes) -> bytes:
        """Return *data* behind the earlier bytes of its first frame; empty: more is needed."""
        if self._held is None:
            return data
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes < self._needed:
            return b""
        data, self._held = b"".join(self._held), None
        self.is_between = self._parts is None
        return data

    def complete(self, data: bytes, at: int = 0) -> list[Incoming]:
        """Add *data* from *at* on, as returned by :meth:`joined`; return what it completes, in order."""
        if self.is_over:
            return []
        incoming: list[Incoming] = []
        read = at
        try:
            read = self._read(data, at, incoming)
        except Breach as breach:
            self._end()
            incoming.append(breach.violation)
            return incoming
        if read < len(data) and not self.is_over:
            self._held = [data[read:]]
            self._held_bytes = len(data) - read
        self.is_between = self._held is None and self._parts is None and not self.is_over
        return incoming

    def _read(self, data: bytes, at: int, incoming: list[Incoming]) -> int:
        """Read whole frames of *data* from *at* on; return the start of the incomplete one."""
        end = len(data)
        self._needed = 2
        while end - at >= 2 and not self.is_over:
            first, size, start = data[at], data[at + 1], at + 2
            if size >= _LONG:
                start = at + _head_bytes(size)
                if end < start:
                    self._needed = start - at
                    break
                size = _length(data[at + 2 : start])
            if first != _WHOLE_TEXT or size > self._message_bytes or self._parts is not None:
                self._check(first, size)
            stop = start + size
            if stop > end:
                self._needed = stop - at
                break
            if first == _WHOLE_TEXT:
                incoming.append(_text(data[start:stop]))
            else:
                self._take(first, data[start:stop], incoming)
            at = stop
        return at

    def _check(self, first: int, size: int) -> None:
        """Check the head of a frame, before its payload has arrived."""
        opcode = first & _OPCODE
        if first & _RESERVED:  # §5.2: no agreed extension gives them a meaning
            raise Breach(PROTOCOL_ERROR, "reserved bits are set")
        if opcode & _CONTROL:
            check_control(opcode, first & _FIN, size)
        elif opcode not in {TEXT, CONTINUATION}:
            raise Breach(PROTOCOL_ERROR, "the message is not text")
        elif (opcode == CONTINUATION) is (self._parts is None):  # §5.4: messages are not interleaved
            raise Breach(PROTOCOL_ERROR, "a fragment is not where it belongs")
        elif size + self._parts_bytes > self._message_bytes:
            raise Breach(TOO_BIG, "the message is too big")

    def _take(self, first: int, payload: bytes, incoming: list[Incoming]) -> None:
        """Process a frame."""
        if first & _CONTROL:
            incoming.append(self._control(first & _OPCODE, payload))
        else:
            self._fragment(first, payload, incoming)

    def _fragment(self, first: int, payload: bytes, incoming: list[Incoming]) -> None:
        parts = self._parts = self._parts or []
        parts.append(payload)
        self._parts_bytes += len(payload)
        if first & _FIN:
            self._parts, self._parts_bytes = None, 0
            incoming.append(_text(b"".join(parts)))
        elif len(parts) > FRAMES_BETWEEN_MAX + self._parts_bytes // FRAGMENT_BYTES:
            raise Breach(POLICY, "too many frames without a message")

    def _control(self, opcode: int, payload: bytes) -> Incoming:
        if opcode == PING:
            return WebSocketPing(payload)
        if opcode == PONG:
            return PongFrame(payload)
        self._end()  # §5.5.1: nothing follows a close
        return Closed()

    def _end(self) -> None:
        self.is_over = True
        self.is_between = False
        self._held = self._parts = None


def _texts(data: bytes, text_bytes: int) -> list[tuple[int, int]]:
    """Return start and end of the texts whose frames *data* begins with, below 64 KiB each.

    Args:
        data: Frames of a server, from the beginning of one on.
        text_bytes: The largest text to look for.
    """
    texts: list[tuple[int, int]] = []
    at, end = 0, len(data)
    while end - at >= 4 and data[at] == _WHOLE_TEXT:
        size, start = data[at + 1], at + 2
        if size == _LONG:
            size, start = data[at + 2] << 8 | data[at + 3], at + 4
            if size < _LONG:
                break
        elif size > _LONG:
            break
        stop = start + size
        if stop > end or size > text_bytes:
            break
        texts.append((start, stop))
        at = stop
    return texts


def _head_bytes(length: int) -> int:
    """Return the length of a frame's head whose second byte is *length*."""
    if length & _MASKED:  # §5.1
        raise Breach(PROTOCOL_ERROR, "the frame is masked")
    return 4 if length == _LONG else 10


def _length(sent: bytes) -> int:
    """Return the length behind the two bytes (§5.2: in as few as it needs)."""
    size = int.from_bytes(sent, "big")
    if size < (_LONG if len(sent) == 2 else 1 << 16):
        raise Breach(PROTOCOL_ERROR, "the length is longer than need be")
    return size


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:  # §8.1
        raise Breach(INVALID_TEXT, "the text is not UTF-8") from None


def masked(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """Return *payload* as one final frame of a client (§5.3).

    *mask* is :data:`MASK_BYTES` unpredictable bytes.
    """
    first, length, *rest = head(opcode, len(payload))
    return bytes((first, length | _MASKED, *rest)) + mask + unmask(payload, mask)


def masked_close(code: int, mask: bytes) -> bytes:
    """Return a close frame of a client with *code* (§5.5.1)."""
    return masked(CLOSE, code.to_bytes(2, "big"), mask)


WAITING_CHARS_MAX: Final = 256 * 1024
"""Bytes that may wait for the reader; with more the server has to wait until half of them were read."""
_CONTROL_CHARS: Final = 128
"""Size of an event that is no text."""


Lost: TypeAlias = "Callable[[LinkSocket, Exception | None], None]"
"""Takes a socket whose connection has ended, and the fault that ended it, if there was one."""


class LinkSocket(asyncio.Protocol):
    """The connection of one link: the protocol of its transport, without a task or a timer.

    Readings wait for the link's turn, of each key only the newest, and they wait while the only phone may not
    be sent anything. Any other message makes the reader take all readings before it at once, and is received
    behind them.

    Invariants: messages are received in order, except for readings that newer ones have replaced. Waiting
    data is bounded in both directions. Nothing is sent after the close.

    Args:
        transport: The connection. Nothing else reads, writes or closes it.
        message_bytes: The largest allowed message.
        lost: Called once, when the connection has ended.
        link_scheduler: Schedules the processing of readings.
    """

    __slots__ = (
        "__weakref__", "_arrival", "_change", "_frames", "_has_closed", "_has_server_closed", "_inbox",
        "_is_full", "_is_lost", "_is_resting", "_late_since", "_link_scheduler", "_lost", "_outgoing",
        "_pace", "_read_bytes", "_reader", "_sent_at", "_text_bytes", "_transport", "_unread",
        "_waiting_chars", "came_at", "held_at", "is_due",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        message_bytes: int,
        lost: Lost,
        link_scheduler: LinkScheduler,
    ) -> None:
        self.is_due = False
        self.held_at: float | None = None
        self.came_at = link_scheduler.now()
        """When the message came that :meth:`receive` returned last."""
        self._pace: ReaderPace | None = None
        """The pace of the only phone; None: there are several or none."""
        self._sent_at: float | None = None
        """When it had last been sent changes as data was processed. Until it is sent some, later data must
        not wait: it would miss the next frame."""
        self._link_scheduler = link_scheduler
        self._unread = Unread()
        self._read_bytes = 0
        """Bytes received since its last turn."""
        self._transport = transport
        self._frames: Frames | None = None  # between messages; else what reads the rest, or nothing more
        self._text_bytes = message_bytes
        self._lost = lost
        self._inbox: list[tuple[float, Incoming]] | None = None
        """Messages to receive, each with the time at which it came; None: there are none."""
        self._outgoing: bytearray | None = None
        """Frames that are sent in the next turn of the loop; None: there are none."""
        self._waiting_chars = 0
        self._arrival: asyncio.Future[None] | None = None
        self._reader: SocketReader | None = None
        """None unless :meth:`receive` waits for one."""
        self._change: asyncio.Event | None = None
        """Set when there is room again, or the connection has ended; it exists only while a task waits."""
        self._has_closed = self._has_server_closed = self._is_full = self._is_lost = False
        self._is_resting = False
        """Whether reading pauses, since enough data waits."""
        self._late_since: float | None = None
        """When reading paused: data that is read next may have waited in the kernel since; None: it has not.
        """

    # ---- for the link ----

    @property
    def has_message(self) -> bool:
        """Whether data waits to be received."""
        return bool(self._inbox)

    @property
    def waits_since(self) -> float | None:
        """When the oldest data came that is known to wait; None: none is."""
        return self._inbox[0][0] if self._inbox else self.held_at

    def arrival(self, reader: SocketReader | None) -> asyncio.Future[None] | None:
        """Return what is done when :meth:`receive` has something to return; None: it has.

        Messages go to *reader* until then, as during :meth:`receive`.
        """
        if self._inbox or self._has_closed or self._is_lost:
            return None
        if self._unread:
            self._link_scheduler.schedule(self)
        self._arrival = arrival = asyncio.get_running_loop().create_future()
        self._reader = reader
        return arrival

    async def receive(self, reader: SocketReader | None = None) -> Incoming:
        """Wait for the next message; one caller at a time. At the end it is :class:`Closed`, forever.

        Args:
            reader: Gets the messages that arrive during the wait; those that it leaves are returned. An
                exception of it is raised here.
        """
        while (arrival := self.arrival(reader)) is not None:
            try:
                await arrival
            finally:
                self._reader = None
        if self._inbox is None:
            self.came_at = self._link_scheduler.now()
            return Closed()
        self.came_at, message = self._inbox.pop(0)
        self._inbox = self._inbox or None
        self._waiting_chars -= _chars(message)
        self._read_on(WAITING_CHARS_MAX // 2)
        return message

    async def send(self, text: str) -> None:
        """Send a message; wait while the server does not accept earlier data.

        Raises:
            ConnectionError: The connection is closed.
        """
        while self._is_full and not self._is_lost:
            await self._changed()
        if not self.send_now(text):
            raise ConnectionResetError

    def send_now(self, text: str) -> bool:
        """Send a message; False when that would take time, or the connection is closed."""
        if self._outgoing is not None:
            if self.send_soon(text):
                self._send_outgoing()
                return True
            return False
        if self._is_full or self._has_closed or self._is_lost or self._transport.is_closing():
            return False
        self._transport.write(masked(TEXT, text.encode(), _mask()))
        return True

    def send_soon(self, text: str) -> bool:
        """Send a message in the next turn of the loop, with others; False as for :meth:`send_now`."""
        if self._is_full or self._has_closed or self._is_lost or self._transport.is_closing():
            return False
        if self._outgoing is None:
            self._outgoing = bytearray()
            asyncio.get_running_loop().call_soon(self._send_outgoing)
        self._outgoing += masked(TEXT, text.encode(), _mask())
        return True

    def _send_outgoing(self) -> None:
        outgoing, self._outgoing = self._outgoing, None
        if outgoing and not (self._has_closed or self._is_lost):
            self._transport.write(outgoing)

    async def close(self, code: int) -> None:
        """Close with *code*, if that was not done; return when the connection has ended.

        It waits for the server: a side that leaves at once may lose the close frame behind unread data.
        Cancelled, it ends the connection at once.
        """
        if not (self._has_closed or self._is_lost):
            self._send_outgoing()
            self._has_closed = True
            self._transport.write(masked_close(code, _mask()))
            self._discard_received()
        try:
            while not self._is_lost:
                await self._changed()
        finally:
            if not self._is_lost:
                self._transport.abort()

    def abort(self) -> None:
        """End the connection now. Does nothing when it has ended."""
        if not self._is_lost:
            self._transport.abort()

    # ---- its turn (ScheduledLink) ----

    def process_received(self) -> None:
        """Have the reader take the unread readings; without a reader they wait, too."""
        unread, arrival = self._unread, self._arrival
        if unread.chars and not self._inbox and arrival is not None:
            only, reader = unread.only, self._reader
            if only is None or unread.skipped or reader is None or arrival.done():
                self._take_unread()
            else:  # nearly always it is one reading: as in _take_unread, two calls less for each update
                unread.only, unread.chars, kept = None, 0, [only]
                try:
                    pace = self._pace = reader.take_readings(kept, self.held_at)
                    self._sent_at = None if pace is None else pace.sent_at
                except Exception as fault:  # noqa: BLE001 - it belongs to the reader, not to the event loop
                    self._arrived(fault)
                if kept:
                    self._keep_all(kept, self.held_at)
        if not unread.chars:
            self.held_at = None
        elif self.held_at is None:
            self.held_at = self._link_scheduler.now()
        read_bytes, self._read_bytes = self._read_bytes, 0
        if self._is_resting:
            self._read_on(WAITING_CHARS_MAX if read_bytes > READ_BYTES else WAITING_CHARS_MAX // 2)

    # ---- asyncio.Protocol ----

    def data_received(self, data: bytes) -> None:
        """Process received bytes."""
        unread, size_bytes = self._unread, len(data) - 4
        beginning, length = _head_of(data) if size_bytes >= _LONG else _NO_HEAD
        if (  # nearly always it is one text, which is a reading of a single element
            beginning == _MEDIUM_TEXT
            and length == size_bytes <= self._text_bytes
            and self._frames is None
            and not self._has_closed
            and self._late_since is None
        ):
            text = data[4:]
            if not unread.chars and text.isascii() and text.startswith(EVENT_BYTES):
                unread.only, unread.chars = text, size_bytes  # as Unread.keep, a call less for each update
            elif not unread.keep(text):
                self._receive_frames(data)
        else:
            self._receive_frames(data)
        if unread.chars and not self.is_due and self.held_at is None:
            link_scheduler, pace = self._link_scheduler, self._pace
            if (
                pace is not None
                and (sent_at := pace.sent_at) != self._sent_at
                and sent_at + pace.interval_s > link_scheduler.began_at
            ):
                link_scheduler.schedule_at(self, sent_at + pace.interval_s)
            else:  # as LinkScheduler.schedule, a call less for each update
                self.is_due = True
                link_scheduler.due.append(self)
                if not link_scheduler.is_planned:
                    link_scheduler.plan_turn()
        read_bytes = self._read_bytes = self._read_bytes + len(data)
        if read_bytes > READ_BYTES or self._waiting_chars + unread.chars > WAITING_CHARS_MAX:
            self._bound()

    def _receive_frames(self, data: bytes) -> None:
        """Process any frames, and parts of them."""
        at, frames, late_since, size_bytes = 0, self._frames, self._late_since, len(data)
        if late_since is not None:
            self.held_at = late_since if self.held_at is None else min(self.held_at, late_since)
        if frames is not None:
            data = frames.joined(data)
            frames = None if frames.is_between else frames
        if frames is None and not self._has_closed:
            texts = _texts(data, self._text_bytes)
            kept = self._unread.add_texts(data, texts)
            at = texts[kept - 1][1] if kept else 0
        self._frames = frames
        if at < len(data):
            frames = frames or Frames(self._text_bytes)
            incoming = frames.complete(data, at)
            self._frames = None if frames.is_between else frames
            self._process_all(incoming)
        if late_since is not None:
            self._received_late(size_bytes)

    def _received_late(self, size_bytes: int) -> None:
        """Record that so many bytes were processed that may have waited in the kernel."""
        if self._unread.chars:
            self._link_scheduler.schedule(self)
        else:
            self.held_at = None
        if size_bytes < READ_BYTES:  # the kernel had no more
            self._late_since = None

    def _process_all(self, incoming: list[Incoming]) -> None:
        """Keep messages that are no readings of a single element, and all that follow."""
        if incoming and type(incoming[-1]) is Closed:
            self._has_server_closed = True
        if self._has_closed:
            if self._has_server_closed:
                self._transport.close()
            return
        for message in incoming:
            if type(message) is not str or not self._unread.add(message):
                self._flush()
                if type(message) is not str or not self._is_taken(message):
                    self._keep(message)

    def _is_taken(self, message: str) -> bool:
        """Return whether the reader, if it waits, has processed a message that is no reading."""
        reader, arrival = self._reader, self._arrival
        if reader is None or self._inbox or arrival is None or arrival.done() or self._late_since is not None:
            return False
        try:
            return reader.take_text(message)
        except Exception as fault:  # noqa: BLE001 - it belongs to the reader, not to the event loop
            self._arrived(fault)
            return True

    def pause_writing(self) -> None:
        """Record that the kernel does not accept everything."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Record that the kernel has accepted everything."""
        self._is_full = False
        self._note()

    def connection_lost(self, fault: Exception | None) -> None:
        """Record that the connection has ended."""
        self._flush()
        self._is_lost = True
        self._arrived()
        self._note()
        self._lost(self, fault)

    # ---- inner ----

    def _bound(self) -> None:
        """Pause the server when enough data waits here, or when the link's share of a turn was read."""
        if type(self._transport) is EpollTransport:
            self._read_bytes = 0  # it reads no more than that in a turn by itself
        elif self._read_bytes > READ_BYTES:
            self._link_scheduler.schedule(self)
        is_over = self._frames is not None and self._frames.is_over
        if not (self._is_resting or is_over or self._has_room(WAITING_CHARS_MAX)):
            self._is_resting = True
            if self._late_since is None and self._waiting_chars + self._unread.chars > WAITING_CHARS_MAX:
                self._late_since = self._link_scheduler.now()
            self._transport.pause_reading()

    def _read_on(self, most_chars: int) -> None:
        """Read again, if that was paused, and no more waits than *most_chars*."""
        if self._is_resting and self._has_room(most_chars):
            self._is_resting = False
            if not self._transport.is_closing():
                if self._late_since is not None and not _may_have_unread(self._transport):
                    self._late_since = None
                self._transport.resume_reading()

    def _has_room(self, most_chars: int) -> bool:
        return self._waiting_chars + self._unread.chars <= most_chars and self._read_bytes <= READ_BYTES

    def _flush(self) -> None:
        """Have the unread readings taken now, before the next message; the rest is received before it."""
        if self._inbox or self._arrival is None:
            came_at, self.held_at = self.held_at, self._late_since
            self._keep_all(self._unread.take(), came_at)
        elif self._unread.chars:
            self._take_unread()

    def _take_unread(self) -> None:
        """Have the reader take the unread readings.

        It receives the first that it leaves, and all behind it.
        """
        unread = self._unread
        if unread.skipped:
            self._link_scheduler.skipped += unread.skipped
            unread.skipped = 0
        kept, reader, arrival = unread.take(), self._reader, self._arrival
        came_at, self.held_at = self.held_at, self._late_since
        if not (reader is None or arrival is None or arrival.done()):  # done: the reader was cancelled
            try:
                pace = self._pace = reader.take_readings(kept, came_at)
                self._sent_at = None if pace is None else pace.sent_at
            except Exception as fault:  # noqa: BLE001 - it belongs to the reader, not to the event loop
                self._arrived(fault)
        if kept:
            self._keep_all(kept, came_at)

    def _keep_all(self, unread: list[Kept], came_at: float | None) -> None:
        for each in unread:
            self._keep(text_of(each), came_at)

    def _keep(self, message: Incoming, came_at: float | None = None) -> None:
        """Add a message for the reader, and wake it. *came_at*: when it came; None: just now."""
        came_at = self._late_since if came_at is None else came_at
        inbox = self._inbox = self._inbox or []
        inbox.append((self._link_scheduler.now() if came_at is None else came_at, message))
        self._waiting_chars += _chars(message)
        if type(message) is WebSocketPing:
            self._answer(message)
        self._arrived()

    def _discard_received(self) -> None:
        """Keep only the end of the connection."""
        self._inbox = None
        self._unread.take()
        self._waiting_chars = 0
        self._arrived()
        if self._has_server_closed:
            self._transport.close()
        elif self._is_resting and not self._transport.is_closing():
            self._transport.resume_reading()
        self._is_resting = False

    def _answer(self, ping: WebSocketPing) -> None:
        """Answer a ping (§5.5.2), unless earlier data waits: then the server has not read it."""
        if not (self._is_full or self._transport.is_closing()):
            self._transport.write(masked(PONG, ping.payload, _mask()))

    def _arrived(self, fault: Exception | None = None) -> None:
        """Wake the reader; further messages wait until its next call."""
        arrival, self._arrival, self._reader = self._arrival, None, None
        if arrival is None or arrival.done():
            return
        if fault is None:
            arrival.set_result(None)
        else:
            arrival.set_exception(fault)

    async def _changed(self) -> None:
        if self._change is None:
            self._change = asyncio.Event()
        await self._change.wait()

    def _note(self) -> None:
        change, self._change = self._change, None
        if change is not None:
            change.set()


def _chars(message: Incoming) -> int:
    return len(message) + _CONTROL_CHARS if type(message) is str else _CONTROL_CHARS


def _may_have_unread(transport: asyncio.Transport) -> bool:
    """Return whether data may wait in the kernel, or in the layer of TLS."""
    raw = transport.get_extra_info("socket")
    if raw is None or transport.get_extra_info("sslcontext") is not None:
        return True
    unread = array.array("i", [0])
    try:
        fcntl.ioctl(raw.fileno(), termios.FIONREAD, unread)
    except OSError:
        return True
    return unread[0] > 0


def _mask() -> bytes:
    return secrets.token_bytes(MASK_BYTES)
