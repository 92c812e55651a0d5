"""Redis Cluster: shards are found, and followed through moves and fail-overs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
from redis.crc import key_slot

from gateway.app.admin import check_bus
from gateway.app.config.settings import BusSection
from gateway.bus import Endpoint, RedisUnreachable, parse_url
from gateway.bus.cluster import PREFIXES, Claim, merged, read_view
from gateway.bus.connect import Lifetimes
from gateway.bus.pubsub import partition_of
from gateway.bus.stores import BackendOptions, RedisBackend, inspect_cluster
from gateway.domain.errors import EndReason, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import Control, Detach, Envelope, Inbox
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import Grant, NotSentError
from tests.contracts.buses import KEYS, acquainted, connected
from tests.doubles.redis_cluster import RedisCluster, Shard, redis_cluster
from tests.doubles.servers import redis_server, until

CLOCK = SystemClock()
A, B = NodeId("a"), NodeId("b")
ASKED = Endpoint("asked", 7)
NODE = b"%s 10.0.0.%d:6379@16379 %s - 0 0 %d connected 0-5460"


# ---- what nodes say ----


def test_a_view_is_read_with_epochs_and_failures() -> None:
    slots = [
        [0, 5460, [b"10.0.0.1", 6379, b"n1", []], [b"10.0.0.4", 6379, b"n4", []]],
        [5461, 5461, [b"", 6380, b"n2", []]],
        [5462, 16383, [None, 6381, b"n3", []]],
    ]
    nodes = b"\n".join(
        (
            NODE % (b"n1", 1, b"master,fail", 7),
            NODE % (b"n4", 4, b"slave", 7),
            NODE % (b"n2", 2, b"myself,master", 2),
            NODE % (b"n3", 3, b"master,fail?", 3),
        )
    )
    view = read_view(slots, nodes, ASKED)
    assert view.claims == (
        Claim(7, Endpoint("10.0.0.1", 6379), 0, 5460, has_failed=True, replicas=1),
        Claim(2, Endpoint("asked", 6380), 5461, 5461),
        Claim(3, Endpoint("asked", 6381), 5462, 16383),
    )
    assert view.nodes[-1] == Endpoint("10.0.0.4", 6379)


@pytest.mark.parametrize(("slots", "nodes"), [(b"x", b""), ([], None), ([[0, 1, [b"h", b"x", b"n"]]], b"")])
def test_what_is_no_view_is_refused(slots: object, nodes: object) -> None:
    with pytest.raises(ValueError, match="not a node of a Redis Cluster"):
        read_view(slots, nodes, ASKED)


def test_the_higher_epoch_has_the_slot_from_any_sender() -> None:
    old, new, part = (
        Claim(1, Endpoint("old", 1), 0, 16383),
        Claim(9, Endpoint("new", 1), 0, 99),
        Claim(4, Endpoint("part", 1), 50, 149),
    )
    for claims in ([old, new, part], [part, new, old]):
        owners = merged(claims)
        assert {owners[at] for at in range(100)} == {new}
        assert {owners[at] for at in range(100, 150)} == {part}
        assert {owners[at] for at in range(150, 16384)} == {old}
    assert merged([part]).count(None) == 16384 - 100


def test_each_eighth_of_the_slots_has_a_partition() -> None:
    assert [key_slot(prefix) * 8 // 16384 for prefix in PREFIXES] == list(range(8))


def test_nodes_of_all_versions_agree_where_each_receives() -> None:
    assert [partition_of(NodeId(name), 8) for name in ("a", "b", "n1", "gateway-0-8080")] == [3, 1, 4, 4]
    assert partition_of(NodeId("anything"), 1) == 0


# ---- real ones ----


@asynccontextmanager
async def nodes(cluster: RedisCluster, *names: NodeId) -> AsyncIterator[list[RedisBackend]]:
    """Yield a node of each name, all of which know each other."""
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(
                RedisBackend(
                    cluster.url,
                    KEYS,
                    CLOCK,
                    lambda: 0.5,
                    os.urandom,
                    options=BackendOptions(Lifetimes(lease_s=60.0, trial_s=0.2), name),
                )
            )
            for name in names
        ]
        for each in made:
            await connected(each)
        for each in made:
            await acquainted(each, len(made) - 1)
        yield made


def served_by(node: RedisBackend, cluster: RedisCluster, shard: Shard, number: int = 1) -> UserId:
    """Return the user of that number whose lease *shard* keeps."""
    names = (UserId("main", key) for key in range(1, 10_000))
    mine = (user for user in names if cluster.shard(own_key(node, user)) is shard)
    return [next(mine) for _ in range(number)][-1]


def own_key(node: RedisBackend, user: UserId) -> bytes:
    return node.leases._names.user(user).own


async def owned(node: RedisBackend, user: UserId) -> Grant:
    return await node.leases.acquire(user, A, "h", floor=0)


def said(number: int) -> Envelope:
    return Detach(UserId("main", number), f"session {number}", A)


async def test_a_slot_that_moves_takes_what_is_in_it_along() -> None:
    async with redis_cluster(with_replicas=False) as cluster, nodes(cluster, A) as (node,):
        source, target = cluster.shards[0].primary, cluster.shards[1].primary
        user = served_by(node, cluster, cluster.shards[0])
        slot = key_slot(own_key(node, user))
        handle = next(name for name in map(str, range(10**6)) if key_slot(denied_key(node, name)) == slot)
        grant = await owned(node, user)
        await cluster.begin_to_move(slot, source, target)
        assert await node.leases.renew(user, A, "h", grant.token)  # its keys are where they were
        await node.shared.deny(handle, EndReason.BLOCKED, 60.0)  # ASK: new keys are the target's
        assert await target.command("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        assert await node.shared.denied(handle) is EndReason.BLOCKED
        await node.leases.release(user, "h", grant.token)
        with pytest.raises(GatewayError, match="TRYAGAIN"):  # one of its two keys is here, the other nowhere
            await owned(node, user)
        await cluster.end_move(slot, source, target)
        later = await owned(node, user)  # MOVED
        assert later.token > grant.token
        assert await node.leases.renew(user, A, "h", later.token)
        assert await node.shared.denied(handle) is EndReason.BLOCKED
        assert node.trouble is None


def denied_key(node: RedisBackend, handle: str) -> bytes:
    return node.leases._names.denied(handle)


async def test_messages_follow_the_slot_of_their_partition() -> None:
    async with redis_cluster(with_replicas=False) as cluster, nodes(cluster, A, B) as (one, two):
        prefix = two.bus.own.prefix
        source = cluster.shard(prefix)
        target = next(shard for shard in cluster.shards if shard is not source)
        received: list[Envelope] = []
        doubts: list[int] = []
        await two.bus.subscribe(Inbox(B), received.append)
        await two.bus.subscribe(Control(), received.append)
        two.bus.watch(lambda: doubts.append(1))
        await cluster.begin_to_move(key_slot(prefix), source.primary, target.primary)
        assert await one.bus.publish(Inbox(B), said(1)) == 1
        await cluster.end_move(key_slot(prefix), source.primary, target.primary)

        async def is_followed() -> bool:
            return await arrives(one, Inbox(B), 1) and bool(doubts)

        await until(is_followed, "no message arrives over the new shard")
        await two.bus.subscriber.client.ask("PING")  # behind all that was published before
        received.clear()
        assert await one.bus.publish(Inbox(B), said(2)) == 1
        assert await one.bus.publish(Control(), said(3)) == 1
        await two.bus.subscriber.client.ask("PING")
        assert received == [said(2), said(3)]
        assert two.bus.subscriber.client.endpoint == Endpoint("127.0.0.1", target.primary.port)


async def test_nobody_waits_in_a_partition_where_its_messages_never_arrive() -> None:
    site = RedisBackend("redis+cluster://h", KEYS, CLOCK, lambda: 0.5, os.urandom)
    with pytest.raises(ValueError, match="another partition"):
        await site.bus.subscribe(Inbox(A), lambda _: None)


async def arrives(node: RedisBackend, channel: Inbox, receivers: int) -> bool:
    try:
        return await node.bus.publish(channel, said(0)) == receivers
    except GatewayError:
        return False


async def test_a_demoted_primary_is_left_and_a_killed_one_costs_its_users_seconds_and_others_nothing() -> (
    None
):
    async with redis_cluster(node_timeout_ms=4_000) as cluster, nodes(cluster, A, B) as (one, two):
        hurt = cluster.shard(two.bus.own.prefix)
        demoted, well = (shard for shard in cluster.shards if shard is not hurt)
        held = [
            (user, (await owned(one, user)).token) for user in _users(one, cluster, (hurt, demoted, well))
        ]
        await two.bus.subscribe(Inbox(B), lambda _: None)
        assert demoted.replica is not None
        await demoted.replica.command("CLUSTER", "FAILOVER")
        await demoted.failed_over()
        await until(demoted.primary.follows, "the old primary did not become a replica")

        async def is_left() -> bool:
            places = {client.endpoint for each in (one, two) for client in each.clients.values()}
            return Endpoint("127.0.0.1", demoted.primary.port) not in places

        await until(is_left, "a connection to the demoted primary stays")
        assert await one.leases.renew_many(A, "h", held) == [True] * 3
        assert one.refusals() == frozenset()
        await hurt.primary.kill()
        with pytest.raises(GatewayError):
            await one.bus.publish(Inbox(B), said(2))
        assert await one.leases.renew_many(A, "h", held) == [None, True, True]
        await hurt.failed_over()

        async def is_back() -> bool:
            try:
                renewed = await one.leases.renew_many(A, "h", held)
            except GatewayError:
                return False
            return renewed == [True] * 3 and await arrives(one, Inbox(B), 1) and two.trouble is None

        await until(is_back, "the users of the lost shard are not served")
        assert hurt.replica is not None
        assert two.bus.subscriber.client.endpoint == Endpoint("127.0.0.1", hurt.replica.port)


def _users(node: RedisBackend, cluster: RedisCluster, shards: Sequence[Shard]) -> list[UserId]:
    return [served_by(node, cluster, shard) for shard in shards]


async def test_a_primary_that_refuses_writes_and_a_lost_shard_are_known_by_their_words() -> None:
    async with (
        redis_cluster(with_replicas=False, node_timeout_ms=4_000) as cluster,
        nodes(cluster, A) as (node,),
    ):
        lost, well = cluster.shards[0], cluster.shards[1]
        full = cluster.shards[2].primary
        await full.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await full.command("CONFIG", "SET", "maxmemory", 1)

        async def refuses() -> bool:
            return node.refusals() == {"OOM"}

        await until(refuses, "the refusal is not known")
        assert (await owned(node, served_by(node, cluster, well))).holder == "h"
        await full.command("CONFIG", "SET", "maxmemory", 0)
        await lost.primary.kill()

        async def is_known() -> bool:
            return node.refusals() == {"CLUSTERDOWN"}

        await until(is_known, "the loss is not known")
        with pytest.raises(NotSentError):
            await owned(node, served_by(node, cluster, lost))

        async def serves(shard: Shard) -> bool:
            try:
                return (await owned(node, served_by(node, cluster, shard))).holder == "h"
            except GatewayError:  # on a busy machine the others may take a moment
                return False

        await until(partial(serves, well), "users of other shards are not served")
        await lost.primary.start()

        async def is_well() -> bool:
            return node.refusals() == frozenset() and node.trouble is None

        await until(is_well, "the shard is back, and nobody knows")
        await until(partial(serves, lost), "users of the shard that is back are not served")


# ---- the check ----


async def test_a_cluster_is_checked_shard_by_shard() -> None:
    async with redis_cluster(with_replicas=False) as cluster:
        facts = await inspect_cluster(parse_url(cluster.url), CLOCK)
        assert {server.endpoint.port for server in facts.servers} == {each.port for each in cluster.primaries}
        assert (facts.lost_slots, len(facts.without_replica)) == (0, 3)
        assert (facts.node_timeout_s, facts.needs_all_slots) == (15.0, False)
        report = await check_bus(BusSection(url=cluster.url), CLOCK)
        assert (len(report.notes), report.faults) == (3, ())
        assert sum("has no replica" in advice for advice in report.advices) == 3
        assert sum("cluster-node-timeout 5000" in advice for advice in report.advices) == 1
        await cluster.primaries[0].command("CONFIG", "SET", "cluster-require-full-coverage", "yes")
        await cluster.primaries[0].command("CLUSTER", "DELSLOTS", 7)
        await cluster.primaries[2].command("CONFIG", "SET", "cluster-require-full-coverage", "yes")
        await cluster.primaries[1].command("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
        direct = await check_bus(BusSection(url=f"redis://127.0.0.1:{cluster.primaries[2].port}"), CLOCK)
        assert any("bus.url must begin with redis+cluster://" in fault for fault in direct.faults)
        again = await check_bus(BusSection(url=cluster.url), CLOCK)
        assert any("cluster-require-full-coverage no" in advice for advice in again.advices)
        assert any("maxmemory-policy noeviction" in advice for advice in again.advices)


async def test_a_server_that_is_no_cluster_is_distinguished() -> None:
    async with redis_server() as server:
        with pytest.raises(RedisUnreachable, match="it is not a node of a Redis Cluster"):
            await inspect_cluster(parse_url(f"redis+cluster://127.0.0.1:{server.port}"), CLOCK)
