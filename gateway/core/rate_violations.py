"""How much misbehaviour is taken from one phone?"""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import Final

from gateway.core.effects import SessionLimits

ANY_TIME: Final = -math.inf
_TELL_EVERY_S: Final = 1.0
_COUNTED_BYTES: Final = 1024
_ROUNDING_S: Final = 1e-6


class Ruling(enum.Enum):
    """What becomes of a frame that is not served."""

    DROP = enum.auto()
    DROP_AND_TELL = enum.auto()
    CLOSE = enum.auto()


def full_after(full_at: float, now: float, limits: SessionLimits, size_bytes: int = 0) -> float | None:
    """Return when a whole burst may come again after one more frame; None: that one is too many.

    It is all that is kept of the rate: a bucket's level and its time in one number. A frame counts once,
    and once more for each whole KiB, so never more than ``frames_burst + frames_per_s * t`` frames are
    served in any t seconds, and about as many KiB.

    Args:
        full_at: When that was before it; :data:`ANY_TIME` for who has sent nothing.
        now: When it came.
        limits: What a connection may take; the rate is above 0.
        size_bytes: The size of the frame. However large, it counts no more than a whole burst.
    """
    frames = min(1 + size_bytes // _COUNTED_BYTES, limits.frames_burst)
    after = max(full_at, now) + frames / limits.frames_per_s
    return after if after - now <= limits.frames_burst / limits.frames_per_s + _ROUNDING_S else None


class Record:
    """What one phone has done wrong; most have none.

    Frames over the rate are dropped and told of at most once a second; after ``dropped_max`` of
    them the connection is closed. The ``errors_per_s``-th bad frame within a second closes too.
    """

    __slots__ = ("_dropped", "_errors", "_told_at")

    def __init__(self) -> None:
        self._dropped = 0
        self._told_at = ANY_TIME
        self._errors: deque[float] = deque()

    def too_many(self, now: float, limits: SessionLimits) -> Ruling:
        """Count a frame over the rate."""
        self._dropped += 1
        if self._dropped > limits.dropped_max:
            return Ruling.CLOSE
        if now - self._told_at < _TELL_EVERY_S:
            return Ruling.DROP
        self._told_at = now
        return Ruling.DROP_AND_TELL

    def error(self, now: float, limits: SessionLimits) -> Ruling:
        """Count one bad frame."""
        self._errors.append(now)
        if len(self._errors) > limits.errors_per_s:
            self._errors.popleft()
        if len(self._errors) == limits.errors_per_s and now - self._errors[0] < 1.0:
            return Ruling.CLOSE
        return Ruling.DROP_AND_TELL
