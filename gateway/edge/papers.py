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

    __slots__ = ("_admit", "_bearer", "_clock", "_opened", "_shown")

    def __init__(
        self, bearer: Bearer, clock: Clock, shown: Opened | None, admit: Callable[[ClientInfo], None]
    ) -> None:
        self._bearer = bearer
        self._clock = clock
        self._shown = shown
        self._admit = admit
        self._opened: Opened | None = None

    @property
    def known(self) -> Ticket | None:
        """The ticket; None before :meth:`show`."""
        return None if self._opened is None else self._opened.ticket

    @property
    def ticket(self) -> Ticket:
        """The ticket, for whoever is there only because it was shown."""
        return self._held().ticket

    def show(self, token: str | None, client: ClientInfo) -> Ticket:
        """Return what the token in `hello` says, or the one in the header; both must be of one session.

        Raises:
            SessionRefused: The token does not open, its session has ended, or *client* is too old.
        """
        said = self._shown if token is None else self._bearer.whose(token)
        if said is None or (self._shown is not None and not same_session(self._shown.ticket, said.ticket)):
            raise SessionRefused(CloseCode.TOKEN_INVALID, TOKEN_INVALID)
        self._opened = said
        admit, self._admit = self._admit, _admitted
        admit(client)
        return said.ticket

    def refresh(self, expires_at_ms: int) -> Renewed | None:
        """Return a fresh token when the phone's says another end, or is sealed by an old key."""
        opened = self._held()
        if not opened.stale and expires_at_ms == opened.ticket.expires_at_ms:
            return None
        return self._renew(opened.ticket, expires_at_ms)

    def acknowledge(self, notices: tuple[tuple[str, int], ...]) -> Renewed:
        """Return a fresh token that says that *notices* were acknowledged."""
        ticket = self.ticket
        return self._renew(replace(ticket, notices=notices), ticket.expires_at_ms)

    def _renew(self, ticket: Ticket, expires_at_ms: int) -> Renewed:
        renewed, token = self._bearer.tokens.renew(ticket, expires_at_ms, self._clock.wall_ms())
        self._opened = Opened(renewed, expired=False, stale=False)
        return Renewed(token, expires_at_ms)

    def _held(self) -> Opened:
        assert self._opened is not None  # noqa: S101 - nobody is attached, told or asked before a token was shown
        return self._opened


def _admitted(_: ClientInfo) -> None:
    """Do nothing for whoever was admitted before."""
