"""How much misbehaviour is taken, and what comes of more?"""

from __future__ import annotations

from gateway.core.rate_limits import ANY_TIME, Record, Ruling, SessionLimits, full_after


class Phone:
    """One connection, as its session judges it; None is a frame that is served."""

    def __init__(
        self, per_s: float = 1.0, burst: int = 2, dropped_max: int = 3, errors_per_s: int = 4
    ) -> None:
        self.limits = SessionLimits(
            frames_per_s=per_s, frames_burst=burst, dropped_max=dropped_max, errors_per_s=errors_per_s
        )
        self.full_at = ANY_TIME
        self.record = Record()

    def frame(self, now: float) -> Ruling | None:
        full_at = full_after(self.full_at, now, self.limits)
        if full_at is None:
            return self.record.too_many(now, self.limits)
        self.full_at = full_at
        return None

    def error(self, now: float) -> Ruling:
        return self.record.error(now, self.limits)


def test_a_burst_is_served_and_then_the_rate() -> None:
    phone = Phone(per_s=2.0)
    rulings = [phone.frame(now) for now in (0.0, 0.0, 0.0, 0.5, 0.5, 1.0)]
    serve, drop, tell = None, Ruling.DROP, Ruling.DROP_AND_TELL
    assert rulings == [serve, serve, tell, serve, drop, serve]


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


def test_dropping_is_told_once_a_second() -> None:
    phone = Phone(per_s=1e-6, dropped_max=99)
    told = [now for now in (0.0, 0.0, 0.0, 0.4, 0.999, 1.0, 1.5, 2.1) if _tells(phone.frame(now))]
    assert told == [0.0, 1.0, 2.1]


def _tells(ruling: Ruling | None) -> bool:
    return ruling is Ruling.DROP_AND_TELL


def test_who_does_not_stop_is_closed_after_the_most_that_is_dropped() -> None:
    phone = Phone(per_s=1e-6, burst=1, dropped_max=3)
    rulings = [phone.frame(0.0) for _ in range(5)]
    assert rulings.index(Ruling.CLOSE) == 4
    assert rulings[0] is None


def test_dropped_frames_are_never_forgiven() -> None:
    phone = Phone(per_s=1.0, burst=1, dropped_max=1)
    assert phone.frame(0.0) is None
    assert phone.frame(0.0) is Ruling.DROP_AND_TELL
    assert phone.frame(1_000.0) is None
    assert phone.frame(1_000.0) is Ruling.CLOSE


def test_the_fourth_error_in_a_second_closes() -> None:
    phone = Phone()
    assert [phone.error(now) for now in (0.0, 0.3, 0.6)] == [Ruling.DROP_AND_TELL] * 3
    assert phone.error(0.999) is Ruling.CLOSE


def test_errors_a_second_apart_do_not() -> None:
    phone = Phone()
    assert {phone.error(n * 0.375) for n in range(50)} == {Ruling.DROP_AND_TELL}
    assert phone.error(49 * 0.375 + 0.1) is Ruling.CLOSE
