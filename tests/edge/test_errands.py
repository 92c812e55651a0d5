"""Does a command come to its outcome, counted once, and does an acknowledgement come to a token?"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from gateway.domain.commands import (
    AcknowledgeNotice,
    Call,
    ChangeRemoteNumber,
    Command,
    Outcome,
    SetRoutingState,
    Status,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Ticket
from gateway.edge.command_runner import (
    CommandPrechecks,
    CommandResult,
    CommandRunner,
    NumberPolicies,
    NumberPolicy,
)
from gateway.edge.connection_stats import ConnectionStats, StatsOutput
from gateway.edge.credentials import BearerAuth, OpenedToken, SessionCredentials
from gateway.edge.credentials import CredentialServices as PapersDesk
from gateway.edge.notices import NoticesInForce, NoticeText, OperatorNotice
from gateway.edge.request_context import NO_ADDRESS
from gateway.protocol.codec import JSON
from gateway.runtime.mirror import Connection
from tests.edge.visits import House, house, ticket_of

NOTICES = NoticesInForce(
    OperatorNotice(name, 2, "security", 0, True, {"en": NoticeText("Title", "Text")}) for name in ("a", "b")
)
PHONE = cast(Connection, None)
"""The fake node looks at no phone."""


class CredentialServices:
    """Errands of a session that has acknowledged `b`, over a fake node."""

    def __init__(self) -> None:
        self.house: House = house()
        self.ticket: Ticket = replace(ticket_of(self.house.clock), notices=(("b", 2), ("gone", 1)))
        bearer = BearerAuth(self.house.tokens, lambda _: None, self.house.clock, grace_s=60)
        shown = OpenedToken(self.ticket, expired=False, stale=False)
        self.credentials = SessionCredentials(PapersDesk(bearer, NOTICES, self.house.clock), shown, ())
        self.credentials.verify(None)
        self._stats = ConnectionStats(
            StatsOutput(self.house.parts.telemetry, lambda _: None), JSON, NO_ADDRESS, 0.0
        )
        prechecks = CommandPrechecks(NumberPolicies({"main": NumberPolicy("DE")}), NOTICES)
        self._commands = CommandRunner(self.house.node, prechecks, self.house.clock)

    async def run(self, call: Call) -> CommandResult:
        return await self._commands.run(PHONE, call, self.credentials, self._stats)

    def counted(self, command: Command, status: Status) -> float | None:
        return self.house.sample("commands_total", kind=command.kind, status=status.value)

    @property
    def in_flight(self) -> float | None:
        return self.house.sample("commands_in_flight")


def call(command: Command) -> Call:
    return Call("00000000-0000-4000-8000-000000000001", "h", command, None, retry=False, deadline_ms=5)


@pytest.fixture
def desk() -> CredentialServices:
    return CredentialServices()


async def test_the_nodes_outcome_is_the_outcome(desk: CredentialServices) -> None:
    desk.house.node.outcome = Outcome(Status.PENDING, version=3)
    asked = call(SetRoutingState("work"))
    assert await desk.run(asked) == (desk.house.node.outcome, None)
    assert desk.house.node.calls == [asked]
    assert (desk.counted(asked.command, Status.PENDING), desk.in_flight) == (1, 0)


async def test_what_is_vetted_goes_on(desk: CredentialServices) -> None:
    await desk.run(call(ChangeRemoteNumber("030 901820")))
    assert desk.house.node.calls == [call(ChangeRemoteNumber("+4930901820"))]


async def test_what_is_refused_does_not_reach_the_node(desk: CredentialServices) -> None:
    asked = call(AcknowledgeNotice("a", 1))
    outcome, renewed = await desk.run(asked)
    assert isinstance(outcome.error, GatewayError)
    assert (outcome.status, outcome.error.code) == (Status.REJECTED, ErrorCode.NOT_FOUND)
    assert (renewed, desk.house.node.calls, desk.credentials.ticket) == (None, [], desk.ticket)
    assert (desk.counted(asked.command, Status.REJECTED), desk.in_flight) == (1, 0)


@pytest.mark.parametrize(
    ("name", "notices"), [("a", (("a", 2), ("b", 2))), ("b", (("b", 2),))], ids=["new", "again"]
)
async def test_what_was_acknowledged_is_in_a_fresh_token(
    desk: CredentialServices, name: str, notices: tuple[tuple[str, int], ...]
) -> None:
    outcome, renewed = await desk.run(call(AcknowledgeNotice(name, 2)))
    assert renewed is not None
    assert (outcome.status, renewed.expires_at_ms) == (Status.APPLIED, desk.ticket.expires_at_ms)
    opened = desk.house.tokens.open(renewed.token, desk.house.clock.wall_ms())
    assert opened == OpenedToken(replace(desk.ticket, notices=notices), expired=False, stale=False)
    assert desk.credentials.ticket.notices == notices


@pytest.mark.parametrize("status", [Status.REJECTED, Status.UNKNOWN])
async def test_what_was_not_applied_changes_no_token(desk: CredentialServices, status: Status) -> None:
    desk.house.node.outcome = Outcome(status, GatewayError(ErrorCode.KEY_REUSED, "Used."))
    assert await desk.run(call(AcknowledgeNotice("a", 2))) == (desk.house.node.outcome, None)
    assert desk.credentials.ticket == desk.ticket


async def test_what_nobody_waits_for_any_more_is_not_in_flight(desk: CredentialServices) -> None:
    desk.house.node.gate.clear()
    asked = call(SetRoutingState("work"))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(desk.run(asked))
        await desk.house.clock.settle()
        assert desk.in_flight == 1
        running.cancel()
    assert (desk.in_flight, desk.counted(asked.command, Status.APPLIED)) == (0, None)
