"""Is nobody taken for gone who is there, and nobody for there who is gone?"""

from __future__ import annotations

import pytest

from gateway.core.link import Linger
from gateway.domain.commands import Presence
from gateway.domain.model import Application
from gateway.protocol.envelopes import Attach, Channel, Detach, Envelope
from tests.runtime.followed import followed
from tests.runtime.scene import PhoneLine
from tests.runtime.street import Street, street

AGENT = 7
LINGER_S = 120.0
"""For how long a Remote Assistant's session is kept when its phone has left."""
LINGER = Linger(remote_assistant_s=LINGER_S)
ASKED_S = 12.0


async def remote_assistant(at: Street, node: int = 1) -> PhoneLine:
    """Give an agent's Dashboard at node 0, which owns him, another at node 1, and his Remote Assistant."""
    await at.scenes[0].served("bert")
    await at.scenes[1].served("bert", device="d2")
    phone = await at.scenes[node].phone("bert", Application.REMOTE_ASSISTANT, device="d9", number="+491701")
    await at.pass_time(2)
    assert at.owners(AGENT) == [0]
    return phone


def is_present(at: Street, phone: PhoneLine) -> bool | None:
    """Tell whether the owner takes a phone for there; None: he speaks for its session no more."""
    member = at.scenes[0].owner(AGENT).user_sessions.get(phone.ticket.handle)
    return None if member is None else member.present


@pytest.mark.parametrize("away_s", [26.0, 120.0])
async def test_after_an_outage_of_the_bus_nobody_was_gone(away_s: float) -> None:
    async with street() as at:
        phone = await remote_assistant(at)
        phone.hello()
        await at.pass_time(2)
        begun = len(at.upstream.requests)
        at.trouble.take_away()
        await at.pass_time(away_s)
        at.trouble.give_back()
        for _ in range(60):
            await at.pass_time(1)
            assert is_present(at, phone)
        said = [request for _, request in at.upstream.requests[begun:] if isinstance(request, Presence)]
        assert not said
        assert phone.closed is None


async def test_a_session_that_nobody_could_accept_leaves_with_its_phone() -> None:
    async with street(1, linger=LINGER) as at:
        await at.scenes[0].served("bert")
        phone = await at.scenes[0].phone("bert", Application.REMOTE_ASSISTANT, device="d9", number="+491701")
        at.ways[0].shut()
        phone.hello()
        await at.pass_time(13)
        assert phone.closed is not None
        assert is_present(at, phone) is False
        at.ways[0].reopen()
        await at.pass_time(LINGER_S + 30)
        assert is_present(at, phone) is None


async def test_a_phone_whose_leaving_was_lost_has_left_when_its_node_asks_next() -> None:
    async with street(linger=LINGER) as at:
        phone = await remote_assistant(at)
        phone.hello()
        await at.pass_time(2)
        at.trouble.lose = lambda *told: isinstance(told[-1], Detach)
        phone.bye()
        await at.pass_time(ASKED_S)
        at.trouble.lose = None
        assert is_present(at, phone) is False
        await at.pass_time(LINGER_S)
        assert is_present(at, phone) is None


async def test_a_phone_that_came_and_left_before_either_was_heard_has_left() -> None:
    async with street(linger=LINGER) as at:
        phone = await remote_assistant(at)
        door = at.trouble._doors[0]
        held: list[tuple[Channel, Envelope]] = []
        hear = door.hear

        def hold(channel: Channel, envelope: Envelope) -> None:
            if isinstance(envelope, Attach | Detach):
                held.append((channel, envelope))
            else:
                hear(channel, envelope)

        door.hear = hold  # type: ignore[method-assign]  # what a node reads at once from its socket
        phone.hello()
        await at.clock.settle()
        phone.leave()
        await at.clock.settle()
        door.hear = hear  # type: ignore[method-assign]  # as it was
        assert [type(envelope) for _, envelope in held] == [Attach, Detach]
        for one in held:
            door.hear(*one)
        await at.pass_time(ASKED_S)
        assert is_present(at, phone) is not True
        await at.pass_time(LINGER_S)
        assert is_present(at, phone) is None


async def test_a_remote_assistant_lingers_at_the_owner_though_its_own_node_has_forgotten_it() -> None:
    async with street(linger=LINGER) as at:
        dashboard = await at.scenes[0].served("bert")
        phone = await at.scenes[1].served("bert", Application.REMOTE_ASSISTANT, device="d9", number="+491701")
        await at.pass_time(2)
        dashboard.bye()
        await at.pass_time(20)
        assert at.owners(AGENT) == [0]
        phone.bye()
        await at.pass_time(LINGER_S - 5)
        assert at.owners(AGENT) == [0]
        assert at.holder(AGENT) == 0
        await at.pass_time(10)
        assert at.owners(AGENT) == []


async def test_two_nodes_that_drain_do_not_throw_a_user_to_and_fro() -> None:
    async with street() as at:
        near, far = await followed(at)
        for scene in at.scenes:
            scene.node.drain()
        await at.pass_time(30)
        assert at.owners() == [0]
        assert len(at.openings) == 1
        assert (near.health, far.health) == ("live", "live")


async def test_how_long_ago_a_phone_left_goes_with_its_user_from_owner_to_owner() -> None:
    async with street(3) as at:
        near, _ = await followed(at)
        await at.scenes[2].served(device="d3")
        near.bye()
        left_at = at.clock.now()
        for _ in range(2):
            (owner,) = at.owners()
            for scene in at.scenes:
                scene.node.is_draining = False
            at.scenes[owner].node.drain()
            await at.pass_time(15)
        (owner,) = at.owners()
        assert len({one.node for one in at.openings}) > 1
        member = at.scenes[owner].owner().user_sessions.get(near.ticket.handle)
        assert member is not None
        assert member.left_at is not None
        assert abs(member.left_at - left_at) < 1.0


async def test_a_user_let_go_while_the_store_is_away_comes_back_under_a_token_of_his_own() -> None:
    async with street() as at:
        near, far = await followed(at)
        user_state = at.home(0)
        at.trouble.take_away(0)
        near.leave()
        user_state.stop()
        await at.clock.settle()
        at.trouble.give_back(0)
        again = await at.scenes[0].again(near)
        await at.pass_time(2)
        assert at.home(0) is not user_state
        tokens = [one.token for one in at.openings]
        assert len(tokens) == len(set(tokens)) == 2
        assert again.stream != near.stream
        grant = await at.grant()
        assert grant.token == max(tokens)
        assert far.shown.keys() == again.shown.keys()
