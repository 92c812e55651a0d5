"""Recorder of conversations, readable for people and comparable for tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent


class Transcript:
    """Lines of a conversation; the same line again and again is written once, and counted."""

    def __init__(self, title: str, *, width: int = 8) -> None:
        self._lines = [title, ""]
        self._width = width
        self._times = 1

    def does(self, line: str) -> None:
        """Add what is done by the test."""
        self._times = 1
        self._lines.append(line)

    def head(self, says: str) -> None:
        """Add what the next lines show."""
        self._times = 1
        self._lines += ["", f"-- {says}"]

    def write(self, at_s: float, who: str, says: str) -> None:
        """Add what *who* says at *at_s* seconds."""
        line = f"{at_s:7.2f}  {who:<{self._width}} {says}"
        if self._times == 1:
            repeats = self._lines[-1] == line
        else:
            repeats = self._lines[-1] == f"{line}  ({self._times} times)"
        if repeats:
            self._times += 1
            self._lines[-1] = f"{line}  ({self._times} times)"
        else:
            self._times = 1
            self._lines.append(line)

    def text(self) -> str:
        """Return what was said."""
        return "\n".join(self._lines) + "\n"


def check(name: str, text: str) -> None:
    """Compare with the file of that name, or write it when ``TRANSCRIPTS=rewrite`` asks for it."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("TRANSCRIPTS") == "rewrite":
        path.write_text(text, "utf-8")
    assert path.is_file(), f"{path.name} is missing; run make transcripts"
    assert text == path.read_text("utf-8"), f"{path.name} differs; run make transcripts and read the diff"
