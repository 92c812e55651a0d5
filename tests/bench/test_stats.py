"""Medians, spreads and quantiles are what their names say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import medians, quantile, spreads


def test_medians_are_of_the_runs_that_have_the_figure() -> None:
    assert medians([{"a": 1.0, "b": 7.0}, {"a": 9.0}, {"a": 2.0}]) == {"a": 2.0, "b": 7.0}


def test_a_spread_is_a_part_of_the_median() -> None:
    assert spreads([{"a": 8.0}, {"a": 10.0}, {"a": 13.0}]) == {"a": pytest.approx(0.5)}
    assert spreads([{"a": 0.0}]) == {"a": 0.0}


def test_of_nothing_every_quantile_is_zero() -> None:
    assert quantile([], 0.99) == 0.0


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0, 1))
def test_a_quantile_is_a_value_and_as_many_are_below(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert found in ordered
    assert sum(value < found for value in ordered) <= share * len(ordered)
