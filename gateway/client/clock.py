"""Clock of the client: the time functions that it needs, injectable."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - the SDK is used without the gateway's wiring; its jitter starts here
import time
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol


class Clock(Protocol):
    """Time, and the only way to wait for it."""

    def now(self) -> float:
        """Return monotonic seconds. Never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of :meth:`now` have passed."""
        ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block: :class:`TimeoutError` when *seconds* of :meth:`now` passed inside it."""
        ...


class MachineClock:
    """The machine's own clock."""

    __slots__ = ()

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()  # noqa: TID251 - the SDK's own clock adapter

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block."""
        return asyncio.timeout(seconds)


MACHINE_CLOCK: Final = MachineClock()


def jitter() -> float:
    """Return a random number in [0, 1)."""
    return random.random()  # noqa: S311 - spreads reconnecting clients; no secret
