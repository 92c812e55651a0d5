"""The simulated OSCC-E Server as a process, its true state, and a beacon that shows the age of a view."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from tests.cluster.programs import Program
from tests.cluster.sizes import BEAT_S, IS_FULL
from tests.doubles.machine import waited_s
from tests.scenarios.truth import Truth

SAMPLE_S = 1.0 if IS_FULL else 0.25
BEACON = "canary-beacon-"
"""The names of queues while the beacon runs; realtime data as far as Redis is concerned."""


class SaysWhatIsWrong(Protocol):
    """The truth of a centre at one moment."""

    def differences(self, shown: dict[str, dict[str, Any]], scope: dict[str, list[int]]) -> list[str]:
        """Return what a phone with *scope* shows wrongly."""
        ...


class Centre(Program):
    """The simulator; :attr:`url` for nodes, and its control routes."""

    def __init__(
        self, folder: Path, http: aiohttp.ClientSession, ports: tuple[int, int], *options: str
    ) -> None:
        door, control = ports
        arguments = ("simulate", "--port", str(door), "--control-port", str(control), *options)
        super().__init__(folder / "simulator.log", *arguments)
        self.port = door
        self.control = control
        self._control = f"http://127.0.0.1:{control}/simulator/v1"
        self._http = http

    async def open(self) -> None:
        """Start it; return when it serves."""
        await self.start()
        await self.until_written(r"control door at (\S+)")

    async def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request to its control routes; with a *body* a change."""
        method, url = "GET" if body is None else "POST", f"{self._control}/{path}"
        async with asyncio.timeout(20), self._http.request(method, url, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json(content_type=None)

    async def fault(self, name: str, **more: Any) -> Any:
        return await self.ask("fault", {"Fault": name, **more})

    async def act(self, name: str, **more: Any) -> Any:
        """Perform an action in the contact centre."""
        return await self.ask("act", {"Act": name, **more})

    async def scopes(self) -> dict[str, dict[str, list[int]]]:
        """Return the scope of each user of the Dashboard."""
        return {user["UserName"]: user["Scope"] for user in (await self.ask("users"))["Users"]}

    def configured(self, text: str) -> str:
        """Return a node's configuration file, made for an OSCC-E Server, for this centre."""
        return text

    async def truth(self) -> SaysWhatIsWrong:
        """Return what is true there now."""
        return Truth(await self.ask("truth"))

    async def routed(self) -> dict[str, str]:
        """Return the routing table: user name → remote number."""
        table: dict[str, str] = await self.ask("routing")
        return table


class Beacon:
    """Renames queues with a growing number, from which each user sees the age of the view."""

    def __init__(self, centre: Centre, scopes: Iterable[dict[str, list[int]]]) -> None:
        self._centre = centre
        self.queues = cover([set(scope["Queues"]) for scope in scopes])
        self.begun: list[float] = []
        """When the centre was first asked to show each number, by the clock of the loop."""
        self.lit: list[float] = []
        """When it had shown each to all links: a busy centre takes seconds to rename all queues."""
        self.waited_s: list[float] = []
        """How long programs of the machine had waited for a core then."""

    async def run(self) -> None:
        """Run until cancelled. While the centre does not answer it waits."""
        loop = asyncio.get_running_loop()
        while True:
            number = len(self.lit)
            if number == len(self.begun):
                self.begun.append(loop.time())
            with contextlib.suppress(aiohttp.ClientError, OSError):
                for queue in self.queues:
                    await self._centre.act("Rename", Key=queue, Name=f"{BEACON}{number}")
                self.waited_s.append(waited_s())
                self.lit.append(loop.time())
            await asyncio.sleep(BEAT_S)


def cover(sets: list[set[int]]) -> list[int]:
    """Return few members that cover all sets; empty sets are ignored."""
    left, chosen = [each for each in sets if each], list[int]()
    while left:
        counts: dict[int, int] = {}
        for each in left:
            for member in each:
                counts[member] = counts.get(member, 0) + 1
        best = max(sorted(counts), key=lambda member: counts[member])
        chosen.append(best)
        left = [each for each in left if best not in each]
    return chosen


@dataclass
class Lines:
    """OSCC-E's counts of links and log-ons."""

    gap_ms: int
    """The longest time without a link of any user."""
    kicks_max: int
    """How often one user's link was replaced, at most."""
    without: list[str]
    """Users with a live session and no link now."""
    opens: int
    log_on_attempts: int
    executed: int
    """Commands."""
    twice: int
    again: int

    @classmethod
    def of(cls, links: dict[str, Any], before: dict[str, Any] | None = None) -> Lines:
        """Read the counts of the control routes; replacements and commands count from *before* on."""
        lines = links["Links"]
        earlier = {"Links": {}, "Executed": {}} if before is None else before
        with_session = {each["UserName"] for each in links["Sessions"]}
        commands = (
            "SetRoutingState",
            "SetSkills",
            "SetRoutingParameters",
            "PostProcessing",
            "ChangeRemoteNumber",
        )
        return cls(
            gap_ms=max((line["LongestGap"] for line in lines.values()), default=0),
            kicks_max=max(
                (
                    line["Replacements"] - earlier["Links"].get(name, {"Replacements": 0})["Replacements"]
                    for name, line in lines.items()
                ),
                default=0,
            ),
            without=sorted(name for name in with_session if lines.get(name, {"Present": 0})["Present"] == 0),
            opens=sum(line["Opens"] for line in lines.values()),
            log_on_attempts=links["LogOnAttempts"],
            executed=sum(
                links["Executed"].get(name, 0) - earlier["Executed"].get(name, 0) for name in commands
            ),
            twice=links["Keys"]["ExecutedTwice"],
            again=links["Keys"]["CameAgain"],
        )


class Observer:
    """Samples the centre's counts while a scenario runs."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._log_ons: list[tuple[float, int]] = []

    async def watch(self) -> None:
        """Run until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                began = loop.time()
                self.take(began, await self._centre.ask("counts"))
            await asyncio.sleep(SAMPLE_S)

    def take(self, now: float, counts: dict[str, int]) -> None:
        """Add a sample."""
        self._log_ons.append((now, counts["LogOnAttempts"]))

    def log_on_rate(self, budget_per_s: float, since: float) -> tuple[float, float]:
        """Return log-ons in the busiest second since then, and the greatest excess over the budget.

        In any time the budget allows one second's worth at once plus *budget_per_s* for its length.
        """
        rate, over, low = 0.0, 0.0, float("inf")
        samples = [each for each in self._log_ons if each[0] >= since]
        first = 0
        for now, count in samples:
            while samples[first + 1 : first + 2] and now - samples[first + 1][0] >= 1.0:
                first += 1
            if now - samples[first][0] >= 1.0:
                rate = max(rate, (count - samples[first][1]) / (now - samples[first][0]))
            low = min(low, count - budget_per_s * now)
            over = max(over, count - budget_per_s * now - low - budget_per_s)
        return rate, over
