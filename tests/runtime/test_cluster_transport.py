"""Messages between nodes: sending, receiving, bounds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

import pytest

from gateway.core.element import Element
from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.domain.resources import Queue
from gateway.protocol.envelopes import (
    Asked,
    Attach,
    AttachAnswer,
    BusChannel,
    CallAnswer,
    Control,
    Detach,
    Envelope,
    Events,
    Inbox,
    Leaving,
    Probe,
    Publication,
    Publications,
    PublishedValue,
    Since,
    Value,
)
from gateway.runtime.cluster import (
    ASKS_MAX,
    REPEATED_AFTER_S,
    ROUNDS_MAX,
    UNDER_WAY_BYTES_MAX,
    UNDER_WAY_MAX,
    UPDATES_MAX,
    Bundles,
    Exchange,
    NotDeliveredError,
    Share,
)
from gateway.runtime.ports import NotSentError, OnPosted
from tests.doubles.clock import ManualClock
from tests.doubles.lossy_bus import LossyBus, Trouble
from tests.doubles.tasks import during
from tests.runtime.followed import followed
from tests.runtime.nodes import Nodes
from tests.runtime.pair import FIRST, HERE, THERE, Asker, Pair, attach, pair, since


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what exchanges have logged: flood control, once configured, has lines of its own."""
    return [record.getMessage() for record in caplog.records if record.name == "gateway.runtime.cluster"]


# ---- questions ----


async def test_a_question_finds_its_answer_whatever_comes_before(at: Pair) -> None:
    asking = at.ask()
    other = at.ask()
    await at.clock.settle()
    first, second = (one for one in at.inbox if isinstance(one, Attach))
    assert (first.request, second.request) == (FIRST + 1, FIRST + 2)
    await at.say(AttachAnswer(second.request))
    await at.say(AttachAnswer(second.request, moved=True))
    await at.say(CallAnswer(9_999, None))
    await at.say(AttachAnswer(first.request, moved=True))
    assert await asking == AttachAnswer(first.request, moved=True)
    assert await other == AttachAnswer(second.request), "the first answer counts"
    assert at.exchange.sizes["questions"] == 0


async def test_a_question_that_nobody_received_ends_at_once() -> None:
    async with pair(listens=False) as at:
        asking = at.ask()
        await at.clock.settle()
        assert isinstance(await asking, NotDeliveredError)
        assert at.exchange.sizes["questions"] == 0


async def test_a_question_ends_in_time_without_an_answer_and_at_once_without_the_bus(at: Pair) -> None:
    asking = at.ask()
    await at.clock.advance(3.9)
    assert not asking.done()
    await at.clock.advance(0.1)
    assert isinstance(await asking, TimeoutError)
    assert at.exchange.sizes["questions"] == 0
    at.trouble.take_away()
    error = await at.ask()
    assert isinstance(error, GatewayError)
    assert error.code is ErrorCode.BUS_DOWN
    assert at.exchange.sizes["questions"] == 0


async def test_an_answer_that_came_while_the_process_stood_still_is_read_before_the_request_ends(
    at: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn of the loop in which a timer is due only receives the bytes; the next one reads them."""
    later = at.clock.call_later

    def call_later(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
        def due() -> None:
            asked = at.inbox[-1]
            assert isinstance(asked, Attach)
            answers.append(loop.create_task(at.there.publish(Inbox(HERE), AttachAnswer(asked.request))))
            act()

        return later(seconds, due)

    loop, answers = asyncio.get_running_loop(), list[asyncio.Task[int]]()
    monkeypatch.setattr(at.clock, "call_later", call_later)
    asking = at.ask()
    await at.clock.settle()
    at.clock.stand_still(6.0)
    await at.clock.advance(0.0)
    assert len(answers) == 1
    assert isinstance(await asking, AttachAnswer)
    assert at.exchange.sizes["questions"] == 0


async def test_a_request_needs_no_task_and_ends_once(at: Pair) -> None:
    posted: list[OnPosted] = []

    def post(channel: BusChannel, envelope: Envelope, answered: OnPosted) -> bool:
        assert channel == Inbox(THERE)
        at.inbox.append(envelope)
        posted.append(answered)
        return True

    at.bus.post = post  # type: ignore[method-assign]  # as a bus with a connection
    running, answers = asyncio.all_tasks(), [list[object]() for _ in range(6)]
    for each in answers[:5]:
        at.exchange.request(THERE, attach, 2.0, each.append)
    withdraw = at.exchange.request(THERE, attach, 2.0, answers[5].append)
    assert asyncio.all_tasks() == running
    down, unsent = GatewayError(ErrorCode.BUS_DOWN, "slow"), NotSentError("away")
    results: list[int | GatewayError] = [1, 0, down, unsent, 1, 1]
    for answered, receivers in zip(posted, results, strict=True):
        answered(receivers)
    withdraw()
    await at.say(AttachAnswer(FIRST + 1))
    assert [len(each) for each in answers] == [1, 1, 0, 1, 0, 0]
    await at.clock.advance(2.0)
    await at.say(AttachAnswer(FIRST + 5))
    assert [len(each) for each in answers] == [1, 1, 1, 1, 1, 0]
    assert answers[0] == [AttachAnswer(FIRST + 1)]
    assert isinstance(answers[1][0], NotDeliveredError)
    assert answers[2:4] == [[down], [unsent]]
    assert isinstance(answers[4][0], TimeoutError)
    assert at.exchange.sizes["questions"] == at.exchange.under_way == 0


async def test_a_request_ends_in_its_time_and_with_its_node(at: Pair) -> None:
    ends: list[list[object]] = [[], [], []]
    for within_s, end in zip((9.0, 1.0, 4.0), ends, strict=True):
        at.exchange.request(THERE, attach, within_s, end.append)
    for seconds, ended in ((0.9, [0, 0, 0]), (0.1, [0, 1, 0]), (3.0, [0, 1, 1]), (5.0, [1, 1, 1])):
        await at.clock.advance(seconds)
        assert list(map(len, ends)) == ended
    answers: list[object] = []
    at.exchange.request(THERE, attach, 9.0, answers.append)
    at.running.cancel()
    await at.clock.settle()
    at.exchange.request(THERE, attach, 9.0, answers.append)
    assert [type(each) for each in answers] == [GatewayError, NotSentError]


async def test_a_fault_of_who_gets_no_answer_ends_no_other_request(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> NoReturn:
        raise RuntimeError("fault")

    async with pair() as at:
        answers: list[object] = []
        at.exchange.request(THERE, attach, 1.0, fail)
        at.exchange.request(THERE, attach, 1.0, answers.append)
        at.exchange.request(THERE, attach, 2.0, answers.append)
        await at.clock.advance(2.0)
        assert [type(each) for each in answers] == [TimeoutError] * 2
        assert not at.running.done()
        assert said(caplog) == ["answer_failed"]


# ---- what is sent ----


async def test_messages_leave_in_their_order_and_what_cannot_be_sent_is_lost(at: Pair) -> None:
    for number in range(20):
        at.exchange.send(Inbox(THERE), Detach(UserId("main", number), "s", HERE))
    await at.clock.settle()
    assert [one.user.key for one in at.inbox if isinstance(one, Detach)] == list(range(20))
    at.trouble.take_away()
    at.exchange.send(Inbox(THERE), Leaving(HERE))
    await at.clock.settle()
    at.trouble.give_back()
    await at.clock.advance(1)
    assert Leaving(HERE) not in at.inbox
    assert at.exchange.under_way == 0


@pytest.mark.parametrize("posts", [lambda n: n % 2, lambda n: n not in {3, 4}, lambda _: True])
async def test_what_the_bus_does_not_take_is_not_overtaken(at: Pair, posts: Callable[[int], bool]) -> None:
    calls, answers = iter(range(100)), list[int | GatewayError]()
    bus = at.bus

    def post(channel: BusChannel, envelope: Envelope, answered: OnPosted) -> bool:
        if not posts(next(calls)):
            return False
        at.inbox.append(envelope)
        answered(1)
        return True

    bus.post = post  # type: ignore[method-assign]  # as a bus that encodes a large message
    for number in range(10):
        at.exchange.post(Inbox(THERE), Detach(UserId("main", number), "s", HERE), answers.append)
    assert at.exchange.under_way == 0
    await at.clock.settle()
    at.exchange.post(Inbox(THERE), Detach(UserId("main", 10), "s", HERE), answers.append)
    await at.clock.settle()
    assert [one.user.key for one in at.inbox if isinstance(one, Detach)] == list(range(11))
    assert answers == 11 * [1]


async def test_what_cannot_be_written_is_lost_and_keeps_nothing_else_from_leaving(
    at: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish = at.bus.publish

    async def refuse(channel: BusChannel, envelope: Envelope) -> int:
        if isinstance(envelope, Leaving | Attach):
            raise OverflowError("a value that must not be logged")
        return await publish(channel, envelope)

    monkeypatch.setattr(at.bus, "publish", refuse)
    at.exchange.send(Inbox(THERE), Leaving(HERE))
    question = at.ask()
    at.exchange.send(Inbox(THERE), Detach(UserId("main", 1), "s", HERE))
    await at.clock.settle()
    assert [type(one) for one in at.inbox] == [Detach]
    refused = await question
    assert isinstance(refused, GatewayError)
    assert refused.code is ErrorCode.INTERNAL
    assert at.exchange.under_way == 0
    received = said(caplog)
    assert len(received) == 2
    assert received == ["message_not_sent"] * 2


async def test_a_fault_over_one_message_keeps_no_other_away(caplog: pytest.LogCaptureFixture) -> None:
    def receive(envelope: Envelope) -> None:
        if envelope == Leaving(HERE):
            raise ZeroDivisionError("a value that must not be logged")
        at.listener.received(envelope)

    async with pair() as at:
        user = UserId("main", 1)
        at.exchange._received = receive
        await at.exchange.follow(user)
        receivers = await at.there.publish(Events(user), Leaving(HERE))
        await at.say(Leaving(THERE))
        assert receivers == 1
        assert at.listener.messages == [Leaving(THERE)]
        (line,) = said(caplog)
        assert line == "message_failed"


class Phones:
    """Records what happens to phones."""

    def __init__(self) -> None:
        self.is_held = False
        self.seen: list[str] = []

    def release(self) -> None:
        assert not self.is_held
        self.seen.append("written")


async def test_phones_are_written_to_after_each_message_in_the_call_that_received_it(at: Pair) -> None:
    phones = at.exchange.phones = Phones()

    def receive(envelope: Envelope) -> None:
        assert phones.is_held
        phones.seen.append("received")
        if envelope == Leaving(HERE):
            raise ZeroDivisionError

    at.exchange._received = receive
    await at.exchange.follow(user := UserId("main", 1))
    for envelope in (Leaving(THERE), Leaving(HERE)):
        await at.there.publish(Events(user), envelope)
        assert not phones.is_held
    assert phones.seen == ["received", "written"] * 2


async def test_beyond_so_much_under_way_messages_are_lost(at: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    at.exchange.under_way = UNDER_WAY_MAX
    at.exchange.send(Inbox(THERE), Leaving(HERE))
    await at.clock.settle()
    assert at.inbox == []
    at.exchange.under_way = UNDER_WAY_MAX - 1
    monkeypatch.setattr(LossyBus, "waiting_bytes", UNDER_WAY_BYTES_MAX)
    at.exchange.send(Inbox(THERE), Leaving(HERE))
    await at.clock.settle()
    assert (at.inbox, at.exchange.sizes["message_bytes"]) == ([], UNDER_WAY_BYTES_MAX)
    monkeypatch.setattr(LossyBus, "waiting_bytes", UNDER_WAY_BYTES_MAX - 1)
    at.exchange.send(Inbox(THERE), Leaving(HERE))
    await at.clock.settle()
    assert at.inbox == [Leaving(HERE)]


async def test_an_answer_waits_while_too_much_is_under_way(at: Pair) -> None:
    answer = CallAnswer(1, Outcome(Status.APPLIED))
    at.exchange.under_way = UNDER_WAY_MAX
    at.exchange.reply(THERE, answer, 5.0)
    at.exchange.reply(THERE, CallAnswer(2, Outcome(Status.APPLIED)), REPEATED_AFTER_S)
    await at.clock.advance(2 * REPEATED_AFTER_S)
    assert at.inbox == []
    at.exchange.under_way = 0
    await at.clock.advance(2 * REPEATED_AFTER_S)
    assert at.inbox == [answer], "once, and not the one that is of no use now"


# ---- probes ----


async def test_a_bus_is_live_once_it_carried_a_probe_and_noticed_when_it_is_away(at: Pair) -> None:
    assert (at.state, at.listener.recoveries) == ("recovering", [1])
    at.exchange.machine.resynced(1)
    await at.clock.advance(30)
    assert (at.state, at.listener.recoveries) == ("live", [1])
    at.exchange.machine.resynced(1)
    at.trouble.take_away()
    await at.clock.advance(2)
    assert at.health == "degraded"
    await at.clock.advance(5)
    assert at.health == "down"
    at.trouble.give_back()
    await at.clock.advance(1)
    assert (at.state, at.listener.recoveries) == ("recovering", [1, 2])


async def test_a_process_that_is_late_itself_does_not_count_a_probe_as_lost(at: Pair) -> None:
    at.exchange.machine.resynced(1)
    at.trouble.lose = lambda sender, *_: sender == 0  # the test delivers the probes
    for number in range(FIRST + 2, FIRST + 12):
        while not at.exchange.machine.is_overdue(math.inf):  # none is under way
            await at.clock.advance(0.1)
        at.clock.stand_still(1.5)  # the process does not get its core
        await at.say(Probe(number))
        await at.clock.advance(0.0)
    assert (at.state, at.listener.recoveries) == ("live", [1])


async def test_a_connection_that_was_renewed_unasked_is_a_recovery(at: Pair) -> None:
    at.exchange.machine.resynced(1)
    await at.clock.advance(3)
    at.trouble.renew(0)
    await at.clock.settle()
    assert (at.listener.recoveries, at.state) == ([1, 2], "recovering")


async def test_probes_of_an_earlier_life_are_ignored(at: Pair) -> None:
    at.exchange.machine.resynced(1)
    at.trouble.lose = lambda *received: isinstance(received[-1], Probe) and received[0] == 0
    await at.say(Probe(FIRST))
    await at.clock.advance(2)
    await at.say(Probe(FIRST))
    assert at.health == "degraded"


# ---- questions in batches ----


async def test_what_is_wanted_in_one_turn_goes_in_one_batch_and_is_answered_so(at: Pair) -> None:
    askers = [Asker() for _ in range(3)]
    for key, asker in enumerate(askers):
        at.exchange.request_changes(THERE, since(key), asker)
    await at.clock.settle()
    (asks,) = at.asked()
    assert (asks.node, asks.asks) == (HERE, tuple(since(key) for key in range(3)))
    await at.say(Asked(THERE, "life", asks.number, (UserId("main", 1),)))
    assert [asker.received for asker in askers] == [["answered"], ["not mine, says life"], ["answered"]]
    await at.say(Asked(THERE, "life", asks.number))
    assert [len(asker.received) for asker in askers] == [1, 1, 1]
    assert at.exchange.sizes["batches"] == 0


async def test_a_batch_is_not_too_long(at: Pair) -> None:
    for key in range(ASKS_MAX + 1):
        at.exchange.request_changes(THERE, since(key), Asker())
    await at.clock.settle()
    assert [len(asks.asks) for asks in at.asked()] == [ASKS_MAX, 1]


async def test_of_one_user_the_newest_question_is_put(at: Pair) -> None:
    at.exchange.request_changes(THERE, since(1), Asker())
    at.exchange.request_changes(THERE, Since(UserId("main", 1), 1, 9), Asker())
    await at.clock.settle()
    assert [asks.asks for asks in at.asked()] == [(Since(UserId("main", 1), 1, 9),)]


async def test_an_answer_of_another_node_than_was_asked_answers_nothing(at: Pair) -> None:
    asker = Asker()
    at.exchange.request_changes(THERE, since(1), asker)
    await at.clock.settle()
    (asks,) = at.asked()
    await at.say(Asked(NodeId("elsewhere"), "life", asks.number))
    assert asker.received == []


@pytest.mark.parametrize("reached", [False, True])
async def test_a_batch_that_nobody_received_is_not_remembered(reached: bool) -> None:
    async with pair(listens=False) as at:
        if not reached:
            at.trouble.take_away()
        at.exchange.request_changes(THERE, since(1), Asker())
        await at.clock.settle()
        assert at.exchange.sizes["batches"] == 0


async def test_so_many_batches_without_an_answer_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runtime.cluster.OPEN_BATCHES_MAX", 2)
    async with pair() as at:
        for key in range(4):
            at.exchange.request_changes(THERE, since(key), Asker())
            await at.clock.settle()
        assert at.exchange.sizes["batches"] == 2


async def test_questions_whose_answers_were_lost_are_forgotten_with_the_next_answer(at: Pair) -> None:
    askers = [Asker() for _ in range(4)]
    for key, asker in enumerate(askers):
        at.exchange.request_changes(THERE, since(key), asker)
        await at.clock.settle()
    assert at.exchange.sizes["batches"] == 4
    await at.say(Asked(THERE, "life", at.asked()[2].number))
    assert at.exchange.sizes["batches"] == 1
    assert [asker.received for asker in askers] == [[], [], ["answered"], []]


async def test_of_a_node_that_nobody_follows_any_more_no_question_is_remembered(at: Pair) -> None:
    at.exchange.request_changes(THERE, since(1), Asker())
    await at.clock.settle()
    at.exchange.tick(at.clock.now(), [THERE])
    await at.clock.settle()
    assert at.exchange.sizes["batches"] > 0
    at.exchange.tick(at.clock.now(), [])
    assert at.exchange.sizes["batches"] == 0


async def test_who_is_followed_is_asked_for_a_sign_of_life_every_second(at: Pair) -> None:
    for _ in range(3):
        at.exchange.tick(at.clock.now(), [THERE])
        at.exchange.tick(at.clock.now(), [THERE])
        await at.clock.advance(1)
    assert [asks.asks for asks in at.asked()] == [()] * 3
    at.exchange.tick(at.clock.now(), [])
    await at.clock.settle()
    assert (len(at.asked()), at.exchange.sizes["peers"]) == (3, 0)


async def test_who_answers_is_not_deaf_and_who_does_not_is(at: Pair) -> None:
    for answers in (True, False):
        for _ in range(5):
            at.exchange.tick(at.clock.now(), [THERE])
            await at.clock.settle()
            if answers:
                await at.say(Asked(THERE, "life", at.asked()[-1].number))
            await at.clock.advance(1)
        assert (THERE in at.exchange.peers.unreachable(at.clock.now())) is not answers


class Refusing(LossyBus):
    """A bus whose subscriptions fail so many times."""

    def __init__(self, trouble: Trouble, times: int) -> None:
        super().__init__(trouble, 0)
        self.times = times

    async def subscribe(self, channel: BusChannel, receive: Callable[[Envelope], None]) -> None:
        self._fail()
        await super().subscribe(channel, receive)

    async def unsubscribe(self, channel: BusChannel) -> None:
        self._fail()
        await super().unsubscribe(channel)

    def _fail(self) -> None:
        if self.times:
            self.times -= 1
            raise GatewayError(ErrorCode.BUS_DOWN, "away")


async def test_a_subscription_that_fails_is_left_to_the_bus_and_a_node_tries_its_own_again() -> None:
    at = Pair()
    bus = Refusing(at.trouble, 2)
    exchange = Exchange(HERE, bus, at.clock, FIRST)
    await exchange.follow(UserId("main", 1))
    await exchange.unfollow(UserId("main", 1))
    assert bus.times == 0
    at = Pair()
    bus = Refusing(at.trouble, 3)
    exchange = Exchange(HERE, bus, at.clock, FIRST)
    async with during(exchange.run(at.listener.received, at.listener.recovered)):
        await at.clock.advance(2.5)
        assert list(bus.receivers) == []
        await at.clock.advance(1.5)
        assert list(bus.receivers) == [Inbox(HERE), Control()]


class Silent(LossyBus):
    """A bus that confirms no end of a subscription, or fails to end it."""

    fault: Exception | None = None

    async def unsubscribe(self, channel: BusChannel) -> None:
        await super().unsubscribe(channel)
        if self.fault is not None:
            raise self.fault
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("fault", [None, RuntimeError("a fault of one user")])
async def test_who_follows_a_user_no_more_does_not_wait_for_the_bus(
    fault: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    at = Pair()
    bus, user = Silent(at.trouble, 0), UserId("main", 1)
    bus.fault = fault
    exchange = Exchange(HERE, bus, at.clock, FIRST)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(exchange.run(at.listener.received, at.listener.recovered))
        await at.clock.settle()
        await exchange.follow(user)
        ending = tasks.create_task(exchange.unfollow(user))
        await at.clock.settle()
        assert ending.done()
        assert Events(user) not in bus.receivers
        await exchange.follow(user)
        await at.clock.settle()
        assert Events(user) in bus.receivers
        assert not running.done()
        running.cancel()
    assert said(caplog) == ([] if fault is None else ["unsubscribe_failed"])


# ---- changes of many users in one message ----


A, B = NodeId("a"), NodeId("b")


class Owner:
    """A user with so many changes at a time, for those nodes."""

    def __init__(self, key: int, *nodes: NodeId, updates: int = 1, apart: bool = False) -> None:
        self.user = UserId("main", key)
        self.nodes = None if apart else nodes
        self.updates = updates
        self.news = 0

    def take(self, made: dict[Element, Value]) -> Share | None:
        if not self.news:
            return None
        updates = tuple(PublishedValue(f"queue:{n}", n, Queue()) for n in range(self.updates))
        received = Publication(self.user, 1, 0, self.news, False, updates, "live", None)
        self.news = 0
        return Share(received, self.nodes)


class Place:
    """A bus that takes what it is given when the test says so."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.taken: list[tuple[BusChannel, Envelope]] = []
        self.waiting: list[OnPosted] = []
        self.flushed = 0
        self.bundles = Bundles(self.post, self.flush)

    def post(self, channel: BusChannel, envelope: Envelope, answered: OnPosted) -> None:
        self.taken.append((channel, envelope))
        self.waiting.append(answered)

    def flush(self) -> None:
        self.flushed = len(self.taken)

    async def change(self, *owners: Owner) -> None:
        for owner in owners:
            owner.news += 1
            self.bundles.add(owner.take)
        await self.clock.settle()

    async def answer(self, number: int = 0, receivers: int | GatewayError = 1) -> None:
        self.waiting.pop(number)(receivers)
        await self.clock.settle()

    def received(self) -> list[tuple[BusChannel, list[tuple[int, int]]]]:
        """Return who was sent how much of whom, and forget it."""
        taken, self.taken = self.taken, []
        return [
            (channel, [(one.user.key, one.upto) for one in envelope.told])
            for channel, envelope in taken
            if isinstance(envelope, Publications)
        ]


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    made = Place()
    made.bundles.run(is_running=True)
    yield made


PLACES = {"Place": place}


async def test_what_changes_in_one_turn_reaches_each_node_in_one_message(at: Place) -> None:
    await at.change(Owner(1, A), Owner(2, A, B), Owner(3, B), Owner(4))
    assert at.received() == [(Inbox(A), [(1, 1), (2, 1)]), (Inbox(B), [(2, 1), (3, 1)])]
    await at.change(Owner(1, A), Owner(2, B))
    assert at.flushed == len(at.taken) == 2


async def test_what_changes_while_rounds_are_under_way_goes_with_the_next_when_one_is_answered() -> None:
    async with place() as at:
        first, second = Owner(1, A, B), Owner(2, A)
        for _ in range(ROUNDS_MAX):
            await at.change(first)
        assert at.received() == ROUNDS_MAX * [(Inbox(A), [(1, 1)]), (Inbox(B), [(1, 1)])]
        await at.change(second)
        await at.change(first, second)
        assert at.received() == []
        await at.answer()
        assert (at.received(), len(at.bundles)) == ([], 2)
        await at.answer()
        assert at.received() == [(Inbox(A), [(2, 2), (1, 1)]), (Inbox(B), [(1, 1)])]
        assert len(at.bundles) == 0


async def test_what_must_not_be_overtaken_does_not_wait_for_a_round(at: Place) -> None:
    one, other = Owner(1, A), Owner(2, A)
    for _ in range(ROUNDS_MAX):
        await at.change(one)
    at.received()
    await at.change(other)
    assert at.received() == []
    at.bundles.publish_now(other.take)
    assert at.received() == [(Inbox(A), [(2, 1)])]
    for _ in range(ROUNDS_MAX + 1):
        await at.answer()
    assert at.received() == [], "nothing is sent twice"


async def test_what_must_not_be_overtaken_keeps_nothing_else_from_being_sent(at: Place) -> None:
    one, other = Owner(1, A), Owner(2, A)
    for _ in range(ROUNDS_MAX):
        one.news += 1
        at.bundles.publish_now(one.take)
    at.received()
    await at.change(other)
    assert at.received() == [(Inbox(A), [(2, 1)])]


async def test_what_is_lost_keeps_nothing_else_from_being_sent(at: Place) -> None:
    owner = Owner(1, A)
    for _ in range(ROUNDS_MAX + 1):
        await at.change(owner)
    await at.answer(receivers=GatewayError(ErrorCode.BUS_DOWN, "away"))
    assert at.received() == (ROUNDS_MAX + 1) * [(Inbox(A), [(1, 1)])]


async def test_a_fault_of_one_owner_costs_nobody_else_their_changes() -> None:
    class Faulty(Owner):
        def take(self, made: dict[Element, Value]) -> NoReturn:
            raise ArithmeticError

    async with place() as at:
        await at.change(Faulty(1, A), Owner(2, A))
        await at.change(Owner(3, A))
        assert at.received() == [(Inbox(A), [(2, 1)]), (Inbox(A), [(3, 1)])]
        at.bundles.publish_now(Faulty(1, A).take)  # the result of a command follows


async def test_whose_news_were_taken_back_is_not_sent_and_holds_nobody_up(at: Place) -> None:
    nobody, somebody = Owner(1, A), Owner(2, A)
    at.bundles.add(nobody.take)
    await at.clock.settle()
    await at.change(somebody)
    assert at.received() == [(Inbox(A), [(2, 1)])]


async def test_who_reads_his_own_channel_alone_is_served_there(at: Place) -> None:
    await at.change(Owner(1, A), Owner(2, apart=True))
    assert [channel for channel, _ in at.taken] == [Events(UserId("main", 2)), Inbox(A)]
    assert isinstance(at.taken[0][1], Publication)


async def test_messages_are_bounded_and_a_larger_change_travels_alone(at: Place) -> None:
    half, whole = UPDATES_MAX // 2 - 1, UPDATES_MAX + 1
    sizes = [half, half, 0, whole, 0]
    await at.change(*(Owner(key, A, updates=size) for key, size in enumerate(sizes)))
    users = [[key for key, _ in received] for _, received in at.received()]
    assert users == [[0, 1], [2], [3], [4]]


async def test_after_the_end_nothing_is_published(at: Place) -> None:
    owner = Owner(1, A)
    for _ in range(ROUNDS_MAX + 1):
        await at.change(owner)
    at.bundles.run(is_running=False)
    assert len(at.bundles) == 0
    await at.answer()
    await at.change(owner)
    assert at.received() == ROUNDS_MAX * [(Inbox(A), [(1, 1)])]


async def test_the_state_that_a_command_caused_is_published_before_its_result(at: Nodes) -> None:
    _, far = await followed(at, settled_s=2)
    bundles = at.scenes[0].node.exchange.bundles
    bundles._rounds += ROUNDS_MAX  # as while messages wait to be taken
    at.said.clear()
    await far.send_command("1", "1")
    received = [type(said) for node, _, said in at.said if node == 0]
    assert [kind for kind in received if kind in {Publications, CallAnswer}] == [Publications, CallAnswer]
    bundles._rounds -= ROUNDS_MAX
