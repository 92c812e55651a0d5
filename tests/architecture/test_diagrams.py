"""Do the diagrams in docs/diagrams show the transition tables as they are?"""

from __future__ import annotations

import enum
from pathlib import Path

from docs._generate import diagrams


class State(enum.Enum):
    SHUT = "shut"
    OPEN = "open"
    GONE = "gone"


class Burned:
    pass


TABLE = {
    (State.SHUT, "push"): State.OPEN,
    (State.SHUT, "pull"): State.OPEN,
    (State.OPEN, Burned): State.GONE,
}


def test_a_page_draws_states_events_start_and_end() -> None:
    page = diagrams.draw("door", "May one go through?", TABLE)
    assert (
        "    [*] --> shut\n    shut --> open: push, pull\n    open --> gone: Burned\n    gone --> [*]\n"
        in page
    )
    assert "| `open` | `Burned` | `gone` |" in page
    assert page.startswith("# door\n\nMay one go through?\n")


def test_missing_differing_and_orphaned_pages_are_stale(tmp_path: Path) -> None:
    (tmp_path / "same.md").write_text("same", "utf-8")
    (tmp_path / "changed.md").write_text("old", "utf-8")
    (tmp_path / "orphan.md").write_text("x", "utf-8")
    faults = list(diagrams.stale({"same.md": "same", "changed.md": "new", "missing.md": "x"}, tmp_path))
    assert [fault.split(":")[0] for fault in faults] == ["changed.md", "missing.md", "orphan.md"]


def test_the_pages_of_this_tree_are_fresh() -> None:
    pages = {
        f"{name}.md": diagrams.draw(name, question, table) for name, question, table in diagrams.tables()
    }
    assert list(diagrams.stale(pages, diagrams.FOLDER)) == []
