"""Contract of the Bus port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.bus.connect import TRIAL, BusKeys
from gateway.bus.pubsub import RedisBus
from gateway.bus.sealing import DropReason
from gateway.domain.errors import EndReason, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import BusChannel, Control, Detach, Envelope, Events, Inbox, encode
from gateway.runtime.event_loop import SystemClock
from tests.contracts.buses import KEYS, NETWORKED, SITES, BusSite, Network, connected, node
from tests.doubles.servers import until
from tests.doubles.tasks import during

A: BusChannel = Inbox(NodeId("a"))
B: BusChannel = Events(UserId("main", 1))


@pytest.fixture(params=sorted(SITES))
async def site(request: pytest.FixtureRequest) -> AsyncIterator[BusSite]:
    async with SITES[request.param]() as opened:
        yield opened


def envelope(number: int) -> Envelope:
    return Detach(UserId("main", number), f"session {number}", NodeId("n"))


class Received:
    """What one node received."""

    def __init__(self, site: BusSite) -> None:
        self.envelopes: list[Envelope] = []
        self._site = site

    def __call__(self, received: Envelope) -> None:
        self.envelopes.append(received)

    async def are(self, *numbers: int) -> None:
        """Hold that just the envelopes of these numbers have arrived, in this order."""
        await self._site.arrive()
        assert self.envelopes == [envelope(number) for number in numbers]


@pytest.fixture
async def inbox(site: BusSite) -> Received:
    """What the second node receives on channel A."""
    received = Received(site)
    await site.buses[1].subscribe(A, received)
    return received


async def test_every_node_that_subscribed_receives_and_is_counted(site: BusSite, inbox: Received) -> None:
    here, other = site.buses[0], Received(site)
    await here.subscribe(A, other)
    assert await here.publish(A, envelope(1)) == 2
    await inbox.are(1)
    await other.are(1)


async def test_where_nobody_listens_nothing_arrives(site: BusSite, inbox: Received) -> None:
    here, _ = site.buses
    assert await here.publish(B, envelope(1)) == 0
    await inbox.are()


async def test_what_was_published_before_does_not_arrive(site: BusSite) -> None:
    here, there = site.buses
    inbox = Received(site)
    await here.publish(A, envelope(1))
    await there.subscribe(A, inbox)
    await here.publish(A, envelope(2))
    await inbox.are(2)


async def test_a_second_subscription_replaces_the_first(site: BusSite) -> None:
    here, there = site.buses
    first, second = Received(site), Received(site)
    await there.subscribe(A, first)
    await there.subscribe(A, second)
    assert await here.publish(A, envelope(1)) == 1
    await first.are()
    await second.are(1)


async def test_nothing_arrives_after_unsubscribing(site: BusSite, inbox: Received) -> None:
    here, there = site.buses
    other = Received(site)
    await here.subscribe(A, other)
    await there.unsubscribe(A)
    assert await here.publish(A, envelope(1)) == 1
    await inbox.are()
    await other.are(1)
    await there.subscribe(A, inbox)
    await here.publish(A, envelope(2))
    await inbox.are(2)


async def test_unknown_channels_are_ignored(site: BusSite) -> None:
    here, _ = site.buses
    await here.unsubscribe(A)
    await here.unsubscribe(A)


# ---- what the bus promises over all channels, and of losses ----


async def test_the_order_holds_over_all_channels(site: BusSite) -> None:
    here, there = site.buses
    inbox = Received(site)
    channels: list[BusChannel] = [A, B, Control()]
    for channel in channels:
        await there.subscribe(channel, inbox)
    for number in range(30):
        assert await here.publish(channels[number % 3], envelope(number)) == 1
    await inbox.are(*range(30))


async def test_what_is_published_at_once_arrives_in_the_order_of_asking(
    site: BusSite, inbox: Received
) -> None:
    here, _ = site.buses
    async with asyncio.TaskGroup() as tasks:
        published = [tasks.create_task(here.publish(A, envelope(number))) for number in range(300)]
    assert {task.result() for task in published} == {1}
    await inbox.are(*range(300))


async def test_what_is_posted_arrives_in_the_order_of_the_calls_where_the_bus_takes_it(
    site: BusSite, inbox: Received
) -> None:
    here, _ = site.buses
    answers = list[int | GatewayError]()
    for number in range(30):
        if number % 7 == 3 or not here.post(A, envelope(number), answers.append):
            answers.append(await here.publish(A, envelope(number)))
    here.flush()
    answers.append(await here.publish(A, envelope(30)))
    await inbox.are(*range(31))
    assert answers == 31 * [1]


async def test_somebody_who_gives_up_publishing_takes_nothing_with_him(
    site: BusSite, inbox: Received
) -> None:
    here, _ = site.buses
    async with during(here.publish(A, envelope(1))):
        await asyncio.sleep(0)
    assert await here.publish(A, envelope(2)) == 1
    await site.arrive()
    assert inbox.envelopes[-1] == envelope(2)


async def test_many_channels_are_subscribed_at_once(site: BusSite) -> None:
    here, there = site.buses
    inbox = Received(site)
    channels = [Events(UserId("main", number)) for number in range(1_300)]
    async with asyncio.TaskGroup() as tasks:
        for channel in channels:
            tasks.create_task(there.subscribe(channel, inbox))
    for channel in channels[::100]:
        assert await here.publish(channel, envelope(channel.user.key)) == 1
    await inbox.are(*(channel.user.key for channel in channels[::100]))


async def test_watchers_are_called_after_a_reconnection_and_receive_again(site: BusSite) -> None:
    if site.cut is None:
        return  # one process has no connections
    here, there = site.buses
    inbox, doubts = Received(site), Doubts()
    there.watch(doubts)
    for channel in (A, B):
        await there.subscribe(channel, inbox)
    assert doubts.received == 0
    await site.cut()
    await doubts.comes()
    assert doubts.received == 1
    for channel in (A, B):
        assert await here.publish(channel, envelope(1)) == 1
    await inbox.are(1, 1)


class Doubts:
    """How often a bus said that something may have been lost."""

    def __init__(self) -> None:
        self.received = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.received += 1
        self._event.set()

    async def comes(self) -> None:
        async with SystemClock().timeout(5.0):
            await self._event.wait()


# ---- what the network may see, and may not say ----


@pytest.fixture(params=NETWORKED)
async def networked(request: pytest.FixtureRequest) -> AsyncIterator[tuple[BusSite, Network]]:
    async with SITES[request.param]() as opened:
        assert opened.network is not None
        yield opened, opened.network


CANARY = "canary-of-a-session"


async def test_nothing_that_the_server_sees_can_be_read(networked: tuple[BusSite, Network]) -> None:
    site, network = networked
    here, there = site.buses
    said = Detach(UserId("main", 4_711_000_815), CANARY, NodeId("n"))
    channel = Events(said.user)
    inbox = Received(site)
    async with network.spy() as seen:
        await there.subscribe(channel, inbox)
        await here.publish(channel, said)
        await site.leases[0].acquire(said.user, NodeId("n"), "h", floor=0)
        await site.stores[0].deny(CANARY, EndReason.BLOCKED, 60.0)
        await site.stores[0].count(CANARY, 60.0)
        await site.arrive()
    assert inbox.envelopes == [said]
    keys = await network.keys()
    text = b"\n".join([*seen, *keys])
    assert b"publish" in text.lower()
    assert len({key for key in keys if not key.startswith(TRIAL)}) == 4
    for secret in (CANARY.encode(), b"4711000815", b"Detach"):
        assert secret not in text


async def test_what_was_tampered_with_does_not_arrive(networked: tuple[BusSite, Network]) -> None:
    site, network = networked
    inbox = Received(site)
    await site.buses[1].subscribe(A, inbox)
    sealed = network.sealed(A, envelope(1))
    assert network.nodes[1].seals.open(network.name(A), sealed) is not None
    tampered = [b"", b"\x02k1", encode(envelope(2)), sealed[:-1], sealed + b"\x00"]
    for at in (0, 1, 5, 20, -1):
        flipped = bytearray(sealed)
        flipped[at] ^= 1
        tampered.append(bytes(flipped))
    for data in tampered:
        assert await network.publish(A, data) == 1
    await site.buses[0].publish(A, envelope(1))  # *sealed* may be late: a busy node greets again meanwhile
    await inbox.are(1)
    assert network.nodes[1].seals.dropped.total() == len(tampered)


async def test_what_was_moved_to_another_channel_does_not_arrive(networked: tuple[BusSite, Network]) -> None:
    site, network = networked
    inbox = Received(site)
    await site.buses[1].subscribe(B, inbox)
    await network.publish(B, network.sealed(A, envelope(1)))
    await inbox.are()
    assert network.nodes[1].seals.dropped == {DropReason.FORGED: 1}


async def test_strangers_are_not_received_and_older_keys_are(networked: tuple[BusSite, Network]) -> None:
    site, network = networked
    inbox = Received(site)
    await site.buses[1].subscribe(A, inbox)
    older = BusKeys(KEYS.sealing[::-1], KEYS.pseudonym)
    impostor = BusKeys((("k1", b"x" * 32),), KEYS.pseudonym)
    stranger = BusKeys((("k7", KEYS.sealing[0][1]),), KEYS.pseudonym)
    dropped = network.nodes[1].seals.dropped
    for number, (keys, why) in enumerate(
        [(older, None), (impostor, DropReason.FORGED), (stranger, DropReason.UNKNOWN_KEY)]
    ):
        async with node(network.url, keys) as other:

            async def is_judged(
                bus: RedisBus = other.bus, number: int = number, why: DropReason | None = why
            ) -> bool:
                # again and again: one that waits for the answer to a greeting may be too late on a busy node
                assert await bus.publish(A, envelope(number)) == 1
                return bool(inbox.envelopes) if why is None else dropped[why] >= 2  # a greeting, too

            await connected(other)
            await until(is_judged, f"nothing became of {number}: {dropped}")
    assert set(inbox.envelopes) == {envelope(0)}
    assert set(dropped) >= {DropReason.FORGED, DropReason.UNKNOWN_KEY}
