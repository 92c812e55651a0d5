"""What does the edge need from the node that it belongs to?

:class:`gateway.runtime.node.Node` and :class:`gateway.runtime.account.Account` in the gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.core.effects import Health
from gateway.core.ledger import Ledger
from gateway.domain.commands import Call, Outcome
from gateway.domain.errors import SessionRefused
from gateway.domain.model import SessionId, Ticket, UserId
from gateway.domain.resources import Resource
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.protocol.envelopes import SessionFacts
from gateway.runtime.feed import Connection


class Attached(Protocol):
    """What an attach gives."""

    @property
    def facts(self) -> SessionFacts:
        """What OSCC-E accepted."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The user's mirror."""
        ...


class Sockets(Protocol):
    """Who serves sockets."""

    async def attach(
        self, connection: Connection, ticket: Ticket, topics: tuple[str, ...] | None
    ) -> Attached:
        """Return when OSCC-E has accepted the session in this epoch; bounded in time.

        Raises:
            SessionRefused: How the socket is to be closed.
        """
        ...

    def follow(self, connection: Connection, topics: tuple[str, ...]) -> None:
        """Have other topics listened to."""
        ...

    async def invoke(self, connection: Connection, call: Call) -> Outcome:
        """Have a command executed. Never raises; bounded by the call's deadline."""
        ...

    def touch(self, connection: Connection) -> None:
        """Note that a frame came."""
        ...

    def detach(self, connection: Connection) -> None:
        """Note that the socket is gone. Called once for each, attached or not."""
        ...

    def health(self, user: UserId) -> Health:
        """Return how old the user's data may be."""
        ...


class Sessions(Sockets, Protocol):
    """Who knows the sessions."""

    def denied(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, when that is known here."""
        ...

    def seen_by(self, ticket: Ticket) -> Mapping[str, Resource]:
        """Return what the session sees of the mirror, as far as it is held here."""
        ...


class Accounts(Protocol):
    """The log-on door. Every call is bounded in time and may raise GatewayError."""

    async def log_on(self, site: str, credentials: LogOn, address: str = "") -> LoggedOn:
        """Open a session at OSCC-E, guarded and budgeted; *address*: what is limited as one."""
        ...

    async def log_off(self, ticket: Ticket) -> LoggedOff:
        """End it. ``after_contact``: not confirmed yet, and tried on. Does not raise."""
        ...

    async def sessions(self, ticket: Ticket) -> tuple[SessionInfo, ...]:
        """List the user's sessions."""
        ...

    async def end(self, ticket: Ticket, session: SessionId) -> LoggedOff:
        """End a session of the user; his own as :meth:`log_off` does."""
        ...
