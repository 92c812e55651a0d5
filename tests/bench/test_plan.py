"""Cases that share a life sit together, each contender is asked for his own, and time is foretold."""

from __future__ import annotations

from bench.case import BOTH_PACES, Case
from bench.contenders import PACED, UNPACED, Other
from bench.peer import Peer
from bench.plan import Sitting, expected_s, sittings, told
from bench.work import Work

PEER = Other(Peer("peer", "somebody's", lambda _: True, lambda _, __: (), "/", (), ()))
RATED = Case("10 phones, 5/s", Work(10, per_s=5), BOTH_PACES, with_peers=True, sitting="10")
FLOOD = Case("10 phones, 9/s", Work(10, per_s=9), sitting="10")


def names(cases: list[Case]) -> list[str]:
    """Return how cases are called."""
    return [case.name for case in cases]


def test_neighbours_of_one_name_sit_together() -> None:
    alone = Case("alone", Work(1))
    found = sittings("fan-out", [RATED, FLOOD, alone, Case("apart", Work(1))])
    assert [names(list(sitting.cases)) for sitting in found] == [
        [RATED.name, FLOOD.name],
        ["alone"],
        ["apart"],
    ]


def test_everybody_is_asked_for_what_he_takes_part_in() -> None:
    sitting = Sitting("fan-out", (RATED, FLOOD))
    asked = {each.name: names(sitting.asked(each)) for each in sitting.contenders([PEER])}
    assert asked == {
        UNPACED: [RATED.name],
        PACED: [RATED.name, FLOOD.name],
        "peer": [RATED.name],
    }
    assert [each.name for each in Sitting("fan-out", (FLOOD,)).contenders([PEER])] == [PACED]


def test_what_hardly_varies_is_asked_once() -> None:
    once = Case("idle", Work(1), runs=1)
    assert Sitting("idle", (once,)).runs(3) == 1
    assert Sitting("idle", (once, RATED)).runs(3) == 3
    assert Sitting("idle", (RATED,)).runs(2) == 2


def test_time_grows_with_runs_phones_and_who_takes_part() -> None:
    sitting = Sitting("fan-out", (RATED,))
    once = expected_s(sitting, [], 1)
    assert expected_s(sitting, [], 3) == 3 * once
    assert expected_s(sitting, [PEER], 1) > once
    many = Sitting("fan-out", (Case("many", Work(20_000, per_s=1), BOTH_PACES),))
    assert expected_s(many, [], 1) > once + 30
    played = Sitting("storm", (Case("storm", seconds=25.0),))
    assert expected_s(played, [], 2) == 50


def test_the_plan_is_told_in_minutes() -> None:
    plan = [Sitting("storm", (Case("storm", seconds=60.0),)), Sitting("idle", (Case("x", seconds=30.0),))]
    lines = told(plan, [PEER], 2).splitlines()
    assert lines[0] == "the plan, 2 runs, with peer:"
    assert [line.split() for line in lines[1:]] == [
        ["storm", "1", "cases", "2.0", "min"],
        ["idle", "1", "cases", "1.0", "min"],
        ["all", "2", "cases", "3.0", "min"],
    ]
