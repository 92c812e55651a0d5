"""Scenarios 3 and 4: the Redis dies, freezes, forgets, fails over; the bus loses, repeats, delays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.centre import Lines
from tests.cluster.cluster import Size, size
from tests.cluster.figures import Figures
from tests.cluster.sizes import IS_FULL
from tests.cluster.stage import Stage, stage
from tests.doubles.redis_cluster import Shard, redis_cluster
from tests.doubles.sentinels import Trio, sentinel_trio
from tests.doubles.servers import Server, redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600 if IS_FULL else 300)]

SIZE = size(Size(20, 2, agents=60, queues=10, fault_s=8.0), Size(200, 2, agents=400, queues=40, fault_s=30.0))
CONVERGED_WITHIN_S = 10.0
RENEWED_S = 6.0
"""Each lease is renewed within this time."""
REFUSED_S = 9.0
"""A trial write every 3 s finds that writes are refused, and 5 s later users are taken without the store."""
TAKEN_WITHIN_S = 10.0
LIE_MAX_S = 5.5
"""A node holds the bus for down after 5 s; until then, and never later, an old view may be shown as live."""
ALONE_S = 15.0
LIVE_S = 3.0
"""A view on the owner's node is never older, whatever the bus does."""
COMMAND_S = 4.0
"""Between two commands of a phone, while something is broken."""
LOSS = 0.2
LATE_S = 0.5
LOST_QUIET_S = 45.0
"""While messages are lost, answers that repair are lost too: each user is asked about every 10 s."""


async def killed(redis: Server) -> None:
    await redis.kill()
    await asyncio.sleep(SIZE.fault_s)
    await redis.start()


async def frozen(redis: Server) -> None:
    redis.freeze()
    await asyncio.sleep(SIZE.fault_s)
    redis.thaw()


async def flushed(redis: Server) -> None:
    await redis.flush()
    await asyncio.sleep(1)  # some leases are there again, others are not
    await redis.flush()
    await asyncio.sleep(RENEWED_S)


async def opens(play: Stage) -> int:
    return Lines.of(await play.cluster.centre.ask("links")).opens


async def judged(play: Stage, fault: str, cause: Callable[[], Awaitable[object]]) -> Figures:
    """Bring about a fault of the Redis that is over in the end; judge what all of them have in common."""
    since, before = await play.crowd.reset_counts(), await opens(play)
    play.crowd.start_traffic(roam_s=None, command_s=COMMAND_S)
    # a fail-over is over in seconds, and each of many phones gives its first command later
    await play.crowd.commanding()
    await cause()
    await play.crowd.rest()
    over = play.now
    converge_s = await play.crowd.fresh(over, within_s=60)
    reopened = await opens(play) - before
    freshest = [
        min(phone.blind_s(since, play.now, play.crowd.beacon.lit) for phone in phones)
        for phones in play.crowd.by_user().values()
    ]
    figures = await play.end(fault, 3, since, 20, converge_s=converge_s)
    figures.notes = {"links reopened": reopened, "oldest view of a user's freshest phone, s": max(freshest)}
    assert figures.disconnected == 0, figures.breaks
    assert figures.lie_s is not None
    assert figures.lie_s <= play.crowd.bound(LIE_MAX_S), f"shown as live: {play.crowd.state()}"
    assert converge_s <= play.crowd.bound(CONVERGED_WITHIN_S)
    assert max(freshest) <= play.crowd.bound_since_reset(LIVE_S), "no phone of some user stayed live"
    assert figures.kicks_max <= 1
    assert (figures.twice, figures.without_link) == (0, 0)
    assert figures.outcomes, "nobody gave a command"
    figures.keep()
    return figures


@pytest.mark.takes(140)
async def test_phones_outlive_a_redis_that_is_killed_frozen_and_flushed(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis) as play:
        figures = await judged(play, "Redis flushed", lambda: flushed(redis))
        assert figures.notes["links reopened"] == 0
        await judged(play, "Redis frozen", lambda: frozen(redis))
        await judged(play, "Redis killed", lambda: killed(redis))
        await roaming_meanwhile(play, redis)


async def roaming_meanwhile(play: Stage, redis: Server) -> None:
    """Let phones roam and send commands without Redis: the node of the phone opens the link."""
    since = await play.crowd.reset_counts()
    play.crowd.start_traffic(roam_s=SIZE.fault_s / 2, command_s=SIZE.fault_s / 2)
    await killed(redis)
    await play.crowd.rest()
    converge_s = await play.crowd.fresh(play.now, within_s=60)
    figures = await play.end("Redis killed while phones roam", 3, since, 20, converge_s=converge_s)
    assert converge_s <= play.crowd.bound(CONVERGED_WITHIN_S)
    assert (figures.twice, figures.without_link) == (0, 0), figures
    # whose link another node has replaced meanwhile is sent there; nobody else is sent anywhere
    assert figures.breaks.keys() <= {"owned elsewhere"}
    figures.keep()


@pytest.mark.parametrize(
    ("setting", "bad", "good"),
    [("min-replicas-to-write", 9, 0), ("maxmemory", 1, 0)],
    ids=["NOREPLICAS", "OOM"],
)
@pytest.mark.takes(40)
async def test_while_redis_takes_no_writes_users_of_a_killed_owner_and_newcomers_are_served(
    tmp_path: Path, setting: str, bad: int, good: int
) -> None:
    async with (
        redis_server("--maxmemory-policy", "noeviction") as redis,
        stage(tmp_path, SIZE, redis) as play,
    ):
        dead = play.cluster.nodes[await play.cluster.busiest()]
        since = await play.crowd.reset_counts()
        await redis.command("CONFIG", "SET", setting, bad)
        await asyncio.sleep(REFUSED_S)
        play.crowd.start_traffic(command_s=SIZE.fault_s / 2)
        over = play.now
        await dead.kill9()
        converge_s = await play.crowd.fresh(over, within_s=30)
        await play.crowd.rest()
        await redis.command("CONFIG", "SET", setting, good)
        await asyncio.sleep(RENEWED_S)
        word = "NOREPLICAS" if "replicas" in setting else "OOM"
        fault = f"Redis refuses writes ({word}), an owner is killed"
        figures = await play.end(fault, 3, since, 20, converge_s=converge_s)
        assert converge_s <= play.crowd.bound(TAKEN_WITHIN_S)
        assert (figures.twice, figures.without_link) == (0, 0), figures
        assert figures.executed > 0
        figures.keep()


@pytest.mark.takes(40)
async def test_fail_overs_mislead_nobody_also_when_the_old_primary_stays_writable(tmp_path: Path) -> None:
    async with sentinel_trio() as trio, stage(tmp_path, SIZE, trio.primary, bus=trio.url) as play:
        figures = await judged(play, "demoted primary left writable", lambda: demoted(play, trio))
        assert figures.notes["links reopened"] == 0
        figures = await judged(play, "fail-over by Sentinel", lambda: failed_over(play, trio))
        assert figures.notes["links reopened"] == 0


async def demoted(play: Stage, trio: Trio) -> None:
    """Let a primary sleep until another has its place, and be writable when it wakes."""
    old = trio.primary
    old.freeze()
    await trio.failed_over()
    old.thaw()
    await old.insist("REPLICAOF", "NO", "ONE")
    play.spy.move(trio.primary)


async def failed_over(play: Stage, trio: Trio) -> None:
    """Let a primary die, once the other one is its replica again."""
    await trio.rejoined()
    await trio.primary.kill()
    await trio.failed_over()
    play.spy.move(trio.primary)


@pytest.mark.takes(65)
async def test_a_node_that_is_cut_off_from_the_bus_alone_sends_its_phones_to_the_others(
    tmp_path: Path,
) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis, with_roads=True) as play:
        since = await play.crowd.reset_counts()
        play.crowd.start_traffic(roam_s=None, command_s=COMMAND_S)
        most = await play.cluster.busiest()
        alone, way = play.cluster.nodes[most], play.cluster.bus_roads[most]
        elsewhere = [phone for phone in play.crowd.phones if phone.client.address != alone.base]
        way.freeze()
        was_ready = []
        while play.now - since < ALONE_S:
            was_ready.append(await alone.ready())
            await asyncio.sleep(0.2)  # between two looks
        blind_s = max(phone.age_s(play.now, play.crowd.beacon.lit) for phone in elsewhere)
        way.heal()
        await play.crowd.rest()
        over = play.now
        await play.crowd.until_async(alone.ready, within_s=20)
        converge_s = await play.crowd.fresh(over, within_s=30)
        figures = await play.end("one node cut off from the Redis", 3, since, 20, converge_s=converge_s)
        figures.notes = {"oldest view on other nodes before it was mended, s": blind_s}
        assert not was_ready[-1], "the others have taken its users, and it still asks for phones"
        assert blind_s <= play.crowd.bound(CONVERGED_WITHIN_S)
        assert converge_s <= play.crowd.bound(CONVERGED_WITHIN_S)
        assert (figures.twice, figures.without_link) == (0, 0)
        assert 1 <= figures.kicks_max <= 2, "stolen once, and given back at most once"
        figures.keep()


@pytest.mark.takes(70)
async def test_the_bus_loses_repeats_and_delays_messages(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis, with_roads=True) as play:
        since = await play.crowd.reset_counts()
        for road in play.cluster.bus_roads:
            road.down.lose_rate = road.down.repeat_rate = road.down.delay_rate = LOSS
            road.down.delay_s = LATE_S
        play.crowd.start_traffic()
        await asyncio.sleep(SIZE.fault_s)
        figures = await play.end("the bus loses, repeats, delays 20 %", 4, since, LOST_QUIET_S)
        ways = [road.down for road in play.cluster.bus_roads]
        figures.notes = {
            "messages": sum(way.published for way in ways),
            "lost": sum(way.lost for way in ways),
            "repeated": sum(way.repeated for way in ways),
            "delayed": sum(way.delayed for way in ways),
        }
        fewest = min(min(way.lost, way.repeated, way.delayed) for way in ways)
        assert fewest > 0, "a node lost, repeated or delayed nothing: nothing was shown"
        assert [road.unreadable for road in play.cluster.bus_roads] == [[], [], []]
        assert (figures.twice, figures.disconnected) == (0, 0), figures
        figures.keep()


@pytest.mark.takes(120)
async def test_a_redis_cluster_that_loses_a_shard_misleads_nobody_and_roaming_goes_on(tmp_path: Path) -> None:
    async with (
        redis_cluster(node_timeout_ms=2_000) as shards,
        stage(tmp_path, SIZE, shards.shards[2].primary, bus=shards.url) as play,
    ):
        for shard in shards.shards[:2]:  # the nodes receive over different ones
            figures = await judged(play, "fail-over of a shard", partial(lost, shard))
            assert figures.notes["links reopened"] == 0
        since = await play.crowd.reset_counts()
        dead = play.cluster.nodes[await play.cluster.busiest()]
        play.crowd.start_traffic(roam_s=SIZE.fault_s / 2, command_s=SIZE.fault_s / 2)
        await asyncio.sleep(SIZE.fault_s)
        over = play.now
        await dead.kill9()
        converge_s = await play.crowd.fresh(over, within_s=30)
        await play.crowd.rest()
        fault = "an owner is killed on a Redis Cluster while phones roam"
        figures = await play.end(fault, 3, since, 20, converge_s=converge_s)
        assert converge_s <= play.crowd.bound(CONVERGED_WITHIN_S)
        assert (figures.twice, figures.without_link) == (0, 0), figures
        assert figures.executed > 0
        figures.keep()


async def lost(shard: Shard) -> None:
    """Let a primary die, and return when its replica has its place."""
    await shard.primary.kill()
    await shard.failed_over()
