"""Registry of checks, and the sentence of the page that each holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from tests.server_conformance.stage import Stage
from tests.server_conformance.verdicts import Sentence

Play = Callable[[Stage], Awaitable[None]]


class Check(NamedTuple):
    """One thing that a server does or does not do."""

    name: str
    """`family.what`."""
    sentence: Sentence
    play: Play
    dashboards: int
    """Users of the Dashboard that it needs for itself."""
    agents: int
    """Users of the Remote Assistant that it needs for itself."""
    hooks: frozenset[str]
    """What it has the server's owner do."""
    features: frozenset[str]
    """Features of the server without which it says nothing."""
    slow_s: float
    """About so long it waits, when that is long: asked for with `--slow`."""
    alone: bool
    """It troubles all users, so nothing runs beside it."""


CHECKS: Final[dict[str, Check]] = {}


def check(
    name: str,
    section: str,
    quote: str,
    *,
    dashboards: int = 0,
    agents: int = 0,
    hooks: tuple[str, ...] = (),
    features: tuple[str, ...] = (),
    slow_s: float = 0.0,
    alone: bool = False,
) -> Callable[[Play], Play]:
    """Make a function a check that holds a sentence; a name is given once."""

    def note(play: Play) -> Play:
        if name in CHECKS:
            raise ValueError(name)
        CHECKS[name] = Check(
            name,
            Sentence(section, quote),
            play,
            dashboards,
            agents,
            frozenset(hooks),
            frozenset(features),
            slow_s,
            alone,
        )
        return play

    return note
