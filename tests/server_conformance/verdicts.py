"""What does a check find, and how is it told to people and to programs?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Sentence(NamedTuple):
    """A place of docs/oscce-link.md."""

    section: str
    """The heading that it stands under."""
    quote: str
    """Word for word; blanks may differ."""

    @property
    def line(self) -> str:
        """The place for people."""
        return f"{self.section}: {' '.join(self.quote.split())}"


class Failed(Exception):  # noqa: N818 - names what happened
    """The server does not do what a sentence of the page says; the text tells what it does.

    Attributes:
        sentence: Which one, when it is another than the check's own.
    """

    def __init__(self, text: str, sentence: Sentence | None = None) -> None:
        super().__init__(text)
        self.sentence = sentence


class Skipped(Exception):  # noqa: N818 - names what happened
    """The check says nothing of this server; the text tells why."""


def expect(truth: object, otherwise: str, sentence: Sentence | None = None) -> None:
    """Hold that something is as it should be.

    Raises:
        Failed: It is not; *otherwise* tells what is the case instead.
    """
    if not truth:
        raise Failed(otherwise, sentence)


class Verdict(NamedTuple):
    """What one check says of a server."""

    name: str
    sentence: Sentence
    """The one that is held, or of a failure the one that is broken."""
    outcome: Literal["passed", "failed", "skipped"]
    text: str
    """What the server does instead, or why nothing was looked at."""
    took_s: float

    @property
    def line(self) -> str:
        """The verdict for people; a failure with the sentence that it breaks."""
        line = f"{self.outcome:7} {self.name} ({self.took_s:.1f} s)"
        if self.outcome == "passed":
            return line
        if self.outcome == "skipped":
            return f"{line}: {self.text}"
        return f"{line}\n        docs/oscce-link.md, {self.sentence.line}\n        {self.text}"


@dataclass(frozen=True, slots=True)
class Report:
    """What all checks say of a server."""

    server: str
    verdicts: Sequence[Verdict]

    @property
    def failed(self) -> Sequence[Verdict]:
        """What the server does not keep."""
        return [verdict for verdict in self.verdicts if verdict.outcome == "failed"]

    @property
    def summary(self) -> str:
        """One line."""
        counts = Counter(verdict.outcome for verdict in self.verdicts)
        passed, failed, skipped = (counts[name] for name in ("passed", "failed", "skipped"))
        return f"{self.server}: {passed} passed, {failed} failed, {skipped} skipped"

    def as_json(self) -> str:
        """Return the report for programs."""
        checks = [
            {
                "name": verdict.name,
                "outcome": verdict.outcome,
                "section": verdict.sentence.section,
                "sentence": " ".join(verdict.sentence.quote.split()),
                "text": verdict.text,
                "took_s": round(verdict.took_s, 2),
            }
            for verdict in self.verdicts
        ]
        return json.dumps({"server": self.server, "passed": not self.failed, "checks": checks}, indent=1)
