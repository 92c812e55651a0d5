"""Contract of the Leases port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.domain.model import NodeId, UserId
from gateway.runtime.ports import Grant
from tests.contracts.buses import SITES, BusSite

ANN, BOB = UserId("main", 1), UserId("main", 2)
N1, N2 = NodeId("n1"), NodeId("n2")


@pytest.fixture(params=sorted(SITES))
async def site(request: pytest.FixtureRequest) -> AsyncIterator[BusSite]:
    async with SITES[request.param]() as opened:
        yield opened


async def granted(site: BusSite, user: UserId = ANN, *, floor: int = 0) -> Grant:
    """Let node 1 own *user*."""
    grant = await site.leases[0].acquire(user, N1, "h1", floor=floor)
    assert (grant.node, grant.holder) == (N1, "h1")
    return grant


async def test_who_asks_first_owns(site: BusSite) -> None:
    grant = await granted(site)
    assert await site.leases[1].acquire(ANN, N2, "h2", floor=0) == grant
    assert await site.leases[1].read(ANN) == grant


async def test_each_user_has_his_owner(site: BusSite) -> None:
    await granted(site)
    grant = await site.leases[1].acquire(BOB, N2, "h2", floor=0)
    assert (grant.node, grant.holder) == (N2, "h2")


async def test_a_lease_ends_unless_it_is_renewed(site: BusSite) -> None:
    grant = await granted(site)
    await site.pass_time(site.ttl_s * 0.8)
    assert await site.leases[0].renew(ANN, N1, "h1", grant.token)
    await site.pass_time(site.ttl_s * 0.8)
    assert await site.leases[1].read(ANN) == grant
    await site.pass_time(site.ttl_s * 0.3)
    assert await site.leases[1].read(ANN) is None
    other = await site.leases[1].acquire(ANN, N2, "h2", floor=0)
    assert other.holder == "h2"
    assert other.token > grant.token


async def test_a_lease_that_was_forgotten_is_renewed_as_it_was(site: BusSite) -> None:
    grant = await granted(site)
    await site.pass_time(site.ttl_s * 1.1)
    assert await site.leases[0].renew(ANN, N1, "h1", grant.token)
    assert await site.leases[1].read(ANN) == grant


async def test_nobody_renews_what_is_anothers(site: BusSite) -> None:
    grant = await granted(site)
    assert not await site.leases[1].renew(ANN, N2, "h2", grant.token)
    assert not await site.leases[0].renew(ANN, N1, "h1", grant.token - 1)
    await site.pass_time(site.ttl_s * 1.1)
    await site.leases[1].acquire(ANN, N2, "h2", floor=0)
    assert not await site.leases[0].renew(ANN, N1, "h1", grant.token)
    await site.pass_time(site.ttl_s * 1.1)
    assert not await site.leases[0].renew(ANN, N1, "h1", grant.token)


async def test_the_node_that_took_a_user_without_the_store_owns_it(site: BusSite) -> None:
    grant = await granted(site)
    taken = grant.token + 10**9
    assert await site.leases[1].renew(ANN, N2, "h2", taken)
    assert await site.leases[0].read(ANN) == Grant(N2, "h2", taken)
    assert not await site.leases[0].renew(ANN, N1, "h1", grant.token)
    await site.leases[1].release(ANN, "h2", taken)
    assert not await site.leases[0].renew(ANN, N1, "h1", grant.token)
    assert (await granted(site)).token > taken


async def test_many_are_renewed_by_one_request_each_as_it_would_be_alone(site: BusSite) -> None:
    users = [UserId("main", key) for key in range(1, 6)]
    grants = [await granted(site, user) for user in users]
    await site.pass_time(site.ttl_s * 0.8)
    other = await site.leases[1].acquire(users[1], N2, "h2", floor=0, expected=grants[1].token)
    held = [(user, grant.token) for user, grant in zip(users, grants, strict=True)]
    held[2] = (users[2], grants[2].token - 1)
    held[3] = (users[3], grants[3].token + 10**9)
    assert await site.leases[0].renew_many(N1, "h1", held) == [True, False, False, True, True]
    await site.pass_time(site.ttl_s * 0.8)
    present = [await site.leases[1].read(user) for user in users]
    assert present == [grants[0], other, None, grants[3]._replace(token=held[3][1]), grants[4]]


async def test_what_is_given_up_is_free_at_once(site: BusSite) -> None:
    grant = await granted(site)
    await site.leases[0].release(ANN, "h1", grant.token)
    assert await site.leases[1].read(ANN) is None
    assert (await site.leases[1].acquire(ANN, N2, "h2", floor=0)).token > grant.token


@pytest.mark.parametrize(("holder", "by"), [("h2", 0), ("h1", 1), ("h1", -1)])
async def test_anothers_lease_is_left_alone(site: BusSite, holder: str, by: int) -> None:
    grant = await granted(site)
    await site.leases[1].release(ANN, holder, grant.token + by)
    await site.leases[1].release(BOB, holder, grant.token)
    assert await site.leases[0].read(ANN) == grant


async def test_the_holder_of_the_token_takes_over(site: BusSite) -> None:
    grant = await granted(site)
    refused = await site.leases[1].acquire(ANN, N2, "h2", floor=0, expected=grant.token - 1)
    assert refused == grant
    taken = await site.leases[1].acquire(ANN, N2, "h2", floor=0, expected=grant.token)
    assert (taken.node, taken.holder) == (N2, "h2")
    assert taken.token > grant.token
    assert not await site.leases[0].renew(ANN, N1, "h1", grant.token)


async def test_a_holder_that_acquires_its_lease_again_gets_it(site: BusSite) -> None:
    grant = await granted(site)
    again = await granted(site)
    assert again.token > grant.token
    assert await site.leases[1].read(ANN) == again
    assert not await site.leases[0].renew(ANN, N1, "h1", grant.token)
    assert await site.leases[0].renew(ANN, N1, "h1", again.token)


async def test_a_granted_token_is_above_the_floor(site: BusSite) -> None:
    high = (await granted(site)).token + 10**12
    assert (await granted(site, BOB, floor=high)).token > high


async def test_tokens_grow_from_grant_to_grant(site: BusSite) -> None:
    tokens = []
    for _ in range(5):
        grant = await granted(site, floor=0)
        tokens.append(grant.token)
        await site.leases[0].release(ANN, "h1", grant.token)
    assert tokens == sorted(set(tokens))


# ---- what somebody else wrote there ----


@pytest.mark.parametrize("token", ["1e300", "9007199254740993", "-1", "x", "9" * 400])
async def test_a_token_that_no_node_was_granted_is_ignored(token: str) -> None:
    async with SITES["redis"]() as site:
        assert site.network is not None
        server, names = site.network.server, site.network.names.user(ANN)
        await server.command("SET", names.tok, token)
        await server.command("HSET", names.own, "node", "n9", "holder", "h9", "token", token)
        assert await site.leases[1].read(ANN) is None
        grant = await granted(site)
        assert 0 < grant.token < 2**53
        await server.command("SET", names.tok, token)
        assert await site.leases[0].renew(ANN, N1, "h1", grant.token)
        assert await site.leases[1].read(ANN) == grant


@pytest.mark.parametrize("place", ["own", "tok"])
async def test_a_key_of_another_type_hinders_neither_its_user_nor_others(place: str) -> None:
    async with SITES["redis"]() as site:
        assert site.network is not None
        names = site.network.names.user(ANN)
        anns, bobs = await granted(site), await granted(site, BOB)
        key = names.own if place == "own" else names.tok
        await site.network.server.command("DEL", key)
        await site.network.server.command("RPUSH", key, "x")
        assert await site.leases[1].read(ANN) == (None if place == "own" else anns)
        held = [(ANN, anns.token), (BOB, bobs.token)]
        assert await site.leases[0].renew_many(N1, "h1", held) == [True, True]
        assert [await site.leases[1].read(user) for user in (ANN, BOB)] == [anns, bobs]
