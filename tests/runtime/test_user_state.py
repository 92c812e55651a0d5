"""One user on one node: who are his phones, and what is the node to him?"""

from __future__ import annotations

from gateway.domain.commands import Execute
from gateway.protocol.envelopes import Offer
from tests.runtime.followed import followed
from tests.runtime.scene import PhoneLine
from tests.runtime.street import Street, street

ALONE_S = UNFOLLOW_S = 30.0


def is_there(at: Street, phone: PhoneLine) -> bool:
    """Tell whether the owner takes a phone to be connected, on whatever node."""
    member = at.scenes[0].owner().user_sessions.get(phone.ticket.handle)
    return member is not None and member.present


async def test_a_role_follows_the_other_and_phones_keep_what_they_show() -> None:
    async with street() as at:
        near, far = await followed(at, settled_s=7)
        shown = near.shown, far.shown
        roles = [(at.home(0).owner, at.home(1).follower)]
        for drained in (0, 1):
            at.scenes[drained].node.drain()
            at.scenes[1 - drained].node.is_draining = False
            await at.pass_time(15)
            roles.append((at.home(drained).owner, at.home(drained).follower))
        assert [owner is None for owner, _ in roles] == [False, True, True]
        assert at.owners() == [0]
        assert [one.node for one in at.openings] == [0, 1, 0]
        assert (near.closed, far.closed) == (None, None)
        assert (near.shown, far.shown) == shown
        assert (near.health, far.health) == ("live", "live")


async def test_a_user_without_a_phone_here_is_unfollowed_after_a_while_and_taken_in_anew() -> None:
    async with street() as at:
        _, far = await followed(at, settled_s=7)
        user_state = at.home(1)
        far.bye()
        await at.pass_time(UNFOLLOW_S - 2)
        assert not user_state.over.is_set()
        await at.pass_time(4)
        assert user_state.over.is_set()
        assert user_state.is_over
        back = await at.scenes[1].again(far)
        await at.pass_time(1)
        assert at.home(1) is not user_state
        assert back.of_kind("welcome")


async def test_a_phone_that_comes_back_in_time_keeps_the_household() -> None:
    async with street() as at:
        _, far = await followed(at, settled_s=7)
        user_state = at.home(1)
        far.bye()
        await at.pass_time(UNFOLLOW_S - 5)
        back = await at.scenes[1].again(far)
        await at.pass_time(2 * UNFOLLOW_S)
        assert at.home(1) is user_state
        assert back.closed is None


async def test_an_owner_whose_phones_are_all_elsewhere_stays_beyond_the_linger() -> None:
    async with street() as at:
        near, far = await followed(at, settled_s=7)
        assert at.home(0).is_kept
        assert not at.home(1).is_kept
        at.trouble.lose = lambda *told: isinstance(told[-1], Offer)
        near.bye()
        await at.pass_time(180)
        assert at.owners() == [0]
        assert (far.closed, far.health) == (None, "live")


async def test_phones_of_nodes_that_are_silent_count_as_gone() -> None:
    async with street() as at:
        near, far = await followed(at, settled_s=7)
        near.bye()
        await at.kill(1)
        await at.pass_time(14)
        assert is_there(at, far)
        await at.pass_time(12)
        assert not is_there(at, far)
        await at.pass_time(75)
        assert at.owners() == [0], "its linger begins when it is known to be silent"
        await at.pass_time(20)
        assert at.owners() == []


async def test_a_command_that_waited_for_another_owner_is_not_executed_and_that_is_said() -> None:
    async with street() as at:
        _, far = await followed(at, settled_s=7)
        at.scenes[0].lines.clear()
        await at.kill(0)
        far.command("1", "1")
        await at.pass_time(5)
        assert at.owners() == [1]
        assert far.outcome() == ("rejected", "upstream_unavailable")
        assert not at.scenes[1].asked(Execute), "its phone may have sent it again over another node"


async def test_a_command_for_which_nobody_speaks_in_time_was_not_begun() -> None:
    async with street() as at:
        _, far = await followed(at, settled_s=7)
        await at.kill(0)
        at.ways[1].shut()
        far.command("1", "1", expires_at_ms=at.clock.wall_ms() + 3_000)
        await at.pass_time(2)
        assert far.result("1") is None
        await at.pass_time(2)
        assert far.outcome() == ("rejected", "upstream_unavailable")


async def test_a_command_whose_user_is_let_go_while_it_waits_was_not_begun() -> None:
    async with street() as at:
        _, far = await followed(at, settled_s=7)
        await at.kill(0)
        at.ways[1].shut()
        far.command("1", "1", expires_at_ms=at.clock.wall_ms() + 8_000)
        await at.pass_time(2)
        at.home(1).stop()
        await at.clock.settle()
        assert far.outcome() == ("rejected", "upstream_unavailable")


async def test_what_a_phone_follows_goes_with_it_to_the_next_owner() -> None:
    async with street() as at:
        near, far = await followed(at, settled_s=7)
        far.send(kind="follow", id="1", topics=["agents"])
        await at.pass_time(1)
        assert "queue:5" not in far.shown
        near.bye()
        await at.pass_time(ALONE_S + 11)
        assert at.owners() == [1]
        member = at.scenes[1].member(far)
        assert member.topics == ("agents",)
        at.home(1).follow("unknown", ("queues",))
