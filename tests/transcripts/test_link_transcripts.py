"""Lives of links agree with their transcripts. Read the ``link_*.txt`` beside this file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.link import LinkMachine
from tests.transcripts.recorder import FOLDER, Transcript, check


class LinkLife:
    """A link's machine, what happens to it, and what it wants."""

    def __init__(self, title: str) -> None:
        self.transcript = Transcript(title)
        self.link = LinkMachine()
        self.now = 0.0

    def happens(self, received: str, *happening: Callable[[], object]) -> None:
        """Let something happen; write down where the link stands then."""
        for one in happening:
            one()
        stands = f"{received:<34} → {self.link.state}, data {self.link.health(self.now)}"
        due_at = self.link.dial_at(self.now)
        if due_at is not None:
            stands += f", dial at {due_at:.2f}"
        self.transcript.write(self.now, "link", stands)

    def wait(self, seconds: float) -> None:
        """Let time pass; write down what the link needs, if anything."""
        self.now += seconds
        need = self.link.need(self.now)
        self.happens(f"{seconds:g} s pass; needs {need}")

    def open(self) -> None:
        self.happens("is dialled", self.link.dialling)
        self.happens(
            "opens; keep-alive 20 s", lambda: self.link.opened(self.now), lambda: self.link.agreed(20.0)
        )

    def sync(self) -> None:
        self.happens("all questions are answered", lambda: self.link.synced(self.now))

    def hear(self) -> None:
        self.happens("a message comes", lambda: self.link.received(self.now))

    def fail(self) -> None:
        self.happens("is gone", lambda: self.link.failed(self.now, 0.5))

    def until_due(self) -> None:
        due_at = self.link.dial_at(self.now)
        assert due_at is not None
        self.now = due_at


def lives() -> LinkLife:
    life = LinkLife("A link opens, asks its questions, lives, and is stopped when nobody needs it.")
    life.happens("is wanted")
    life.open()
    life.sync()
    life.wait(10)
    life.hear()
    life.happens("is not wanted any more", life.link.stop)
    life.happens("is dialled all the same", life.link.dialling)
    return life


def falls_silent() -> LinkLife:
    life = LinkLife("A silent link is asked for a sign of life, grows stale, listens anew, and is dropped.")
    life.open()
    life.sync()
    for _ in range(3):
        life.wait(10)
    life.hear()
    life.wait(1)
    life.sync()
    for _ in range(6):
        life.wait(10)
    life.fail()
    return life


def fails() -> LinkLife:
    life = LinkLife(
        "Dials that fail are tried again, each after a longer wait; half a minute of life forgives."
    )
    for _ in range(4):
        life.happens("is dialled", life.link.dialling)
        life.fail()
        life.until_due()
    life.open()
    life.sync()
    life.wait(5)
    life.hear()
    life.fail()
    life.until_due()
    life.open()
    life.sync()
    for _ in range(4):
        life.wait(9)
        life.hear()
    life.fail()
    return life


def is_kicked() -> LinkLife:
    life = LinkLife("Another holder takes the link's place again and again: each time it waits longer.")
    for _ in range(3):
        life.open()
        life.sync()
        life.happens("is replaced", lambda: life.link.kicked(life.now, 0.0))
        life.until_due()
    return life


def is_refused() -> LinkLife:
    life = LinkLife(
        "A refused dial is followed by the next at once: the sessions of a user are tried in turn."
    )
    for _ in range(6):
        life.happens("is dialled", life.link.dialling)
        life.happens("is refused", life.link.refused)
    return life


LIVES = {life.__name__: life for life in (lives, falls_silent, fails, is_kicked, is_refused)}


@pytest.mark.parametrize("name", LIVES)
def test_a_link_lives_as_its_transcript_says(name: str) -> None:
    check(f"link_{name}", LIVES[name]().transcript.text())


def test_no_transcript_of_a_link_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("link_*.txt")} == {f"link_{name}" for name in LIVES}
