"""Does the manual clock wake in order, let the loop settle and leave nothing behind?"""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.doubles.clock import ManualClock


async def test_equal_instants_wake_in_the_order_of_asking() -> None:
    clock, woken = ManualClock(), list[int]()

    async def sleeper(number: int) -> None:
        await clock.sleep(1)
        woken.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(sleeper(number))
        await clock.advance(1)
    assert woken == [0, 1, 2, 3, 4]


async def test_a_sleeper_that_sleeps_again_wakes_at_each_instant_of_one_advance() -> None:
    clock, seen = ManualClock(now=0), list[float]()

    async def ticker() -> None:
        while clock.now() < 3:
            await clock.sleep(1)
            seen.append(clock.now())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ticker())
        await clock.advance(10)
    assert seen == [1.0, 2.0, 3.0]
    assert clock.now() == 10


async def test_nothing_waits_after_the_block_ended_or_was_cancelled() -> None:
    clock = ManualClock()
    async with clock.timeout(5):
        pass
    async with asyncio.TaskGroup() as tasks:
        sleeper = tasks.create_task(clock.sleep(7))
        await clock.settle()
        assert clock.waiting == 1
        sleeper.cancel()
    assert clock.waiting == 0


async def test_the_wall_clock_may_jump_without_waking_anyone() -> None:
    clock = ManualClock(wall_ms=1_000)
    async with asyncio.TaskGroup() as tasks:
        sleeper = tasks.create_task(clock.sleep(60))
        clock.jump_wall(3_600_000)
        await clock.settle()
        assert not sleeper.done()
        assert clock.wall_ms() == 3_601_000
        await clock.advance(60)
        assert sleeper.done()
    assert clock.wall_ms() == 3_661_000


async def test_a_task_that_spins_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.doubles.clock.MOST_TURNS", 50)
    clock = ManualClock()

    async def spin() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(spin())
        with pytest.raises(AssertionError, match="never came to rest"):
            await clock.settle()
        task.cancel()


async def test_ten_tenths_are_a_whole() -> None:
    clock, woken = ManualClock(), list[float]()

    async def sleeper() -> None:
        await clock.sleep(1)
        woken.append(clock.now())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper())
        for _ in range(9):
            await clock.advance(0.1)
        assert woken == []
        await clock.advance(0.1)
    assert woken == [1_001.0]
