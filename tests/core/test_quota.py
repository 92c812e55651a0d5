"""Quota: how often a rare act is allowed."""

from __future__ import annotations

from gateway.core.rate_limits import Quota


def quota() -> Quota[str]:
    return Quota(most=3, window_s=100.0, keys_max=2)


def test_a_key_that_took_nothing_is_not_remembered() -> None:
    found = quota()
    found.take("anna", 0.0)
    found.give_back("anna", 0.0)
    assert len(found) == 0


def test_it_is_bounded_and_forgets_who_took_least_recently() -> None:
    found = quota()
    for key in ("anna", "bert", "anna", "cora"):
        found.take(key, 0.0)
    assert len(found) == 2
    assert [found.take("anna", 0.0) for _ in range(2)] == [0.0, 100.0]


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


def test_what_only_one_of_two_knows_is_not_forgotten() -> None:
    found = quota()
    for now in (0.0, 10.0, 20.0):
        found.take("anna", now)
    found.adopt("anna", (), 30.0)
    assert found.taken("anna", 30.0) == (0.0, 10.0, 20.0)
    found.adopt("anna", [25.0], 30.0)
    assert found.taken("anna", 30.0) == (0.0, 10.0, 25.0)


def test_what_is_adopted_is_bounded_and_what_counts_no_more_is_not_kept() -> None:
    found = quota()
    found.adopt("anna", [0.0], 100.0)
    assert len(found) == 0
    for key in ("anna", "bert", "cora"):
        found.adopt(key, [1.0, 2.0, 3.0, 4.0], 10.0)
    assert len(found) == 2
    assert found.taken("cora", 10.0) == (2.0, 3.0, 4.0)


def test_what_came_to_nothing_is_given_back_once() -> None:
    found = quota()
    for now in (0.0, 1.0, 2.0):
        found.take("anna", now)
    found.give_back("anna", 1.0)
    found.give_back("anna", 1.0)
    found.give_back("bert", 1.0)
    assert (found.take("anna", 3.0), found.take("anna", 3.0)) == (0.0, 97.0)


def test_the_window_slides_with_each_taking() -> None:
    found = quota()
    assert [found.take("anna", now) for now in (0.0, 10.0, 20.0)] == [0.0, 0.0, 0.0]
    assert found.take("anna", 30.0) == 70.0
    assert found.take("anna", 99.5) == 0.5
    assert found.take("anna", 100.0) == 0.0
    assert found.take("anna", 100.0) == 10.0
