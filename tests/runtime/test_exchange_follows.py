"""How are many owners asked for many users, and is what they publish heard?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import (
    Asked,
    Channel,
    Control,
    Detach,
    Envelope,
    Events,
    Inbox,
    Since,
)
from gateway.runtime.cluster import ASKS_MAX, Exchange
from tests.doubles.lossy_bus import LossyBus, Trouble
from tests.runtime.pair import FIRST, HERE, THERE, Asker, Pair, pair, since


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
    monkeypatch.setattr("gateway.runtime.cluster.QUESTIONS_MAX", 2)
    async with pair() as at:
        for key in range(4):
            at.exchange.want(THERE, since(key), Asker())
            await at.clock.settle()
        assert at.exchange.sizes["batches"] == 2


async def test_questions_whose_answers_were_lost_are_forgotten_with_the_next_answer() -> None:
    async with pair() as at:
        askers = [Asker() for _ in range(4)]
        for key, asker in enumerate(askers):
            at.exchange.want(THERE, since(key), asker)
            await at.clock.settle()
        assert at.exchange.sizes["batches"] == 4
        await at.say(Asked(THERE, "life", at.asked()[2].number))
        assert at.exchange.sizes["batches"] == 1
        assert [asker.told for asker in askers] == [[], [], ["answered"], []]


async def test_of_a_node_that_nobody_follows_any_more_no_question_is_remembered() -> None:
    async with pair() as at:
        at.exchange.want(THERE, since(1), Asker())
        await at.clock.settle()
        at.exchange.tick(at.clock.now(), [THERE])
        await at.clock.settle()
        assert at.exchange.sizes["batches"] > 0
        at.exchange.tick(at.clock.now(), [])
        assert at.exchange.sizes["batches"] == 0


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
