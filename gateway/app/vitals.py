"""How does the process fare: does the loop turn, how much memory, how many files and tasks?"""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path
from typing import Final

from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry

TURN_S: Final = 0.5
"""How often the loop is asked to turn; what it takes longer is its lag."""
STUCK_S: Final = 10.0

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = Path("/proc/self/statm")
_FDS: Final = "/proc/self/fd"


class Vitals:
    """Watches the loop that :meth:`run` runs on.

    Invariant: :meth:`live` finds fault exactly when the loop has not turned for :data:`STUCK_S`. It may be
    asked from any thread.
    """

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._turned_at = clock.now()

    async def run(self) -> None:
        """Measure the loop's lag until cancelled."""
        while True:
            await self._clock.sleep(TURN_S)
            now = self._clock.now()
            self._telemetry.loop_lag_seconds.observe(max(0.0, now - self._turned_at - TURN_S))
            self._turned_at = now

    def live(self) -> str | None:
        """Return what is wrong with the loop, if anything is."""
        silent_s = self._clock.now() - self._turned_at
        return None if silent_s < STUCK_S else "the event loop is stuck"

    def sample(self) -> None:
        """Measure what is only read when asked for."""
        telemetry = self._telemetry
        telemetry.tasks.set(len(asyncio.all_tasks()))
        telemetry.rss_bytes.set(int(_STATM.read_text("ascii").split()[1]) * _PAGE_BYTES)
        with os.scandir(_FDS) as found:
            telemetry.fds["open"].set(sum(1 for _ in found))
        telemetry.fds["limit"].set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
