"""Does time pass as it is told to?"""

from __future__ import annotations

import asyncio

import pytest

from gateway.simulator.settings import ManualClock, RealClock


async def test_watchers_see_every_slice() -> None:
    clock, seen = ManualClock(1000), list[int]()
    clock.watch(lambda: seen.append(clock.now_ms()))
    await clock.advance(0.6)
    assert seen == [1250, 1500, 1600]
    assert clock.transport_s() == 1.6


async def test_sleepers_wake_when_their_time_has_come() -> None:
    clock, woken = ManualClock(0), list[float]()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleep(2))
        tasks.create_task(sleep(1))
        await asyncio.sleep(0)
        await clock.advance(1)
        for _ in range(5):
            await asyncio.sleep(0)
        assert woken == [1]
        await clock.advance(1)
    assert woken == [1, 2]


async def test_a_scaled_clock_runs_fast_in_the_centre_only() -> None:
    clock = RealClock(scale=1000.0)
    began_ms, began_s = clock.now_ms(), clock.transport_s()
    await clock.sleep(0.002)
    passed_ms, passed_s = clock.now_ms() - began_ms, clock.transport_s() - began_s
    assert passed_ms >= 1000
    assert passed_s < passed_ms / 1000


def test_no_clock_stands_still() -> None:
    with pytest.raises(ValueError, match="scale"):
        RealClock(0)
