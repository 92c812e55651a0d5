"""How much misbehaviour is taken from one phone?"""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import Final

from gateway.core.effects import SessionLimits

_TELL_EVERY_S: Final = 1.0
_ROUNDING_S: Final = 1e-6


class Ruling(enum.Enum):
    """What becomes of a frame."""

    SERVE = enum.auto()
    DROP = enum.auto()
    DROP_AND_TELL = enum.auto()
    CLOSE = enum.auto()


class _Record:
    """What a phone has done wrong; most have none."""

    __slots__ = ("dropped", "errors", "told_at")

    def __init__(self) -> None:
        self.dropped = 0
        self.told_at = -math.inf
        self.errors: deque[float] = deque()


class Discipline:
    """Counts frames and errors of one connection.

    Frames over the rate are dropped and told of at most once a second; after ``dropped_max`` of
    them the connection is closed. The ``errors_per_s``-th bad frame within a second closes too.

    Invariant: never more than ``frames_burst + frames_per_s * t`` frames are served in any t seconds.

    Args:
        limits: What it may take; the rate is above 0.
    """

    __slots__ = ("_full_at", "_limits", "_record")

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._full_at = -math.inf
        """When a whole burst may come again: a bucket's level and its time in one number."""
        self._record: _Record | None = None

    def frame(self, now: float) -> Ruling:
        """Judge one arriving frame by the rate."""
        limits = self._limits
        full_at = max(self._full_at, now) + 1 / limits.frames_per_s
        if full_at - now <= limits.frames_burst / limits.frames_per_s + _ROUNDING_S:
            self._full_at = full_at
            return Ruling.SERVE
        record = self._kept()
        record.dropped += 1
        if record.dropped > limits.dropped_max:
            return Ruling.CLOSE
        if now - record.told_at < _TELL_EVERY_S:
            return Ruling.DROP
        record.told_at = now
        return Ruling.DROP_AND_TELL

    def error(self, now: float) -> Ruling:
        """Count one bad frame."""
        errors, most = self._kept().errors, self._limits.errors_per_s
        errors.append(now)
        if len(errors) > most:
            errors.popleft()
        if len(errors) == most and now - errors[0] < 1.0:
            return Ruling.CLOSE
        return Ruling.DROP_AND_TELL

    def _kept(self) -> _Record:
        if self._record is None:
            self._record = _Record()
        return self._record
