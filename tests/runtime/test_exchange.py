"""How does a node speak with the others, and does it hear them?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import (
    Asked,
    Asks,
    Attach,
    AttachAnswer,
    CallAnswer,
    Channel,
    Control,
    Detach,
    Envelope,
    Events,
    Inbox,
    Leaving,
    Probe,
    Since,
)
from gateway.runtime.exchange import ASKS_MAX, UNDER_WAY_MAX, Exchange, NotHeardError
from tests.core.samples import ticket_of
from tests.doubles.clock import ManualClock
from tests.doubles.lossy_bus import LossyBus, Trouble

HERE, THERE = NodeId("here"), NodeId("there")
FIRST = 100


class Listener:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Envelope] = []
        self.recoveries: list[int] = []

    def heard(self, envelope: Envelope) -> None:
        self.told.append(envelope)

    def recovered(self, recovery: int) -> None:
        self.recoveries.append(recovery)


class Asker:
    """Follows one user."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def answered(self) -> None:
        self.told.append("answered")

    def not_mine(self, holder: str | None = None) -> None:
        self.told.append(f"not mine, says {holder}")


class Pair:
    """An exchange, and the bus of another node that answers as a test says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.trouble = Trouble(self.clock)
        self.bus = self.trouble.cluster(0).bus
        self.there = self.trouble.cluster(1).bus
        self.exchange = Exchange(HERE, self.bus, self.clock, FIRST)
        self.listener = Listener()
        self.inbox: list[Envelope] = []
        self.running: asyncio.Task[None]
        self.tasks: asyncio.TaskGroup

    async def listen_there(self) -> None:
        await self.there.subscribe(Inbox(THERE), self.inbox.append)

    async def say(self, envelope: Envelope) -> None:
        """Let the other node say something to this one."""
        await self.there.publish(Inbox(HERE), envelope)
        await self.clock.settle()

    def begin(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        return self.tasks.create_task(caught(work))

    @property
    def health(self) -> str:
        """What phones would be shown of the bus."""
        return self.exchange.machine.health

    @property
    def state(self) -> str:
        return self.exchange.machine.state

    def asked(self) -> list[Asks]:
        return [one for one in self.inbox if isinstance(one, Asks)]


async def caught(work: Coroutine[Any, Any, object]) -> object:
    """Return what *work* returns or raises."""
    try:
        return await work
    except (GatewayError, NotHeardError, TimeoutError) as error:
        return error


@asynccontextmanager
async def pair(*, listens: bool = True) -> AsyncIterator[Pair]:
    made = Pair()
    async with asyncio.TaskGroup() as tasks:
        made.tasks = tasks
        if listens:
            await made.listen_there()
        made.running = tasks.create_task(made.exchange.run(made.listener))
        await made.clock.settle()
        yield made
        made.running.cancel()


def attach(number: int) -> Envelope:
    return Attach(HERE, number, ticket_of(), ())


def since(key: int) -> Since:
    return Since(UserId("main", key), 1, 2)


# ---- questions ----


async def test_a_question_finds_its_answer_whatever_comes_before() -> None:
    async with pair() as at:
        asking = at.begin(at.exchange.ask(THERE, attach, 4.0))
        other = at.begin(at.exchange.ask(THERE, attach, 4.0))
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


async def test_a_question_that_nobody_heard_ends_at_once() -> None:
    async with pair(listens=False) as at:
        asking = at.begin(at.exchange.ask(THERE, attach, 4.0))
        await at.clock.settle()
        assert isinstance(await asking, NotHeardError)
        assert at.exchange.sizes["questions"] == 0


async def test_a_question_without_an_answer_ends_in_time() -> None:
    async with pair() as at:
        asking = at.begin(at.exchange.ask(THERE, attach, 4.0))
        await at.clock.advance(3.9)
        assert not asking.done()
        await at.clock.advance(0.1)
        assert isinstance(await asking, TimeoutError)
        assert at.exchange.sizes["questions"] == 0


async def test_without_the_bus_a_question_ends_at_once() -> None:
    async with pair() as at:
        at.trouble.take_away()
        error = await at.begin(at.exchange.ask(THERE, attach, 4.0))
        assert isinstance(error, GatewayError)
        assert error.code is ErrorCode.BUS_DOWN
        assert at.exchange.sizes["questions"] == 0


async def test_a_question_does_not_outlive_who_asked() -> None:
    async with pair() as at:
        asking = at.begin(at.exchange.ask(THERE, attach, 4.0))
        await at.clock.settle()
        asking.cancel()
        await at.clock.settle()
        assert at.exchange.sizes["questions"] == 0
        await at.say(AttachAnswer(FIRST + 1))


# ---- what is sent ----


async def test_what_is_sent_leaves_in_the_order_in_which_it_was_given() -> None:
    async with pair() as at:
        for number in range(20):
            at.exchange.send(Inbox(THERE), Detach(UserId("main", number), "s", HERE))
        await at.clock.settle()
        assert [one.user.key for one in at.inbox if isinstance(one, Detach)] == list(range(20))


async def test_what_cannot_be_sent_is_lost() -> None:
    async with pair() as at:
        at.trouble.take_away()
        at.exchange.send(Inbox(THERE), Leaving(HERE))
        await at.clock.settle()
        at.trouble.give_back()
        await at.clock.advance(1)
        assert Leaving(HERE) not in at.inbox
        assert at.exchange.under_way == 0


async def test_beyond_so_much_under_way_what_is_sent_is_lost() -> None:
    async with pair() as at:
        at.exchange.under_way = UNDER_WAY_MAX
        at.exchange.send(Inbox(THERE), Leaving(HERE))
        await at.clock.settle()
        assert at.inbox == []
        at.exchange.under_way = UNDER_WAY_MAX - 1
        at.exchange.send(Inbox(THERE), Leaving(HERE))
        await at.clock.settle()
        assert at.inbox == [Leaving(HERE)]


async def test_before_and_after_its_life_nothing_is_sent() -> None:
    at = Pair()
    await at.listen_there()
    at.exchange.send(Inbox(THERE), Leaving(HERE))
    at.exchange.want(THERE, since(1), Asker())
    at.exchange.tick(at.clock.now(), [THERE])
    await at.clock.settle()
    assert at.inbox == []


# ---- following ----


async def test_what_is_wanted_in_one_turn_goes_in_one_batch_and_is_answered_so() -> None:
    async with pair() as at:
        askers = [Asker() for _ in range(3)]
        for key, asker in enumerate(askers):
            at.exchange.want(THERE, since(key), asker)
        await at.clock.settle()
        (asks,) = at.asked()
        assert (asks.node, asks.asks) == (HERE, tuple(since(key) for key in range(3)))
        await at.say(Asked(THERE, "life", asks.number, (UserId("main", 1),)))
        assert [asker.told for asker in askers] == [
            ["answered"],
            ["not mine, says life"],
            ["answered"],
        ]
        await at.say(Asked(THERE, "life", asks.number))
        assert [len(asker.told) for asker in askers] == [1, 1, 1]
        assert at.exchange.sizes["batches"] == 0


async def test_a_batch_is_not_too_long() -> None:
    async with pair() as at:
        for key in range(ASKS_MAX + 1):
            at.exchange.want(THERE, since(key), Asker())
        await at.clock.settle()
        assert [len(asks.asks) for asks in at.asked()] == [ASKS_MAX, 1]


async def test_of_one_user_the_newest_question_is_put() -> None:
    async with pair() as at:
        at.exchange.want(THERE, since(1), Asker())
        at.exchange.want(THERE, Since(UserId("main", 1), 1, 9), Asker())
        await at.clock.settle()
        assert [asks.asks for asks in at.asked()] == [(Since(UserId("main", 1), 1, 9),)]


async def test_an_answer_of_another_node_than_was_asked_answers_nothing() -> None:
    async with pair() as at:
        asker = Asker()
        at.exchange.want(THERE, since(1), asker)
        await at.clock.settle()
        (asks,) = at.asked()
        await at.say(Asked(NodeId("elsewhere"), "life", asks.number))
        assert asker.told == []


@pytest.mark.parametrize("reached", [False, True])
async def test_a_batch_that_nobody_heard_is_not_remembered(reached: bool) -> None:
    async with pair(listens=False) as at:
        if not reached:
            at.trouble.take_away()
        at.exchange.want(THERE, since(1), Asker())
        await at.clock.settle()
        assert at.exchange.sizes["batches"] == 0


async def test_of_batches_without_an_answer_only_so_many_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.runtime.exchange.QUESTIONS_MAX", 2)
    async with pair() as at:
        for key in range(4):
            at.exchange.want(THERE, since(key), Asker())
            await at.clock.settle()
        assert at.exchange.sizes["batches"] == 2


async def test_who_is_followed_is_asked_for_a_sign_of_life_every_second() -> None:
    async with pair() as at:
        for _ in range(3):
            at.exchange.tick(at.clock.now(), [THERE])
            at.exchange.tick(at.clock.now(), [THERE])
            await at.clock.advance(1)
        assert [asks.asks for asks in at.asked()] == [()] * 3
        at.exchange.tick(at.clock.now(), [])
        await at.clock.settle()
        assert len(at.asked()) == 3
        assert at.exchange.sizes["peers"] == 0


async def test_who_answers_is_not_deaf_and_who_does_not_is() -> None:
    async with pair() as at:
        for answers in (True, False):
            for _ in range(5):
                at.exchange.tick(at.clock.now(), [THERE])
                await at.clock.settle()
                if answers:
                    await at.say(Asked(THERE, "life", at.asked()[-1].number))
                await at.clock.advance(1)
            assert (THERE in at.exchange.peers.deaf(at.clock.now())) is not answers


async def test_whoever_follows_a_user_hears_what_is_published_of_him() -> None:
    async with pair() as at:
        user, heard = UserId("main", 1), list[Envelope]()
        await at.exchange.follow(user, heard.append)
        told = Detach(user, "s", HERE)
        await at.there.publish(Events(user), told)
        await at.exchange.unfollow(user)
        await at.there.publish(Events(user), told)
        assert heard == [told]


class Refusing(LossyBus):
    """A bus whose subscriptions fail, as many times as it is told."""

    def __init__(self, trouble: Trouble, times: int) -> None:
        super().__init__(trouble, 0)
        self.times = times

    async def subscribe(self, channel: Channel, receive: Callable[[Envelope], None]) -> None:
        self._fail()
        await super().subscribe(channel, receive)

    async def unsubscribe(self, channel: Channel) -> None:
        self._fail()
        await super().unsubscribe(channel)

    def _fail(self) -> None:
        if self.times:
            self.times -= 1
            raise GatewayError(ErrorCode.BUS_DOWN, "away")


async def test_a_subscription_that_fails_leaves_the_rest_to_the_bus() -> None:
    at = Pair()
    bus = Refusing(at.trouble, 2)
    exchange = Exchange(HERE, bus, at.clock, FIRST)
    await exchange.follow(UserId("main", 1), at.inbox.append)
    await exchange.unfollow(UserId("main", 1))
    assert bus.times == 0


async def test_a_node_that_cannot_listen_tries_again() -> None:
    at = Pair()
    bus = Refusing(at.trouble, 3)
    exchange = Exchange(HERE, bus, at.clock, FIRST)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(exchange.run(at.listener))
        await at.clock.advance(2.5)
        assert list(bus.receivers) == []
        await at.clock.advance(1.5)
        assert list(bus.receivers) == [Inbox(HERE), Control()]
        running.cancel()


# ---- hearing ----


async def test_what_is_said_to_this_node_or_to_all_is_heard() -> None:
    async with pair() as at:
        await at.say(Leaving(THERE))
        await at.there.publish(Control(), Leaving(HERE))
        assert at.listener.told == [Leaving(THERE), Leaving(HERE)]


# ---- probes ----


async def test_a_bus_is_live_once_it_has_carried_a_probe_and_everything_was_asked_for() -> None:
    async with pair() as at:
        assert at.state == "recovering"
        assert at.listener.recoveries == [1]
        at.exchange.machine.resynced(1)
        await at.clock.advance(30)
        assert at.state == "live"
        assert at.listener.recoveries == [1]


async def test_a_bus_that_is_away_is_noticed_within_two_seconds_and_down_after_seven() -> None:
    async with pair() as at:
        at.exchange.machine.resynced(1)
        at.trouble.take_away()
        await at.clock.advance(2)
        assert at.health == "degraded"
        await at.clock.advance(5)
        assert at.health == "down"
        at.trouble.give_back()
        await at.clock.advance(1)
        assert at.state == "recovering"
        assert at.listener.recoveries == [1, 2]


async def test_a_bus_that_loses_probes_is_noticed_too() -> None:
    async with pair() as at:
        at.exchange.machine.resynced(1)
        at.trouble.lose = lambda *told: isinstance(told[-1], Probe)
        await at.clock.advance(2)
        assert at.health == "degraded"
        await at.clock.advance(5)
        assert at.health == "down"


async def test_a_connection_that_was_renewed_unasked_is_a_recovery() -> None:
    async with pair() as at:
        at.exchange.machine.resynced(1)
        await at.clock.advance(3)
        at.trouble.renew(0)
        await at.clock.settle()
        assert at.listener.recoveries == [1, 2]
        assert at.state == "recovering"


async def test_probes_of_an_earlier_life_are_ignored() -> None:
    async with pair() as at:
        at.exchange.machine.resynced(1)
        at.trouble.lose = lambda *told: isinstance(told[-1], Probe) and told[0] == 0
        await at.say(Probe(FIRST))
        await at.clock.advance(2)
        await at.say(Probe(FIRST))
        assert at.health == "degraded"
