"""A Redis Cluster whose shards tests may kill, fail over and move slots between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError

from tests.doubles.servers import (
    NOTHING_KEPT,
    Engine,
    Server,
    any_engine,
    binary,
    free_port,
    lasting,
    running,
    until,
)

SHARDS: Final = 3


class Shard:
    """Some slots, their primary and its replica, if it has one, with their roles at the start."""

    def __init__(self, primary: Server, replica: Server | None, slots: range) -> None:
        self.primary = primary
        self.replica: Final = replica
        self.slots: Final = slots

    async def failed_over(self) -> None:
        """Return when the replica serves the slots, as after the primary's kill."""
        replica = self.replica
        assert replica is not None

        async def is_primary() -> bool:
            return (await replica.role())[:1] == [b"master"]

        await until(is_primary, "no fail-over")


class RedisCluster:
    """A cluster whose nodes are all connected."""

    def __init__(self, shards: Sequence[Shard], *, scheme: str = "redis+cluster") -> None:
        self.shards: Final = shards
        self._scheme = scheme

    @property
    def url(self) -> str:
        """The bus URL: two of its nodes."""
        hosts = ",".join(f"127.0.0.1:{shard.primary.port}" for shard in self.shards[:2])
        return f"{self._scheme}://{hosts}"

    @property
    def primaries(self) -> list[Server]:
        return [shard.primary for shard in self.shards]

    def shard(self, key: bytes) -> Shard:
        """Return the shard that served *key* at the start."""
        return next(shard for shard in self.shards if key_slot(key) in shard.slots)

    async def keys(self) -> list[bytes]:
        found = [await server.command("KEYS", "*") for server in self.primaries]
        return [key for keys in found if isinstance(keys, list) for key in keys]

    async def begin_to_move(self, slot: int, source: Server, target: Server) -> None:
        """Begin a migration of *slot*, as a resharding does: new keys of it belong to the target already."""
        source_id, target_id = [await server.command("CLUSTER", "MYID") for server in (source, target)]
        assert isinstance(source_id, bytes)
        assert isinstance(target_id, bytes)
        await target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        await source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)

    async def end_move(self, slot: int, source: Server, target: Server) -> None:
        """Move the keys of *slot*, and inform all nodes."""
        keys = await source.command("CLUSTER", "GETKEYSINSLOT", slot, 100)
        assert isinstance(keys, list)
        if keys:
            await source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
        target_id = await target.command("CLUSTER", "MYID")
        assert isinstance(target_id, bytes)
        for server in (target, source, *self.primaries):
            await server.command("CLUSTER", "SETSLOT", slot, "NODE", target_id)


@asynccontextmanager
async def redis_cluster(
    *, engine: Engine | None = None, with_replicas: bool = True, node_timeout_ms: int = 15_000
) -> AsyncIterator[RedisCluster]:
    """Run three shards, of a primary and a replica each, while the block lasts.

    Args:
        engine: The engine; any when None.
        with_replicas: Whether there are replicas.
        node_timeout_ms: Silence after which a node counts as failed.
    """
    of = engine or any_engine()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        buses = {}
        servers = []
        for number in range(SHARDS * (2 if with_replicas else 1)):
            bus = free_port()
            server = Server(of, folder, *NOTHING_KEPT, *_options(folder, number, bus, node_timeout_ms))
            buses[server] = bus
            servers.append(server)
        async with asyncio.TaskGroup() as tasks:
            for server in servers:
                tasks.create_task(stack.enter_async_context(running(server)))
        shards = [
            Shard(servers[at], servers[at + SHARDS] if with_replicas else None, _slots(at))
            for at in range(SHARDS)
        ]
        for number, shard in enumerate(shards):
            slots = shard.slots
            await shard.primary.command("CLUSTER", "ADDSLOTSRANGE", slots.start, slots.stop - 1)
            await shard.primary.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in servers[1:]:
            await servers[0].command("CLUSTER", "MEET", "127.0.0.1", server.port, buses[server])
        await until(partial(_all_know_all, servers), "the nodes did not meet")
        for shard in shards:
            if shard.replica is not None:
                await shard.replica.insist("CLUSTER", "REPLICATE", await _id(shard.primary))
                await until(shard.replica.follows, "a replica did not follow")
        await until(partial(_all_serve, servers), "the cluster did not come about")
        yield RedisCluster(shards)


@cache
def shared_cluster(engine: Engine) -> RedisCluster:
    """Return a cluster without replicas that lives as long as this process.

    Its start takes two seconds, which is too long for each test. Each user of it flushes it first.
    """
    binary(engine)  # skips the test where there is none
    return lasting(partial(redis_cluster, engine=engine, with_replicas=False))


def _options(folder: Path, number: int, bus: int, node_timeout_ms: int) -> tuple[str, ...]:
    return (
        *("--cluster-enabled", "yes", "--cluster-config-file", str(folder / f"nodes-{number}.conf")),
        *("--cluster-port", str(bus), "--cluster-node-timeout", str(node_timeout_ms)),
        *("--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0"),
    )


def _slots(at: int) -> range:
    edges = [number * REDIS_CLUSTER_HASH_SLOTS // SHARDS for number in range(SHARDS + 1)]
    return range(edges[at], edges[at + 1])


async def _id(server: Server) -> bytes:
    found = await server.command("CLUSTER", "MYID")
    assert isinstance(found, bytes)
    return found


async def _all_know_all(servers: Sequence[Server]) -> bool:
    for server in servers:
        nodes = await server.command("CLUSTER", "NODES")
        assert isinstance(nodes, bytes)
        lines = nodes.splitlines()
        if len(lines) != len(servers) or any(b"handshake" in line for line in lines):
            return False
    return True


async def _all_serve(servers: Sequence[Server]) -> bool:
    for server in servers:
        try:
            info = await server.command("CLUSTER", "INFO")
            slots = await server.command("CLUSTER", "SLOTS")
        except (RedisError, OSError):
            return False
        assert isinstance(info, bytes)
        assert isinstance(slots, list)
        if b"cluster_state:ok" not in info or len(slots) != SHARDS:
            return False
        if len(servers) > SHARDS and any(len(each) < 4 for each in slots):
            return False
    return True
