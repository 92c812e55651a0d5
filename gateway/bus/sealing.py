"""Sealed envelopes: a reader of Redis learns nothing from them, and a writer cannot make one.

AES-256-GCM under keys with ids, of which the first seals and all open, so that keys rotate while nodes
run. Bytes: ``length of id ‖ key id ‖ nonce ‖ sealed``; the channel's name is authenticated with it, so
that nothing opens that was moved to another channel.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES: Final = 32
_LABEL: Final = b"bus"
_FIXED_BYTES: Final = 8
_COUNTER_BYTES: Final = 4
_NONCE_BYTES: Final = _FIXED_BYTES + _COUNTER_BYTES
_COUNTED: Final = 1 << 8 * _COUNTER_BYTES
_TAG_BYTES: Final = 16
_ID_BYTES_MAX: Final = 255
_AT_REST: Final = b"value of "
"""Before a key's name: what was sealed for a key opens on no channel, and the other way round."""


class DropReason(enum.StrEnum):
    """Why a received message or a value was dropped."""

    GARBAGE = "garbage"
    UNKNOWN_KEY = "unknown_key"
    FORGED = "forged"
    """Damaged, sealed with another key under a known id, or moved here from another channel."""
    UNREADABLE = "unreadable"
    """Genuine, but no envelope of this version."""
    REPEATED = "repeated"
    """Genuine, and received before, or out of order: it was recorded and sent again."""
    LATE = "late"
    """Genuine, and sent too long ago: the message or this process was held up."""
    UNPROVEN = "unproven"
    """Genuine, but its sender did not prove in time that it runs: recorded before this process started."""


class Seals:
    """Seals what a node publishes and opens what it receives.

    Invariants: what opens was sealed for this channel by a node with one of the same keys, bit for
    bit; no nonce is used twice. Nonces count up behind a random field of 64 bits, which is drawn at the
    start and again whenever the 32 bits of the counter are used up (NIST SP 800-38D §8.2.1): wholly random
    ones would use a key up in a day of 50,000 messages a second (§8.3), and cost more to draw.

    Args:
        keys: (id, 32 secret bytes), one at least. The first seals, all open.
        draw: Draws that many unpredictable bytes.

    Raises:
        ValueError: There is no key, or one has another length or too long an id.
    """

    def __init__(self, keys: Sequence[tuple[str, bytes]], draw: Callable[[int], bytes]) -> None:
        self._draw = draw
        self._ciphers: dict[bytes, AESGCM]
        self.rekey(keys)
        self._fixed = draw(_FIXED_BYTES)
        self._count = 0
        self.dropped: Final[Counter[DropReason]] = Counter()
        """What was dropped since the start, by reason; readers of envelopes add what they cannot decode."""

    def rekey(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """Use *keys* instead of the present ones from now on.

        Raises:
            ValueError: As at the start; the keys in force stay.
        """
        if not keys:
            raise ValueError("there is no sealing key")
        ciphers = {_head(name): AESGCM(_derive(secret)) for name, secret in keys}
        self._ciphers = ciphers
        self._first_head, self._first = next(iter(ciphers.items()))

    def seal(self, channel: bytes, plain: bytes) -> bytes:
        """Return *plain* sealed for *channel*."""
        nonce = self._fixed + self._count.to_bytes(_COUNTER_BYTES, "big")
        self._count += 1
        if self._count == _COUNTED:
            self._fixed, self._count = self._draw(_FIXED_BYTES), 0
        return self._first_head + nonce + self._first.encrypt(nonce, plain, channel)

    def open(self, channel: bytes, sealed: bytes) -> bytes | None:
        """Return what was sealed for *channel*; None, counted, when nothing like that was."""
        opened = self._open(channel, sealed)
        if isinstance(opened, bytes):
            return opened
        self.drop(opened)
        return None

    def seal_value(self, key: bytes, plain: bytes) -> bytes:
        """Return *plain* sealed as the value that stands under *key* in Redis."""
        return self.seal(_AT_REST + key, plain)

    def open_value(self, key: bytes, sealed: bytes) -> bytes | None:
        """Return what was sealed as the value of *key*; None, counted, when nothing like that was.

        An older value of the same key opens as well: the plain text must hold what makes it out of date.
        """
        return self.open(_AT_REST + key, sealed)

    def drop(self, why: DropReason, times: int = 1) -> None:
        """Count dropped messages."""
        if times:
            self.dropped[why] += times

    def _open(self, channel: bytes, sealed: bytes) -> bytes | DropReason:
        at = 1 + sealed[0] if sealed else 0
        if not at or len(sealed) < at + _NONCE_BYTES + _TAG_BYTES:
            return DropReason.GARBAGE
        cipher = self._ciphers.get(sealed[:at])
        if cipher is None:
            return DropReason.UNKNOWN_KEY
        try:
            return cipher.decrypt(sealed[at : at + _NONCE_BYTES], sealed[at + _NONCE_BYTES :], channel)
        except InvalidTag:
            return DropReason.FORGED

    def __repr__(self) -> str:
        return f"Seals({len(self._ciphers)} keys)"


def _head(name: str) -> bytes:
    raw = name.encode()
    if not 0 < len(raw) <= _ID_BYTES_MAX:
        raise ValueError("a key id has 1 to 255 bytes")
    return bytes([len(raw)]) + raw


def _derive(secret: bytes) -> bytes:
    if len(secret) != _KEY_BYTES:
        raise ValueError("a sealing key has 32 bytes")
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=_LABEL).derive(secret)
