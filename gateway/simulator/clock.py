"""Clock of the contact centre: real, scaled or manual.

Two times: the centre's (``now_ms``), which may run fast or by hand, and the transport's
(``transport_s``, ``sleep``), in which silence, intervals and freezes of links are measured.
With a scaled clock only the centre's runs fast: a gateway lives in real seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """The simulator's only source of time."""

    def now_ms(self) -> int:
        """Return ms since 1970 UTC in the centre. Never goes back."""
        ...

    def transport_s(self) -> float:
        """Return monotonic seconds of the transport."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of the transport's time."""
        ...


class RealClock:
    """The centre lives as fast as we do, or *scale* times as fast."""

    def __init__(self, scale: float = 1.0) -> None:
        if scale <= 0:
            raise ValueError("a clock needs a scale above 0")
        self._scale = scale
        self._start_ms = time.time() * 1000  # noqa: TID251 - the simulator's own clock adapter
        self._start_s = self.transport_s()

    def now_ms(self) -> int:
        """Return the scaled wall clock."""
        return int(self._start_ms + (self.transport_s() - self._start_s) * 1000 * self._scale)

    def transport_s(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()  # noqa: TID251 - the simulator's own clock adapter

    async def sleep(self, seconds: float) -> None:
        """Wait in real seconds."""
        await asyncio.sleep(seconds)


class ManualClock:
    """Time passes only by :meth:`advance`. Both times are one.

    Invariant: watchers have seen every slice of time before :meth:`advance` returns.
    """

    SLICE_MS = 250

    def __init__(self, start_ms: int = 1_760_000_000_000) -> None:
        self._now_ms = start_ms
        self._watchers: list[Callable[[], None]] = []
        self._moved = asyncio.Condition()

    def now_ms(self) -> int:
        """Return the present instant."""
        return self._now_ms

    def transport_s(self) -> float:
        """Return the same in seconds."""
        return self._now_ms / 1000

    async def sleep(self, seconds: float) -> None:
        """Return once a test advanced the clock by *seconds*."""
        due_ms = self._now_ms + seconds * 1000
        async with self._moved:
            await self._moved.wait_for(lambda: self._now_ms >= due_ms)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call *watcher* after each slice of advanced time."""
        self._watchers.append(watcher)

    async def advance(self, seconds: float) -> None:
        """Let *seconds* pass in slices of at most 250 ms, so that nothing due is skipped over."""
        left_ms = round(seconds * 1000)
        while left_ms > 0:
            step_ms = min(left_ms, self.SLICE_MS)
            left_ms -= step_ms
            self.step(step_ms)
            async with self._moved:
                self._moved.notify_all()

    def step(self, step_ms: int) -> None:
        """Let one slice pass and call the watchers; sleepers sleep on until the next :meth:`advance`."""
        self._now_ms += step_ms
        for watcher in self._watchers:
            watcher()
