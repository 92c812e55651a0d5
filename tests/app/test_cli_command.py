"""Is a list shown as people read it, and as no terminal obeys it?"""

from __future__ import annotations

from gateway.app.cli.command import table


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert table(("A", "LONG"), [("wide", "x"), ("y", "")]) == "A     LONG\nwide  x\ny\n"


def test_nothing_is_a_row_of_headings() -> None:
    assert table(("A", "B"), []) == "A  B\n"


def test_a_terminal_is_told_nothing_but_letters() -> None:
    assert table(("A",), [("\x1b[2Jgone\r\n\u202e",)]) == "A\n?[2Jgone???\n"
