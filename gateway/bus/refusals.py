"""What the server of a bus refuses now: to let this node in, or to take what it writes."""

from __future__ import annotations

import math
from typing import Final

from gateway.runtime.ports import ENTRY_REFUSALS, WRITE_REFUSALS, Clock

LASTS_S: Final = 6.0
"""For how long a refusal counts at least: each is met again sooner, by the next connection or trial."""


class Refusals:
    """The first words of refusals that are in force, as ``OOM``.

    Invariant: a word is in force for *lasts_s* after it was said, and beyond that until the server
    takes a write again or is not there at all. Bounded: other words than those that are known are ignored.

    Args:
        clock: The only time.
        lasts_s: For how long a refusal counts at least.
    """

    def __init__(self, clock: Clock, lasts_s: float = LASTS_S) -> None:
        self._clock = clock
        self._lasts_s = lasts_s
        self._said_at: dict[str, float] = {}
        self._over_at = -math.inf

    def refused(self, word: str) -> None:
        """Note that the server refused something with *word*."""
        if word in ENTRY_REFUSALS or word in WRITE_REFUSALS:
            self._said_at[word] = self._clock.now()

    def over(self) -> None:
        """Note that the server took a write, or that nobody is there to refuse anything."""
        self._over_at = self._clock.now()

    @property
    def present(self) -> frozenset[str]:
        """The words that are in force."""
        since = min(self._over_at, self._clock.now() - self._lasts_s)
        return frozenset(word for word, at in self._said_at.items() if at > since)
