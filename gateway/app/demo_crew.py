"""Which processes make a demonstration of many nodes, how do they fare, and what may be done to them?"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp

from gateway.app.children import Child, free_port
from gateway.app.config_names import PREFIX
from gateway.app.front_door import Target
from gateway.app.redis_program import LocalRedis, NoRedis
from gateway.runtime.ports import Clock

VERBS: Final = ("kill", "stop", "start")
LOOK_S: Final = 0.25
"""How often each node is asked how it fares."""
_ANSWER_S: Final = 1.0

DOWN, STARTING, READY, DRAINING = "down", "starting", "ready", "draining"
_MARKS: Final = {DOWN: "✕", STARTING: "○", READY: "●", DRAINING: "▲"}


class NodeProcess:
    """One node of the demonstration.

    Args:
        name: As other nodes call it.
        config: The file that all nodes share.
        folder: For its log.
    """

    def __init__(self, name: str, config: Path, folder: Path) -> None:
        self.name: Final = name
        self.port: Final = free_port()
        self.ops_port: Final = free_port()
        self.state = DOWN
        own = {
            "NODE__NAME": name,
            "CLIENT__PORT": str(self.port),
            "OPS__PORT": str(self.ops_port),
            "ADMIN__PORT": "0",
        }
        self.child: Final = Child(
            name,
            (sys.executable, "-m", "gateway", "serve", "--config", str(config)),
            folder / f"{name}.log",
            _without_settings() | {f"{PREFIX}__{key}": value for key, value in own.items()},
        )

    async def look(self, http: aiohttp.ClientSession) -> None:
        """Ask how it fares."""
        if self.child.pid is None:
            self.state = DOWN
            return
        try:
            async with http.get(f"http://127.0.0.1:{self.ops_port}/readyz") as answer:
                said = (await answer.text()).strip()
        except (aiohttp.ClientError, TimeoutError):
            said = STARTING
        self.state = {"ok": READY, "draining": DRAINING}.get(said, STARTING)


class Crew:
    """The nodes and their Redis.

    Args:
        nodes: The nodes.
        redis: What they share.
        clock: Time.
    """

    def __init__(self, nodes: Sequence[NodeProcess], redis: LocalRedis, clock: Clock) -> None:
        self.nodes: Final = tuple(nodes)
        self.redis: Final = redis
        self._clock = clock

    @property
    def children(self) -> Mapping[str, Child]:
        """All processes by their names."""
        return {child.name: child for child in (*(node.child for node in self.nodes), self.redis.child)}

    def targets(self) -> list[Target]:
        """Return the nodes that take phones."""
        return [Target(node.name, node.port) for node in self.nodes if node.state == READY]

    async def start(self) -> None:
        """Start all of them.

        Raises:
            NoRedis: The Redis does not start.
        """
        await self.redis.start(self._clock)
        for node in self.nodes:
            await node.child.start()

    async def run(self) -> None:
        """Look after the nodes until cancelled."""
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while True:
                for node in self.nodes:
                    await node.look(http)
                await self._clock.sleep(LOOK_S)

    async def end(self) -> None:
        """End all of them."""
        for child in self.children.values():
            child.ask()
        for child in self.children.values():
            await child.end(self._clock)

    async def act(self, verb: str, name: str) -> str:
        """Do what somebody asks to a process; returns a sentence that says what was done.

        Raises:
            ValueError: There is no such process or act, or it cannot be done; with a sentence.
        """
        child = self.children.get(name)
        if child is None or verb not in VERBS:
            raise ValueError(f"Say one of {', '.join(VERBS)}, and which of {', '.join(self.children)}.")
        if verb == "start":
            return await self._start(child)
        pid = child.pid
        if pid is None:
            raise ValueError(f"{name} does not run.")
        if verb == "kill":
            await child.kill()
            return f"{name} was killed (kill -9 {pid}); start it again with: start {name}."
        child.ask()
        return f"{name} was asked to end (kill {pid}): it sends its phones elsewhere first."

    def line(self, here: str | None) -> str:
        """Return how all fare, in a line; *here* is the node that serves the board."""
        parts = [
            f"{_shown(node.child, node.state)}{' (board)' if node.name == here else ''}"
            for node in self.nodes
        ]
        return "   ".join([*parts, _shown(self.redis.child, READY)])

    async def _start(self, child: Child) -> str:
        if child.pid is not None:
            raise ValueError(f"{child.name} runs already (process {child.pid}).")
        if child is self.redis.child:
            try:
                await self.redis.start(self._clock)
            except NoRedis as none:
                raise ValueError(str(none)) from None
        else:
            await child.start()
        return f"{child.name} starts (process {child.pid})."


def _without_settings() -> dict[str, str]:
    """Return this process's variables without settings meant for another node."""
    return {name: value for name, value in os.environ.items() if not name.startswith(f"{PREFIX}__")}


def _shown(child: Child, state: str) -> str:
    seen = DOWN if child.pid is None else state
    return f"{child.name} {_MARKS[seen]} {f'pid {child.pid}' if seen == READY else seen}"
