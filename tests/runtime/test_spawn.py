"""How is work begun beside a life that may be ending?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

import pytest

from gateway.app.process import SystemClock
from gateway.runtime.spawn import LeanEvent, heed_cancellation, spawn


async def test_work_runs_in_the_group() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("work")

    async with asyncio.TaskGroup() as tasks:
        assert spawn(tasks, work())
    assert done == ["work"]


async def test_without_a_group_nothing_runs() -> None:
    async def work() -> None:
        raise AssertionError

    assert not spawn(None, work())


async def test_in_a_group_that_is_over_or_ending_nothing_runs() -> None:
    begun: list[bool] = []

    async def work() -> None:
        raise AssertionError

    async def linger(tasks: asyncio.TaskGroup) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            begun.append(spawn(tasks, work()))

    group = asyncio.TaskGroup()
    with pytest.raises(ExceptionGroup):
        await _end(group, linger)
    assert begun == [False]
    assert not spawn(group, work())


async def _end(
    group: asyncio.TaskGroup, linger: Callable[[asyncio.TaskGroup], Coroutine[None, None, None]]
) -> None:
    async with group as tasks:
        tasks.create_task(linger(tasks))
        await asyncio.sleep(0)
        raise ZeroDivisionError


async def test_a_cancellation_that_a_group_swallows_is_gone_on_with() -> None:
    is_ending, may_end = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            is_ending.set()
            await may_end.wait()

    async def life() -> None:
        try:
            async with asyncio.TaskGroup() as inner:
                inner.create_task(slow_to_end())
                await asyncio.sleep(0)
                [].pop()
        except* IndexError:
            pass
        heed_cancellation()
        raise AssertionError("it lives on")

    async with asyncio.TaskGroup() as tasks:
        living = tasks.create_task(life())
        await is_ending.wait()
        living.cancel()
        await asyncio.sleep(0)
        may_end.set()
    assert living.cancelled()


async def test_a_lean_event_wakes_all_that_wait_and_lets_those_pass_that_come_later() -> None:
    event, passed = LeanEvent(), list[int]()

    async def wait(number: int) -> None:
        await event.wait()
        passed.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(2):
            tasks.create_task(wait(number))
        await asyncio.sleep(0)
        assert (passed, event.is_set()) == ([], False)
        event.set()
    await wait(2)
    assert (passed, event.is_set()) == ([0, 1, 2], True)


async def test_a_lean_event_that_was_cleared_is_waited_for_again() -> None:
    event = LeanEvent()
    event.set()
    event.clear()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(event.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        event.set()
        event.clear()  # who waited is woken, all the same


async def test_who_is_cancelled_while_waiting_for_a_lean_event_keeps_no_other_from_it() -> None:
    event = LeanEvent()
    async with asyncio.TaskGroup() as tasks:
        gone, stays = tasks.create_task(event.wait()), tasks.create_task(event.wait())
        await asyncio.sleep(0)
        gone.cancel()
        event.set()
    assert (gone.cancelled(), stays.cancelled()) == (True, False)


# ---- Does the system clock show the machine's time? ----


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system has no such clock")
def test_time_goes_on_while_the_machine_is_suspended() -> None:
    """No test can suspend its machine: which clock is read decides it."""
    assert vars(SystemClock)["now"].__func__.args == (time.CLOCK_BOOTTIME,)
