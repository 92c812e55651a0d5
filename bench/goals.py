"""Goals of the benchmarks, and whether they are reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.contenders import PACED, UNPACED
from bench.peers import PEERS
from bench.results import Results
from bench.scenarios import commands, crowd, fan_out, growth, overload, storm
from bench.scenarios import stalled as stalls

Measure = Callable[[Results], float | None]
CENTRIFUGE, FLOOR, UWEBSOCKETS = "centrifuge", "floor", "uWebSockets"
_FAN_1K, _FAN_10K = "1,000 phones, 50,000/s", "10,000 phones, 50,000/s"
_CLOSED_1K, _CLOSED_10K = "1,000 phones, 16 under way", "10,000 phones, 16 under way"
_SMALL_USERS = "1,000 users of 10 phones, 50,000/s"
_AFRESH, _RESUMED = (storm.of_one_user(storm.PHONES, how) for how in (storm.AFRESH, storm.RESUMED))
_USERS_BACK = {how: storm.of_many_users(storm.USERS, how) for how in (storm.AFRESH, storm.RESUMED)}
_SITE, _FOLLOWED = "300 supervisors", "100 users, 5,000"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and its bound.

    Attributes:
        what: The figure, in words.
        bound: The most that it may be, or the least with *at_least*; None: the figure is only shown.
        unit: The unit of figure and bound.
        measure: Returns the figure; None when it was not measured.
        at_least: Whether more is better.
    """

    what: str
    bound: float | None
    unit: str
    measure: Measure
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Return whether *value* reaches the goal."""
        if self.bound is None:
            return True
        return value >= self.bound if self.at_least else value <= self.bound


def _of(scenario: str, case: str, name: str, contender: str = UNPACED) -> Measure:
    return lambda results: results.figure(scenario, case, contender, name)


def _ratio(of: Measure, by: Measure) -> Measure:
    def measure(results: Results) -> float | None:
        ours, theirs = of(results), by(results)
        return ours / theirs if ours is not None and theirs else None

    return measure


def _by(other: str, scenario: str, case: str, name: str, ours: str = UNPACED) -> Measure:
    """Return the ratio of the gateway's figure to another contender's."""
    return _ratio(_of(scenario, case, name, ours), _of(scenario, case, name, other))


def _by_best(case: str) -> Measure:
    """Return the ratio of the gateway's CPU time to the cheapest peer's, the C floor excluded."""

    def best(results: Results) -> float | None:
        all_ = (results.figure("fan-out", case, name, "cpu_us") for name in PEERS if name != FLOOR)
        return min((each for each in all_ if each is not None), default=None)

    return _ratio(_of("fan-out", case, "cpu_us"), best)


def _grown(unit: str, few: int, many: int) -> Measure:
    """Return the ratio of the CPU time per update with *many* to that with *few*."""
    first, last = (_of("growth", f"{count:,} {unit}", "cpu_us") for count in (few, many))
    return _ratio(last, first)


def further_link_us(results: Results) -> float | None:
    """Return the µs that an element costs through one further link: see the scenario *crowd*."""
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
    """Return the ratio of the readers' p99 with stalled phones to that without."""
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


def _delivered_of_capacity(times: int) -> Measure:
    """Return the delivery rate at *times* the capacity offered, in percent of the capacity."""
    ours = _of("overload", overload.offered(times), "delivered_per_s", PACED)
    most = _of("overload", overload.capacity(times), "delivered_per_s", PACED)
    ratio = _ratio(ours, most)

    def measure(results: Results) -> float | None:
        found = ratio(results)
        return None if found is None else 100 * found

    return measure


_FAN_OUT = tuple(
    goal
    for phones, rated, closed, us in (
        ("1,000", _FAN_1K, _CLOSED_1K, 4.8),
        ("10,000", _FAN_10K, _CLOSED_10K, 6.0),
    )
    for goal in (
        Goal(f"CPU per update at 50,000/s, {phones} phones", us, "µs", _of("fan-out", rated, "cpu_us")),
        Goal("… by Centrifuge's", 0.45, "×", _by(CENTRIFUGE, "fan-out", rated, "cpu_us")),
        Goal("… by the C floor's", 1.45, "×", _by(FLOOR, "fan-out", rated, "cpu_us")),
        Goal("… by that of the cheapest peer", 1.0, "×", _by_best(rated)),
        Goal(
            f"{fan_out.WINDOW} updates under way, {phones} phones",
            2_600_000,
            "/s",
            _of("fan-out", closed, "delivered_per_s"),
            at_least=True,
        ),
        Goal(
            "… by uWebSockets'",
            1.0,
            "×",
            _by(UWEBSOCKETS, "fan-out", closed, "delivered_per_s"),
            at_least=True,
        ),
        Goal(
            "… by Centrifuge's",
            10.0,
            "×",
            _by(CENTRIFUGE, "fan-out", closed, "delivered_per_s"),
            at_least=True,
        ),
        Goal(
            f"bytes on the wire per update at 50,000/s, {phones} phones",
            None,
            "bytes",
            _of("fan-out", rated, "wire_bytes"),
        ),
        Goal("… by the C floor's", None, "×", _by(FLOOR, "fan-out", rated, "wire_bytes")),
    )
)
_IDLE = (
    Goal("memory per idle phone, 10,000 phones", 3.0, "KB", _of("idle", "10,000 phones", "phone_kb", PACED)),
    Goal("… by Centrifuge's", 0.125, "×", _by(CENTRIFUGE, "idle", "10,000 phones", "phone_kb", PACED)),
    Goal("memory per idle phone, 19,500 phones", 3.0, "KB", _of("idle", "19,500 phones", "phone_kb", PACED)),
    Goal(
        "memory per idle phone over TLS, 10,000 phones",
        None,
        "KB",
        _of("idle", "10,000 phones, TLS", "phone_kb", PACED),
    ),
)
_DELAYS = (
    Goal(
        "p99 from event to frame, 1,000 phones at half of what can be delivered",
        5.0,
        "ms",
        _of("fan-out", f"1,000 phones, {fan_out.HALF}", "p99_ms"),
    ),
    Goal("the same at 50,000/s", 5.0, "ms", _of("fan-out", _FAN_1K, "p99_ms")),
    Goal("… by Centrifuge's", 0.2, "×", _by(CENTRIFUGE, "fan-out", _FAN_1K, "p99_ms")),
    Goal("the same, 1,000 small users at 50,000/s", 5.0, "ms", _of("private", _SMALL_USERS, "p99_ms")),
    Goal("… by Centrifuge's", 0.2, "×", _by(CENTRIFUGE, "private", _SMALL_USERS, "p99_ms")),
    Goal(
        "CPU per update, 1,000 small users, by Centrifuge's",
        None,
        "×",
        _by(CENTRIFUGE, "private", _SMALL_USERS, "cpu_us"),
    ),
    Goal(
        "p99 of the loop's lag, 1,000 phones at 50,000/s",
        None,
        "ms",
        _of("fan-out", _FAN_1K, "loop_lag_p99_ms"),
    ),
    Goal(
        "p99 of the loop's lag, 10,000 phones at 50,000/s",
        None,
        "ms",
        _of("fan-out", _FAN_10K, "loop_lag_p99_ms"),
    ),
    Goal("p99 of the loop's lag, largest site", None, "ms", _of("site", _SITE, "loop_lag_p99_ms", PACED)),
)
_REAL_SLOW, _REAL_FAST = (f"1,000 users of 1 phone, {rate}/s" for rate in ("2,000", "20,000"))
_REAL = (
    Goal("real shape, 2,000/s: CPU per update", 45.0, "µs", _of("private", _REAL_SLOW, "cpu_us", PACED)),
    Goal("… by the C floor's", 2.0, "×", _by(FLOOR, "private", _REAL_SLOW, "cpu_us", PACED)),
    Goal("real shape, 20,000/s: CPU per update", 35.0, "µs", _of("private", _REAL_FAST, "cpu_us", PACED)),
    Goal("… by the C floor's", 2.0, "×", _by(FLOOR, "private", _REAL_FAST, "cpu_us", PACED)),
    Goal("… delivered", 99.0, "%", _of("private", _REAL_FAST, "share_pct", PACED), at_least=True),
    Goal("… p99 without a pace", 20.0, "ms", _of("private", _REAL_FAST, "p99_ms")),
    Goal("memory per user with link and phone", 30.0, "KB", _of("private", _REAL_SLOW, "phone_kb", PACED)),
)
_OVERLOAD = tuple(
    goal
    for times, share in zip(overload.TIMES, (85.0, 80.0, 70.0), strict=True)
    for goal in (
        Goal(
            f"{times} × of its capacity offered: delivered of it",
            share,
            "%",
            _delivered_of_capacity(times),
            at_least=True,
        ),
        Goal("… age p99", 1_000.0, "ms", _of("overload", overload.offered(times), "p99_ms", PACED)),
        Goal(
            "… loop lag p99", 60.0, "ms", _of("overload", overload.offered(times), "loop_lag_p99_ms", PACED)
        ),
    )
)
_FLOOD = (
    Goal(
        "one link floods: p99 of all",
        10.0,
        "ms",
        _of("overload", "one link floods, 100,000/s", "p99_ms", PACED),
    ),
)
_REST = (
    Goal("an element through a further link", 0.8, "µs", further_link_us),
    Goal("largest site: p99", 250.0, "ms", _of("site", _SITE, "p99_ms", PACED)),
    Goal("largest site: of one core", 100.0, "%", _of("site", _SITE, "cpu_share_pct", PACED)),
    Goal("largest site: delivered", 99.0, "%", _of("site", _SITE, "share_pct", PACED), at_least=True),
    Goal("largest site: memory", 400.0, "MB", _of("site", _SITE, "rss_end_mb", PACED)),
    Goal("10,000 phones come back afresh", 10.0, "s", _of("storm", _AFRESH, "all_ready_s", PACED)),
    Goal("10,000 phones resume", 10.0, "s", _of("storm", _RESUMED, "all_ready_s", PACED)),
    *(
        Goal(f"9,500 users come back, {how}", 15.0, "s", _of("storm", case, "all_ready_s", PACED))
        for how, case in _USERS_BACK.items()
    ),
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
_GROWTH = tuple(
    Goal(
        f"CPU per update, {sizes[-1]:,} {unit}, by that of {sizes[0]:,}",
        None,
        "×",
        _grown(unit, sizes[0], sizes[-1]),
    )
    for unit, sizes in (("phones", growth.PHONES), ("resources", growth.RESOURCES))
)
GOALS = (*_REAL, *_OVERLOAD, *_FLOOD, *_FAN_OUT, *_IDLE, *_DELAYS, *_REST, *_GROWTH)
"""All goals, in the order of the report."""
