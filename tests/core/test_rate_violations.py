"""Rate violations: how many are tolerated, and what follows."""

from __future__ import annotations

from gateway.core.command_checks import full_after
from gateway.core.rate_limits import ANY_TIME, Record, Ruling, SessionLimits


def test_a_frame_pays_for_each_whole_kib_and_no_more_than_a_burst() -> None:
    limits = SessionLimits()

    def served(size_bytes: int, seconds: int, limits: SessionLimits = limits) -> int:
        """Return how many of so large frames are served when 20 come each second."""
        full_at, count = ANY_TIME, 0
        for number in range(20 * seconds):
            after = full_after(full_at, number / 20, limits, size_bytes)
            full_at, count = (full_at, count) if after is None else (after, count + 1)
        return count

    assert served(1_023, 100) == 2_000
    assert served(16 * 1024, 100) == 119, "two at once, then one for each 17 of the rate"
    assert served(16 * 1024, 100, SessionLimits(frames_burst=1)) == 2_000


def test_errors_a_second_apart_close_nothing_and_four_within_one_do() -> None:
    record, limits = Record(), SessionLimits(errors_per_s=4)
    assert {record.error(n * 0.375, limits) for n in range(50)} == {Ruling.DROP_AND_TELL}
    assert record.error(49 * 0.375 + 0.1, limits) is Ruling.CLOSE
