"""Contract of the NodeRegistry port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import NodeRecord
from tests.contracts.buses import DIRECT, SITES, BusSite


@pytest.fixture(params=DIRECT)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[BusSite]:
    async with SITES[request.param]() as opened:
        yield opened


def record(node: str, *, connections: int = 0, draining: bool = False) -> NodeRecord:
    return NodeRecord(NodeId(node), f"holder of {node}", "1.2.3", connections, 7, draining, 12.5)


async def test_who_announces_himself_is_known_to_all_as_he_is(site: BusSite) -> None:
    here, there = site.registries
    await here.announce(record("b", connections=19_500, draining=True))
    await there.announce(record("a"))
    expected = (record("a"), record("b", connections=19_500, draining=True))
    assert (await here.nodes(), await there.nodes()) == (expected, expected)


async def test_the_last_word_counts(site: BusSite) -> None:
    here, there = site.registries
    await here.announce(record("a", draining=True))
    await here.announce(record("a", connections=1))
    assert await there.nodes() == (record("a", connections=1),)


async def test_two_lives_of_one_node_are_two(site: BusSite) -> None:
    here, there = site.registries
    later = record("a")._replace(holder="its next life")
    await here.announce(record("a"))
    await there.announce(later)
    assert await here.nodes() == (record("a"), later)


async def test_who_leaves_is_gone_and_others_are_not(site: BusSite) -> None:
    here, there = site.registries
    await here.announce(record("a"))
    await there.announce(record("b"))
    await here.leave("holder of a")
    await here.leave("holder of nobody")
    assert await there.nodes() == (record("b"),)


async def test_who_says_nothing_for_ten_seconds_is_gone(site: BusSite) -> None:
    here, there = site.registries
    await here.announce(record("a"))
    await there.announce(record("b"))
    await site.pass_time(site.node_ttl_s * 0.6)
    await there.announce(record("b"))
    await site.pass_time(site.node_ttl_s * 0.6)
    assert await here.nodes() == (record("b"),)
    await site.pass_time(site.node_ttl_s * 0.6)
    assert await here.nodes() == ()


async def test_nodes_are_found_among_many_users(site: BusSite) -> None:

    for number in range(50):
        await site.leases[0].acquire(UserId("main", number), NodeId("a"), "h", floor=0)
    await site.registries[0].announce(record("a"))
    assert await site.registries[1].nodes() == (record("a"),)
