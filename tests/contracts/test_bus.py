"""Does every bus keep the promises of the Bus port?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import Channel, Detach, Envelope, Events, Inbox
from tests.contracts.buses import SITES, BusSite

A: Channel = Inbox(NodeId("a"))
B: Channel = Events(UserId("main", 1))


@pytest.fixture(params=sorted(SITES))
async def site(request: pytest.FixtureRequest) -> AsyncIterator[BusSite]:
    async with SITES[request.param]() as opened:
        yield opened


def envelope(number: int) -> Envelope:
    return Detach(UserId("main", number), f"session {number}", NodeId("n"))


class Inbox:
    """What one node received."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    def __call__(self, received: Envelope) -> None:
        self.envelopes.append(received)


async def test_what_is_published_arrives_as_it_was_in_order(site: BusSite) -> None:
    here, there = site.buses
    inbox = Inbox()
    await there.subscribe(A, inbox)
    for number in range(20):
        assert await here.publish(A, envelope(number)) == 1
    await site.arrive()
    assert inbox.envelopes == [envelope(number) for number in range(20)]


async def test_a_node_hears_itself(site: BusSite) -> None:
    here, _ = site.buses
    inbox = Inbox()
    await here.subscribe(A, inbox)
    await here.publish(A, envelope(1))
    await site.arrive()
    assert inbox.envelopes == [envelope(1)]


async def test_every_node_that_subscribed_receives_and_is_counted(site: BusSite) -> None:
    inboxes = [Inbox(), Inbox()]
    for bus, inbox in zip(site.buses, inboxes, strict=True):
        await bus.subscribe(A, inbox)
    assert await site.buses[0].publish(A, envelope(1)) == 2
    await site.arrive()
    assert [inbox.envelopes for inbox in inboxes] == [[envelope(1)]] * 2


async def test_where_nobody_listens_nothing_arrives(site: BusSite) -> None:
    here, there = site.buses
    inbox = Inbox()
    await there.subscribe(A, inbox)
    assert await here.publish(B, envelope(1)) == 0
    await site.arrive()
    assert inbox.envelopes == []


async def test_what_was_published_before_does_not_arrive(site: BusSite) -> None:
    here, there = site.buses
    inbox = Inbox()
    await here.publish(A, envelope(1))
    await there.subscribe(A, inbox)
    await here.publish(A, envelope(2))
    await site.arrive()
    assert inbox.envelopes == [envelope(2)]


async def test_channels_do_not_mix(site: BusSite) -> None:
    here, there = site.buses
    inboxes = {A: Inbox(), B: Inbox()}
    for channel, inbox in inboxes.items():
        await there.subscribe(channel, inbox)
    await here.publish(A, envelope(1))
    await here.publish(B, envelope(2))
    await site.arrive()
    assert {channel: inbox.envelopes for channel, inbox in inboxes.items()} == {
        A: [envelope(1)],
        B: [envelope(2)],
    }


async def test_a_second_subscription_replaces_the_first(site: BusSite) -> None:
    here, there = site.buses
    first, second = Inbox(), Inbox()
    await there.subscribe(A, first)
    await there.subscribe(A, second)
    assert await here.publish(A, envelope(1)) == 1
    await site.arrive()
    assert (first.envelopes, second.envelopes) == ([], [envelope(1)])


async def test_nothing_arrives_after_unsubscribing(site: BusSite) -> None:
    here, there = site.buses
    inbox, other = Inbox(), Inbox()
    await there.subscribe(A, inbox)
    await here.subscribe(A, other)
    await there.unsubscribe(A)
    assert await here.publish(A, envelope(1)) == 1
    await site.arrive()
    assert (inbox.envelopes, other.envelopes) == ([], [envelope(1)])
    await there.subscribe(A, inbox)
    await here.publish(A, envelope(2))
    await site.arrive()
    assert inbox.envelopes == [envelope(2)]


async def test_unknown_channels_are_ignored(site: BusSite) -> None:
    here, _ = site.buses
    await here.unsubscribe(A)
    await here.unsubscribe(A)
