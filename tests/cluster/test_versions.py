"""Scenario 7: a rolling upgrade from the last release, and back, under phones that roam and command."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import msgpack

import gateway
from tests.cluster.cluster import Size, size
from tests.cluster.programs import PRESENT, Launch
from tests.cluster.sizes import IS_FULL
from tests.cluster.stage import Stage, stage
from tests.cluster.versions import OLD_RELEASE, Speech, last_release, old
from tests.doubles.servers import redis_server

ROLLED_WITHIN_S = 1500 if IS_FULL else 400
SIZE = size(
    Size(20, 2, agents=60, queues=10, fault_s=4.0, nodes=2), Size(500, 2, agents=400, queues=40, fault_s=30.0)
)
BACK_WITHIN_S = 60.0
COMMAND_S = 5.0


def test_an_earlier_version_says_and_reads_what_it_knows_alone() -> None:
    speech = Speech(last_release())
    assert {"Probe", "Publication", "Publications", "Here", "Offer"} <= speech.kinds.keys()
    received = ("Probe", {"number": 7, "later": 1})
    assert msgpack.decode(speech.cut(msgpack.encode(received)) or b"") == ["Probe", {"number": 7}]
    assert speech.cut(msgpack.encode(("Later", {"number": 7}))) is None
    fields = dict.fromkeys(speech.resources["agent"], 1)
    update = {"key": "agent:1", "seq": 2, "value": {**fields, "later": 1}}
    cut = speech.cut(msgpack.encode(("Publication", {"updates": [update], "epoch": 3})))
    assert msgpack.decode(cut or b"")[1] == {"epoch": 3, "updates": [{**update, "value": fields}]}


@pytest.mark.scenario
@pytest.mark.timeout(ROLLED_WITHIN_S)
@pytest.mark.takes(50)
async def test_nodes_of_two_versions_serve_together_through_an_upgrade_and_back(tmp_path: Path) -> None:
    earlier = old(tmp_path)
    async with redis_server() as redis, stage(tmp_path, SIZE, redis, launch=earlier) as play:
        assert all(await are_old(play))
        since = play.now
        play.crowd.start_traffic(roam_s=2 * SIZE.fault_s, command_s=COMMAND_S)
        await roll(play, PRESENT)
        assert not any(await are_old(play))
        await roll(play, earlier)
        assert all(await are_old(play))
        await play.crowd.rest()
        over = play.now
        await play.crowd.until(
            lambda: all(phone.seen.connected_at is not None for phone in play.crowd.phones),
            BACK_WITHIN_S,
            "back",
        )
        converge_s = await play.crowd.fresh(over, within_s=BACK_WITHIN_S)
        figures = await play.end("upgrade and roll-back", 7, since, quiet_s=20, converge_s=converge_s)
        assert (figures.twice, figures.without_link) == (0, 0), figures
        assert figures.executed > 0
        assert await play.cluster.sum("bus_unopened_total", reason="forged") == 0
        figures.keep()


async def roll(play: Stage, launch: Launch) -> None:
    """Start one node after the other as *launch* says, each when the one before serves again."""
    for node in play.cluster.nodes:
        assert await node.term() == 0
        node.launch = launch
        await node.start()
        await node.until_ready()
        await asyncio.sleep(SIZE.fault_s)  # both versions serve: phones roam between them


async def are_old(play: Stage) -> list[bool]:
    """Return which nodes are of an earlier version, as they say themselves where their versions differ."""
    if OLD_RELEASE is not None:
        return [node.launch != PRESENT for node in play.cluster.nodes]
    return [await node.metric("build_info", version=gateway.__version__) == 0 for node in play.cluster.nodes]
