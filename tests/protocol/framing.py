"""Independent writer and reader of WebSocket frames."""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import NamedTuple

MASK = b"\x37\xfa\x21\x3d"
"""The mask of the examples in RFC 6455 §5.7."""


def framed(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes = MASK, rsv: int = 0) -> bytes:
    """Return one frame as a client sends it."""
    first = fin << 7 | rsv << 4 | opcode
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 128 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, 254, size)
    else:
        head = struct.pack("!BBQ", first, 255, size)
    return head + mask + bytes(byte ^ key for byte, key in zip(payload, itertools.cycle(mask), strict=False))


def text(said: str | bytes) -> bytes:
    """Return a whole text message."""
    return framed(1, said.encode() if isinstance(said, str) else said)


def closing(code: int | None = None, reason: bytes = b"") -> bytes:
    """Return a close frame."""
    return framed(8, b"" if code is None else struct.pack("!H", code) + reason)


class Received(NamedTuple):
    """A frame of a server."""

    opcode: int
    payload: bytes


def received(data: bytes) -> list[Received]:
    """Return the frames in what a server sent; they are final, not compressed, and not masked."""
    frames = received_all(data)
    assert not any(is_compressed for _, is_compressed in frames)
    return [frame for frame, _ in frames]


def received_all(data: bytes) -> list[tuple[Received, bool]]:
    """Return the frames in what a server sent, and of each whether it came compressed (RFC 7692)."""
    frames: list[tuple[Received, bool]] = []
    at = 0
    while at < len(data):
        first, size = data[at], data[at + 1]
        assert first & 0xB0 == 0x80
        at += 2
        width = {126: 2, 127: 8}.get(size, 0)
        if width:
            size = int.from_bytes(data[at : at + width], "big")
        assert size < 128 or width, "masked"
        at += width
        assert len(data) >= at + size, "cut off"
        payload, is_compressed = data[at : at + size], bool(first & 0x40)
        if is_compressed:
            payload = zlib.decompress(payload + b"\x00\x00\xff\xff\x03\x00", -15)
        frames.append((Received(first & 0x0F, payload), is_compressed))
        at += size
    return frames
