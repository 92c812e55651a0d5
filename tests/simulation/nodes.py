"""The start and the end of a simulated node.

A killed node vanishes: nothing that it still does reaches others, its connections end, and no lease is given
up. A stopped node ends like a process after SIGTERM. A paused node does nothing for a while, as after
SIGSTOP: its timers are late then, and its messages queued.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from gateway.domain.commands import NumberAct, OrderAct
from gateway.domain.errors import CloseCode
from gateway.domain.model import NodeId
from gateway.runtime.node import Node, NodeSettings
from gateway.runtime.ports import SiteParts
from tests.doubles.stored import cluster
from tests.simulation.bus import SimBus
from tests.simulation.centre import SimCentre, SimUpstream
from tests.simulation.line import Line
from tests.simulation.loop import Host, NodeClock, VirtualLoop
from tests.simulation.store import NetworkFaults, Server


class Process:
    """One life of one node.

    Args:
        name: The node.
        life: The number of the life.
        clock: The clock of its machine.
        server: Its Redis.
        network: The faults of its messages.
        centre: Its OSCC-E Server.
        rng: Draws delays and jitter.
    """

    def __init__(
        self,
        name: str,
        life: int,
        clock: NodeClock,
        loop: VirtualLoop,
        server: Server,
        network: NetworkFaults,
        centre: SimCentre,
        rng: Random,
    ) -> None:
        self.name = NodeId(name)
        self.holder = f"{name}-{life}"
        self.clock = clock
        self.host = Host(loop)
        self.bus = SimBus(loop, server, network, self.host)
        self.site = SimUpstream(centre, rng, clock)
        self.is_alive = True
        self.lines: list[Line] = []
        self.acts: list[NumberAct | OrderAct] = []
        self.node = Node(
            NodeSettings(self.name, self.holder),
            {"main": SiteParts(self.site, self.site)},
            cluster(self.bus, self.bus, server.store, self.bus.refusals),
            clock,
            rng.random,
            self.acts.append,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the load balancer sends phones here."""
        is_well = self.is_alive and not self.host.is_stopped
        return is_well and not self.node.is_draining and not self.node.is_partitioned

    def begin(self, tasks: asyncio.TaskGroup, failed: Callable[[Exception], None]) -> None:
        self._task = tasks.create_task(self._run(failed), context=self.host.context.copy())

    async def _run(self, failed: Callable[[Exception], None]) -> None:
        try:
            await self.node.run()
        except Exception as fault:  # noqa: BLE001 - a node must not fail, whatever befalls it
            if self.is_alive:
                failed(fault)

    def kill(self, *, silently: bool) -> None:
        """End it like kill -9; *silently*: with its host, so that no peer is informed."""
        self.is_alive = False
        self.bus.kill()
        self.site.kill(silently=silently)
        for line in self.lines:
            line.cut()
        self.host.go_on()
        if self._task is not None:
            self._task.cancel()

    def drain(self) -> None:
        """Accept no more users, and send the phones away."""
        self.host.enter(self._drain)

    def _drain(self) -> None:
        self.node.drain()
        for line in list(self.lines):
            line.close(CloseCode.DRAINING, "draining", window_s=(0.0, 1.0))

    async def stop(self) -> None:
        """End it as by SIGTERM after the drain."""
        if self._task is None or not self.is_alive:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        if self.is_alive:
            self.kill(silently=False)

    def tick(self) -> None:
        self.lines = [line for line in self.lines if not line.is_gone]
        if not self.host.is_stopped:
            for line in self.lines:
                self.host.enter(line.tick)
