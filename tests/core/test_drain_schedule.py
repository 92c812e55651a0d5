"""Drain schedule: when each phone is sent away, and when it may return."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.due_times import ROOM_MIN, Away, DrainSchedule, Moving, drain_schedules, moving_s


def test_when_others_accept_too_few_in_the_grace_all_are_sent_away_within_it_and_come_back_later() -> None:
    received = drain_schedules(4, accepts_per_s=[0.25], moving=[Moving(4, 2.0)], grace_s=4.0)
    assert received == (
        DrainSchedule(0.0, (0.0, 1.0)),
        DrainSchedule(1.0, (3.0, 4.0)),
        DrainSchedule(2.0, (6.0, 7.0)),
        DrainSchedule(3.0, (9.0, 10.0)),
    )


def test_a_budget_that_needs_longer_than_the_grace_keeps_no_phone_away() -> None:
    received = drain_schedules(1000, accepts_per_s=[500.0], moving=[Moving(1000, 40 / 3)], grace_s=60.0)
    assert moving_s([Moving(1000, 40 / 3)]) == pytest.approx(75)
    assert received[-1].at_s == pytest.approx(60, abs=0.1)
    assert max(high for _, high in (one.window_s for one in received)) <= 0.1


@pytest.mark.parametrize("accepts_per_s", [(), (0.0, 0.0)])
def test_when_nobody_takes_them_all_are_sent_away_at_once_and_come_back_over_the_grace(
    accepts_per_s: tuple[float, ...],
) -> None:
    received = drain_schedules(20, accepts_per_s=accepts_per_s, moving=[Moving(20, 20.0)], grace_s=10.0)
    assert {drain_schedule.at_s for drain_schedule in received} == {0.0}
    assert [drain_schedule.window_s for drain_schedule in received[:3]] == [
        (0.0, 0.5),
        (0.5, 1.0),
        (1.0, 1.5),
    ]


def never() -> Callable[[], bool]:
    return lambda: False


def test_one_phone_more_may_be_away_for_each_that_is_back_in_time() -> None:
    away, back = Away(), set[int]()
    for phone in range(4):
        assert away.may_send(0.0)
        away.sent(lambda phone=phone: phone in back, 0.0)  # type: ignore[misc]  # bound to this phone
    assert not away.may_send(0.5)
    back.add(0)
    assert away.may_send(0.6)
    assert away.room == ROOM_MIN + 1


def test_phones_that_have_not_moved_are_counted_for_four_seconds() -> None:
    away = Away()
    while away.may_send(0.0):
        away.sent(never(), 0.5)
    assert not away.may_send(4.4)
    assert away.may_send(4.6)


def test_when_many_are_late_half_as_many_may_be_away() -> None:
    away = Away()
    away.room = 16.0
    while away.may_send(0.0):
        away.sent(never(), 0.0)
    away.may_send(2.1)
    assert away.room == 8.0


def test_a_single_late_phone_slows_nobody_down() -> None:
    away = Away()
    away.room = 16.0
    away.sent(never(), 0.0)
    assert away.may_send(2.1)
    assert away.room == 16.0
