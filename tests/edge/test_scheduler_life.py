"""Scheduler: tolerates faults and long batches, and releases everything at its end."""

from __future__ import annotations

import asyncio
import inspect
from itertools import pairwise

import pytest

from gateway.edge.scheduler import SLICE_S
from tests.edge.pump_house import House


@pytest.fixture
def house() -> House:
    return House()


# ---- faults, and a long batch ----


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
    assert 0 < max(runs, default=len(turners)) <= SLICE_S / work_s + 1
    assert house.order == [turner.name for turner in turners], "nobody is left out, nobody overtakes"


async def test_a_turn_in_a_later_slice_gets_the_time_that_it_is_then(house: House) -> None:
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
        assert house.scheduler.start(work()) is not None
        house.ready(one)
        await house.clock.settle()
        assert (len(one.turns), done) == (1, [])
        await house.clock.advance(1)
        assert done == ["work"]


async def test_before_it_runs_and_after_its_end_nothing_is_started(house: House) -> None:
    async def work() -> None:
        raise AssertionError

    before, after = work(), work()
    assert house.scheduler.start(before) is None
    async with house.running():
        pass
    assert house.scheduler.start(after) is None
    for one in (before, after):
        assert inspect.getcoroutinestate(one) == inspect.CORO_CLOSED


async def test_at_its_end_work_is_cancelled_and_can_start_no_more(house: House) -> None:
    received: list[str] = []

    async def late() -> None:
        raise AssertionError

    async def work() -> None:
        try:
            await house.clock.sleep(100)
        finally:
            received.append(f"ended, {house.scheduler.start(late())}")

    async with house.running():
        house.scheduler.start(work())
        await house.clock.settle()
    assert received == ["ended, None"]


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
