"""What do nodes read, and show, when another owner begins?"""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.model import Position
from gateway.protocol.envelopes import Attach, Offer, Publication, Publications
from gateway.runtime.ports import Start
from tests.doubles.fake_link import FakeLink
from tests.runtime.followed import (
    followed,
    follower,
    publication,
    wait_for,
    waiting,
)
from tests.runtime.scene import user
from tests.runtime.street import street


async def test_every_session_is_attached_again_when_another_owner_begins() -> None:
    async with street(3) as at:
        phones = [await at.scenes[node].served(device=f"device {node}") for node in range(3)]
        await at.pass_time(1)
        at.said.clear()
        at.scenes[0].node.drain()
        await at.pass_time(5)
        (owner,) = at.owners()
        assert at.counted("resyncs_total", reason="epoch")[3 - owner] == 1
        attached = {(told.node, told.ticket.handle) for told in at.heard(Attach) if isinstance(told, Attach)}
        assert attached == {
            (f"n{node}", phone.ticket.handle) for node, phone in enumerate(phones) if node != owner
        }
        members = {
            member.handle: member.on_link
            for member in at.scenes[owner].owner().user_sessions
            if member.present
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


async def test_what_an_earlier_owner_says_is_dropped() -> None:
    async with street() as at:
        _, far = await followed(at)
        before = far.shown
        follower(at).receive(publication(at, follower(at).machine.floor - 1, 99))
        await at.pass_time(1)
        assert far.shown == before
        assert at.counted("stale_epoch_dropped_total") == [0, 1]


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
        told += [
            one for many in at.heard(Publications) if isinstance(many, Publications) for one in many.told
        ]
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
        wish, node = follows._takeover._number, at.scenes[0].node.exchange.node
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


async def test_nothing_of_the_epoch_before_is_called_live_because_the_new_owner_is() -> None:
    async with street() as at:
        _, far = await followed(at)
        heard = follower(at)
        heard.receive(
            replace(publication(at, heard.machine.floor + 5, 3), after=9, upto=9, reset=False, updates=())
        )
        assert heard.feed.health.upstream == "stale"
        assert waiting(far) == 3


async def test_a_replica_that_is_ahead_of_its_owner_finds_out_who_is_right() -> None:
    async with street() as at:
        _, far = await followed(at)
        lost = follower(at)
        ahead = lost.feed.ledger.position.epoch + 10**6
        lost.feed.ledger.position = Position(ahead, 3)
        lost.end(Start())  # asks for the lease, is refused, and follows under a token that is lower
        await at.pass_time(1)
        assert follower(at) is not lost
        wait_for(at, 9)
        for _ in range(80):
            await at.pass_time(0.25)
            assert waiting(far) == 9 or far.health != "live", "old data is shown as live"
        assert (waiting(far), far.health) == (9, "live")
        assert far.closed is None
