"""First responses, returned for repeated requests."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from gateway.simulator.model import Json

REMEMBERED_MS = 600_000
REMEMBERED_MOST = 50_000
"""First responses kept for repeated ``RequestKey``s; the oldest goes first."""


@dataclass(slots=True)
class FirstResponses:
    """Responses by session and ``RequestKey``, for ten minutes."""

    _kept: OrderedDict[tuple[str, str], tuple[int, Json]] = field(default_factory=OrderedDict)

    def get(self, at: tuple[str, str], now_ms: int) -> Json | None:
        """Return what was answered first, if it is not too long ago."""
        while self._kept and now_ms - next(iter(self._kept.values()))[0] >= REMEMBERED_MS:
            self._kept.popitem(last=False)
        found = self._kept.get(at)
        return None if found is None else found[1]

    def put(self, at: tuple[str, str], now_ms: int, response: Json) -> None:
        """Keep the first response."""
        self._kept[at] = (now_ms, response)
        if len(self._kept) > REMEMBERED_MOST:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Restart: nothing was ever answered."""
        self._kept.clear()
