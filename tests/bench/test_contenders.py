"""Works become spans of one load, and what is heard of them their figures, up to the first trouble."""

from __future__ import annotations

import json

import pytest

from bench.contenders import lag, load_of, outcomes
from bench.load.generator import Heard, Span
from bench.programs import BenchError
from bench.work import Figures, Work

RATED = Work(10, per_s=5, duration_s=1, warmup_s=0.2)
WORKS = (RATED, Work(20, window=16), Work(20, share=0.5, size=40))


def heard(phones: int, closed: int = 0) -> Heard[Figures]:
    """Return an answer of a span."""
    answer = {
        "n": phones,
        "opened": phones,
        "failed": 0,
        "closed": closed,
        "closes": {},
        "connect_s": 0.1,
        "secs": 1.0,
        "deliv": 50,
        "deliv_s": 50.0,
        "deliv_total": 50,
        "frames_s": 50.0,
        "MB_s": 0.01,
        "lat_us": {"p50": 1_000.0, "p99": 2_000.0, "p999": 3_000.0},
        "pub": {"total": 5},
        "srv": {"cpu_s": 0.1, "us_per_deliv": 4.0, "rss_idle_mb": 60.0, "rss_end_mb": 61.0},
    }
    return Heard(json.dumps(answer).encode(), {}, {})


def test_works_are_spans_of_one_load() -> None:
    load = load_of(WORKS, 80, "/", ("--pong",))
    assert load.phones == 20
    assert load.spans == (
        Span(10, 5, None, 0.2, 1),
        Span(20, None, 16),
        Span(20, -0.5, None, size=40),
    )


def test_what_follows_a_trouble_has_no_outcome() -> None:
    found = outcomes([heard(10), heard(20, closed=1), heard(20)], WORKS, 10_000_000, {"held": 1.0})
    assert len(found) == 2
    first, trouble = found
    assert isinstance(first, dict)
    assert isinstance(trouble, BenchError)
    assert (first["cpu_us"], first["held"]) == (4.0, 1.0)
    assert first["phone_kb"] == pytest.approx(5_000)


def test_an_end_without_a_word_is_trouble() -> None:
    with pytest.raises(BenchError):
        outcomes([], WORKS, 0, {})


def test_the_lag_is_that_between_two_looks() -> None:
    bucket = 'loop_lag_seconds_bucket{le="%s"}'
    before = {bucket % "0.01": 5.0, bucket % "+Inf": 9.0}
    before |= {"loop_lag_seconds_count": 9.0, "loop_lag_seconds_sum": 40.0}
    after = {bucket % "0.01": 105.0, bucket % "+Inf": 109.0}
    after |= {"loop_lag_seconds_count": 109.0, "loop_lag_seconds_sum": 40.5}
    found = lag(before, after)
    assert found["loop_lag_mean_ms"] == pytest.approx(5.0)
    assert found["loop_lag_p99_ms"] == pytest.approx(9.9)
    assert lag(after, after) == {}
    assert lag({}, {}) == {}
