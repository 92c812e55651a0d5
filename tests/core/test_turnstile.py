"""Whose turn is it to open a link at a site?"""

from __future__ import annotations

from functools import partial

from gateway.core.throttle import Budget, Urgency
from gateway.core.turnstile import Turnstile


def turnstile(*, per_s: float = 1.0, burst: float = 4.0, in_flight: int = 100) -> Turnstile:
    return Turnstile(Budget(rate_per_s=per_s, burst=burst, in_flight_max=in_flight))


def test_while_nobody_waits_whoever_comes_goes_through() -> None:
    gate = turnstile()
    place = gate.join(Urgency.PERSON, lambda: None)
    assert gate.enter(place, 0.0)
    assert len(gate) == 0


def test_nobody_overtakes_who_came_before_or_is_more_urgent() -> None:
    gate = turnstile()
    late = gate.join(Urgency.REOPENING, lambda: None)
    first = gate.join(Urgency.PERSON, lambda: None)
    second = gate.join(Urgency.PERSON, lambda: None)
    assert not gate.enter(late, 0.0)
    assert not gate.enter(second, 0.0)
    assert gate.enter(first, 0.0)
    assert gate.enter(second, 0.0)
    assert not gate.enter(late, 0.0), "half of the budget is left to people"
    assert gate.enter(late, 1.0)


def test_who_left_holds_nobody_up() -> None:
    gate = turnstile()
    gone, next_ = (gate.join(Urgency.PERSON, lambda: None) for _ in range(2))
    gate.withdraw(gone)
    assert len(gate) == 1
    assert gate.enter(next_, 0.0)
    assert not gate.enter(gone, 0.0)


def test_a_tick_wakes_the_most_urgent_first_and_nobody_who_left() -> None:
    gate, woken = turnstile(), list[str]()
    gate.join(Urgency.GIVING, lambda: woken.append("giving"))
    gone = gate.join(Urgency.PERSON, lambda: woken.append("gone"))
    gate.join(Urgency.PERSON, lambda: woken.append("person"))
    gate.withdraw(gone)
    gate.tick()
    assert woken == ["person", "giving"]


def test_a_tick_wakes_a_bounded_number() -> None:
    gate, woken = turnstile(), list[int]()
    for number in range(5):
        gate.join(Urgency.PERSON, partial(woken.append, number))
    gate.tick(most=3)
    assert woken == [0, 1, 2]


def test_log_ons_wait_for_those_who_logged_on_already_and_for_nobody_else() -> None:
    gate = turnstile()
    gate.join(Urgency.REOPENING, lambda: None)
    assert gate.admit_log_on(0.0)
    waiting = gate.join(Urgency.PERSON, lambda: None)
    assert not gate.admit_log_on(0.0)
    assert gate.enter(waiting, 0.0)
    assert gate.admit_log_on(0.0)


def test_places_are_given_back() -> None:
    gate = turnstile(in_flight=1)
    assert gate.admit_log_on(0.0)
    assert not gate.admit_log_on(0.0)
    assert gate.wait_s(0.0) == 1.0
    gate.done()
    assert gate.admit_log_on(0.0)
