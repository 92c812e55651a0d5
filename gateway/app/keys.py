"""Keys of ``[secrets]``: how they are written, parsed, created, and replaced in a running node.

A key is 32 random bytes in base64. A sealing key has an id in front (``k1:…``); a sealed token names the key
that opens it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

KEY_BYTES: Final = 32
_ID: Final = re.compile(r"[a-z0-9]{1,16}")
_COUNTED: Final = re.compile(r"k(\d{1,6})")
_CHECK_LABEL: Final = b"check value of a sealing key"
_CHECK_CHARACTERS: Final = 8
"""32 bits: too few to reveal anything about 256 random ones."""
_MAKE_ONE: Final = "make one with `oscc-gateway keys`"


@dataclass(frozen=True, slots=True, repr=False)
class SecretKey:
    """32 secret bytes. Its repr and str show nothing."""

    raw: bytes

    def __repr__(self) -> str:
        return "SecretKey(…)"


@dataclass(frozen=True, slots=True, repr=False)
class SealingKey:
    """A key that seals and opens tokens. Its repr and str show its id only."""

    id: str
    key: SecretKey

    @property
    def name(self) -> str:
        """Its id and a check value, which distinguishes two keys of one id; may be shown."""
        check = hashlib.sha256(_CHECK_LABEL + self.key.raw).hexdigest()
        return f"{self.id}/{check[:_CHECK_CHARACTERS]}"

    def __repr__(self) -> str:
        return f"SealingKey({self.id}:…)"


def parse_secret_key(text: str) -> SecretKey:
    """Read a key from its base64 form.

    Raises:
        ValueError: It is none. The message never repeats it.
    """
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"is not base64: {_MAKE_ONE}") from None
    if len(raw) != KEY_BYTES:
        raise ValueError(f"has {len(raw)} bytes, but must have {KEY_BYTES}: {_MAKE_ONE}")
    return SecretKey(raw)


def parse_sealing_key(text: str) -> SealingKey:
    """Read a sealing key: an id of lower-case letters and digits, a colon, base64.

    Raises:
        ValueError: It is none. The message never repeats it.
    """
    key_id, colon, key = text.strip().partition(":")
    if not colon or _ID.fullmatch(key_id) is None:
        raise ValueError(f"must be an id, a colon and base64, as in `k1:…`: {_MAKE_ONE}")
    return SealingKey(key_id, parse_secret_key(key))


def new_secret_key() -> SecretKey:
    """Draw a key."""
    return SecretKey(secrets.token_bytes(KEY_BYTES))


def new_sealing_key(present: Sequence[SealingKey] = ()) -> SealingKey:
    """Draw a sealing key whose id is the next of k1, k2 and so on after those *present*."""
    return SealingKey(f"k{max(map(_number, present), default=0) + 1}", new_secret_key())


def newest_first(present: Sequence[SealingKey]) -> list[SealingKey]:
    """Return *present* with the newest one first: of k1, k2 and so on the one with the highest number."""
    newest = max(reversed(present), key=_number)
    return [newest, *(key for key in present if key is not newest)]


def write_block(sealing_keys: Sequence[SealingKey], pseudonym_key: SecretKey) -> str:
    """Return the ``[secrets]`` table that holds these keys, ready for a configuration file."""
    lines = ["[secrets]", "sealing_keys = ["]
    lines += [f'    "{key.id}:{_base64(key.key)}",' for key in sealing_keys]
    lines += ["]", f'pseudonym_key = "{_base64(pseudonym_key)}"', ""]
    return "\n".join(lines)


def write_lines(sealing_keys: Sequence[SealingKey]) -> str:
    """Return the content of a file for ``…SEALING_KEYS_FILE`` with these keys."""
    return "".join(f"{key.id}:{_base64(key.key)}\n" for key in sealing_keys)


def _number(key: SealingKey) -> int:
    """Return N of kN, 0 for any other id."""
    match = _COUNTED.fullmatch(key.id)
    return 0 if match is None else int(match[1])


def _base64(key: SecretKey) -> str:
    return base64.b64encode(key.raw).decode("ascii")


# ---- keyring ----


RawKeys = Sequence[tuple[str, bytes]]
"""(id, 32 secret bytes). The first seals, all open."""
KeyUser = Callable[[RawKeys], None]


class Keyring:
    """The sealing keys of one node. Its repr shows none.

    Args:
        keys: The first keys in force.
    """

    def __init__(self, keys: Sequence[SealingKey]) -> None:
        self._keys: tuple[SealingKey, ...] = tuple(keys)
        self._holders: Final[list[KeyUser]] = []

    @property
    def raw(self) -> RawKeys:
        """The keys in the form that their users need."""
        return [(key.id, key.key.raw) for key in self._keys]

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids, which may be shown."""
        return tuple(key.id for key in self._keys)

    @property
    def names(self) -> tuple[str, ...]:
        """Their ids with check values, which may be shown as well."""
        return tuple(key.name for key in self._keys)

    def subscribe(self, holder: KeyUser) -> None:
        """Call *holder* with changed keys."""
        self._holders.append(holder)

    def replace(self, keys: Sequence[SealingKey]) -> bool:
        """Put *keys* in force everywhere; return whether another one seals now."""
        before, self._keys = self._keys, tuple(keys)
        if self._keys != before:
            for holder in self._holders:
                holder(self.raw)
        return self._keys[0] != before[0]
