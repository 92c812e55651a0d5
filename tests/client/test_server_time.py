"""Estimate of the gateway's clock: close, never ahead."""

from __future__ import annotations

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


def test_a_clock_that_was_set_back_is_believed_in_the_end() -> None:
    time = ServerTime()
    time.received(1_030_000, now=0.0)
    for second in range(1, SAMPLES + 1):
        time.received(1_000_000 + second * 1000, now=float(second))
    assert time.at(100.0) == 1_100_000


def test_a_clock_that_was_set_back_is_believed_at_the_second_reading_that_agrees() -> None:
    time = ServerTime()
    time.received(1_030_000, now=0.0)
    time.received(1_025_000, now=25.0)
    assert time.at(25.0) == 1_055_000, "one frame may be late by 30 s"
    time.received(1_050_400, now=50.0)
    assert time.at(100.0) == 1_100_400


def test_two_late_readings_that_differ_are_late() -> None:
    time = ServerTime()
    for second, late in enumerate((0, 12_000, 14_000, 9_000, 9_500)):
        time.received(1_000_000 + second * 1000 - late, now=float(second))
    assert time.at(100.0) == 1_100_000


def test_readings_that_waited_for_the_same_network_are_late() -> None:
    time = ServerTime()
    time.received(1_000_000, now=0.0)
    for sent_s in (25.0, 25.4):
        time.received(1_000_000 + int(sent_s * 1000), now=40.0)
    assert time.at(100.0) == 1_100_000


def test_a_clock_that_was_set_back_by_more_than_any_frame_is_late_is_believed_at_once() -> None:
    time = ServerTime()
    time.received(9_000_000, now=0.0)
    time.received(9_000_000 - 3_600_000 + 25_000, now=25.0)
    assert time.at(100.0) == 9_000_000 - 3_600_000 + 100_000


def test_another_node_has_another_clock() -> None:
    time = ServerTime()
    time.received(9_000_000, now=0.0)
    time.reset()
    time.received(5_000, now=1.0)
    assert time.at(1.0) == 5_000
