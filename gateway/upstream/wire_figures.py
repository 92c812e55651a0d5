"""Which figures of a server can be true, and can be told to phones?

What cannot be is unknown: None.
"""

from __future__ import annotations

from gateway.upstream.wire_names import MOST


def bound(told: float | None) -> float | None:
    """Return a bound of a parameter's values; an integer that no frame can carry bounds nothing."""
    return None if isinstance(told, int) and abs(told) > MOST else told
