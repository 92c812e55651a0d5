"""WebSocket frames of the client side of a link (RFC 6455).

What is common to both ends stands in :mod:`gateway.protocol.websocket`. Here frames come unmasked and
leave masked, and whatever is no text is a breach: a link carries nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

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

MASK_BYTES: Final = 4

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_OPCODE: Final = 0x0F
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_LONG: Final = 126
"""A length that stands in the next 2 bytes; one more: in the next 8."""
_WHOLE_TEXT: Final = _FIN | TEXT
SKIM_FROM: Final = 4096
"""Of less that comes at once nothing is skimmed: there is little to pass by."""


class Closed(NamedTuple):
    """The server sends nothing more (§5.5.1). Why makes no difference to a link."""


Skim: TypeAlias = Callable[[bytes, list[int], list[int]], list[str] | None]
"""Returns which of the texts that begin and end there have to be read, in order; None: all have."""
Heard: TypeAlias = str | WebSocketPing | PongFrame | Closed | Violation
"""What came: a text message, or something about the connection."""


class Frames:
    """Reads what one server sends, however it is cut to pieces.

    Invariants: what is held is at most one message, and one chunk of what was fed; after
    :class:`Closed` or a :class:`Violation` there is nothing more, and nothing is held.

    Args:
        message_bytes: The largest message, over all its fragments.
    """

    __slots__ = ("_held", "_held_bytes", "_message_bytes", "_needed", "_parts", "_parts_bytes", "is_over")

    def __init__(self, message_bytes: int) -> None:
        self.is_over = False
        """Whether nothing more is read."""
        self._message_bytes = message_bytes
        self._held: list[bytes] = []
        """Pieces of a frame that is not whole: it is put together once, when all are there."""
        self._held_bytes = 0
        self._needed = 0
        self._parts: list[bytes] | None = None
        """Fragments of a message that is not whole."""
        self._parts_bytes = 0

    def feed(self, data: bytes, skim: Skim | None = None) -> list[Heard]:
        """Take in *data*; returns what it completes, in order.

        Args:
            data: What came.
            skim: Looks through what came where that is much and holds whole texts; those that it passes by
                are not returned, and not looked at.
        """
        if self.is_over:
            return []
        if self._held:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._needed:
                return []
            data, self._held = b"".join(self._held), []
        heard: list[Heard] = []
        read = 0
        if skim is not None and len(data) > SKIM_FROM and self._parts is None:
            read = _skimmed(data, skim, heard)
        try:
            read = self._read(data, read, heard)
        except Breach as breach:
            self._end()
            heard.append(breach.violation)
            return heard
        if read < len(data) and not self.is_over:
            self._held = [data[read:]]
            self._held_bytes = len(data) - read
        return heard

    def _read(self, data: bytes, at: int, heard: list[Heard]) -> int:
        """Read whole frames of *data* from *at* on; returns where the one begins that is not whole."""
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
                heard.append(_text(data[start:stop]))
            else:
                self._take(first, data[start:stop], heard)
            at = stop
        return at

    def _check(self, first: int, size: int) -> None:
        """Check what the head of a frame tells, before its payload is there."""
        opcode = first & _OPCODE
        if first & _RESERVED:  # §5.2: no extension was agreed on that would give them a meaning
            raise Breach(PROTOCOL_ERROR, "reserved bits are set")
        if opcode & _CONTROL:
            check_control(opcode, first & _FIN, size)
        elif opcode not in {TEXT, CONTINUATION}:
            raise Breach(PROTOCOL_ERROR, "the message is no text")
        elif (opcode == CONTINUATION) is (self._parts is None):  # §5.4: messages are not interleaved
            raise Breach(PROTOCOL_ERROR, "a fragment is not where it belongs")
        elif size + self._parts_bytes > self._message_bytes:
            raise Breach(TOO_BIG, "the message is too big")

    def _take(self, first: int, payload: bytes, heard: list[Heard]) -> None:
        """Take in a frame."""
        if first & _CONTROL:
            heard.append(self._control(first & _OPCODE, payload))
        else:
            self._fragment(first, payload, heard)

    def _fragment(self, first: int, payload: bytes, heard: list[Heard]) -> None:
        parts = self._parts = self._parts or []
        parts.append(payload)
        self._parts_bytes += len(payload)
        if first & _FIN:
            self._parts, self._parts_bytes = None, 0
            heard.append(_text(b"".join(parts)))
        elif len(parts) > FRAMES_BETWEEN_MAX:
            raise Breach(POLICY, "too many frames without a message")

    def _control(self, opcode: int, payload: bytes) -> Heard:
        if opcode == PING:
            return WebSocketPing(payload)
        if opcode == PONG:
            return PongFrame(payload)
        self._end()  # §5.5.1: nothing follows a close
        return Closed()

    def _end(self) -> None:
        self.is_over = True
        self._held = []
        self._parts = None


def _skimmed(data: bytes, skim: Skim, heard: list[Heard]) -> int:
    """Add what *skim* leaves of the texts at the beginning of *data*; returns where they end, 0: none."""
    starts, stops = _texts(data)
    kept = skim(data, starts, stops) if starts else None
    if kept is None:
        return 0
    heard += kept
    return stops[-1]


def _texts(data: bytes) -> tuple[list[int], list[int]]:
    """Return where the texts begin and end with which *data* begins, as far as they are below 64 KiB."""
    starts: list[int] = []
    stops: list[int] = []
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
        if stop > end:
            break
        starts.append(start)
        stops.append(stop)
        at = stop
    return starts, stops


def _head_bytes(length: int) -> int:
    """Return how long the head of a frame is whose second byte is *length*."""
    if length & _MASKED:  # §5.1
        raise Breach(PROTOCOL_ERROR, "the frame is masked")
    return 4 if length == _LONG else 10


def _length(told: bytes) -> int:
    """Return the length that stands behind the two bytes (§5.2: in as few as it needs)."""
    size = int.from_bytes(told, "big")
    if size < (_LONG if len(told) == 2 else 1 << 16):
        raise Breach(PROTOCOL_ERROR, "the length is longer than need be")
    return size


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:  # §8.1
        raise Breach(INVALID_TEXT, "the text is not UTF-8") from None


def masked(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """Return *payload* as one final frame of a client (§5.3).

    Args:
        opcode: What it is.
        payload: What it says.
        mask: :data:`MASK_BYTES` bytes that nobody can foresee.
    """
    first, length, *rest = head(opcode, len(payload))
    return bytes((first, length | _MASKED, *rest)) + mask + unmask(payload, mask)


def masked_close(code: int, mask: bytes) -> bytes:
    """Return a close frame of a client with *code* (§5.5.1)."""
    return masked(CLOSE, code.to_bytes(2, "big"), mask)
