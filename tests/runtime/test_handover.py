"""When does an owner give his user to another node, and is nothing lost or done twice on the way?"""

from __future__ import annotations

import pytest

from gateway.domain.commands import Execute
from gateway.protocol.envelopes import Offer
from tests.doubles.fake_link import FakeLink
from tests.runtime.followed import followed, resets
from tests.runtime.scene import PhoneLine
from tests.runtime.street import Street, street

ALONE_S, UNLINKED_S, IN_FLIGHT_S = 30.0, 15.0, 3.0
ASKED_S = 10.0
"""Within which time a follower asks."""
TAKEN_S, LOOKED_AT_S = 10.0, 6.0
"""Until nobody can take a user any more; within which time a giver looks whose the lease is."""


def executions(at: Street) -> int:
    return len([request for _, request in at.upstream.requests if isinstance(request, Execute)])


async def test_a_user_follows_his_phones_to_the_node_where_they_are() -> None:
    async with street() as at:
        near, far = await followed(at)
        near.bye()
        shown = far.shown
        await at.pass_time(ALONE_S - 1)
        assert at.owners() == [0]
        assert len(at.openings) == 1
        await at.pass_time(1 + ASKED_S + 1)
        assert at.owners() == [1]
        assert at.holder() == 1
        assert [(one.node, one.instead_of) for one in at.openings] == [(0, None), (1, "n0-1")]
        assert at.openings[1].token > at.openings[0].token
        assert at.counted("ownership_moves_total", reason="roam") == [1, 0]
        assert at.counted("takeovers_total", kind="planned") == [0, 1]
        assert at.counted("takeover_blind_seconds_count") == [0, 1]
        assert at.counted("takeover_blind_seconds_sum")[1] < 1.0
        assert at.counted("dual_owner_observed_total") == [0, 0]
        assert (far.closed, far.shown) == (None, shown), "whoever stays connected is not disturbed"
        assert resets(far) == 1
        told = [ping["upstream"] for ping in far.of_kind("ping")]
        assert set(told) <= {"live", "stale"}
        assert told[-1] == "live"


async def test_a_user_with_a_phone_here_stays() -> None:
    async with street() as at:
        await followed(at)
        await at.pass_time(3 * ALONE_S)
        assert at.owners() == [0]
        assert len(at.openings) == 1
        quiet = ("self_fences_total", "dual_owner_observed_total", "stale_epoch_dropped_total")
        assert [at.counted(name) for name in quiet] == [[0, 0]] * 3
        detectors = ("sequence", "probe", "subscription")
        assert [at.counted("bus_gaps_total", detector=each) for each in detectors] == [[0, 0]] * 3
        assert at.counted("takeover_blind_seconds_count") == [0, 0]


async def test_a_user_whose_other_node_has_no_phone_any_more_stays() -> None:
    async with street() as at:
        near, far = await followed(at)
        near.bye()
        far.bye()
        await at.pass_time(ALONE_S + ASKED_S + 1)
        assert at.owners() == [0]
        assert not at.heard(Offer)


async def test_sessions_that_linger_move_with_their_user() -> None:
    async with street() as at:
        near, far = await followed(at)
        near.bye()
        await at.pass_time(ALONE_S + ASKED_S + 1)
        assert at.owners() == [1]
        owner = at.home(1).owner
        assert owner is not None
        assert {(member.handle, member.present) for member in owner.user_sessions} == {
            (near.ticket.handle, False),
            (far.ticket.handle, True),
        }
        back = await at.scenes[0].again(near)
        await at.pass_time(1)
        assert back.shown.keys() == far.shown.keys()
        assert at.owners() == [1]


async def test_a_node_that_drains_gives_at_once_and_its_phones_stay_until_they_are_told() -> None:
    async with street() as at:
        near, far = await followed(at)
        at.scenes[0].node.drain()
        await at.pass_time(1)
        assert at.owners() == [1]
        assert [(one.node, one.instead_of) for one in at.openings] == [(0, None), (1, "n0-1")]
        assert (near.closed, far.closed) == (None, None)
        near.command("1", "1")
        await at.pass_time(1)
        assert near.result("1") == {"status": "applied"}
        assert near.shown["agent:7"]["routing_state"] == "unavailable"
        assert at.counted("ownership_moves_total", reason="drain") == [1, 0]


async def test_a_node_that_does_not_reach_the_site_gives_after_a_while_to_one_that_may() -> None:
    async with street() as at:
        near, far = await followed(at)
        at.ways[0].shut()
        await at.pass_time(UNLINKED_S - 1)
        assert at.owners() == [0]
        assert far.health == "down"
        await at.pass_time(1 + ASKED_S + 1)
        assert at.owners() == [1]
        assert (near.closed, far.closed) == (None, None)
        await at.pass_time(1)
        near.tick()
        assert (near.health, far.health) == ("live", "live")
        assert at.counted("ownership_moves_total", reason="island") == [1, 0]


async def test_a_link_that_comes_back_in_time_keeps_the_user() -> None:
    async with street() as at:
        await followed(at)
        at.ways[0].shut()
        await at.pass_time(UNLINKED_S / 2)
        at.ways[0].reopen()
        await at.pass_time(2 * UNLINKED_S)
        assert at.owners() == [0]
        assert not at.heard(Offer)


async def drained_amid_a_command(at: Street, phone: PhoneLine) -> FakeLink:
    """Let the owner's node drain while OSCC-E has not answered a command; give the link."""
    link = at.link()
    link.mute()
    phone.command("1", "1")
    await at.clock.settle()
    at.scenes[0].node.drain()
    return link


async def test_what_is_under_way_when_a_user_is_given_is_unknown_after_a_while_and_stays_so() -> None:
    async with street() as at:
        _, far = await followed(at)
        await drained_amid_a_command(at, far)
        await at.pass_time(IN_FLIGHT_S - 0.5)
        assert not at.heard(Offer)
        assert far.result("1") is None
        await at.pass_time(1)
        assert far.outcome() == ("unknown", "upstream_timeout")
        assert at.owners() == [1]
        again = await at.scenes[1].again(far)
        again.command("2", "1", retry=True, stream=far.stream)
        await at.pass_time(1)
        assert again.result("2") == far.result("1")
        assert executions(at) == 1


async def test_what_is_answered_in_time_is_told_and_known_to_the_next_owner() -> None:
    async with street() as at:
        near, far = await followed(at)
        link = await drained_amid_a_command(at, far)
        await at.pass_time(1)
        link.unmute()
        await at.pass_time(1)
        assert far.result("1") == {"status": "applied"}
        assert at.owners() == [1]
        near.command("2", "1", retry=True)
        await at.pass_time(1)
        assert near.result("2") == {"status": "applied"}, "not unchanged: it was not executed again"
        assert executions(at) == 1


async def test_what_comes_while_a_user_is_given_is_executed_by_the_next_owner() -> None:
    async with street() as at:
        near, far = await followed(at)
        await drained_amid_a_command(at, near)
        await at.pass_time(1)
        near.command("2", "2")
        far.command("3", "3")
        await at.pass_time(IN_FLIGHT_S + 1)
        assert at.owners() == [1]
        assert near.result("2") == {"status": "unchanged"}, "the first one had come through"
        assert far.result("3") == {"status": "unchanged"}


async def test_who_is_not_taken_is_served_on_when_nobody_can_take_him_any_more() -> None:
    async with street() as at:
        near, far = await followed(at)
        at.trouble.lose = lambda *told: isinstance(told[-1], Offer)
        at.scenes[0].node.drain()
        await at.pass_time(1)
        assert at.heard(Offer)
        far.bye()
        near.command("1", "1", expires_at_ms=at.clock.wall_ms() + 15_000)
        await at.pass_time(8)
        assert near.result("1") is None
        await at.pass_time(3)
        assert near.result("1") == {"status": "applied"}
        assert at.owners() == [0]
        assert near.closed is None


async def test_a_taker_who_gives_the_lease_back_before_he_has_a_link_leaves_a_giver_who_serves() -> None:
    async with street() as at:
        _, far = await followed(at)
        at.ways[1].shut()
        at.scenes[0].node.drain()
        await at.pass_time(TAKEN_S + 2)
        grant = await at.grant()
        assert (grant.node, at.holder()) == ("n1", 0), "the taker has the lease, and no link yet"
        at.scenes[1].node.logged_off(far.ticket)
        await at.pass_time(LOOKED_AT_S)
        at.ways[1].reopen()
        fresh = await at.scenes[1].served(device="d3")
        await at.pass_time(ASKED_S)
        assert (fresh.closed, fresh.health) == (None, "live")
        link, grant = at.link(), await at.grant()
        assert (link.holder, link.token) == (grant.holder, grant.token)


async def test_a_link_that_comes_back_keeps_the_user_from_who_reaches_nothing() -> None:
    async with street() as at:
        near, far = await followed(at)
        for way in at.ways:
            way.shut()
        await at.pass_time(UNLINKED_S + 2 * ASKED_S)
        assert at.owners() == [0]
        assert at.heard(Offer)
        at.ways[0].reopen()
        await at.pass_time(60)
        assert at.owners() == [0]
        for phone in (near, far):
            phone.command("1", "1")
        await at.pass_time(2)
        assert near.result("1") == far.result("1") == {"status": "applied"}


async def test_a_user_is_offered_to_one_node_at_a_time() -> None:
    async with street(3) as at:
        await at.scenes[0].served()
        for node in (1, 2):
            await at.scenes[node].served(device=f"device {node}")
        await at.pass_time(1)
        at.scenes[0].node.drain()
        await at.pass_time(2)
        assert len(at.heard(Offer)) == 1
        assert len(at.openings) == 2
        (owner,) = at.owners()
        assert owner != 0


@pytest.mark.parametrize("lost", [False, True], ids=["reached", "not reached"])
async def test_who_has_no_epoch_yet_has_nothing_to_give(lost: bool) -> None:
    async with street() as at:
        if lost:
            at.trouble.take_away(0)
        near = await at.scenes[0].phone("anna")
        near.hello()
        await at.clock.settle()
        owner = at.home(0).owner
        assert owner is not None
        owner._handover.asked(at.scenes[1].node.exchange.node, 1, owner._tasks)
        at.scenes[0].node.is_draining = True
        owner._handover.asked(at.scenes[1].node.exchange.node, 2, owner._tasks)
        await at.clock.settle()
        assert bool(at.heard(Offer)) is not lost
