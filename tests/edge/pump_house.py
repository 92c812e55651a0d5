"""Sockets that record their turns, on a manual clock, for tests of the scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.edge.scheduler import NEVER, TICK_S, Scheduler
from tests.doubles.clock import ManualClock

SLACK_S = 2e-6
"""What rounding may give away: the pump's, and the steps of the manual clock."""


class BusyClock(ManualClock):
    """A clock that goes on while somebody works."""

    def spend(self, seconds: float) -> None:
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
        self._house.scheduler.sockets.pop(self, None)


def is_in_time(turn: float, when: float, ticks: int = 1, *, late_s: float = 0.0) -> bool:
    """Tell whether *turn* is not early, and at most so many ticks late, and so long beyond."""
    return when - SLACK_S <= turn <= when + ticks * TICK_S + late_s + SLACK_S


class House:
    """A pump on manual time, and its sockets."""

    def __init__(self) -> None:
        self.clock = BusyClock()
        self.scheduler: Scheduler[Turner] = Scheduler(self.clock)
        self.order: list[str] = []

    def add(self, name: str = "a", does: Callable[[], object] | None = None) -> Turner:
        turner = Turner(self, name, does)
        self.scheduler.sockets[turner] = None
        return turner

    def ready(self, *turners: Turner) -> None:
        for turner in turners:
            self.scheduler.ready(turner)

    def at(self, turner: Turner, in_s: float) -> float:
        """Ask for a turn so many seconds from now; returns when that is."""
        when = self.clock.now() + in_s
        self.scheduler.at(turner, when)
        return when

    @property
    def on_the_wheel(self) -> int:
        assert sorted(self.scheduler._wheel) == sorted(self.scheduler._ticks)
        return sum(map(len, self.scheduler._wheel.values()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.scheduler.run())
            await self.clock.settle()
            yield task
            task.cancel()
