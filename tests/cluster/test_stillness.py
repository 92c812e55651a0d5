"""Does a cluster that nothing happens to do nothing wrong? What all scenarios start from."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cluster.cluster import Size
from tests.cluster.phones import FRESH_S
from tests.cluster.stage import stage
from tests.doubles.servers import redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(120)]

SIZE = Size(12, 2, agents=40, queues=8, fault_s=0.0)


async def test_three_nodes_share_users_with_one_link_each(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis) as play:
        since = play.now
        play.crowd.bustle(roam_s=None, command_s=2)
        await asyncio.sleep(5)
        figures = await play.end("none", 0, since, quiet_s=15)
        assert figures.blind_s is not None
        assert figures.blind_s <= 2 * FRESH_S
        found = (figures.links_max, figures.kicks_max, figures.twice, figures.disconnected)
        assert found == (1, 0, 0, 0), figures
        assert figures.gap_s == 0
        assert figures.executed > 0
        nodes = {phone.client._realtime._means.address for phone in play.crowd.phones}
        assert len(nodes) == SIZE.nodes
        figures.keep()
