"""Coroutines of a phone are closed when nothing runs them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine

import pytest

from gateway.edge.scheduler import SocketTasks


class Desk:
    """Runs work in a group of the test's own, until it runs nothing any more."""

    def __init__(self, tasks: asyncio.TaskGroup, *, has_ended: bool) -> None:
        self._tasks = tasks
        self._has_ended = has_ended

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        if not self._has_ended:
            return self._tasks.create_task(work)
        work.close()
        return None

    def fail(self, fault: Exception) -> None:
        raise fault

    def rested(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("has_ended", [True, False], ids=["nothing runs", "cancelled before"])
async def test_work_that_never_begins_is_closed(*, has_ended: bool) -> None:
    async def job() -> None:
        raise AssertionError

    async with asyncio.TaskGroup() as tasks:
        desk, never = Desk(tasks, has_ended=has_ended), job()
        work = SocketTasks(desk, desk)
        work.start(never)
        work.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert inspect.getcoroutinestate(never) == inspect.CORO_CLOSED
