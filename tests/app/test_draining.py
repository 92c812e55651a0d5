"""Drain and balance of a node: which phones leave, how fast, and when not."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.app.config.settings import LimitsSection
from gateway.app.drain import (
    BYE_S,
    HAND_OVER_S,
    WINDOW_S,
    Departure,
    PhoneBalancer,
    drain_limit_s,
    drain_node,
)
from gateway.app.process import SIGNALS, StopRequest
from gateway.core.drain_schedule import SETTLED_S, Move
from gateway.core.session import State
from gateway.domain.errors import CloseCode
from gateway.domain.model import NodeId, UserId
from gateway.edge.socket import PhoneSocket
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.cluster_receiver import ClusterMembership
from gateway.telemetry import Telemetry
from tests.doubles.clock import ManualClock
from tests.doubles.log_lines import capture_logs
from tests.doubles.tasks import beside, during

OTHER = NodeRecord(NodeId("n2"), "h2", "1", 0, 0, draining=False, accepts_per_s=10.0)
LIMITS = LimitsSection(drain_notice_s=10, drain_s=60, log_ons_per_s=4)


class PhoneToSend:
    """A phone that notes when it is sent away, and when it is to come back."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.received: list[tuple[float, float, float]] = []

    def close(self, code: CloseCode, reason: str, *, window_s: tuple[float, float] | None = None) -> None:
        assert (code, reason) == (CloseCode.DRAINING, "draining")
        assert window_s is not None
        self.received.append((self._clock.now(), *window_s))


class Leaver:
    """A node with phones and owned users, on its way out."""

    def __init__(
        self,
        *,
        phones: int,
        users: int = 0,
        others: tuple[NodeRecord, ...] = (),
        nodes: tuple[NodeRecord, ...] | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.began = self.clock.now()
        self.phones = [PhoneToSend(self.clock) for _ in range(phones)]
        self.sockets = 0
        self.back_after_s: Callable[[int], float] | None = None
        """How long after its bye a phone is back, by how many are away; None: nobody knows."""
        self.away: list[float] = []
        """When each phone that is away will be back."""
        self.away_max = 0
        self.stopping = StopRequest()
        self.telemetry = Telemetry()
        self.happened: list[tuple[str, float]] = []
        self.mixed: list[PhoneSocket] = []
        self.membership = SimpleNamespace(others=others, nodes=others if nodes is None else nodes)
        feed = SimpleNamespace(user=UserId("main", 1))
        self.member = SimpleNamespace(present=True, node=None)
        owner = SimpleNamespace(user_sessions=[self.member])
        self.links_per_s = {"main": 4.0}
        self.user_states = {n: SimpleNamespace(owner=owner, feed=feed) for n in range(users)}

    def drain(self) -> None:
        self.happened.append(("drains", self.clock.now() - self.began))

    def watch_move(self, phone: PhoneSocket) -> Callable[[], Move] | None:
        if self.back_after_s is None:
            return None
        now = self.clock.now()
        self.away = [at for at in self.away if at > now]
        back_at = now + self.back_after_s(len(self.away))
        self.away.append(back_at)
        self.away_max = max(self.away_max, len(self.away))
        return lambda: Move.DONE if self.clock.now() >= back_at else Move.AWAY

    async def refuse(self) -> None:
        self.happened.append(("refuses", self.clock.now() - self.began))

    async def run(self, limits: LimitsSection = LIMITS) -> None:
        parting = Departure(
            self,  # type: ignore[arg-type]  # stands in for a Node
            cast("list[PhoneSocket]", self.phones),
            lambda: self.sockets,
            self.refuse,
            self.mixed.extend,
            self.watch_move,
        )
        await drain_node(parting, limits, self.stopping, self.clock, self.telemetry)
        self.happened.append(("gone", self.clock.now() - self.began))

    @property
    def gone_after(self) -> float | None:
        return dict(self.happened).get("gone")

    def metric(self, name: str) -> float:
        value = self.telemetry.registry.get_sample_value(f"oscc_gateway_drain_{name}_seconds")
        assert value is not None
        return value

    @property
    def received(self) -> list[tuple[float, float]]:
        """When each phone was sent away, and from when on it comes back, since the begin."""
        return [
            (round(at - self.began, 3), round(at - self.began + low, 3))
            for phone in self.phones
            for at, low, _ in phone.received
        ]


async def test_alone_it_sends_all_away_at_once_to_come_back_one_after_the_other() -> None:
    node = Leaver(phones=4, users=4)
    async with beside(node.run()):
        await node.clock.advance(1)
    assert node.received == [(0, 0), (0, 2.5), (0, 5), (0, 7.5)]
    assert [word for word, _ in node.happened] == ["drains", "refuses", "gone"]
    assert node.gone_after == 0
    assert node.mixed == cast("list[PhoneSocket]", node.phones)


async def test_alone_phones_stay_away_no_longer_than_a_new_start_takes() -> None:
    for drain_s, expected in ((4.0, 2.0), (600.0, 5.0)):
        node = Leaver(phones=2)
        async with beside(node.run(LimitsSection(drain_s=drain_s))):
            await node.clock.advance(1)
        assert node.received == [(0, 0), (0, expected)]


async def test_among_others_it_is_not_ready_for_a_while_before_anybody_is_sent_away() -> None:
    node = Leaver(phones=1, others=(OTHER,))
    async with beside(node.run()):
        await node.clock.advance(9.9)
        assert (node.happened, node.received) == ([], [])
        await node.clock.advance(10)
    assert node.happened[:2] == [("drains", 10), ("refuses", 10)]
    assert node.received == [(10, 10)]


LEAVING = OTHER._replace(node=NodeId("n1"), holder="h1", draining=True)


@pytest.mark.parametrize(
    ("phones", "nodes", "per_s"),
    # of two nodes the other takes one half of 4 links a second, until this node is gone
    [(20, None, 4), (8, (LEAVING, OTHER), 2)],
    ids=["4 links a second", "the other's part of them"],
)
async def test_phones_leave_no_faster_than_the_budget_of_log_ons_allows(
    phones: int, nodes: tuple[NodeRecord, ...] | None, per_s: float
) -> None:
    node = Leaver(phones=phones, users=phones, others=(OTHER,), nodes=nodes)
    async with beside(node.run()) as running:
        await node.clock.advance(16)
        node.user_states.clear()
        await node.clock.advance(1)
        assert running.done()
    assert node.received == [(10 + n / per_s, 10 + n / per_s) for n in range(phones)]


async def test_phones_are_sent_away_as_fast_as_the_users_of_those_before_them_move() -> None:
    node = Leaver(phones=100, users=100, others=(OTHER._replace(accepts_per_s=1000.0),))
    node.links_per_s["main"] = 100.0
    node.back_after_s = lambda before: (1 + before) / 5  # a busy node takes five in a second
    async with beside(node.run()):
        await node.clock.advance(10 + 60)
        node.user_states.clear()
        await node.clock.advance(1)
    # planned within a second, where each would have waited for all before it: 20 s
    assert node.away_max <= 24
    assert 15 < node.received[-1][0] - 10 <= 25


@pytest.mark.parametrize("others", [(), (OTHER._replace(accepts_per_s=1000.0),)])
async def test_phones_that_stay_away_hold_nobody_up_beyond_the_limit(others: tuple[NodeRecord, ...]) -> None:
    node = Leaver(phones=100, users=100, others=others)
    node.links_per_s["main"] = 100.0
    node.back_after_s = lambda _: math.inf
    async with beside(node.run(LimitsSection(drain_notice_s=0, drain_s=20))):
        await node.clock.advance(20.1)
        assert len(node.received) == 100
        assert node.received[-1][0] <= (20 if others else 0)
        await node.clock.advance(60)


async def test_a_node_whose_users_are_others_is_gone() -> None:
    node = Leaver(phones=1, users=1, others=(OTHER,))
    async with beside(node.run()):
        await node.clock.advance(11)
        assert node.gone_after is None
        node.user_states[0].owner = None
        await node.clock.advance(0.1)
        assert node.gone_after == pytest.approx(11, abs=0.1)


@pytest.mark.parametrize(
    ("node_of_phone", "present", "waits"),
    [(OTHER.node, True, True), (OTHER.node, False, False), (None, True, False), (NodeId("nx"), True, False)],
)
async def test_a_drain_waits_for_users_with_phones_elsewhere_while_there_is_time(
    *, node_of_phone: NodeId | None, present: bool, waits: bool
) -> None:
    node = Leaver(phones=1, users=2, others=(OTHER,))
    node.member.node, node.member.present = node_of_phone, present
    node.links_per_s["main"] = 20.0
    with capture_logs() as logs:
        async with beside(node.run(LimitsSection(drain_s=30.0))):
            await node.clock.advance(60)
    # without waiting it has left once the two users could have moved, at 20 links a second
    assert node.gone_after == pytest.approx(10 + (30 if waits else 0.1) + HAND_OVER_S, abs=0.1)
    assert [each["users"] for each in logs if each["event"] == "drain_left_users"] == ([2] if waits else [])


@pytest.mark.parametrize("others", [(), (OTHER,)])
async def test_a_node_that_does_not_listen_delays_no_drain(others: tuple[NodeRecord, ...]) -> None:
    node = Leaver(phones=1, others=others)
    node.sockets = 1
    async with beside(node.run()):
        await node.clock.advance(30)
    assert node.gone_after == pytest.approx((10 if others else 0) + BYE_S, abs=0.1)
    assert others or node.metric("planned") == BYE_S


@pytest.mark.parametrize("after_s", [0.0, 5.0, 11.0])
async def test_in_a_hurry_all_are_sent_away_at_once_and_it_is_gone(after_s: float) -> None:
    node = Leaver(phones=20, users=20, others=(OTHER,))
    node.sockets = 20
    async with beside(node.run()):
        await node.clock.advance(after_s)
        node.stopping.hurried.set()
        await node.clock.advance(0.1)
        assert node.gone_after == pytest.approx(after_s, abs=0.1)
    assert len(node.received) == 20


async def test_it_reports_its_begin_and_its_duration() -> None:
    node = Leaver(phones=20, users=20, others=(OTHER,))
    assert math.isnan(node.metric("began_timestamp"))
    async with beside(node.run()):
        began_s = node.clock.wall_ms() / 1000
        await node.clock.advance(9)
        assert (node.metric("began_timestamp"), node.metric("planned")) == (began_s, 0)
        await node.clock.advance(60)
    # 20 users at 4 links a second, and nobody takes them
    assert node.metric("began_timestamp") == began_s
    assert node.metric("planned") == 10 + 20 / 4 + HAND_OVER_S == pytest.approx(node.gone_after, abs=0.1)


@pytest.mark.parametrize(("users", "fits"), [(240, True), (320, False)])
async def test_more_users_than_can_move_in_time_take_longer_than_the_limit(users: int, fits: bool) -> None:
    node = Leaver(phones=users, users=users, others=(OTHER,))
    async with beside(node.run()):
        await node.clock.advance(11)
        assert (node.metric("planned") <= drain_limit_s(LIMITS)) is fits
        await node.clock.advance(120)
    assert node.gone_after is not None
    assert (node.gone_after <= drain_limit_s(LIMITS)) is fits


def test_what_may_be_waited_is_what_the_page_asks_operators_to_wait() -> None:
    assert (
        drain_limit_s(LimitsSection()) == LimitsSection().drain_notice_s + LimitsSection().drain_s + 10 == 80
    )


# ---- signals: the first ends the process, a second one at once ----


def test_who_was_asked_gently_is_asked_by_a_signal_for_the_first_time() -> None:
    stopping = StopRequest()
    for _ in range(2):
        stopping.ask_without_hurry()
        assert (stopping.asked.is_set(), stopping.hurried.is_set()) == (True, False)
    stopping.ask()
    stopping.ask_without_hurry()
    assert not stopping.hurried.is_set()
    stopping.ask()
    assert stopping.hurried.is_set()


async def test_waiting_ends_when_asked_or_when_the_time_is_over() -> None:
    clock, stopping = ManualClock(), StopRequest()
    async with asyncio.TaskGroup() as tasks:
        patient = tasks.create_task(stopping.wait(clock))
        bounded = tasks.create_task(stopping.wait(clock, 5))
        await clock.advance(4)
        assert not bounded.done()
        await clock.advance(1)
        assert bounded.done()
        assert not patient.done()
        stopping.ask()
    assert patient.done()
    await stopping.wait(clock, 5)


@pytest.mark.parametrize("number", SIGNALS)
async def test_signals_ask(number: signal.Signals, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stopping = StopRequest()
    with stopping.on_signals():
        assert signal.getsignal(number) not in {signal.SIG_DFL, signal.default_int_handler}
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stopping.asked.wait()
        assert not stopping.hurried.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stopping.hurried.wait()
        after = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, after.set)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGUSR1)  # received after the third, which says nothing new
        async with asyncio.timeout(5):
            await after.wait()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
    assert signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}
    assert [(record.getMessage(), vars(record)["signal"]) for record in caplog.records] == [
        ("stop_requested", number.name),
        ("stop_hurried", number.name),
    ]


# ---- balancing: which phones an overloaded node sends away, how many, and when none ----


class Phone:
    """A connection, as far as it is asked."""

    def __init__(self, drained: DrainedNode) -> None:
        self.session = SimpleNamespace(live=SimpleNamespace(commands_in_flight=0), state=State.LIVE)
        self.closed: tuple[CloseCode, str, tuple[float, float] | None] | None = None
        self._street = drained
        self.is_slow = False
        """Whether it takes long to read its bye."""

    def close(self, code: CloseCode, reason: str, *, window_s: tuple[float, float] | None = None) -> None:
        assert self.closed is None, "it has its bye already"
        self.closed = (code, reason, window_s)
        self.session.state = State.CLOSING
        if not self.is_slow:
            self.leave()

    def leave(self) -> None:
        self._street.phones.pop(self, None)


class DrainedNode:
    """A node with phones, and what it knows of another one."""

    def __init__(self, phones: int) -> None:
        self.clock = ManualClock()
        self.phones: dict[Phone, None] = {}
        self.all = [Phone(self) for _ in range(phones)]
        self.phones.update(dict.fromkeys(self.all))
        self.other = NodeRecord(NodeId("b"), "other", "1", 0, 0, draining=False, accepts_per_s=9.0)
        self.is_steady = True
        self.telemetry = Telemetry()
        self.balancer = PhoneBalancer(
            cast("ClusterMembership", self),
            lambda: self.is_steady,
            cast("dict[PhoneSocket, None]", self.phones).keys(),
            20.0,
            self.clock,
            lambda _: None,
            self.telemetry,
        )

    @property
    def nodes(self) -> tuple[NodeRecord, ...]:
        return (self.other,)

    @property
    def others(self) -> tuple[NodeRecord, ...]:
        return () if self.other.draining else (self.other,)

    async def live(self, seconds: float) -> None:
        """Let time pass; phones that were sent on come back at the other node."""
        for _ in range(int(seconds)):
            slow = [phone for phone in self.phones if phone.closed is not None]
            await self.clock.advance(1.0)
            if self.clock.now() % 5 == 0:
                for phone in slow:
                    phone.leave()
            self.other = self.other._replace(connections=len(self.all) - len(self.phones))

    def sent_on(self) -> list[Phone]:
        return [phone for phone in self.all if phone.closed is not None]


@pytest.fixture
async def drained() -> AsyncIterator[DrainedNode]:
    made = DrainedNode(100)
    async with during(made.balancer.run()):
        await made.clock.settle()
        yield made


async def test_phones_are_sent_on_until_there_are_a_fifth_more_than_the_mean(drained: DrainedNode) -> None:
    await drained.live(SETTLED_S - 5)
    assert drained.sent_on() == []
    await drained.live(120)
    assert len(drained.phones) == 60
    assert {phone.closed for phone in drained.sent_on()} == {(CloseCode.REBALANCE, "balancing", WINDOW_S)}
    sample = drained.telemetry.registry.get_sample_value
    assert sample("oscc_gateway_phones_sent_on_total") == 40
    await drained.live(600)
    assert len(drained.phones) == 60


async def test_who_waits_for_a_result_or_has_sent_no_hello_stays(drained: DrainedNode) -> None:
    for phone in drained.all[:30]:
        phone.session.live.commands_in_flight = 1
    for phone in drained.all[30:50]:
        phone.session.live = None
    await drained.live(300)
    assert len(drained.phones) == 60
    assert all(phone in drained.phones for phone in drained.all[:50])


async def test_nothing_is_sent_on_while_a_node_leaves_or_the_bus_is_away(drained: DrainedNode) -> None:
    drained.other = drained.other._replace(draining=True)
    await drained.live(200)
    drained.other = drained.other._replace(draining=False)
    drained.is_steady = False
    await drained.live(200)
    assert drained.sent_on() == []
    drained.is_steady = True
    await drained.live(SETTLED_S - 5)
    assert drained.sent_on() == []
    await drained.live(120)
    assert len(drained.sent_on()) == 40


async def test_a_phone_that_reads_its_bye_late_gets_no_second(drained: DrainedNode) -> None:
    for phone in drained.all:
        phone.is_slow = True
    await drained.live(SETTLED_S + 120)
    assert len(drained.phones) == 60
    sample = drained.telemetry.registry.get_sample_value
    assert sample("oscc_gateway_phones_sent_on_total") == len(drained.sent_on())
