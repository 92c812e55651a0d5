"""Where did we want to stand, and do we?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.contenders import PACED, UNPACED
from bench.results import Results
from bench.scenarios import commands, crowd, storm
from bench.scenarios import stalled as stalls

Measure = Callable[[Results], float | None]
CENTRIFUGE, FLOOR = "centrifuge", "floor"
_FAN_1K, _FAN_10K = "1,000 phones, 50,000/s", "10,000 phones, 50,000/s"
_CLOSED_1K, _CLOSED_10K = "1,000 phones, 16 under way", "10,000 phones, 16 under way"
_AFRESH, _RESUMED = f"10,000 phones, {storm.AFRESH}", f"10,000 phones, {storm.RESUMED}"
_SITE, _FOLLOWED = "300 supervisors", "100 users, 5,000"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and its bound.

    Attributes:
        what: The figure, in words.
        bound: What it may be at most, or shall be at least.
        unit: Of both.
        measure: Finds it; None when it was not measured.
        at_least: Whether more is better.
    """

    what: str
    bound: float
    unit: str
    measure: Measure
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether *value* reaches the goal."""
        return value >= self.bound if self.at_least else value <= self.bound


def _of(scenario: str, case: str, name: str, contender: str = UNPACED) -> Measure:
    return lambda results: results.figure(scenario, case, contender, name)


def _ratio(case: str, other: str) -> Measure:
    def measure(results: Results) -> float | None:
        ours = results.figure("fan-out", case, UNPACED, "cpu_us")
        theirs = results.figure("fan-out", case, other, "cpu_us")
        return ours / theirs if ours is not None and theirs else None

    return measure


def further_link_us(results: Results) -> float | None:
    """Return what one further element through one further link costs: see the scenario *crowd*."""
    found: list[tuple[float, float]] = []
    for case in results.cases("crowd"):
        if crowd.SMALL in case or crowd.LARGE in case:
            us = results.figure("crowd", case, PACED, "cpu_us")
            rate = results.figure("crowd", case, PACED, "delivered_per_s")
            if us is not None and rate is not None:
                found.append((rate, us * rate))
    if len(found) != 2:
        return None
    (few, little), (many, much) = sorted(found)
    return (much - little) / (many - few)


def stalled_ratio(results: Results) -> float | None:
    """Return the others' p99 with stalled phones by that without."""
    found: dict[str, float | None] = {}
    for case in results.cases("stalled"):
        for name in (stalls.WITHOUT, stalls.WITH):
            if case.endswith(name):
                found[name] = results.figure("stalled", case, PACED, "p99_ms")
    quiet, loud = found.get(stalls.WITHOUT), found.get(stalls.WITH)
    return loud / quiet if quiet and loud is not None else None


def _stalled(name: str) -> Measure:
    def measure(results: Results) -> float | None:
        cases = [case for case in results.cases("stalled") if case.endswith(stalls.WITH)]
        return results.figure("stalled", cases[0], PACED, name) if cases else None

    return measure


GOALS = (
    Goal("CPU per delivered update at 50,000/s, 1,000 phones", 4.8, "µs", _of("fan-out", _FAN_1K, "cpu_us")),
    Goal(
        "CPU per delivered update at 50,000/s, 10,000 phones", 6.0, "µs", _of("fan-out", _FAN_10K, "cpu_us")
    ),
    Goal("the same by Centrifuge's, 1,000 phones", 0.45, "×", _ratio(_FAN_1K, CENTRIFUGE)),
    Goal("the same by Centrifuge's, 10,000 phones", 0.45, "×", _ratio(_FAN_10K, CENTRIFUGE)),
    Goal("the same by the C floor's, 1,000 phones", 1.45, "×", _ratio(_FAN_1K, FLOOR)),
    Goal("the same by the C floor's, 10,000 phones", 1.45, "×", _ratio(_FAN_10K, FLOOR)),
    Goal(
        "16 updates under way, 1,000 phones",
        2_600_000,
        "/s",
        _of("fan-out", _CLOSED_1K, "delivered_per_s"),
        at_least=True,
    ),
    Goal(
        "16 updates under way, 10,000 phones",
        2_600_000,
        "/s",
        _of("fan-out", _CLOSED_10K, "delivered_per_s"),
        at_least=True,
    ),
    Goal("memory per idle phone, 10,000 phones", 3.0, "KB", _of("idle", "10,000 phones", "phone_kb", PACED)),
    Goal("memory per idle phone, 19,500 phones", 3.0, "KB", _of("idle", "19,500 phones", "phone_kb", PACED)),
    Goal(
        "p99 from event to frame, 1,000 phones at 100,000/s",
        5.0,
        "ms",
        _of("fan-out", "1,000 phones, 100,000/s", "p99_ms"),
    ),
    Goal(
        "the same, 1,000 small users at 50,000/s",
        5.0,
        "ms",
        _of("private", "1,000 users of 10 phones, 50,000/s", "p99_ms"),
    ),
    Goal("an element through a further link", 0.8, "µs", further_link_us),
    Goal("largest site: p99", 250.0, "ms", _of("site", _SITE, "p99_ms", PACED)),
    Goal("largest site: of one core", 100.0, "%", _of("site", _SITE, "cpu_share_pct", PACED)),
    Goal("largest site: delivered", 99.0, "%", _of("site", _SITE, "share_pct", PACED), at_least=True),
    Goal("largest site: memory", 400.0, "MB", _of("site", _SITE, "rss_end_mb", PACED)),
    Goal("10,000 phones come back afresh", 10.0, "s", _of("storm", _AFRESH, "all_ready_s", PACED)),
    Goal("10,000 phones resume", 10.0, "s", _of("storm", _RESUMED, "all_ready_s", PACED)),
    Goal("resets among those that resume", 0.0, "", _of("storm", _RESUMED, "resets", PACED)),
    Goal("a stalled phone: process", 16.0, "KB", _stalled("stalled_user_kb")),
    Goal("a stalled phone: kernel", 64.0, "KB", _stalled("stalled_kernel_kb")),
    Goal("the others' p99 with stalled phones by that without", 1.25, "×", stalled_ratio),
    Goal("command and result at 1,000/s: p99", 20.0, "ms", _of("commands", commands.PACED, "p99_ms", PACED)),
    Goal("second node: added to p99", 3.0, "ms", _of("cluster", _FOLLOWED, "p99_added_ms", PACED)),
    Goal(
        "second node: CPU per change followed and delivered",
        15.0,
        "µs",
        _of("cluster", _FOLLOWED, "cpu_us", PACED),
    ),
)
"""In the order of the design's table."""
