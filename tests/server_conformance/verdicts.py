"""Verdict of a check, and the sentence of the page that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Sentence(NamedTuple):
    """A place of docs/oscce-link.md."""

    section: str
    """The heading that it stands under."""
    quote: str
    """Word for word; blanks may differ."""

    @property
    def line(self) -> str:
        """The place for people."""
        return f"{self.section}: {self.facts['sentence']}"

    @property
    def for_people(self) -> str:
        """The place with its page, for people."""
        return f"docs/oscce-link.md, {self.line}"

    @property
    def facts(self) -> Mapping[str, str]:
        """The place for programs."""
        return {"section": self.section, "sentence": " ".join(self.quote.split())}


class Failed(Exception):  # noqa: N818 - names what happened
    """The server does not do what a sentence of the page says; the text says what it does.

    Attributes:
        sentence: Which one, when it is another than the check's own.
    """

    def __init__(self, text: str, sentence: Sentence | None = None) -> None:
        super().__init__(text)
        self.sentence = sentence


class Skipped(Exception):  # noqa: N818 - names what happened
    """The check says nothing of this server; the text says why."""


def expect(truth: object, otherwise: str, sentence: Sentence | None = None) -> None:
    """Hold that something is as it should be.

    Raises:
        Failed: It is not; *otherwise* says what is the case instead.
    """
    if not truth:
        raise Failed(otherwise, sentence)
