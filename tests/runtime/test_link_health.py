"""How fresh is what the owner's link tells, and what are phones told of that?"""

from __future__ import annotations

import pytest

from gateway.core.ledger import Health
from gateway.core.link import LinkMachine
from gateway.core.user_sessions import UserSessions
from gateway.domain.commands import Listen
from gateway.domain.model import NodeId
from gateway.domain.resources import FunctionState
from gateway.runtime.link_session import LinkHealth
from gateway.runtime.mirror import Feed, Mirror
from tests.doubles.fake_upstream import KEEP_ALIVE_S
from tests.runtime.scene import Scene, scene, user
from tests.runtime.street import street


def pulse(at: Scene, *, is_taking_over: bool = False, known: Health | None = None) -> LinkHealth:
    """Return the pulse of an owner whose link is not opened yet."""
    feed = Feed(user(1))
    feed.ledger.health = known or feed.health
    mirror = Mirror(feed, UserSessions(), at.node.composer, at.clock)
    return LinkHealth(feed, mirror, LinkMachine(), at.node._worlds["main"], is_taking_over=is_taking_over)


async def test_what_another_owner_showed_is_stale_until_a_link_was_tried() -> None:
    async with scene() as at:
        known = Health("live", "live", 77.0)
        taking = pulse(at, is_taking_over=True, known=known)
        taking.say()
        assert (taking._feed.health.upstream, taking._feed.health.as_of) == ("stale", 77)
        taking.unreached()
        assert (taking._feed.health.upstream, taking._feed.health.as_of) == ("down", 77)


async def test_the_owners_phones_are_told_how_the_bus_stands() -> None:
    async with street() as at:
        near = await at.scenes[0].served()
        await at.pass_time(1)
        assert near.of_kind("ping")[-1]["bus"] == "live"
        at.trouble.take_away()
        await at.pass_time(3)
        assert near.of_kind("ping")[-1]["bus"] == "degraded"
        await at.pass_time(6)
        ping = near.of_kind("ping")[-1]
        assert (ping["bus"], ping["upstream"]) == ("down", "live")


async def test_data_is_as_old_as_it_is_until_a_new_link_has_told_it_again() -> None:
    async with scene() as at:
        phone = await at.served()
        await at.pass_time(2)
        at.upstream.unreachable = True
        at.upstream.drop(user(1))
        dropped_at = at.clock.now()
        await at.pass_time(25)
        at.upstream.unreachable, at.upstream.slow = False, lambda asked: isinstance(asked, Listen)
        await at.pass_time(31)
        link = at.link()
        at.upstream.set_function("routing", FunctionState.DEGRADED)
        await at.pass_time(1)
        told_at = at.owner().feed.health.as_of
        assert told_at is not None
        assert told_at <= dropped_at
        link.serve_held()
        await at.pass_time(1)
        assert phone.health == "live"
        assert at.owner().feed.health.as_of == at.clock.now() - 1


async def test_the_first_byte_after_a_long_silence_makes_nothing_fresh() -> None:
    async with scene() as at:
        await at.served()
        link = at.link()
        link.mute()
        silent_since = at.clock.now()
        await at.pass_time(KEEP_ALIVE_S + 5)
        link.holds = lambda asked: isinstance(asked, Listen)
        link.unmute()
        await at.pass_time(3)
        as_of = at.owner().feed.health.as_of
        assert as_of is not None
        assert as_of <= silent_since
        link.serve_held()
        await at.pass_time(1)
        as_of = at.owner().feed.health.as_of
        assert as_of is not None
        assert as_of > silent_since + 20


async def test_an_owner_whose_renewal_is_refused_is_stale_until_its_link_brings_something() -> None:
    async with scene() as at:
        phone = await at.served()
        await at.pass_time(2)
        link = at.link()
        link.mute()
        token = at.owner().epoch
        await at.leases.acquire(user(1), NodeId("n2"), "n2-1", floor=0, expected=token)
        await at.pass_time(7)
        assert at.owner().lease.lost
        assert phone.health == "stale", "the link may have been replaced"
        link.unmute()
        await at.pass_time(2)
        assert phone.health == "live", "the link is still this node's"


@pytest.mark.parametrize("by_ms", [-3_600_000, -30_000, 3_600_000])
async def test_a_wall_clock_that_is_set_makes_no_data_older_or_newer(by_ms: int) -> None:
    async with scene() as at:
        phone = await at.served()
        await at.pass_time(2)
        at.upstream.unreachable = True
        at.upstream.drop(user(1))
        at.clock.jump_wall(by_ms)
        await at.pass_time(30)
        ping = phone.of_kind("ping")[-1]
        assert ping["upstream"] == "down"
        assert 0 <= ping["server_time_ms"] - ping["as_of_ms"] <= 33_000
