"""Messages of other nodes, and the answers to them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NoReturn, TypeVar

import msgspec
import pytest

from gateway.core.element import Element
from gateway.domain.commands import AcknowledgeNotice, Call, Execute, Outcome, Status
from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import NodeId
from gateway.domain.resources import Queue
from gateway.protocol.envelopes import (
    Asked,
    Asks,
    Attach,
    AttachAnswer,
    CallAnswer,
    CallRequest,
    Control,
    Detach,
    Envelope,
    Inbox,
    Leaving,
    Publication,
    Publications,
    PublishedValue,
    Refusal,
    Replaced,
    Since,
    Value,
)
from gateway.runtime.command_execution import CommandExecution
from gateway.runtime.ports import RECONNECT_WINDOW_S, OnForwarded
from tests.runtime.followed import followed, follower
from tests.runtime.nodes import Nodes, open_nodes
from tests.runtime.scene import FakePhone, replace_method, user

T = TypeVar("T", bound=Envelope)
Made = dict[Element, Value]
FAKE_NODE = NodeId("fake_node")


class FakeNode:
    """A node of which nothing is there but its voice and its ear."""

    def __init__(self, at: Nodes) -> None:
        self.at = at
        self.received: list[Envelope] = []
        self.bus = at.trouble.cluster(9).bus

    async def say(self, envelope: Envelope, to: int = 0) -> list[Envelope]:
        """Say something to a node; returns what it answers at once."""
        await self.bus.subscribe(Inbox(FAKE_NODE), self.received.append)
        self.received.clear()
        await self.bus.publish(Inbox(NodeId(f"n{to}")), envelope)
        await self.at.clock.settle()
        return list(self.received)


def only(kind: type[T], received: list[Envelope]) -> T:
    (found,) = (one for one in received if isinstance(one, kind))
    return found


def call(at: Nodes, phone: FakePhone) -> Call:
    deadline_ms = at.clock.wall_ms() + 5_000
    return Call("key", phone.ticket.handle, AcknowledgeNotice("n", 1), None, False, deadline_ms)


# ---- to the owner ----


async def test_a_follower_gets_what_it_lacks_and_is_not_the_owner(at: Nodes) -> None:
    await followed(at)
    asks = Asks(FAKE_NODE, 5, (Since(user(1), 0, 0), Since(user(7), 0, 0)))
    received = await FakeNode(at).say(asks)
    assert [type(one) for one in received] == [Publication, Asked]
    publication = only(Publication, received)
    assert publication.reset
    assert publication.updates
    assert only(Asked, received) == Asked(NodeId("n0"), "n0-1", 5, (user(7),))
    _, far = await followed(at)
    fake_node = FakeNode(at)
    assert await fake_node.say(Asks(FAKE_NODE, 5, (Since(user(1), 0, 0),)), to=1) == [
        Asked(NodeId("n1"), "n1-1", 5, (user(1),))
    ]
    assert await fake_node.say(Attach(FAKE_NODE, 6, far.ticket, ()), to=1) == [AttachAnswer(6, moved=True)]
    assert await fake_node.say(CallRequest(user(1), FAKE_NODE, 7, call(at, far)), to=1) == [
        CallAnswer(7, None)
    ]


async def test_an_owner_who_has_no_epoch_yet_is_none(at: Nodes) -> None:
    at.trouble.take_away(0)
    phone = await at.scenes[0].phone("anna")
    await phone.connect()
    assert at.owners() == [0]
    at.trouble.give_back(0)
    received = await FakeNode(at).say(Asks(FAKE_NODE, 5, (Since(user(1), 0, 0),)))
    assert received == [Asked(NodeId("n0"), "n0-1", 5, (user(1),))]


async def test_a_node_does_not_follow_itself(at: Nodes) -> None:
    near, _ = await followed(at)
    at.said.clear()
    here = NodeId("n0")
    fake_node = FakeNode(at)
    await fake_node.say(Asks(here, 5, (Since(user(1), 0, 0),)))
    await fake_node.say(Attach(here, 6, near.ticket, ()))
    await fake_node.say(CallRequest(user(1), here, 7, call(at, near)))
    assert Asked(here, "n0-1", 5, (user(1),)) in at.received(Asked)
    assert at.received(AttachAnswer) == [AttachAnswer(6, moved=True)]
    assert at.received(CallAnswer) == [CallAnswer(7, None)]
    assert near.closed is None


async def test_a_session_that_ended_is_refused_without_asking_anybody(at: Nodes) -> None:
    _, far = await followed(at)
    at.scenes[0].node.session_revocations.note(far.ticket, EndReason.BLOCKED, "somebody")
    requests = len(at.upstream.requests)
    received = await FakeNode(at).say(Attach(FAKE_NODE, 6, far.ticket, ()))
    assert received == [AttachAnswer(6, Refusal(CloseCode.ACCOUNT_BLOCKED, EndReason.BLOCKED, "somebody"))]
    assert len(at.upstream.requests) == requests


async def test_a_session_of_an_owner_who_ends_meanwhile_is_to_be_presented_to_the_next(at: Nodes) -> None:
    await followed(at)
    fresh = await at.scenes[1].phone("anna", device="d3")
    at.link().mute()
    fake_node = FakeNode(at)
    assert await fake_node.say(Attach(FAKE_NODE, 6, fresh.ticket, ())) == []
    grant = await at.grant()
    at.scenes[0].owner().owned_elsewhere(grant)
    await at.clock.settle()
    assert AttachAnswer(6, moved=True) in fake_node.received


async def test_a_command_of_a_node_whose_clock_is_wrong_has_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[Call] = []

    def execute(_: object, asked: Call, settle: OnForwarded, node: NodeId) -> None:
        begun.append(asked)
        settle(Outcome(Status.APPLIED))

    monkeypatch.setattr(CommandExecution, "execute", execute)
    async with open_nodes() as at:
        _, far = await followed(at)
        late = dataclasses.replace(call(at, far), deadline_ms=at.clock.wall_ms() - 3_600_000)
        await FakeNode(at).say(CallRequest(user(1), FAKE_NODE, 7, late, left_ms=5_000))
        assert [one.deadline_ms - at.clock.wall_ms() for one in begun] == [5_000]


async def test_a_command_from_elsewhere_needs_no_task(at: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    _, far = await followed(at)
    await at.pass_time(7)
    monkeypatch.setattr(CommandExecution, "_begin_in_turn", broken)
    monkeypatch.setattr(CommandExecution, "_run", broken)
    await far.send_command("1", "1")
    assert len(at.scenes[0].asked(Execute)) == 1
    answer = only(CallAnswer, at.received(CallAnswer))
    assert answer.outcome == Outcome(Status.APPLIED)


async def test_a_command_does_not_overtake_one_of_its_user_that_is_about_to_run_in_a_task() -> None:
    async with open_nodes() as at:
        _, far = await followed(at)
        await far.send_command("0", "0")
        seen = only(CallRequest, at.received(CallRequest))

        def request(key: str) -> None:
            at.scenes[0].node._cluster_receiver.received(replace(seen, call=replace(seen.call, key=key)))

        at.link().is_full = True
        request("first")
        at.link().is_full = False
        request("second")
        request("third")
        await at.clock.settle()
        keys = [command.key for command in at.scenes[0].asked(Execute)]
        assert keys[1:] == ["first", "second", "third"]
        request("fourth")
        assert at.scenes[0].asked(Execute)[-1].key == "fourth", "it needs no task again"


async def test_a_command_over_a_node_that_its_phone_has_left_counts_as_sent_again(at: Nodes) -> None:
    _, far = await followed(at)
    late = dataclasses.replace(call(at, far), stream_epoch=17)
    received = only(CallAnswer, await FakeNode(at).say(CallRequest(user(1), FAKE_NODE, 7, late)))
    assert received.outcome is not None
    assert received.outcome.status is Status.REJECTED
    assert not at.scenes[0].asked(Execute)


async def test_a_phone_that_left_is_neither_missed_elsewhere_nor_presented_as_new(at: Nodes) -> None:
    _, far = await followed(at)
    member = at.scenes[0].member(far)
    fake_node = FakeNode(at)
    await fake_node.say(Detach(user(1), far.ticket.handle, FAKE_NODE))
    assert member.left_at is None
    await fake_node.say(Detach(user(1), far.ticket.handle, NodeId("n1")))
    assert [member.left_at] == [at.clock.now()]
    await at.pass_time(20)
    at.said.clear()
    follower(at).follow(far.ticket.handle, ("queues",))
    await at.clock.settle()
    (asked,) = at.received(Attach)
    assert asked.age_ms is not None
    assert 20_000 <= asked.age_ms <= 25_000


async def test_the_phones_of_a_node_are_those_when_it_asked_not_those_when_it_is_answered(at: Nodes) -> None:
    await followed(at)
    fake_node = FakeNode(at)
    early = await at.scenes[1].phone("anna", device="d3")
    await fake_node.say(Attach(FAKE_NODE, 1, early.ticket, ("queues",)))
    assert at.scenes[0].member(early).present
    (link,) = (user_link.link for user_link in at.upstream.user_links.values())
    link.mute()
    late = await at.scenes[1].phone("anna", device="d4")
    phones = early.ticket.handle, late.ticket.handle
    asked = Since(user(1), 0, 0, phones=phones)
    assert not await fake_node.say(Attach(FAKE_NODE, 2, late.ticket, ("queues",), since=asked))
    await fake_node.say(Detach(user(1), early.ticket.handle, FAKE_NODE))
    link.unmute()
    await at.clock.settle()
    assert at.scenes[0].member(late).present
    assert not at.scenes[0].member(early).present


# ---- to phones here ----


async def test_a_follower_of_a_leaving_node_asks_that_node_only_at_once() -> None:
    async with open_nodes(3) as at:
        await followed(at)
        bert = await at.served(2, "bert", device="d7")
        await at.served(1, "bert", device="d8", settled_s=1)
        at.said.clear()
        fake_node = FakeNode(at)
        await fake_node.bus.publish(Control(), Leaving(NodeId("n0")))
        await at.pass_time(0.5)
        asked = [since.user.key for received in at.received(Asks) for since in received.asks]
        assert asked == [1]
        assert bert.closed is None


# ---- the bus is back ----


async def test_when_the_bus_is_back_all_that_is_followed_is_asked_for_within_two_seconds(at: Nodes) -> None:
    for key in range(20, 24):
        at.upstream.add_user(key, f"user {key}")
    for key in range(20, 24):
        await at.served(0, f"user {key}")
        await at.served(1, f"user {key}", device="d2")
    await at.pass_time(3)
    at.said.clear()
    at.trouble.renew(1)
    asked: list[int] = []
    for _ in range(9):
        await at.pass_time(0.25)
        asked.append(
            sum(
                len(received.asks)
                for node, _, received in at.said
                if node == 1 and isinstance(received, Asks)
            )
        )
    assert asked[0] == 1
    assert asked[-1] >= 4
    assert len(set(asked)) >= 4, "spread"
    assert at.counted("bus_gaps_total", detector="subscription") == [0, 1]
    assert at.counted("resyncs_total", reason="bus") == [0, 4]
    assert at.scenes[1].node.exchange.machine.health == "live"


async def test_a_bus_without_anybody_who_follows_is_live_at_once(at: Nodes) -> None:
    await at.served(0)
    at.trouble.renew(0)
    await at.clock.settle()
    assert at.scenes[0].node.exchange.machine.health == "live"


async def test_others_have_turns_between_large_answers_to_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runtime.cluster_receiver.VALUES_AT_ONCE", 0)
    async with open_nodes() as at:
        await followed(at)
        at.upstream.add_user(8, "bert")
        await at.served(0, "bert", settled_s=1)
        users = list(at.scenes[0].node.user_states)
        others: list[None] = []
        answered_after: list[int] = []

        def counted(answer: Callable[[Since, Made], Publication], since: Since, made: Made) -> Publication:
            answered_after.append(len(others))
            asyncio.get_running_loop().call_soon(others.append, None)
            return answer(since, made)

        for each in users:
            owner = at.scenes[0].owner(each.key)
            replace_method(monkeypatch, owner.publisher, "answer", partial(counted, owner.publisher.answer))
        received = await FakeNode(at).say(Asks(FAKE_NODE, 5, tuple(Since(each, 0, 0) for each in users)))
        assert [type(each) for each in received] == [Publication, Publication, Asked]
        assert answered_after == [0, 1]


@pytest.mark.parametrize(
    ("together", "at_once", "kinds"),
    [
        (True, 1_000, [Publications, Asked]),
        (True, 0, [Publication, Publication, Asked]),
        (False, 1_000, [Publication, Publication, Asked]),
    ],
    ids=["together", "many values", "an older node"],
)
async def test_answers_for_several_users_are_one_message_unless_they_are_long_or_the_node_is_older(
    monkeypatch: pytest.MonkeyPatch, together: bool, at_once: int, kinds: list[type[Envelope]]
) -> None:
    monkeypatch.setattr("gateway.runtime.cluster_receiver.VALUES_AT_ONCE", at_once)
    async with open_nodes() as at:
        await followed(at)
        await at.served(0, "bert", settled_s=1)
        asks = tuple(Since(each, 0, 0, together=together) for each in at.scenes[0].node.user_states)
        received = await FakeNode(at).say(Asks(FAKE_NODE, 5, asks))
        assert [type(one) for one in received] == kinds


@pytest.mark.parametrize("is_near", [True, False])
async def test_a_node_that_was_stopped_takes_no_phone_back_that_moved(at: Nodes, is_near: bool) -> None:
    near, far = await followed(at)
    await at.pass_time(10)
    phone = near if is_near else far
    fake_node = FakeNode(at)
    age_ms = 13_000 if is_near else 60_000  # when a phone came to the owner's own node is known exactly
    before = Attach(FAKE_NODE, 6, phone.ticket, (), age_ms=age_ms)
    assert await fake_node.say(before) == [AttachAnswer(6, Refusal(CloseCode.REPLACED, "replaced"))]
    was_open = phone.closed is None
    assert was_open
    since = Attach(FAKE_NODE, 7, phone.ticket, (), age_ms=1_000)
    (answer,) = await fake_node.say(since)
    assert isinstance(answer, AttachAnswer)
    assert answer.refused is None
    assert phone.code is CloseCode.REPLACED


async def test_a_node_that_was_stopped_closes_no_later_session_of_the_same_device(at: Nodes) -> None:
    near, _ = await followed(at)
    await at.pass_time(10)
    earlier = await at.scenes[1].phone("anna", device="other")
    earlier_ticket = replace(earlier.ticket, device=near.ticket.device)
    told = await FakeNode(at).say(Attach(FAKE_NODE, 6, earlier_ticket, (), age_ms=60_000))
    assert told == [AttachAnswer(6, Refusal(CloseCode.REPLACED, "replaced"))]
    assert near.closed is None


@pytest.mark.parametrize("is_near", [True, False])
async def test_a_phone_that_came_during_a_stop_or_after_it_connects_again(at: Nodes, is_near: bool) -> None:
    near, far = await followed(at)
    await at.pass_time(10)
    phone, scene = (near, at.scenes[0]) if is_near else (far, at.scenes[1])
    at.clock.stand_still(25.0)
    owned = at.scenes[0].member(phone)
    owned.came_at = at.clock.now() - 8.0  # a third node said so during the stop
    at.scenes[0].owner().user_sessions.join(phone.ticket, (), FAKE_NODE)
    back = await scene.again(phone)
    await at.clock.settle()
    assert back.closed is not None
    assert (back.closed.code, back.closed.window_s) == (CloseCode.REBALANCE, RECONNECT_WINDOW_S)
    await at.pass_time(2)
    again = await scene.again(phone)
    await at.pass_time(2)
    assert again.closed is None


async def test_a_phone_that_may_have_come_before_or_later_connects_again(at: Nodes) -> None:
    _, far = await followed(at)
    await at.pass_time(10)
    at.clock.stand_still(25.0)
    back = await at.scenes[1].again(far)
    await at.pass_time(2)
    await FakeNode(at).say(Replaced(user(1), far.ticket.handle, age_ms=8_000), to=1)
    assert back.code is CloseCode.REBALANCE


async def test_a_phone_that_came_back_is_not_replaced_by_what_came_before_it(at: Nodes) -> None:
    _, far = await followed(at)
    fake_node = FakeNode(at)
    at.said.clear()
    await fake_node.say(Replaced(user(1), far.ticket.handle, age_ms=3_000), to=1)
    (again,) = at.received(Attach)
    assert again.ticket == far.ticket
    await fake_node.say(Replaced(user(99), far.ticket.handle, age_ms=100), to=1)
    was_open = far.closed is None
    assert was_open
    await fake_node.say(Replaced(user(1), far.ticket.handle, age_ms=100), to=1)
    assert far.code is CloseCode.REPLACED


async def test_a_phone_that_has_left_is_not_presented_as_one_that_has_just_come(at: Nodes) -> None:
    _, far = await followed(at)
    at.said.clear()
    follower(at).follow(far.ticket.handle, ("queues",))
    far.leave()
    await at.clock.settle()
    assert [type(one) for _, _, one in at.said if isinstance(one, Attach | Detach)] == [Attach, Detach]
    assert not at.scenes[0].member(far).present


async def test_what_a_node_reads_after_a_stop_may_be_as_old_as_the_stop(at: Nodes) -> None:
    _, far = await followed(at)
    await at.pass_time(10)
    fake_node = FakeNode(at)
    at.clock.stand_still(5.0)
    at.said.clear()
    back = await at.scenes[1].again(far)
    (presented,) = at.received(Attach)
    assert presented.age_ms is not None
    assert presented.age_ms >= 5_000
    await fake_node.say(Replaced(user(1), far.ticket.handle, age_ms=100), to=1)
    was_open = back.closed is None
    assert was_open
    await fake_node.say(Attach(FAKE_NODE, 6, far.ticket, (), age_ms=100))
    replaced = at.received(Replaced)[-1]
    assert replaced.age_ms is not None
    assert replaced.age_ms >= 5_000


# ---- faults ----


async def test_a_fault_over_one_message_makes_the_node_deaf_for_no_other(
    at: Nodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await followed(at)
    owner, fake_node = at.scenes[0].owner(), FakeNode(at)
    asks = Asks(FAKE_NODE, 5, (Since(user(1), 0, 0),))
    with monkeypatch.context() as patched:
        replace_method(patched, owner, "leave", broken)
        assert await fake_node.say(Detach(user(1), "h", FAKE_NODE)) == []
        replace_method(patched, owner.publisher, "answer", broken)
        assert await fake_node.say(asks) == []
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["node_request_failed"] * 2
    assert only(Publication, await fake_node.say(asks)).user == user(1)


async def test_a_fault_over_one_user_keeps_no_other_from_what_is_sent_with_it(
    at: Nodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, far = await followed(at)
    at.upstream.add_user(8, "bert")
    await at.served(0, "bert")
    await at.served(1, "bert", device="d8", settled_s=1)
    bert = next(home.follower for who, home in at.scenes[1].node.user_states.items() if who != user(1))
    assert bert is not None
    epoch, seq = at.home(1).feed.ledger.position
    update = PublishedValue("queue:5", seq + 1, Queue(contacts_waiting=77))
    mine = Publication(user(1), epoch, seq, seq + 1, False, (update,), "live", None)
    with monkeypatch.context() as patched:
        patched.setattr(bert, "read", broken)
        others = [msgspec.structs.replace(mine, user=who) for who in (bert.feed.user, user(99))]
        assert await FakeNode(at).say(Publications((*others, mine)), to=1) == []
    await at.pass_time(0.5)
    assert far.waiting == 77
    assert [record.getMessage() for record in caplog.records] == ["publication_failed"]


async def test_a_fault_over_one_request_ends_that_request_alone(
    at: Nodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    near, _ = await followed(at)
    owner, fake_node = at.scenes[0].owner(), FakeNode(at)
    request = CallRequest(user(1), FAKE_NODE, 5, call(at, near))
    await fake_node.say(Attach(FAKE_NODE, 6, near.ticket, ()))
    with monkeypatch.context() as patched:
        replace_method(patched, owner.execution, "execute", broken)
        assert await fake_node.say(request) == []
    assert [record.getMessage() for record in caplog.records] == ["node_request_failed"]
    assert only(CallAnswer, await fake_node.say(request)).outcome == Outcome(Status.APPLIED)


def broken(*_: object) -> NoReturn:
    raise ZeroDivisionError("a value that must not be logged")
