"""Mutations of WebSocket frames that mostly stay frames.

A search that changes bytes blindly spends itself on lengths that no longer fit their payloads.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded by the search
from collections.abc import Callable
from itertools import cycle
from typing import Final, NamedTuple

MASK: Final = 4
"""How many bytes a client's mask has."""

_OPCODES: Final = (0, 0, 1, 1, 2, 8, 9, 10)
_PIECES: Final = (
    "é".encode(), "κόσμε".encode(), "\U0001f600".encode(), b"x" * 126,
    b"\xed\xa0\x80", b"\xf4\x90", b"\xc0\xaf", b"\xce", b"\xff",
)  # fmt: skip
"""Text, and what is none."""
_CODES: Final = (999, 1000, 1004, 1005, 1006, 1010, 1014, 1015, 2999, 3000, 4999, 5000)

_SIZES: Final = (0, 1, 124, 125, 126, 127, 128, 398, 399, 400, 401)
_WIDTHS: Final = {126: 2, 127: 8}


class Frame(NamedTuple):
    """A frame of a client."""

    first: int
    """FIN, reserved bits, opcode."""
    payload: bytes
    """Without its mask."""
    width: int = 0
    """How many bytes more the length has, if more than it needs."""


def split(data: bytes, mask_bytes: int = MASK) -> list[Frame]:
    """Return the frames in *data*; what is cut off is as if it had ended there. A server's have no mask."""
    frames: list[Frame] = []
    at = 0
    while at + 2 <= len(data):
        first, size = data[at], data[at + 1] & 127
        at += 2
        width = _WIDTHS.get(size, 0)
        if width:
            size = int.from_bytes(data[at : at + width], "big")
        at += width
        mask, payload = data[at : at + mask_bytes], data[at + mask_bytes : at + mask_bytes + size]
        at += mask_bytes + size
        frames.append(Frame(first, _turned(payload, mask), width))
    return frames


def joined(frames: list[Frame], seeded: random.Random, mask_bytes: int = MASK) -> bytes:
    """Return *frames* as a client sends them, with any masks; without one, as a server does."""
    return b"".join(
        _written(frame, seeded.choice((bytes(mask_bytes), seeded.randbytes(mask_bytes)))) for frame in frames
    )


def _turned(payload: bytes, mask: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(payload, cycle(mask or b"\0"), strict=False))


def _written(frame: Frame, mask: bytes) -> bytes:
    size = len(frame.payload)
    width = max(frame.width, 0 if size < 126 else 2 if size < 1 << 16 else 8)
    second = {0: size, 2: 126, 8: 127}[width]
    length = size.to_bytes(width, "big") if width else b""
    return bytes((frame.first, second | (128 if mask else 0))) + length + mask + _turned(frame.payload, mask)


def reframe(data: bytes, change: Callable[[bytes, int], bytes], seed: int, mask_bytes: int = MASK) -> bytes:
    """Return *data* with one to three changes of its frames; *change* is the search's own change of bytes."""
    seeded = random.Random(seed)
    frames = split(data, mask_bytes) or [Frame(129, b"")]
    for _ in range(seeded.randint(1, 3)):
        at = seeded.randrange(len(frames))
        frames[at : at + 1] = _changed(frames[at], change, seeded)
        frames = frames or [Frame(129, b"")]
    return joined(frames, seeded, mask_bytes)


def _changed(frame: Frame, change: Callable[[bytes, int], bytes], seeded: random.Random) -> list[Frame]:
    first, payload, _ = frame
    cut = seeded.randint(0, len(payload))
    opcode = seeded.choice(_OPCODES)
    return seeded.choice(
        (
            [],
            [frame, frame],
            [frame] * seeded.choice((15, 16, 17)),
            [Frame(first ^ 128, payload)],
            [Frame(first & 0xF0 | opcode, payload)],
            [Frame(first, payload, seeded.choice((2, 8)))],
            [Frame(first, (payload + bytes(401))[: seeded.choice(_SIZES)])],
            [Frame(128 | opcode, payload[:9]), frame],
            [Frame(first & 127, payload[:cut]), Frame(first & 0xF0, payload[cut:])],
            [Frame(first, payload[:cut] + seeded.choice(_PIECES) + payload[cut:])],
            [Frame(136, seeded.choice(_CODES).to_bytes(2, "big") + payload[:40])],
            [Frame(first, change(payload or b"x", 500))],
        )
    )
