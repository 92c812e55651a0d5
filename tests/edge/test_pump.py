"""Does each socket have its turn in time, once, and whatever the others do?"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from gateway.edge.pump import FAR_TICKS, NEAR_S, NEVER, SLICE_S, TICK_S, Pump
from tests.doubles.clock import ManualClock

SLACK_S = 2e-6
"""What rounding may give away: the pump's, and the steps of the manual clock."""


class BusyClock(ManualClock):
    """A clock that goes on while somebody works."""

    def spend(self, seconds: float) -> None:
        """Let a turn take that long."""
        self._now += seconds


class Turner:
    """Someone who has turns, and what a test has him do in them."""

    def __init__(self, house: House, name: str, does: Callable[[], object] | None) -> None:
        self.is_ready = False
        self.near_tick = self.far_tick = NEVER
        self.name = name
        self.does = does
        self.turns: list[float] = []
        self.faults: list[Exception] = []
        self.abandoned = 0
        self._house = house

    def turn(self, now: float) -> None:
        self.turns.append(now)
        self._house.order.append(self.name)
        if self.does is not None:
            self.does()

    def fail(self, fault: Exception) -> None:
        self.faults.append(fault)

    def abandon(self) -> None:
        self.abandoned += 1
        self._house.pump.sockets.discard(self)


def is_in_time(turn: float, when: float, ticks: int = 1) -> bool:
    """Tell whether *turn* is not early, and at most so many ticks late."""
    return when - SLACK_S <= turn <= when + ticks * TICK_S + SLACK_S


class House:
    """A pump on manual time, and its sockets."""

    def __init__(self) -> None:
        self.clock = BusyClock()
        self.pump: Pump[Turner] = Pump(self.clock)
        self.order: list[str] = []

    def add(self, name: str = "a", does: Callable[[], object] | None = None) -> Turner:
        turner = Turner(self, name, does)
        self.pump.sockets.add(turner)
        return turner

    def ready(self, *turners: Turner) -> None:
        for turner in turners:
            self.pump.ready(turner)

    def at(self, turner: Turner, in_s: float) -> float:
        """Ask for a turn so many seconds from now; returns when that is."""
        when = self.clock.now() + in_s
        self.pump.at(turner, when)
        return when

    @property
    def on_the_wheel(self) -> int:
        assert sorted(self.pump._wheel) == sorted(self.pump._ticks)
        return sum(map(len, self.pump._wheel.values()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.pump.run())
            await self.clock.settle()
            yield task
            task.cancel()


@pytest.fixture
def house() -> House:
    return House()


# ---- who is ready ----


async def test_who_is_ready_has_one_turn_however_often_that_was_said(house: House) -> None:
    one = house.add()
    async with house.running():
        house.ready(one, one, one)
        await house.clock.settle()
        assert len(one.turns) == 1
        house.ready(one)
        await house.clock.settle()
        assert len(one.turns) == 2


async def test_turns_are_in_the_order_of_asking(house: House) -> None:
    a, b, c = house.add("a"), house.add("b"), house.add("c")
    async with house.running():
        house.ready(b, c, b, a, c)
        await house.clock.settle()
    assert house.order == ["b", "c", "a"]


async def test_who_was_ready_before_the_pump_ran_has_his_turn(house: House) -> None:
    one = house.add()
    house.ready(one)
    async with house.running():
        assert len(one.turns) == 1


async def test_who_is_made_ready_in_a_turn_comes_after_all_that_were(house: House) -> None:
    last = house.add("last")
    first = house.add("first", lambda: house.ready(last))
    second = house.add("second")
    async with house.running():
        house.ready(first, second)
        await house.clock.settle()
    assert house.order == ["first", "second", "last"]


async def test_who_waits_for_his_turn_already_has_no_second_one_for_being_made_ready_meanwhile(
    house: House,
) -> None:
    second = house.add("second")
    first = house.add("first", lambda: house.ready(second))
    async with house.running():
        house.ready(first, second)
        await house.clock.settle()
    assert house.order == ["first", "second"]


async def test_who_makes_himself_ready_in_his_turn_has_another_and_lets_others_live(house: House) -> None:
    one = house.add("one")
    one.does = lambda: house.ready(one) if len(one.turns) < 3 else None
    other = house.add("other")
    async with house.running():
        house.ready(one, other)
        await house.clock.settle()
    assert house.order == ["one", "other", "one", "one"]


# ---- times ----


@pytest.mark.parametrize(
    "in_s", [0.0001, 0.0049, TICK_S, 0.0051, 0.05, 0.9999, NEAR_S, 1.0001, 9.999, 25.0, 3_600.0]
)
async def test_a_pace_is_never_early_and_at_most_a_tick_late_and_a_deadline_some(
    house: House, in_s: float
) -> None:
    one = house.add()
    async with house.running():
        when = house.at(one, in_s)
        await house.clock.advance(in_s + 1)
    [turn] = one.turns
    assert is_in_time(turn, when, FAR_TICKS if in_s >= NEAR_S else 1)


async def test_a_time_that_is_past_comes_at_once(house: House) -> None:
    one = house.add()
    async with house.running():
        house.at(one, -5.0)
        await house.clock.settle()
    assert one.turns == [house.clock.now()]


async def test_deadlines_of_many_sockets_share_ticks(house: House) -> None:
    turners = [house.add(str(number)) for number in range(100)]
    async with house.running():
        for number, turner in enumerate(turners):
            house.at(turner, 20.001 + number / 1_000)
        assert len(house.pump._wheel) == 1
        await house.clock.advance(30)
    assert {len(turner.turns) for turner in turners} == {1}


@pytest.mark.parametrize("later_s", [0.5, 30.0])
async def test_an_earlier_time_wakes_the_pump_that_sleeps(house: House, later_s: float) -> None:
    one, other = house.add("one"), house.add("other")
    async with house.running():
        house.at(one, later_s)
        await house.clock.advance(0.01)
        when = house.at(other, 0.02)
        await house.clock.advance(0.1)
        assert is_in_time(other.turns[0], when)
        assert one.turns == []


async def test_an_earlier_time_of_the_same_socket_is_kept_in_time(house: House) -> None:
    one = house.add()
    async with house.running():
        house.at(one, 0.5)
        when = house.at(one, 0.1)
        await house.clock.advance(0.2)
        assert is_in_time(one.turns[0], when)


async def test_a_pace_does_not_take_the_place_of_a_deadline(house: House) -> None:
    one = house.add()
    async with house.running():
        far, near = house.at(one, 25.0), house.at(one, 0.05)
        await house.clock.advance(30)
    at_near, at_far = one.turns
    assert is_in_time(at_near, near)
    assert is_in_time(at_far, far, FAR_TICKS)


async def test_times_that_came_are_asked_for_anew(house: House) -> None:
    one = house.add()
    asked: list[float] = []
    one.does = lambda: asked.append(house.at(one, 0.05)) if len(asked) < 20 else None
    async with house.running():
        asked.append(house.at(one, 0.05))
        await house.clock.advance(2)
    assert len(one.turns) == len(asked)
    for when, turn in zip(asked, one.turns, strict=True):
        assert is_in_time(turn, when)


async def test_many_whose_time_is_the_same_tick_have_their_turns_in_the_order_of_asking(house: House) -> None:
    turners = [house.add(str(number)) for number in range(50)]
    async with house.running():
        for turner in reversed(turners):
            house.at(turner, 0.1)
        assert len(house.pump._ticks) == 1
        await house.clock.advance(0.2)
    assert house.order == [turner.name for turner in reversed(turners)]


async def test_a_pump_without_anything_to_do_costs_nothing(house: House) -> None:
    house.add()
    async with house.running():
        await house.clock.advance(100)
        assert house.clock.waiting == 0


# ---- what a socket may cost ----


async def test_a_socket_that_asks_again_and_again_is_on_the_wheel_once_for_each_kind_of_time(
    house: House,
) -> None:
    one = house.add()
    async with house.running():
        for _ in range(300):
            house.at(one, 0.9)
            house.at(one, 25.0)
            await house.clock.advance(0.001)
        assert house.on_the_wheel == 2
        await house.clock.advance(30)
        assert (house.on_the_wheel, one.near_tick, one.far_tick) == (0, NEVER, NEVER)


@pytest.mark.xfail(strict=True, reason="an earlier time leaves the later one on the wheel until that comes")
@pytest.mark.parametrize("from_s", [0.9, 25.0])
async def test_a_socket_whose_time_moves_nearer_and_nearer_is_on_the_wheel_once(
    house: House, from_s: float
) -> None:
    one = house.add()
    async with house.running():
        for step in range(100):
            house.at(one, from_s - step * TICK_S)
        assert house.on_the_wheel <= 1


async def test_nothing_is_left_of_many_sockets_times(house: House) -> None:
    turners = [house.add(str(number)) for number in range(100)]
    async with house.running():
        for number, turner in enumerate(turners):
            house.at(turner, 0.001 * number)
            house.at(turner, 1 + 0.01 * number)
        assert house.on_the_wheel == 200
        await house.clock.advance(3)
        assert house.on_the_wheel == 0
    assert {len(turner.turns) for turner in turners} == {2}


# ---- faults, and a long batch ----


async def test_a_fault_in_a_turn_ends_one(house: House) -> None:
    fault = RuntimeError("x")

    def raise_it() -> None:
        raise fault

    before, bad, after = house.add("before"), house.add("bad", raise_it), house.add("after")
    async with house.running():
        house.ready(before, bad, after)
        await house.clock.settle()
        house.at(after, 0.1)
        await house.clock.advance(0.2)
    assert (before.faults, bad.faults, after.faults) == ([], [fault], [])
    assert house.order == ["before", "bad", "after", "after"]


async def test_a_long_batch_is_sliced(house: House) -> None:
    work_s = SLICE_S / 2
    turners = [house.add(str(number), lambda: house.clock.spend(work_s)) for number in range(40)]
    seen: list[int] = []

    async def others() -> None:
        while len(house.order) < len(turners):
            seen.append(len(house.order))
            await asyncio.sleep(0)

    async with house.running(), asyncio.TaskGroup() as tasks:
        house.ready(*turners)
        tasks.create_task(others())
    runs = [later - sooner for sooner, later in pairwise(seen)]
    assert max(runs) <= SLICE_S / work_s + 1
    assert house.order == [turner.name for turner in turners], "nobody is left out, nobody overtakes"


async def test_a_turn_in_a_later_slice_is_told_the_time_that_it_is_then(house: House) -> None:
    slow = house.add("slow", lambda: house.clock.spend(1.0))
    late = house.add("late")
    async with house.running():
        house.ready(slow, late)
        await house.clock.settle()
    assert late.turns == [slow.turns[0] + 1.0]


# ---- work, and the end ----


async def test_work_runs_beside_the_turns(house: House) -> None:
    done: list[str] = []

    async def work() -> None:
        await house.clock.sleep(1)
        done.append("work")

    one = house.add()
    async with house.running():
        assert house.pump.start(work()) is not None
        house.ready(one)
        await house.clock.settle()
        assert (len(one.turns), done) == (1, [])
        await house.clock.advance(1)
        assert done == ["work"]


async def test_before_it_runs_and_after_its_end_nothing_is_started(house: House) -> None:
    async def work() -> None:
        raise AssertionError

    before, after = work(), work()
    assert house.pump.start(before) is None
    async with house.running():
        pass
    assert house.pump.start(after) is None
    for one in (before, after):
        assert inspect.getcoroutinestate(one) == inspect.CORO_CLOSED


async def test_at_its_end_work_is_cancelled_and_can_start_no_more(house: House) -> None:
    told: list[str] = []

    async def late() -> None:
        raise AssertionError

    async def work() -> None:
        try:
            await house.clock.sleep(100)
        finally:
            told.append(f"ended, {house.pump.start(late())}")

    async with house.running():
        house.pump.start(work())
        await house.clock.settle()
    assert told == ["ended, None"]


async def test_at_its_end_all_sockets_are_abandoned_once(house: House) -> None:
    turners = [house.add(str(number)) for number in range(3)]
    async with house.running() as task:
        house.ready(turners[0])
        house.at(turners[1], 10.0)
    assert task.cancelled()
    assert [turner.abandoned for turner in turners] == [1, 1, 1]
    assert house.pump.sockets == set()


async def test_a_pump_that_ends_between_two_slices_abandons_all_too(house: House) -> None:
    turners = [house.add(str(number)) for number in range(3)]
    async with house.running() as task:

        def last_of_all() -> None:
            house.clock.spend(SLICE_S * 2)
            task.cancel()

        turners[0].does = last_of_all
        house.ready(*turners)
        await house.clock.settle()
    assert house.order == ["0"]
    assert [turner.abandoned for turner in turners] == [1, 1, 1]
