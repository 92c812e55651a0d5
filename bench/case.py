"""Benchmark case: one line of a scenario's table, and the contenders that run it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from bench.contenders import PACED, UNPACED, Gateway
from bench.stage import Stage
from bench.work import Figures, Work

Play = Callable[[Stage], Awaitable[Mapping[str, Figures]]]
DEFAULT_PACE = (Gateway(PACED),)
BOTH_PACES = (Gateway(UNPACED, 0.0), Gateway(PACED))
NO_PACE = (Gateway(UNPACED, 0.0),)


@dataclass(frozen=True, slots=True)
class Scale:
    """How large everything is.

    Attributes:
        phones_most: More connections this machine cannot have.
        is_quick: Whether a glance is wanted instead of figures.
        sealed_most: More encrypted connections its memory cannot hold.
    """

    phones_most: int
    is_quick: bool = False
    sealed_most: int = 1_000_000

    @property
    def duration_s(self) -> float:
        """How long is measured: what a delivered update costs is steady after that."""
        return 1.0 if self.is_quick else 4.0

    @property
    def glance_s(self) -> float:
        """How long is measured where a server is driven as hard as can be."""
        return 1.0 if self.is_quick else 2.0

    def phones(self, *counts: int) -> list[int]:
        """Return those of *counts* that are possible; the smallest one when a glance is wanted."""
        if self.is_quick:
            return [min(*counts, 1_000)]
        return sorted({min(count, self.phones_most) for count in counts})


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is asked, of the gateway and perhaps of everybody.

    Attributes:
        name: In words; unique within its scenario.
        work: What is asked.
        gateways: As what the gateway takes part.
        with_peers: Whether the others are asked for the same.
        play: Does what no :class:`Work` can say; the gateway takes part as it is. Returns what came of all
            cases of the sitting, by their names.
        sitting: Cases that follow each other with the same one share a server's life and its phones; without
            one, a case has a life of its own.
        runs: More than so many it does not need; None: no fewer than the others.
        seconds: How long *play* takes for one case, about.
    """

    name: str
    work: Work | None = None
    gateways: tuple[Gateway, ...] = DEFAULT_PACE
    with_peers: bool = False
    play: Play | None = None
    sitting: str = ""
    runs: int | None = None
    seconds: float = 0.0


def thousands(number: float) -> str:
    """Return a number as people read it."""
    return f"{number:,.0f}"
