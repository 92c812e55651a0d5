"""Membership: which nodes live, and this node's share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from gateway.core.rate_limits import AdmissionQueue, Budget, Urgency
from gateway.domain.commands import OrderAct
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import Envelope, Here, NodeRecord
from gateway.runtime.cluster import Exchange
from gateway.runtime.cluster_receiver import ANNOUNCE_S, READ_S, AdminRpc, ClusterMembership
from gateway.runtime.ports import NODE_TTL_S
from tests.doubles.clock import ManualClock
from tests.doubles.lossy_bus import Trouble
from tests.doubles.stored import StoredNodes
from tests.doubles.tasks import beside, during
from tests.runtime.nodes import Nodes


class Member:
    """One node's part of the cluster membership; *connections* and *draining* are what it says of itself."""

    def __init__(self, clock: ManualClock, trouble: Trouble, number: int) -> None:
        self.admission_queue = AdmissionQueue(Budget(rate_per_s=12.0, burst=12.0, in_flight_max=120))
        self.connections = 0
        self.draining = False
        self.keys = "k1/00000001"
        self._number = number
        cluster = trouble.cluster(number)
        self.exchange = Exchange(NodeId(f"n{number}"), cluster.bus, clock, 0)
        self.membership = ClusterMembership(
            cluster.registry, self.exchange, self.record, (self.admission_queue,)
        )

    def record(self) -> NodeRecord:
        name = f"n{self._number}"
        return NodeRecord(
            NodeId(name), f"{name}-1", "v", self.connections, 0, self.draining, 100.0, self.keys
        )

    async def run(self) -> None:
        """Live, and hear who else does."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.exchange.run(self.received, self.recovered))
            tasks.create_task(self.membership.run())

    def received(self, envelope: Envelope) -> None:
        if isinstance(envelope, Here):
            self.membership.received(envelope)

    def recovered(self, recovery: int) -> None:
        self.exchange.machine.resynced(recovery)

    def log_ons(self, now: float) -> int:
        """Return how many users who have logged on it lets through at once."""
        places = [self.admission_queue.join(Urgency.PERSON, lambda: None) for _ in range(20)]
        entered = sum(self.admission_queue.enter(place, now) for place in places)
        for place in places:
            self.admission_queue.withdraw(place)
        return entered


class Fleets:
    def __init__(self, nodes: int) -> None:
        self.clock = ManualClock()
        self.trouble = Trouble(self.clock)
        self.members = [Member(self.clock, self.trouble, number) for number in range(nodes)]
        self.running: list[asyncio.Task[None]] = []

    def known(self, number: int) -> list[str]:
        return [record.node for record in self.members[number].membership.nodes]


@asynccontextmanager
async def fleets(nodes: int) -> AsyncIterator[Fleets]:
    made = Fleets(nodes)
    async with asyncio.TaskGroup() as tasks:
        for member in made.members:
            made.running.append(tasks.create_task(member.run()))
            await made.clock.settle()
        yield made
        for each in made.running:
            each.cancel()


PLACES = {"Fleets": partial(fleets, 2)}


async def test_every_node_knows_who_lives_and_they_share_the_log_ons_of_a_site() -> None:
    async with fleets(3) as at:
        await at.clock.advance(ANNOUNCE_S)
        assert [at.known(number) for number in range(3)] == [["n0", "n1", "n2"]] * 3
        assert [record.node for record in at.members[1].membership.others] == ["n0", "n2"]
        await at.clock.advance(3 * ANNOUNCE_S)
        assert [member.log_ons(at.clock.now()) for member in at.members] == [4, 4, 4]
        await at.clock.advance(2 * ANNOUNCE_S)
        at.members[2].draining = True
        at.running[2].cancel()
        await at.clock.settle()
        assert [at.known(number) for number in range(2)] == [["n0", "n1"]] * 2
        await at.clock.advance(ANNOUNCE_S)
        assert [at.members[number].log_ons(at.clock.now()) for number in range(2)] == [6, 6]


async def test_without_writes_nodes_are_known_by_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object) -> None:
        raise GatewayError(ErrorCode.BUS_DOWN, "NOREPLICAS Not enough good replicas to write.")

    monkeypatch.setattr(StoredNodes, "announce", refused)
    async with fleets(3) as at:
        await at.clock.advance(NODE_TTL_S + ANNOUNCE_S)
        assert [member.log_ons(at.clock.now()) for member in at.members] == [4, 4, 4]
        at.trouble.kill(2)
        at.running[2].cancel()
        await at.clock.advance(NODE_TTL_S + ANNOUNCE_S)
        assert [at.known(number) for number in range(2)] == [["n0", "n1"]] * 2
        assert [at.members[number].log_ons(at.clock.now()) for number in range(2)] == [6, 6]


async def test_a_node_that_begins_beside_others_may_serve_once_it_lets_log_ons_through(at: Fleets) -> None:
    assert [member.membership.may_serve for member in at.members] == [True, False]
    began = at.clock.now()
    while not at.members[1].membership.may_serve:
        await at.clock.advance(0.25)
    assert at.clock.now() - began <= 2 * ANNOUNCE_S
    assert at.members[1].log_ons(at.clock.now()) > 0


async def test_a_node_that_leaves_says_so_and_its_part_goes_to_the_others(at: Fleets) -> None:
    await at.clock.advance(ANNOUNCE_S)
    at.running[1].cancel()
    await at.clock.settle()
    assert [record.node for record in await at.trouble.store(0).registry.nodes()] == ["n0"]
    await at.clock.advance(NODE_TTL_S + ANNOUNCE_S)
    assert at.known(0) == ["n0"]
    await at.clock.advance(2)
    assert at.members[0].log_ons(at.clock.now()) == 12


async def test_while_the_store_does_not_answer_what_was_known_last_counts(at: Fleets) -> None:
    await at.clock.advance(ANNOUNCE_S)
    at.trouble.take_away()
    await at.clock.advance(10 * NODE_TTL_S)
    assert at.known(0) == ["n0", "n1"]
    assert at.members[0].log_ons(at.clock.now()) == 6


async def test_while_nobody_can_be_received_nobody_is_gone(at: Fleets) -> None:
    await at.clock.advance(ANNOUNCE_S)
    at.trouble.lose = lambda *reported: reported[0] >= 0
    await at.clock.advance(4 * NODE_TTL_S)
    assert at.known(0) == ["n0", "n1"]
    at.trouble.lose = lambda *reported: reported[0] == 1
    await at.clock.advance(NODE_TTL_S + 2 * ANNOUNCE_S)
    assert at.known(0) == ["n0"]


async def test_a_new_node_is_known_before_it_serves_though_its_first_messages_are_lost() -> None:
    async with fleets(1) as at:
        at.members.append(late := Member(at.clock, at.trouble, 1))
        at.trouble.lose = lambda *reported: reported[0] == 1
        async with during(late.run()):
            await at.clock.advance(2.2)  # it has read who lives, and its messages are lost
            assert (at.known(0), late.membership.may_serve) == (["n0"], False)
            at.trouble.lose = None
            await at.clock.advance(0.6)
            assert (at.known(0), late.membership.may_serve) == (["n0", "n1"], False)


async def test_a_node_whose_record_was_not_taken_at_first_waits_for_its_share_and_is_known_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis answers late on a busy machine, while several nodes start."""
    announce, refused = StoredNodes.announce, [NodeId("n1")]

    async def late(asking: StoredNodes, record: NodeRecord) -> None:
        if record.node in refused:
            refused.remove(record.node)
            raise GatewayError(ErrorCode.BUS_DOWN, "No answer in time.")
        await announce(asking, record)

    monkeypatch.setattr(StoredNodes, "announce", late)
    async with fleets(2) as at:
        assert not at.members[1].membership.may_serve, "it has seen the other node"
        at.members[0].membership.received(Here(at.members[1].record(), has_left=True))  # as if it were lost
        await at.clock.advance(1.0)
        assert at.known(0) == at.known(1) == ["n0", "n1"]


async def test_a_node_that_gives_notice_and_knows_no_other_asks_again_which_live(
    at: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at.clock.advance(3 * ANNOUNCE_S + 1.0)
    leaving, nodes, unanswered = at.members[0].membership, StoredNodes.nodes, [True]

    async def late(asking: StoredNodes) -> tuple[NodeRecord, ...]:
        if unanswered.pop() if unanswered else False:
            raise GatewayError(ErrorCode.BUS_DOWN, "No answer in time.")
        return await nodes(asking)

    monkeypatch.setattr(StoredNodes, "nodes", late)
    leaving.received(Here(at.members[1].record(), has_left=True))  # as if it had never been seen
    async with beside(leaving.give_notice()) as given:
        await at.clock.advance(1.0)
        assert given.done()
    assert [other.node for other in leaving.others] == ["n1"]


async def test_a_node_that_gives_notice_knows_a_node_whose_messages_it_missed(at: Fleets) -> None:
    at.trouble.lose = lambda *reported: reported[0] == 1
    await at.clock.advance(NODE_TTL_S + 2 * ANNOUNCE_S)
    assert at.known(0) == ["n0"]
    await at.members[0].membership.give_notice()
    assert [each.node for each in at.members[0].membership.others] == ["n1"]


async def test_a_node_that_gives_notice_says_so_at_once_and_has_not_begun_to_leave(at: Nodes) -> None:
    await at.pass_time(ANNOUNCE_S)
    near, far = (scene.node for scene in at.scenes)
    await near.membership.give_notice()
    await at.clock.settle()
    assert (near.record().draining, near.is_draining) == (True, False)
    assert [(each.node, each.draining) for each in await at.scenes[1].cluster.registry.nodes()] == [
        ("n0", True),
        ("n1", False),
    ]
    assert [(each.node, each.draining) for each in far.membership.nodes] == [("n0", True), ("n1", False)]
    assert far.membership.others == ()
    await at.pass_time(2 * ANNOUNCE_S)
    assert not far.membership.is_leaving(near.record().holder)
    near.drain()
    await at.clock.settle()
    assert far.membership.is_leaving(near.record().holder)
    await at.pass_time(2 * ANNOUNCE_S)
    assert far.membership.is_leaving(near.record().holder)
    assert [each.accepts_per_s for each in far.membership.nodes] == [0.0, 100.0]


async def test_notice_is_given_also_when_the_store_does_not_answer(at: Fleets) -> None:
    await at.clock.advance(ANNOUNCE_S)
    at.trouble.take_away(1)
    await at.members[1].membership.give_notice()
    assert at.members[1].membership.has_given_notice


async def test_what_a_node_says_of_itself_is_what_it_is_now(at: Nodes) -> None:
    await at.served(0)
    await at.served(1, device="d2")
    await at.drain(1, settled_s=2 * ANNOUNCE_S)
    near, far = at.scenes[0].node.membership.nodes
    assert (near.node, near.connections, near.links, near.draining) == ("n0", 1, 1, False)
    assert (far.node, far.connections, far.links, far.draining) == ("n1", 1, 0, True)


async def test_an_unforeseen_fault_of_one_sign_of_life_does_not_end_the_node(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with fleets(2) as at:
        with monkeypatch.context() as broken:
            broken.setattr(StoredNodes, "announce", fail)
            await at.clock.advance(ANNOUNCE_S)
        assert [one.getMessage() for one in caplog.records] == ["fleet_failed"] * 2
        assert "gateway/runtime/cluster_receiver.py:" in vars(caplog.records[0])["place"]
        await at.clock.advance(NODE_TTL_S)
        assert at.known(0) == at.known(1) == ["n0", "n1"]


async def test_another_life_of_the_same_name_is_a_namesake_once_it_is_received() -> None:
    async with fleets(1) as at:
        membership, own = at.members[0].membership, at.members[0].record()
        found = []
        for arrived in (False, True, False):
            await at.clock.advance(NODE_TTL_S)
            if arrived:
                membership.received(Here(own._replace(holder="n0-2")))
            found.append(membership.has_namesake)
        assert found == [False, True, False]


async def test_the_record_of_a_killed_life_is_no_namesake_though_the_store_goes_away() -> None:
    clock = ManualClock()
    trouble = Trouble(clock)
    member = Member(clock, trouble, 0)
    await trouble.store(0).registry.announce(member.record()._replace(holder="n0-0"))
    async with during(member.run()):
        await clock.settle()
        trouble.take_away()
        await clock.advance(6 * NODE_TTL_S)
        assert {node.holder for node in member.membership.nodes} >= {"n0-0"}, (
            "without the bus nobody is forgotten"
        )
        assert not member.membership.has_namesake


async def test_a_node_whose_messages_cannot_be_opened_is_not_forgotten() -> None:
    async with fleets(3) as at:
        first, second, third = at.members
        at.trouble.lose = lambda sender, to, *_: 2 in {sender, to}
        await at.clock.advance(READ_S + NODE_TTL_S + ANNOUNCE_S)
        assert [each.node for each in first.membership.unopened] == [], "it is only not heard"
        third.keys = "k1/00000009"
        await at.clock.advance(READ_S + NODE_TTL_S + ANNOUNCE_S)
        assert at.known(0) == ["n0", "n1"]
        for member in (first, second):
            assert [each.node for each in member.membership.unopened] == ["n2"]
        holder, audit = first.record().holder, list[OrderAct]().append
        admin = AdminRpc(holder, first.exchange, first.membership, audit)
        assert admin.nodes == ("n0", "n1", "n2"), "it is asked, and named as not reached"


async def test_the_keys_of_others_are_known_as_they_are_received_or_else_as_the_roll_has_them() -> None:
    n1, n2 = NodeId("n1"), NodeId("n2")
    async with fleets(3) as at:
        first, second, third = at.members
        await at.clock.advance(ANNOUNCE_S)
        assert first.membership.sealing_keys_of_others == {n1: "k1/00000001", n2: "k1/00000001"}
        second.keys = "k2/00000002 k1/00000001"
        await at.clock.advance(ANNOUNCE_S)
        assert first.membership.sealing_keys_of_others[n1] == second.keys
        at.trouble.lose = lambda _, to, __, envelope: to == 2 and isinstance(envelope, Here)
        first.keys = second.keys
        await at.clock.advance(READ_S + ANNOUNCE_S)
        assert third.membership.sealing_keys_of_others == {NodeId("n0"): first.keys, n1: second.keys}
        assert third.membership.sealing_keys == "k1/00000001"
