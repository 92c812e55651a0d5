"""Whose session does somebody show, and may it still be used?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from gateway.domain.errors import (
    CloseCode,
    EndReason,
    ErrorCode,
    GatewayError,
    SessionRefused,
    Verdict,
    verdict,
)
from gateway.domain.model import Ticket, UserId
from gateway.edge.token import Opened, Tokens, Unopened
from gateway.runtime.ports import Clock
from gateway.runtime.world import refusal

TOKEN_INVALID: Final = "token_invalid"  # noqa: S105 - the name of a refusal


class Bearer:
    """Opens tokens and tells what speaks against them.

    Args:
        tokens: Opens them.
        denied: Tells how a session ended, when that is known.
        clock: Tells whether they have expired.
        grace_s: How long an expired one still logs off.
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

    def whose(self, token: str) -> Opened:
        """Return what *token* says.

        An expired one is no proof that its session has ended: this node's clock may be wrong. OSCC-E says it,
        who is asked before anything is served.

        Raises:
            SessionRefused: 4001 when it does not open, else how the session ended.
        """
        opened = self._open(token)
        refused = self._denied(opened.ticket)
        if refused is not None:
            raise refused
        return opened

    def of_header(self, authorization: Sequence[str]) -> Opened:
        """Return what the token in the `Authorization` header says.

        Raises:
            GatewayError: ``unauthenticated`` or ``session_ended``.
        """
        try:
            return self.whose(token_in(authorization))
        except SessionRefused as refused:
            raise over_http(refused) from None

    def user_of(self, authorization: Sequence[str]) -> UserId | None:
        """Return the user of the token in the `Authorization` header; None when none opens.

        The session may have ended: it says whom a request counts for, not what the request may do.
        """
        ticket = self._ticket_in(authorization)
        return None if ticket is None else ticket.user

    def session_of(self, authorization: Sequence[str]) -> str | None:
        """Return the handle of the session of the token in the header, likewise."""
        ticket = self._ticket_in(authorization)
        return None if ticket is None else ticket.handle

    def _ticket_in(self, authorization: Sequence[str]) -> Ticket | None:
        try:
            return self._open(token_in(authorization)).ticket if authorization else None
        except (GatewayError, SessionRefused):
            return None

    def for_log_off(self, authorization: Sequence[str]) -> Opened:
        """Do the same for a log-off: an ended or lately expired session may always be logged off.

        Raises:
            GatewayError: ``unauthenticated``.
        """
        try:
            return self._open(token_in(authorization))
        except SessionRefused as refused:
            raise over_http(refused) from None

    def _open(self, token: str) -> Opened:
        opened = self.tokens.open(token, self._clock.wall_ms(), grace_s=self._grace_s)
        if isinstance(opened, Unopened):
            raise SessionRefused(CloseCode.TOKEN_INVALID, TOKEN_INVALID)
        return opened


def token_in(authorization: Sequence[str]) -> str:
    """Return the token of an `Authorization: Bearer` header (RFC 6750 §2.1).

    Raises:
        GatewayError: ``unauthenticated``; there is none, or more than one.
    """
    scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise GatewayError(ErrorCode.UNAUTHENTICATED, "A token is needed here.")
    return token.strip()


def same_session(one: Ticket, other: Ticket) -> bool:
    """Tell whether two tickets are of one session."""
    return (one.user, one.session) == (other.user, other.session)


def over_http(refused: SessionRefused) -> GatewayError:
    """Return the HTTP error that says what a close would."""
    if refused.code is CloseCode.TOKEN_INVALID:
        return GatewayError(ErrorCode.UNAUTHENTICATED, "The token is not valid.")
    log_on = verdict(refused.code) is Verdict.LOG_ON
    return GatewayError(
        ErrorCode.SESSION_ENDED,
        "The session has ended.",
        verdict=Verdict.LOG_ON.value if log_on else Verdict.STOP.value,
    )


@contextmanager
def judged(ticket: Ticket) -> Iterator[None]:
    """Have the block's ``session_ended``, which is OSCC-E's word, say what the phone is to do.

    Raises:
        GatewayError: What the block raises; OSCC-E does not tell why the session ended.
    """
    try:
        yield
    except GatewayError as error:
        if error.code is not ErrorCode.SESSION_ENDED:
            raise
        raise over_http(refusal(ticket, EndReason.UNKNOWN, None)) from None
