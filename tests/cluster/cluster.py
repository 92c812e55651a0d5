"""A complete installation of many nodes.

Real processes, a real Redis, and proxies between them that may fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import aiohttp

from gateway.app.cli import main
from tests.cluster.centre import Centre
from tests.cluster.programs import PRESENT, Launch, Node
from tests.cluster.sizes import IS_FULL
from tests.doubles.chaos_proxy import ChaosProxy
from tests.doubles.servers import Server, free_port

PASSWORD = "canary-of-a-password"
BALANCER_LOOKS_S = 0.5


class Size(NamedTuple):
    """How large a scenario is."""

    users: int
    phones: int
    """Phones of each user."""
    agents: int
    queues: int
    fault_s: float
    """Duration of a fault."""
    nodes: int = 3


def size(light: Size, full: Size) -> Size:
    """Return the size of the environment variable SCENARIO_SIZE."""
    return full if IS_FULL else light


@dataclass
class Cluster:
    """Everything that runs, and access to it."""

    folder: Path
    http: aiohttp.ClientSession
    centre: Centre
    nodes: list[Node]
    bus_roads: list[ChaosProxy] = field(default_factory=list)
    """From each node to the Redis, in the order of :attr:`nodes`; empty without proxies."""
    centre_roads: list[ChaosProxy] = field(default_factory=list)
    """From each node to the OSCC-E Server."""
    ready: list[Node] = field(default_factory=list)
    """The node to which a load balancer would send phones now."""

    async def balance(self) -> None:
        """Check until cancelled which nodes are ready, like a load balancer."""
        while True:
            self.ready = [node for node in self.nodes if node.runs and await node.ready()]
            await asyncio.sleep(BALANCER_LOOKS_S)

    async def busiest(self) -> int:
        """Return the index in :attr:`nodes` of the node that owns most users."""
        held = [await node.metric("leases_held") if node.runs else 0 for node in self.nodes]
        return held.index(max(held))

    def logs(self) -> dict[str, str]:
        """Return the output of each process."""
        return {program.log.name: program.written() for program in (*self.nodes, self.centre)}

    async def sum(self, metric: str, **labels: str) -> float:
        """Return a metric, summed over all running nodes."""
        return sum([await node.metric(metric, **labels) for node in self.nodes if node.runs])


@contextlib.asynccontextmanager
async def cluster(
    folder: Path,
    *,
    nodes: int,
    bus: str = "memory://",
    redis: Server | None = None,
    centre: Sequence[str] = (),
    limits: Mapping[str, float] | None = None,
    with_roads: bool = False,
    behind_proxy: bool = False,
    launch: Launch = PRESENT,
    seed: int = 1,
    kind: type[Centre] = Centre,
) -> AsyncIterator[Cluster]:
    """Run a cluster while the block lasts; in the end everything is killed.

    Args:
        folder: For configurations and logs.
        nodes: Number of nodes.
        bus: Their bus, when *redis* is None.
        redis: The bus's server.
        centre: Options of the simulator.
        limits: Settings of ``[limits]``.
        with_roads: Whether a proxy stands between each node and *redis*, and each node and the centre.
        behind_proxy: Whether phones come through a trusted proxy of this machine.
        launch: How the nodes are started.
        seed: Seed of the proxies.
        kind: Class of the centre.
    """
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        door = kind(folder, http, (free_port(), free_port()), "--password", PASSWORD, *centre)
        stack.push_async_callback(door.kill9)
        await door.open()
        made = Cluster(folder, http, door, [])
        secrets = make_secrets()
        for number in range(1, nodes + 1):
            url, site = redis.url if redis is not None else bus, door.port
            if with_roads:
                assert redis is not None, "there is no road to build"
                url, site = await _build_roads(stack, made, redis, seed + number)
            ports = {name: free_port() for name in ("client", "ops", "admin")}
            text = config(ports, url, site, limits or {}, behind_proxy=behind_proxy)
            (folder / f"node{number}.toml").write_text(door.configured(text) + secrets)
            node = Node(f"node{number}", folder, ports, http, launch)
            stack.push_async_callback(node.kill9)
            made.nodes.append(node)
        await _start(made.nodes)
        made.ready = list(made.nodes)
        async with asyncio.TaskGroup() as tasks:
            balancing = tasks.create_task(made.balance())
            try:
                yield made
            finally:
                balancing.cancel()


async def _build_roads(
    stack: contextlib.AsyncExitStack, made: Cluster, redis: Server, seed: int
) -> tuple[str, int]:
    """Put proxies before a node; return its bus's address and the port of its OSCC-E Server."""
    way = await stack.enter_async_context(ChaosProxy(redis.port, seed=seed, resp=True))
    road = await stack.enter_async_context(ChaosProxy(made.centre.port, seed=seed))
    made.bus_roads.append(way)
    made.centre_roads.append(road)
    return redis.url.replace(f":{redis.port}/", f":{way.port}/"), road.port


async def _start(nodes: Sequence[Node]) -> None:
    for node in nodes:
        await node.start()
    for node in nodes:
        await node.until_ready()


@functools.cache
def make_secrets() -> str:
    """Return the table that all nodes share, made as an operator makes it."""
    with contextlib.redirect_stdout(io.StringIO()) as written:
        assert main(["keys"]) == 0
    return written.getvalue()


def config(
    ports: Mapping[str, int], bus: str, site: int, limits: Mapping[str, float], *, behind_proxy: bool = False
) -> str:
    """Return a node's configuration file, without its secrets."""
    roomy = {
        "connections": 20_000,
        "handshakes_per_s_of_address": 1_000,
        "handshakes_burst_of_address": 2_000,
    }
    roomy |= {"handshakes_per_s": 1_000, "handshakes_burst": 2_000}
    lines = [f"{name} = {value}" for name, value in {**roomy, **limits}.items()]
    way_in = 'trusted_proxies = ["127.0.0.1/32"]' if behind_proxy else "insecure = true"
    tables = [
        f'[client]\nhost = "127.0.0.1"\nport = {ports["client"]}\n{way_in}',
        f'[ops]\nhost = "127.0.0.1"\nport = {ports["ops"]}',
        f'[admin]\nhost = "127.0.0.1"\nport = {ports["admin"]}',
        f'[bus]\nurl = "{bus}"',
        "[limits]\n" + "\n".join(lines),
        f'[[sites]]\nid = "main"\nurl = "http://127.0.0.1:{site}"\ndisplay_name = "Main"\ncountry = "DE"',
    ]
    return "\n".join(tables) + "\n"
