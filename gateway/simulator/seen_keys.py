"""Request keys: whether a request was repeated, or executed twice.

For tests.

Counted beside what the server itself remembers of first responses, and across its restarts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from gateway.simulator.fields import Body

KEPT = 200_000
"""Keys that are remembered; the oldest goes first."""


@dataclass(slots=True)
class SeenKeys:
    """Counts by user and ``RequestKey``; a request without one is not counted."""

    keys: int = 0
    """Different ones."""
    again: int = 0
    """How often one came that had come before."""
    twice: int = 0
    """How often one was executed that had been executed before."""
    _executed: OrderedDict[tuple[int, object], bool] = field(default_factory=OrderedDict)

    def came(self, user_key: int, body: Body) -> None:
        """A request was read."""
        if (key := body.get("RequestKey")) is None:
            return
        if (user_key, key) in self._executed:
            self.again += 1
            return
        self.keys += 1
        self._executed[user_key, key] = False
        if len(self._executed) > KEPT:
            self._executed.popitem(last=False)

    def executed(self, user_key: int, body: Body) -> None:
        """It was executed: not refused, and not answered as it was the first time."""
        if (key := body.get("RequestKey")) is None:
            return
        self.twice += self._executed.get((user_key, key), False)
        self._executed[user_key, key] = True
