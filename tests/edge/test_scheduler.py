"""Scheduler: each socket has its turn in time, once, at constant cost, also beside faults."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from gateway.edge.scheduler import NEVER, RELEASE_S, SLICE_S, TICK_S, Scheduler
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import during

SLACK_S = 2e-6
"""What rounding may give away: the pump's, and the steps of the manual clock."""


class Turner:
    """Someone who has turns, and what a test has him do in them."""

    def __init__(self, setup: Setup, name: str, does: Callable[[], object] | None) -> None:
        self.is_ready = False
        self.near_tick = self.far_tick = NEVER
        self.name = name
        self.does = does
        self.turns: list[float] = []
        self.faults: list[Exception] = []
        self.abandoned = 0
        self._house = setup

    def turn(self, now: float) -> None:
        self.turns.append(now)
        self._house.order.append(self.name)
        if self.does is not None:
            self.does()

    def fail(self, fault: Exception) -> None:
        self.faults.append(fault)

    def abandon(self) -> None:
        self.abandoned += 1
        self._house.scheduler.sockets.pop(self, None)


def is_in_time(turn: float, when: float, ticks: int = 1, *, late_s: float = 0.0) -> bool:
    """Tell whether *turn* is not early, and at most so many ticks late, and so long beyond."""
    return when - SLACK_S <= turn <= when + ticks * TICK_S + late_s + SLACK_S


class Setup:
    """A pump on manual time, and its sockets."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.scheduler: Scheduler[Turner] = Scheduler(self.clock)
        self.order: list[str] = []

    def add(self, name: str = "a", does: Callable[[], object] | None = None) -> Turner:
        turner = Turner(self, name, does)
        self.scheduler.sockets[turner] = None
        return turner

    def ready(self, *turners: Turner) -> None:
        for turner in turners:
            self.scheduler.ready(turner)

    def at(self, turner: Turner, in_s: float) -> float:
        """Ask for a turn so many seconds from now; returns when that is."""
        when = self.clock.now() + in_s
        self.scheduler.at(turner, when)
        return when

    @property
    def on_the_wheel(self) -> int:
        assert sorted(self.scheduler._wheel) == sorted(self.scheduler._ticks)
        return sum(map(len, self.scheduler._wheel.values()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        async with during(self.scheduler.run()) as task:
            await self.clock.settle()
            yield task


@pytest.fixture
def setup() -> Setup:
    return Setup()


# ---- who is ready ----


async def test_who_was_ready_before_the_pump_ran_has_his_turn(setup: Setup) -> None:
    one = setup.add()
    setup.ready(one)
    async with setup.running():
        assert len(one.turns) == 1


# ---- times ----


async def test_deadlines_of_many_sockets_share_ticks(setup: Setup) -> None:
    turners = [setup.add(str(number)) for number in range(100)]
    async with setup.running():
        for number, turner in enumerate(turners):
            setup.at(turner, 20.001 + number / 1_000)
        assert len(setup.scheduler._wheel) == 1
        await setup.clock.advance(30)
    assert {len(turner.turns) for turner in turners} == {1}


@pytest.mark.parametrize("later_s", [0.5, 30.0])
async def test_an_earlier_time_wakes_the_pump_that_sleeps(setup: Setup, later_s: float) -> None:
    one, other = setup.add("one"), setup.add("other")
    async with setup.running():
        setup.at(one, later_s)
        await setup.clock.advance(0.01)
        when = setup.at(other, 0.02)
        await setup.clock.advance(0.1)
        assert is_in_time(other.turns[0], when)
        assert one.turns == []


async def test_a_pump_woken_just_before_a_tick_is_a_millisecond_late_for_it_at_most(setup: Setup) -> None:
    one, other = setup.add(), setup.add()
    async with setup.running():
        when = setup.at(one, 0.0501)
        await setup.clock.advance(0.0549)
        setup.ready(other)
        for _ in range(20):
            await setup.clock.advance(0.0005)
    assert is_in_time(one.turns[0], when, late_s=0.001)


async def test_a_pump_without_anything_to_do_costs_nothing(setup: Setup) -> None:
    setup.add()
    async with setup.running():
        await setup.clock.advance(100)
        assert setup.clock.waiting == 0


# ---- what a socket may cost ----


async def test_a_socket_that_asks_again_is_on_the_wheel_once_for_each_kind_of_time(setup: Setup) -> None:
    one = setup.add()
    async with setup.running():
        for _ in range(300):
            setup.at(one, 0.9)
            setup.at(one, 25.0)
            await setup.clock.advance(0.001)
        assert setup.on_the_wheel == 2
        await setup.clock.advance(30)
        assert (setup.on_the_wheel, one.near_tick, one.far_tick) == (0, NEVER, NEVER)


async def test_who_is_over_is_kept_by_no_time_that_he_asked_for(setup: Setup) -> None:
    one, other = setup.add("one"), setup.add("other")
    async with setup.running():
        for turner in (one, other):
            setup.at(turner, 0.2)
            setup.at(turner, 20.0)
        setup.scheduler.forget(one)
        setup.scheduler.forget(one)
        assert setup.on_the_wheel == 2, "the other's two times"
        await setup.clock.advance(25.0)
    assert one.turns == []
    assert len(other.turns) == 2


# ---- faults, and a long batch ----


async def test_a_long_batch_is_sliced(setup: Setup) -> None:
    work_s = SLICE_S / 2
    turners = [setup.add(str(number), lambda: setup.clock.stand_still(work_s)) for number in range(40)]
    seen: list[int] = []

    async def others() -> None:
        while len(setup.order) < len(turners):
            seen.append(len(setup.order))
            await asyncio.sleep(0)

    async with setup.running(), asyncio.TaskGroup() as tasks:
        setup.ready(*turners)
        tasks.create_task(others())
    runs = [later - sooner for sooner, later in pairwise(seen)]
    assert 0 < max(runs, default=len(turners)) <= SLICE_S / work_s + 1
    assert setup.order == [turner.name for turner in turners], "nobody is left out, nobody overtakes"


async def test_sockets_get_their_part_of_turns_that_the_work_of_others_makes_long(setup: Setup) -> None:
    turners = [setup.add(str(number), lambda: setup.clock.stand_still(0.001)) for number in range(200)]
    turns_of_others = 0

    async def others() -> None:
        nonlocal turns_of_others
        while len(setup.order) < len(turners):
            turns_of_others += 1
            setup.clock.stand_still(0.1)
            await asyncio.sleep(0)

    async with setup.running(), asyncio.TaskGroup() as tasks:
        setup.ready(*turners)
        tasks.create_task(others())
    # 200 ms of work: in slices of 5 ms it would have taken 4 s
    assert turns_of_others * 0.1 < 1.0


async def test_messages_that_come_together_hold_the_loop_no_longer_than_one(setup: Setup) -> None:
    work_s = RELEASE_S / 2 + 0.001
    turners = [setup.add(str(number), lambda: setup.clock.stand_still(work_s)) for number in range(10)]
    async with setup.running():
        setup.scheduler.is_held = True
        setup.ready(*turners)
        setup.scheduler.is_held = False
        for _ in range(4):
            setup.scheduler.release()
        assert setup.order == ["0", "1"]
        await setup.clock.settle()
        assert setup.order == [turner.name for turner in turners]
        setup.ready(turners[0])
        setup.scheduler.release()
        assert len(turners[0].turns) == 2, "nobody waits from before"


async def test_a_turn_in_a_later_slice_gets_the_time_that_it_is_then(setup: Setup) -> None:
    slow = setup.add("slow", lambda: setup.clock.stand_still(1.0))
    late = setup.add("late")
    async with setup.running():
        setup.ready(slow, late)
        await setup.clock.settle()
    assert late.turns == [slow.turns[0] + 1.0]


# ---- work, and the end ----


async def test_work_runs_beside_the_turns(setup: Setup) -> None:
    done: list[str] = []

    async def work() -> None:
        await setup.clock.sleep(1)
        done.append("work")

    one = setup.add()
    async with setup.running():
        assert setup.scheduler.start(work()) is not None
        setup.ready(one)
        await setup.clock.settle()
        assert (len(one.turns), done) == (1, [])
        await setup.clock.advance(1)
        assert done == ["work"]


async def test_before_it_runs_and_after_its_end_nothing_is_started(setup: Setup) -> None:
    async def work() -> None:
        raise AssertionError

    before, after = work(), work()
    assert setup.scheduler.start(before) is None
    async with setup.running():
        pass
    assert setup.scheduler.start(after) is None
    for one in (before, after):
        assert inspect.getcoroutinestate(one) == inspect.CORO_CLOSED


async def test_at_its_end_work_is_cancelled_and_can_start_no_more(setup: Setup) -> None:
    received: list[str] = []

    async def late() -> None:
        raise AssertionError

    async def work() -> None:
        try:
            await setup.clock.sleep(100)
        finally:
            received.append(f"ended, {setup.scheduler.start(late())}")

    async with setup.running():
        setup.scheduler.start(work())
        await setup.clock.settle()
    assert received == ["ended, None"]


async def test_a_pump_that_ends_between_two_slices_abandons_all_too(setup: Setup) -> None:
    turners = [setup.add(str(number)) for number in range(3)]
    async with setup.running() as task:

        def last_of_all() -> None:
            setup.clock.stand_still(SLICE_S * 2)
            task.cancel()

        turners[0].does = last_of_all
        setup.ready(*turners)
        await setup.clock.settle()
    assert setup.order == ["0"]
    assert [turner.abandoned for turner in turners] == [1, 1, 1]
