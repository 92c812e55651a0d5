"""Scenarios 3 and 4: the Redis dies, freezes, forgets, fails over; the bus loses, repeats, delays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cluster.centre import Lines
from tests.cluster.cluster import IS_FULL, Size, size
from tests.cluster.figures import Figures
from tests.cluster.stage import Stage, stage
from tests.doubles.servers import Server, Trio, redis_server, sentinel_trio

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600 if IS_FULL else 120)]

SIZE = size(Size(20, 2, agents=60, queues=10, fault_s=8.0), Size(200, 2, agents=400, queues=40, fault_s=30.0))
CONVERGED_WITHIN_S = 10.0
LIVE_S = 3.0
"""A view on the owner's node is never older, whatever the bus does."""
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
    await asyncio.sleep(1)
    await redis.flush()


class Before(NamedTuple):
    """How it was before the fault."""

    since: float
    opens: int


async def before(play: Stage) -> Before:
    await asyncio.sleep(2)
    return Before(play.now, Lines.of(await play.cluster.centre.ask("links")).opens)


async def judged(play: Stage, fault: str, start: Before) -> Figures:
    """Judge what all faults of the Redis have in common; the fault is over now."""
    over = play.now
    converge_s = await play.crowd.fresh(over, within_s=60)
    opens = Lines.of(await play.cluster.centre.ask("links")).opens - start.opens
    local = [
        min(phone.blind_s(start.since, play.now, play.crowd.beacon.lit) for phone in phones)
        for phones in play.crowd.by_user().values()
    ]
    figures = await play.end(fault, 3, start.since, 20, converge_s=converge_s)
    figures.notes = {"links reopened": opens, "oldest view of a user's freshest phone, s": max(local)}
    assert figures.disconnected == 0, figures.breaks
    assert converge_s <= CONVERGED_WITHIN_S
    assert max(local) <= LIVE_S, "no phone of some user stayed live"
    assert figures.kicks_max <= 1
    assert (figures.links_max, figures.twice, figures.without_link) == (1, 0, 0)
    figures.keep()
    return figures


@pytest.mark.parametrize("fault", [killed, frozen, flushed])
async def test_phones_outlive_trouble_of_the_redis(
    tmp_path: Path, fault: Callable[[Server], Awaitable[None]]
) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis) as play:
        start = await before(play)
        await fault(redis)
        figures = await judged(play, f"Redis {fault.__name__}", start)
        if fault is flushed:
            assert figures.notes["links reopened"] == 0


@asynccontextmanager
async def behind_sentinels(folder: Path) -> AsyncIterator[tuple[Trio, Stage]]:
    async with sentinel_trio() as trio, stage(folder, SIZE, trio.primary, bus=trio.url) as play:
        yield trio, play


async def test_a_fail_over_disconnects_nobody_and_reopens_no_link(tmp_path: Path) -> None:
    async with behind_sentinels(tmp_path) as (trio, play):
        start = await before(play)
        await trio.primary.kill()
        await trio.failed_over()
        play.spy.move(trio.primary)
        figures = await judged(play, "fail-over by Sentinel", start)
        assert figures.notes["links reopened"] == 0


async def test_a_demoted_primary_that_is_left_writable_misleads_nobody(tmp_path: Path) -> None:
    async with behind_sentinels(tmp_path) as (trio, play):
        start = await before(play)
        old = trio.primary
        old.freeze()
        await trio.failed_over()
        old.thaw()
        await old.command("REPLICAOF", "NO", "ONE")
        play.spy.move(trio.primary)
        figures = await judged(play, "demoted primary left writable", start)
        assert figures.notes["links reopened"] <= SIZE.users


async def test_the_bus_loses_repeats_and_delays_messages(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis, with_roads=True) as play:
        start = await before(play)
        for road in play.cluster.bus_roads:
            road.down.lose_rate = road.down.repeat_rate = road.down.delay_rate = LOSS
            road.down.delay_s = LATE_S
        play.crowd.bustle()
        await asyncio.sleep(SIZE.fault_s)
        figures = await play.end("the bus loses, repeats, delays 20 %", 4, start.since, LOST_QUIET_S)
        ways = [road.down for road in play.cluster.bus_roads]
        figures.notes = {
            "messages": sum(way.published for way in ways),
            "lost": sum(way.lost for way in ways),
            "repeated": sum(way.repeated for way in ways),
            "delayed": sum(way.delayed for way in ways),
        }
        assert min(way.lost for way in ways) > 0, "no node lost anything: nothing was shown"
        assert [road.unreadable for road in play.cluster.bus_roads] == [[], [], []]
        assert (figures.links_max, figures.twice, figures.disconnected) == (1, 0, 0), figures
        figures.keep()
