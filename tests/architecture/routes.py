"""Measure which files one event and one command pass on their way through a running gateway.

A whole node, a simulated contact centre and a phone live in this process; ``sys.setprofile`` notes
each call into a module of the product (not the simulator, not the SDK) while one thing happens.

``python -m tests.architecture.routes`` writes the routes into docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

import aiohttp

import gateway
from docs._generate.cluster import filled
from gateway.app import wiring
from gateway.app.config.sources import generate_secrets
from gateway.app.process import StopRequest
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator.model import TargetState
from tests.app.samples import settings_for
from tests.scenarios.phones import Phone

PRODUCT: Final = f"{Path(gateway.__file__).parent}/"
BESIDE: Final = ("simulator/", "client/", "web/")
TRIALS: Final = 25
AGENT: Final = 10_001
AT_ONCE_S: Final = 1.0
"""Within which an event or a command is seen."""
CENTRE: Final = SimulatorSettings(
    agents=20, queues=6, groups=2, users=3, warm_up_s=0, on_change=True, start_paused=True
)
"""Nothing happens in it by itself."""


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


class Desk(Phone):
    """A supervisor's phone that waits for what it is to show."""

    def __init__(self, http: aiohttp.ClientSession, base: str, clock: SystemClock) -> None:
        super().__init__(http, base, "supervisor1", "desk")
        self._clock = clock
        self._news = asyncio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        """Return when a frame has made it so."""
        async with asyncio.timeout(AT_ONCE_S):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def set_state(self, state: str) -> None:
        """Give a command, and wait for its result."""
        assert self.position is not None
        name, command = uuid.uuid4().hex, {"kind": "agent.routing_state.set", "agent_id": str(AGENT)}
        fields = {"id": name, "key": str(uuid.uuid4()), "stream": self.position["stream"]}
        fields |= {"expires_at_ms": self._clock.wall_ms() + 10_000}
        command |= {"state": state, "when": "now"}
        await self.send({"kind": "command", **fields, "command": command})
        await self.until(lambda: name in self.results)
        assert self.results[name]["status"] in {"applied", "unchanged"}, self.results[name]

    async def _take(self, ws: aiohttp.ClientWebSocketResponse, text: str) -> None:
        await super()._take(ws, text)
        self._news.set()


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Simulator, Desk]]:
    """Run a contact centre and a gateway; give the centre, and a phone that shows everything."""
    clock = SystemClock()
    async with Simulator(CENTRE) as simulator, aiohttp.ClientSession() as http:
        settings = settings_for(simulator.url, limits={"drain_s": 0})
        async with (
            wiring.serving(settings, generate_secrets(), clock, StopRequest()) as addresses,
            asyncio.TaskGroup() as tasks,
        ):
            phone = Desk(http, addresses.client, clock)
            await phone.log_on()
            life = tasks.create_task(phone.live())
            async with asyncio.timeout(10 * AT_ONCE_S):
                await phone.ready.wait()
            yield simulator, phone
            life.cancel()


async def measured() -> list[Route]:
    """Return the routes of an event and of a command, each the most frequent of some trials.

    Timers of the node fall into the others.
    """
    async with served() as (simulator, phone):
        await phone.set_state("available")
        events = [await _event(simulator, phone) for _ in range(TRIALS)]
        commands = [await _command(phone, trial) for trial in range(TRIALS)]
    return [
        _usual("a change of an agent, from the link to the phone", events, "≤ 20 files"),
        _usual("a command, from the phone to its result", commands, "≤ 22 files"),
    ]


async def _event(simulator: Simulator, phone: Desk) -> Recorder:
    is_available = phone.shown[f"agent:{AGENT}"]["routing_state"] == "available"
    state = "unavailable" if is_available else "available"
    agent = simulator.center.directory.agents[AGENT]
    with recorded() as recorder:
        wanted: TargetState = "Unavailable" if is_available else "Available"
        simulator.center.ask(agent, wanted, None, "Now", "Supervisor")
        await phone.until(lambda: phone.shown[f"agent:{AGENT}"]["routing_state"] == state)
    return recorder


async def _command(phone: Desk, trial: int) -> Recorder:
    with recorded() as recorder:
        await phone.set_state("unavailable" if trial % 2 else "available")
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
