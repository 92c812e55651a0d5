"""Adapters of Bus, Leases, NodeRegistry and SharedStore for the contract suites.

Each is a *site*: some nodes that reach each other, the doors of each, and a clock that the test
moves. A networked adapter is one more function in :data:`SITES`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from redis.asyncio import Connection

from gateway.bus import NOBODY
from gateway.bus.connect import BusKeys, KeyNames
from gateway.bus.memory import MemoryBus, MemoryChannels, MemoryLeases, MemoryNodeRegistry, MemoryStore
from gateway.bus.stores import BackendOptions, RedisBackend
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import BusChannel, Envelope, encode
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import NODE_TTL_S, Bus, Leases, NodeRegistry, SharedStore
from tests.doubles.clock import ManualClock
from tests.doubles.fake_redis import FakeRedis
from tests.doubles.lossy_bus import Trouble
from tests.doubles.redis_cluster import shared_cluster
from tests.doubles.sentinels import shared_trio
from tests.doubles.servers import Engine, Server, shared_server, until

KEYS = BusKeys(sealing=(("k1", b"1" * 32), ("k0", b"0" * 32)), pseudonym=b"p" * 32)
_LATER = """
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left > 0 then redis.call('PEXPIRE', key, left - ARGV[1]) end
end
return 1
"""
"""Brings every key's end nearer, by as much time as passes: no test waits for it."""


@dataclass(frozen=True, slots=True)
class Network:
    """What a networked site has beyond the ports: the door to look and to break in.

    *server* serves the messages to the second node, *servers* are all that hold keys.
    """

    url: str
    server: Server
    nodes: tuple[RedisBackend, RedisBackend]
    servers: tuple[Server, ...] = ()
    names: KeyNames = field(default_factory=lambda: KeyNames(KEYS.pseudonym))

    def name(self, channel: BusChannel) -> bytes:
        """Return the name of *channel* in the partition of the second node."""
        return self.nodes[1].bus.own.name(self.names.channel(channel))

    def sealed(self, channel: BusChannel, envelope: Envelope) -> bytes:
        """Return what the first node would publish next."""
        return self.nodes[0].bus.sealed(self.name(channel), encode(envelope))

    async def publish(self, channel: BusChannel, data: bytes) -> object:
        """Publish *data*, as somebody could who has access to the server."""
        return await self.server.command(self.nodes[1].bus.own.verbs.publish, self.name(channel), data)

    async def keys(self) -> list[bytes]:
        found = [await server.command("KEYS", "*") for server in self.servers or (self.server,)]
        return [key for keys in found if isinstance(keys, list) for key in keys]

    @asynccontextmanager
    async def spy(self) -> AsyncIterator[list[bytes]]:
        """Yield a list that has, after the block, every command that a server saw inside it."""
        seen: list[bytes] = []
        async with AsyncExitStack() as stack:
            spies = [await stack.enter_async_context(each.spy()) for each in self.servers or (self.server,)]
            yield seen
        for spy in spies:
            seen += spy


@dataclass(frozen=True, slots=True)
class BusSite:
    """Two nodes' ports to the same bus, leases, node registry and shared store.

    *arrive* returns once everything published has arrived. *pass_time* lets that many seconds pass
    for all that ends by itself; *ttl_s* is how long a lease lasts, *node_ttl_s* a node's record. *cut*
    breaks the connections by which nodes hear; None: there are none.
    """

    buses: tuple[Bus, Bus]
    leases: tuple[Leases, Leases]
    registries: tuple[NodeRegistry, NodeRegistry]
    stores: tuple[SharedStore, SharedStore]
    arrive: Callable[[], Awaitable[None]]
    pass_time: Callable[[float], Awaitable[None]]
    cut: Callable[[], Awaitable[None]] | None = None
    network: Network | None = None
    ttl_s: float = 15.0
    node_ttl_s: float = NODE_TTL_S


@asynccontextmanager
async def memory() -> AsyncIterator[BusSite]:
    """Yield two nodes of one process."""
    clock, exchange = ManualClock(), MemoryChannels()
    leases, registry, shared = MemoryLeases(clock, ttl_s=15.0), MemoryNodeRegistry(clock), MemoryStore(clock)
    yield BusSite(
        buses=(MemoryBus(exchange), MemoryBus(exchange)),
        leases=(leases, leases),
        registries=(registry, registry),
        stores=(shared, shared),
        arrive=clock.settle,
        pass_time=clock.advance,
    )


@asynccontextmanager
async def lossy() -> AsyncIterator[BusSite]:
    """Yield two nodes whose bus could be in trouble, and is not."""
    clock = ManualClock()
    trouble = Trouble(clock)
    one, two = trouble.cluster(0), trouble.cluster(1)

    async def cut() -> None:
        trouble.take_away()
        trouble.give_back()

    yield BusSite(
        buses=(one.bus, two.bus),
        leases=(one.leases, two.leases),
        registries=(one.registry, two.registry),
        stores=(one.shared, two.shared),
        arrive=clock.settle,
        pass_time=clock.advance,
        cut=cut,
    )


@asynccontextmanager
async def fake() -> AsyncIterator[BusSite]:
    """Yield two nodes on the Redis of Python."""
    server = FakeRedis()
    async with _nodes("redis://fake", server.connections) as nodes:
        yield _site(nodes, partial(_cut_fake, server))


@asynccontextmanager
async def real(engine: Engine) -> AsyncIterator[BusSite]:
    """Yield two nodes on a real server."""
    server = shared_server(engine)
    await server.flush()
    async with _nodes(server.url) as nodes:
        yield _site(nodes, partial(_cut_there, server), Network(server.url, server, nodes))


@asynccontextmanager
async def sentinel() -> AsyncIterator[BusSite]:
    """Yield two nodes on the primary that three sentinels watch."""
    trio = shared_trio()
    await trio.primary.flush()
    async with _nodes(trio.url) as nodes:
        yield _site(nodes, partial(_cut_there, trio.primary), Network(trio.url, trio.primary, nodes))


@asynccontextmanager
async def shards(engine: Engine) -> AsyncIterator[BusSite]:
    """Yield two nodes on a Redis Cluster, whose names give them one partition."""
    cluster = shared_cluster(engine)
    for primary in cluster.primaries:
        await primary.flush()
    async with _nodes(cluster.url, name=NodeId("a")) as nodes:
        server = cluster.shard(nodes[1].bus.own.prefix).primary
        network = Network(cluster.url, server, nodes, tuple(cluster.primaries))
        yield _site(nodes, partial(_cut_there, server), network)


SITES: dict[str, Callable[[], AbstractAsyncContextManager[BusSite]]] = {
    "lossy": lossy,
    "memory": memory,
    "fakeredis": fake,
    "redis": partial(real, Engine.REDIS),
    "valkey": partial(real, Engine.VALKEY),
    "sentinel": sentinel,
    "redis_cluster": partial(shards, Engine.REDIS),
    "valkey_cluster": partial(shards, Engine.VALKEY),
}
DIRECT: tuple[str, ...] = ("fakeredis", "lossy", "memory", "redis", "redis_cluster", "valkey")
"""Those whose server is found by the address or the key: the way by Sentinels is held to its promises by bus
and leases."""
NETWORKED: tuple[str, ...] = ("redis", "redis_cluster", "sentinel", "valkey", "valkey_cluster")
"""Those with a :class:`Network`."""


def node(
    url: str, keys: BusKeys = KEYS, connections: type[Connection] = Connection, name: NodeId = NOBODY
) -> RedisBackend:
    """Return the doors of the node *name* to the Redis at *url*."""
    options = BackendOptions(node=name)
    return RedisBackend(
        url, keys, SystemClock(), lambda: 0.5, os.urandom, options=options, connections=connections
    )


def _site(
    nodes: tuple[RedisBackend, RedisBackend],
    cut: Callable[[], Awaitable[None]],
    network: Network | None = None,
) -> BusSite:
    one, two = nodes
    return BusSite(
        buses=(one.bus, two.bus),
        leases=(one.leases, two.leases),
        registries=(one.registry, two.registry),
        stores=(one.shared, two.shared),
        arrive=partial(_arrive, nodes),
        pass_time=partial(_pass_time, one),
        cut=cut,
        network=network,
    )


@asynccontextmanager
async def _nodes(
    url: str, connections: type[Connection] = Connection, name: NodeId = NOBODY
) -> AsyncIterator[tuple[RedisBackend, RedisBackend]]:
    async with AsyncExitStack() as stack:
        nodes = (
            await stack.enter_async_context(node(url, connections=connections, name=name)),
            await stack.enter_async_context(node(url, connections=connections, name=name)),
        )
        for each in nodes:
            await connected(each)
        for each in nodes:
            await acquainted(each, 1)
        yield nodes


async def connected(site: RedisBackend) -> None:
    """Return when all its connections are there."""

    async def is_up() -> bool:
        return site.trouble is None

    await until(is_up, f"no connection: {site.trouble}")


async def acquainted(site: RedisBackend, others: int) -> None:
    """Return when it knows that so many others live."""

    async def knows() -> bool:
        return len(site.bus.instances) >= others

    await until(knows, f"{len(site.bus.instances)} lives are known")


async def _arrive(nodes: tuple[RedisBackend, RedisBackend]) -> None:
    for each in nodes:  # the answer comes behind every message that the server has for this connection
        await each.bus.subscriber.client.ask("PING")


async def _pass_time(one: RedisBackend, seconds: float) -> None:
    for use, client in one.clients.items():
        if use.startswith("commands"):
            await client.answer("EVAL", _LATER, 0, round(seconds * 1000))


async def _cut_there(server: Server) -> None:
    await server.command("CLIENT", "KILL", "TYPE", "pubsub")


async def _cut_fake(server: FakeRedis) -> None:
    server.cut()
