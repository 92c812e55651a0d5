"""Hand-over of a user to another node: when, and nothing is lost or done twice."""

from __future__ import annotations

import pytest

from gateway.core.link import Linger
from gateway.domain.commands import Presence
from gateway.domain.model import Application, SessionSecret, UserId
from gateway.domain.upstream import About, Feature
from gateway.protocol.envelopes import Attach, BusChannel, Detach, Envelope, Offer
from tests.doubles.fake_link import FakeLink
from tests.runtime.followed import TRUSTED_S, executed, followed, resets
from tests.runtime.nodes import APPLIED, Nodes, open_nodes
from tests.runtime.rivals import Gate
from tests.runtime.scene import FakePhone

ALONE_S, UNLINKED_S, IN_FLIGHT_S = 30.0, 15.0, 3.0
ASKED_S = 10.0
"""Within which time a follower asks."""
RENEWED_S = 5.0
"""Within which time an owner renews its lease."""
TAKEN_S, LOOKED_AT_S = 10.0, 6.0
"""Until nobody can take a user any more; within which time a giver looks whose the lease is."""


async def test_a_user_follows_his_phones_to_the_node_where_they_are(at: Nodes) -> None:
    near, far = await followed(at)
    near.bye()
    shown = far.shown
    await at.pass_time(ALONE_S - 1)
    assert (at.owners(), len(at.openings)) == ([0], 1)
    await at.pass_time(1 + ASKED_S + 1)
    assert (at.owners(), at.holder()) == ([1], 1)
    assert [(one.node, one.instead_of) for one in at.openings] == [(0, None), (1, "n0-1")]
    assert at.openings[1].token > at.openings[0].token
    assert at.counted("ownership_moves_total", reason="roam") == [1, 0]
    assert at.counted("takeovers_total", kind="planned") == [0, 1]
    assert at.counted("takeover_blind_seconds_count") == [0, 1]
    assert at.counted("takeover_blind_seconds_sum")[1] < 1.0
    assert at.counted("dual_owner_observed_total") == [0, 0]
    assert (far.closed, far.shown) == (None, shown), "a phone that stays connected is not disturbed"
    assert resets(far) == 1
    received = [ping["upstream"] for ping in far.of_kind("ping")]
    assert set(received) <= {"live", "stale"}
    assert received[-1] == "live"


async def test_a_node_that_drains_gives_at_once_and_its_phones_stay_till_notified(at: Nodes) -> None:
    near, far = await followed(at)
    await at.drain(0, settled_s=1)
    assert at.owners() == [1]
    assert [(one.node, one.instead_of) for one in at.openings] == [(0, None), (1, "n0-1")]
    assert (near.closed, far.closed) == (None, None)
    assert await at.result(near, "1", "1", within_s=1) == APPLIED
    assert near.shown["agent:7"]["routing_state"] == "unavailable"
    assert at.counted("ownership_moves_total", reason="drain") == [1, 0]


async def test_where_links_are_not_fenced_the_node_that_lost_the_lease_ends_its_link_soon() -> None:
    async with open_nodes(features=frozenset(Feature) - {Feature.LINK_FENCING}) as at:
        await followed(at)
        at.upstream.user_links.clear()  # the links of both nodes stand side by side
        await at.drain(0, settled_s=RENEWED_S + 1)
        assert (at.owners(), at.counted("dual_owner_observed_total")) == ([1], [0, 0])


async def test_a_node_that_does_not_reach_the_site_gives_after_a_while_to_one_that_may(at: Nodes) -> None:
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


async def drained_amid_a_command(at: Nodes, phone: FakePhone) -> FakeLink:
    """Let the owner's node drain while OSCC-E has not answered a command; give the link."""
    link = at.link()
    link.mute()
    await phone.send_command("1", "1")
    at.scenes[0].node.drain()
    return link


async def test_what_is_under_way_when_a_user_is_given_becomes_unknown_and_stays_so(at: Nodes) -> None:
    _, far = await followed(at)
    await drained_amid_a_command(at, far)
    await at.pass_time(IN_FLIGHT_S - 0.5)
    assert not at.received(Offer)
    assert far.result("1") is None
    await at.pass_time(1)
    assert far.outcome() == ("unknown", "upstream_timeout")
    assert at.owners() == [1]
    again = await at.scenes[1].again(far)
    again.command("2", "1", retry=True, stream=far.stream)
    await at.pass_time(1)
    assert again.result("2") == far.result("1")
    assert len(executed(at)) == 1


async def test_what_is_answered_in_time_is_reported_and_known_to_the_next_owner(at: Nodes) -> None:
    near, far = await followed(at)
    link = await drained_amid_a_command(at, far)
    await at.pass_time(1)
    link.unmute()
    await at.pass_time(1)
    assert far.result("1") == APPLIED
    assert at.owners() == [1]
    assert await at.result(near, "2", "1", retry=True, within_s=1) == APPLIED, (
        "not unchanged: it was not executed again"
    )
    assert len(executed(at)) == 1


async def test_a_taker_who_gives_the_lease_back_without_a_link_leaves_a_giver_who_serves(at: Nodes) -> None:
    _, far = await followed(at)
    at.ways[1].shut()
    await at.drain(0, settled_s=TAKEN_S + 2)
    grant = await at.grant()
    assert (grant.node, at.holder()) == ("n1", 0), "the taker has the lease, and no link yet"
    at.scenes[1].node.logged_off(far.ticket)
    await at.pass_time(LOOKED_AT_S)
    at.ways[1].reopen()
    fresh = await at.served(1, device="d3", settled_s=ASKED_S)
    assert (fresh.closed, fresh.health) == (None, "live")
    link, grant = at.link(), await at.grant()
    assert (link.holder, link.token) == (grant.holder, grant.token)


async def test_a_link_that_comes_back_keeps_the_user_from_who_reaches_nothing(at: Nodes) -> None:
    near, far = await followed(at)
    for way in at.ways:
        way.shut()
    await at.pass_time(UNLINKED_S + 2 * ASKED_S)
    assert at.owners() == [0]
    assert at.received(Offer)
    at.ways[0].reopen()
    await at.pass_time(60)
    assert at.owners() == [0]
    for phone in (near, far):
        phone.command("1", "1")
    await at.pass_time(2)
    assert near.result("1") == far.result("1") == APPLIED


async def test_a_user_is_offered_to_one_node_at_a_time() -> None:
    async with open_nodes(3) as at:
        await at.served(0)
        for node in (1, 2):
            await at.served(node, device=f"device {node}")
        await at.pass_time(1)
        await at.drain(0, settled_s=2)
        assert (len(at.received(Offer)), len(at.openings)) == (1, 2)
        (owner,) = at.owners()
        assert owner != 0


@pytest.mark.parametrize("lost", [False, True], ids=["reached", "not reached"])
async def test_who_has_no_epoch_yet_has_nothing_to_give(at: Nodes, lost: bool) -> None:
    if lost:
        at.trouble.take_away(0)
    near = await at.scenes[0].phone("anna")
    await near.connect()
    owner = at.scenes[0].owner()
    owner._get_handover().asked(at.scenes[1].node.exchange.node, 1, owner)
    at.scenes[0].node.is_draining = True
    owner._get_handover().asked(at.scenes[1].node.exchange.node, 2, owner)
    await at.clock.settle()
    assert bool(at.received(Offer)) is not lost


# ---- changes of the owner while something slow is under way ----


TAKEN_S = 5.0
"""Within which time an owner who is gone is missed, and his user taken."""


# ---- an owner who is over ----


async def test_a_phone_that_comes_while_an_unneeded_link_closes_is_served_by_the_next_owner(
    at: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = await at.scenes[0].phone("anna"), await at.scenes[1].phone("anna", device="d2")
    opening, closing, opens, closes = at.upstream.open, FakeLink.close, Gate(), Gate()

    async def open_(user: UserId, secret: SessionSecret, *, token: int, holder: str) -> FakeLink:
        await opens.passed()
        return await opening(user, secret, token=token, holder=holder)

    async def close(link: FakeLink) -> None:
        await closes.passed()
        await closing(link)

    monkeypatch.setattr(at.upstream, "open", open_)
    monkeypatch.setattr(FakeLink, "close", close)
    opens.shut()
    closes.shut()
    await near.connect()
    at.scenes[0].node.logged_off(near.ticket)
    opens.open()
    await at.clock.settle()
    assert closes.waiting == 1
    await far.connect()
    closes.open()
    await at.pass_time(5)
    assert far.of_kind("welcome")
    assert at.holder() == 1


async def test_a_phone_that_comes_while_an_ended_owner_finishes_is_served_by_the_next(at: Nodes) -> None:
    near, far = await at.served(0), await at.scenes[1].phone("anna", device="d2")
    await at.pass_time(1)
    owner = at.scenes[0].owner()
    owner.session_unknown(near.ticket.handle)
    await at.clock.settle()
    at.scenes[0].node.logged_off(near.ticket)
    await at.clock.settle()
    assert (at.owners(), owner.is_over) == ([0], True)
    far.hello()
    await at.pass_time(3)
    assert (far.closed, at.holder()) == (None, 1)


# ---- an owner who is missed by several ----


def shut_about(at: Nodes, node: int, patch: pytest.MonkeyPatch) -> Gate:
    """Let the site not tell a node what it can, until the gate is open."""
    gate, about = Gate(), at.ways[node].about

    async def kept() -> About:
        await gate.passed()
        return await about()

    patch.setattr(at.ways[node], "about", kept)
    gate.shut()
    return gate


async def test_the_first_taker_of_a_user_keeps_it_though_a_slow_site_answers_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_nodes(3) as at:
        await followed(at)
        await at.served(2, device="d3", settled_s=TRUSTED_S)
        first, second = (shut_about(at, node, monkeypatch) for node in (1, 2))
        await at.kill(0)
        await at.pass_time(TAKEN_S)
        assert (first.waiting > 0, second.waiting > 0) == (True, True)
        first.open()
        await at.pass_time(TAKEN_S)
        assert at.holder() == 1
        second.open()
        await at.pass_time(TAKEN_S)
        assert [one.node for one in at.openings] == [0, 1]


async def test_an_owner_who_answers_again_while_a_slow_site_does_not_keeps_his_user(
    at: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await followed(at)
    await at.pass_time(TRUSTED_S)
    gate = shut_about(at, 1, monkeypatch)
    at.trouble.lose = lambda *received: received[:2] == (0, 1)
    await at.pass_time(TAKEN_S)
    assert gate.waiting
    at.trouble.lose = None
    await at.pass_time(TAKEN_S)
    gate.open()
    await at.pass_time(TAKEN_S)
    assert (at.owners(), len(at.openings)) == ([0], 1)


# ---- presence ----


AGENT = 7
LINGER_S = 120.0
"""For how long a Remote Assistant's session is kept when its phone has left."""
LINGER = Linger(remote_assistant_s=LINGER_S)
NEXT_S = 12.0


async def remote_assistant(at: Nodes, node: int = 1) -> FakePhone:
    """Give an agent's Dashboard at node 0, which owns him, another at node 1, and his Remote Assistant."""
    await at.served(0, "bert")
    await at.served(1, "bert", device="d2")
    phone = await at.scenes[node].phone("bert", Application.REMOTE_ASSISTANT, device="d9", number="+491701")
    await at.pass_time(2)
    assert at.owners(AGENT) == [0]
    return phone


def is_present(at: Nodes, phone: FakePhone) -> bool | None:
    """Tell whether the owner takes a phone for there; None: he speaks for its session no more."""
    member = at.scenes[0].owner(AGENT).user_sessions.by_handle.get(phone.ticket.handle)
    return None if member is None else member.present


@pytest.mark.parametrize("away_s", [26.0, 120.0])
async def test_after_an_outage_of_the_bus_nobody_was_gone(at: Nodes, away_s: float) -> None:
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
    async with open_nodes(1, linger=LINGER) as at:
        await at.served(0, "bert")
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
    async with open_nodes(linger=LINGER) as at:
        phone = await remote_assistant(at)
        phone.hello()
        await at.pass_time(2)
        at.trouble.lose_all(Detach)
        phone.bye()
        await at.pass_time(NEXT_S)
        at.trouble.lose = None
        assert is_present(at, phone) is False
        await at.pass_time(LINGER_S)
        assert is_present(at, phone) is None


async def test_a_phone_that_came_and_left_before_either_was_received_has_left() -> None:
    async with open_nodes(linger=LINGER) as at:
        phone = await remote_assistant(at)
        bus = at.trouble.buses[0]
        held: list[tuple[BusChannel, Envelope]] = []
        receive = bus.receive

        def hold(channel: BusChannel, envelope: Envelope) -> None:
            if isinstance(envelope, Attach | Detach):
                held.append((channel, envelope))
            else:
                receive(channel, envelope)

        bus.receive = hold  # type: ignore[method-assign]  # what a node reads at once from its socket
        await phone.connect()
        phone.leave()
        await at.clock.settle()
        bus.receive = receive  # type: ignore[method-assign]  # as it was
        assert [type(envelope) for _, envelope in held] == [Attach, Detach]
        for one in held:
            bus.receive(*one)
        await at.pass_time(NEXT_S)
        assert is_present(at, phone) is not True
        await at.pass_time(LINGER_S)
        assert is_present(at, phone) is None


async def test_a_remote_assistant_lingers_at_the_owner_though_its_own_node_has_forgotten_it() -> None:
    async with open_nodes(linger=LINGER) as at:
        dashboard = await at.served(0, "bert")
        phone = await at.served(
            1, "bert", Application.REMOTE_ASSISTANT, device="d9", number="+491701", settled_s=2
        )
        dashboard.bye()
        await at.pass_time(20)
        assert at.owners(AGENT) == [0]
        phone.bye()
        await at.pass_time(LINGER_S - 5)
        assert (at.owners(AGENT), at.holder(AGENT)) == ([0], 0)
        await at.pass_time(10)
        assert at.owners(AGENT) == []


async def test_two_nodes_that_drain_do_not_throw_a_user_to_and_fro(at: Nodes) -> None:
    near, far = await followed(at)
    for scene in at.scenes:
        scene.node.drain()
    await at.pass_time(30)
    assert (at.owners(), len(at.openings)) == ([0], 1)
    assert (near.health, far.health) == ("live", "live")


async def test_how_long_ago_a_phone_left_goes_with_its_user_from_owner_to_owner() -> None:
    async with open_nodes(3) as at:
        near, _ = await followed(at)
        await at.served(2, device="d3")
        near.bye()
        left_at = at.clock.now()
        for _ in range(2):
            (owner,) = at.owners()
            for scene in at.scenes:
                scene.node.is_draining = False
            await at.drain(owner, settled_s=15)
        (owner,) = at.owners()
        assert len({one.node for one in at.openings}) > 1
        assert at.scenes[owner].member(near).left_at == pytest.approx(left_at, abs=1.0)


async def test_a_user_let_go_while_the_store_is_away_comes_back_under_a_token_of_his_own(at: Nodes) -> None:
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
