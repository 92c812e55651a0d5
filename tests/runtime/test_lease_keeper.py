"""How does a node ask the lease store for one user?"""

from __future__ import annotations

import asyncio

import pytest

from gateway.bus.memory import MemoryBus, MemoryLeases
from gateway.bus.memory import MemoryChannels as BusExchange
from gateway.core.lease import AssumedTokens, LeaseState
from gateway.core.rate_limits import AdmissionQueue, Budget
from gateway.core.registry import Quota
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.runtime.cluster import Exchange
from gateway.runtime.ownership import LeaseKeeper
from gateway.runtime.ports import Grant
from gateway.runtime.world import LeaseRenewals, World
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream

USER = UserId("main", 1)
DOWN = GatewayError(ErrorCode.BUS_DOWN, "the store is away")


class Store(MemoryLeases):
    """Leases that can be away, or slow."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.away = False
        self.slow_s = 0.0
        self.asked: list[str] = []
        self._time = clock

    async def _reach(self, what: str) -> None:
        self.asked.append(what)
        await self._time.sleep(self.slow_s)
        if self.away:
            raise DOWN

    async def acquire(
        self, user: UserId, node: NodeId, holder: str, *, floor: int, expected: int | None = None
    ) -> Grant:
        await self._reach("acquire")
        return await super().acquire(user, node, holder, floor=floor, expected=expected)

    async def renew(self, user: UserId, node: NodeId, holder: str, token: int) -> bool:
        await self._reach("renew")
        return await super().renew(user, node, holder, token)

    async def release(self, user: UserId, holder: str, token: int) -> None:
        await self._reach("release")
        await super().release(user, holder, token)


class Place:
    """One node's lease keeper of one user, at a store that another node uses too."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store(self.clock)
        upstream = FakeUpstream(self.clock)
        world = World(
            NodeId("n1"),
            "n1-1",
            upstream,
            upstream,
            self.store,
            self.clock,
            lambda: 0.5,
            lambda *_: None,
            AdmissionQueue(Budget()),
            Quota(most=3, window_s=3600.0),
            lambda _: None,
            Exchange(NodeId("n1"), MemoryBus(BusExchange()), self.clock, 0),
            lambda: False,
            lambda _: False,
            lambda: None,
            LeaseRenewals(self.store, NodeId("n1"), "n1-1"),
            AssumedTokens("n1-1"),
        )
        self.lease_keeper = LeaseKeeper(USER, world)

    async def rival(self, *, floor: int = 0) -> Grant:
        return await self.store.acquire(USER, NodeId("n2"), "n2-1", floor=floor)


async def test_what_is_free_is_ours_and_what_is_held_is_refused() -> None:
    at = Place()
    assert await at.lease_keeper.ask() == "ours"
    assert (await at.rival()).holder == "n1-1"
    other = Place()
    theirs = await other.rival()
    assert await other.lease_keeper.ask() == "refused"
    assert other.lease_keeper.lease.floor == theirs.token
    assert not other.lease_keeper.lease.may_dial


async def test_without_an_answer_nothing_is_known_and_what_is_held_stays() -> None:
    at = Place()
    at.store.away = True
    assert await at.lease_keeper.ask() == "unanswered"
    assert at.lease_keeper.lease.state is LeaseState.FREE
    at.store.away = False
    await at.lease_keeper.ask()
    at.store.away = True
    assert await at.lease_keeper.ask() == "unanswered"
    assert at.lease_keeper.lease.may_dial
    await at.lease_keeper.release()
    assert at.lease_keeper.lease.state is LeaseState.FREE


async def test_one_question_at_a_time() -> None:
    at = Place()
    at.store.slow_s = 1
    async with asyncio.TaskGroup() as tasks:
        first, second = tasks.create_task(at.lease_keeper.ask()), tasks.create_task(at.lease_keeper.ask())
        await at.clock.advance(0.5)
        assert at.store.asked == ["acquire"]
        await at.clock.advance(2)
    assert (first.result(), second.result()) == ("ours", "ours")
    assert at.store.asked == ["acquire", "renew"]


async def test_a_question_that_is_cancelled_counts_as_unanswered() -> None:
    at = Place()
    await at.lease_keeper.ask()
    at.store.slow_s = 1
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(at.lease_keeper.ask())
        await at.clock.settle()
        asking.cancel()
    at.store.slow_s = 0
    assert at.lease_keeper.lease.state is LeaseState.HELD
    await at.lease_keeper.release()
    assert await at.store.read(USER) is None


async def test_who_was_outbid_gives_up_and_asks_for_more() -> None:
    at = Place()
    await at.lease_keeper.ask()
    highest = at.lease_keeper.lease.epoch + 500
    await at.lease_keeper.outbid(highest)
    assert await at.store.read(USER) is None
    assert await at.lease_keeper.ask() == "ours"
    assert at.lease_keeper.lease.epoch > highest


@pytest.mark.parametrize("renewing", [False, True])
async def test_a_lease_given_up_meanwhile_is_released_when_the_answer_comes(renewing: bool) -> None:
    at = Place()
    if renewing:
        await at.lease_keeper.ask()
    at.store.slow_s = 1
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(at.lease_keeper.ask())
        await at.clock.settle()
        await at.lease_keeper.release()
        await at.clock.advance(5)
    assert asking.result() == "unanswered"
    assert await at.store.read(USER) is None
