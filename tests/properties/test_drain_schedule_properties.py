"""However phones choose within their windows, they never return faster than others can take them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.drain_schedule import DrainSchedule, UsersToMove, drain_schedules, moving_s

EPS = 1e-6
RATES = st.sampled_from([0.125, 1.0, 7.0, 20.0, 300.0])
SURVIVORS = st.lists(RATES, min_size=1, max_size=3)
SITES = st.lists(st.builds(UsersToMove, st.integers(0, 60), RATES), max_size=3)
GRACES = st.sampled_from([0.0, 1.0, 10.0, 120.0])
CHOICES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=60)
"""Where each phone chooses to return within its window."""


def returns(received: tuple[DrainSchedule, ...], choices: list[float]) -> list[float]:
    """Return when each phone is back, s from the beginning."""
    chosen = zip(received, choices, strict=True)
    return [one.at_s + low + at * (high - low) for one, at in chosen for low, high in [one.window_s]]


@given(choices=CHOICES, accepts=SURVIVORS, grace_s=GRACES)
def test_no_choice_returns_faster_than_the_survivors_accept(
    choices: list[float], accepts: list[float], grace_s: float
) -> None:
    received = drain_schedules(len(choices), accepts_per_s=accepts, moving=(), grace_s=grace_s)
    back = returns(received, choices)
    for first, since in enumerate(back):
        for count, at in enumerate(back[first:], 1):
            assert count <= sum(accepts) * (at - since) + 2 + EPS


@given(choices=CHOICES, accepts=st.lists(RATES, max_size=3), site_per_s=RATES, grace_s=GRACES)
def test_in_a_grace_that_is_long_enough_no_choice_opens_links_faster_than_a_budget_allows(
    choices: list[float], accepts: list[float], site_per_s: float, grace_s: float
) -> None:
    moving = [UsersToMove(len(choices), site_per_s)]
    if accepts:  # else the window alone spreads them
        grace_s = max(grace_s, moving_s(moving))
    received = drain_schedules(len(choices), accepts_per_s=accepts, moving=moving, grace_s=grace_s)
    back = returns(received, choices)
    for first, since in enumerate(back):
        for count, at in enumerate(back[first:], 1):
            assert count <= site_per_s * (at - since) + 2 + EPS


@given(choices=CHOICES, accepts=SURVIVORS, sites=SITES, grace_s=GRACES)
def test_nobody_is_away_for_longer_than_that_needs(
    choices: list[float], accepts: list[float], sites: list[UsersToMove], grace_s: float
) -> None:
    phones = len(choices)
    received = drain_schedules(phones, accepts_per_s=accepts, moving=sites, grace_s=grace_s)
    accepted_s = phones / sum(accepts)
    assert returns(received, choices)[-1] <= max(accepted_s, moving_s(sites)) + EPS
    if accepted_s <= grace_s:
        assert max(one.window_s[1] for one in received) <= 1.0 + EPS


@given(choices=CHOICES, accepts=st.lists(RATES, max_size=3), sites=SITES, grace_s=GRACES)
def test_all_are_sent_away_in_order_steadily_and_within_the_grace(
    choices: list[float], accepts: list[float], sites: list[UsersToMove], grace_s: float
) -> None:
    received = drain_schedules(len(choices), accepts_per_s=accepts, moving=sites, grace_s=grace_s)
    assert len(received) == len(choices)
    assert received[0].at_s == 0.0
    assert all(0.0 <= one.at_s <= grace_s and 0.0 <= one.window_s[0] <= one.window_s[1] for one in received)
    gaps = [after.at_s - before.at_s for before, after in pairwise(received)]
    assert all(abs(gap - gaps[0]) < EPS for gap in gaps)
    if not accepts:
        assert not any(gaps), "nobody is left who could take them meanwhile"
        assert (
            received[-1].at_s + received[-1].window_s[0]
            >= grace_s * (len(received) - 1) / len(received) - EPS
        )
