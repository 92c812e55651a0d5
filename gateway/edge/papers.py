"""Whose session does a phone show, and when does it get a fresh token?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.domain.errors import CloseCode, SessionRefused
from gateway.domain.model import Ticket
from gateway.edge.bearer import TOKEN_INVALID, Bearer, same_session
from gateway.edge.token import Opened
from gateway.protocol.frames import ClientInfo, Renewed
from gateway.runtime.ports import Clock


class Papers:
    """What one phone holds of its session: the ticket, as its newest token says it.

    Args:
        bearer: Opens and seals tokens.
        clock: Tells when a token was made.
        shown: What the token in the header said, if there was one.
        admit: Called when a valid token was shown; may refuse the program.
    """

    __slots__ = ("_admit", "_bearer", "_clock", "_is_stale", "_shown", "known")

    def __init__(
        self, bearer: Bearer, clock: Clock, shown: Opened | None, admit: Callable[[ClientInfo], None]
    ) -> None:
        self._bearer = bearer
        self._clock = clock
        self._shown = shown
        self._admit = admit
        self._is_stale = False
        self.known: Ticket | None = None
        """The ticket; None before :meth:`show`."""

    @property
    def ticket(self) -> Ticket:
        """The ticket, for whoever is there only because it was shown."""
        assert self.known is not None  # noqa: S101 - nobody is attached, told or asked before a token was shown
        return self.known

    def show(self, token: str | None, client: ClientInfo) -> Ticket:
        """Return what the token in `hello` says, or the one in the header; both must be of one session.

        Raises:
            SessionRefused: The token does not open, its session has ended, or *client* is too old.
        """
        said = self._shown if token is None else self._bearer.whose(token)
        if said is None or (self._shown is not None and not same_session(self._shown.ticket, said.ticket)):
            raise SessionRefused(CloseCode.TOKEN_INVALID, TOKEN_INVALID)
        self.known, self._is_stale = said.ticket, self._is_stale or said.stale
        admit, self._admit = self._admit, _admitted
        admit(client)
        return said.ticket

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
        renewed, token = self._bearer.tokens.renew(ticket, expires_at_ms, self._clock.wall_ms())
        self.known, self._is_stale = renewed, False
        return Renewed(token, expires_at_ms)


def _admitted(_: ClientInfo) -> None:
    """Do nothing for whoever was admitted before."""
