"""A Redis that is far away: each answer takes 250 ms. Commands of followers are carried out all the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from gateway.domain.commands import Status
from gateway.domain.errors import ErrorCode
from tests.cluster.cluster import Size
from tests.cluster.phones import Phone
from tests.cluster.sizes import IS_FULL
from tests.cluster.stage import stage
from tests.doubles.servers import redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600 if IS_FULL else 180)]

SIZE = Size(10, 2, agents=40, queues=4, fault_s=0.0, nodes=2)
ROUND_TRIP_S = 0.25
COMMANDS = 30 if IS_FULL else 6
"""Of each phone, one after the other; every second phone is on its user's follower."""
STEADY_S = 10.0


async def asked(phones: list[Phone], agents: list[int], times: int) -> Counter[str]:
    """Have each phone ask *times* commands; returns how many had each status, and each error beside it."""
    outcomes: Counter[str] = Counter()

    async def ask(phone: Phone) -> None:
        for _ in range(times):
            outcome = await phone.command(agents)
            outcomes[outcome.status.value] += 1
            if outcome.error is not None:
                outcomes[f"error {outcome.error.code.value}"] += 1

    async with asyncio.TaskGroup() as tasks:
        for phone in phones:
            tasks.create_task(ask(phone))
    return outcomes


@pytest.mark.takes(30)
async def test_commands_reach_the_owner_over_a_redis_that_is_250_ms_away(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis, with_roads=True) as play:
        for road in play.cluster.bus_roads:
            for way in road.ways:
                way.latency_s = ROUND_TRIP_S / 2
        await asyncio.sleep(STEADY_S)
        since = await play.crowd.reset_counts()
        lost = await play.cluster.sum("bus_gaps_total")
        async with asyncio.TaskGroup() as tasks:
            asking = [
                tasks.create_task(asked(phones, play.crowd.scopes[user]["Users"], COMMANDS))
                for user, phones in play.crowd.by_user().items()
            ]
        outcomes = sum((each.result() for each in asking), Counter[str]())
        lost_meanwhile = await play.cluster.sum("bus_gaps_total") - lost
        print(
            f"\nat a round trip of {ROUND_TRIP_S * 1000:.0f} ms: {dict(outcomes)}, gaps {lost_meanwhile:.0f}"
        )
        figures = await play.end("Redis 250 ms away", 4, since, quiet_s=45)
        asked_of_all = sum(len(phones) * COMMANDS for phones in play.crowd.by_user().values())
        figures.notes = {"commands asked": asked_of_all, "gaps in what followers got": lost_meanwhile}
        statuses = sum(number for name, number in outcomes.items() if not name.startswith("error "))
        assert statuses == asked_of_all
        assert outcomes[Status.UNKNOWN.value] == outcomes[f"error {ErrorCode.BUS_DOWN.value}"] == 0
        assert outcomes[Status.APPLIED.value] + outcomes[Status.UNCHANGED.value] > 0
        assert (figures.twice, figures.without_link) == (0, 0), figures
        figures.keep()
