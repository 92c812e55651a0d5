"""Throttle: how fast something may happen."""

from __future__ import annotations

import math

import pytest

from gateway.core.log_ons import LogOnGuard, name_hash
from gateway.core.rate_limits import AdmissionQueue, Buckets, Budget, TokenBucket, Urgency


def test_a_clock_that_goes_back_fills_nothing() -> None:
    bucket = TokenBucket(1.0, 1)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


def test_a_bucket_keeps_a_reserve() -> None:
    bucket = TokenBucket(1.0, 3)
    assert bucket.take(0.0, reserve=2)
    assert not bucket.take(0.0, reserve=2)
    assert bucket.wait_s(0.0, reserve=2) == 1.0
    assert bucket.take(0.0)


@pytest.mark.parametrize(("rate", "n", "expected"), [(1.0, 3.0, math.inf), (0.0, 1.0, 0.0), (1.0, 2.0, 0.0)])
def test_what_never_fits_waits_for_ever(rate: float, n: float, expected: float) -> None:
    assert TokenBucket(rate, 2).wait_s(0.0, n) == expected


def test_a_bucket_may_be_resized_without_gaining_anything() -> None:
    bucket = TokenBucket(4.0, 4)
    bucket.take(0.0, 4)
    bucket.resize(0.5, 1.0, 1)
    assert bucket.take(0.5)
    assert not bucket.take(1.0)
    assert bucket.take(1.5)
    bucket.resize(100.0, 1.0, 4)
    assert bucket.take(100.0)
    assert not bucket.take(100.0)


def test_when_none_is_full_the_least_recently_used_goes() -> None:
    buckets = Buckets[str](1.0, 1, keys_max=2)
    for key in ("a", "b", "a"):
        buckets.take(key, 0.0)
    buckets.take("c", 0.0)
    assert not buckets.take("a", 0.0)
    assert len(buckets) == 2


SITE, ANN, BOB = "main", "ann", "bob"


def fail(guard: LogOnGuard, times: int, now: float, name: str = ANN) -> None:
    for _ in range(times):
        assert guard.locked_s(SITE, name, now) == 0.0
        guard.trying(SITE, name)
        guard.failed(SITE, name, now)


def test_after_so_many_wrong_passwords_the_name_is_locked_until_the_first_is_old() -> None:
    guard = LogOnGuard()
    fail(guard, 2, 0.0)
    fail(guard, 1, 100.0)
    assert guard.locked_s(SITE, ANN, 300.0) == 600.0
    assert guard.locked_s(SITE, BOB, 300.0) == 0.0
    assert guard.locked_s("other", ANN, 300.0) == 0.0
    assert guard.locked_s(SITE, ANN, 900.0) == 0.0


SPELLINGS = (
    *(
        " Ann ",
        "ANN",
        "A\u200bnn",
        "a\u00adnn",
        "\u202dann",
        "\uff41nn",
        "ann\u3000",
        "a\ufe0fnn",
        "\U0001d41ann",
    ),
    *("ann\u034f", "\u115fann", "a\u2060n\u2061n"),
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_name_has_one_spelling(spelling: str) -> None:
    guard = LogOnGuard(tries=1)
    fail(guard, 1, 0.0)
    assert guard.locked_s(SITE, spelling, 0.0) == 900.0


def test_blanks_inside_a_name_are_one() -> None:
    assert name_hash(SITE, "ann  \u2003 lee") == name_hash(SITE, "Ann Lee")
    assert len({name_hash(SITE, each) for each in ("ann lee", "annlee", "an nlee", "\u00e4nn")}) == 4


def test_one_origin_leaves_a_try_to_the_others_and_all_together_have_no_more_than_the_name() -> None:
    guard = LogOnGuard()
    for _ in range(3):
        guard.failed(SITE, ANN, 0.0, "guesser")
    assert guard.locked_s(SITE, ANN, 0.0, "guesser") == 900.0
    assert guard.locked_s(SITE, ANN, 0.0, "home") == 0.0
    guard.failed(SITE, ANN, 0.0, "home")
    assert guard.locked_s(SITE, ANN, 0.0, "third") == 900.0
    assert guard.locked_s(SITE, ANN, 0.0, "device", is_trusted=True) == 0.0


def test_a_trusted_device_is_bound_by_its_own_tries() -> None:
    guard = LogOnGuard()
    for _ in range(3):
        assert guard.locked_s(SITE, ANN, 0.0, "device", is_trusted=True) == 0.0
        guard.failed(SITE, ANN, 0.0, "device")
    assert guard.locked_s(SITE, ANN, 0.0, "device", is_trusted=True) == 900.0


def test_after_the_window_a_name_has_one_try_in_each_for_a_day_or_until_it_logs_on() -> None:
    guard = LogOnGuard()
    for origin in "aaab":
        guard.failed(SITE, ANN, 0.0, origin)
    assert guard.locked_s(SITE, ANN, 899.0, "c") == 1.0
    assert guard.locked_s(SITE, ANN, 900.0, "c") == 0.0
    guard.failed(SITE, ANN, 900.0, "c")
    assert guard.locked_s(SITE, ANN, 901.0, "d") == 899.0
    assert guard.locked_s(SITE, ANN, 1_800.0, "d") == 0.0
    assert guard.succeeded(SITE, ANN, "d")
    guard.failed(SITE, ANN, 1_800.0, "d")
    assert guard.locked_s(SITE, ANN, 1_800.0, "d") == 0.0


def test_a_day_after_the_last_failures_a_name_has_all_its_tries_again() -> None:
    guard = LogOnGuard()
    for origin in "aaab":
        guard.failed(SITE, ANN, 0.0, origin)
    guard.failed(SITE, ANN, 86_399.0, "c")
    assert guard.locked_s(SITE, ANN, 86_399.0, "d") == 900.0
    assert guard.locked_s(SITE, ANN, 86_400.0, "d") == 0.0


def test_tries_without_an_answer_count_as_wrong_but_lock_nothing() -> None:
    guard = LogOnGuard()
    for origin in "abcd":
        assert not guard.is_busy(SITE, ANN, 0.0, origin)
        guard.trying(SITE, ANN, origin)
    assert guard.is_busy(SITE, ANN, 0.0, "e")
    assert not guard.is_busy(SITE, ANN, 0.0, "e", is_trusted=True)
    assert guard.locked_s(SITE, ANN, 0.0, "e") == 0.0
    own = LogOnGuard()
    for _ in range(3):
        assert not own.is_busy(SITE, ANN, 0.0)
        own.trying(SITE, ANN)
    assert own.is_busy(SITE, ANN, 0.0)
    assert own.is_busy(SITE, ANN, 0.0, is_trusted=True)
    assert own.locked_s(SITE, ANN, 0.0) == 0.0
    assert not own.is_busy(SITE, ANN, 0.0, "elsewhere")


def test_a_right_password_forgets_the_wrong_ones() -> None:
    guard = LogOnGuard()
    fail(guard, 2, 0.0)
    guard.trying(SITE, ANN)
    assert guard.succeeded(SITE, ANN)
    fail(guard, 3, 0.0)
    assert guard.locked_s(SITE, ANN, 0.0) == 900.0


def test_a_right_password_among_others_at_once_forgets_nothing() -> None:
    guard = LogOnGuard()
    fail(guard, 1, 0.0)
    guard.trying(SITE, ANN)
    guard.trying(SITE, ANN)
    guard.failed(SITE, ANN, 0.0)
    assert not guard.succeeded(SITE, ANN)
    fail(guard, 1, 0.0)
    assert guard.locked_s(SITE, ANN, 0.0) == 900.0


def test_a_failure_counts_also_when_nobody_said_that_it_was_tried() -> None:
    guard = LogOnGuard(tries=3)
    guard.failed(SITE, ANN, 0.0)
    assert guard.locked_s(SITE, ANN, 0.0) == 0.0
    guard.failed(SITE, ANN, 10.0)
    assert guard.locked_s(SITE, ANN, 10.0) == 890.0
    guard.failed(SITE, ANN, 20.0, "elsewhere")
    assert guard.locked_s(SITE, ANN, 20.0, "elsewhere") == 900.0


def test_a_try_without_a_verdict_does_not_count_and_is_not_kept() -> None:
    guard = LogOnGuard()
    for _ in range(10):
        assert guard.locked_s(SITE, ANN, 0.0) == 0.0
        guard.trying(SITE, ANN)
        guard.unanswered(SITE, ANN)
    assert len(guard) == 0


def test_names_that_logged_on_are_not_kept() -> None:
    guard = LogOnGuard()
    guard.trying(SITE, ANN)
    guard.succeeded(SITE, ANN)
    guard.succeeded(SITE, ANN)
    assert len(guard) == 0


def test_so_many_names_are_kept_and_a_late_answer_still_counts() -> None:
    guard = LogOnGuard(tries=1, names_max=1)
    guard.trying(SITE, ANN)
    guard.trying(SITE, BOB)
    assert len(guard) == 1
    guard.failed(SITE, ANN, 0.0)
    assert guard.locked_s(SITE, ANN, 1.0) == 899.0


@pytest.mark.parametrize(
    ("urgency", "begun", "places"),
    [
        (Urgency.PERSON, 20, 20),
        (Urgency.ROAMING, 15, 15),
        (Urgency.REOPENING, 10, 10),
        (Urgency.GIVING, 5, 10),  # a hand-over keeps its place while the owner ends commands
    ],
)
def test_the_less_urgent_leaves_something_to_the_more_urgent(
    urgency: Urgency, begun: int, places: int
) -> None:
    by_rate = Budget(rate_per_s=20.0, burst=20.0, in_flight_max=1000)
    assert sum(by_rate.admit(0.0, urgency) for _ in range(30)) == begun
    by_flights = Budget(rate_per_s=1000.0, burst=1000.0, in_flight_max=20)
    assert sum(by_flights.admit(0.0, urgency) for _ in range(30)) == places
    assert by_flights.admit(0.0, Urgency.PERSON) is (urgency is not Urgency.PERSON)


@pytest.mark.parametrize("urgency", list(Urgency))
def test_the_smallest_share_still_serves_every_class(urgency: Urgency) -> None:
    budget = Budget(rate_per_s=1.0, burst=1.0, in_flight_max=1)
    budget.share(4, 0.0)
    assert budget.admit(0.0, urgency)
    budget.done()
    assert not budget.admit(3.0, urgency)
    assert budget.wait_s(3.0, urgency) == 1.0
    assert budget.admit(4.0, urgency)


def test_a_node_that_begins_beside_others_takes_nothing_before_they_know_of_it() -> None:
    budget = Budget(rate_per_s=10.0, burst=10.0, in_flight_max=100)
    budget.begin_beside(2, 0.0, 3.0)
    assert [tenth for tenth in range(40) if budget.admit(tenth / 10)] == [32, 34, 36, 38]


def test_a_node_that_begins_alone_takes_all_at_once() -> None:
    budget = Budget(rate_per_s=10.0, burst=10.0, in_flight_max=100)
    budget.begin_beside(1, 0.0, 3.0)
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


def test_log_ons_take_half_of_the_places_and_links_always_find_one() -> None:
    budget = Budget(rate_per_s=1_000.0, burst=1_000.0, in_flight_max=32)
    assert sum(budget.admit_log_on(0.0) for _ in range(40)) == 16
    assert budget.log_on_wait_s(0.0) == 1.0
    assert sum(budget.admit(0.0, Urgency.REOPENING) for _ in range(40)) == 16
    assert budget.in_flight == 32
    budget.log_on_done()
    assert budget.admit_log_on(0.0)
    assert not budget.admit(0.0)


def test_links_leave_log_ons_their_places_unless_they_are_of_people_who_logged_on() -> None:
    budget = Budget(rate_per_s=1_000.0, burst=1_000.0, in_flight_max=32)
    while budget.admit(0.0, Urgency.ROAMING):
        pass
    assert sum(budget.admit_log_on(0.0) for _ in range(40)) == 8


def test_the_part_of_log_ons_is_shared_by_the_nodes_that_live() -> None:
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


def test_log_ons_may_be_held_below_half_of_the_rate() -> None:
    budget = Budget(rate_per_s=500.0, burst=500.0, in_flight_max=1_000, log_ons_max_per_s=10.0)
    assert sum(budget.admit_log_on(0.0) for _ in range(100)) == 10
    assert sum(budget.admit(0.0) for _ in range(600)) == 490
    budget.share(2, 100.0)
    assert budget.log_ons_per_s == 5.0
