"""Several nodes of one process on one bus, and one OSCC-E Server, under a manual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.domain.model import NodeId
from gateway.runtime.parts import NodeSettings
from tests.doubles.alone import together
from tests.doubles.clock import ManualClock
from tests.runtime.scene import PhoneLine, Scene, people, user


class Street:
    """The nodes, by their numbers from 0."""

    def __init__(self, scenes: list[Scene], running: list[asyncio.Task[None]]) -> None:
        self.scenes = scenes
        self.running = running
        self.clock: ManualClock = scenes[0].clock
        self.upstream = scenes[0].upstream

    async def moved(self, phone: PhoneLine, to: int) -> PhoneLine:
        """Let a phone's session go on at another node, while its old connection is still there."""
        line = PhoneLine(self.scenes[to], phone.ticket)
        line.hello(position=phone.position) if phone.of_kind("changes") else line.hello()
        await self.clock.settle()
        return line

    async def kill(self, at: int) -> None:
        """End a node's process: nothing of it says or hears anything any more."""
        self.scenes[at].line_cut = True
        for line in self.scenes[at].lines:
            line.closed = line.closed or None
        self.running[at].cancel()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass on all nodes."""
        until = self.clock.now() + seconds
        while self.clock.now() < until:
            await self.clock.advance(min(0.25, until - self.clock.now()))
            for scene in self.scenes:
                for line in scene.lines:
                    if line.closed is None:
                        line.tick()
            await self.clock.settle()

    def owners(self, key: int = 1) -> list[int]:
        """Return which nodes take themselves for the owner of a user."""
        homes = [scene.node.households.get(user(key)) for scene in self.scenes]
        return [at for at, home in enumerate(homes) if home is not None and home.owner is not None]


@asynccontextmanager
async def street(nodes: int = 2) -> AsyncIterator[Street]:
    """Run nodes with the people of :func:`tests.runtime.scene.scene`."""
    first = Scene(NodeSettings(NodeId("n0"), "n0-1"))
    shared = together(first.clock, nodes)
    scenes = [Scene(NodeSettings(NodeId(f"n{at}"), f"n{at}-1"), first, shared[at]) for at in range(nodes)]
    people(first.upstream)
    async with asyncio.TaskGroup() as tasks:
        running = []
        for scene in scenes:
            scene.tasks = tasks
            running.append(tasks.create_task(scene.node.run()))
        await first.clock.settle()
        yield Street(scenes, running)
        for each in running:
            each.cancel()
