"""Ports of the edge: what it needs from its node.

Implemented by :class:`gateway.runtime.node.Node` and :class:`gateway.runtime.accounts.Accounts`.
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
from gateway.runtime.mirror import Connection


class SessionAttachment(Protocol):
    """Result of an attach."""

    @property
    def facts(self) -> SessionFacts:
        """The facts of the session that OSCC-E accepted."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The user's mirror."""
        ...


class SocketNode(Protocol):
    """The node, as sockets use it."""

    async def attach(
        self, connection: Connection, ticket: Ticket, topics: tuple[str, ...] | None
    ) -> SessionAttachment:
        """Attach a session. Return when OSCC-E has accepted it in this epoch; bounded in time.

        Raises:
            SessionRefused: With the close code of the socket.
        """
        ...

    def follow(self, connection: Connection, topics: tuple[str, ...]) -> None:
        """Change the topics of the connection."""
        ...

    async def invoke(self, connection: Connection, call: Call) -> Outcome:
        """Execute a command. Never raises; bounded by the deadline of the call."""
        ...

    def touch(self, connection: Connection) -> None:
        """Record that a frame arrived."""
        ...

    def detach(self, connection: Connection) -> None:
        """Record that the socket has closed. Called once for each, attached or not."""
        ...

    def health(self, user: UserId) -> Health:
        """Return the freshness of the user's data."""
        ...


class SessionNode(SocketNode, Protocol):
    """The node, as sockets and HTTP routes use it."""

    def denied(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended; None when this node does not know."""
        ...

    def seen_by(self, ticket: Ticket) -> Mapping[str, Resource]:
        """Return the session's view of the mirror, as far as this node holds it."""
        ...


class AccountService(Protocol):
    """Log-on and log-off. Each call is bounded in time and may raise GatewayError."""

    async def log_on(self, site: str, credentials: LogOn, address: str = "") -> LoggedOn:
        """Open a session at OSCC-E, within the limits of the *address*."""
        ...

    async def log_off(self, ticket: Ticket) -> LoggedOff:
        """End the session. ``after_contact``: not confirmed, and retried. Does not raise."""
        ...

    async def sessions(self, ticket: Ticket) -> tuple[SessionInfo, ...]:
        """Return the user's sessions."""
        ...

    async def end(self, ticket: Ticket, session: SessionId) -> LoggedOff:
        """End a session of the user; their own as :meth:`log_off` does."""
        ...
