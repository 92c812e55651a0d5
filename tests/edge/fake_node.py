"""Node double for the edge, scripted by a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import cast

from gateway.core.element import Element
from gateway.core.ledger import Health, Ledger
from gateway.domain.commands import Call, Outcome, Status
from gateway.domain.errors import ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import (
    Application,
    Device,
    Right,
    Scope,
    SessionId,
    SessionSecret,
    Ticket,
    User,
    UserId,
)
from gateway.domain.resources import Queue, Resource, Site
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.protocol.envelopes import SessionFacts
from gateway.runtime.command_execution import CommandedUser
from gateway.runtime.node import Attachment
from gateway.runtime.ports import Clock, Connection, OnOutcome

LIFE_MS = 3_600_000
LIVE = Health("live", "live", 0.0)


class FakeNode:
    """A node with one mirror for everybody and one user, ``ann`` with the password ``secret``."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.account = self
        self.ledger = Ledger(1)
        self.scope = Scope(queues=frozenset({1, 2}))
        self.rights: tuple[Right, ...] = (Right.ROUTING_STATE_WRITE,)
        self.user_states: dict[UserId, object] = {}
        """Users who are present."""
        self.connections: list[Connection] = []
        self.detached: list[Connection] = []
        self.followed: list[tuple[str, ...]] = []
        self.calls: list[Call] = []
        self.begun: list[OnOutcome] = []
        """Who waits for commands."""
        self.settles_commands = True
        """Whether a command is settled in the call that begins it."""
        self.credentials: list[LogOn] = []
        self.addresses: list[str] = []
        self.logged_off: list[Ticket] = []
        self.ended: list[SessionId] = []
        self.denials: dict[str, SessionRefused] = {}
        self.refusal: SessionRefused | None = None
        self.fault: Exception | None = None
        self.error: GatewayError | None = None
        self.log_on_takes_s = 0.0
        self.number_in_effect: str | None = None
        self.gate = asyncio.Event()
        """Attaches wait until it is set."""
        self.gate.set()
        self.outcome = Outcome(Status.APPLIED)
        self.routing = LoggedOff("removed", None)
        self.expires_at_ms: int | None = None
        self.ledger.health = LIVE
        self.ledger.record("site", Element(Site(extensions_version="V2R1")))
        for number in (1, 2):
            self.ledger.record(f"queue:{number}", Element(Queue(name=f"q{number}", contacts_waiting=0)))

    def wait_for(self, waiting: int, queue: int = 1) -> None:
        """Let a queue's figure change, and settle all sockets."""
        shown = self.ledger.get(f"queue:{queue}")
        assert shown is not None
        assert isinstance(shown.value, Queue)
        self.ledger.record(f"queue:{queue}", Element(replace(shown.value, contacts_waiting=waiting)))
        for connection in self.connections:
            connection.updated()

    def show_queues(self, count: int, name: str) -> None:
        self.scope = Scope(self.scope.agents, frozenset(range(count)), self.scope.groups)
        for number in range(count):
            self.ledger.record(f"queue:{number}", Element(Queue(name=name, contacts_waiting=0)))

    def allow_agent(self, number: int) -> None:
        self.scope = Scope(frozenset({number}), self.scope.queues, self.scope.groups)

    def facts(self, ticket: Ticket) -> SessionFacts:
        expires_at_ms = self.expires_at_ms or ticket.expires_at_ms
        return SessionFacts(ticket.handle, ticket.application, self.rights, self.scope, expires_at_ms)

    # ---- Sessions ----

    async def attach(
        self,
        connection: Connection,
        ticket: Ticket,
        topics: tuple[str, ...] | None,
        serve: Callable[[Attachment], None],
    ) -> None:
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        if self.refusal is not None:
            raise self.refusal
        self.connections.append(connection)
        serve(Attachment(self.facts(ticket), self.ledger, cast("CommandedUser", self)))

    def follow(self, connection: Connection, topics: tuple[str, ...]) -> None:
        self.followed.append(topics)

    def execute(self, call: Call, settle: OnOutcome) -> Callable[[], None]:
        if self.fault is not None:
            raise self.fault
        self.calls.append(call)
        if self.settles_commands:
            settle(self.outcome)
            return lambda: None
        self.begun.append(settle)
        return partial(self.begun.remove, settle)

    def detach(self, connection: Connection) -> None:
        self.detached.append(connection)
        if connection in self.connections:
            self.connections.remove(connection)

    def health(self, user: UserId) -> Health:
        return self.ledger.health

    def denied(self, ticket: Ticket) -> SessionRefused | None:
        return self.denials.get(ticket.session)

    def seen_by(self, ticket: Ticket) -> Mapping[str, Resource]:
        return {
            key: element.value
            for key, element in self.ledger.items()
            if not isinstance(element.value, SessionFacts)
        }

    # ---- Accounts ----

    async def log_on(self, site: str, credentials: LogOn, address: str = "") -> LoggedOn:
        self.addresses.append(address)
        self.credentials.append(credentials)
        if self.log_on_takes_s:
            await self.clock.sleep(self.log_on_takes_s)
        if self.fault is not None:
            raise self.fault
        if self.error is not None:
            raise self.error
        if (credentials.user_name, credentials.password) != ("ann", "secret"):
            raise GatewayError(ErrorCode.INVALID_CREDENTIALS, "no user ann2 in the directory", hint="x")
        return LoggedOn(
            secret=SessionSecret("SECRET-SESSION"),
            session=SessionId("public-1"),
            expires_at_ms=self.clock.wall_ms() + LIFE_MS,
            idle_timeout_s=0,
            user=User(UserId(site, 7), "ann", "Ann"),
            remote_number=self.number_in_effect or credentials.remote_number,
        )

    async def log_off(self, ticket: Ticket) -> LoggedOff:
        self.logged_off.append(ticket)
        return self.routing

    async def sessions(self, ticket: Ticket) -> tuple[SessionInfo, ...]:
        if self.error is not None:
            raise self.error
        other = SessionInfo(
            SessionId("public-2"), Application.REMOTE_ASSISTANT, Device("d2", "two"), 5, False
        )
        mine = SessionInfo(ticket.session, ticket.application, ticket.device, 3, True)
        return (mine, other)

    async def end(self, ticket: Ticket, session: SessionId) -> LoggedOff:
        if session == ticket.session:
            return await self.log_off(ticket)
        if session != "public-2":
            raise GatewayError(ErrorCode.NOT_FOUND, "There is no such session.")
        self.ended.append(session)
        return self.routing
