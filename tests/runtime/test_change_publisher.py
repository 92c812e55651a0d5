"""Owner and followers: which nodes receive an owner's changes, and what is sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn, cast

import pytest
from msgspec.structs import replace

from gateway.core.element import Element, Parts
from gateway.core.follower import RECENT_MAX, Shared, arrived, as_of, delta, is_of_sessions, receive_next
from gateway.core.ledger import Delta, Health, Ledger, Reader, Receipt
from gateway.core.ledger import Update as Held
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.domain.resources import Queue, QueueEntry, QueueFigures
from gateway.protocol.envelopes import (
    Announcement,
    Attach,
    BusChannel,
    Control,
    Envelope,
    Events,
    Inbox,
    Offer,
    Publication,
    Publications,
    PublishedValue,
    Since,
    Value,
)
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.cluster import ROUNDS_MAX, Exchange
from gateway.runtime.handover import ChangePublisher
from gateway.runtime.mirror import Feed
from gateway.runtime.ports import OnPosted
from tests.doubles.clock import ManualClock
from tests.runtime.followed import followed, follower, publication, receive
from tests.runtime.nodes import Nodes, open_nodes
from tests.runtime.scene import user

USER, FAR, OLD = UserId("main", 1), NodeId("far"), NodeId("old")
EPOCH = 7
INTEREST_S = 25.0
NOTICE = NoticeFrame("n", 1, "maintenance", "Tonight", "An update", None, 0, False)


class SlowBus:
    """A bus that takes one message after the other, each when the test says so."""

    def __init__(self) -> None:
        self.taken: list[tuple[BusChannel, Envelope]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.is_slow = True

    async def subscribe(self, channel: BusChannel, receive: Callable[[Envelope], None]) -> None: ...

    async def unsubscribe(self, channel: BusChannel) -> None: ...

    waiting_bytes = 0

    def watch(self, report_loss: Callable[[], None]) -> None: ...

    async def publish(self, channel: BusChannel, envelope: Envelope) -> int:
        raise NotImplementedError

    def post(self, channel: BusChannel, envelope: Envelope, answered: OnPosted) -> bool:
        self.taken.append((channel, envelope))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        down = GatewayError(ErrorCode.BUS_DOWN, "away")
        future.add_done_callback(lambda done: answered(down if done.cancelled() or done.exception() else 1))
        if self.is_slow:
            self.waiting.append(future)
        else:
            future.set_result(None)
        return True

    def flush(self) -> None: ...

    def go_on(self, error: GatewayError | None = None) -> None:
        waiting = self.waiting.pop(0)
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)


class Owned:
    """One user's publisher, with one queue that has 1 waiting, in a lit epoch."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.clock = ManualClock()
        self.bus = SlowBus()
        exchange = Exchange(NodeId("here"), self.bus, self.clock, 0)
        exchange._tasks = tasks
        exchange.bundles.run(is_running=True)
        self.feed = Feed(USER)
        self.publisher = ChangePublisher(self.feed, exchange)
        self.feed.outlet = self.publisher
        self.publisher.run_in(tasks)

    async def begin(self, epoch: int = EPOCH) -> None:
        """Begin an epoch that is in force at once, and known."""
        self.feed.ledger.rebase(epoch)
        self.bus.is_slow = False
        self.publisher.withhold()
        self.publisher.disclose()
        await self.clock.settle()
        self.bus.taken.clear()
        self.bus.is_slow = True

    async def wait_for(self, *counts: int) -> None:
        """Let so many wait, one after the other."""
        for count in counts:
            self.feed.ledger.record("queue:5", Element(Queue(contacts_waiting=count)))
            self.feed.flush()
        await self.clock.settle()

    async def take(self, error: GatewayError | None = None) -> None:
        """Let the bus take the oldest message, or fail, and let all follow."""
        self.bus.go_on(error)
        await self.clock.settle()

    def follow(self, node: NodeId, now: float, *, together: bool) -> None:
        self.publisher.reads(node, together=together)
        self.publisher.interested(node, now)

    def trust_the_bus(self, until: float) -> None:
        """Let probes have come back every second until then."""
        machine = self.publisher._exchange.machine
        for now in range(int(until) + 1):
            machine.returned(machine.probing(float(now)), float(now))

    @property
    def published(self) -> list[Publication]:
        """What was sent about the user, on the user's channel and to the nodes that follow."""
        received: list[Publication] = []
        for _, envelope in self.bus.taken:
            match envelope:
                case Publications():
                    received += envelope.told
                case Publication():
                    received.append(envelope)
        return received


@asynccontextmanager
async def owned() -> AsyncIterator[Owned]:
    async with asyncio.TaskGroup() as tasks:
        made = Owned(tasks)
        await made.begin()
        yield made
        made.bus.is_slow = False
        for waiting in made.bus.waiting:
            waiting.cancel()


PLACES = {"Owned": owned}


async def test_the_next_publication_has_the_changes_that_came_while_others_were_under_way(at: Owned) -> None:
    at.follow(FAR, 0.0, together=True)
    for number in range(1, ROUNDS_MAX + 1):
        await at.wait_for(number)
    assert [(one.after, one.upto) for one in at.published] == [(0, 1), (1, 2), (2, 3)]
    await at.wait_for(4, 5, 6, 7)
    assert len(at.published) == ROUNDS_MAX
    await at.take()
    last = at.published[-1]
    assert (last.after, last.upto) == (ROUNDS_MAX, 7)
    assert [(one.key, one.seq, one.value) for one in last.updates] == [
        ("queue:5", 7, Queue(contacts_waiting=7))
    ]
    for _ in range(ROUNDS_MAX):
        await at.take()
    assert len(at.published) == ROUNDS_MAX + 1, "all is sent"


async def test_what_could_not_be_published_is_a_gap_and_the_next_goes_on(at: Owned) -> None:
    at.follow(FAR, 0.0, together=True)
    await at.wait_for(1)
    await at.wait_for(2)
    await at.take(GatewayError(ErrorCode.BUS_DOWN, "away"))
    assert [(received.after, received.upto) for received in at.published] == [(0, 1), (1, 2)]
    at.bus.go_on()


async def test_who_has_not_asked_for_long_is_silent_and_is_reported_once(at: Owned) -> None:
    at.follow(FAR, 0.0, together=True)
    at.publisher.interested(NodeId("near"), 10.0)
    at.trust_the_bus(40.0)
    assert at.publisher.silent(INTEREST_S) == []
    assert at.publisher.silent(INTEREST_S + 0.1) == [FAR]
    assert at.publisher.silent(INTEREST_S + 0.1) == []
    await at.wait_for(1)
    assert len(at.published) == 1, "the other still reads"
    await at.take()
    at.publisher.silent(10.0 + INTEREST_S + 0.1)
    await at.wait_for(2)
    assert len(at.published) == 1


async def test_nobody_is_silent_for_want_of_a_bus(at: Owned) -> None:
    at.follow(FAR, 0.0, together=True)
    at.trust_the_bus(20.0)
    assert at.publisher.silent(INTEREST_S + 10.0) == []
    assert at.publisher.silent(10_000.0) == []


async def test_data_that_grows_old_is_reported_though_nothing_changed(at: Owned) -> None:
    at.follow(FAR, 0.0, together=True)
    await at.wait_for(1)
    await at.take()
    received_ms = at.clock.wall_ms()
    at.feed.set_health(Health("stale", "live", at.clock.now()))
    await at.clock.settle()
    assert [(received.upto, received.upstream, received.as_of_ms) for received in at.published] == [
        (1, "down", None),
        (1, "stale", received_ms),
    ]
    await at.take()
    at.feed.set_health(Health("stale", "live", at.clock.now()))
    await at.clock.settle()
    assert len(at.published) == 2


async def test_nothing_of_a_new_epoch_is_read_before_everything_is_there(at: Owned) -> None:
    at.follow(FAR, 0.0, together=True)
    await at.wait_for(1)
    await at.take()
    at.feed.ledger.health = Health("live", "live", 9.0)
    at.feed.ledger.rebase(EPOCH + 1)
    at.publisher.withhold()
    await at.clock.settle()
    at.bus.go_on()
    await at.wait_for(2, 3)
    begun = at.published[-1]
    assert (begun.epoch, begun.after, begun.upto, begun.updates) == (EPOCH + 1, 0, 0, ())
    assert begun.upstream == "stale"
    received = at.publisher.answer(Since(USER, EPOCH, 1), {})
    assert (received.epoch, received.upto, received.updates, received.upstream) == (EPOCH + 1, 0, (), "stale")
    at.publisher.disclose()
    await at.clock.settle()
    lit = at.published[-1]
    assert len(at.published) == 3
    assert (lit.epoch, lit.after, lit.upto, lit.upstream) == (EPOCH + 1, 3, 3, "live")
    at.bus.go_on()
    received = at.publisher.answer(Since(USER, EPOCH, 1), {})
    assert (received.reset, received.upto, len(received.updates)) == (True, 3, 1)


async def test_a_notice_is_sent_to_who_follows_and_to_nobody_else(at: Owned) -> None:
    at.publisher.announce(NOTICE)
    await at.clock.settle()
    assert not at.bus.taken
    at.follow(FAR, 0.0, together=True)
    at.publisher.announce(NOTICE)
    await at.clock.settle()
    assert at.bus.taken == [(Events(USER), Announcement(USER, NOTICE))]
    assert Control() not in [channel for channel, _ in at.bus.taken]


async def test_who_reads_nothing_but_the_users_channel_is_served_there_as_are_all_others(at: Owned) -> None:
    at.bus.is_slow = False
    at.follow(FAR, 0.0, together=True)
    await at.wait_for(1)
    at.publisher.interested(OLD, 1.0)
    await at.wait_for(2)
    at.follow(OLD, 2.0, together=False)
    await at.wait_for(3)
    at.follow(OLD, 3.0, together=True)
    at.publisher.interested(OLD, 4.0)
    await at.wait_for(4)
    at.follow(OLD, 5.0, together=False)
    at.trust_the_bus(40.0)
    at.publisher.interested(FAR, 30.0)
    assert at.publisher.silent(5.0 + INTEREST_S + 0.1) == [OLD]
    await at.wait_for(5)
    own, far, old = Events(USER), Inbox(FAR), Inbox(OLD)
    assert [channel for channel, _ in at.bus.taken] == [far, own, own, far, old, far]
    assert [received.upto for received in at.published] == [1, 2, 3, 4, 4, 5]


async def test_while_nobody_follows_changes_cost_nothing(at: Owned) -> None:
    ledger = at.feed.ledger
    outlets = [ledger.outlet]
    at.publisher.interested(FAR, 0.0)
    outlets.append(ledger.outlet)
    at.trust_the_bus(40.0)
    at.publisher.silent(INTEREST_S + 0.1)
    outlets.append(ledger.outlet)
    at.publisher.interested(FAR, 40.0)
    at.publisher.run_in(None)
    outlets.append(ledger.outlet)
    assert outlets == [None, at.publisher, None, None]


@pytest.mark.parametrize("is_answer", [False, True], ids=["changes", "answers"])
async def test_users_with_the_same_element_have_one_value_in_a_message(at: Owned, is_answer: bool) -> None:
    at.bus.is_slow = False
    other = Feed(UserId("main", 2))
    other.outlet = ChangePublisher(other, at.publisher._exchange)
    other.outlet.run_in(at.publisher._exchange._tasks)
    owners = {at.feed: at.publisher, other: other.outlet}
    composed = Element(None, Parts(QueueEntry(name="Billing"), QueueFigures(contacts_waiting=3), None, None))
    other.ledger.rebase(EPOCH)
    for feed, publisher in owners.items():
        publisher.disclose()
        publisher.reads(FAR, together=True)
        publisher.interested(FAR, 0.0)
        feed.ledger.record("queue:5", composed)
        feed.flush()
    await at.clock.settle()
    sent = at.published[-2:]
    if is_answer:
        made: dict[Element, Value] = {}
        sent = [publisher.answer(Since(feed.user, EPOCH, 0), made) for feed, publisher in owners.items()]
    assert [one.user for one in sent] == [USER, other.user]
    first, second = (one.updates[0].value for one in sent)
    assert first is second == composed.value


def element(number: int) -> Element:
    return Element(Queue(contacts_waiting=number))


def values(ledger: Ledger) -> dict[str, object]:
    return {key: one.value for key, one in ledger.items()}


# ---- publications in a follower's ledger ----


KEY = "queue:1"


def received(*updates: PublishedValue, reset: bool = False, user: int = 1) -> Publication:
    return Publication(UserId("main", user), 1, 0, 9, reset, updates, "live", None)


def holding(value: Queue) -> Ledger:
    ledger = Ledger(1)
    ledger.receive(Delta(1, 0, 1, reset=False, updates=(Held(KEY, 1, Element(value)),)))
    return ledger


def test_a_value_that_users_share_is_one_element() -> None:
    value, made = Queue(contacts_waiting=1), Shared()
    ledgers = [Ledger(), holding(Queue(contacts_waiting=0)), holding(Queue(contacts_waiting=2))]
    found = {
        delta(received(PublishedValue(KEY, 3, value)), ledger, made).updates[0].element for ledger in ledgers
    }
    assert len(found) == 1


@pytest.mark.parametrize("made_before", [False, True])
def test_what_is_held_already_stays_the_same_element(*, made_before: bool) -> None:
    value, made = Queue(contacts_waiting=1), Shared()
    ledger = holding(Queue(contacts_waiting=1))
    if made_before:
        delta(received(PublishedValue(KEY, 3, value)), Ledger(), made)
    assert delta(received(PublishedValue(KEY, 3, value)), ledger, made).updates[0].element is ledger.get(KEY)


def test_an_equal_value_of_a_later_message_is_the_same_element_unless_one_session_alone_has_it() -> None:
    recent: dict[str, Element] = {}

    def taken(waiting: int, key: str = KEY) -> Element | None:
        publication = received(PublishedValue(key, 3, Queue(contacts_waiting=waiting)))
        return delta(publication, holding(Queue(contacts_waiting=0)), Shared(recent)).updates[0].element

    first = taken(1)
    assert taken(1) is first
    assert taken(1, "queue:2") is not first
    assert taken(2) is not first
    assert taken(1) is not first
    for number in range(3, 2 * RECENT_MAX):
        taken(1, f"queue:{number}")
    assert len(recent) == RECENT_MAX
    recent = {}
    one = received(*(PublishedValue(key, 3, Queue()) for key in ("me:0f", "session:0f")), reset=True)
    ledger = Ledger()
    assert ledger.receive(delta(one, ledger, Shared(recent))) is Receipt.APPLIED
    assert ledger.get("me:0f") is not None
    assert recent == {}


NEXT = Publication(
    UserId("main", 1), 1, 1, 2, False, (PublishedValue(KEY, 2, Queue()),), "live", 1_000, age_ms=300
)


@pytest.mark.parametrize(
    ("publication", "is_applied"),
    [
        (NEXT, True),
        (replace(NEXT, after=0), True),
        (replace(NEXT, updates=(PublishedValue(KEY, 2, Queue(contacts_waiting=1)),)), True),
        (replace(NEXT, updates=(PublishedValue("queue:2", 2, Queue()),)), True),
        (replace(NEXT, upto=3, updates=(*NEXT.updates, PublishedValue("queue:2", 3, Queue()))), True),
        (replace(NEXT, upto=3, updates=(*NEXT.updates, PublishedValue("queue:2", 3, None))), False),
        (replace(NEXT, upto=3, updates=(*NEXT.updates, PublishedValue("me:0f", 3, Queue()))), False),
        (replace(NEXT, after=2, upto=3), False),
        (replace(NEXT, upto=1), False),
        (replace(NEXT, epoch=2), False),
        (replace(NEXT, reset=True), False),
        (replace(NEXT, as_of_ms=None), False),
        (replace(NEXT, updates=()), False),
        (replace(NEXT, updates=(PublishedValue(KEY, 2, None),)), False),
        (replace(NEXT, updates=(PublishedValue("me:0f", 2, Queue()),)), False),
    ],
)
def test_the_next_change_is_applied_as_publications_are(
    publication: Publication, *, is_applied: bool
) -> None:
    quick, plain = (holding(Queue(contacts_waiting=1)) for _ in range(2))
    assert (receive_next(publication, quick, Shared(), 50.0, 1_500) is not None) is is_applied
    if is_applied:
        arrived(publication, plain, 50.0, 1_500)
        assert plain.receive(delta(publication, plain, Shared())) is Receipt.APPLIED
    found = [
        (one.position, one.shared_seq, values(one), one.came_at, one.under_way_s, one.clock_ms, one.has_news)
        for one in (quick, plain)
    ]
    assert found[0] == found[1]


def test_a_fault_amid_the_next_changes_leaves_a_gap_and_not_old_values() -> None:
    class Faulty:
        def mark(self, key: str, before: Element | None) -> NoReturn:
            raise ArithmeticError

    ledger = holding(Queue(contacts_waiting=1))
    ledger.readers[cast("Reader", Faulty())] = None
    second = PublishedValue("queue:2", 3, Queue(contacts_waiting=2))
    with pytest.raises(ArithmeticError):
        receive_next(replace(NEXT, upto=3, updates=(*NEXT.updates, second)), ledger, Shared(), 50.0, 1_500)
    later = replace(NEXT, after=3, upto=4, updates=(PublishedValue(KEY, 4, Queue()),))
    assert ledger.receive(delta(later, ledger, Shared())) is Receipt.GAP


@pytest.mark.parametrize(
    ("publication", "is_reported"),
    [
        (received(PublishedValue(KEY, 1, None)), False),
        (received(PublishedValue(KEY, 1, None), PublishedValue("session:0f", 2, None)), True),
        (received(reset=True), True),
        (received(), False),
    ],
)
def test_what_may_be_of_sessions(publication: Publication, *, is_reported: bool) -> None:
    assert is_of_sessions(publication) is is_reported


@pytest.mark.parametrize(
    ("ahead_s", "age_ms", "is_given_in_s"),
    [
        (0.0, 300, 0.5),
        (30.0, 300, 0.3),
        (-30.0, 300, 0.3),
        (-46_800.0, 0, 0.0),
        (0.0, None, 0.5),
        (30.0, None, 0.0),
    ],
)
def test_an_age_is_reported_whatever_the_clock_of_the_sender_says(
    ahead_s: float, age_ms: int | None, is_given_in_s: float
) -> None:
    """It was 0.3 s old when it was sent, and 0.2 s under way."""
    here_ms = 1_700_000_000_000
    there_ms = here_ms + round(ahead_s * 1000) - 200
    publication = Publication(UserId("main", 1), 1, 0, 9, False, (), "live", there_ms - 300, age_ms=age_ms)
    assert as_of(publication, 50.0, here_ms) == pytest.approx(50.0 - is_given_in_s)


@pytest.mark.parametrize(("ahead_s", "is_given_in_s"), [(0.0, 20.5), (3_600.0, 30.3), (-3_600.0, 30.3)])
def test_what_waited_while_this_process_stood_still_is_dated_by_what_is_known(
    ahead_s: float, is_given_in_s: float
) -> None:
    """It was 0.3 s old when it was sent, and waited 20.2 s of the 30 s in which nothing was read here."""
    here_ms = 1_700_000_000_000
    there_ms = here_ms + round(ahead_s * 1000) - 20_200
    publication = Publication(UserId("main", 1), 1, 0, 9, False, (), "live", there_ms - 300, age_ms=300)
    assert as_of(publication, 50.0, here_ms, 30.0) == pytest.approx(50.0 - is_given_in_s)
    ledger = Ledger()
    arrived(publication, ledger, 50.0, here_ms, 30.0)
    assert ledger.clock_ms == -math.inf, "nothing is known of its clock"


@pytest.mark.parametrize(
    ("ahead_ms", "noted_ms"), [(0, 0), (500, 0), (-200, 0), (30_000, 30_000), (-30_000, -30_000)]
)
@pytest.mark.parametrize("reset", [False, True])
def test_an_owners_clock_that_is_a_second_off_is_noted(ahead_ms: int, noted_ms: int, *, reset: bool) -> None:
    ledger, sent_ms = Ledger(), 1_700_000_000_000
    publication = replace(received(reset=reset), as_of_ms=sent_ms + ahead_ms - 4_000, age_ms=4_000)
    arrived(publication, ledger, 1.0, sent_ms)
    assert ledger.dated_ms(1.0, 0) == sent_ms + noted_ms
    late = replace(publication, age_ms=4_700)
    arrived(late, ledger, 2.0, sent_ms + 1_400)
    assert ledger.dated_ms(1.0, 0) == sent_ms + noted_ms, (
        "what phones take for the time does not jump with each message"
    )
    arrived(replace(publication, as_of_ms=sent_ms - 2_000), ledger, 3.0, sent_ms + 2_000)
    assert ledger.dated_ms(3.0, 0) == sent_ms + 2_000, "the clock was set"


@pytest.mark.parametrize("by_ms", [3_600_000, -3_600_000])
def test_this_nodes_clock_that_is_set_does_not_change_the_clock_of_anothers_values(by_ms: int) -> None:
    ledger, sent_ms = Ledger(), 1_700_000_000_000
    publication = replace(received(), as_of_ms=sent_ms - 4_000, age_ms=4_000)
    arrived(publication, ledger, 1.0, sent_ms)
    assert ledger.dated_ms(1.5, sent_ms + by_ms) == sent_ms + 500, "before the next one"
    arrived(replace(publication, as_of_ms=sent_ms - 3_000), ledger, 2.0, sent_ms + 1_000 + by_ms)
    assert ledger.dated_ms(2.0, sent_ms + 1_000 + by_ms) == sent_ms + 1_000


# ---- another owner begins ----


async def test_every_session_is_attached_again_when_another_owner_begins() -> None:
    async with open_nodes(3) as at:
        phones = [await at.served(node, device=f"device {node}") for node in range(3)]
        await at.pass_time(1)
        at.said.clear()
        await at.drain(0, settled_s=5)
        (owner,) = at.owners()
        assert at.counted("resyncs_total", reason="epoch")[3 - owner] == 1
        attached = {(received.node, received.ticket.handle) for received in at.received(Attach)}
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


async def test_what_an_earlier_owner_says_is_dropped_until_the_lease_shows_that_it_is_right(
    at: Nodes,
) -> None:
    _, far = await followed(at)
    before = far.shown
    receive(at, publication(at, follower(at).machine.floor - 1, 99))
    await at.pass_time(1)
    assert far.shown == before
    assert at.counted("stale_epoch_dropped_total") == [0, 1]
    receive(at, publication(at, 2**62, 50))
    await at.pass_time(4)
    assert follower(at).machine.floor == 2**62
    at.upstream.set_waiting(6)
    await at.pass_time(0.5)
    assert far.waiting == 50
    await at.pass_time(1)
    assert follower(at).machine.floor == at.openings[0].token
    assert far.waiting == 6
    assert far.health == "live"


async def test_nothing_of_the_epoch_before_is_called_live_because_the_new_owner_is(at: Nodes) -> None:
    _, far = await followed(at)
    incoming = follower(at)
    receive(
        at, replace(publication(at, incoming.machine.floor + 5, 3), after=9, upto=9, reset=False, updates=())
    )
    assert incoming.feed.ledger.health.upstream == "stale"
    assert far.waiting == 3


async def test_offers_that_nobody_wished_for_are_not_taken(at: Nodes) -> None:
    _, far = await followed(at)
    owner = at.scenes[0].owner()
    history = await owner.execution.give(0.0)
    owner.execution.resume()
    follows = follower(at)
    await at.pass_time(12)
    wish, node = follows._takeover._number, at.scenes[0].node.exchange.node
    assert wish > 0
    for adopt, token in ((wish, owner.epoch - 1), (wish - 1, owner.epoch), (0, owner.epoch)):
        receive(at, Offer(user(1), node, adopt, token, history))
        await at.clock.settle()
        assert at.home(1).role is follows
    far.bye()
    receive(at, Offer(user(1), node, wish, owner.epoch, history))
    await at.clock.settle()
    assert at.home(1).role is follows, "nobody is there for whom to take him"
    assert len(at.openings) == 1


async def test_after_its_end_nothing_is_published(at: Owned) -> None:
    at.follow(FAR, 0.0, together=True)
    at.publisher.run_in(None)
    await at.wait_for(1)
    at.publisher.withhold()
    await at.clock.settle()
    assert not at.published
