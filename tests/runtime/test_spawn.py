"""How is work begun beside a life that may be ending?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from gateway.runtime.spawn import spawn


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
