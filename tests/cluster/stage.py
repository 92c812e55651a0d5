"""The setup of a cluster scenario: a Redis with a spy, nodes, a centre, and connected phones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.centre import Centre
from tests.cluster.cluster import Cluster, Size, cluster
from tests.cluster.crowd import Crowd
from tests.cluster.figures import Figures
from tests.cluster.programs import PRESENT, Launch
from tests.cluster.sizes import EVENTS_PER_S, INTERVAL_S, IS_FULL
from tests.cluster.spy import Spy
from tests.doubles.servers import Server

BUDGET_PER_S = 20.0 if IS_FULL else 60.0
"""Log-ons per second that the nodes together may send to the OSCC-E Server."""
NAMES_FROM = 6
"""Minimum length of a name that cannot appear among sealed bytes by chance."""
AT_REST_S = 2.0
"""How long every phone has been served before the first fault."""


@dataclass
class Stage:
    """The parts of a scenario."""

    cluster: Cluster
    crowd: Crowd
    size: Size
    redis: Server
    spy: Spy
    budget_per_s: float

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def end(self, fault: str, scenario: int, since: float, quiet_s: float, **more: float) -> Figures:
        """Wait until everything is settled, compare, and search for canaries; return the figures."""
        differences = await self.crowd.settle(quiet_s)
        figures = await self.crowd.figures(fault, since, self.budget_per_s)
        figures.lost = len(differences)
        for name, value in more.items():
            setattr(figures, name, value)
        self.spy.add_canaries(
            phone.client.session.token for phone in self.crowd.phones if phone.client.session
        )
        await self.spy.look()
        await self.spy.look_at_files(self.cluster)
        figures.canaries = self.spy.looked()
        figures.scenario = scenario
        print(f"\n{figures.text()}\n{self.crowd.state()}; faults over at {self.now:.1f}, since {since:.1f}")
        assert differences == [], f"{len(differences)} differences: {differences[:10]}; {self.crowd.state()}"
        assert self.spy.found == set()
        return figures


@asynccontextmanager
async def stage(
    folder: Path,
    size: Size,
    redis: Server,
    *,
    bus: str | None = None,
    with_roads: bool = False,
    limits: Mapping[str, float] | None = None,
    centre: Sequence[str] = (),
    launch: Launch = PRESENT,
    budget_per_s: float = BUDGET_PER_S,
    kind: type[Centre] = Centre,
) -> AsyncIterator[Stage]:
    """Run the setup; when the block begins, every phone has been in sync for a while.

    Args:
        folder: For logs.
        size: Of the scenario.
        redis: The server with the spy, and the nodes' bus.
        bus: The nodes' bus, when it is not *redis* itself.
        with_roads: Whether proxies that may fail lie between nodes, Redis and centre.
        limits: More settings of ``[limits]``.
        centre: More options of the simulator.
        launch: How the nodes are started.
        budget_per_s: Log-ons per second that the nodes together may send.
        kind: Class of the centre.
    """
    options = [*options_of(size), *centre]
    made = cluster(
        folder,
        nodes=size.nodes,
        redis=redis if bus is None else None,
        bus=bus or "",
        centre=options,
        limits={"log_ons_per_s": budget_per_s, "drain_notice_s": 10 if IS_FULL else 2, **(limits or {})},
        with_roads=with_roads,
        launch=launch,
        kind=kind,
    )
    async with made as running, await Crowd.of(running, size) as crowd, asyncio.TaskGroup() as tasks:
        spy = Spy(redis, folder / "spy", await names_of(running), as_replica=bus is None)
        await spy.prepare()
        attending = tasks.create_task(spy.read_traffic())
        try:
            await crowd.arrive(within_s=60 + 6 * len(crowd.phones) / budget_per_s)
            await asyncio.sleep(AT_REST_S)
            yield Stage(running, crowd, size, redis, spy, budget_per_s)
        finally:
            attending.cancel()


def options_of(size: Size) -> list[str]:
    """Return the simulator's options for a centre of *size*."""
    counts = (("--users", size.users), ("--agents", size.agents), ("--queues", size.queues))
    options = [text for name, count in counts for text in (name, str(count))]
    return [*options, "--interval-s", str(INTERVAL_S), "--events-per-s", str(EVENTS_PER_S)]


async def names_of(running: Cluster) -> set[str]:
    """Return names of people and queues that are long enough to be canaries."""
    users = (await running.centre.ask("users"))["Users"]
    found = {user[part] for user in users for part in ("FirstName", "LastName")}
    return {name for name in found if len(name) >= NAMES_FROM}
