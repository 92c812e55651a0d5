"""Credentials: sealed tokens, and the session that a request or a phone proves with one."""

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

from gateway.core.registry import refusal
from gateway.domain.errors import (
    CloseCode,
    EndReason,
    ErrorCode,
    GatewayError,
    MappedErrors,
    SessionRefused,
    Verdict,
    verdict,
)
from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.edge.policies import NoticeSet, NoticesInForce, unread_notices
from gateway.protocol.frames import NoticeFrame, Renewed, SessionView, UserView
from gateway.runtime.ports import Clock

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


class Tokens:
    """Sealing of tickets and opening of tokens.

    Invariant: a token that opens was sealed, bit for bit, by a node with one of the same keys.

    Args:
        keys: (id, 32 secret bytes). The first key seals, all open.
    """

    def __init__(
        self, keys: Sequence[tuple[str, bytes]], sites: Sequence[str], nonce: Callable[[int], bytes]
    ) -> None:
        self._sites: Final = {site: site for site in sites}
        """The name of each site, as one object for all its users."""
        self._nonce = nonce
        self._keys: dict[str, AESGCM]
        self._first: str
        self.rekey(keys)

    def rekey(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """Use *keys* from now on. Tokens of other keys do not open."""
        self._keys = {name: AESGCM(_derive(secret)) for name, secret in keys}
        self._first = keys[0][0]

    def seal(self, ticket: Ticket) -> str:
        """Return the token of *ticket*."""
        head = _VERSION + _name(self._first) + _name(ticket.user.site)
        nonce = self._nonce(_NONCE_BYTES)
        sealed = self._keys[self._first].encrypt(nonce, _pack(ticket), _PURPOSE + head)
        return base64.urlsafe_b64encode(head + nonce + sealed).rstrip(b"=").decode("ascii")

    def open(self, text: str, wall_ms: int, *, grace_s: float = 0.0) -> OpenedToken | TokenFault:
        """Return the content of *text*, or why it does not open.

        *grace_s*: how long after its expiry a token still opens, as expired.
        """
        found = self._unseal(text)
        if isinstance(found, TokenFault):
            return found
        ticket, key_id = found
        late_ms = wall_ms - ticket.expires_at_ms
        if late_ms >= 0 and late_ms >= grace_s * 1000:
            return TokenFault.EXPIRED
        return OpenedToken(ticket, expired=late_ms >= 0, stale=key_id != self._first)

    def _unseal(self, text: str) -> tuple[Ticket, str] | TokenFault:
        raw = _decode(text)
        parsed = None if raw is None else _parse(raw)
        if parsed is None:
            return TokenFault.GARBAGE
        key_id, site, head, nonce, sealed = parsed
        key = self._keys.get(key_id)
        if key is None:
            return TokenFault.UNKNOWN_KEY
        try:
            packed = key.decrypt(nonce, sealed, _PURPOSE + head)
        except InvalidTag:
            return TokenFault.FORGED
        if site not in self._sites:
            return TokenFault.FOREIGN_SITE
        return _unpack(packed, self._sites[site]), key_id


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


def _parse(raw: bytes) -> tuple[str, str, bytes, bytes, bytes] | None:
    """Return key id, site, all up to these, nonce and sealed part of a token."""
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
    return names[0], names[1], raw[:at], raw[at : at + _NONCE_BYTES], raw[at + _NONCE_BYTES :]


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


@lru_cache(maxsize=256)
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


TOKEN_INVALID: Final = "token_invalid"  # noqa: S105 - the name of a refusal


class BearerAuth:
    """Authentication by bearer tokens.

    Args:
        denied: Returns how a session ended, or None without a record of its end.
        grace_s: How long an expired token still logs off.
    """

    def __init__(
        self,
        tokens: Tokens,
        denied: Callable[[Ticket], SessionRefused | None],
        clock: Clock,
        *,
        grace_s: float,
    ) -> None:
        self.tokens: Final = tokens
        self._denied = denied
        self._clock = clock
        self._grace_s = grace_s

    def open(self, token: str) -> OpenedToken:
        """Return the content of *token*.

        An expired token is no proof that its session has ended, as this node's clock may be wrong. OSCC-E
        decides that, before anything is served.

        Raises:
            SessionRefused: 4001 when the token does not open, else how the session ended.
        """
        opened = self._open(token)
        refused = self._denied(opened.ticket)
        if refused is not None:
            raise refused
        return opened

    def from_header(self, authorization: Sequence[str]) -> OpenedToken:
        """Return the content of the token in the `Authorization` header.

        Raises:
            GatewayError: ``unauthenticated`` or ``session_ended``.
        """
        with MappedErrors(SessionRefused, as_http_error):
            return self.open(token_in(authorization))

    def ticket_in(self, authorization: Sequence[str]) -> Ticket | None:
        """Return the ticket of the token in the `Authorization` header; None when no token opens.

        The session may have ended: the result decides whose limits apply, not what the request may do.
        """
        try:
            return self._open(token_in(authorization)).ticket if authorization else None
        except (GatewayError, SessionRefused):
            return None

    def for_log_off(self, authorization: Sequence[str]) -> OpenedToken:
        """Return the token for a log-off, which an ended or recently expired session allows, too.

        Raises:
            GatewayError: ``unauthenticated``.
        """
        with MappedErrors(SessionRefused, as_http_error):
            return self._open(token_in(authorization))

    def _open(self, token: str) -> OpenedToken:
        opened = self.tokens.open(token, self._clock.wall_ms(), grace_s=self._grace_s)
        if isinstance(opened, TokenFault):
            raise SessionRefused(CloseCode.TOKEN_INVALID, TOKEN_INVALID)
        return opened


def token_in(authorization: Sequence[str]) -> str:
    """Return the token of an `Authorization: Bearer` header (RFC 6750 §2.1).

    Raises:
        GatewayError: ``unauthenticated``: there is no token, or more than one.
    """
    scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise GatewayError(
            ErrorCode.UNAUTHENTICATED, "A token is missing. Send one in the Authorization header, as Bearer."
        )
    return token.strip()


def as_http_error(refused: SessionRefused) -> GatewayError:
    """Return the HTTP error that corresponds to a close."""
    if refused.code is CloseCode.TOKEN_INVALID:
        return GatewayError(ErrorCode.UNAUTHENTICATED, "The token is not valid. Log on to get a new one.")
    log_on = verdict(refused.code) is Verdict.LOG_ON
    return GatewayError(
        ErrorCode.SESSION_ENDED,
        "The session has ended.",
        verdict=Verdict.LOG_ON.value if log_on else Verdict.STOP.value,
    )


def session_end_mapped(ticket: Ticket) -> MappedErrors[GatewayError]:
    """Add a verdict to a ``session_ended`` that OSCC-E answers inside the block.

    OSCC-E does not say why the session ended.
    """

    def with_verdict(error: GatewayError) -> GatewayError:
        is_end = error.code is ErrorCode.SESSION_ENDED
        return as_http_error(refusal(ticket, EndReason.UNKNOWN, None)) if is_end else error

    return MappedErrors(GatewayError, with_verdict)


def user_view(ticket: Ticket) -> UserView:
    """Return the user of *ticket* as their phone sees them."""
    return UserView(str(ticket.user.key), ticket.display_name)


def session_view(ticket: Ticket) -> SessionView:
    """Return the session of *ticket* as its phone sees it."""
    return SessionView(ticket.session, ticket.application, ticket.expires_at_ms)


_NOTHING: NoticeSet = {}


class CredentialServices(NamedTuple):
    """Dependencies of the credentials of all phones.

    *bearer* opens and seals tokens. *notices* are in force. *clock* dates tokens, and decides which notices
    bind.
    """

    bearer: BearerAuth
    notices: NoticesInForce
    clock: Clock


class SessionCredentials:
    """Credentials of one phone: the ticket of its newest token, and the notices it has seen.

    Invariant: a notice is sent once, see :func:`gateway.edge.policies.unread_notices`. That costs one
    reference to the set of notices that was sent last.

    *shown* is the content of the token in the header, if there was one. *languages* are sorted best first.
    """

    __slots__ = ("_edition", "_is_stale", "_languages", "_services", "_shown", "verified")

    def __init__(
        self, services: CredentialServices, shown: OpenedToken | None, languages: Sequence[str]
    ) -> None:
        self._services = services
        self._shown = shown
        self._languages = languages
        self._edition = _NOTHING
        self._is_stale = False
        self.verified: Ticket | None = None
        """The ticket; None before :meth:`verify`."""

    @property
    def ticket(self) -> Ticket:
        """The verified ticket. Call it only after :meth:`verify`."""
        assert self.verified is not None  # noqa: S101 - nothing is served before a token is verified
        return self.verified

    def verify(self, token: str | None) -> Ticket:
        """Return the ticket of *token*, or of the one in the header, which must be of one session.

        Raises:
            SessionRefused: The token does not open, or its session has ended.
        """
        shown = self._shown
        opened = shown if token is None else self._services.bearer.open(token)
        if opened is None or (shown is not None and shown.ticket.handle != opened.ticket.handle):
            raise SessionRefused(CloseCode.TOKEN_INVALID, TOKEN_INVALID)
        self.verified, self._shown = opened.ticket, None
        self._is_stale = self._is_stale or opened.stale
        return opened.ticket

    def unread_notices(self) -> list[NoticeFrame]:
        """Return the notices that are new to the phone."""
        shown, self._edition = self._edition, self._services.notices.edition(self._services.clock.wall_ms())
        if self._edition is shown:
            return []
        return unread_notices(self._edition, shown, self.ticket.notices, self._languages)

    def refresh(self, expires_at_ms: int) -> Renewed | None:
        """Return a new token when the phone's has another expiry, or is sealed by an old key; else None."""
        if not self._is_stale and expires_at_ms == self.ticket.expires_at_ms:
            return None
        return self._renew(self.ticket, expires_at_ms)

    def renew(self) -> Renewed:
        """Return a new token with the same content, sealed by the newest key."""
        ticket = self.ticket
        return self._renew(ticket, ticket.expires_at_ms)

    def mark_stale(self) -> None:
        """Mark the token as sealed by an old key: it is renewed as soon as the session is served."""
        self._is_stale = True

    def acknowledge(self, notices: tuple[tuple[str, int], ...]) -> Renewed:
        """Return a new token in which *notices* are acknowledged."""
        ticket = self.ticket
        return self._renew(replace(ticket, notices=notices), ticket.expires_at_ms)

    def _renew(self, ticket: Ticket, expires_at_ms: int) -> Renewed:
        wall_ms = self._services.clock.wall_ms()
        renewed = replace(ticket, issued_at_ms=wall_ms, expires_at_ms=expires_at_ms)
        self.verified, self._is_stale = renewed, False
        return Renewed(self._services.bearer.tokens.seal(renewed), expires_at_ms)
