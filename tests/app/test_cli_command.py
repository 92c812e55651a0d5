"""Is a list shown as people read it, and as no terminal obeys it?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway.app.cli.command import program_name, table


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert table(("A", "LONG"), [("wide", "x"), ("y", "")]) == "A     LONG\nwide  x\ny\n"


def test_nothing_is_a_row_of_headings() -> None:
    assert table(("A", "B"), []) == "A  B\n"


def test_a_terminal_is_told_nothing_but_letters() -> None:
    assert table(("A",), [("\x1b[2Jgone\r\n\u202e",)]) == "A\n?[2Jgone???\n"


def test_the_program_is_named_as_it_can_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / ".venv" / "bin" / "oscc-gateway"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "demo"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert program_name() == ".venv/bin/oscc-gateway"
    monkeypatch.chdir(program.parent)
    assert program_name() == "./oscc-gateway"
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert program_name() == str(program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert program_name() == "oscc-gateway"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program_name() == "oscc-gateway"
