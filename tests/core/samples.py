"""One user's sessions, facts and frames, for the tests of the core."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gateway.core.commands import CommandContext
from gateway.core.element import Element
from gateway.core.ledger import Health, Ledger
from gateway.domain.errors import EndReason
from gateway.domain.model import Application, Kind, Right, Scope, Ticket, UserId
from gateway.domain.resources import Agent, Aggregate, Group, Queue, Resource
from gateway.domain.upstream import Part, Source
from gateway.protocol.envelopes import SessionFacts
from tests.doubles.tickets import ticket as made_ticket

ANN = UserId("main", 7)
WALL_MS = 1_700_000_000_000
KEY = "0b7b0a3e-6a1c-4c1e-9a52-3f0f3c0a7f10"
SCOPE = Scope(agents=frozenset({5, 6}), queues=frozenset({1, 2}), groups=frozenset({3}))
NOW = 100.0
LIVE = Health("live", "live", NOW)
CLIENT = {"app": "test", "version": "1", "platform": "none"}


def ticket_of(
    application: Application = Application.DASHBOARD,
    session: str = "s1",
    *,
    issued_at_ms: int = WALL_MS,
    life_ms: int = 36_000_000,
) -> Ticket:
    return made_ticket(
        ANN,
        session,
        application=application,
        name="Ann Archer",
        device=(f"device of {session}", "phone"),
        issued_at_ms=issued_at_ms,
        life_ms=life_ms,
    )


def facts_of(
    ticket: Ticket,
    scope: Scope = SCOPE,
    rights: tuple[Right, ...] = tuple(Right),
    *,
    end: EndReason | None = None,
    by: str | None = None,
) -> SessionFacts:
    """Return what OSCC-E says of the ticket's session."""
    return SessionFacts(ticket.handle, ticket.application, rights, scope, ticket.expires_at_ms, end, by)


def declared(handle: str, values: Mapping[str, Resource]) -> CommandContext:
    """Return what OSCC-E declared when a mirror holds *values*."""
    ledger = Ledger(1)
    for key, value in values.items():
        ledger.record(key, Element(value))
    return CommandContext(ledger, handle)


def frame(kind: str, **fields: object) -> bytes:
    return json.dumps({"kind": kind, **fields}).encode()


def hello(**fields: object) -> bytes:
    return frame("hello", token="sealed", client=CLIENT, **fields)


def command(frame_id: str = "c1", *, expires_at_ms: int = WALL_MS + 5_000, **fields: object) -> bytes:
    asked = {"kind": "agent.routing_state.set", "agent_id": "5", "state": "available", **fields}
    return frame("command", id=frame_id, key=KEY, stream="1.x", expires_at_ms=expires_at_ms, command=asked)


def decoded(frames: list[bytes]) -> list[dict[str, Any]]:
    """Return frames as a phone in another language would read them."""
    return [json.loads(one) for one in frames]


def part(
    kind: Kind, number: int, source: Source, value: Agent | Queue | Group | Aggregate | None = None
) -> Part:
    """Return one piece of a resource, empty unless said otherwise."""
    empty = {Kind.AGENT: Agent, Kind.QUEUE: Queue, Kind.GROUP: Group, Kind.AGGREGATE: Aggregate}
    return Part(kind, number, source, empty[kind]() if value is None else value)
