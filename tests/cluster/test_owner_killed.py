"""Scenario 2: kill -9 or freeze a node that owns links, with commands in flight."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.client import Outcome, Status
from gateway.runtime.handover import EXPIRY_S
from gateway.simulator.settings import ALL_FEATURES
from tests.cluster.cluster import Size, size
from tests.cluster.figures import Figures
from tests.cluster.phones import PING_S
from tests.cluster.programs import Node
from tests.cluster.sizes import IS_FULL
from tests.cluster.stage import Stage, stage
from tests.doubles.servers import redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600 if IS_FULL else 240)]

SIZE = size(Size(30, 2, agents=80, queues=12, fault_s=0.0), Size(200, 2, agents=400, queues=40, fault_s=0.0))
CONVERGED_WITHIN_S = 5.0
TRUSTED_S = 6.0
"""A node takes users from a deaf one once its own probes have come back for 5 s: not right after a start."""
COMMAND_S = 4.0
"""Between two commands of a phone."""
FROZEN_MAX_S = 90.0
"""Bounds a failing test: by then users are taken over, and phones have noticed that their node is silent."""
DEAD_S = EXPIRY_S + 1.0
"""After it every lease of a node that is silent has run out, also as others see it."""
NOTICED_S = 2.5 * PING_S
"""A phone takes a connection for dead after 1.5 intervals of pings; then it has to connect again."""
HELD_S = 4.0
"""So long OSCC-E holds back what it answers, so that commands are in flight."""
ALLOWED = {Status.APPLIED, Status.PENDING, Status.UNCHANGED, Status.REJECTED, Status.UNKNOWN}


@pytest.mark.takes(70)
async def test_phones_converge_after_an_owner_was_killed_and_commands_in_flight_end(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis) as play:
        dead = await killed(play)
        await dead.restart()
        await asyncio.sleep(TRUSTED_S)
        await killed_with_commands_in_flight(play, "kill -9 with commands in flight")


@pytest.mark.takes(50)
async def test_commands_run_at_most_once_also_where_the_server_knows_no_request_keys(tmp_path: Path) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis) as play:
        await play.cluster.centre.fault("Features", Features=sorted({*ALL_FEATURES} - {"RequestKeys"}))
        since = play.now
        await play.cluster.centre.fault("DropLinks")  # the next ones are opened without keys
        await play.crowd.fresh(since, within_s=30)
        await asyncio.sleep(TRUSTED_S)
        figures = await killed_with_commands_in_flight(play, "kill -9, commands in flight, no request keys")
        refused = sum(count for name, count in figures.outcomes.items() if name.startswith("rejected"))
        assert figures.executed <= sum(figures.outcomes.values()) - refused, figures.outcomes


@pytest.mark.takes(115)
async def test_users_of_a_frozen_node_are_served_by_the_others_and_it_goes_on_in_peace(
    tmp_path: Path,
) -> None:
    async with redis_server() as redis, stage(tmp_path, SIZE, redis) as play:
        node = play.cluster.nodes[await play.cluster.busiest()]
        since = await play.crowd.reset_counts()
        play.crowd.start_traffic(roam_s=None, command_s=COMMAND_S)
        await asyncio.sleep(COMMAND_S)
        began = play.now
        node.freeze()
        try:
            converge_s = await play.crowd.fresh(began, within_s=FROZEN_MAX_S)
            await asyncio.sleep(max(0.0, began + DEAD_S - play.now))
        finally:
            node.thaw()
        await play.crowd.rest()
        await play.crowd.fresh(play.now, within_s=30)
        figures = await play.end("a node frozen (SIGSTOP)", 2, since, quiet_s=20, converge_s=converge_s)
        assert figures.lie_s is not None
        assert figures.lie_s <= play.crowd.bound(NOTICED_S), "its phones notice that it is silent"
        assert (figures.twice, figures.without_link) == (0, 0)
        assert figures.executed > 0
        figures.keep()


async def killed(play: Stage) -> Node:
    """Kill the node that owns most users; returns it."""
    node = play.cluster.nodes[await play.cluster.busiest()]
    since = await play.crowd.reset_counts()
    play.crowd.start_traffic(roam_s=None, command_s=COMMAND_S)
    await asyncio.sleep(COMMAND_S)
    over = play.now
    await node.kill9()
    converge_s = await play.crowd.fresh(over, within_s=30)
    figures = await play.end("kill -9 of an owner", 2, since, quiet_s=15, converge_s=converge_s)
    assert converge_s <= play.crowd.bound(CONVERGED_WITHIN_S)
    assert figures.lie_s is not None
    assert figures.lie_s <= play.crowd.bound(CONVERGED_WITHIN_S)
    assert (figures.twice, figures.without_link) == (0, 0)
    assert figures.kicks_max <= 1
    figures.keep()
    return node


async def killed_with_commands_in_flight(play: Stage, fault: str) -> Figures:
    node = play.cluster.nodes[await play.cluster.busiest()]
    since = await play.crowd.reset_counts()
    await play.cluster.centre.fault("Delay", Seconds=HELD_S)
    play.crowd.held_back_s = HELD_S
    handover = [asyncio.ensure_future(_give(play, number)) for number in range(len(play.crowd.phones))]
    await asyncio.sleep(1)  # the commands have reached OSCC-E, which holds its answers back
    over = play.now
    await node.kill9()
    await play.cluster.centre.fault("Delay", Seconds=0)
    outcomes = await asyncio.wait_for(asyncio.gather(*handover), 20)
    converge_s = await play.crowd.fresh(over, within_s=30)
    figures = await play.end(fault, 2, since, 15, converge_s=converge_s)
    assert {outcome.status for outcome in outcomes} <= ALLOWED
    assert any(outcome.status is Status.UNKNOWN for outcome in outcomes), figures.outcomes
    applied = sum(outcome.status in {Status.APPLIED, Status.PENDING} for outcome in outcomes)
    assert applied <= figures.executed <= len(outcomes)
    assert figures.twice == 0
    figures.keep()
    return figures


async def _give(play: Stage, number: int) -> Outcome:
    phone = play.crowd.phones[number]
    return await phone.command(play.crowd.scopes[phone.user]["Users"])
