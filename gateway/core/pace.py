"""How often may state leave for one phone?"""

from __future__ import annotations

import math
from typing import Final

LADDER_S: Final = (0.05, 0.25, 1.0, 5.0)
_GOOD_FLUSHES_DOWN: Final = 3
_NEVER: Final = -math.inf


class Pace:
    """At most one state frame in an interval that grows while the phone is slow.

    The first change after a quiet interval leaves at once. A flush that finds the socket not
    drained climbs the ladder; three good ones in a row descend. Never faster than the phone asked.

    Args:
        every_s: What the phone asked for.
        least_s: The lowest rung.
    """

    __slots__ = ("_least_s", "_to_go", "every_s", "sent_at")

    def __init__(self, every_s: float = 0.0, least_s: float = LADDER_S[0]) -> None:
        self.every_s = every_s
        self.sent_at = _NEVER
        self._least_s = least_s
        self._to_go = 0
        """How many good flushes lead down to the lowest rung."""

    @property
    def level(self) -> int:
        """The rung of the ladder, 0 for a phone that keeps up."""
        return -(-self._to_go // _GOOD_FLUSHES_DOWN)

    @property
    def interval_s(self) -> float:
        """The least time between two state frames now."""
        return max(self.every_s, LADDER_S[self.level] if self._to_go else self._least_s)

    def due_at(self, now: float) -> float:
        """Return when state may leave: *now*, or later."""
        return max(now, self.sent_at + self.interval_s)

    def sent(self, now: float) -> None:
        """Note that state leaves."""
        self.sent_at = now

    def flushed(self, *, drained: bool) -> None:
        """Note how a flush found the socket: *drained* of what was written before it, or not."""
        if drained:
            self._to_go = max(self._to_go - 1, 0)
        else:
            self._to_go = min(self.level + 1, len(LADDER_S) - 1) * _GOOD_FLUSHES_DOWN
