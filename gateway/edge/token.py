"""Session tokens: tickets encrypted with keys that only the nodes have.

The cipher is AES-256-GCM under keys with ids; the first key seals, all open. The gateway stores no token.

Text: base64url, unpadded, of ``version ‖ key id ‖ site ‖ nonce ‖ sealed ticket``, each of the two names with
a byte of length in front. Everything before the nonce is authenticated, together with the purpose.
"""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId

TOKEN_CHARS_MAX: Final = 4096
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
"""NIST SP 800-38D §8.2: 96 random bits, enough for 2^32 tokens of one key."""
_VERSION: Final = b"\x01"
_LABEL: Final = b"token"
_PURPOSE: Final = b"oscc-gateway session"


class TokenFault(enum.StrEnum):
    """Why a token does not open."""

    GARBAGE = "garbage"
    UNKNOWN_KEY = "unknown_key"
    FOREIGN_SITE = "foreign_site"
    FORGED = "forged"
    EXPIRED = "expired"


class OpenedToken(NamedTuple):
    """Content of a token. *expired*: it is genuine, but allows a log-off at most.

    *stale*: it was sealed by an old key.
    """

    ticket: Ticket
    expired: bool
    stale: bool


class _Key(NamedTuple):
    id: str
    cipher: AESGCM


class Tokens:
    """Sealing of tickets and opening of tokens.

    Invariant: a token that opens was sealed, bit for bit, by a node with one of the same keys.

    Args:
        keys: (id, 32 secret bytes). The first key seals, all open.
        sites: The sites whose tokens open.
        nonce: Returns that many unpredictable bytes.
    """

    def __init__(
        self, keys: Sequence[tuple[str, bytes]], sites: Sequence[str], nonce: Callable[[int], bytes]
    ) -> None:
        self._sites: Final = frozenset(sites)
        self._nonce = nonce
        self._keys: dict[str, _Key]
        self._first: _Key
        self.rekey(keys)

    def rekey(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """Use *keys* from now on. Tokens of other keys do not open."""
        derived = [_Key(name, AESGCM(_derive(secret))) for name, secret in keys]
        self._keys, self._first = {key.id: key for key in derived}, derived[0]

    def seal(self, ticket: Ticket) -> str:
        """Return the token of *ticket*."""
        head = _VERSION + _name(self._first.id) + _name(ticket.user.site)
        nonce = self._nonce(_NONCE_BYTES)
        sealed = self._first.cipher.encrypt(nonce, _pack(ticket), _PURPOSE + head)
        return base64.urlsafe_b64encode(head + nonce + sealed).rstrip(b"=").decode("ascii")

    def renew(self, ticket: Ticket, expires_at_ms: int, wall_ms: int) -> tuple[Ticket, str]:
        """Return *ticket* with a new expiry, and its token."""
        renewed = replace(ticket, issued_at_ms=wall_ms, expires_at_ms=expires_at_ms)
        return renewed, self.seal(renewed)

    def open(self, text: str, wall_ms: int, *, grace_s: float = 0.0) -> OpenedToken | TokenFault:
        """Return the content of *text*, or why it does not open.

        Args:
            text: Any text.
            wall_ms: Now.
            grace_s: How long after its expiry a token still opens, as expired.
        """
        found = self._unseal(text)
        if isinstance(found, TokenFault):
            return found
        ticket, key = found
        late_ms = wall_ms - ticket.expires_at_ms
        if late_ms >= 0 and late_ms >= grace_s * 1000:
            return TokenFault.EXPIRED
        return OpenedToken(ticket, expired=late_ms >= 0, stale=key is not self._first)

    def _unseal(self, text: str) -> tuple[Ticket, _Key] | TokenFault:
        raw = _decode(text)
        parsed = None if raw is None else _parse(raw)
        if parsed is None:
            return TokenFault.GARBAGE
        key_id, site, head, nonce, sealed = parsed
        key = self._keys.get(key_id)
        if key is None:
            return TokenFault.UNKNOWN_KEY
        try:
            packed = key.cipher.decrypt(nonce, sealed, _PURPOSE + head)
        except InvalidTag:
            return TokenFault.FORGED
        if site not in self._sites:
            return TokenFault.FOREIGN_SITE
        return _unpack(packed, site), key


def _derive(secret: bytes) -> bytes:
    if len(secret) != _KEY_BYTES:
        raise ValueError("a sealing key has 32 bytes")
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=_LABEL).derive(secret)


def _name(text: str) -> bytes:
    raw = text.encode()
    return bytes([len(raw)]) + raw


def _decode(text: str) -> bytes | None:
    """Decode *text*; None unless it is the only valid spelling of its bytes."""
    if len(text) > TOKEN_CHARS_MAX or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=") == text.encode() else None


class _Parsed(NamedTuple):
    key_id: str
    site: str
    head: bytes
    nonce: bytes
    sealed: bytes


def _parse(raw: bytes) -> _Parsed | None:
    if raw[:1] != _VERSION:
        return None
    names: list[str] = []
    at = 1
    for _ in range(2):
        if at >= len(raw) or at + 1 + raw[at] > len(raw):
            return None
        names.append(raw[at + 1 : at + 1 + raw[at]].decode(errors="replace"))
        at += 1 + raw[at]
    if len(raw) <= at + _NONCE_BYTES:
        return None
    return _Parsed(names[0], names[1], raw[:at], raw[at : at + _NONCE_BYTES], raw[at + _NONCE_BYTES :])


class _Sealed(msgspec.Struct, array_like=True, frozen=True):
    """Sealed content. Any change except an optional field at the end needs a new version of the token."""

    user: int
    display_name: str
    application: Application
    secret: str
    session: str
    device: str
    device_name: str
    notices: tuple[tuple[str, int], ...]
    issued_at_ms: int
    expires_at_ms: int
    idle_timeout_s: int
    server: str | None = None


_READER: Final = msgspec.msgpack.Decoder(_Sealed)


def _pack(ticket: Ticket) -> bytes:
    return msgspec.msgpack.encode(
        _Sealed(
            ticket.user.key,
            ticket.display_name,
            ticket.application,
            ticket.secret,
            ticket.session,
            ticket.device.id,
            ticket.device.name,
            ticket.notices,
            ticket.issued_at_ms,
            ticket.expires_at_ms,
            ticket.idle_timeout_s,
            ticket.server,
        )
    )


@lru_cache(maxsize=4096)
def _user(site: str, key: int) -> UserId:
    """Return one shared object for phones of the same user that connect about the same time."""
    return UserId(site, key)


def _unpack(packed: bytes, site: str) -> Ticket:
    """Decode what :func:`_pack` wrote: the seal proves that it did."""
    sealed = _READER.decode(packed)
    return Ticket(
        user=_user(site, sealed.user),
        display_name=sealed.display_name,
        application=sealed.application,
        secret=SessionSecret(sealed.secret),
        session=SessionId(sealed.session),
        device=Device(sealed.device, sealed.device_name),
        notices=sealed.notices,
        issued_at_ms=sealed.issued_at_ms,
        expires_at_ms=sealed.expires_at_ms,
        idle_timeout_s=sealed.idle_timeout_s,
        server=sealed.server,
    )
