"""Command: summary, arguments and function of one ``oscc-gateway`` command, and what commands share."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

PROGRAM: Final = "oscc-gateway"


class Command(NamedTuple):
    """One command. *run* returns the exit code."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    examples: str


def program_name() -> str:
    """Return what to type for this program here: its name where the shell finds it, else its path."""
    own = Path(sys.argv[0])
    if shutil.which(PROGRAM) is not None or own.name != PROGRAM:
        return PROGRAM
    path = os.path.relpath(own)
    if path.startswith(".."):
        return str(own.absolute())
    return path if os.sep in path else f"./{path}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return *rows* below their *headings*, a line each; what no terminal should obey is not in it."""
    lines = [headings, *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "".join(f"{'  '.join(map(str.ljust, line, widths)).rstrip()}\n" for line in lines)


def _shown(cell: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in cell)


# ---- shared options ----


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``; without it all settings come from the environment."""
    parser.add_argument(
        "--config",
        "-c",
        type=Path,
        metavar="FILE",
        help="the TOML file; OSCC_GATEWAY__SECTION__KEY variables override it",
    )
