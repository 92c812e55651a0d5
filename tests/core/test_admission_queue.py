"""Admission queue: the order in which links to a site are opened."""

from __future__ import annotations

import math
from functools import partial

import pytest

from gateway.core.rate_limits import (
    OPENING_S,
    OPENINGS_MAX,
    PAUSE_MAX_S,
    RESOURCE_S,
    AdmissionQueue,
    Budget,
    Openings,
    Place,
    Urgency,
)


def admission_queue(*, per_s: float = 1.0, burst: float = 4.0, in_flight: int = 100) -> AdmissionQueue:
    return AdmissionQueue(Budget(rate_per_s=per_s, burst=burst, in_flight_max=in_flight))


def test_the_new_first_of_the_queue_is_woken() -> None:
    gate, woken = admission_queue(), list[int]()
    places = [gate.join(Urgency.PERSON, partial(woken.append, number)) for number in range(4)]
    gate.withdraw(places[1])
    assert woken == []
    assert gate.enter(places[0], 0.0)
    assert woken == [2]
    gate.withdraw(places[2])
    assert woken == [2, 3]
    gate.done()
    assert woken == [2, 3, 3]


def test_log_ons_wait_for_those_who_logged_on_already_and_not_for_those_who_make_room() -> None:
    gate = admission_queue(burst=20)
    gate.join(Urgency.GIVING, lambda: None)
    assert gate.admit_log_on(0.0)
    waiting = gate.join(Urgency.PERSON, lambda: None)
    assert not gate.admit_log_on(0.0)
    assert gate.enter(waiting, 0.0)
    assert gate.admit_log_on(0.0)
    assert gate.admit_log_on(0.0)


def test_log_ons_and_links_that_were_lost_take_turns() -> None:
    gate = admission_queue(per_s=20.0, burst=20.0)
    lost = [gate.join(Urgency.REOPENING, lambda: None) for _ in range(3)]
    assert gate.admit_log_on(0.0)
    person = gate.join(Urgency.PERSON, lambda: None)
    assert gate.enter(person, 0.0)
    assert not gate.admit_log_on(0.0), "its own link was no turn of the others"
    assert gate.enter(lost[0], 0.0)
    assert gate.admit_log_on(0.0)
    assert not gate.admit_log_on(0.0)
    for place in lost[1:]:
        gate.withdraw(place)
    assert gate.admit_log_on(0.0)
    assert gate.admit_log_on(0.0)


def test_links_that_find_no_place_hold_no_log_on_up() -> None:
    gate = admission_queue(per_s=100.0, burst=100.0, in_flight=4)
    lost = [gate.join(Urgency.REOPENING, lambda: None) for _ in range(3)]
    assert [gate.enter(place, 0.0) for place in lost] == [True, True, False]
    assert gate.admit_log_on(0.0)
    assert gate.admit_log_on(0.0)


def test_where_there_is_one_place_links_that_wait_come_before_log_ons() -> None:
    gate, woken = admission_queue(in_flight=1), list[str]()
    assert gate.admit_log_on(0.0)
    lost = gate.join(Urgency.REOPENING, lambda: woken.append("lost"))
    assert not gate.enter(lost, 0.0)
    gate.log_on_done()
    assert woken == ["lost"]
    assert not gate.admit_log_on(0.0)
    assert gate.enter(lost, 0.0)
    gate.done()
    assert gate.admit_log_on(0.0)


def test_a_site_is_shared_by_live_nodes_and_waiters_check_again() -> None:
    woken: list[str] = []
    gate = admission_queue(per_s=4.0, burst=4.0, in_flight=8)
    gate.share(4, 0.0)
    first, second = (gate.join(Urgency.PERSON, partial(woken.append, name)) for name in "ab")
    assert gate.enter(first, 0.0), "each node may begin one"
    assert not gate.enter(second, 0.9)
    assert gate.enter(second, 1.0)
    third = gate.join(Urgency.PERSON, partial(woken.append, "c"))
    assert not gate.enter(third, 100.0), "two of eight places are this node's"
    woken.clear()
    gate.share(1, 100.0)
    assert woken == ["c"]
    assert gate.enter(third, 100.0)


def test_whether_somebody_would_enter_is_reported_without_taking_anything() -> None:
    gate = admission_queue(per_s=1.0, burst=2.0)
    assert [gate.would_admit(0.0, Urgency.PERSON) for _ in range(5)] == [True] * 5
    for _ in range(2):
        assert gate.enter(gate.join(Urgency.PERSON, lambda: None), 0.0)
    assert not gate.would_admit(0.5, Urgency.PERSON)
    assert gate.would_admit(1.0, Urgency.PERSON)
    waiting = gate.join(Urgency.GIVING, lambda: None)
    assert not gate.would_admit(9.0, Urgency.PERSON), "somebody waits"
    gate.withdraw(waiting)
    assert gate.would_admit(9.0, Urgency.PERSON)


def test_while_the_node_is_overloaded_newcomers_wait_ten_times_as_long() -> None:
    gate = admission_queue(per_s=10.0, burst=10.0)
    gate.slow(0.0, is_slowed=True)
    entered_at: list[float] = []
    for tick in range(50):
        now = tick / 10
        place = gate.join(Urgency.PERSON, lambda: None)
        if gate.enter(place, now):
            entered_at.append(now)
        gate.withdraw(place)
    assert len(entered_at) == 1 + 4
    gate.slow(5.0, is_slowed=False)
    gate.share(1, 5.0)
    gate.slow(5.0, is_slowed=False)
    later = 0
    for tick in range(10):
        later += gate.enter(gate.join(Urgency.PERSON, lambda: None), 6.0 + tick / 10)
    assert later == 10


def test_an_overloaded_node_shares_the_slower_rate_with_others_and_keeps_it() -> None:
    gate = admission_queue(per_s=40.0, burst=40.0)
    gate.slow(0.0, is_slowed=True)
    gate.share(2, 0.0)
    entered = [gate.enter(gate.join(Urgency.PERSON, lambda: None), 0.0) for _ in range(4)]
    assert entered == [True, True, False, False]


def entered(gate: AdmissionQueue, places: list[Place], now: float) -> int:
    """Let each place that is woken or waits for its time enter; return how many could."""
    count = 0
    for place in tuple(places):
        if gate.enter(place, now):
            places.remove(place)
            gate.done()
            count += 1
    return count


@pytest.mark.parametrize("urgency", [Urgency.ROAMING, Urgency.REOPENING, Urgency.GIVING])
def test_newcomers_of_an_overloaded_node_let_links_of_served_users_pass_at_the_full_rate(
    urgency: Urgency,
) -> None:
    gate = admission_queue(per_s=10.0, burst=10.0)
    gate.slow(0.0, is_slowed=True)
    newcomers = [gate.join(Urgency.PERSON, lambda: None) for _ in range(100)]
    served = [gate.join(urgency, lambda: None) for _ in range(100)]
    came = [(entered(gate, newcomers, tick / 10), entered(gate, served, tick / 10)) for tick in range(51)]
    assert sum(new for new, _ in came) == 1 + 5
    assert 45 <= sum(old for _, old in came) <= 10 + 50 - 6


def test_while_newcomers_are_slowed_each_line_has_its_first_that_is_woken() -> None:
    gate, woken = admission_queue(per_s=1.0, burst=4.0), list[str]()
    new = [gate.join(Urgency.PERSON, partial(woken.append, f"new{number}")) for number in range(2)]
    lost = [gate.join(Urgency.REOPENING, partial(woken.append, f"lost{number}")) for number in range(2)]
    assert not gate.enter(lost[0], 0.0), "newcomers come first"
    assert gate.wait_s(lost[0], 0.0) == math.inf
    gate.slow(0.0, is_slowed=True)
    assert woken == ["new0", "lost0"]
    assert gate.enter(new[0], 0.0)
    assert gate.wait_s(new[1], 0.0) == 10.0
    assert not gate.would_admit(10.0, Urgency.PERSON)
    assert not gate.admit_log_on(0.0), "newcomers stand before those who log on"
    woken.clear()
    assert gate.enter(lost[0], 0.0)
    assert "lost1" in woken
    gate.withdraw(lost[1])
    assert gate.would_admit(10.0, Urgency.GIVING), "it need not wait for newcomers"
    last = gate.join(Urgency.GIVING, partial(woken.append, "last"))
    woken.clear()
    gate.slow(10.0, is_slowed=False)
    assert woken == ["new1"]
    assert not gate.enter(last, 10.0)
    assert gate.enter(new[1], 10.0)
    assert gate.enter(last, 11.0)


# ---- what a link costs ----


def _open_all(openings: Openings, resources: int, *, until: float) -> list[float]:
    """Open links one after the other, each as soon as there is room; return when each began."""
    began, now = list[float](), 0.0
    while (now := now + max(0.001, openings.wait_s(now))) < until:
        began.append(now)
        openings.end(openings.begin(now), now, resources)
    return began


def test_users_of_many_resources_leave_half_of_the_time_to_those_who_are_served() -> None:
    openings = Openings()
    began = _open_all(openings, 1_600, until=10.0)
    assert len(began) == pytest.approx(10.0 / (1_600 * RESOURCE_S), abs=2)
    assert openings.wait_s(10.0) > 0


def test_users_of_few_resources_do_not_wait() -> None:
    assert len(_open_all(Openings(), 16, until=1.0)) >= 990


def test_links_that_open_at_once_are_as_many_as_the_last_ones_had_resources_for() -> None:
    openings = Openings()
    _open_all(openings, 1_600, until=10.0)
    at_once = 0
    while openings.wait_s(20.0) == 0:
        openings.begin(20.0)
        at_once += 1
    assert at_once == 2
    openings = Openings()
    _open_all(openings, 16, until=10.0)
    while openings.wait_s(20.0) == 0:
        openings.begin(20.0)
    assert len(openings) == OPENINGS_MAX


def test_a_link_that_was_not_opened_delays_no_other() -> None:
    openings = Openings()
    _open_all(openings, 1_600, until=10.0)
    numbers = [openings.begin(20.0), openings.begin(20.0)]
    assert openings.wait_s(20.0) > 0
    for number in numbers:
        openings.end(number)
    assert openings.wait_s(20.0) == 0


def test_links_that_opened_at_once_make_the_next_user_wait_for_a_bounded_time() -> None:
    openings = Openings()
    numbers = [openings.begin(0.0) for _ in range(OPENINGS_MAX)]
    assert openings.wait_s(0.0) == OPENING_S, "nothing is known about them, so there is room for all"
    for at, number in enumerate(numbers, start=1):
        openings.end(number, at * 0.02, 10_000)
    assert openings.wait_s(OPENINGS_MAX * 0.02) <= PAUSE_MAX_S


def test_links_that_other_nodes_hand_over_make_the_next_user_wait_for_a_bounded_time() -> None:
    openings = Openings()
    _open_all(openings, 1_600, until=10.0)
    for _ in range(300):
        openings.begin(20.0)
    assert openings.wait_s(20.0 + OPENING_S) <= PAUSE_MAX_S
    assert openings.wait_s(20.0 + OPENING_S + PAUSE_MAX_S) == 0
