"""What was measured goes between its markers and nowhere else, and every marker is used."""

from __future__ import annotations

import pytest

from bench import report
from bench.results import Results

PAGE = "before\n<!-- bench:goals -->\nold\n<!-- /bench:goals -->\nafter\n"


def test_only_what_stands_between_markers_changes() -> None:
    filled = report.fill(PAGE, {"goals": r"new \1"})
    assert filled == "before\n<!-- bench:goals -->\n\nnew \\1\n\n<!-- /bench:goals -->\nafter\n"
    assert report.fill(filled, {"goals": r"new \1"}) == filled


def test_results_without_a_place_are_not_dropped() -> None:
    with pytest.raises(ValueError, match="0 places for idle"):
        report.fill(PAGE, {"idle": "new"})


def test_the_page_has_a_place_for_everything() -> None:
    page = report.PAGE.read_text("utf-8")
    told = report.parts(Results([]), {}, [])
    filled = report.fill(page, dict.fromkeys(told, "measured"))
    assert filled.count("\nmeasured\n") == page.count("<!-- bench:") == len(told)
