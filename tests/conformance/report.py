"""Report of a kit's checks, for people and for programs. Both kits use it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol


class Quoted(Protocol):
    """A sentence of a page."""

    @property
    def for_people(self) -> str:
        """Where it stands and what it says, for people."""

    @property
    def facts(self) -> Mapping[str, str]:
        """The same for programs."""


class Words(NamedTuple):
    """A sentence of the only page that there is for clients."""

    quote: str
    """Word for word; blanks may differ."""

    @property
    def for_people(self) -> str:
        """What it says, for people."""
        return f"the page says: {self.facts['sentence']}"

    @property
    def facts(self) -> Mapping[str, str]:
        """What it says, for programs."""
        return {"sentence": " ".join(self.quote.split())}


class Verdict(NamedTuple):
    """What one check says of what is tested."""

    name: str
    sentence: Quoted
    """The one that is held, or of a failure the one that is broken."""
    outcome: Literal["passed", "failed", "skipped"]
    text: str
    """What is done instead, or why nothing was looked at."""
    took_s: float

    @property
    def line(self) -> str:
        """The verdict for people; a failure with the sentence that it breaks."""
        line = f"{self.outcome:7} {self.name} ({self.took_s:.1f} s)"
        if self.outcome == "passed":
            return line
        if self.outcome == "skipped":
            return f"{line}: {self.text}"
        return f"{line}\n        {self.sentence.for_people}\n        {self.text}"


@dataclass(frozen=True, slots=True)
class Report:
    """What all checks say of what is tested."""

    kind: Literal["client", "server"]
    tested: str
    """Its name or address."""
    verdicts: Sequence[Verdict]

    @property
    def failed(self) -> Sequence[Verdict]:
        """What is not kept."""
        return [verdict for verdict in self.verdicts if verdict.outcome == "failed"]

    @property
    def summary(self) -> str:
        """One line."""
        counts = Counter(verdict.outcome for verdict in self.verdicts)
        passed, failed, skipped = (counts[name] for name in ("passed", "failed", "skipped"))
        return f"{self.tested}: {passed} passed, {failed} failed, {skipped} skipped"

    def as_json(self) -> str:
        """Return the report for programs."""
        checks = [
            {
                "name": verdict.name,
                "outcome": verdict.outcome,
                **verdict.sentence.facts,
                "text": verdict.text,
                "took_s": round(verdict.took_s, 2),
            }
            for verdict in self.verdicts
        ]
        return json.dumps({self.kind: self.tested, "passed": not self.failed, "checks": checks}, indent=1)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell(verdict: Verdict) -> None:
    """Print a verdict at once."""
    say(verdict.line)
