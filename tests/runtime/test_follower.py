"""How does a node serve a user whom another node owns?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.link_requests import Execute, Listen
from gateway.domain.model import Kind
from gateway.domain.resources import Queue
from gateway.domain.upstream import Announced, Part, Source
from gateway.protocol.envelopes import Attach, Detach, Offer, Publication, SessionFacts, Since, Update
from gateway.runtime.follower import Follower
from tests.doubles.fake_link import FakeLink
from tests.runtime.scene import PhoneLine, user
from tests.runtime.street import Street, street

TRUSTED_S = 7.0
"""Until a node trusts its bus."""


async def followed(at: Street) -> tuple[PhoneLine, PhoneLine]:
    """Give a phone at node 0, which owns the user, and one at node 1."""
    near, far = await at.scenes[0].served(), await at.scenes[1].served(device="d2")
    await at.pass_time(1)
    assert at.owners() == [0]
    return near, far


def wait_for(at: Street, contacts: int) -> None:
    """Let so many contacts wait in the queue."""
    at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=contacts)))


def waiting(phone: PhoneLine) -> object:
    return phone.shown["queue:5"]["contacts_waiting"]


def follower(at: Street, node: int = 1) -> Follower:
    found = at.home(node).follower
    assert found is not None
    return found


def is_cut_off(at: Street, node: int) -> bool:
    return at.scenes[node].node.is_cut_off


def resets(phone: PhoneLine) -> int:
    return sum(bool(frame.get("reset")) for frame in phone.of_kind("changes"))


# ---- served through the owner ----


async def test_a_second_device_on_another_node_is_served_through_the_one_link() -> None:
    async with street() as at:
        near, far = await followed(at)
        assert len(at.openings) == 1
        assert far.shown.keys() == near.shown.keys()
        assert far.health == "live"
        wait_for(at, 9)
        await at.pass_time(1)
        assert (waiting(near), waiting(far)) == (9, 9)


async def test_a_command_is_routed_to_the_owner_and_executed_once() -> None:
    async with street() as at:
        near, far = await followed(at)
        far.command("1", "1")
        await at.pass_time(0.5)
        assert far.result("1") == {"status": "applied"}
        assert (
            near.shown["agent:7"]["routing_state"] == far.shown["agent:7"]["routing_state"] == "unavailable"
        )
        near.command("2", "1", retry=True)
        await at.pass_time(0.5)
        assert near.result("2") == {"status": "applied"}
        assert len(at.scenes[0].asked(Execute)) == 1


async def test_what_a_phone_elsewhere_follows_is_listened_to_at_the_owner() -> None:
    async with street() as at:
        far = await at.scenes[1].phone("anna", device="d2")
        near = await at.scenes[0].served(topics=["agents"])
        far.hello(topics=["agents"])
        await at.pass_time(1)
        assert "queue:5" not in far.shown
        far.send(kind="follow", id="1", topics=["queue:5"])
        await at.pass_time(1)
        assert waiting(far) == 3
        assert "queue:5" not in near.shown
        listened = {(one.kind, one.numbers) for one in at.scenes[0].asked(Listen)}
        assert (Kind.QUEUE, frozenset({5})) in listened


async def test_a_phone_that_leaves_is_missed_at_the_owner() -> None:
    async with street() as at:
        _, far = await followed(at)
        owner = at.scenes[0].owner()
        assert [member.handle for member in owner.roster.at(at.scenes[1].node.exchange.node)] == [
            far.ticket.handle
        ]
        far.bye()
        await at.clock.settle()
        member = owner.roster.get(far.ticket.handle)
        assert member is not None
        assert not member.present


async def test_a_notice_reaches_phones_on_all_nodes() -> None:
    async with street() as at:
        near, far = await followed(at)
        link = at.upstream.link(user(1))
        assert link is not None
        link.push(Announced("n", 1, "maintenance", "Tonight", "An update", None, None))
        await at.clock.settle()
        assert [len(phone.of_kind("notice")) for phone in (near, far)] == [1, 1]


async def test_rights_and_scope_that_change_are_told_elsewhere_too() -> None:
    async with street() as at:
        _, far = await followed(at)
        told = len(far.facts)
        person = at.upstream.people[user(1)]
        application = far.ticket.application
        at.upstream.set_scope(
            user(1), application, replace(person.scopes[application], agents=frozenset({7}))
        )
        await at.pass_time(1)
        assert far.facts[-1].scope.agents == {7}
        assert len(far.facts) > told
        assert "agent:8" not in far.shown


async def test_a_session_that_oscc_e_does_not_know_is_refused_elsewhere_as_here() -> None:
    async with street() as at:
        await at.scenes[0].served()
        far = await at.scenes[1].phone("anna", device="d2")
        session = at.upstream.session(far.ticket.secret)
        at.upstream.live.pop(session.secret)
        far.hello()
        await at.pass_time(1)
        assert far.closed is not None
        assert (far.closed.code, far.closed.reason) == (CloseCode.SESSION_ENDED, EndReason.UNKNOWN)
        assert far.closed.window_s is not None


# ---- epochs ----


async def test_every_session_is_attached_again_when_another_owner_begins() -> None:
    async with street(3) as at:
        phones = [await at.scenes[node].served(device=f"device {node}") for node in range(3)]
        await at.pass_time(1)
        at.said.clear()
        at.scenes[0].node.drain()
        await at.pass_time(5)
        (owner,) = at.owners()
        attached = {(told.node, told.ticket.handle) for told in at.heard(Attach) if isinstance(told, Attach)}
        assert attached == {
            (f"n{node}", phone.ticket.handle) for node, phone in enumerate(phones) if node != owner
        }
        members = {
            member.handle: member.on_link for member in at.scenes[owner].owner().roster if member.present
        }
        assert members == {phone.ticket.handle: True for phone in phones}
        for number, phone in enumerate(phones):
            assert phone.closed is None
            phone.command("1", str(number))
        await at.pass_time(1)
        assert {str(phone.result("1")) for phone in phones} == {
            str({"status": "applied"}),
            str({"status": "unchanged"}),
        }


def publication(at: Street, epoch: int, contacts: int, seq: int = 1_000) -> Publication:
    update = Update("queue:5", seq, Queue(name="Billing", contacts_waiting=contacts))
    return Publication(user(1), epoch, 0, seq, True, (update,), "live", at.clock.wall_ms())


async def test_what_an_earlier_owner_says_is_dropped() -> None:
    async with street() as at:
        _, far = await followed(at)
        before = far.shown
        follower(at).receive(publication(at, follower(at).machine.floor - 1, 99))
        await at.pass_time(1)
        assert far.shown == before


async def test_when_only_an_earlier_owner_speaks_the_lease_is_read_and_is_right() -> None:
    async with street() as at:
        _, far = await followed(at)
        follower(at).receive(publication(at, 2**62, 50))
        await at.pass_time(4)
        assert follower(at).machine.floor == 2**62
        wait_for(at, 6)
        await at.pass_time(0.5)
        assert waiting(far) == 50
        await at.pass_time(1)
        assert follower(at).machine.floor == at.openings[0].token
        assert waiting(far) == 6
        assert far.health == "live"


async def test_before_a_new_owner_knows_everything_readers_keep_what_they_have_marked_stale() -> None:
    async with street(3) as at:
        phones = [await at.scenes[node].served(device=f"device {node}") for node in range(3)]
        await at.pass_time(1)
        opens, muted = at.upstream.open, list[FakeLink]()

        async def open_muted(*args: object, **more: object) -> FakeLink:
            link = await opens(*args, **more)  # type: ignore[arg-type]  # as it was called
            link.mute()
            muted.append(link)
            return link

        at.upstream.open = open_muted  # type: ignore[method-assign]  # the server falls silent at once
        shown = phones[2].shown
        at.scenes[0].node.drain()
        wait_for(at, 9)
        await at.pass_time(2)
        (owner,) = at.owners()
        others = [phone for node, phone in enumerate(phones) if node != owner]
        told = [one for one in at.heard(Publication) if isinstance(one, Publication)]
        begun = [one for one in told if one.epoch == at.openings[-1].token]
        assert begun, "whoever asks is told that another owner began"
        assert not any(one.updates or one.upto for one in begun)
        for phone in others:
            assert phone.closed is None
            assert phone.health == "stale"
            assert phone.shown.keys() == shown.keys()
        muted[0].unmute()
        await at.pass_time(3)
        for phone in phones:
            assert phone.health == "live"
            assert waiting(phone) == 9
            assert phone.closed is None


async def test_offers_that_nobody_wished_for_are_not_taken() -> None:
    async with street() as at:
        _, far = await followed(at)
        owner = at.scenes[0].owner()
        history = await owner.execution.give(0.0)
        owner.execution.resume()
        follows = follower(at)
        await at.pass_time(12)
        (wish, _), node = follows._wished, at.scenes[0].node.exchange.node
        assert wish > 0
        for adopt, token in ((wish, owner.epoch - 1), (wish - 1, owner.epoch), (0, owner.epoch)):
            follows.receive(Offer(user(1), node, adopt, token, history))
            await at.clock.settle()
            assert at.home(1).role is follows
        far.bye()
        follows.receive(Offer(user(1), node, wish, owner.epoch, history))
        await at.clock.settle()
        assert at.home(1).role is follows, "nobody is there for whom to take him"
        assert len(at.openings) == 1


async def test_a_wish_that_is_too_old_is_not_fulfilled() -> None:
    async with street() as at:
        await followed(at)
        owner = at.scenes[0].owner()
        history = await owner.execution.give(0.0)
        owner.execution.resume()
        follows = follower(at)
        while at.clock.now() - follows._wished[1] <= 6.0:
            await at.pass_time(0.25)
        offer = Offer(user(1), at.scenes[0].node.exchange.node, follows._wished[0], owner.epoch, history)
        follows.receive(offer)
        await at.clock.settle()
        assert at.home(1).role is follows
        while at.clock.now() - follows._wished[1] > 1.0:
            await at.pass_time(0.25)
        follows.receive(replace(offer, adopt=follows._wished[0]))
        await at.pass_time(1)
        assert at.owners() == [1]


# ---- repair ----


async def test_what_was_lost_is_asked_for_and_comes() -> None:
    async with street() as at:
        near, far = await followed(at)
        at.trouble.lose = lambda *told: told[1] == 1 and isinstance(told[-1], Publication)
        wait_for(at, 8)
        await at.pass_time(0.5)
        assert (waiting(near), waiting(far)) == (8, 3)
        at.trouble.lose = None
        at.upstream.put(
            Part(Kind.AGENT, 7, Source.REALTIME, at.upstream.parts[Source.REALTIME, Kind.AGENT, 7].value)
        )
        wait_for(at, 9)
        await at.pass_time(0.5)
        assert waiting(far) == 9
        assert far.shown == near.shown | {"me": far.shown["me"]}


async def test_what_was_lost_last_comes_within_ten_seconds() -> None:
    async with street() as at:
        _, far = await followed(at)
        at.trouble.lose = lambda *told: told[1] == 1 and isinstance(told[-1], Publication)
        wait_for(at, 8)
        await at.pass_time(0.5)
        at.trouble.lose = None
        await at.pass_time(10)
        assert waiting(far) == 8
        assert resets(far) == 1


async def test_what_comes_twice_or_late_does_no_harm() -> None:
    async with street() as at:
        at.trouble.chance = iter(lambda: 0.4, None).__next__
        near, far = await followed(at)
        at.trouble.doubles = at.trouble.delays = 0.5
        at.trouble.delay_s = 0.5
        for contacts in range(10, 20):
            wait_for(at, contacts)
            await at.pass_time(0.25)
        at.trouble.doubles = at.trouble.delays = 0.0
        await at.pass_time(2)
        assert (waiting(near), waiting(far)) == (19, 19)
        assert resets(far) == 1


async def test_a_session_that_the_owner_does_not_know_any_more_is_presented_again() -> None:
    async with street() as at:
        _, far = await followed(at)
        at.scenes[0].owner().let_go(far.ticket.handle)
        await at.pass_time(6)
        member = at.scenes[0].owner().roster.get(far.ticket.handle)
        assert member is not None
        assert member.on_link
        assert far.closed is None


async def test_a_session_is_presented_until_somebody_answers() -> None:
    async with street() as at:
        await at.scenes[0].served()
        at.trouble.lose = lambda *told: isinstance(told[-1], Attach)
        far = await at.scenes[1].phone("anna", device="d2")
        far.hello()
        await at.pass_time(5)
        assert not far.of_kind("welcome")
        at.trouble.lose = None
        await at.pass_time(5)
        assert far.of_kind("welcome")
        assert far.closed is None


async def test_a_phone_whose_session_nobody_answers_for_is_sent_away_with_a_window() -> None:
    async with street() as at:
        await at.scenes[0].served()
        at.trouble.lose = lambda *told: isinstance(told[-1], Attach)
        far = await at.scenes[1].phone("anna", device="d2")
        far.hello()
        await at.pass_time(12)
        assert far.closed is not None
        assert (far.closed.code, far.closed.window_s) == (CloseCode.INTERNAL, (1.0, 10.0))


# ---- without the bus ----


async def test_without_the_bus_the_owners_phones_stay_live_and_command_as_long_as_it_lasts() -> None:
    async with street() as at:
        near, _ = await followed(at)
        at.trouble.take_away()
        await at.pass_time(120)
        assert (near.closed, near.health) == (None, "live")
        wait_for(at, 9)
        near.command("1", "1")
        await at.pass_time(1)
        assert waiting(near) == 9
        assert near.result("1") == {"status": "applied"}
        assert len(at.openings) == 1


async def test_without_the_bus_other_phones_are_stale_and_cannot_command() -> None:
    async with street() as at:
        _, far = await followed(at)
        at.trouble.take_away()
        await at.pass_time(8)
        ping = far.of_kind("ping")[-1]
        assert (far.closed, ping["upstream"], ping["bus"]) == (None, "stale", "down")
        far.command("1", "1")
        await at.clock.settle()
        told = far.result("1")
        assert told is not None
        assert (told["status"], told["error"]["code"]) == ("rejected", "bus_down")
        wait_for(at, 9)
        await at.pass_time(60)
        assert (far.closed, waiting(far)) == (None, 3)
        at.trouble.give_back()
        await at.pass_time(8)
        ping = far.of_kind("ping")[-1]
        assert (waiting(far), ping["upstream"], ping["bus"]) == (9, "live", "live")
        assert len(at.openings) == 1
        assert resets(far) == 1, "it only was told what it missed"


async def test_without_the_bus_a_new_phone_has_the_node_in_hand_open_the_link() -> None:
    async with street() as at:
        near, far = await followed(at)
        at.trouble.take_away()
        await at.pass_time(8)
        fresh = await at.scenes[1].served(device="d3")
        await at.pass_time(1)
        assert fresh.of_kind("welcome")
        assert (fresh.health, far.health) == ("live", "live")
        assert [(one.node, one.instead_of) for one in at.openings] == [(0, None), (1, "n0-1")]
        assert at.openings[1].token > at.openings[0].token
        assert (far.closed, fresh.closed) == (None, None)
        assert near.closed is not None
        assert near.closed.code is CloseCode.REBALANCE
        fresh.command("1", "1")
        await at.pass_time(1)
        assert fresh.result("1") == {"status": "applied"}


async def test_who_was_replaced_without_the_bus_is_cut_off_until_it_is_back() -> None:
    async with street() as at:
        near, far = await followed(at)
        at.trouble.take_away(0)
        await at.pass_time(TRUSTED_S)
        await at.pass_time(3)
        assert at.holder() == 1, "node 1 reaches the bus, and heard nothing of node 0"
        assert [is_cut_off(at, node) for node in range(2)] == [True, False]
        assert near.closed is not None
        assert near.closed.code is CloseCode.REBALANCE
        assert near.closed.window_s is not None
        assert (far.closed, far.health) == (None, "live")
        at.trouble.give_back(0)
        await at.pass_time(TRUSTED_S + 1)
        assert at.owners() == [1]
        assert not is_cut_off(at, 0)
        assert len(at.openings) == 2


@pytest.mark.parametrize("first", [0, 1])
async def test_when_the_bus_is_back_whoever_was_outbid_yields(first: int) -> None:
    async with street() as at:
        _, far = await followed(at)
        at.trouble.take_away()
        await at.pass_time(8)
        fresh = await at.scenes[1].served(device="d3")
        await at.pass_time(20)
        at.trouble.give_back(first)
        at.trouble.give_back(1 - first)
        await at.pass_time(10)
        assert at.owners() == [1]
        assert len(at.openings) == 2
        assert (far.closed, fresh.closed) == (None, None)
        grant = await at.trouble.store(0).leases.read(user(1))
        assert grant is not None
        assert grant.holder == "n1-1"
        assert grant.token >= at.openings[1].token


# ---- small things ----


async def test_who_follows_no_more_reads_no_more() -> None:
    async with street() as at:
        _, _ = await followed(at)
        gone = follower(at)
        position = gone.feed.ledger.position
        gone.stop()
        gone.receive(publication(at, gone.machine.floor + 1, 99))
        assert gone.feed.ledger.position == position
        assert gone.is_over


async def test_what_concerns_nobody_who_follows_is_ignored() -> None:
    async with street() as at:
        _, far = await followed(at)
        frames = len(far.frames)
        follower(at).receive(Detach(user(1), far.ticket.handle, at.scenes[0].node.exchange.node))
        await at.clock.settle()
        assert len(far.frames) == frames


async def test_a_phone_that_asks_for_other_topics_when_it_has_left_asks_nobody() -> None:
    async with street() as at:
        await followed(at)
        at.said.clear()
        at.home(1).follow("unknown", ("agents",))
        follower(at).follow("unknown", ("agents",))
        await at.clock.settle()
        assert not at.heard(Attach)


async def test_a_replica_keeps_the_elements_that_it_holds() -> None:
    async with street() as at:
        await followed(at)
        ledger = follower(at).feed.ledger
        held = ledger.get("queue:5")
        assert held is not None
        told = publication(at, follower(at).machine.floor, 3, ledger.position.seq + 1)
        follower(at).receive(replace(told, reset=False, after=ledger.position.seq))
        assert ledger.get("queue:5") is held


async def test_a_user_without_a_phone_here_is_followed_for_a_while() -> None:
    async with street() as at:
        _, far = await followed(at)
        far.bye()
        await at.pass_time(25)
        assert user(1) in at.scenes[1].node.households
        await at.pass_time(8)
        assert user(1) not in at.scenes[1].node.households
        assert at.owners() == [0]


async def test_a_follower_asks_to_speak_for_the_user_only_while_a_phone_is_here() -> None:
    async with street() as at:
        _, far = await followed(at)
        at.said.clear()
        await at.pass_time(12)
        adopts = [
            since.adopt
            for _, _, told in at.said
            for since in getattr(told, "asks", ())
            if isinstance(since, Since)
        ]
        assert adopts
        assert all(adopts)
        far.bye()
        at.said.clear()
        await at.pass_time(12)
        adopts = [since.adopt for _, _, told in at.said for since in getattr(told, "asks", ())]
        assert adopts
        assert not any(adopts)


async def test_facts_of_a_session_reach_its_phone_once() -> None:
    async with street() as at:
        _, far = await followed(at)
        told: list[SessionFacts] = far.facts
        assert len(told) <= 1
        wait_for(at, 9)
        await at.pass_time(1)
        assert all(one.end is None for one in told)
