"""Scenario 8: after a restart the fullest node sends phones on until it is near the mean of all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.drain_schedule import END, SETTLED_S
from tests.cluster.cluster import Size
from tests.cluster.sizes import IS_FULL
from tests.cluster.stage import Stage, stage
from tests.doubles.servers import redis_server

only_full = pytest.mark.skipif(not IS_FULL, reason="two minutes, of which one is waiting: see tests/app")
pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900), only_full]

SIZE = Size(30, 2, agents=60, queues=10, fault_s=0.0, nodes=2)
COMMAND_S = 8.0
BALANCED_WITHIN_S = 200.0


async def test_phones_spread_over_a_node_that_was_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSCC_GATEWAY__LIMITS__BALANCE", "true")
    async with redis_server() as redis, stage(tmp_path, SIZE, redis) as play:
        restarted = play.cluster.nodes[-1]
        await restarted.kill9()
        phones = play.crowd.phones
        await play.crowd.until(
            lambda: all(phone.seen.connected_at is not None for phone in phones), 60.0, "back"
        )
        await restarted.restart()
        since = await play.crowd.reset_counts()
        play.crowd.start_traffic(roam_s=None, command_s=COMMAND_S)
        mean = len(phones) / SIZE.nodes
        assert max(await held(play)) > END * mean

        async def is_balanced() -> bool:
            return max(await held(play)) <= END * mean + 1

        await play.crowd.until_async(is_balanced, within_s=BALANCED_WITHIN_S)
        assert play.now - since >= SETTLED_S - 5
        await play.crowd.rest()
        converge_s = await play.crowd.fresh(play.now, within_s=60)
        figures = await play.end("balancing", 8, since, quiet_s=20, converge_s=converge_s)
        sent_on = await play.cluster.sum("phones_sent_on_total")
        figures.notes = {"sent on": sent_on}
        assert sent_on == figures.disconnected
        assert figures.breaks.keys() == {"balancing"}
        assert (figures.twice, figures.without_link) == (0, 0), figures
        figures.keep()


async def held(play: Stage) -> list[float]:
    """Return how many phones each node has."""
    return [await node.metric("connections") for node in play.cluster.nodes]
