"""Server clock: detect that it was set back while a link is open.

Elements are ordered by the server's time, on each link for itself. After a step back all that is told is
older than what is held, and would be ignored until the clock has caught up; a new link starts afresh.
"""

from __future__ import annotations

from typing import Final

from gateway.domain.steady import STEADY_MS
from gateway.upstream.wire_errors import WireError

_DRIFT: Final = 1e-3
"""How much slower than ours a clock may go that nobody set: more than NTP slews it (RFC 5905: 500 ppm)."""


class SetBackError(WireError):
    """The server's clock was set back by more than instants jitter."""


class ServerClock:
    """The server's clock as one link tells it.

    Invariant: neither slow answers nor clocks that go a little slower look like a step back: an
    answer is given after its question was asked, and no time is on its way for less than none.
    All instants but the server's are monotonic seconds.
    """

    __slots__ = ("_at", "_least_ms")

    def __init__(self) -> None:
        self._least_ms: float | None = None
        """The smallest (receipt - Time)."""
        self._at = 0.0
        """When the last time was told."""

    def told(self, time_ms: int, now: float) -> None:
        """Take in the server's time, received at *now*."""
        seen_ms = now * 1000 - time_ms
        self._least_ms = seen_ms if self._least_ms is None else min(self._least(now), seen_ms)
        self._at = now

    def answered(self, time_ms: int, asked_at: float, now: float) -> None:
        """Take in the server's time, asked for at *asked_at* and received at *now*.

        Raises:
            SetBackError: It is earlier than it can be.
        """
        if self._least_ms is not None and time_ms < asked_at * 1000 - self._least(now) - STEADY_MS:
            raise SetBackError("the server's clock was set back")
        self.told(time_ms, now)

    def _least(self, now: float) -> float:
        return (self._least_ms or 0.0) + (now - self._at) * 1000 * _DRIFT
