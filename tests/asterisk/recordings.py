"""The recordings of a live Asterisk, as messages in their order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parent / "transcripts"
NAMES: Final = sorted(path.stem for path in FOLDER.glob("[0-9][0-9]-*.txt") if path.stem != "00-index")

_SPLIT: Final = re.compile(r"^([<>] \d+\.\d+)\n\n(?=Event: )", re.MULTILINE)
"""A head line that an empty line separates from its message."""
_HEAD: Final = re.compile(r"([<>]) (\d+\.\d+)$")


class Line(NamedTuple):
    """A message: sent to Asterisk (``>``), or received from it (``<``), with its seconds."""

    way: str
    at_s: float
    headers: dict[str, str]
    raw: bytes


def read(name: str) -> Iterator[Line]:
    """Yield the messages of a recording; what its narrator says is left out."""
    text = _SPLIT.sub(r"\1\n", (FOLDER / f"{name}.txt").read_text("utf-8"))
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if not lines or (head := _HEAD.match(lines[0])) is None:
            continue
        body = lines[1:]
        headers = dict(_header(line) for line in body if ":" in line)
        yield Line(head[1], float(head[2]), headers, "\r\n".join([*body, "", ""]).encode())


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip()
