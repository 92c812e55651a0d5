"""Diagrams in docs/diagrams agree with the transition tables."""

from __future__ import annotations

from docs._generate import diagrams


def test_the_pages_of_this_tree_are_fresh() -> None:
    pages = {f"{drawn.name}.md": diagrams.draw(drawn) for drawn in diagrams.tables()}
    assert list(diagrams.stale(pages, diagrams.FOLDER)) == []
