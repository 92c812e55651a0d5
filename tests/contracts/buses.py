"""Which adapters of the Bus, Leases, Roll and Shelf ports are there to be held to their contracts?

Each is a *site*: some nodes that reach each other, the doors of each, and a clock that the test
moves. A networked adapter is one more function in :data:`SITES`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from gateway.bus.cable import Cable
from gateway.bus.connecting import BusKeys, RedisSite
from gateway.bus.memory import Exchange, MemoryBus, MemoryLeases
from gateway.bus.memory_roll import MemoryRoll, MemoryShelf
from gateway.bus.names import Names
from gateway.protocol.envelope_codec import encode
from gateway.protocol.envelopes import Channel, Envelope
from gateway.runtime.clock import SystemClock
from gateway.runtime.ports import NODE_TTL_S, Bus, Leases, Roll, Shelf
from tests.doubles.clock import ManualClock
from tests.doubles.fake_redis import FakeRedis
from tests.doubles.lossy_bus import Trouble
from tests.doubles.sentinels import sentinel_trio
from tests.doubles.servers import Engine, Server, redis_server, until

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
    """What a networked site has beyond the ports: the door to look and to break in."""

    url: str
    server: Server
    nodes: tuple[RedisSite, RedisSite]
    names: Names = field(default_factory=lambda: Names(KEYS.pseudonym))

    def sealed(self, channel: Channel, envelope: Envelope) -> bytes:
        """Return what the first node would publish next."""
        return self.nodes[0].bus.sealed(self.names.channel(channel), encode(envelope))


@dataclass(frozen=True, slots=True)
class BusSite:
    """Two nodes' doors to the same bus, leases, roll and shelf.

    *arrive* returns once everything published has arrived. *pass_time* lets that many seconds pass
    for all that ends by itself; *ttl_s* is how long a lease lasts, *node_ttl_s* a node's record. *cut*
    breaks the connections by which nodes hear; None: there are none.
    """

    buses: tuple[Bus, Bus]
    leases: tuple[Leases, Leases]
    rolls: tuple[Roll, Roll]
    shelves: tuple[Shelf, Shelf]
    arrive: Callable[[], Awaitable[None]]
    pass_time: Callable[[float], Awaitable[None]]
    cut: Callable[[], Awaitable[None]] | None = None
    network: Network | None = None
    ttl_s: float = 15.0
    node_ttl_s: float = NODE_TTL_S


@asynccontextmanager
async def memory() -> AsyncIterator[BusSite]:
    """Yield two nodes of one process."""
    clock, exchange = ManualClock(), Exchange()
    leases, roll, shelf = MemoryLeases(clock, ttl_s=15.0), MemoryRoll(clock), MemoryShelf(clock)
    yield BusSite(
        buses=(MemoryBus(exchange), MemoryBus(exchange)),
        leases=(leases, leases),
        rolls=(roll, roll),
        shelves=(shelf, shelf),
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
        rolls=(one.roll, two.roll),
        shelves=(one.shelf, two.shelf),
        arrive=clock.settle,
        pass_time=clock.advance,
        cut=cut,
    )


@asynccontextmanager
async def fake() -> AsyncIterator[BusSite]:
    """Yield two nodes on the Redis of Python."""
    server = FakeRedis()
    async with _nodes("redis://fake", server.cables) as nodes:
        yield _site(nodes, partial(_cut_fake, server))


@asynccontextmanager
async def real(engine: Engine) -> AsyncIterator[BusSite]:
    """Yield two nodes on a real server."""
    async with redis_server(engine=engine) as server, _nodes(server.url) as nodes:
        yield _site(nodes, partial(_cut_there, server), Network(server.url, server, nodes))


@asynccontextmanager
async def sentinel() -> AsyncIterator[BusSite]:
    """Yield two nodes on the primary that three sentinels watch."""
    async with sentinel_trio() as trio, _nodes(trio.url) as nodes:
        yield _site(nodes, partial(_cut_there, trio.primary), Network(trio.url, trio.primary, nodes))


SITES: dict[str, Callable[[], AbstractAsyncContextManager[BusSite]]] = {
    "lossy": lossy,
    "memory": memory,
    "fakeredis": fake,
    "redis": partial(real, Engine.REDIS),
    "valkey": partial(real, Engine.VALKEY),
    "sentinel": sentinel,
}
DIRECT: tuple[str, ...] = ("fakeredis", "lossy", "memory", "redis", "valkey")
"""Those whose server is found without asking: the way there is held to its promises by bus and leases."""
NETWORKED: tuple[str, ...] = ("redis", "sentinel", "valkey")
"""Those with a :class:`Network`."""


def node(url: str, keys: BusKeys = KEYS, cables: type[Cable] = Cable) -> RedisSite:
    """Return a node's doors to the Redis at *url*."""
    return RedisSite(url, keys, SystemClock(), lambda: 0.5, os.urandom, cables=cables)


def _site(
    nodes: tuple[RedisSite, RedisSite], cut: Callable[[], Awaitable[None]], network: Network | None = None
) -> BusSite:
    one, two = nodes
    return BusSite(
        buses=(one.bus, two.bus),
        leases=(one.leases, two.leases),
        rolls=(one.roll, two.roll),
        shelves=(one.shelf, two.shelf),
        arrive=partial(_arrive, nodes),
        pass_time=partial(_pass_time, one),
        cut=cut,
        network=network,
    )


@asynccontextmanager
async def _nodes(url: str, cables: type[Cable] = Cable) -> AsyncIterator[tuple[RedisSite, RedisSite]]:
    async with AsyncExitStack() as stack:
        nodes = (
            await stack.enter_async_context(node(url, cables=cables)),
            await stack.enter_async_context(node(url, cables=cables)),
        )
        for each in nodes:
            await connected(each)
        for each in nodes:
            await acquainted(each, 1)
        yield nodes


async def connected(site: RedisSite) -> None:
    """Return when all its connections are there."""

    async def is_up() -> bool:
        return site.trouble is None

    await until(is_up, f"no connection: {site.trouble}")


async def acquainted(site: RedisSite, others: int) -> None:
    """Return when it knows that so many others live."""

    async def knows() -> bool:
        return len(site.bus.lives) >= others

    await until(knows, f"{len(site.bus.lives)} lives are known")


async def _arrive(nodes: tuple[RedisSite, RedisSite]) -> None:
    for each in nodes:  # the answer comes behind every message that the server has for this connection
        await each.bus.ears.line.ask("PING")


async def _pass_time(one: RedisSite, seconds: float) -> None:
    await one.lines["commands"].answer("EVAL", _LATER, 0, round(seconds * 1000))


async def _cut_there(server: Server) -> None:
    await server.command("CLIENT", "KILL", "TYPE", "pubsub")


async def _cut_fake(server: FakeRedis) -> None:
    server.cut()
