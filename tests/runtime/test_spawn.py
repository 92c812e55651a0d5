"""How is work begun beside a life that may be ending?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from gateway.runtime.spawn import heed_cancellation, spawn


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


async def test_without_a_cancellation_nothing_is_to_be_heeded() -> None:
    heed_cancellation()
