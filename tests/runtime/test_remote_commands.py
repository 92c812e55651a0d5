"""Commands that another node executes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.core.lease import BusState
from gateway.domain.commands import RETRY_S, AcknowledgeNotice, Call, Outcome, Status, not_begun, patience_s
from gateway.domain.errors import ErrorCode
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import AttachAnswer, CallAnswer, CallRequest, Envelope, Inbox
from gateway.runtime.follower import RemoteCommands
from gateway.runtime.ports import Grant
from tests.runtime.nodes import Nodes, open_nodes
from tests.runtime.scene import user

THERE = NodeId("there")
OWNER = Grant(THERE, "life", 1)
APPLIED = Outcome(Status.APPLIED)


class AnsweringNode:
    """Node 0, and another node that answers as a test says."""

    def __init__(self, at: Nodes) -> None:
        self.at = at
        self.received: list[CallRequest] = []
        self.moved = 0
        services = at.scenes[0].services
        self.sending = RemoteCommands(
            user(1), services, self._moved, lambda settle, outcome, _: settle(outcome)
        )

    def _moved(self) -> None:
        self.moved += 1

    async def listen(self) -> None:
        """Let the other node receive."""
        await self.at.trouble.buses[1].subscribe(Inbox(THERE), self._receive)

    def _receive(self, envelope: Envelope) -> None:
        assert isinstance(envelope, CallRequest)
        self.received.append(envelope)

    async def answer(self, outcome: Outcome | None) -> None:
        await self.say(CallAnswer(self.received[-1].request, outcome))

    async def say(self, envelope: Envelope) -> None:
        await self.at.trouble.buses[1].publish(Inbox(NodeId("n0")), envelope)
        await self.at.clock.settle()

    def call(self, left_s: float = 5.0) -> Call:
        deadline_ms = self.at.clock.wall_ms() + round(left_s * 1000)
        command = AcknowledgeNotice("n", 1)
        return Call("key", "session", command, None, False, deadline_ms)

    async def begin(self, left_s: float = 5.0) -> asyncio.Future[Outcome | None]:
        """Have a command executed; return what is done when it has an outcome."""
        asking: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self.leave = self.sending.execute(OWNER, self.call(left_s), asking.set_result)
        await self.at.clock.settle()
        return asking


@asynccontextmanager
async def answering_node(*, listens: bool = True) -> AsyncIterator[AnsweringNode]:
    async with open_nodes() as at:
        made = AnsweringNode(at)
        if listens:
            await made.listen()
        yield made


PLACES = {"AnsweringNode": answering_node}


def fate(outcome: Outcome | None) -> tuple[Status, ErrorCode | None] | None:
    if outcome is None:
        return None
    return outcome.status, None if outcome.error is None else outcome.error.code


async def test_a_command_is_sent_once_unless_its_deadline_is_over_or_it_went_elsewhere(
    at: AnsweringNode,
) -> None:
    asking = await at.begin()
    assert not asking.done()
    assert at.received[-1].left_ms == 5_000
    await at.answer(APPLIED)
    assert await asking == APPLIED
    assert [(one.user, one.node, one.call.key) for one in at.received] == [(user(1), "n0", "key")]
    assert at.moved == 0
    asking = await at.begin()
    await at.answer(None)
    assert await asking is None
    assert at.moved == 1
    assert await (await at.begin(0.0)) is None
    assert len(at.received) == 2


async def test_a_command_that_nobody_received_was_not_begun() -> None:
    async with answering_node(listens=False) as at:
        assert await (await at.begin()) is None
        assert at.moved == 0


@pytest.mark.parametrize("may_be_taken", [False, True], ids=["sent", "perhaps taken by the bus"])
async def test_a_command_without_answer_is_unknown_by_its_deadline(
    at: AnsweringNode, *, may_be_taken: bool
) -> None:
    if may_be_taken:
        at.at.trouble.unanswered = lambda node: node == 0
    asking = await at.begin(2.0)
    await at.at.clock.advance(1.9)
    assert not asking.done()
    await at.at.clock.advance(0.2)
    assert fate(await asking) == (Status.UNKNOWN, ErrorCode.UPSTREAM_TIMEOUT)
    assert [one.call.retry for one in at.received] == [False] + [True] * (3 * may_be_taken)
    assert len({(one.request, one.call.key) for one in at.received}) == 1


async def test_the_answer_to_a_command_that_a_slow_bus_may_have_taken_is_waited_for(
    at: AnsweringNode,
) -> None:
    at.at.trouble.unanswered = lambda node: node == 0
    asking = await at.begin(2.0)
    await at.at.clock.advance(1.0)
    assert len({one.request for one in at.received}) == 1
    await at.answer(APPLIED)
    assert await asking == APPLIED


async def test_a_command_that_has_not_left_this_node_is_refused(at: AnsweringNode) -> None:
    at.at.trouble.take_away()
    assert at.at.scenes[0].node.exchange.machine.state is not BusState.DOWN, "nothing is known yet"
    assert fate(await (await at.begin())) == (Status.REJECTED, ErrorCode.BUS_DOWN)
    assert at.received == []


async def test_what_the_owner_did_not_answer_before_he_was_gone_nobody_knows(at: AnsweringNode) -> None:
    first, second = await at.begin(), await at.begin()
    at.sending.give_up()
    await at.at.clock.settle()
    for asking in (first, second):
        assert fate(await asking) == (Status.UNKNOWN, ErrorCode.OWNER_LOST)
    third = await at.begin()
    await at.answer(APPLIED)
    assert await third == APPLIED


async def test_a_senseless_answer_is_ignored(at: AnsweringNode) -> None:
    asking = await at.begin()
    await at.say(AttachAnswer(at.received[-1].request))
    assert fate(await asking) == (Status.UNKNOWN, ErrorCode.UPSTREAM_TIMEOUT)


async def test_a_command_needs_no_task_and_its_outcome_comes_in_the_call_that_read_the_answer() -> None:
    async with answering_node() as at:
        outcomes: list[Outcome | None] = []
        running = asyncio.all_tasks()
        at.sending.execute(OWNER, at.call(), outcomes.append)
        left = at.sending.execute(OWNER, at.call(), outcomes.append)
        await at.at.clock.settle()
        assert asyncio.all_tasks() == running
        left()
        await at.answer(APPLIED)
        assert outcomes == []
        request = at.received[0].request
        at.at.scenes[0].node.exchange._receive(CallAnswer(request, APPLIED))
        assert outcomes == [APPLIED]
        await at.say(CallAnswer(request, None))
        at.sending.give_up()
        assert outcomes == [APPLIED]
        assert at.at.scenes[0].node.exchange.sizes["questions"] == 0


async def test_a_command_without_connection_is_refused_in_the_call(at: AnsweringNode) -> None:
    at.at.trouble.take_away()
    await at.at.clock.advance(8)
    outcomes: list[Outcome | None] = []
    at.sending.execute(OWNER, at.call(), outcomes.append)
    at.sending.execute(OWNER, at.call(0.0), outcomes.append)
    assert [fate(each) for each in outcomes] == [(Status.REJECTED, ErrorCode.BUS_DOWN)] * 2
    assert at.received == []


async def test_who_asked_and_leaves_waits_no_more(at: AnsweringNode) -> None:
    asking = await at.begin()
    at.leave()
    await at.answer(APPLIED)
    assert not asking.done()
    assert not at.sending._under_way
    assert at.at.scenes[0].node.exchange.sizes["questions"] == 0


# ---- roles of a node for a user ----


def _call(*, retry: bool) -> Call:
    return Call("key", "session", AcknowledgeNotice("n", 1), None, retry, deadline_ms=10_000)


def test_who_is_asked_how_long_and_what_nobody_was_asked_for_is_refused() -> None:
    assert [patience_s(_call(retry=False), wall_ms) for wall_ms in (4_000, 11_000)] == [6.0, -1.0]
    assert [patience_s(_call(retry=True), wall_ms) for wall_ms in (4_000, 11_000)] == [6.0, RETRY_S]
    received = [not_begun(_call(retry=retry), ErrorCode.BUS_DOWN, "why") for retry in (False, True)]
    assert [one.status for one in received] == [Status.REJECTED, Status.UNKNOWN]
    assert [one.error and one.error.code for one in received] == [ErrorCode.BUS_DOWN, ErrorCode.OWNER_LOST]


async def test_a_node_counts_the_links_that_it_may_need_when_another_node_is_lost() -> None:
    async with open_nodes(3) as at:
        for key, login in enumerate(("dana", "emil", "fay", "gus"), start=11):
            at.upstream.add_user(key, login)
        for login, owner in (("anna", 2), ("dana", 0), ("emil", 0), ("fay", 1), ("gus", 1)):
            await at.served(owner, login, settled_s=0.5)
            if owner != 2 and login != "gus":
                await at.served(2, login, device="d2")
        await at.pass_time(2)
        assert len(at.scenes[2].node.user_states) == 4, "one is owned, and three are followed"
        assert [scene.node.links_most for scene in at.scenes] == [2, 2, 1 + 2]
        await at.kill(0)
        await at.pass_time(30)
        assert at.owners(11) == at.owners(12) == [2]
        assert at.scenes[2].node.links_most == 3 + 1
