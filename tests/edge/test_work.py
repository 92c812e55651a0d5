"""Does what runs for one phone end with it, and harm nobody else?"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine

from gateway.edge.scheduler import SocketTasks
from tests.doubles.clock import ManualClock


class Runner:
    """Runs work in a group of the test's own, until it runs nothing any more."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self.has_ended = False

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        if not self.has_ended:
            return self._tasks.create_task(work)
        work.close()
        return None


class Desk:
    """Work, and what became of it."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.clock = ManualClock()
        self.runner = Runner(tasks)
        self.faults: list[Exception] = []
        self.told: list[str] = []
        self.rests = 0
        self.gate = asyncio.Event()
        self.work = SocketTasks(self.runner, self)

    def fail(self, fault: Exception) -> None:
        self.faults.append(fault)

    def rested(self) -> None:
        self.rests += 1

    async def job(self, name: str, fault: Exception | None = None) -> None:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.told.append(f"{name} cancelled")
            raise
        if fault is not None:
            raise fault
        self.told.append(name)

    @property
    def running(self) -> int:
        return len(self.work._tasks)


async def test_what_is_started_runs_side_by_side_and_is_forgotten_at_its_end() -> None:
    async with asyncio.TaskGroup() as tasks:
        desk = Desk(tasks)
        for name in "abc":
            desk.work.start(desk.job(name))
        await desk.clock.settle()
        assert (desk.told, desk.running, desk.rests) == ([], 3, 0)
        desk.gate.set()
        await desk.clock.settle()
        assert (desk.told, desk.running, desk.faults) == (["a", "b", "c"], 0, [])
        assert desk.rests == 1


async def test_a_fault_is_told_and_ends_nothing_else() -> None:
    async with asyncio.TaskGroup() as tasks:
        desk = Desk(tasks)
        fault = RuntimeError("x")
        desk.work.start(desk.job("a", fault))
        desk.work.start(desk.job("b"))
        await desk.clock.settle()
        desk.gate.set()
        await desk.clock.settle()
        assert (desk.faults, desk.told, desk.running) == ([fault], ["b"], 0)


async def test_cancelling_ends_all_and_is_no_fault() -> None:
    async with asyncio.TaskGroup() as tasks:
        desk = Desk(tasks)
        for name in "ab":
            desk.work.start(desk.job(name))
        await desk.clock.settle()
        desk.work.cancel()
        await desk.clock.settle()
        assert (desk.told, desk.running, desk.faults) == (["a cancelled", "b cancelled"], 0, [])
        desk.work.cancel()


async def test_one_phones_work_is_not_cancelled_with_anothers() -> None:
    async with asyncio.TaskGroup() as tasks:
        mine, other = Desk(tasks), Desk(tasks)
        mine.work.start(mine.job("mine"))
        other.work.start(other.job("other"))
        await mine.clock.settle()
        mine.work.cancel()
        other.gate.set()
        await mine.clock.settle()
        assert (mine.told, other.told) == (["mine cancelled"], ["other"])


async def test_when_nothing_runs_any_more_work_is_closed() -> None:
    async with asyncio.TaskGroup() as tasks:
        desk = Desk(tasks)
        desk.runner.has_ended = True
        job = desk.job("a")
        desk.work.start(job)
        assert inspect.getcoroutinestate(job) == inspect.CORO_CLOSED
        assert (desk.running, desk.told) == (0, [])


async def test_work_that_is_cancelled_before_it_began_is_closed() -> None:
    async with asyncio.TaskGroup() as tasks:
        desk = Desk(tasks)
        job = desk.job("a")
        desk.work.start(job)
        desk.work.cancel()
        await desk.clock.settle()
        assert inspect.getcoroutinestate(job) == inspect.CORO_CLOSED
        assert (desk.running, desk.told, desk.faults) == (0, [], [])
