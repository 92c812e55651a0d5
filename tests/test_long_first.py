"""Order of tests that run on several workers."""

from __future__ import annotations

from tests.long_first import ordered, slices


def test_each_worker_begins_with_a_long_test_and_all_end_together() -> None:
    tests = [("a", 0), ("b", 3), ("c", 0), ("d", 9), ("e", 5), ("f", 4), ("g", 0), ("h", 0)]
    assert ordered(tests, 2) == ["d", "b", "a", "c", "e", "f", "g", "h"]
    assert ordered(tests, 1) == ["d", "e", "f", "b", "a", "c", "g", "h"]


def test_more_workers_than_tests_and_long_tests_alone_lose_none() -> None:
    assert sorted(ordered([("a", 1), ("b", 2)], 5)) == ["a", "b"]
    assert sorted(ordered([(str(each), 1) for each in range(7)], 3)) == [str(each) for each in range(7)]


def test_slices_are_those_of_pytest_xdist() -> None:
    assert slices(38, 5) == [7, 7, 8, 8, 8]
