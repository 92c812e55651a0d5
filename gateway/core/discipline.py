"""How much misbehaviour is taken from one phone?"""

from __future__ import annotations

import enum
from collections import deque
from typing import Final

from gateway.core.throttle import TokenBucket

_TELL_EVERY_S: Final = 1.0


class Ruling(enum.Enum):
    """What becomes of a frame."""

    SERVE = enum.auto()
    DROP = enum.auto()
    DROP_AND_TELL = enum.auto()
    CLOSE = enum.auto()


class Discipline:
    """Counts frames and errors of one connection.

    Frames over the rate are dropped and told of at most once a second; after *dropped_max*
    of them the connection is closed. The *errors_per_s*-th bad frame within a second closes too.
    """

    __slots__ = ("_bucket", "_dropped", "_dropped_max", "_errors", "_errors_per_s", "_told_at")

    def __init__(self, *, per_s: float, burst: int, dropped_max: int, errors_per_s: int) -> None:
        self._bucket = TokenBucket(per_s, burst)
        self._dropped = 0
        self._dropped_max = dropped_max
        self._errors: deque[float] | None = None
        self._errors_per_s = errors_per_s
        self._told_at: float | None = None

    def frame(self, now: float) -> Ruling:
        """Judge one arriving frame by the rate."""
        if self._bucket.take(now):
            return Ruling.SERVE
        self._dropped += 1
        if self._dropped > self._dropped_max:
            return Ruling.CLOSE
        if self._told_at is not None and now - self._told_at < _TELL_EVERY_S:
            return Ruling.DROP
        self._told_at = now
        return Ruling.DROP_AND_TELL

    def error(self, now: float) -> Ruling:
        """Count one bad frame."""
        if self._errors is None:
            self._errors = deque(maxlen=self._errors_per_s)
        self._errors.append(now)
        if len(self._errors) == self._errors_per_s and now - self._errors[0] < 1.0:
            return Ruling.CLOSE
        return Ruling.DROP_AND_TELL
