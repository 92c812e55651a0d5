"""Corpus of the fuzzer: its files and their form.

One line of printable ASCII for each input, escaped as in Python, so that a change can be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "corpus"


def load(name: str) -> list[bytes]:
    lines = (FOLDER / f"{name}.txt").read_text("ascii").splitlines()
    return [line.encode().decode("unicode_escape").encode("latin-1") for line in lines]


def save(name: str, inputs: Iterable[bytes]) -> None:
    """Rewrite a corpus, in an order that depends on its inputs only."""
    ordered = sorted(set(inputs), key=lambda data: (len(data), data))
    lines = [data.decode("latin-1").encode("unicode_escape").decode() for data in ordered]
    (FOLDER / f"{name}.txt").write_text("".join(line + "\n" for line in lines), "ascii")
