"""Discovery of a followed user's owner and takeover from it, also with two Redis primaries."""

from __future__ import annotations

import pytest

from gateway.core.follower import ASK_EVERY_S
from gateway.domain.errors import CloseCode
from gateway.domain.model import NodeId
from gateway.domain.upstream import Feature
from gateway.protocol.envelopes import Asked, Asks, Probe
from gateway.runtime.cluster_receiver import ANNOUNCE_S
from gateway.runtime.ownership import GIVES_WAY_S
from tests.runtime.followed import TRUSTED_S, followed, follower
from tests.runtime.nodes import APPLIED, Nodes, open_nodes
from tests.runtime.scene import user

UNFENCED = frozenset(Feature) - {Feature.LINK_FENCING}
HEALTHY_S, DENIED_S, EXPIRY_S = 5.0, 5.0, 15.0
LOST_S = 6.0
"""Until an answer that was lost is asked for again."""
WORKS_S = 2.0
"""Until the bus has carried a probe and everybody has been asked."""


def loses(at: Nodes, sender: int, to: int) -> None:
    """Let what one node says to another be lost."""
    at.trouble.lose = lambda *received: received[:2] == (sender, to)


async def owned_by_1_after(at: Nodes, most_s: float) -> float:
    """Return after how long node 1 takes itself for the owner, s."""
    began = at.clock.now()
    while 1 not in at.owners():
        assert at.clock.now() - began < most_s, "nobody took the user"
        await at.pass_time(0.25)
    return at.clock.now() - began


# ---- an owner who is gone ----


async def test_a_user_whose_owner_was_killed_is_taken_over_within_seconds(at: Nodes) -> None:
    _, far = await followed(at, settled_s=TRUSTED_S)
    await at.kill(0)
    after_s = await owned_by_1_after(at, 5.0)
    assert 1.0 <= after_s <= 4.0, "only a node that was silent twice, a second apart, is gone"
    await at.pass_time(0.5)
    assert (far.closed, far.health) == (None, "live")
    assert at.holder() == 1
    assert await at.result(far, "1", "1", within_s=0.5) == APPLIED
    assert (len(at.openings), at.counted("takeovers_total", kind="early")) == (2, [0, 1])
    assert at.counted("ownership_moves_total", reason="deaf") == [0, 1]
    assert at.counted("takeover_blind_seconds_count") == [0, 1]


# ---- an owner who is deaf ----


async def test_an_owner_that_receives_and_does_not_answer_is_deaf_after_three_seconds(at: Nodes) -> None:
    near, far = await followed(at, settled_s=TRUSTED_S)
    loses(at, 0, 1)
    after_s = await owned_by_1_after(at, 6.0)
    assert 3.0 <= after_s <= 5.0
    at.trouble.lose = None
    await at.pass_time(WORKS_S)
    assert at.owners() == [1], "OSCC-E named the present owner to the deaf one"
    assert [(one.node, one.instead_of) for one in at.openings] == [(0, None), (1, "n0-1")]
    assert (near.closed, far.closed) == (None, None)
    assert await at.result(near, "1", "1", within_s=LOST_S) == APPLIED, (
        "once the answer that was lost is asked for again"
    )


async def test_nothing_of_a_deaf_owner_is_shown_as_fresh() -> None:
    async with open_nodes(features=UNFENCED) as at:
        near, far = await followed(at, settled_s=TRUSTED_S)
        loses(at, 0, 1)
        await at.pass_time(5)
        assert (near.health, far.health) == ("live", "stale")
        at.trouble.lose = None
        await at.pass_time(WORKS_S)
        assert far.health == "live"


async def test_an_owner_who_answers_in_time_is_left_alone(at: Nodes) -> None:
    await followed(at, settled_s=TRUSTED_S)
    loses(at, 0, 1)
    await at.pass_time(2)
    at.trouble.lose = None
    await at.pass_time(30)
    assert (at.owners(), len(at.openings)) == ([0], 1)


async def test_silence_is_not_taken_for_his_while_ones_own_bus_is_ill(at: Nodes) -> None:
    await followed(at, settled_s=TRUSTED_S)
    at.trouble.take_away(1)
    await at.pass_time(60)
    assert (at.owners(), len(at.openings)) == ([0], 1)


async def test_the_bus_must_have_worked_for_a_while_before_silence_is_taken_for_his(at: Nodes) -> None:
    await followed(at, settled_s=TRUSTED_S)
    at.trouble.take_away(1)
    await at.pass_time(4)
    loses(at, 0, 1)
    at.trouble.give_back(1)
    after_s = await owned_by_1_after(at, 10.0)
    assert after_s >= HEALTHY_S


async def test_without_fencing_a_deaf_owner_keeps_his_user_until_his_lease_would_have_run_out() -> None:
    async with open_nodes(features=UNFENCED) as at:
        await followed(at, settled_s=TRUSTED_S)
        await at.kill(0)
        after_s = await owned_by_1_after(at, EXPIRY_S + 1.5)
        assert after_s >= EXPIRY_S - ASK_EVERY_S, "a lease's life after the last sign of life"
        assert at.counted("takeovers_total", kind="expired") == [0, 1]
        assert at.counted("ownership_moves_total", reason="expired") == [0, 1]


async def test_without_fencing_a_phone_that_comes_late_waits_no_longer() -> None:
    async with open_nodes(features=UNFENCED) as at:
        near = await at.served(0, settled_s=TRUSTED_S)
        await at.kill(0)
        began = at.clock.now()
        await at.pass_time(6)
        await at.scenes[1].again(near)  # while the lease of the dead node lives
        await owned_by_1_after(at, 2 * EXPIRY_S)
        assert EXPIRY_S - ANNOUNCE_S <= at.clock.now() - began <= EXPIRY_S + 2.0


async def test_without_fencing_a_phone_that_cannot_be_served_comes_back_when_its_user_can_be_taken() -> None:
    async with open_nodes(features=UNFENCED) as at:
        near, _ = await followed(at, settled_s=TRUSTED_S)
        await at.kill(0)
        began = at.clock.now()
        back = await at.scenes[1].again(near)
        while back.closed is None:
            assert at.clock.now() - began < EXPIRY_S
            await at.pass_time(0.5)
        assert back.closed.window_s is not None
        first, last = (at.clock.now() - began + each_s for each_s in back.closed.window_s)
        assert EXPIRY_S - ANNOUNCE_S <= first < last <= EXPIRY_S + ANNOUNCE_S + 1.0


async def test_without_fencing_a_deaf_owner_who_renews_keeps_his_user() -> None:
    async with open_nodes(features=UNFENCED) as at:
        near, _ = await followed(at, settled_s=TRUSTED_S)
        loses(at, 0, 1)
        await at.pass_time(3 * EXPIRY_S)
        assert at.owners() == [0]
        assert near.closed is None
        assert len(at.openings) == 1


async def test_nobody_is_taken_while_the_site_is_not_reached(at: Nodes) -> None:
    await followed(at, settled_s=TRUSTED_S)
    await at.kill(0)
    at.ways[1].shut()
    await at.pass_time(10)
    assert at.owners() == []
    at.ways[1].reopen()
    await owned_by_1_after(at, 3.0)


# ---- whom the lease names ----


async def test_the_lease_of_a_node_that_denies_to_be_the_owner_is_taken_in_the_end(at: Nodes) -> None:
    await at.pass_time(HEALTHY_S)
    leases = at.trouble.store(0).leases
    held = await leases.acquire(user(1), NodeId("n0"), "n0-1", floor=0)
    phone = await at.scenes[1].phone("anna")
    phone.hello()
    for _ in range(int(DENIED_S * 4)):
        await at.pass_time(0.25)
        assert at.owners() == []
    await leases.renew(user(1), NodeId("n0"), "n0-1", held.token)
    await owned_by_1_after(at, 4.0)
    assert at.openings[0].token > held.token
    await at.pass_time(1)
    assert phone.of_kind("welcome")


async def test_the_lease_of_an_earlier_life_of_a_node_is_taken_at_once(at: Nodes) -> None:
    await at.pass_time(HEALTHY_S)
    leases = at.trouble.store(0).leases
    held = await leases.acquire(user(1), NodeId("n0"), "an earlier life", floor=0)
    phone = await at.scenes[1].phone("anna")
    phone.hello()
    await owned_by_1_after(at, 2.0)
    assert at.openings[0].token > held.token
    await at.pass_time(1)
    assert phone.of_kind("welcome")


async def test_a_node_that_drains_takes_nobody(at: Nodes) -> None:
    _, far = await followed(at, settled_s=TRUSTED_S)
    at.scenes[1].node.is_draining = True
    await at.kill(0)
    await at.pass_time(30)
    assert at.owners() == []
    assert far.closed is None


async def test_a_lease_that_names_this_node_is_taken_up(at: Nodes) -> None:
    _, far = await followed(at, settled_s=TRUSTED_S)
    leases, owner = at.trouble.store(0).leases, at.scenes[0].owner()
    mine = await leases.acquire(user(1), NodeId("n1"), "n1-1", floor=0, expected=owner.epoch)
    at.home(0).stop()
    await owned_by_1_after(at, 3.0)
    await at.pass_time(1)
    assert at.openings[-1].token > mine.token
    assert far.health == "live"


# ---- a store that forgets ----


@pytest.mark.parametrize("all_of_it", [True, False], ids=["everything", "what came last, as a replica does"])
async def test_what_a_store_forgets_costs_nothing(at: Nodes, all_of_it: bool) -> None:
    before = at.trouble.copied()
    near, far = await followed(at, settled_s=TRUSTED_S)
    if all_of_it:
        at.trouble.flush()
    else:
        at.trouble.stores[0] = before
        at.trouble.renew(0, 1)
    await at.pass_time(60)
    assert (at.owners(), len(at.openings)) == ([0], 1)
    assert (near.closed, far.closed) == (None, None)
    if all_of_it:
        assert {received["upstream"] for received in far.of_kind("ping")} == {"live"}
        grant = await at.grant()
        assert (grant.holder, grant.token) == ("n0-1", at.openings[0].token)


async def test_an_owner_who_answers_is_followed_also_when_no_lease_names_him(at: Nodes) -> None:
    _, far = await followed(at, settled_s=TRUSTED_S)
    at.trouble.flush()
    follows = follower(at)
    follows.not_mine()
    follows._owner_discovery.denied_since = None
    await follows._owner_discovery.find()
    await at.pass_time(1)
    assert at.owners() == [0]
    assert far.health == "live"


async def test_a_user_whom_nobody_owns_is_taken_at_once_from_who_denies_to(at: Nodes) -> None:
    near, far = await followed(at, settled_s=TRUSTED_S)
    near.bye()
    at.home(0).stop()
    after_s = await owned_by_1_after(at, 3.0)
    assert after_s <= 2.0
    await at.pass_time(1)
    assert (far.closed, far.health) == (None, "live")


async def test_owners_are_asked_for_a_sign_of_life_every_second(at: Nodes) -> None:
    await followed(at, settled_s=TRUSTED_S)
    at.said.clear()
    await at.pass_time(10)
    assert all(10 <= len(at.received(kind)) <= 12 for kind in (Asks, Asked))
    assert len(at.received(Probe)) >= 2 * 10


# ---- two Redis primaries that both grant the lease of one user ----


CONTESTED_S = 25.0
"""Within this time the same node was replaced twice."""


async def test_the_node_that_loses_sends_its_phones_on_and_the_other_is_left_in_peace(at: Nodes) -> None:
    near, far = await followed(at)
    at.trouble.split(1)
    await at.pass_time(CONTESTED_S)
    assert (near.closed and near.closed.code) == CloseCode.REBALANCE
    assert (near.closed and near.closed.window_s) is not None, "not all phones at once"
    assert (far.closed, far.health, at.holder()) == (None, "live", 1)
    openings = len(at.openings)
    await at.pass_time(2 * GIVES_WAY_S)
    assert (at.owners(), at.holder(), len(at.openings)) == ([1], 1, openings), "nobody is left to dial for"
    assert (far.closed, far.health) == (None, "live")


async def test_a_phone_that_comes_back_to_the_loser_is_sent_on_and_served_by_the_other(at: Nodes) -> None:
    await followed(at)
    at.trouble.split(1)
    await at.pass_time(CONTESTED_S)
    openings = len(at.openings)
    back = await at.served(0, device="other")
    assert (back.closed and back.closed.code) == CloseCode.REBALANCE
    there = await at.served(1, device="other")
    assert (there.closed, there.health, len(at.openings)) == (None, "live", openings)


async def test_one_replacement_alone_sends_nobody_away(at: Nodes) -> None:
    near, far = await followed(at)
    at.trouble.split(1)
    while at.holder() == 0:
        await at.pass_time(0.5)
    at.trouble.sides.clear()
    await at.pass_time(60)
    assert (near.closed, far.closed) == (None, None)
    assert (near.health, far.health) == ("live", "live")
