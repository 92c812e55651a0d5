"""How often may state leave for one phone?"""

from __future__ import annotations

import math
from typing import Final

LADDER_S: Final = (0.05, 0.25, 1.0, 5.0)
_GOOD_FLUSHES_DOWN: Final = 3


class Pace:
    """At most one state frame in an interval that grows while the phone is slow.

    The first change after a quiet interval leaves at once. A flush that finds the socket not
    drained climbs the ladder; three good ones in a row descend. Never faster than the phone asked.

    Args:
        every_s: What the phone asked for.
        least_s: The lowest rung.
    """

    __slots__ = ("_good", "_least_s", "_level", "every_s", "sent_at")

    def __init__(self, every_s: float = 0.0, least_s: float = LADDER_S[0]) -> None:
        self.every_s = every_s
        self.sent_at = -math.inf
        self._least_s = least_s
        self._level = 0
        self._good = 0

    @property
    def level(self) -> int:
        """The rung of the ladder, 0 for a phone that keeps up."""
        return self._level

    @property
    def interval_s(self) -> float:
        """The least time between two state frames now."""
        return max(self.every_s, LADDER_S[self._level] if self._level else self._least_s)

    def due_at(self, now: float) -> float:
        """Return when state may leave: *now*, or later."""
        return max(now, self.sent_at + self.interval_s)

    def sent(self, now: float) -> None:
        """Note that state leaves."""
        self.sent_at = now

    def flushed(self, *, drained: bool) -> None:
        """Note how a flush found the socket: *drained* of what was written before it, or not."""
        if not drained:
            self._level = min(self._level + 1, len(LADDER_S) - 1)
            self._good = 0
            return
        self._good += 1
        if self._good >= _GOOD_FLUSHES_DOWN:
            self._level = max(self._level - 1, 0)
            self._good = 0
