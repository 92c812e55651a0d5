"""Registry of checks, and the sentence of the page that each holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from tests.server_conformance.link import Link
from tests.server_conformance.stage import Stage
from tests.server_conformance.verdicts import Sentence

Play = Callable[[Stage], Awaitable[None]]
LinkPlay = Callable[[Stage, Link], Awaitable[None]]
"""Of a check that begins with an open link."""


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


def of_dashboard(name: str, section: str, quote: str, **needs: Any) -> Callable[[LinkPlay], LinkPlay]:  # noqa: ANN401 - of `check`
    """Make a function a check that begins with the link of a user of the Dashboard."""

    def note(play: LinkPlay) -> LinkPlay:
        async def begin(stage: Stage) -> None:
            await play(stage, await stage.open(await stage.dashboard()))

        check(name, section, quote, dashboards=1, **needs)(begin)
        return play

    return note


def of_agent(name: str, section: str, quote: str, **needs: Any) -> Callable[[LinkPlay], LinkPlay]:  # noqa: ANN401 - of `check`
    """Make a function a check that begins with the link of an agent."""

    def note(play: LinkPlay) -> LinkPlay:
        async def begin(stage: Stage) -> None:
            await play(stage, await stage.open(await stage.agent()))

        check(name, section, quote, agents=1, **needs)(begin)
        return play

    return note
