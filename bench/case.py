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
    """Size of a benchmark.

    Attributes:
        phones_most: The most connections that this machine can open.
        is_quick: Whether to run few phones for a short time, for a first impression instead of figures.
        sealed_most: The most encrypted connections that its memory can hold.
    """

    phones_most: int
    is_quick: bool = False
    sealed_most: int = 1_000_000

    @property
    def duration_s(self) -> float:
        """Seconds of measurement, enough for a steady cost per delivered update."""
        return 1.0 if self.is_quick else 4.0

    @property
    def glance_s(self) -> float:
        """Seconds of a short measurement, for cases that need no longer one."""
        return 1.0 if self.is_quick else 2.0

    def phones(self, *counts: int) -> list[int]:
        """Return *counts*, capped at what is possible; one small count in a quick run."""
        if self.is_quick:
            return [min(*counts, 1_000)]
        return sorted({min(count, self.phones_most) for count in counts})


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement of the gateway and, with *with_peers*, of its peers.

    Attributes:
        name: Its name in words, unique within its scenario.
        work: The load to run; None where *play* runs the case.
        gateways: The configurations of the gateway that take part.
        with_peers: Whether the peers run the same work.
        play: Runs what no :class:`Work` describes, with the gateway alone; returns the figures of all cases
            of the group, by case name.
        group: Adjacent cases with the same name here share one server process and its phones; an empty
            name means a server process for this case alone.
        runs: The most runs that this case needs; None: as many as all others.
        seconds: About how long *play* takes for one case.
    """

    name: str
    work: Work | None = None
    gateways: tuple[Gateway, ...] = DEFAULT_PACE
    with_peers: bool = False
    play: Play | None = None
    group: str = ""
    runs: int | None = None
    seconds: float = 0.0


def thousands(number: float) -> str:
    """Return *number* without decimals, with commas between thousands."""
    return f"{number:,.0f}"
