"""docs/metrics.md agrees with the code."""

from __future__ import annotations

import pytest

from docs._generate import metrics
from docs._generate.metrics import Measured


def test_a_label_whose_values_nobody_knows_is_missed() -> None:
    with pytest.raises(KeyError, match=r"fds\.colour"):
        metrics.render([Measured("fds", "gauge", ("colour",), "Files.")])


def test_values_are_known_of_every_label_and_of_nothing_else() -> None:
    labels = {f"{one.name}.{label}" for one in metrics.measured() for label in one.labels}
    assert metrics.VALUES.keys() == labels


def test_values_are_few_and_each_is_there_once() -> None:
    for place, values in metrics.VALUES.items():
        assert len(set(values)) == len(values), place
        assert 0 < len(values) < 100, place


def test_the_page_of_this_tree_is_fresh() -> None:
    assert metrics.PAGE.read_text("utf-8") == metrics.render(metrics.measured())
