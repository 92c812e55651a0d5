"""What a scenario measured, as a line of a file that the report is made of."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.sizes import IS_FULL

FOLDER = "CHAOS_FIGURES"
"""The environment variable that names where figures are kept; without it they are only printed."""


@dataclass
class Figures:
    """Of one fault. Seconds and counts; None: not a figure of this fault."""

    fault: str
    scenario: int = 0
    size: str = "full" if IS_FULL else "light"
    phones: int = 0
    converge_s: float | None = None
    """Until the last phone saw what is newer than the fault, or than its end when it lasts."""
    blind_s: float | None = None
    """The age of the oldest view that any phone had."""
    lie_s: float | None = None
    """The age of the oldest view that was shown as live."""
    lost: int | None = None
    """Differences between phones and truth at quiescence."""
    executed: int = 0
    twice: int = 0
    links_max: int = 0
    gap_s: float = 0.0
    kicks_max: int = 0
    without_link: int = 0
    disconnected: int = 0
    breaks: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    log_on_rate_max: float = 0.0
    """In the busiest second."""
    log_ons_over: float = 0.0
    """By how many log-ons the budget was ever exceeded, one second's worth at once allowed."""
    log_on_budget: float | None = None
    routed_left: int = 0
    canaries: dict[str, int] = field(default_factory=dict)
    """Where Redis, files and logs were looked for canaries → how many bytes; a find fails the scenario."""
    notes: dict[str, float] = field(default_factory=dict)
    """What else was measured."""

    def text(self) -> str:
        """Return them as they are kept."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def keep(self) -> None:
        """Keep them, when the environment says where: the scenario has passed."""
        if folder := os.environ.get(FOLDER):
            Path(folder).mkdir(parents=True, exist_ok=True)
            name = "".join(letter if letter.isalnum() else "-" for letter in self.fault.lower())
            (Path(folder) / f"{self.scenario}-{name}.json").write_text(self.text())


def kept(folder: Path) -> Iterator[Figures]:
    """Return what scenarios have kept, in their order."""
    for path in sorted(folder.glob("*.json")):
        yield Figures(**json.loads(path.read_text()))
