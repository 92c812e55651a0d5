"""WebSocket frames of the server side (RFC 6455), and compressed messages (RFC 7692)."""

from __future__ import annotations

import codecs
import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
"""RFC 6455 §5.2: the opcodes; the rest is reserved."""

PROTOCOL_ERROR: Final = 1002
INVALID_TEXT: Final = 1007
POLICY: Final = 1008
TOO_BIG: Final = 1009
NO_CODE: Final = 1005
BROKEN: Final = 1006
"""RFC 6455 §7.4.1. The last two are never sent. They mean a close without a code, and no close at all."""

CONTROL_BYTES_MAX: Final = 125
"""RFC 6455 §5.5."""
REASON_BYTES_MAX: Final = CONTROL_BYTES_MAX - 2
FRAMES_BETWEEN_MAX: Final = 1024
"""Fragments, pings and pongs in quick succession before a message is whole: no rate counts them."""

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_COMPRESSED: Final = 0x40
"""RFC 7692 §6: RSV1 in the first frame of a message."""
_OPCODE: Final = 0x0F
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_LONG: Final = 126
"""For this length the real one is in the next 2 bytes, for the length above it in the next 8."""
_UTF8: Final = codecs.getincrementaldecoder("utf-8")


class Message(NamedTuple):
    """A whole message; *data* is valid UTF-8 when it is *text*."""

    data: bytes
    text: bool


class WebSocketPing(NamedTuple):
    """Answered with a pong of the same payload (§5.5.2)."""

    payload: bytes


class PongFrame(NamedTuple):
    """An answer to a ping, or none to any (§5.5.3)."""

    payload: bytes


class CloseReceived(NamedTuple):
    """The peer sends nothing more (§5.5.1). *code* is 1005 when it sent none."""

    code: int
    reason: str


class Violation(NamedTuple):
    """The peer broke the rules: close the connection with *code* (§7.1.7)."""

    code: int
    reason: str


WebSocketEvent: TypeAlias = Message | WebSocketPing | PongFrame | CloseReceived | Violation


class Breach(Exception):  # noqa: N818 - names what happened
    """A breach of the rules by a peer; *violation* has the details."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.violation = Violation(code, reason)


class Parser:
    """Reads what one client sends, however it is fragmented.

    Invariants: it holds at most one message, and bytes that were fed and not taken. After a
    :class:`CloseReceived` or :class:`Violation` there is nothing more, and nothing is held. Invalid text ends
    it at the first wrong byte, whether or not the rest of the frame has arrived.

    Args:
        message_bytes: The largest message, over all its fragments, compressed and not.
        deflate: Whether compressed messages were agreed on.
    """

    __slots__ = (
        "_between", "_buffer", "_deflate", "_fragments", "_is_compressed", "_is_over", "_is_text", "_judge",
        "_judged", "_message_bytes",
    )  # fmt: skip

    def __init__(self, message_bytes: int, *, deflate: bool = False) -> None:
        self._message_bytes = message_bytes
        self._deflate = deflate
        self._is_compressed = False
        self._buffer = bytearray()
        self._fragments: bytearray | None = None
        self._is_text = False
        self._judge: codecs.IncrementalDecoder | None = None
        self._judged = 0
        self._between = 0
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether a close or a violation was taken: nothing more follows."""
        return self._is_over

    @property
    def is_between(self) -> bool:
        """Whether there is no incomplete message: any parser may read the following bytes."""
        return not self._buffer and self._fragments is None

    @property
    def waiting_bytes(self) -> int:
        """Number of bytes that were fed and not taken yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[WebSocketEvent]:
        """Process *data*; return the complete events. Those left in the iterator stay there."""
        if not self._is_over:
            self._buffer += data
        return iter(self.take, None)

    def take(self) -> WebSocketEvent | None:
        """Remove and return the next event; None when more bytes are needed."""
        try:
            while (frame := self._next_frame()) is not None:
                first, payload = frame
                opcode = first & _OPCODE
                event = self._control(opcode, payload) if opcode & _CONTROL else self._data(first, payload)
                if event is not None:
                    return event
        except Breach as breach:
            self._end()
            return breach.violation
        return None

    def restart_count(self) -> None:
        """Restart the count of frames without a message, which must not add up over hours.

        Do nothing within a message: the number of its fragments is bounded, however slowly they come.
        """
        if self._fragments is None:
            self._between = 0

    # ---- one frame (§5.2) ----

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Remove and return the first byte and the payload of the next frame, when it is complete."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        self._check(first, second)
        if self._between == FRAMES_BETWEEN_MAX:
            raise Breach(POLICY, "too many frames without a message")
        size, start = second & _LENGTH, 2
        if size >= _LONG:
            start = 4 if size == _LONG else 10
            if len(buffer) < start:
                return None
            size = _long(buffer[2:start])
        if not first & _CONTROL and size + len(self._fragments or b"") > self._message_bytes:
            raise Breach(TOO_BIG, "the message is too big")  # §7.4.1, before its payload has arrived
        start += 4
        end = start + size
        if len(buffer) < end:
            if self._is_of_text(first):
                self._judge_ahead(start)
            return None
        payload = unmask(buffer[start:end], buffer[start - 4 : start])
        del buffer[:end]
        self._between += 1
        return first, payload

    def _check(self, first: int, second: int) -> None:
        """Check the first two bytes of a frame."""
        opcode = first & _OPCODE
        may_compress = self._deflate and (opcode in {TEXT, BINARY})  # RFC 7692 §6.1: the first frame has it
        if first & _RESERVED & ~(_COMPRESSED if may_compress else 0):  # §5.2
            raise Breach(PROTOCOL_ERROR, "reserved bits are set")
        if not second & _MASKED:  # §5.1
            raise Breach(PROTOCOL_ERROR, "the frame is not masked")
        if opcode & _CONTROL:
            check_control(opcode, first & _FIN, second & _LENGTH)
        elif opcode > BINARY:  # §5.2
            raise Breach(PROTOCOL_ERROR, "the opcode is reserved")
        elif opcode == CONTINUATION:
            if self._fragments is None:  # §5.4
                raise Breach(PROTOCOL_ERROR, "nothing is there to continue")
        elif self._fragments is not None:  # §5.4: messages are not interleaved
            raise Breach(PROTOCOL_ERROR, "a message began within another")

    # ---- text is checked as it comes: the first byte that no text can have ends the connection (§8.1) ----

    def _is_of_text(self, first: int) -> bool:
        """Return whether the frame has uncompressed text.

        A compressed message is checked when it is complete.
        """
        opcode = first & _OPCODE
        if opcode == CONTINUATION:
            return self._is_text and not self._is_compressed
        return opcode == TEXT and not first & _COMPRESSED

    def _judge_ahead(self, start: int) -> None:
        """Check the received part of the payload at *start* of an incomplete frame."""
        part = self._buffer[start + self._judged :]
        if part:
            mask, turn = self._buffer[start - 4 : start], self._judged % 4
            self._read(unmask(part, mask[turn:] + mask[:turn]), is_last=False)
            self._judged += len(part)

    def _judge_rest(self, payload: bytes, *, is_last: bool) -> None:
        """Check the unchecked part of a frame's *payload*."""
        if self._judge is not None or not is_last or not payload.isascii():
            self._read(payload[self._judged :], is_last=is_last)
            self._judged = 0

    def _read(self, part: bytes, *, is_last: bool) -> None:
        if self._judge is None:
            self._judge = _UTF8()
        try:
            self._judge.decode(part, is_last)
        except UnicodeDecodeError:
            raise Breach(INVALID_TEXT, "the text is not UTF-8") from None
        if is_last:
            self._judge = None

    # ---- what frames mean ----

    def _data(self, first: int, payload: bytes) -> Message | None:
        """Process a fragment (§5.4); return the message that it completes."""
        opcode = first & _OPCODE
        if opcode != CONTINUATION:
            self._is_text = opcode == TEXT
            self._is_compressed = bool(first & _COMPRESSED)
        if self._is_of_text(first):
            self._judge_rest(payload, is_last=bool(first & _FIN))
        if not first & _FIN:
            if self._fragments is None:
                self._fragments = bytearray()
            self._fragments += payload
            return None
        if self._fragments is not None:
            payload = bytes(self._fragments + payload)
            self._fragments = None
        self._between = 0
        if self._is_compressed:
            payload = inflate(payload, self._message_bytes)
            if self._is_text:
                self._judge_rest(payload, is_last=True)
        return Message(payload, self._is_text)

    def _control(self, opcode: int, payload: bytes) -> WebSocketEvent:
        if opcode == PING:
            return WebSocketPing(payload)
        if opcode == PONG:
            return PongFrame(payload)
        event = _close_of(payload)
        self._end()  # §5.5.1: nothing follows a close
        return event

    def _end(self) -> None:
        self._is_over = True
        self._buffer = bytearray()
        self._fragments = None
        self._judge = None


# ---- compressed messages (RFC 7692) ----

DEFLATE: Final = "permessage-deflate"
DEFLATE_ANSWER: Final = f"{DEFLATE}; server_no_context_takeover; client_no_context_takeover"
"""The accepted parameters: each message is compressed alone, so nothing is kept between messages (§7.1.1)."""
_LEVEL: Final = 3
"""As fast as level 1 on state, and a sixth smaller."""
_LEVEL_LARGE: Final = 5
_LARGE_BYTES: Final = 128 * 1024
"""Size from which level 5 is used: it takes 1.7 times as long, for an eighth less."""
_TAIL: Final = b"\x00\x00\xff\xff"
"""§7.2.1: the end of each message, which is not sent."""
_LAST_TAILS: Final = frozenset({_TAIL, b"\x00" + _TAIL})
"""§7.2.3.4: allowed after a final block: nothing, or an empty block."""
_WINDOWS: Final = frozenset(str(bits) for bits in range(8, 16))
_ACCEPTED: Final = {
    "server_no_context_takeover": frozenset({""}),
    "client_no_context_takeover": frozenset({""}),
    "client_max_window_bits": _WINDOWS | {""},
}
"""Parameters of an offer → their values. An offer with any other is declined, as §7.1 allows."""


def accepts_deflate(offers: str) -> bool:
    """Return whether *offers*, a `Sec-WebSocket-Extensions`, have one that :data:`DEFLATE_ANSWER` accepts."""
    return any(_is_acceptable(*offer.split(";")) for offer in offers.split(","))


def _is_acceptable(name: str, *parameters: str) -> bool:
    pairs = [parameter.partition("=")[::2] for parameter in parameters]
    values = {key.strip(): value.strip().strip('"') for key, value in pairs}
    is_known = all(value in _ACCEPTED.get(key, ()) for key, value in values.items())
    return name.strip() == DEFLATE and is_known and len(values) == len(parameters)  # §7.1: none twice


def deflated(opcode: int, payload: bytes) -> bytes:
    """Return a message as one compressed frame (§7.2.1)."""
    level = _LEVEL_LARGE if len(payload) >= _LARGE_BYTES else _LEVEL
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
    return head(opcode | _COMPRESSED, len(data)) + data


def inflate(data: bytes, size_bytes: int) -> bytes:
    """Return the message in the compressed *data* (§7.2.2), of at most *size_bytes*.

    It is never decompressed beyond that size.

    Raises:
        Breach: It is larger, or not compressed as the RFC demands.
    """
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        payload = unpacker.decompress(data + _TAIL, size_bytes + 1)
    except zlib.error:
        raise Breach(PROTOCOL_ERROR, "the message is not compressed as agreed") from None
    if len(payload) > size_bytes:
        raise Breach(TOO_BIG, "the message is too big")
    if unpacker.eof and unpacker.unused_data not in _LAST_TAILS:
        raise Breach(PROTOCOL_ERROR, "the message goes on after its last block")
    return payload


def unmask(payload: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    """Return *payload* XOR the repeated *mask* (§5.3), as one operation on whole numbers."""
    size = len(payload)
    stretched = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(stretched, "little")).to_bytes(size, "little")


def check_control(opcode: int, fin: int, length: int) -> None:
    """Check the head of a control frame, of either end.

    Raises:
        Breach: It is against the rules.
    """
    if opcode > PONG:  # §5.2
        raise Breach(PROTOCOL_ERROR, "the opcode is reserved")
    if not fin:  # §5.5
        raise Breach(PROTOCOL_ERROR, "a control frame is fragmented")
    if length > CONTROL_BYTES_MAX:  # §5.5
        raise Breach(PROTOCOL_ERROR, "a control frame is too long")


def _long(field: bytearray) -> int:
    """Return a length of 2 or 8 bytes."""
    size = int.from_bytes(field, "big")
    if size >> 63:  # §5.2: the most significant bit is 0
        raise Breach(PROTOCOL_ERROR, "the length is invalid")
    if size < (_LONG if len(field) == 2 else 1 << 16):  # §5.2: in as few bytes as possible
        raise Breach(PROTOCOL_ERROR, "the length is longer than need be")
    return size


def _close_of(payload: bytes) -> CloseReceived:
    """Return the content of a close frame (§5.5.1)."""
    if not payload:
        return CloseReceived(NO_CODE, "")  # §7.1.5
    if len(payload) == 1:
        raise Breach(PROTOCOL_ERROR, "a close has half a code")
    code = int.from_bytes(payload[:2], "big")
    if not _may_travel(code):
        raise Breach(PROTOCOL_ERROR, "a close has a code that is not allowed")
    try:
        return CloseReceived(code, payload[2:].decode())
    except UnicodeDecodeError:  # §8.1
        raise Breach(INVALID_TEXT, "the reason of a close is not UTF-8") from None


def _may_travel(code: int) -> bool:
    """Return whether a close frame may have *code* (§7.4; 1012 to 1014: IANA's registry, §11.7)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


# ---- what the server writes ----


_medium_head: Final = struct.Struct("!BBH").pack


def head(opcode: int, size_bytes: int) -> bytes:
    """Return the head of a payload: a final frame, not masked (§5.1, §5.2)."""
    if size_bytes < _LONG:
        return bytes((_FIN | opcode, size_bytes))
    if size_bytes < 1 << 16:
        return _medium_head(_FIN | opcode, _LONG, size_bytes)
    return bytes((_FIN | opcode, _LONG + 1)) + size_bytes.to_bytes(8, "big")


_KEPT_BYTES: Final = 2048


class Heads(dict[int, bytes]):
    """The heads of messages with *opcode*, by the size of the payload. Those of small ones are kept."""

    __slots__ = ("_opcode",)

    def __init__(self, opcode: int) -> None:
        super().__init__()
        self._opcode = opcode

    def __missing__(self, size_bytes: int) -> bytes:
        """Make the head of a payload."""
        made = head(self._opcode, size_bytes)
        if size_bytes <= _KEPT_BYTES:
            self[size_bytes] = made
        return made


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a message, or a control frame, as one frame."""
    return head(opcode, len(payload)) + payload


def close(code: int, reason: str = "") -> bytes:
    """Return a close frame (§5.5.1): without a code for 1005; a long reason is cut between characters."""
    if code == NO_CODE:
        return frame(CLOSE, b"")
    reason_bytes = reason.encode("utf-8", "replace")[:REASON_BYTES_MAX].decode("utf-8", "ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + reason_bytes)
