"""Rate limits: buckets, quotas, the budget of a site, and the order in which links to it are opened."""

from __future__ import annotations

import math
from functools import partial

import pytest

from gateway.core.link import OPENING_S, OPENINGS_MAX, PAUSE_MAX_S, RESOURCE_S, OpeningLinks
from gateway.core.rate_limits import AdmissionQueue, Budget, KeyedRates, Place, Quota, TokenBucket, Urgency


def test_a_bucket_gains_nothing_by_a_clock_that_goes_back_or_another_size() -> None:
    bucket = TokenBucket(1.0, 1)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)
    bucket = TokenBucket(4.0, 4)
    bucket.take(0.0, 4)
    bucket.resize(0.5, 1.0, 1)
    assert bucket.take(0.5)
    assert not bucket.take(1.0)
    assert bucket.take(1.5)
    bucket.resize(100.0, 1.0, 4)
    assert bucket.take(100.0)
    assert not bucket.take(100.0)


def test_who_owes_nothing_goes_first_and_when_all_do_the_least_recently_used() -> None:
    rates = KeyedRates[str](1.0, 1, keys_max=2)
    for key in ("a", "b", "a"):
        rates.take(key, 0.0)
    rates.take("c", 0.0)
    assert rates.take("a", 0.0) == 1.0
    assert len(rates) == 2
    rates = KeyedRates[str](1.0, 2, keys_max=2)
    rates.take("owes", 0.0, 2)
    rates.take("owes nothing", 0.0)
    rates.take("c", 1.0)
    assert rates.take("owes", 1.0, 2) == 1.0


def test_a_turn_removes_what_no_longer_counts_and_nothing_else() -> None:
    rates = KeyedRates[str](1.0, 2)
    for key, now in (("a", 0.0), ("b", 0.0), ("b", 0.5)):
        rates.take(key, now)
    rates.prune(0.9)
    assert len(rates) == 2
    rates.prune(1.0)
    assert (len(rates), rates.take("b", 1.0, 2.0)) == (1, 1.0)
    rates.prune(2.0)
    assert len(rates) == 0
    quota = Quota[str](most=2, window_s=60.0)
    quota.take("a", 0.0)
    quota.take("b", 10.0)
    quota.prune(59.0)
    assert len(quota) == 2
    quota.prune(60.0)
    assert (len(quota), quota.taken("b", 60.0)) == (1, (10.0,))


def test_a_link_that_is_handed_over_takes_its_place_then() -> None:
    budget = Budget(rate_per_s=1_000.0, burst=1_000.0, in_flight_max=20)
    assert sum(budget.admit(0.0, Urgency.GIVING) for _ in range(30)) == 20
    assert (budget.in_flight, budget.wait_s(0.0, Urgency.GIVING)) == (0, 1.0)
    budget.hand_over_failed()
    assert budget.admit(0.0, Urgency.GIVING)
    assert [budget.handed_over() for _ in range(20)] == [True] * 10 + [False] * 10
    assert budget.in_flight == 10
    assert not budget.admit(0.0, Urgency.GIVING), "what was handed over comes first"
    budget.done()
    assert budget.admit(0.0, Urgency.GIVING)


@pytest.mark.parametrize("has_failed", [True, False])
def test_a_link_that_is_not_opened_when_it_is_handed_over_uses_the_rate_once(has_failed: bool) -> None:
    budget = Budget(rate_per_s=1.0, burst=8.0, in_flight_max=4)
    assert [budget.admit(0.0, Urgency.GIVING) for _ in range(3)] == [True, True, False]
    if has_failed:
        budget.hand_over_failed()
    else:
        assert [budget.admit(0.0, Urgency.ROAMING) for _ in range(3)] == [True, True, True]
        assert not budget.handed_over()
        for _ in range(3):
            budget.done()
    assert budget.wait_s(0.0, Urgency.GIVING) == (0.0 if has_failed else 3.0)  # 4.0 without its share


@pytest.mark.parametrize("urgency", list(Urgency))
def test_the_smallest_share_still_serves_every_class(urgency: Urgency) -> None:
    budget = Budget(rate_per_s=1.0, burst=1.0, in_flight_max=1)
    budget.share(4, 0.0)
    assert budget.admit(0.0, urgency)
    assert urgency is not Urgency.GIVING or budget.handed_over()
    budget.done()
    assert not budget.admit(3.0, urgency)
    assert budget.wait_s(3.0, urgency) == 1.0
    assert budget.admit(4.0, urgency)


def test_a_node_begins_with_nothing_before_others_know_of_it_and_alone_with_all() -> None:
    budget = Budget(rate_per_s=10.0, burst=10.0, in_flight_max=100)
    budget.share(2, 0.0, unknown_s=3.0)
    assert [tenth for tenth in range(40) if budget.admit(tenth / 10)] == [32, 34, 36, 38]
    budget = Budget(rate_per_s=10.0, burst=10.0, in_flight_max=100)
    budget.share(1, 0.0, unknown_s=3.0)
    assert sum(budget.admit(0.0) for _ in range(20)) == 10


def test_log_ons_take_half_of_the_rate_and_links_always_have_the_other_half() -> None:
    budget = Budget(rate_per_s=20.0, burst=20.0, in_flight_max=1_000)
    log_ons = links = 0
    for tick in range(1_000):
        now = tick / 100
        while budget.admit_log_on(now):
            log_ons += 1
        links += budget.admit(now, Urgency.REOPENING)
    assert log_ons == pytest.approx(10 + 100, abs=1)
    assert links == pytest.approx(100, abs=6)


def test_log_ons_that_are_likely_to_succeed_use_what_links_leave_of_their_half() -> None:
    budget = Budget(rate_per_s=20.0, burst=20.0, in_flight_max=1_000)
    likely = unjudged = 0
    for tick in range(1_000):
        now = tick / 100
        likely += budget.admit_log_on(now, is_likely=True)
        assert budget.wait_s(now, Urgency.ROAMING) < 0.4, "a link finds room at once, or nearly"
    assert likely == pytest.approx(15 + 150, abs=6)
    for tick in range(1_000, 2_000):
        unjudged += budget.admit_log_on(tick / 100)
    assert unjudged == pytest.approx(100, abs=12), "of which those that nobody has judged have half"


def test_beside_links_log_ons_that_are_likely_to_succeed_have_half_as_all_others() -> None:
    admission_queue = AdmissionQueue(Budget(rate_per_s=20.0, burst=20.0, in_flight_max=1_000))
    log_ons = links = 0
    for tick in range(1_000):
        now = tick / 100
        place = admission_queue.join(Urgency.REOPENING, lambda: None)
        log_ons += admission_queue.admit_log_on(now, is_likely=True)
        links += admission_queue.enter(place, now)
        admission_queue.withdraw(place)
    assert log_ons <= 10 + 100
    assert links >= 90


def test_log_ons_and_links_leave_each_other_places() -> None:
    budget = Budget(rate_per_s=1_000.0, burst=1_000.0, in_flight_max=32)
    assert sum(budget.admit_log_on(0.0) for _ in range(40)) == 16
    assert budget.log_on_wait_s(0.0) == 1.0
    assert sum(budget.admit(0.0, Urgency.REOPENING) for _ in range(40)) == 16
    assert budget.in_flight == 32
    budget.log_on_done()
    assert budget.admit_log_on(0.0)
    assert not budget.admit(0.0)
    budget = Budget(rate_per_s=1_000.0, burst=1_000.0, in_flight_max=32)
    while budget.admit(0.0, Urgency.ROAMING):
        pass
    assert sum(budget.admit_log_on(0.0) for _ in range(40)) == 8


def test_log_ons_have_half_of_the_rate_or_less_shared_by_nodes() -> None:
    budget = Budget(rate_per_s=20.0, burst=20.0, in_flight_max=32)
    budget.share(4, 0.0)
    assert budget.log_ons_per_s == 2.5
    assert sum(budget.admit_log_on(0.0) for _ in range(9)) == 2
    assert sum(budget.admit_log_on(100.0) for _ in range(9)) == 2
    budget.share(40, 200.0)
    budget.log_on_done()
    budget.log_on_done()
    budget.log_on_done()
    budget.log_on_done()
    assert budget.has_one_place
    assert budget.admit_log_on(300.0), "each node may begin one"
    budget = Budget(rate_per_s=500.0, burst=500.0, in_flight_max=1_000, log_ons_max_per_s=10.0)
    assert sum(budget.admit_log_on(0.0) for _ in range(100)) == 10
    assert sum(budget.admit(0.0) for _ in range(600)) == 490
    budget.share(2, 100.0)
    assert budget.log_ons_per_s == 5.0


# ---- quota ----


def quota() -> Quota[str]:
    return Quota(most=3, window_s=100.0, keys_max=2)


def test_a_quota_is_bounded_and_gives_back_once() -> None:
    found = quota()
    found.take("anna", 0.0)
    found.give_back("anna", 0.0)
    assert len(found) == 0
    found = quota()
    for key in ("anna", "bert", "anna", "cora"):
        found.take(key, 0.0)
    assert len(found) == 2
    assert [found.take("anna", 0.0) for _ in range(2)] == [0.0, 100.0]
    found = quota()
    for now in (0.0, 1.0, 2.0):
        found.take("anna", now)
    found.give_back("anna", 1.0)
    found.give_back("anna", 1.0)
    found.give_back("bert", 1.0)
    assert (found.take("anna", 3.0), found.take("anna", 3.0)) == (0.0, 97.0)


def test_what_was_taken_elsewhere_counts_too_and_nothing_counts_twice() -> None:
    here, there = quota(), quota()
    for now in (0.0, 10.0):
        here.take("anna", now)
    there.adopt("anna", here.taken("anna", 20.0), 20.0)
    there.take("anna", 30.0)
    sent_late = [at + 1.0 for at in there.taken("anna", 40.0)]
    for _ in range(2):
        here.adopt("anna", sent_late, 40.0)
    assert here.taken("anna", 40.0) == (1.0, 11.0, 31.0)
    assert here.take("anna", 40.0) == 61.0
    assert here.take("bert", 40.0) == 0.0


def test_what_is_adopted_adds_to_what_is_known_within_bounds() -> None:
    found = quota()
    for now in (0.0, 10.0, 20.0):
        found.take("anna", now)
    found.adopt("anna", (), 30.0)
    assert found.taken("anna", 30.0) == (0.0, 10.0, 20.0)
    found.adopt("anna", [25.0], 30.0)
    assert found.taken("anna", 30.0) == (0.0, 10.0, 25.0)
    found = quota()
    found.adopt("anna", [0.0], 100.0)
    assert len(found) == 0
    for key in ("anna", "bert", "cora"):
        found.adopt(key, [1.0, 2.0, 3.0, 4.0], 10.0)
    assert len(found) == 2
    assert found.taken("cora", 10.0) == (2.0, 3.0, 4.0)


# ---- admission queue ----


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


def test_links_come_before_log_ons_where_there_is_one_place_and_hold_none_up_without_one() -> None:
    gate = admission_queue(per_s=100.0, burst=100.0, in_flight=4)
    lost = [gate.join(Urgency.REOPENING, lambda: None) for _ in range(3)]
    assert [gate.enter(place, 0.0) for place in lost] == [True, True, False]
    assert gate.admit_log_on(0.0)
    assert gate.admit_log_on(0.0)
    gate, woken = admission_queue(in_flight=1), list[str]()
    assert gate.admit_log_on(0.0)
    first = gate.join(Urgency.REOPENING, lambda: woken.append("lost"))
    assert not gate.enter(first, 0.0)
    gate.log_on_done()
    assert woken == ["lost"]
    assert not gate.admit_log_on(0.0)
    assert gate.enter(first, 0.0)
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
def test_newcomers_of_an_overloaded_node_let_links_of_served_users_pass(urgency: Urgency) -> None:
    gate = admission_queue(per_s=10.0, burst=10.0)
    gate.slow(0.0, is_slowed=True)
    newcomers = [gate.join(Urgency.PERSON, lambda: None) for _ in range(100)]
    served = [gate.join(urgency, lambda: None) for _ in range(100)]
    came = [(entered(gate, newcomers, tick / 10), entered(gate, served, tick / 10)) for tick in range(51)]
    assert sum(new for new, _ in came) == 1 + 5
    assert 45 <= sum(old for _, old in came) <= 10 + 50 - 6


def test_a_place_learns_from_its_own_line_when_its_turn_comes() -> None:
    gate = admission_queue(per_s=2.0, burst=1.0)
    places = [gate.join(Urgency.PERSON, lambda: None) for _ in range(100)]
    roaming = gate.join(Urgency.ROAMING, lambda: None)
    last = places[-1]
    assert gate.left_s(last, 0.0) == math.inf, "nobody has entered"
    assert sum(entered(gate, places, tick / 2) for tick in range(61)) == 61
    assert gate.left_s(places[0], 30.0) == pytest.approx(0.5, rel=0.05)
    assert gate.left_s(last, 30.0) == pytest.approx(39 / 2, rel=0.05)
    assert gate.left_s(roaming, 30.0) == math.inf, "newcomers come first"
    late = gate.join(Urgency.PERSON, lambda: None)
    assert gate.left_s(late, 0.0) == math.inf, "those that entered before it do not count"
    assert sum(entered(gate, places, tick / 2) for tick in range(61, 71)) == 10
    assert gate.left_s(late, 5.0) == pytest.approx(30 / 2, rel=0.05)


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


def _open_all(openings: OpeningLinks, resources: int, *, until: float) -> list[float]:
    """Open links one after the other, each as soon as there is room; return when each began."""
    began, now = list[float](), 0.0
    while (now := now + max(0.001, openings.wait_s(now))) < until:
        began.append(now)
        openings.end(openings.begin(now), now, resources)
    return began


def test_users_of_many_resources_leave_half_of_the_time_to_others_and_of_few_do_not_wait() -> None:
    openings = OpeningLinks()
    began = _open_all(openings, 1_600, until=10.0)
    assert len(began) == pytest.approx(10.0 / (1_600 * RESOURCE_S), abs=2)
    assert openings.wait_s(10.0) > 0
    assert len(_open_all(OpeningLinks(), 16, until=1.0)) >= 990


def test_links_that_open_at_once_are_as_many_as_the_last_ones_had_resources_for() -> None:
    openings = OpeningLinks()
    _open_all(openings, 1_600, until=10.0)
    at_once = 0
    while openings.wait_s(20.0) == 0:
        openings.begin(20.0)
        at_once += 1
    assert at_once == 2
    openings = OpeningLinks()
    _open_all(openings, 16, until=10.0)
    while openings.wait_s(20.0) == 0:
        openings.begin(20.0)
    assert len(openings) == OPENINGS_MAX


def test_a_link_that_was_not_opened_delays_no_other() -> None:
    openings = OpeningLinks()
    _open_all(openings, 1_600, until=10.0)
    numbers = [openings.begin(20.0), openings.begin(20.0)]
    assert openings.wait_s(20.0) > 0
    for number in numbers:
        openings.end(number)
    assert openings.wait_s(20.0) == 0


def test_links_that_open_at_once_or_are_handed_over_make_the_next_user_wait_for_a_bounded_time() -> None:
    openings = OpeningLinks()
    numbers = [openings.begin(0.0) for _ in range(OPENINGS_MAX)]
    assert openings.wait_s(0.0) == OPENING_S, "nothing is known about them, so there is room for all"
    for at, number in enumerate(numbers, start=1):
        openings.end(number, at * 0.02, 10_000)
    assert openings.wait_s(OPENINGS_MAX * 0.02) <= PAUSE_MAX_S
    openings = OpeningLinks()
    _open_all(openings, 1_600, until=10.0)
    for _ in range(300):
        openings.begin(20.0)
    assert openings.wait_s(20.0 + OPENING_S) <= PAUSE_MAX_S
    assert openings.wait_s(20.0 + OPENING_S + PAUSE_MAX_S) == 0
