"""Stalled phones are detected; slow ones are not disconnected."""

from __future__ import annotations

from gateway.edge.socket import STALL_S, WriteStall


def test_without_progress_it_is_over_after_a_while() -> None:
    stall = WriteStall(1_000, 50.0)
    assert not stall.is_over(1_000, 50.0 + STALL_S - 0.001)
    assert stall.is_over(1_000, 50.0 + STALL_S)


def test_any_progress_restarts_the_wait() -> None:
    stall = WriteStall(1_000, 50.0)
    assert not stall.is_over(999, 50.0 + STALL_S - 1)
    assert not stall.is_over(999, 50.0 + 2 * STALL_S - 1.001)
    assert stall.is_over(999, 50.0 + 2 * STALL_S - 1)


def test_progress_that_is_seen_late_counts_from_when_it_is_seen() -> None:
    stall = WriteStall(1_000, 50.0)
    assert not stall.is_over(1, 50.0 + 5 * STALL_S)


def test_more_that_waits_is_no_progress() -> None:
    stall = WriteStall(1_000, 50.0)
    assert not stall.is_over(5_000, 50.0 + STALL_S - 1)
    assert not stall.is_over(2_000, 50.0 + STALL_S - 0.5), "less than then, and no less than ever"
    assert stall.is_over(2_000, 50.0 + STALL_S)


def test_it_is_found_late_once() -> None:
    stall = WriteStall(1_000, 50.0)
    assert [stall.was_due_first() for _ in range(3)] == [True, False, False]
