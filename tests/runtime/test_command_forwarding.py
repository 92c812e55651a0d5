"""Commands while their user gets another owner, or while Redis loses messages for a short time.

They stay in order, and one that surely was not begun is executed by the next owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from gateway.domain.commands import AcknowledgeNotice, Call, Execute, Outcome, Status
from gateway.domain.errors import ErrorCode
from gateway.protocol.envelopes import (
    Asks,
    AttachAnswer,
    BusChannel,
    CallAnswer,
    CallRequest,
    Envelope,
    Offer,
    Publication,
    Publications,
)
from gateway.runtime.cluster import REPEATED_AFTER_S
from gateway.runtime.command_execution import HELD_MAX, OWNER_WAIT_S
from gateway.runtime.follower import ATTACH_ANSWER_S, SHOWN_S, Follower
from gateway.runtime.ports import Start
from tests.doubles.tasks import during
from tests.runtime.followed import executed, followed, follower
from tests.runtime.nodes import Nodes, open_nodes
from tests.runtime.scene import FakePhone

LONG_MS = 30_000


async def denied(at: Nodes, phone: FakePhone) -> None:
    """Let the owner deny a phone's command, as it gives the user away when it has the answer to another."""
    at.link().mute()
    at.scenes[0].lines[0].command("0", "9")
    await at.clock.settle()
    await at.drain(0, settled_s=1.57)
    await phone.send_command("1", "1", expires_at_ms=at.clock.wall_ms() + LONG_MS)
    assert any(one.outcome is None for one in at.received(CallAnswer))


async def until(at: Nodes, is_so: Callable[[], bool]) -> None:
    """Let time pass in short steps until something is so."""
    for _ in range(1_000):
        if is_so():
            return
        await at.clock.advance(0.02)
    raise AssertionError("it is not so")


def owner_of(at: Nodes, node: int) -> str | None:
    """Return which node another node takes for the owner."""
    role = at.home(node).role
    return role.owner.node if isinstance(role, Follower) else None


async def test_a_command_that_the_last_owner_denied_is_sent_to_the_next_before_later_ones() -> None:
    async with open_nodes(3) as at:
        await followed(at)
        far = await at.served(2, device="d3", settled_s=1)
        await denied(at, far)
        at.trouble.lose = lambda _, to, __, sent: isinstance(sent, Offer) and to == 2
        await until(at, lambda: owner_of(at, 2) == "n1")
        far.command("2", "2")
        far.command("3", "3")
        await at.pass_time(2)
        assert executed(at) == ["9", "1", "2", "3"]
        assert [far.result(each) for each in "123"] == [{"status": "unchanged"}] * 3


async def test_a_command_that_an_owner_denied_is_sent_to_the_same_one_before_later_ones(at: Nodes) -> None:
    near, far = await followed(at)
    await denied(at, far)
    await at.pass_time(0.2)
    near.command("1", "2", expires_at_ms=at.clock.wall_ms() + LONG_MS)
    at.trouble.lose_all(Offer)
    owner = at.scenes[0].owner()
    await until(at, lambda: not owner.execution._is_closed)
    near.command("2", "3")
    await at.pass_time(2)
    assert executed(at) == ["9", "1", "2", "3"]


async def test_a_slow_command_that_an_owner_denied_before_does_not_slow_down_later_ones(at: Nodes) -> None:
    _, far = await followed(at)
    await denied(at, far)
    at.trouble.lose_all(Offer)
    at.link().holds = lambda request: isinstance(request, Execute)
    await until(at, lambda: len(at.link()._held) == 1)
    await at.pass_time(OWNER_WAIT_S)
    for each in "234":
        far.command(each, each)
    await at.clock.settle()
    at.link().serve_held()
    assert executed(at) == ["9", "1", "2", "3", "4"]


@pytest.mark.parametrize("retry", [False, True])
async def test_a_command_that_crosses_an_offer_is_executed_by_the_next_owner(at: Nodes, retry: bool) -> None:
    _, far = await followed(at)
    noted = at.trouble.said
    assert noted is not None

    def said(node: int, channel: BusChannel, envelope: Envelope) -> None:
        noted(node, channel, envelope)
        if isinstance(envelope, Offer) and not at.received(CallRequest):
            far.command("1", "1", **({"retry": True} if retry else {}))
            far.command("2", "2")

    at.trouble.said = said
    await at.drain(0, settled_s=2)
    assert at.owners() == [1]
    assert [far.result(each) for each in "12"] == [{"status": "applied"}, {"status": "unchanged"}]
    assert executed(at) == ["1", "2"]


async def test_a_command_whose_answer_was_lost_before_the_offer_has_its_outcome(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.lose_all(CallAnswer)
    await far.send_command("1", "1")
    assert executed(at) == ["1"]
    assert far.result("1") is None
    await at.drain(0, settled_s=2)
    assert at.owners() == [1]
    assert far.result("1") == {"status": "applied"}
    assert executed(at) == ["1"]


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_command_that_no_owner_began_at_the_end_has_an_outcome(at: Nodes, is_running: bool) -> None:
    _, far = await followed(at)
    at.trouble.kill(0)
    outcomes: list[Outcome] = []
    home = at.home(1)
    deadline_ms = at.clock.wall_ms() + LONG_MS
    call = Call("key", far.ticket.handle, AcknowledgeNotice("n", 1), None, False, deadline_ms)

    async def running() -> None:
        async with asyncio.TaskGroup() as home._tasks:
            home.execute(call, outcomes.append)
            await asyncio.get_running_loop().create_future()

    if is_running:
        async with during(running()):
            await at.clock.settle()
            assert outcomes == []
    else:
        home._tasks = None
        home.execute(call, outcomes.append)
    await at.clock.settle()
    (outcome,) = outcomes
    assert (outcome.status, outcome.error and outcome.error.code) == (Status.UNKNOWN, ErrorCode.OWNER_LOST)


async def test_a_command_that_was_lost_before_a_later_one_is_not_executed_after_it(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.lose_all(CallRequest)
    await far.send_command("1", "1")
    at.trouble.lose = None
    await far.send_command("2", "2")
    await at.drain(0, settled_s=2)
    assert at.owners() == [1]
    assert far.outcome("1") == ("rejected", "upstream_unavailable")
    assert executed(at) == ["2"]


async def test_a_command_whose_owner_died_is_not_called_unexecuted_by_the_history_of_a_later_one() -> None:
    async with open_nodes(3) as at:
        await followed(at)
        far = await at.served(2, device="d3", settled_s=1)
        at.trouble.lose_all(CallAnswer)
        await far.send_command("1", "1", expires_at_ms=at.clock.wall_ms() + 2 * LONG_MS)
        assert executed(at) == ["1"]
        await at.kill(0)
        at.trouble.lose = None
        await until(at, lambda: at.owners() == [1] and owner_of(at, 2) == "n1")
        await at.pass_time(1)
        at.scenes[1].node.drain()
        await until(at, lambda: at.owners() == [2])
        await at.pass_time(1)
        assert executed(at) == ["1"]
        assert far.outcome("1") == ("unknown", "owner_lost")


async def test_a_reused_key_gets_no_outcome_of_another_command_from_a_history(at: Nodes) -> None:
    _, far = await followed(at)
    await far.send_command("1", "1")
    assert far.result("1") == {"status": "applied"}
    at.trouble.lose_all(CallAnswer)
    other = {"kind": "agent.routing_state.set", "agent_id": "7", "state": "available", "when": "now"}
    await far.send_command("2", "1", command=other)
    await at.drain(0, settled_s=2)
    assert at.owners() == [1]
    assert far.outcome("2") == ("rejected", "key_reused")


# ---- while Redis loses messages for a short time ----


STALL_S = 1.6
SOON_S = 2.5
"""Time in which a node finds that its bus works again, and its messages have left."""


def stall(at: Nodes) -> None:
    """Lose all messages, and confirm none."""
    at.trouble.lose = lambda *_: True
    at.trouble.unanswered = lambda _: True


def end(at: Nodes) -> None:
    at.trouble.lose = at.trouble.unanswered = None


def state_at_result(phone: FakePhone, identity: str) -> object:
    """Return the agent's state that the phone showed when it received a result."""
    frames = phone.frames
    at = next(n for n, frame in enumerate(frames) if frame["kind"] == "result" and frame["id"] == identity)
    phone.frames = frames[:at]
    try:
        return phone.shown["agent:7"]["routing_state"]
    finally:
        phone.frames = frames


async def test_an_outcome_waits_for_lost_state(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.lose_all(Publications)
    await far.send_command("1", "1")
    end(at)
    await at.pass_time(1.0)
    assert (far.result("1"), executed(at)) == ({"status": "applied"}, ["1"])
    assert state_at_result(far, "1") == "unavailable"


async def test_an_outcome_waits_for_lost_state_no_longer_than_two_seconds(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.lose_all(Publications, Publication, Asks)
    await far.send_command("1", "1", expires_at_ms=at.clock.wall_ms() + LONG_MS)
    await at.pass_time(SHOWN_S / 2)
    assert (far.result("1"), executed(at)) == (None, ["1"])
    await at.pass_time(SHOWN_S)
    assert far.result("1") == {"status": "applied"}


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_what_was_lost_of_a_command_is_sent_again_after_the_state(at: Nodes, lost: str) -> None:
    _, far = await followed(at)
    if lost == "answer":
        at.link().holds = lambda request: isinstance(request, Execute)
        await far.send_command("1", "1")
    stall(at)
    if lost == "answer":
        at.link().serve_held()
    else:
        far.command("1", "1")
    await at.pass_time(STALL_S)
    assert (far.result("1"), executed(at)) == (None, ["1"] if lost == "answer" else [])
    end(at)
    await at.pass_time(SOON_S)
    assert (far.result("1"), executed(at)) == ({"status": "applied"}, ["1"])
    assert state_at_result(far, "1") == "unavailable"


async def test_commands_of_a_stall_are_executed_before_later_ones(at: Nodes) -> None:
    _, far = await followed(at)
    stall(at)
    far.command("1", "1")
    far.command("2", "2")
    await at.pass_time(0.1)
    end(at)
    await far.send_command("3", "3")
    assert executed(at) == ["1", "2", "3"]
    await at.pass_time(SOON_S)
    assert [far.result(each) for each in "123"] == [{"status": "applied"}] + [{"status": "unchanged"}] * 2


async def test_a_repeated_command_that_is_denied_may_have_been_executed(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.lose_all(CallAnswer)
    at.trouble.unanswered = lambda node: node == 1
    await far.send_command("1", "1")
    assert executed(at) == ["1"]
    end(at)
    owner = at.scenes[0].owner()
    owner.execution._is_closed = True  # as while it gives the user away
    at.trouble.lose = None
    await at.pass_time(REPEATED_AFTER_S + 0.25)
    assert far.outcome("1") == ("unknown", "owner_lost")
    assert executed(at) == ["1"]


async def test_a_command_is_unknown_by_its_deadline_in_a_long_stall(at: Nodes) -> None:
    _, far = await followed(at)
    stall(at)
    far.command("1", "1")
    await at.pass_time(12)
    assert far.outcome("1") == ("unknown", "upstream_timeout")
    sent = len(at.received(CallRequest))
    end(at)
    await at.pass_time(SOON_S)
    assert (executed(at), len(at.received(CallRequest))) == ([], sent)


async def test_commands_of_a_session_that_the_owner_has_not_accepted_wait_in_order_until_their_deadlines(
    at: Nodes,
) -> None:
    _, far = await followed(at)
    follower(at)._remote_attach.accepted.clear()
    at.trouble.lose = lambda *received: isinstance(received[-1], AttachAnswer)
    for number, left_s in ((1, 5), (2, 1), (3, 5)):
        far.command(str(number), str(number), expires_at_ms=at.clock.wall_ms() + left_s * 1000)
    await at.pass_time(1.1)
    assert (far.outcome("2"), executed(at)) == (("rejected", "upstream_unavailable"), [])
    await at.pass_time(ATTACH_ANSWER_S)
    assert executed(at) == ["1", "3"]
    assert follower(at)._remote_attach._waiting == {}


async def test_commands_that_wait_for_a_session_go_to_the_next_owner_at_once(at: Nodes) -> None:
    near, far = await followed(at)
    role = follower(at)
    role._remote_attach.accepted.clear()
    at.trouble.lose = lambda *received: isinstance(received[-1], AttachAnswer)
    far.command("1", "1")
    far.command("2", "2")
    await at.clock.settle()
    role.end(Start(expected=role.owner.token))
    assert role._remote_attach._waiting == {}
    near.leave()
    await at.pass_time(1)
    assert at.owners() == [1]
    assert [far.outcome(each) for each in "12"] == [("rejected", "upstream_unavailable")] * 2, "it moved"


async def test_commands_without_an_owner_are_bounded(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.kill(0)
    home, outcomes = at.home(1), dict[int, Outcome]()
    deadline_ms = at.clock.wall_ms() + LONG_MS

    def execute(number: int, *, retry: bool = False) -> Callable[[], None]:
        call = Call(str(number), far.ticket.handle, AcknowledgeNotice("n", 1), None, retry, deadline_ms)
        return home.execute(call, partial(outcomes.__setitem__, number))

    leave = execute(0)
    await at.clock.settle()
    for number in range(1, HELD_MAX):
        execute(number)
    assert outcomes == {}
    leave()
    execute(HELD_MAX)
    execute(HELD_MAX + 1, retry=True)
    assert at.scenes[1].node.sizes["commands_held"] == HELD_MAX
    refused = {number: one.error and one.error.code for number, one in outcomes.items()}
    assert refused == {HELD_MAX: ErrorCode.OVERLOADED, HELD_MAX + 1: ErrorCode.OWNER_LOST}
    await at.pass_time(30)
    assert outcomes.keys() == set(range(1, HELD_MAX + 2))
    assert at.scenes[1].node.sizes["commands_held"] == 0
