"""Does the harness notice what scenarios are to prove absent? One node on the memory bus, planted faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, Size, cluster
from tests.cluster.crowd import Crowd
from tests.cluster.phones import FRESH_S

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(120)]

SMALL = Size(6, 2, agents=40, queues=8, fault_s=2.0, nodes=1)


@asynccontextmanager
async def small(folder: Path) -> AsyncIterator[tuple[Cluster, Crowd]]:
    centre = ["--users", str(SMALL.users), "--agents", str(SMALL.agents), "--queues", str(SMALL.queues)]
    centre += ["--interval-s", "0.5", "--events-per-s", "40"]
    async with (
        cluster(folder, nodes=1, centre=centre, limits={"log_ons_per_s": 200}) as made,
        await Crowd.of(made, SMALL) as crowd,
    ):
        await crowd.arrive(within_s=30)
        yield made, crowd


async def test_a_quiet_crowd_sees_the_truth_and_each_planted_fault_is_noticed(tmp_path: Path) -> None:
    async with small(tmp_path) as (_, crowd):
        began = asyncio.get_running_loop().time()
        crowd.bustle(roam_s=3, command_s=2)
        await asyncio.sleep(8)
        assert await crowd.settle(within_s=15) == []
        figures = await crowd.figures("none", began, budget_per_s=200)
        assert figures.blind_s is not None
        assert figures.blind_s < 2 * FRESH_S
        assert figures.lie_s is not None
        assert figures.lie_s < FRESH_S
        assert (figures.links_max, figures.twice, figures.disconnected, figures.without_link) == (1, 0, 0, 0)
        assert figures.executed > 0
        assert sum(phone.seen.roamed for phone in crowd.phones) > 0

        values = crowd.phones[0].client.mirror._values
        key = next(key for key in values if key.startswith("agent:"))
        true = values[key]
        values[key] = {**true, "routing_state": "levitating"}
        assert [each for each in await crowd.differences() if "levitating" in each]
        values[key] = true
        assert await crowd.differences() == []
