"""Bounds of the server's figures: an impossible one is unknown.

None stands for unknown.
"""

from __future__ import annotations

from gateway.upstream.wire_names import MOST


def bound(told: int | float | None) -> int | float | None:
    """Return a bound of a parameter's values; an integer that no frame can carry bounds nothing."""
    return None if isinstance(told, int) and abs(told) > MOST else told


def count(told: int | None) -> int | None:
    """Return how many there are: never fewer than none."""
    return None if told is None or told < 0 else told


def duration(told: float | None) -> float | None:
    """Return how many seconds something takes: never fewer than none."""
    return None if told is None or told < 0 else told + 0.0  # of -0.0 this makes 0.0


def percentage(told: float | None) -> float | None:
    """Return a share of a hundred."""
    return told + 0.0 if told is not None and 0 <= told <= 100 else None


def since(time_ms: int, seconds: float | None) -> int | None:
    """Return the instant *seconds* before *time_ms*, in the server's clock; none after it."""
    return None if seconds is None or seconds < 0 else time_ms - round(seconds * 1000)
