"""Measure which files one event and one command pass on their way through a running gateway.

A whole node, a simulated contact centre and a phone live in this process; ``sys.setprofile`` notes
each call into a module of the product (not the simulator, not the SDK) while one thing happens.

``python -m tests.architecture.routes`` writes the routes into docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

import gateway
from docs._generate.cluster import filled
from tests.scenarios.office import AT_ONCE_S, Handset, Office, office

PRODUCT: Final = f"{Path(gateway.__file__).parent}/"
BESIDE: Final = ("simulator/", "client/", "web/")
TRIALS: Final = 25
AGENT: Final = 10_001


class Route(NamedTuple):
    """How many files something passes, and how often it moves from one file to another."""

    name: str
    files: int
    moves: int
    goal: str
    path: tuple[str, ...]
    """The files, each where it is entered first."""


class Recorder:
    """Notes the sequence of product files whose functions are called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """Take one profiling event of the interpreter."""
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(PRODUCT):
            below = path.removeprefix(PRODUCT)
            if not below.startswith(BESIDE):
                self.calls.append(below)

    @property
    def files(self) -> int:
        """How many files were called into."""
        return len(set(self.calls))

    @property
    def moves(self) -> int:
        """How often a call went into another file than the call before."""
        return sum(one != other for one, other in zip(self.calls, self.calls[1:], strict=False))


@contextmanager
def recorded() -> Iterator[Recorder]:
    """Record while the block lasts."""
    recorder = Recorder()
    sys.setprofile(recorder.note)
    try:
        yield recorder
    finally:
        sys.setprofile(None)


async def measured() -> list[Route]:
    """Return the routes of an event and of a command, each the most frequent of some trials.

    Timers of the node fall into the others.
    """
    async with office() as at:
        phone = await at.served("supervisor1", "desk")
        await phone.caught_up()
        events = [await _event(at, phone) for _ in range(TRIALS)]
        commands = [await _command(phone, trial) for trial in range(TRIALS)]
    return [
        _usual("a change of an agent, from the link to the phone", events, "≤ 20 files"),
        _usual("a command, from the phone to its result", commands, "≤ 22 files"),
    ]


async def _event(at: Office, phone: Handset) -> Recorder:
    is_available = phone.shown[f"agent:{AGENT}"]["routing_state"] == "available"
    state = "unavailable" if is_available else "available"
    with recorded() as recorder:
        await at.act("SetRoutingState", UserKey=AGENT, RoutingState=state.capitalize(), When="Now")
        await phone.until(lambda: phone.shown[f"agent:{AGENT}"]["routing_state"] == state, AT_ONCE_S)
    return recorder


async def _command(phone: Handset, trial: int) -> Recorder:
    with recorded() as recorder:
        state = "unavailable" if trial % 2 else "available"
        ended = await phone.asks_for(AGENT, state)
    assert ended in {"applied", "unchanged"}, ended
    return recorder


def _usual(name: str, trials: list[Recorder], goal: str) -> Route:
    ((files, _),) = Counter(one.files for one in trials).most_common(1)
    usual = min((one for one in trials if one.files == files), key=lambda one: one.moves)
    return Route(name, usual.files, usual.moves, goal, tuple(dict.fromkeys(usual.calls)))


PAGE: Final = Path(__file__).parents[2] / "docs" / "architecture.md"


def table(routes: Iterable[Route]) -> Iterator[str]:
    """Yield the lines that show the routes: floor by floor, each file where it is entered first."""
    for route in routes:
        name = route.name[0].upper() + route.name[1:]
        yield f"**{name}**: {route.files} files, {route.moves} moves between files."
        yield ""
        for floor, paths in groupby(route.path, key=lambda path: path.removesuffix(".py").split("/")[0]):
            names = [path.removesuffix(".py").removeprefix(f"{floor}/") for path in paths]
            yield f"1. `{floor}`: {', '.join(names)}" if names != [floor] else f"1. `{floor}`"
        yield ""


def measure() -> list[Route]:
    """Return the routes, for a program: the log lines of the node are left out, all but its errors."""
    logging.disable(logging.WARNING)
    return asyncio.run(measured())


def main() -> None:
    """Measure the routes and write them into the page of the architecture."""
    routes = measure()
    PAGE.write_text(filled(PAGE.read_text("utf-8"), {"routes": lambda: table(routes)}), "utf-8")


if __name__ == "__main__":
    main()
