"""Reconnection: when, how late, and when never."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.http import (
    ADVISED_MAX_S,
    Again,
    Backoff,
    Ending,
    LogOnAgain,
    Reconnect,
    Step,
    Stop,
    Window,
    window_of,
)

JITTER = st.floats(0, 1, exclude_max=True)


@given(st.lists(JITTER, max_size=50))
def test_back_off_is_full_jitter_within_its_bounds(jitters: list[float]) -> None:
    backoff = Backoff()
    for n, jitter in enumerate(jitters):
        assert backoff.failed(jitter) == jitter * min(20.0, 0.5 * 2**n)


@pytest.mark.parametrize(("up_s", "expected"), [(0.0, 2.0), (29.9, 2.0), (30.0, 0.5)])
def test_only_a_stable_connection_ends_a_row_of_failures(up_s: float, expected: float) -> None:
    backoff = Backoff()
    backoff.failed(1.0)
    backoff.failed(1.0)
    backoff.lasted(up_s)
    assert backoff.failed(1.0) == expected


STOP: Step = Stop()
NOW: Step = Again(0.5)
LOG_ON: Step = LogOnAgain(0.5)


@pytest.mark.parametrize(
    ("code", "step"),
    [(code, STOP) for code in (4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4099)]
    + [(code, NOW) for code in (4100, 4102, 4103, 4108, 4109, 4110, 4199, 4200, 4201, 4299)]
    + [(code, LOG_ON) for code in (4300, 4399)]
    + [(code, NOW) for code in (1001, 1006, 1011, 1012, 1013)]
    + [(code, STOP) for code in (1000, 1002, 1003, 1007, 1008, 1009, 3000, 4400)],
)
def test_the_range_of_the_close_code_decides(code: int, step: Step) -> None:
    assert Reconnect().after(Ending(code, "why"), 0.0, 1.0) == step


@given(st.sampled_from([1012, 4100, 4200, 4300]), JITTER, st.floats(0, 100), st.floats(0, 100))
def test_advised_windows_win(code: int, jitter: float, low: float, width: float) -> None:
    reconnect = Reconnect()
    for _ in range(3):
        step = reconnect.after(Ending(code, "why", window=Window(low, low + width)), 0.0, jitter)
        assert not isinstance(step, Stop)
        assert low <= step.in_s <= low + width


def test_advice_is_bounded_and_never_negative() -> None:
    reconnect = Reconnect()
    far = reconnect.after(Ending(4200, "why", window=Window(1e9, 1e12)), 0.0, 0.5)
    odd = reconnect.after(Ending(4200, "why", window=Window(-5.0, -9.0)), 0.0, 0.5)
    swapped = reconnect.after(Ending(4200, "why", window=Window(8.0, 2.0)), 0.0, 0.5)
    assert (far, odd, swapped) == (Again(ADVISED_MAX_S), Again(0.0), Again(8.0))


@given(st.lists(st.floats(0, 5), max_size=30))
def test_tries_that_hurry_are_never_closer_than_two_seconds(steps: list[float]) -> None:
    reconnect, now, tries = Reconnect(), 0.0, set[float]()
    for step in steps:
        now += step
        tries.add(round(now + reconnect.hurry(now), 6))
    ordered = sorted(tries)
    assert all(later - earlier > 1.999 for earlier, later in itertools.pairwise(ordered))


@pytest.mark.parametrize(
    ("bounds", "window"),
    [
        ((None, None), None),
        ((1.0, 9.0), Window(1.0, 9.0)),
        ((3.0, None), Window(3.0, 3.0)),
        ((None, 9.0), Window(0.0, 9.0)),
    ],
)
def test_a_bye_may_advise_a_window(bounds: tuple[float | None, float | None], window: Window | None) -> None:
    assert window_of(*bounds) == window
