"""Scenario 1: phones roam over all nodes all the time. One link per user, hardly ever none, and no loss."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cluster.cluster import Size, size
from tests.cluster.phones import FRESH_S
from tests.cluster.sizes import IS_FULL
from tests.cluster.spy import script_cost
from tests.cluster.stage import BUDGET_PER_S, stage
from tests.doubles.servers import redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900 if IS_FULL else 120)]

SIZE = size(
    Size(30, 2, agents=80, queues=12, fault_s=12.0), Size(200, 2, agents=400, queues=40, fault_s=300.0)
)
STILL_S = 3.0
GAP_MAX_S = 1.0
BACK_S = 25.0
"""A phone that roamed often waits for up to 20 s before its next try (docs/protocol.md, *Back-off*)."""


@pytest.mark.takes(50)
async def test_each_user_has_one_link_while_phones_roam(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis) as play:
        since = await play.crowd.reset_counts()
        await asyncio.sleep(STILL_S)
        still = await play.crowd.figures("none", since, BUDGET_PER_S)
        assert (still.kicks_max, still.gap_s, still.disconnected) == (0, 0, 0), still
        assert still.blind_s is not None
        assert still.blind_s <= FRESH_S
        since = await play.crowd.reset_counts()
        cpu_s, calls = await script_cost(redis)
        play.crowd.start_traffic()
        await asyncio.sleep(SIZE.fault_s)
        lasted_s = play.now - since
        cpu_after_s, calls_after = await script_cost(redis)
        figures = await play.end("roaming", 1, since, quiet_s=BACK_S)
        figures.notes = {
            "CPU of scripts, % of a core": 100 * (cpu_after_s - cpu_s) / lasted_s,
            "scripts per second": (calls_after - calls) / lasted_s,
            "roamed": sum(phone.seen.roamed for phone in play.crowd.phones),
            "resumed": sum(phone.seen.resumed for phone in play.crowd.phones),
            "moves of ownership": await play.cluster.sum("ownership_moves_total"),
        }
        assert calls_after > calls, "no lease was renewed: nothing was shared"
        assert figures.gap_s <= GAP_MAX_S
        assert (figures.twice, figures.without_link, figures.disconnected) == (0, 0, 0), figures
        figures.keep()
