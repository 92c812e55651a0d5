"""How is what the checks found told, to people and to programs?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Verdict(NamedTuple):
    """What one check says of a client."""

    name: str
    sentence: str
    outcome: Literal["passed", "failed", "skipped"]
    text: str
    """What the client does instead, or why nothing was looked at."""
    took_s: float

    @property
    def line(self) -> str:
        """The verdict for people; a failure with the sentence that it breaks."""
        line = f"{self.outcome:7} {self.name} ({self.took_s:.1f} s)"
        if self.outcome == "passed":
            return line
        if self.outcome == "skipped":
            return f"{line}: {self.text}"
        return f"{line}\n        the page says: {' '.join(self.sentence.split())}\n        {self.text}"


@dataclass(frozen=True, slots=True)
class Report:
    """What all checks say of a client."""

    client: str
    verdicts: Sequence[Verdict]

    @property
    def failed(self) -> Sequence[Verdict]:
        """What the client does not keep."""
        return [verdict for verdict in self.verdicts if verdict.outcome == "failed"]

    @property
    def summary(self) -> str:
        """One line."""
        counts = Counter(verdict.outcome for verdict in self.verdicts)
        passed, failed, skipped = (counts[name] for name in ("passed", "failed", "skipped"))
        return f"{self.client}: {passed} passed, {failed} failed, {skipped} skipped"

    def as_json(self) -> str:
        """Return the report for programs."""
        verdicts = [
            {
                **verdict._asdict(),
                "sentence": " ".join(verdict.sentence.split()),
                "took_s": round(verdict.took_s, 2),
            }
            for verdict in self.verdicts
        ]
        return json.dumps({"client": self.client, "passed": not self.failed, "checks": verdicts}, indent=1)
