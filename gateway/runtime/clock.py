"""System clock: reads monotonic and wall time, and waits.

The one place where the gateway reads it, and waits for it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from functools import partial

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine is suspended, where the system has such a clock: then leases have run out."""


class SystemClock:
    """The Clock port on the machine's own clocks."""

    __slots__ = ()

    now = staticmethod(partial(time.clock_gettime, _STEADY))
    """Return monotonic seconds. Never goes back. No function of Python, for each update calls it."""

    def wall_ms(self) -> int:
        """Return ms since 1970 UTC. May jump."""
        return time.time_ns() // 1_000_000  # noqa: TID251 - this is the clock adapter

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of :meth:`now` have passed."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block: :class:`TimeoutError` when *seconds* passed inside it."""
        return asyncio.timeout(seconds)
