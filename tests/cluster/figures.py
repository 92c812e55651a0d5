"""Figures of a scenario, as a line of the report's file."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.sizes import IS_FULL

FOLDER = "CHAOS_FIGURES"
"""The environment variable with the folder of figures; without it they are only printed."""


@dataclass
class Figures:
    """Figures of one fault. Seconds and counts; None: not a figure of this fault."""

    fault: str
    scenario: int = 0
    size: str = "full" if IS_FULL else "light"
    phones: int = 0
    converge_s: float | None = None
    """Until the last phone saw data that is newer than the fault, or than the end of a lasting one."""
    blind_s: float | None = None
    """The age of the oldest view of any phone."""
    lie_s: float | None = None
    """The age of the oldest view that was shown as live."""
    lost: int | None = None
    """Differences between phones and truth in the end."""
    executed: int = 0
    twice: int = 0
    gap_s: float = 0.0
    kicks_max: int = 0
    without_link: int = 0
    disconnected: int = 0
    breaks: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    log_on_rate_max: float = 0.0
    """In the busiest second."""
    log_ons_over: float = 0.0
    """Greatest excess of log-ons over the budget, which allows one second's worth at once."""
    log_on_budget: float | None = None
    routed_left: int = 0
    canaries: dict[str, int] = field(default_factory=dict)
    """Places that were searched for canaries → bytes; a find fails the scenario."""
    notes: dict[str, float] = field(default_factory=dict)
    """Other figures."""

    def text(self) -> str:
        """Return them as a line."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def keep(self) -> None:
        """Store them, if the environment has a folder: the scenario has passed."""
        if folder := os.environ.get(FOLDER):
            Path(folder).mkdir(parents=True, exist_ok=True)
            name = "".join(letter if letter.isalnum() else "-" for letter in self.fault.lower())
            (Path(folder) / f"{self.scenario}-{name}.json").write_text(self.text())


def kept(folder: Path) -> Iterator[Figures]:
    """Return the stored figures, in their order."""
    for path in sorted(folder.glob("*.json")):
        yield Figures(**json.loads(path.read_text()))
