"""Whose session does a phone show, when does it get a fresh token, and which notices has it seen?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from gateway.domain.errors import CloseCode, SessionRefused
from gateway.domain.model import Ticket
from gateway.edge.bearer import TOKEN_INVALID, Bearer, same_session
from gateway.edge.notices import Edition, Notices
from gateway.edge.token import Opened
from gateway.edge.unread import unread
from gateway.protocol.frames import NoticeFrame, Renewed
from gateway.runtime.ports import Clock

_NOTHING: Edition = {}


class Desk(NamedTuple):
    """What the papers of all phones are handled with.

    *bearer* opens and seals tokens; *notices* are those in force; *clock* tells when a token was made, and
    which notices bind.
    """

    bearer: Bearer
    notices: Notices
    clock: Clock


class Papers:
    """What one phone holds of its session: the ticket, as its newest token says it, and its notices.

    Invariant: a notice is given once, see :func:`gateway.edge.unread.unread`. It costs a reference to what
    all phones were shown last.

    Args:
        desk: Where they are handled.
        shown: What the token in the header said, if there was one.
        languages: The phone's, best first.
    """

    __slots__ = ("_desk", "_edition", "_is_stale", "_languages", "_shown", "known")

    def __init__(self, desk: Desk, shown: Opened | None, languages: Sequence[str]) -> None:
        self._desk = desk
        self._shown = shown
        self._languages = languages
        self._edition = _NOTHING
        self._is_stale = False
        self.known: Ticket | None = None
        """The ticket; None before :meth:`show`."""

    @property
    def ticket(self) -> Ticket:
        """The ticket, for whoever is there only because it was shown."""
        assert self.known is not None  # noqa: S101 - nobody is attached, told or asked before a token was shown
        return self.known

    def show(self, token: str | None) -> Ticket:
        """Return what the token in `hello` says, or the one in the header; both must be of one session.

        Raises:
            SessionRefused: The token does not open, or its session has ended.
        """
        said = self._shown if token is None else self._desk.bearer.whose(token)
        if said is None or (self._shown is not None and not same_session(self._shown.ticket, said.ticket)):
            raise SessionRefused(CloseCode.TOKEN_INVALID, TOKEN_INVALID)
        self.known, self._shown = said.ticket, None
        self._is_stale = self._is_stale or said.stale
        return said.ticket

    def unread(self) -> list[NoticeFrame]:
        """Return the notices that are new to the phone."""
        shown, self._edition = self._edition, self._desk.notices.edition(self._desk.clock.wall_ms())
        if self._edition is shown:
            return []
        return unread(self._edition, shown, self.ticket.notices, self._languages)

    def refresh(self, expires_at_ms: int) -> Renewed | None:
        """Return a fresh token when the phone's says another end, or is sealed by an old key."""
        if not self._is_stale and expires_at_ms == self.ticket.expires_at_ms:
            return None
        return self._renew(self.ticket, expires_at_ms)

    def renew(self) -> Renewed:
        """Return a fresh token that says the same: what sealed the phone's is on its way out."""
        ticket = self.ticket
        return self._renew(ticket, ticket.expires_at_ms)

    def outdate(self) -> None:
        """Note that another key seals: a token that was shown before is renewed once it is served."""
        self._is_stale = True

    def acknowledge(self, notices: tuple[tuple[str, int], ...]) -> Renewed:
        """Return a fresh token that says that *notices* were acknowledged."""
        ticket = self.ticket
        return self._renew(replace(ticket, notices=notices), ticket.expires_at_ms)

    def _renew(self, ticket: Ticket, expires_at_ms: int) -> Renewed:
        tokens, wall_ms = self._desk.bearer.tokens, self._desk.clock.wall_ms()
        renewed, token = tokens.renew(ticket, expires_at_ms, wall_ms)
        self.known, self._is_stale = renewed, False
        return Renewed(token, expires_at_ms)
