"""How often may somebody do something that must stay rare, within a sliding window?"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from itertools import zip_longest
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Quota(Generic[KeyT]):
    """Lets each key do something *most* times in any *window_s*. Pure: ``now`` is monotonic seconds.

    What is under way counts until it is given back because it came to nothing.

    Bounded: beyond *keys_max* the key that took least recently is forgotten, and with it what it took.
    """

    def __init__(self, *, most: int, window_s: float, keys_max: int = 10_000) -> None:
        self._most = most
        self._window_s = window_s
        self._keys_max = keys_max
        self._taken: OrderedDict[KeyT, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, key: KeyT, now: float) -> float:
        """Take one. Returns 0.0 when it was there, else in how many seconds the next one will be."""
        taken = [at for at in self._taken.get(key, ()) if at > now - self._window_s]
        if len(taken) >= self._most:
            return taken[0] + self._window_s - now
        self._keep(key, [*taken, now])
        return 0.0

    def taken(self, key: KeyT, now: float) -> tuple[float, ...]:
        """Return when *key* took what still counts, the oldest first."""
        return tuple(at for at in self._taken.get(key, ()) if at > now - self._window_s)

    def adopt(self, key: KeyT, told: Iterable[float], now: float) -> None:
        """Let count what *key* took elsewhere, too; *told*: when, as :meth:`taken` says it there.

        Some of it may have been taken here, and be told a little later than it was. So the newest of both
        are one, then the next: what counts is no less than either says, and nothing counts twice.
        """
        here = sorted(self.taken(key, now), reverse=True)
        there = sorted((at for at in told if at > now - self._window_s), reverse=True)
        both = [max(pair) for pair in zip_longest(here, there, fillvalue=-math.inf)]
        if both:
            self._keep(key, both[: self._most][::-1])

    def give_back(self, key: KeyT, at: float) -> None:
        """Give back what was taken at *at*: it came to nothing."""
        taken = self._taken.get(key)
        if taken is not None and at in taken:
            taken.remove(at)
            if not taken:
                del self._taken[key]

    def _keep(self, key: KeyT, taken: list[float]) -> None:
        self._taken[key] = taken
        self._taken.move_to_end(key)
        while len(self._taken) > self._keys_max:
            self._taken.popitem(last=False)
