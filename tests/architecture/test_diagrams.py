"""Diagrams in docs/diagrams agree with the transition tables."""

from __future__ import annotations

from docs._generate import diagrams


def test_the_pages_of_this_tree_are_fresh() -> None:
    pages = {
        f"{name}.md": diagrams.draw(name, question, table) for name, question, table in diagrams.tables()
    }
    assert list(diagrams.stale(pages, diagrams.FOLDER)) == []
