"""How does a node speak with the others, and does it hear them?"""

from __future__ import annotations

from typing import NoReturn

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import UserId
from gateway.protocol.envelopes import (
    Attach,
    AttachAnswer,
    CallAnswer,
    Channel,
    Detach,
    Envelope,
    Events,
    Inbox,
    Leaving,
    Probe,
)
from gateway.runtime.cluster import UNDER_WAY_MAX, NotHeardError
from tests.runtime.pair import FIRST, HERE, THERE, Asker, Pair, attach, pair, since


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what exchanges have logged: flood control, once configured, has lines of its own."""
    return [record.getMessage() for record in caplog.records if record.name == "gateway.runtime.cluster"]


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


async def test_what_cannot_be_written_is_lost_and_keeps_nothing_else_from_leaving(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair() as at:
        publish = at.bus.publish

        async def refuse(channel: Channel, envelope: Envelope) -> int:
            if isinstance(envelope, Leaving | Attach):
                raise OverflowError("a value that must not be logged")
            return await publish(channel, envelope)

        monkeypatch.setattr(at.bus, "publish", refuse)
        at.exchange.send(Inbox(THERE), Leaving(HERE))
        question = at.begin(at.exchange.ask(THERE, attach, 5))
        at.exchange.send(Inbox(THERE), Detach(UserId("main", 1), "s", HERE))
        await at.clock.settle()
        assert [type(one) for one in at.inbox] == [Detach]
        refused = await question
        assert isinstance(refused, GatewayError)
        assert refused.code is ErrorCode.INTERNAL
        assert at.exchange.under_way == 0
        told = said(caplog)
        assert len(told) == 2
        assert told == ["message_not_sent"] * 2


async def test_a_fault_over_one_message_keeps_no_other_from_being_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: object) -> NoReturn:
        raise ZeroDivisionError("a value that must not be logged")

    async with pair() as at:
        user = UserId("main", 1)
        await at.exchange.follow(user, fail)
        receivers = await at.there.publish(Events(user), Leaving(HERE))
        await at.say(Leaving(THERE))
        assert receivers == 1
        assert at.listener.told == [Leaving(THERE)]
        (line,) = said(caplog)
        assert line == "message_failed"


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


# ---- hearing ----


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
