"""Faulty clients that the kit must detect: ``faults.toml``.

Each is the JavaScript SDK with one place of its text changed, and the check that must find it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final, NamedTuple


class Fault(NamedTuple):
    """One seeded fault."""

    found_by: str
    right: str
    """Stands once in the SDK's text."""
    wrong: str


FAULTS: Final[dict[str, Fault]] = {
    name: Fault(**fault)
    for name, fault in tomllib.loads(Path(__file__).with_name("faults.toml").read_text("utf-8")).items()
}
