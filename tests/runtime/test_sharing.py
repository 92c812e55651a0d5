"""Who else reads what the owner of a user writes, and what are they sent?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.core.element import Element
from gateway.core.ledger import Health, Ledger, Receipt
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.domain.resources import Queue
from gateway.protocol.envelopes import (
    Announcement,
    Channel,
    Control,
    Envelope,
    Events,
    Inbox,
    Publication,
    Publications,
    Since,
)
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.cluster import Exchange
from gateway.runtime.follower import delta
from gateway.runtime.mirror import Feed
from gateway.runtime.sharing import Sharing
from tests.doubles.clock import ManualClock

USER, FAR, OLD = UserId("main", 1), NodeId("far"), NodeId("old")
EPOCH = 7
INTEREST_S = 25.0
NOTICE = NoticeFrame("n", 1, "maintenance", "Tonight", "An update", None, 0, False)


class SlowBus:
    """A bus that takes one message after the other, each when the test says so."""

    def __init__(self) -> None:
        self.taken: list[tuple[Channel, Envelope]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.is_slow = True

    async def subscribe(self, channel: Channel, receive: Callable[[Envelope], None]) -> None: ...

    async def unsubscribe(self, channel: Channel) -> None: ...

    def watch(self, doubted: Callable[[], None]) -> None: ...

    async def publish(self, channel: Channel, envelope: Envelope) -> int:
        self.taken.append((channel, envelope))
        if self.is_slow:
            self.waiting.append(asyncio.get_running_loop().create_future())
            await self.waiting[-1]
        return 1

    def go_on(self, error: GatewayError | None = None) -> None:
        (waiting,) = self.waiting
        self.waiting.clear()
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)


class Owned:
    """One user's sharing, with one queue that has 1 waiting, in a lit epoch."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.clock = ManualClock()
        self.bus = SlowBus()
        exchange = Exchange(NodeId("here"), self.bus, self.clock, 0)
        exchange._tasks = tasks
        exchange.bundles.run_in(tasks)
        self.feed = Feed(USER)
        self.sharing = Sharing(self.feed, exchange)
        self.feed.outlet = self.sharing
        self.sharing.run_in(tasks)

    async def begin(self, epoch: int = EPOCH) -> None:
        """Begin an epoch that is lit at once, and heard of."""
        self.feed.ledger.rebase(epoch)
        self.bus.is_slow = False
        self.sharing.darken()
        self.sharing.light()
        await self.clock.settle()
        self.bus.taken.clear()
        self.bus.is_slow = True

    async def wait_for(self, *counts: int) -> None:
        """Let so many wait, one after the other."""
        for count in counts:
            self.feed.ledger.record("queue:5", Element(Queue(contacts_waiting=count)))
            self.feed.flush()
        await self.clock.settle()

    def follow(self, node: NodeId, now: float, *, together: bool) -> None:
        self.sharing.reads(node, together=together)
        self.sharing.interested(node, now)

    def trust_the_bus(self, until: float) -> None:
        """Let probes have come back every second until then."""
        machine = self.sharing._exchange.machine
        for now in range(int(until) + 1):
            machine.returned(machine.probing(float(now)), float(now))

    @property
    def published(self) -> list[Publication]:
        """What was told of the user, on his own channel and to the nodes that follow him."""
        told: list[Publication] = []
        for _, envelope in self.bus.taken:
            match envelope:
                case Publications():
                    told += envelope.told
                case Publication():
                    told.append(envelope)
        return told


@asynccontextmanager
async def owned() -> AsyncIterator[Owned]:
    async with asyncio.TaskGroup() as tasks:
        made = Owned(tasks)
        await made.begin()
        yield made
        made.bus.is_slow = False
        for waiting in made.bus.waiting:
            waiting.cancel()


async def test_one_publication_is_under_way_and_the_next_tells_what_changed_meanwhile() -> None:
    async with owned() as at:
        at.follow(FAR, 0.0, together=True)
        await at.wait_for(1)
        await at.wait_for(2, 3, 4, 5)
        assert len(at.published) == 1
        at.bus.go_on()
        await at.clock.settle()
        first, second = at.published
        assert (first.after, first.upto, second.after, second.upto) == (0, 1, 1, 5)
        assert [(one.key, one.seq, one.value) for one in second.updates] == [
            ("queue:5", 5, Queue(contacts_waiting=5))
        ]
        at.bus.go_on()
        await at.clock.settle()
        assert len(at.published) == 2, "all is told"


async def test_what_could_not_be_published_is_a_gap_and_the_next_goes_on() -> None:
    async with owned() as at:
        at.follow(FAR, 0.0, together=True)
        await at.wait_for(1)
        await at.wait_for(2)
        at.bus.go_on(GatewayError(ErrorCode.BUS_DOWN, "away"))
        await at.clock.settle()
        assert [(told.after, told.upto) for told in at.published] == [(0, 1), (1, 2)]
        at.bus.go_on()


async def test_who_has_not_asked_for_long_is_silent_and_is_told_once() -> None:
    async with owned() as at:
        at.follow(FAR, 0.0, together=True)
        at.sharing.interested(NodeId("near"), 10.0)
        at.trust_the_bus(40.0)
        assert at.sharing.silent(INTEREST_S) == []
        assert at.sharing.silent(INTEREST_S + 0.1) == [FAR]
        assert at.sharing.silent(INTEREST_S + 0.1) == []
        await at.wait_for(1)
        assert len(at.published) == 1, "the other still reads"
        at.bus.go_on()
        await at.clock.settle()
        at.sharing.silent(10.0 + INTEREST_S + 0.1)
        await at.wait_for(2)
        assert len(at.published) == 1


async def test_nobody_is_silent_for_want_of_a_bus() -> None:
    async with owned() as at:
        at.follow(FAR, 0.0, together=True)
        at.trust_the_bus(20.0)
        assert at.sharing.silent(INTEREST_S + 10.0) == []
        assert at.sharing.silent(10_000.0) == []


async def test_data_that_grows_old_is_told_though_nothing_changed() -> None:
    async with owned() as at:
        at.follow(FAR, 0.0, together=True)
        await at.wait_for(1)
        at.bus.go_on()
        await at.clock.settle()
        heard_ms = at.clock.wall_ms()
        at.feed.say(Health("stale", "live", at.clock.now()))
        await at.clock.settle()
        assert [(told.upto, told.upstream, told.as_of_ms) for told in at.published] == [
            (1, "down", None),
            (1, "stale", heard_ms),
        ]
        at.bus.go_on()
        await at.clock.settle()
        at.feed.say(Health("stale", "live", at.clock.now()))
        await at.clock.settle()
        assert len(at.published) == 2


async def test_nothing_of_a_new_epoch_is_read_before_everything_is_there() -> None:
    async with owned() as at:
        at.follow(FAR, 0.0, together=True)
        await at.wait_for(1)
        at.bus.go_on()
        await at.clock.settle()
        at.feed.ledger.health = Health("live", "live", 9.0)
        at.feed.ledger.rebase(EPOCH + 1)
        at.sharing.darken()
        await at.clock.settle()
        at.bus.go_on()
        await at.wait_for(2, 3)
        begun = at.published[-1]
        assert (begun.epoch, begun.after, begun.upto, begun.updates) == (EPOCH + 1, 0, 0, ())
        assert begun.upstream == "stale"
        told = at.sharing.answer(Since(USER, EPOCH, 1))
        assert (told.epoch, told.upto, told.updates, told.upstream) == (EPOCH + 1, 0, (), "stale")
        at.sharing.light()
        await at.clock.settle()
        lit = at.published[-1]
        assert len(at.published) == 3
        assert (lit.epoch, lit.after, lit.upto, lit.upstream) == (EPOCH + 1, 3, 3, "live")
        at.bus.go_on()
        told = at.sharing.answer(Since(USER, EPOCH, 1))
        assert (told.reset, told.upto, len(told.updates)) == (True, 3, 1)


async def test_a_notice_is_sent_to_who_follows_and_to_nobody_else() -> None:
    async with owned() as at:
        at.sharing.announce(NOTICE)
        await at.clock.settle()
        assert not at.bus.taken
        at.follow(FAR, 0.0, together=True)
        at.sharing.announce(NOTICE)
        await at.clock.settle()
        assert at.bus.taken == [(Events(USER), Announcement(USER, NOTICE))]
        assert Control() not in [channel for channel, _ in at.bus.taken]


async def test_after_its_end_nothing_is_published() -> None:
    async with owned() as at:
        at.follow(FAR, 0.0, together=True)
        at.sharing.run_in(None)
        await at.wait_for(1)
        at.sharing.darken()
        await at.clock.settle()
        assert not at.published


async def test_who_reads_nothing_but_the_users_channel_is_told_there_as_are_all_others() -> None:
    async with owned() as at:
        at.bus.is_slow = False
        at.follow(FAR, 0.0, together=True)
        await at.wait_for(1)
        at.sharing.interested(OLD, 1.0)
        await at.wait_for(2)
        at.follow(OLD, 2.0, together=False)
        await at.wait_for(3)
        at.follow(OLD, 3.0, together=True)
        at.sharing.interested(OLD, 4.0)
        await at.wait_for(4)
        at.follow(OLD, 5.0, together=False)
        at.trust_the_bus(40.0)
        at.sharing.interested(FAR, 30.0)
        assert at.sharing.silent(5.0 + INTEREST_S + 0.1) == [OLD]
        await at.wait_for(5)
        own, far, old = Events(USER), Inbox(FAR), Inbox(OLD)
        assert [channel for channel, _ in at.bus.taken] == [far, own, own, far, old, far]
        assert [told.upto for told in at.published] == [1, 2, 3, 4, 4, 5]


async def test_while_nobody_follows_changes_cost_nothing() -> None:
    async with owned() as at:
        assert not at.feed.ledger.readers
        at.sharing.interested(FAR, 0.0)
        assert list(at.feed.ledger.readers) == [at.sharing]
        at.trust_the_bus(40.0)
        at.sharing.silent(INTEREST_S + 0.1)
        assert not at.feed.ledger.readers
        at.sharing.interested(FAR, 40.0)
        at.sharing.run_in(None)
        assert not at.feed.ledger.readers


async def test_a_follower_equals_the_owner_whatever_changes_in_whichever_turns() -> None:
    async with owned() as at:
        at.bus.is_slow = False
        replica = Ledger()
        taken = [at.sharing.answer(Since(USER, 0, 0))]
        at.follow(FAR, 0.0, together=True)
        for number in range(30):
            at.feed.ledger.record(f"queue:{number % 4}", None if number % 7 == 3 else element(number))
            at.feed.flush()
            if number % 3 == 0:
                await at.clock.settle()
        await at.clock.settle()
        for one in [*taken, *at.published]:
            assert replica.receive(delta(one, replica, {})) is Receipt.APPLIED
        assert replica.position == at.feed.ledger.position
        assert values(replica) == values(at.feed.ledger)


def element(number: int) -> Element:
    return Element(Queue(contacts_waiting=number))


def values(ledger: Ledger) -> dict[str, object]:
    return {key: one.value for key, one in ledger.items()}
