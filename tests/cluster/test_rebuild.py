"""Disaster recovery: all nodes and Redis are lost; what was kept is enough to begin again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cluster.cluster import Size, size
from tests.cluster.stage import stage
from tests.doubles.servers import redis_server

SIZE = size(Size(10, 2, agents=20, queues=5, fault_s=0.0), Size(200, 2, agents=400, queues=40, fault_s=0.0))
BACK_WITHIN_S = 120.0
pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900)]


async def test_nodes_made_of_the_kept_files_serve_the_phones_without_a_log_on(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis) as play:
        kept = tmp_path / "kept"  # the files with settings and keys, outside the machines that are lost
        kept.mkdir()
        for node in play.cluster.nodes:
            shutil.move(tmp_path / f"{node.name}.toml", kept)
            await node.kill9()
        await redis.kill()
        phones = play.crowd.phones
        await play.crowd.until(
            lambda: not any(phone.says_live for phone in phones), BACK_WITHIN_S, "say that nothing is live"
        )
        since = play.now
        await redis.start()
        await play.spy.prepare()
        for node in play.cluster.nodes:
            shutil.copy(kept / f"{node.name}.toml", tmp_path)
            await node.start()
        for node in play.cluster.nodes:
            await node.until_ready()
        ready_s = play.now - since
        converge_s = await play.crowd.fresh(since, within_s=BACK_WITHIN_S)
        figures = await play.end("all nodes and Redis rebuilt", 9, since, quiet_s=20, converge_s=converge_s)
        figures.notes = {"nodes ready, s": ready_s}
        assert [phone.name for phone in phones if phone.seen.log_ons or phone.seen.ended] == []
        assert (figures.twice, figures.without_link) == (0, 0), figures
        figures.keep()
