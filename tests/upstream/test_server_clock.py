"""Is a server's clock seen to be set back, and nothing else taken for it?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.oscce.link import ServerClock, SetBackError

START_MS = 1_700_000_000_000


def lived(*, step_ms: int, rate: float = 1.0, delays: tuple[float, ...] = (), at: int = 3) -> bool:
    """Tell whether a clock that is set by *step_ms* before answer *at* is seen to be set back.

    Args:
        step_ms: How far it is set forward.
        rate: How fast it goes.
        delays: Of the answers, in turn, half on the way to the server, half back; seconds.
        at: Which answer is given after it was set.
    """
    clock = ServerClock()
    clock.told(START_MS, 100.0)
    for number in range(1, at + 4):
        asked_at = 100.0 + 10.0 * number
        delay_s = delays[number % len(delays)] if delays else 0.0
        time_ms = START_MS + round((asked_at + delay_s / 2 - 100.0) * 1000 * rate)
        try:
            clock.answered(time_ms + (step_ms if number >= at else 0), asked_at, asked_at + delay_s)
        except SetBackError:
            return True
    return False


@pytest.mark.parametrize("step_ms", [-2_100, -30_000, -300_000, -START_MS])
def test_a_step_back_is_seen(step_ms: int) -> None:
    assert lived(step_ms=step_ms)
    assert lived(step_ms=step_ms, at=1), "the time of the opening is the first"


@pytest.mark.parametrize("step_ms", [-2_000, -500, 0, 500, 300_000])
def test_jitter_and_steps_forward_are_none(step_ms: int) -> None:
    assert not lived(step_ms=step_ms)


def test_a_step_back_is_seen_after_a_step_forward() -> None:
    clock = ServerClock()
    clock.told(START_MS, 100.0)
    clock.answered(START_MS + 310_000, 110.0, 110.0)
    with pytest.raises(SetBackError):
        clock.answered(START_MS + 20_000, 120.0, 120.0)


@given(st.lists(st.floats(0, 60), min_size=1, max_size=6), st.floats(0.9995, 1.0005))
def test_slow_answers_and_slow_clocks_are_none(delays: list[float], rate: float) -> None:
    assert not lived(step_ms=0, rate=rate, delays=tuple(delays))


def test_a_clock_that_goes_slow_for_days_is_none() -> None:
    clock = ServerClock()
    clock.told(START_MS, 0.0)
    for number in range(1, 30_000):
        now = 10.0 * number
        clock.answered(START_MS + round(now * 1000 * 0.9995), now, now)
