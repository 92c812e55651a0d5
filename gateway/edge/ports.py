"""What does the edge need from the node that it belongs to?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.core.effects import Health
from gateway.core.ledger import Ledger
from gateway.core.session import Session
from gateway.domain.commands import Call, Outcome
from gateway.domain.errors import CloseCode, SessionRefused
from gateway.domain.model import Device, SessionId, Ticket, UserId
from gateway.domain.resources import Resource
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.protocol.envelopes import SessionFacts


class Connection(Protocol):
    """One phone's socket as the node sees it. No method blocks or raises."""

    session: Session

    @property
    def device(self) -> Device:
        """The phone, by its ticket; known from the attach on."""
        ...

    def wake(self) -> None:
        """Note that something may be due."""
        ...

    def learned(self, facts: SessionFacts) -> None:
        """Take in what OSCC-E says of the session now."""
        ...

    def close(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> None:
        """End the connection."""
        ...


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
    """What sockets need of the node."""

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

    def detach(self, connection: Connection) -> None:
        """Note that the socket is gone. Called once for each, attached or not."""
        ...

    def health(self, user: UserId) -> Health:
        """Return how old the user's data may be."""
        ...

    def denied(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, when that is known here."""
        ...


class LogOns(Protocol):
    """What the HTTP API needs of the node. Every call is bounded in time and may raise GatewayError."""

    async def log_on(self, site: str, credentials: LogOn) -> LoggedOn:
        """Open a session at OSCC-E."""
        ...

    async def log_off(self, ticket: Ticket) -> LoggedOff:
        """End it. ``after_contact``: not confirmed yet, and tried on."""
        ...

    async def sessions(self, ticket: Ticket) -> tuple[SessionInfo, ...]:
        """List the user's sessions."""
        ...

    async def end(self, ticket: Ticket, session: SessionId) -> None:
        """End another session of the user."""
        ...

    async def export(self, ticket: Ticket) -> Mapping[str, Resource]:
        """Return the session's view of the mirror as far as it is held here."""
        ...


class NodeDoors(Sockets, LogOns, Protocol):
    """All that the edge needs of the node."""
