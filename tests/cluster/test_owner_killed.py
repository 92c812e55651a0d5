"""Scenario 2: kill -9 a node that owns links, with commands in flight."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.client import Outcome, Status
from tests.cluster.cluster import Size, size
from tests.cluster.programs import Node
from tests.cluster.sizes import IS_FULL
from tests.cluster.stage import Stage, stage
from tests.doubles.servers import redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600 if IS_FULL else 120)]

SIZE = size(Size(30, 2, agents=80, queues=12, fault_s=0.0), Size(200, 2, agents=400, queues=40, fault_s=0.0))
CONVERGED_WITHIN_S = 5.0
TRUSTED_S = 6.0
"""A node takes users from a deaf one once its own probes have come back for 5 s: not right after a start."""
HELD_S = 4.0
"""So long OSCC-E holds back what it answers, so that commands are in flight."""
ALLOWED = {Status.APPLIED, Status.PENDING, Status.UNCHANGED, Status.REJECTED, Status.UNKNOWN}


async def test_phones_converge_after_an_owner_was_killed_and_commands_in_flight_end(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis) as play:
        dead = await killed(play)
        await dead.restart()
        await asyncio.sleep(TRUSTED_S)
        await killed_with_commands_in_flight(play)


async def killed(play: Stage) -> Node:
    """Kill the node that owns most users; returns it."""
    node = play.cluster.nodes[await play.cluster.busiest()]
    since = await play.crowd.anew()
    await node.kill9()
    converge_s = await play.crowd.fresh(since, within_s=30)
    figures = await play.end("kill -9 of an owner", 2, since, quiet_s=15, converge_s=converge_s)
    assert converge_s <= CONVERGED_WITHIN_S
    assert figures.lie_s is not None
    assert figures.lie_s <= CONVERGED_WITHIN_S
    assert (figures.links_max, figures.twice, figures.without_link) == (1, 0, 0)
    assert figures.kicks_max <= 1
    figures.keep()
    return node


async def killed_with_commands_in_flight(play: Stage) -> None:
    node = play.cluster.nodes[await play.cluster.busiest()]
    since = await play.crowd.anew()
    await play.cluster.centre.fault("Delay", Seconds=HELD_S)
    handover = [asyncio.ensure_future(_give(play, number)) for number in range(len(play.crowd.phones))]
    await asyncio.sleep(1)  # the commands have reached OSCC-E, which holds its answers back
    over = play.now
    await node.kill9()
    await play.cluster.centre.fault("Delay", Seconds=0)
    outcomes = await asyncio.wait_for(asyncio.gather(*handover), 20)
    converge_s = await play.crowd.fresh(over, within_s=30)
    figures = await play.end("kill -9 with commands in flight", 2, since, 15, converge_s=converge_s)
    assert {outcome.status for outcome in outcomes} <= ALLOWED
    assert any(outcome.status is Status.UNKNOWN for outcome in outcomes), figures.outcomes
    applied = sum(outcome.status in {Status.APPLIED, Status.PENDING} for outcome in outcomes)
    assert applied <= figures.executed <= len(outcomes)
    assert figures.twice == 0
    figures.keep()


async def _give(play: Stage, number: int) -> Outcome:
    phone = play.crowd.phones[number]
    return await phone.command(play.crowd.scopes[phone.user]["Users"])
