"""Estimate of the gateway's clock: close, never ahead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.dialogue import SAMPLES, ServerTime


@given(
    st.integers(-(10**9), 10**13),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5)), min_size=1, max_size=40),
)
def test_it_is_late_by_the_shortest_way_at_most_and_never_ahead(
    skew_ms: int, readings: list[tuple[float, float]]
) -> None:
    time, now, delays = ServerTime(), 0.0, list[float]()
    for wait_s, delay_s in readings:
        now += wait_s + delay_s
        time.received(skew_ms + int((now - delay_s) * 1000), now)
        delays.append(delay_s)
    estimate, true_ms = time.at(now), skew_ms + now * 1000
    assert estimate is not None
    assert true_ms - min(delays[-SAMPLES:]) * 1000 - 3 <= estimate <= true_ms


@pytest.mark.parametrize(
    ("readings", "ahead_ms"),
    [
        pytest.param([(30_000, 0), *((0, at) for at in range(1, SAMPLES + 1))], 0, id="set back, in the end"),
        pytest.param([(30_000, 0), (0, 25)], 30_000, id="one frame may be late by 30 s"),
        pytest.param([(30_000, 0), (0, 25), (400, 50)], 400, id="set back, as the second reading agrees"),
        pytest.param([(0, 0), (-12_000, 1), (-14_000, 2), (-9_000, 3), (-9_500, 4)], 0, id="late"),
        pytest.param([(0, 0), (-15_000, 40), (-14_600, 40)], 0, id="late, waited for the same network"),
        pytest.param([(3_600_000, 0), (0, 25)], 0, id="set back by more than any frame is late"),
    ],
)
def test_a_clock_that_was_set_back_is_believed_and_a_late_reading_is_not(
    readings: list[tuple[int, float]], ahead_ms: int
) -> None:
    time = ServerTime()
    for ahead, now in readings:
        time.received(1_000_000 + ahead + int(now * 1000), now=float(now))
    assert time.at(100.0) == 1_100_000 + ahead_ms


def test_another_node_has_another_clock() -> None:
    time = ServerTime()
    time.received(9_000_000, now=0.0)
    time.reset()
    time.received(5_000, now=1.0)
    assert time.at(1.0) == 5_000
