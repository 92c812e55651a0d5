"""Registry of checks, and the sentence of the page that each holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from tests.conformance.phone import Phone
from tests.conformance.stage import Stage

Play = Callable[[Stage], Awaitable[None]]
LivePlay = Callable[[Stage, Phone], Awaitable[None]]
"""Of a check that begins with a client that is in sync."""


class Check(NamedTuple):
    """One thing that a client does or does not do."""

    name: str
    """`family.what`."""
    sentence: str
    """Of docs/protocol.md, word for word."""
    play: Play
    scale: float
    """How fast its time may run; a client without ``time_scale`` takes the real time."""
    needs: frozenset[str]
    """Features without which it says nothing of a client."""


CHECKS: Final[dict[str, Check]] = {}


def add(name: str, sentence: str, play: Play, *, scale: float = 1.0, needs: tuple[str, ...] = ()) -> None:
    """Add a check.

    Raises:
        ValueError: There is one of this name.
    """
    if name in CHECKS:
        raise ValueError(name)
    CHECKS[name] = Check(name, sentence, play, scale, frozenset(needs))


def check(
    name: str, sentence: str, *, scale: float = 1.0, needs: tuple[str, ...] = ()
) -> Callable[[Play], Play]:
    """Make a function a check that holds *sentence*."""

    def note(play: Play) -> Play:
        add(name, sentence, play, scale=scale, needs=needs)
        return play

    return note


def live(
    name: str, sentence: str, *, scale: float = 1.0, needs: tuple[str, ...] = ()
) -> Callable[[LivePlay], LivePlay]:
    """Make a function a check that holds *sentence*, and begins with a client that is in sync."""

    def note(play: LivePlay) -> LivePlay:
        async def begin(stage: Stage) -> None:
            await play(stage, await stage.live())

        add(name, sentence, begin, scale=scale, needs=needs)
        return play

    return note
