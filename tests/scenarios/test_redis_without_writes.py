"""Nodes serve phones while a real Redis carries messages and refuses writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import pytest

from gateway.core.lease import TTL_S
from gateway.domain.model import NodeId
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.node import NodeSettings
from gateway.runtime.ports import Cluster, SiteParts
from tests.bus.test_refusals import Trouble, full, node, without_replicas
from tests.contracts.buses import connected
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream
from tests.doubles.servers import Server, redis_server, until
from tests.runtime.scene import PhoneLine, Scene, people, user

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]


class _RealClock(SystemClock):
    """Real time, for scenes that settle."""

    async def settle(self) -> None:
        await asyncio.sleep(0)


@asynccontextmanager
async def nodes(*servers: Server) -> AsyncIterator[tuple[FakeUpstream, list[Scene]]]:
    """Run a node on each of some real servers, or more of one, and one OSCC-E Server in memory."""
    clock = _RealClock()
    upstream = FakeUpstream(clock)
    people(upstream)
    async with AsyncExitStack() as stack:
        sites = [await stack.enter_async_context(node(server.url)) for server in servers]
        for site in sites:
            await connected(site)
        scenes = [
            Scene(
                NodeSettings(NodeId(f"n{at}"), f"n{at}-1", log_ons_per_s=200.0),
                (cast(ManualClock, clock), upstream, SiteParts(upstream, upstream)),
                Cluster(site.bus, site.leases, site.registry, site.shared, site.refusals),
            )
            for at, site in enumerate(sites)
        ]
        async with asyncio.TaskGroup() as tasks:
            running = []
            for scene in scenes:
                scene.tasks = tasks
                running.append(tasks.create_task(scene.node.run()))
            await asyncio.sleep(5)  # until all have their part of the log-ons
            yield upstream, scenes
            for each in running:
                each.cancel()


async def live(phone: PhoneLine) -> None:
    async def is_live() -> bool:
        phone.tick()
        assert phone.closed is None
        return bool(phone.of_kind("ping")) and phone.health == "live"

    await until(is_live, "it is not served")


@pytest.mark.parametrize("trouble", [full, without_replicas], ids=["OOM", "NOREPLICAS"])
@pytest.mark.takes(15)
async def test_nodes_of_a_server_that_takes_no_writes_serve_newcomers_and_keep_owners(
    trouble: Trouble,
) -> None:
    async with redis_server() as server, nodes(server, server) as (upstream, scenes):
        old = await scenes[0].served()
        await live(old)
        owner = scenes[0].owner()
        await trouble(server)
        newcomer = await scenes[1].served("bert")
        await live(newcomer)
        await asyncio.sleep(TTL_S)  # the lease of the user who was there before has run out
        other = await scenes[1].served(device="d2")
        await live(other)
        assert scenes[0].owner() is owner
        assert upstream.wires[user(1)].link.holder == "n0-1"
        assert scenes[1].owner(7).token == upstream.wires[user(7)].link.token
