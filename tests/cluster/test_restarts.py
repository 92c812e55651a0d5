"""Scenarios 5 and 6: nodes restart one after the other; OSCC-E restarts; both while Redis is down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.domain.errors import LOG_ON_WINDOW_S
from tests.cluster.cluster import Size, size
from tests.cluster.figures import Figures
from tests.cluster.sizes import IS_FULL
from tests.cluster.stage import Stage, stage
from tests.doubles.servers import redis_server

GIVE_UP_S = 1500 if IS_FULL else 400
"""The last scenario took 125 s at size light while two cores did other work: three times that and more."""
pytestmark = [pytest.mark.scenario, pytest.mark.timeout(GIVE_UP_S)]

SIZE = size(Size(20, 2, agents=60, queues=10, fault_s=5.0), Size(200, 2, agents=400, queues=40, fault_s=30.0))
only_full = pytest.mark.skipif(not IS_FULL, reason="part of the last scenario; alone only at full size")
BUDGET_PER_S = 10.0 if not IS_FULL else 20.0
BACK_WITHIN_S = max(60.0, LOG_ON_WINDOW_S[1] + SIZE.users * SIZE.phones / (BUDGET_PER_S / 2) + 10.0)
"""After 4300 phones wait within the window, and then for the half of the budget that log-ons may use."""
OVER_MAX = 3.0
"""Log-ons that samples, taken four times a second, may count too many."""


async def roll(play: Stage) -> list[int]:
    """Restart one node after the other, each when the one before is ready again; returns exit codes."""
    codes = []
    for node in play.cluster.nodes:
        codes.append(await node.term())
        await node.start()
        await node.until_ready()
    return codes


async def back(play: Stage) -> float:
    """Return after how long every phone is connected and sees what is new."""
    since = play.now
    phones = play.crowd.phones
    await play.crowd.until(
        lambda: all(phone.seen.connected_at is not None for phone in phones), 3 * BACK_WITHIN_S, "back"
    )
    await play.crowd.fresh(since, within_s=BACK_WITHIN_S)
    return play.now - since


def judge(figures: Figures) -> None:
    assert figures.log_ons_over <= OVER_MAX, figures
    assert figures.converge_s is not None
    assert figures.converge_s <= BACK_WITHIN_S
    assert (figures.twice, figures.without_link) == (0, 0), figures
    figures.keep()


@only_full
async def test_a_rolling_restart_loses_nothing(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis, budget_per_s=BUDGET_PER_S) as play:
        since = play.now
        play.crowd.start_traffic(roam_s=None, command_s=5)
        codes = await roll(play)
        rolled_s = play.now - since
        converge_s = await back(play)
        figures = await play.end("rolling restart", 5, since, quiet_s=20, converge_s=converge_s)
        figures.notes = {"rolled in, s": rolled_s}
        assert codes == [0, 0, 0]
        judge(figures)


@only_full
async def test_everybody_comes_back_within_the_budget_after_oscc_e_forgot_all_sessions(
    tmp_path: Path,
) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis, budget_per_s=BUDGET_PER_S) as play:
        since = play.now
        play.crowd.start_traffic(roam_s=None, command_s=5)
        await play.cluster.centre.fault("Restart")
        await play.crowd.until(
            lambda: all(phone.seen.log_ons > 0 for phone in play.crowd.phones), 2 * BACK_WITHIN_S, "4300"
        )
        converge_s = await back(play) + play.now - since
        figures = await play.end("OSCC-E restarts", 6, since, quiet_s=20, converge_s=converge_s)
        judge(figures)


@pytest.mark.takes(40)
async def test_a_rolling_restart_while_redis_is_down_and_oscc_e_restarts(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis, budget_per_s=BUDGET_PER_S) as play:
        since = play.now
        play.crowd.start_traffic(roam_s=None, command_s=5)
        rolling = asyncio.ensure_future(roll(play))
        await asyncio.sleep(2)  # the first node is on its way out
        await redis.kill()
        await play.cluster.centre.fault("Restart")
        await asyncio.sleep(SIZE.fault_s)
        await redis.start()
        await play.spy.prepare()
        codes = await rolling
        converge_s = await back(play)
        figures = await play.end(
            "rolling restart, Redis and OSCC-E too", 6, since, quiet_s=30, converge_s=converge_s
        )
        assert codes == [0, 0, 0]
        judge(figures)
