"""Faults of a cluster before an Asterisk: nodes killed, frozen and drained, the bus cut, Asterisk killed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.client import Status
from gateway.runtime.handover import EXPIRY_S
from tests.cluster.asterisk import AWAY_S, AsteriskCentre
from tests.cluster.cluster import Size, size
from tests.cluster.phones import FRESH_S, PING_S
from tests.cluster.sizes import IS_FULL
from tests.cluster.stage import Stage, stage
from tests.cluster.test_restarts import roll
from tests.doubles.servers import redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900 if IS_FULL else 240)]

SIZE = size(Size(6, 2, agents=20, queues=4, fault_s=3.0), Size(100, 2, agents=200, queues=20, fault_s=15.0))
CONVERGED_WITHIN_S = 5.0
LEASE_S = EXPIRY_S + 5.0
"""AMI fences nobody: who takes the users of a node that is gone waits until its leases have run out."""
COMMAND_S = 3.0
NOTICED_S = 2.5 * PING_S
"""A phone takes a connection for dead after 1.5 intervals of pings; then it has to connect again."""
DONE = {Status.APPLIED.value, Status.PENDING.value}
REFUSED = {Status.REJECTED.value, Status.UNCHANGED.value}


async def owner_killed(play: Stage) -> None:
    node = play.cluster.nodes[await play.cluster.busiest()]
    killed_at = play.now
    await node.kill9()
    assert await play.crowd.fresh(killed_at, within_s=60) <= play.crowd.bound(LEASE_S)
    await node.restart()


async def owner_frozen(play: Stage) -> None:
    node = play.cluster.nodes[await play.cluster.busiest()]
    frozen_at = play.now
    node.freeze()
    try:
        assert await play.crowd.fresh(frozen_at, within_s=60) <= play.crowd.bound(LEASE_S + NOTICED_S)
    finally:
        node.thaw()


async def bus_cut(play: Stage) -> None:
    for road in play.cluster.bus_roads:
        road.freeze()
    await asyncio.sleep(SIZE.fault_s)
    for road in play.cluster.bus_roads:
        road.heal()


async def asterisk_killed(play: Stage) -> None:
    phones = play.crowd.phones
    await play.crowd.until(lambda: all(phone.says_live for phone in phones), 30, "say that it is there")
    killing = asyncio.ensure_future(play.cluster.centre.fault("Kill"))
    await play.crowd.until(
        lambda: not any(phone.says_live for phone in phones), AWAY_S, "say that it is away"
    )
    await killing


async def rolled(play: Stage) -> None:
    assert await roll(play) == [0, 0, 0]


async def everything(play: Stage) -> None:
    """Kill Asterisk; cut the bus; kill, freeze and drain a node each."""
    await asterisk_killed(play)
    await play.crowd.fresh(play.now, within_s=30)
    await bus_cut(play)
    killed = play.cluster.nodes[await play.cluster.busiest()]
    await killed.kill9()
    frozen, drained = (node for node in play.cluster.nodes if node is not killed)
    began = play.now
    frozen.freeze()
    try:
        assert await play.crowd.fresh(began, within_s=60) <= play.crowd.bound(LEASE_S + NOTICED_S)
    finally:
        frozen.thaw()
    await killed.restart()
    assert await drained.term() == 0
    await drained.restart()


FAULTS: list[tuple[str, Callable[[Stage], Awaitable[None]], float]] = [
    ("kill -9 of an owner", owner_killed, CONVERGED_WITHIN_S),
    ("the bus is cut", bus_cut, CONVERGED_WITHIN_S),
    ("Asterisk is killed", asterisk_killed, FRESH_S + 1.0),
    ("a node frozen (SIGSTOP)", owner_frozen, NOTICED_S),
    ("rolling restart", rolled, CONVERGED_WITHIN_S),
]
"""Each with the age that the oldest view that is shown as live may have."""
TOGETHER = [("all of it together", everything, NOTICED_S)]
"""At the size light: a user of a node that is gone waits for its lease once."""


@pytest.mark.takes(80)
async def test_no_fault_of_nodes_bus_or_asterisk_misleads_phones_or_repeats_a_command(tmp_path: Path) -> None:
    async with (
        redis_server() as redis,
        stage(tmp_path, SIZE, redis, with_roads=True, kind=AsteriskCentre) as play,
    ):
        for name, happen, lie_max_s in FAULTS if IS_FULL else TOGETHER:
            since = await play.crowd.reset_counts()
            play.crowd.start_traffic(roam_s=None, command_s=COMMAND_S)
            await asyncio.sleep(COMMAND_S / 2)
            await happen(play)
            converge_s = await play.crowd.fresh(play.now, within_s=60)
            figures = await play.end(f"Asterisk: {name}", 2, since, quiet_s=20, converge_s=converge_s)
            assert converge_s <= play.crowd.bound(CONVERGED_WITHIN_S), name
            assert figures.lie_s is not None
            assert figures.lie_s <= play.crowd.bound(lie_max_s), name
            done = sum(count for said, count in figures.outcomes.items() if said.split(":")[0] in DONE)
            refused = sum(count for said, count in figures.outcomes.items() if said.split(":")[0] in REFUSED)
            assert done <= figures.executed <= sum(figures.outcomes.values()) - refused, (
                name,
                figures.outcomes,
            )
            owned = await play.cluster.sum("leases_held")
            assert owned == SIZE.users, f"{name}: {owned} owners of {SIZE.users} users"
            figures.keep()
