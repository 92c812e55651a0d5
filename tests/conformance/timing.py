"""Time in a check, for the client under test and for the scripted gateway."""

from __future__ import annotations

import asyncio
from typing import Final

EPOCH_MS: Final = 1_767_225_600_000


class Failed(Exception):  # noqa: N818 - names what happened
    """A client does not do what a sentence of the page says; the text says what it does."""


class Time:
    """A check's clock: seconds that run *scale* times as fast as real ones.

    A client that offers the feature ``time_scale`` lives in the same time, so that a wait of half a minute
    takes a few seconds; for others *scale* is 1.

    Attributes:
        skew_s: How far the gateway's wall clock is ahead of the machine's; a check may turn it.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale: Final = scale
        self.skew_s = 0.0
        self._began = self.loop_now()

    @staticmethod
    def loop_now() -> float:
        """Return real monotonic seconds."""
        return asyncio.get_running_loop().time()

    def now(self) -> float:
        """Return seconds since the check began."""
        return (self.loop_now() - self._began) * self.scale

    def server_ms(self) -> int:
        """Return the gateway's wall clock."""
        return EPOCH_MS + int((self.now() + self.skew_s) * 1000)

    def real(self, seconds: float) -> float:
        """Return how many real seconds *seconds* of the check take."""
        return seconds / self.scale

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of the check."""
        await asyncio.sleep(self.real(seconds))


def expect(truth: object, otherwise: str) -> None:
    """Hold that something is as it should be.

    Raises:
        Failed: It is not; *otherwise* says what is the case instead.
    """
    if not truth:
        raise Failed(otherwise)
