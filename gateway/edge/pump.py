"""When does each socket of this node have its turn?

One task serves all of them: those for which something may be due, one after the other, and those
whose time has come. A connection costs no task and no timer of its own.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Coroutine
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

from gateway.runtime.faults import log_fault
from gateway.runtime.ports import Clock

TICK_S: Final = 0.005
"""Times are kept in ticks of the wheel, rounded up: nothing is early, a pace at most this and a turn late."""
NEAR_S: Final = 1.0
"""Beyond it a time is a deadline, within it a pace: each socket waits for one of each kind at most."""
FAR_TICKS: Final = 20
"""Deadlines are kept in so many ticks, a tenth of a second: then many sockets share one."""
SLICE_S: Final = 0.002
"""After so much work others have their turn: a message to ten thousand phones takes some 40 ms."""
NEVER: Final = 1 << 62
"""A tick that does not come."""
_WAIT_MIN_S: Final = 0.001
"""Event loops wake up to a millisecond early; waiting at least this long they do not spin."""
_ROUNDING: Final = 1e-6


class Served(Protocol):
    """Who has turns."""

    is_ready: bool
    near_tick: int
    far_tick: int

    def turn(self, now: float) -> None:
        """Do what is due at *now*; called in any case some time after :meth:`Pump.ready`. Never blocks."""
        ...

    def fail(self, fault: Exception) -> None:
        """Take in that its turn did not come to its end."""
        ...


class Socket(Served, Protocol):
    """A socket, as the pump sees it."""

    def abandon(self) -> None:
        """End at once: the process ends."""
        ...


_LOG: Final = logging.getLogger(__name__)

S = TypeVar("S", bound=Socket)


class Pump(Generic[S]):
    """Gives sockets their turns.

    Invariants: a socket that is ready has its turn before anything that is made ready later; who
    asks for a time has a turn within a tick after it, and what a turn of the loop takes.

    Args:
        clock: Its time.
    """

    def __init__(self, clock: Clock) -> None:
        self.sockets: Final[dict[S, None]] = {}
        """Those that are open now, whether or not they have said hello."""
        self.clock: Final = clock
        self._ready: list[Served] = []
        self._wheel: dict[int, dict[Served, None]] = {}
        self._ticks: list[int] = []
        self._wake = asyncio.Event()
        self._planned = NEVER
        self._tasks: asyncio.TaskGroup | None = None

    # ---- for sockets ----

    def ready(self, served: Served) -> None:
        """Give *served* a turn soon. Many calls before it are one."""
        if not served.is_ready:
            served.is_ready = True
            self._ready.append(served)
            self._wake.set()

    def at(self, served: Served, when: float) -> None:
        """Give *served* a turn at *when*; it may come to nothing, and to earlier ones."""
        tick = math.ceil(when / TICK_S - _ROUNDING)
        if when - self.clock.now() < NEAR_S:
            before, served.near_tick = served.near_tick, min(tick, served.near_tick)
        else:
            tick = -(-tick // FAR_TICKS) * FAR_TICKS
            before, served.far_tick = served.far_tick, min(tick, served.far_tick)
        if tick < before:
            self._move(served, before, tick)

    def _move(self, served: Served, before: int, tick: int) -> None:
        """Let *served* wait for *tick*, and no more for the one *before*."""
        if before not in {NEVER, served.near_tick, served.far_tick}:
            del self._wheel[before][served]
        waiting = self._wheel.get(tick)
        if waiting is not None:
            waiting[served] = None
            return
        self._wheel[tick] = {served: None}
        heapq.heappush(self._ticks, tick)
        if tick < self._planned:
            self._wake.set()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        """Run *work* for a socket, which must not raise. None, and nothing runs, when the pump has ended."""
        if self._tasks is not None:
            with suppress(RuntimeError):  # asyncio.TaskGroup.create_task: its life is ending
                return self._tasks.create_task(work)
        work.close()
        return None

    # ---- life ----

    async def run(self) -> None:
        """Give turns until cancelled; then all sockets end at once."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                while True:
                    await self._rest()
                    self._call(self.clock.now())
                    await self._serve()
        finally:
            self._tasks = None
            for socket in list(self.sockets):
                self._abandon(socket)

    def _abandon(self, socket: S) -> None:
        try:
            socket.abandon()
        except Exception as fault:  # noqa: BLE001 - the others are to end, too
            log_fault(_LOG, "socket_not_ended", fault)

    async def _rest(self) -> None:
        """Return when there is something to do, and others have had their turn."""
        await self.clock.sleep(0)
        self._wake.clear()
        if self._ready:
            return
        self._planned = self._ticks[0] if self._ticks else NEVER
        if self._planned == NEVER:
            await self._wake.wait()
        else:
            wait_s = self._planned * TICK_S - self.clock.now()
            if wait_s > 0:
                await self._wait(wait_s)
        self._planned = NEVER
        self._wake.clear()

    async def _wait(self, seconds: float) -> None:
        try:
            async with self.clock.timeout(max(seconds, _WAIT_MIN_S)):
                await self._wake.wait()
        except TimeoutError:
            return

    def _call(self, now: float) -> None:
        """Make ready whose time has come."""
        while self._ticks and self._ticks[0] * TICK_S <= now + _ROUNDING:
            tick = heapq.heappop(self._ticks)
            for served in self._wheel.pop(tick):
                if served.near_tick == tick:
                    served.near_tick = NEVER
                if served.far_tick == tick:
                    served.far_tick = NEVER
                self.ready(served)

    async def _serve(self) -> None:
        """Give all that are ready now their turn, in slices."""
        batch, self._ready = self._ready, []
        now = began = self.clock.now()
        for served in batch:
            served.is_ready = False
            try:
                served.turn(now)
            except Exception as fault:  # noqa: BLE001 - the last line: one socket's fault ends one socket
                served.fail(fault)
            now = self.clock.now()
            if now - began > SLICE_S:
                await self.clock.sleep(0)
                now = began = self.clock.now()
