"""A goal is reached when its figure says so, and every figure is one that scenarios make."""

from __future__ import annotations

import pytest

from bench.case import Scale
from bench.contenders import PACED, UNPACED
from bench.goals import CENTRIFUGE, FLOOR, GOALS, Goal, further_link_us, stalled_ratio
from bench.peers import PEERS
from bench.results import Results
from bench.scenarios import SCENARIOS, overload
from bench.work import Figures, Record

FIGURES = (
    *("cpu_us", "delivered_per_s", "p99_ms", "phone_kb", "cpu_share_pct", "share_pct", "rss_end_mb"),
    *("all_ready_s", "resets", "stalled_user_kb", "stalled_kernel_kb", "p99_added_ms", "wire_bytes"),
    "loop_lag_p99_ms",
)


def everything(value: float = 1.0) -> Results:
    """Return results in which every case of every scenario was measured."""
    figures = dict.fromkeys(FIGURES, value)
    records = []
    for scenario, cases in SCENARIOS.items():
        for case in cases(Scale(19_500)):
            for contender in (PACED, UNPACED, *PEERS):
                more: Figures = {"delivered_per_s": 40_000.0} if "40 elements" in case.name else {}
                records.append(Record(scenario, case.name, contender, 0, {**figures, **more}))
    return Results(records)


def test_scenarios_measure_what_goals_ask_for() -> None:
    """A case that was renamed would leave its goal unmeasured for ever."""
    assert [goal.what for goal in GOALS if goal.measure(everything()) is None] == []


def test_nothing_is_reached_that_was_not_measured() -> None:
    assert [goal.what for goal in GOALS if goal.measure(Results([])) is not None] == []


@pytest.mark.parametrize(
    ("at_least", "value", "holds"), [(False, 5.0, True), (False, 5.1, False), (True, 4.9, False)]
)
def test_a_bound_is_part_of_what_is_allowed(at_least: bool, value: float, holds: bool) -> None:
    goal = Goal("figure", 5.0, "ms", lambda _: None, at_least=at_least)
    assert goal.holds(value) is holds


def test_a_further_link_costs_what_more_elements_cost_more() -> None:
    few = {"cpu_us": 50.0, "delivered_per_s": 4_000.0}
    many = {"cpu_us": 2.0, "delivered_per_s": 160_000.0}
    cases = ("1,000 users, 1 element an event", "1,000 users, 40 elements an event")
    records = [
        Record("crowd", case, PACED, 0, figures) for case, figures in zip(cases, (few, many), strict=True)
    ]
    # 320,000 - 200,000 µs for 156,000 elements more
    assert further_link_us(Results(records)) == pytest.approx(120_000 / 156_000)
    assert further_link_us(Results(records[:1])) is None


def test_others_are_compared_with_and_without_stalled_phones() -> None:
    records = [
        Record("stalled", "1,000 phones, none stalled", PACED, 0, {"p99_ms": 4.0}),
        Record("stalled", "1,000 phones, 500 more stalled", PACED, 0, {"p99_ms": 6.0}),
    ]
    assert stalled_ratio(Results(records)) == 1.5
    assert stalled_ratio(Results(records[1:])) is None


def test_what_is_only_told_cannot_be_missed() -> None:
    assert Goal("figure", None, "bytes", lambda _: None).holds(1e9)


def test_ratios_are_by_the_peer_that_they_name_and_the_floor_is_no_peer() -> None:
    case = "1,000 phones, 50,000/s"
    costs = {UNPACED: 4.0, CENTRIFUGE: 10.0, FLOOR: 2.0, "ws": 5.0}
    results = Results([Record("fan-out", case, name, 0, {"cpu_us": us}) for name, us in costs.items()])
    at = next(place for place, goal in enumerate(GOALS) if goal.what.startswith("CPU per update at 50,000/s"))
    found = [goal.measure(results) for goal in GOALS[at : at + 4]]
    assert found == [4.0, 0.4, 2.0, 0.8]


def test_what_is_delivered_under_overload_is_told_by_what_can_be_delivered() -> None:
    records = [
        Record("overload", overload.capacity(5), PACED, 0, {"delivered_per_s": 5_000.0}),
        Record("overload", overload.offered(5), PACED, 0, {"delivered_per_s": 4_000.0}),
    ]
    goal = next(each for each in GOALS if each.what.startswith("5 × of its capacity"))
    assert goal.measure(Results(records)) == 80.0
    assert goal.holds(80.0)
    assert goal.measure(Results(records[:1])) is None
