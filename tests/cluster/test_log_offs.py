"""A log-off that OSCC-E has not confirmed outlives the node that was asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.runtime.ports import NODE_TTL_S
from gateway.runtime.sessions import READ_STORED_S, RETRY_S
from tests.app.samples import LOG_ON
from tests.cluster.cluster import PASSWORD, Cluster, cluster
from tests.cluster.programs import Node
from tests.doubles.servers import Server, redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(150)]

NUMBER = "+493055501987"
TAKEN_OVER_S = NODE_TTL_S + 2 * READ_STORED_S + RETRY_S
LOOK_EVERY_S = 0.25
SLACK_S = 20.0
"""For a machine that is busy with something else."""
CENTRE = ("--users", "1", "--agents", "4", "--queues", "1")


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[Cluster, Server]]:
    """Run two nodes, with roads to Redis and to the OSCC-E Server."""
    limits = {"drain_notice_s": 0, "drain_s": 2}
    async with (
        redis_server() as redis,
        cluster(folder, nodes=2, redis=redis, centre=CENTRE, limits=limits, with_roads=True) as running,
    ):
        yield running, redis


async def log_on(running: Cluster, node: Node) -> str:
    """Log an agent on at a node; returns the token."""
    body = LOG_ON | {"application": "remote_assistant", "user_name": "agent1", "password": PASSWORD}
    body |= {"remote_number": NUMBER, "device": LOG_ON["device"] | {"name": "canary-of-a-device"}}
    while True:
        async with running.http.post(f"{node.base}/v1/sessions", json=body) as response:
            received = await response.json()
        if response.status != 429:
            assert response.status == 201, received
            return str(received["token"])
        await asyncio.sleep(received["retry_after_s"])  # a node that has just begun beside another


async def log_off(running: Cluster, node: Node, token: str) -> int:
    url = f"{node.base}/v1/session"
    async with running.http.delete(url, headers={"Authorization": f"Bearer {token}"}) as response:
        return response.status


async def unrouted(running: Cluster, within_s: float) -> bool:
    """Return whether no call is routed to a remote number any more, at the latest after so long."""
    for _ in range(round(within_s / LOOK_EVERY_S)):
        if not await running.centre.routed():
            return True
        await asyncio.sleep(LOOK_EVERY_S)
    return False


async def kept(redis: Server) -> list[bytes]:
    """Return all that Redis holds of log-offs, and of what kind each is."""
    keys = await redis.command("KEYS", "og:{off}:*")
    assert isinstance(keys, list)
    return keys


@pytest.mark.parametrize("way", ["SIGTERM", "SIGKILL"])
@pytest.mark.takes(15)
async def test_another_node_has_confirmed_what_a_node_that_ended_had_not(tmp_path: Path, way: str) -> None:
    async with two(tmp_path) as (running, redis):
        one, _ = running.nodes
        token = await log_on(running, one)
        assert await running.centre.routed() == {"agent1": NUMBER}
        for road in running.centre_roads:
            road.kill()
        assert await log_off(running, one, token) == 202
        (key,) = await kept(redis)
        held = await redis.command("GET", key)
        assert isinstance(held, bytes)
        assert b"canary" not in held
        assert b"agent1" not in held
        if way == "SIGTERM":
            assert await one.term() == 0
            assert '"event": "log_offs_left"' in one.written()
        else:
            await one.kill9()
        for road in running.centre_roads:
            road.heal()
        assert await unrouted(running, TAKEN_OVER_S + SLACK_S)
        assert await kept(redis) == []


async def test_a_node_whose_redis_is_away_says_what_it_could_not_confirm_and_ends_with_a_code(
    tmp_path: Path,
) -> None:
    async with two(tmp_path) as (running, _):
        one, _ = running.nodes
        token = await log_on(running, one)
        running.centre_roads[0].kill()
        running.bus_roads[0].kill()
        assert await log_off(running, one, token) == 202
        assert await one.term() == 3
        assert '"event": "log_offs_unconfirmed"' in one.written()
        assert "has not confirmed 1 log-off(s)" in one.written()
