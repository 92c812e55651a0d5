"""Server time: estimate the gateway's clock."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

SAMPLES: Final = 16
"""As many readings are compared: about seven minutes of pings, so that drift and jumps pass."""


class ServerTime:
    """Estimates the gateway's wall clock from the times in its frames.

    A frame takes a while to arrive, so each reading is late and the least late one is the best:
    the estimate is never ahead of the clock that it reads, and deadlines made from it stay
    within their bounds.
    """

    __slots__ = ("_offsets_ms",)

    def __init__(self) -> None:
        self._offsets_ms: deque[float] = deque(maxlen=SAMPLES)

    def reset(self) -> None:
        """Forget all readings: another node has another clock."""
        self._offsets_ms.clear()

    def heard(self, server_time_ms: int, now: float) -> None:
        """Note a reading that came at *now*, in monotonic seconds."""
        self._offsets_ms.append(server_time_ms - now * 1000)

    def at(self, now: float) -> int | None:
        """Return ms since 1970 UTC at the gateway; None before the first reading."""
        return math.floor(max(self._offsets_ms) + now * 1000) if self._offsets_ms else None
