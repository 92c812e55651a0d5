"""The clock of an OSCC-E Server, from the times that it sends on a link.

It is watched for being set back: then later events may look older than earlier ones.
"""

from __future__ import annotations

from typing import Final

from gateway.domain.resources import STEADY_MS
from gateway.upstream.oscce.errors import WireError

_DRIFT: Final = 1e-3
"""How much slower than ours a clock may be without being set: more than NTP slews it (RFC 5905: 500 ppm)."""


class SetBackError(WireError):
    """The server's clock was set back by more than the jitter of instants."""


class ServerClock:
    """The server's clock, from the times on one link.

    Invariant: neither slow answers nor slightly slower clocks look like a step back. An answer is given after
    its request was sent, and no transit time is negative. All instants but the server's are monotonic
    seconds.
    """

    __slots__ = ("_at", "_least_ms")

    def __init__(self) -> None:
        self._least_ms: float | None = None
        """The smallest difference (receipt - Time)."""
        self._at = 0.0
        """When the last time was received."""

    def update(self, time_ms: int, now: float) -> None:
        """Process the server's time, received at *now*."""
        seen_ms = now * 1000 - time_ms
        self._least_ms = seen_ms if self._least_ms is None else min(self._least(now), seen_ms)
        self._at = now

    def answered(self, time_ms: int, asked_at: float, now: float) -> None:
        """Process the server's time, requested at *asked_at* and received at *now*.

        Raises:
            SetBackError: It is earlier than it can be.
        """
        if self._least_ms is not None and time_ms < asked_at * 1000 - self._least(now) - STEADY_MS:
            raise SetBackError("the server's clock was set back")
        self.update(time_ms, now)

    def _least(self, now: float) -> float:
        return (self._least_ms or 0.0) + (now - self._at) * 1000 * _DRIFT
