"""What runs for one phone beside its turns?"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Protocol


class Runner(Protocol):
    """Who runs work."""

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        """Run *work*, which does not raise; None when nothing runs any more."""
        ...


class Owner(Protocol):
    """For whom it runs."""

    def fail(self, fault: Exception) -> None:
        """Take in that work did not come to its end."""
        ...

    def rested(self) -> None:
        """Take in that nothing runs any more."""
        ...


class Work:
    """What runs for one phone: attaching, and commands.

    Args:
        runner: Who runs it.
        owner: Told of a fault; one phone's fault ends one phone.
    """

    __slots__ = ("_owner", "_runner", "_tasks")

    def __init__(self, runner: Runner, owner: Owner) -> None:
        self._runner = runner
        self._owner = owner
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run *work* until its end, or until :meth:`cancel`."""
        task = self._runner.start(guarded(work, self._owner))
        if task is None:
            work.close()
            return
        self._tasks = (*self._tasks, task)
        task.add_done_callback(self._done)
        task.add_done_callback(lambda _: work.close())  # cancelled before its first step it never began

    def cancel(self) -> None:
        """End all that runs."""
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks = tuple(each for each in self._tasks if each is not task)
        if not self._tasks:
            self._owner.rested()


async def guarded(work: Coroutine[None, None, None], owner: Owner) -> None:
    """Run *work*; a fault ends its owner, and nobody else."""
    try:
        await work
    except Exception as fault:  # noqa: BLE001 - the last line before everybody's task group
        owner.fail(fault)
