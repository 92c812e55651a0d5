"""Phones while the bus is away, and after."""

from __future__ import annotations

import pytest

from gateway.core.lease import REFUSED_S
from gateway.domain.errors import CloseCode
from gateway.domain.upstream import Feature
from gateway.protocol.envelopes import Owned
from tests.runtime.followed import TRUSTED_S, followed, follower, is_cut_off, resets
from tests.runtime.nodes import APPLIED, Nodes, open_nodes
from tests.runtime.scene import FakePhone, user


async def test_without_the_bus_the_owners_phones_stay_live_and_command_while_it_lasts(at: Nodes) -> None:
    near, _ = await followed(at)
    at.trouble.take_away()
    await at.pass_time(120)
    assert (near.closed, near.health) == (None, "live")
    at.upstream.set_waiting(9)
    near.command("1", "1")
    await at.pass_time(1)
    assert near.waiting == 9
    assert near.result("1") == APPLIED
    assert (len(at.openings), at.counted("self_fences_total")) == (1, [1, 0])


async def test_without_the_bus_other_phones_are_stale_and_cannot_command(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.take_away()
    await at.pass_time(8)
    ping = far.of_kind("ping")[-1]
    assert (far.closed, ping["upstream"], ping["bus"]) == (None, "stale", "down")
    assert await far.send_command("1", "1") == ("rejected", "bus_down")
    at.upstream.set_waiting(9)
    await at.pass_time(60)
    assert (far.closed, far.waiting) == (None, 3)
    at.trouble.give_back()
    await at.pass_time(8)
    ping = far.of_kind("ping")[-1]
    assert (far.waiting, ping["upstream"], ping["bus"]) == (9, "live", "live")
    assert len(at.openings) == 1
    assert resets(far) == 1, "it only received what it missed"


@pytest.mark.parametrize("away_s", [3, 8], ids=["degraded", "down"])
async def test_when_the_bus_is_back_data_is_stale_until_the_owner_answers(at: Nodes, away_s: float) -> None:
    _, far = await followed(at)
    at.trouble.take_away()
    await at.pass_time(away_s)
    at.upstream.set_waiting(9)
    at.trouble.give_back()
    at.trouble.lose = lambda *received: received[:2] == (1, 0)
    await at.pass_time(3)
    ping = far.of_kind("ping")[-1]
    assert (ping["upstream"], ping["bus"]) == ("stale", "live")
    at.trouble.lose = None
    await at.pass_time(4)
    assert (far.waiting, far.health) == (9, "live")


async def test_without_the_bus_a_new_phone_has_the_node_in_hand_open_the_link(at: Nodes) -> None:
    near, far = await followed(at)
    at.trouble.take_away()
    await at.pass_time(8)
    fresh = await at.served(1, device="d3", settled_s=1)
    assert fresh.of_kind("welcome")
    assert (fresh.health, far.health) == ("live", "live")
    assert [(one.node, one.instead_of) for one in at.openings] == [(0, None), (1, "n0-1")]
    assert at.openings[1].token > at.openings[0].token
    assert (far.closed, fresh.closed) == (None, None)
    assert near.code is CloseCode.REBALANCE
    assert await at.result(fresh, "1", "1", within_s=1) == APPLIED
    assert at.counted("takeovers_total", kind="assumed") == [0, 1]
    assert at.counted("ownership_moves_total", reason="island") == [0, 1]


async def test_who_was_replaced_without_the_bus_is_cut_off_until_it_is_back(at: Nodes) -> None:
    near, far = await followed(at)
    at.trouble.take_away(0)
    await at.pass_time(TRUSTED_S)
    await at.pass_time(3)
    assert at.holder() == 1, "node 1 reaches the bus, and received nothing from node 0"
    assert [is_cut_off(at, node) for node in range(2)] == [True, False]
    assert near.code is CloseCode.REBALANCE
    assert near.ended.window_s is not None
    assert (far.closed, far.health) == (None, "live")
    at.trouble.give_back(0)
    await at.pass_time(TRUSTED_S + 1)
    assert at.owners() == [1]
    assert not is_cut_off(at, 0)
    assert len(at.openings) == 2


@pytest.mark.parametrize("first", [0, 1])
async def test_when_the_bus_is_back_the_outbid_owner_yields(at: Nodes, first: int) -> None:
    _, far = await followed(at)
    at.trouble.take_away()
    await at.pass_time(8)
    fresh = await at.served(1, device="d3", settled_s=20)
    at.trouble.give_back(first)
    at.trouble.give_back(1 - first)
    await at.pass_time(10)
    assert (at.owners(), len(at.openings)) == ([1], 2)
    assert (far.closed, fresh.closed) == (None, None)
    grant = await at.grant()
    assert grant.holder == "n1-1"
    assert grant.token >= at.openings[1].token


# ---- a Redis that takes no writes ----


SOUGHT_S = 3.0
"""In so much longer than the store has refused a user without an owner has one."""
UNFENCED = frozenset(Feature) - {Feature.LINK_FENCING}


def refuse(at: Nodes) -> None:
    """Let Redis take no writes."""
    at.trouble.refused = frozenset({"NOREPLICAS"})


def take(at: Nodes) -> None:
    """Let Redis take writes again."""
    at.trouble.refused = frozenset()


def is_live(phone: FakePhone) -> bool:
    return phone.closed is None and phone.health == "live"


async def test_newcomers_are_served_after_five_seconds(at: Nodes) -> None:
    refuse(at)
    phone = await at.served(0, settled_s=REFUSED_S - 1)
    assert not at.openings, "a fail-over may refuse for a moment"
    await at.pass_time(SOUGHT_S + 1)
    assert phone.of_kind("welcome")
    assert is_live(phone)
    assert await at.result(phone, "1", "1", within_s=1) == APPLIED
    assert at.scenes[0].counted("takeovers_total", kind="assumed") == 1


async def test_an_owner_who_lives_keeps_his_user_though_no_lease_is_left() -> None:
    async with open_nodes(3) as at:
        near, far = await followed(at)
        refuse(at)
        await at.pass_time(120)
        assert await at.trouble.store(0).leases.read(user(1)) is None
        third = await at.served(2, device="d3", settled_s=4)
        assert [is_live(phone) for phone in (near, far, third)] == [True] * 3
        assert len(at.openings) == 1, "no link was opened again"
        for phone in (near, far, third):
            phone.command("1", "1")
        await at.pass_time(1)
        assert [phone.result("1") for phone in (near, far, third)] == [APPLIED] * 3


async def test_a_user_is_given_while_the_store_takes_no_writes(at: Nodes) -> None:
    near, far = await followed(at)
    await at.pass_time(TRUSTED_S)
    refuse(at)
    await at.pass_time(10)
    at.scenes[0].node.drain()
    near.leave()
    await at.pass_time(15)
    assert (at.holder(), is_live(far)) == (1, True)
    assert await at.result(far, "1", "1", within_s=1) == APPLIED


async def test_who_was_replaced_by_somebody_out_of_hearing_sends_its_phones_away(at: Nodes) -> None:
    near = await at.served(0, settled_s=1)
    refuse(at)
    await at.pass_time(6)
    token = at.scenes[0].owner().epoch + 10**9
    await at.upstream.open(near.ticket.user, near.ticket.secret, token=token, holder="elsewhere")
    await at.pass_time(4)
    assert near.code is CloseCode.REBALANCE
    assert is_cut_off(at, 0)
    await at.pass_time(60)
    assert at.upstream.link(user(1)) is not None
    assert len(at.openings) == 1, "a replaced owner does not return before the store is well"


async def test_without_fencing_nobody_is_taken_and_the_phone_learns_that_it_is_the_bus() -> None:
    async with open_nodes(features=UNFENCED) as at:
        refuse(at)
        phone = await at.served(0, settled_s=12)
        assert (phone.ended.code, phone.ended.reason) == (CloseCode.INTERNAL, "bus_down")
        assert not at.openings
        take(at)
        again = await at.scenes[0].again(phone)
        await at.pass_time(2)
        assert is_live(again)


async def test_a_node_that_says_to_own_a_user_with_a_higher_token_is_followed() -> None:
    async with open_nodes(3) as at:
        _, far = await followed(at)
        follows = follower(at)
        before = follows.owner
        follows.owned(
            before._replace(holder="n2-1", node=at.scenes[2].node.record().node, token=before.token - 1)
        )
        assert follows.owner == before
        follows.owned(
            before._replace(holder="n2-1", node=at.scenes[2].node.record().node, token=before.token + 1)
        )
        assert follows.owner.holder == "n2-1"
        await at.pass_time(10)
        assert is_live(far), "the lease is read to be another's"
        assert not at.received(Owned), "nothing is said while the store takes writes"
