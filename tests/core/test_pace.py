"""Pace: how often state is sent."""

from __future__ import annotations

import pytest

from gateway.core.outbox import LADDER_S, PaceLadder


def slow(level: int, every_s: float = 0.0) -> PaceLadder:
    pace = PaceLadder(every_s)
    for _ in range(level):
        pace.flushed(drained=False)
    return pace


def test_the_first_change_leaves_at_once() -> None:
    assert PaceLadder(5.0).due_at(100.0) == 100.0


def test_the_next_waits_for_the_interval_and_a_quiet_one_has_waited() -> None:
    pace = PaceLadder()
    pace.sent(100.0)
    assert pace.due_at(100.01) == 100.05
    assert pace.due_at(103.0) == 103.0


@pytest.mark.parametrize(("level", "interval_s"), list(enumerate((0.05, 0.25, 1.0, 5.0))))
def test_a_slow_phone_climbs(level: int, interval_s: float) -> None:
    pace = slow(level)
    assert (pace.level, pace.interval_s) == (level, interval_s)


def test_the_ladder_has_an_end() -> None:
    assert slow(9).interval_s == LADDER_S[-1]


def test_three_good_flushes_in_a_row_descend_one_rung() -> None:
    pace = slow(3)
    levels = []
    for drained in (True, True, False, True, True, True, True, True, True):
        pace.flushed(drained=drained)
        levels.append(pace.level)
    assert levels == [3, 3, 3, 3, 3, 2, 2, 2, 1]


def test_the_ground_is_the_lowest() -> None:
    pace = PaceLadder()
    for _ in range(9):
        pace.flushed(drained=True)
    assert pace.level == 0


@pytest.mark.parametrize(("level", "every_s", "interval_s"), [(0, 2.0, 2.0), (3, 2.0, 5.0), (1, 0.0, 0.25)])
def test_never_faster_than_the_phone_asked_nor_than_it_can(
    level: int, every_s: float, interval_s: float
) -> None:
    assert slow(level, every_s).interval_s == interval_s


def test_a_phone_may_change_its_mind() -> None:
    pace = PaceLadder(60.0)
    pace.sent(100.0)
    pace.every_s = 0.0
    assert pace.due_at(100.0) == 100.05
