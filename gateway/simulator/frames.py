"""Encode messages.

JSON texts, and RFC 6455 frames that many links can share.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

TEXT: Final = 0x81
"""FIN and opcode 1 (RFC 6455 §5.2). A server's frames are not masked, so their bytes can be shared."""

encode: Final = msgspec.json.Encoder().encode
"""Anything of JSON → UTF-8 bytes."""


def text_frame(payload: bytes) -> bytes:
    """Put one whole text message into one frame."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", TEXT, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", TEXT, 126, size) + payload
    return struct.pack("!BBQ", TEXT, 127, size) + payload


def message(content: object) -> bytes:
    """Encode a message as one frame."""
    return text_frame(encode(content))


def event(
    query_id: int, event_type: str, time_ms: int, elements: list[bytes], removed: list[int], *, complete: bool
) -> bytes:
    """Splice elements that are bytes already into the frame of an event."""
    head = b'{"Type":"Event","QueryID":%d,"EventType":"%b","Time":%d,"Complete":%b,"Elements":[' % (
        query_id,
        event_type.encode(),
        time_ms,
        b"true" if complete else b"false",
    )
    tail = b'],"Removed":' + encode(removed) + b"}" if removed else b"]}"
    return text_frame(head + b",".join(elements) + tail)
