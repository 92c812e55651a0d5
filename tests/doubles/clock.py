"""A manual clock: time passes in a fixed order, and only when a test advances it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import selectors
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from gateway.runtime.ports import Clock

STEP_S: Final = 2.0**-20
"""Spans are rounded up to whole steps, about 1 µs: then sums and differences of instants are exact."""
QUIET_TURNS: Final = 4
"""Idle turns of a loop with sockets after which it counts as settled: each polls the sockets."""
MOST_TURNS: Final = 20_000
"""Turns after which a task counts as endlessly busy."""


@dataclass(order=True, slots=True)
class _Wait:
    due: float
    order: int
    wake: Callable[[], object] = field(compare=False)
    over: bool = field(default=False, compare=False)


class ManualClock:
    """The Clock port under a test's control: time stands still until :meth:`advance`.

    Invariant: waiting tasks wake in the order of their instants, then in the order of their calls. All
    consequences of a wake-up have happened before the next one.

    Args:
        now: First value of :meth:`now`, whole seconds.
        wall_ms: First value of :meth:`wall_ms`.
    """

    def __init__(self, *, now: int = 1_000, wall_ms: int = 1_700_000_000_000) -> None:
        self._now = float(now)
        self._wall_at_zero_ms = wall_ms - now * 1_000
        self._order = itertools.count()
        self._waits: list[_Wait] = []

    def now(self) -> float:
        return self._now

    def wall_ms(self) -> int:
        return round(self._wall_at_zero_ms + self._now * 1_000)

    def jump_wall(self, by_ms: int) -> None:
        """Jump the wall clock, as an operator or NTP does; waiting tasks are not affected."""
        self._wall_at_zero_ms += by_ms

    @property
    def waiting(self) -> int:
        """Number of sleeps and timeouts under way."""
        return sum(not wait.over for wait in self._waits)

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* were advanced; 0 yields to other tasks once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        with self.waiting_for(seconds, woken.set):
            await woken.wait()

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block: :class:`TimeoutError` once *seconds* were advanced inside it."""
        return _Timeout(self, seconds)

    def call_later(self, seconds: float, act: Callable[[], None]) -> Callable[[], None]:
        """Call *act* once *seconds* were advanced, unless the returned function is called."""
        wait = self._begin(seconds, act)

        def cancel() -> None:
            wait.over = True

        return cancel

    def stand_still(self, seconds: float) -> None:
        """Advance *seconds* in which no task runs, as after SIGSTOP; due work is late then."""
        self._now = self._after(seconds)

    async def advance(self, seconds: float) -> None:
        """Advance *seconds*: wake sleepers and timeouts in order; let the loop settle around each."""
        until = self._after(seconds)
        await self.settle()
        while self._waits and self._waits[0].due <= until:
            wait = heapq.heappop(self._waits)
            if not wait.over:
                self._now = max(self._now, wait.due)
                wait.wake()
                await self.settle()
        self._now = max(self._now, until)
        await self.settle()

    async def settle(self) -> None:
        """Return when every task waits for time or for the test.

        Raises:
            AssertionError: A task is endlessly busy.
        """
        loop = asyncio.get_running_loop()
        ready: object = getattr(loop, "_ready", None)
        quiet = 0
        for _ in range(MOST_TURNS):
            await asyncio.sleep(0)
            quiet = 0 if ready else quiet + 1
            if quiet == QUIET_TURNS or (quiet and not _has_sockets(loop)):
                return
        raise AssertionError("the loop never came to rest")

    @contextmanager
    def waiting_for(self, seconds: float, wake: Callable[[], object]) -> Iterator[None]:
        wait = self._begin(seconds, wake)
        try:
            yield
        finally:
            wait.over = True

    def _begin(self, seconds: float, wake: Callable[[], object]) -> _Wait:
        wait = _Wait(self._after(seconds), next(self._order), wake)
        heapq.heappush(self._waits, wait)
        return wait

    def _after(self, seconds: float) -> float:
        return self._now + math.ceil(seconds / STEP_S) * STEP_S


class _Timeout:
    """The bound of one block; not a generator, which would keep the block's frame since Python 3.12."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._bound = asyncio.timeout(None if seconds > 0 else 0)
        self._steps = ExitStack()

    async def __aenter__(self) -> None:
        loop, bound = asyncio.get_running_loop(), self._bound
        await bound.__aenter__()
        if self._seconds > 0:
            wait = self._clock.waiting_for(self._seconds, lambda: bound.reschedule(loop.time()))
            self._steps.enter_context(wait)

    async def __aexit__(
        self, of: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._steps.close()
        await self._bound.__aexit__(of, error, trace)


def _has_sockets(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether *loop* polls a socket beside its own pipe; True when that is unknown."""
    selector: selectors.BaseSelector | None = getattr(loop, "_selector", None)
    return selector is None or len(selector.get_map()) > 1


class CentreClock:
    """The clock of a simulated contact centre that lives in the gateway's time.

    Args:
        clock: The gateway's.
        turn_s: The shortest sleep: a few turns a second are enough for many tests.
    """

    def __init__(self, clock: Clock, turn_s: float = 0.0) -> None:
        self._clock, self._turn_s = clock, turn_s

    def now_ms(self) -> int:
        return self._clock.wall_ms()

    def transport_s(self) -> float:
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(max(seconds, self._turn_s))
