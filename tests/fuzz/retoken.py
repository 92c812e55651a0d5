"""Mutations of tokens that mostly stay well spelled."""

from __future__ import annotations

import base64
import binascii
import random  # noqa: TID251 - seeded by the search
from collections.abc import Callable
from typing import Final

_ENDS: Final = (b"=", b"==", b"A", b"AA", b"\n", b"+", b"/", b" ", b"\xc3\xa9")
_LENGTHS: Final = (0, 1, 2, 3, 12, 13, 28, 29, 255)


def retoken(data: bytes, change: Callable[[bytes, int], bytes], seed: int) -> bytes:
    """Return *data* with a change of what it spells, or of how; *change* is the search's own, of bytes."""
    seeded = random.Random(seed)
    if seeded.random() < 0.3:
        end = seeded.randint(max(0, len(data) - 3), len(data))
        return data[:end] + seeded.choice(_ENDS)
    try:
        raw = bytearray(base64.urlsafe_b64decode(data + b"=="))
    except binascii.Error:
        raw = bytearray(b"\x01\x02k1\x04main")
    turn = seeded.randrange(4)
    at = seeded.randrange(max(1, min(len(raw), 16)))
    if turn == 0:
        raw[at : at + 1] = bytes([seeded.choice(_LENGTHS)])
    elif turn == 1:
        del raw[seeded.randrange(len(raw) + 1) :]
    elif turn == 2:
        raw[at : at + 2] = seeded.choice((b"", b"\x02k2", b"\x02k0", b"\x04main", b"\x09elsewhere", b"\xff"))
    else:
        raw = bytearray(change(bytes(raw) or b"x", 400))
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
