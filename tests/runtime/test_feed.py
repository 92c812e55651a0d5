"""Where do one user's changes go on this node?"""

from __future__ import annotations

import dataclasses

from gateway.core.element import Element
from gateway.core.ledger import Health
from gateway.core.view import facts_key, me_key
from gateway.domain.resources import Me, Queue, Site
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.mirror import Feed
from tests.runtime.scene import PhoneLine, scene, user

ME = Me("1", "Anna", None, (), 0, None, None)


async def test_only_who_has_news_is_woken() -> None:
    async with scene() as at:
        wide = await at.served()
        narrow = await at.served(device="d2", topics=["agents"])
        feed = at.owner().feed
        woken = wide.woken, narrow.woken
        feed.ledger.record("queue:5", Element(Queue(name="Billing", contacts_waiting=9)))
        feed.flush()
        assert (wide.woken, narrow.woken) == (woken[0] + 1, woken[1])
        await at.clock.advance(1)
        wide.take()
        woken = wide.woken, narrow.woken
        feed.flush()
        assert (wide.woken, narrow.woken) == woken
        feed.ledger.record("site", Element(Site("V9R9", None, at.owner().mirror._functions)))
        feed.flush()
        assert (wide.woken, narrow.woken) == (woken[0] + 1, woken[1] + 1)


async def test_a_change_of_health_wakes_everybody_and_the_same_health_nobody() -> None:
    async with scene() as at:
        phones = [await at.served(device=device) for device in ("d1", "d2")]
        feed = at.owner().feed
        woken = [phone.woken for phone in phones]
        feed.say(dataclasses.replace(feed.health, as_of=1))
        assert [phone.woken for phone in phones] == woken
        assert feed.health.as_of == 1
        feed.say(Health("stale", "live", 2.0))
        assert [phone.woken for phone in phones] == [count + 1 for count in woken]
        assert [phone.health for phone in phones] == ["stale", "stale"]


def _facts(phone: PhoneLine, *, expires_at_ms: int | None = None) -> SessionFacts:
    facts = phone.scene.owner().feed.facts(phone.ticket.handle)
    assert facts is not None
    return dataclasses.replace(facts, expires_at_ms=expires_at_ms or facts.expires_at_ms)


async def test_facts_are_told_to_their_connection_in_the_same_turn_and_only_when_they_changed() -> None:
    async with scene() as at:
        phone, other = await at.served(), await at.served(device="d2")
        feed = at.owner().feed
        told = len(phone.facts), len(other.facts)
        feed.learn(_facts(phone), Element(ME))
        assert (len(phone.facts), len(other.facts)) == told
        feed.learn(_facts(phone, expires_at_ms=5), None)
        assert phone.facts[-1].expires_at_ms == 5
        assert (len(phone.facts), len(other.facts)) == (told[0] + 1, told[1])


class Outlet:
    """Writes down what other nodes would be told."""

    def __init__(self) -> None:
        self.flushed = 0
        self.notices: list[NoticeFrame] = []
        self.marked: list[str] = []

    def flush(self) -> None:
        self.flushed += 1

    def waiting(self) -> str | None:
        return None

    def mark(self, key: str, before: Element | None) -> None:
        self.marked.append(key)

    def epoch_began(self) -> None:
        raise AssertionError

    def announce(self, notice: NoticeFrame) -> None:
        self.notices.append(notice)


def test_other_nodes_are_told_of_changes_of_health_and_of_notices() -> None:
    feed, outlet = Feed(user(1)), Outlet()
    feed.outlet = outlet
    feed.flush()
    assert outlet.flushed == 0, "no node follows"
    feed.ledger.readers[outlet] = None
    feed.flush()
    assert outlet.flushed == 1
    feed.say(Health("live", "live", 5.0))
    assert outlet.flushed == 2
    feed.say(Health("live", "live", 6.0))
    assert outlet.flushed == 2, "it is as fresh as before"
    feed.say(Health("live", "degraded", 6.0))
    assert outlet.flushed == 3
    notice = NoticeFrame("n", 1, "maintenance", "Tonight", "An update", None, 0, False)
    feed.announce(notice)
    assert outlet.notices == [notice]


async def test_what_is_one_phones_own_is_told_to_it_alone_and_to_other_nodes() -> None:
    async with scene() as at:
        phone, other = await at.served(), await at.served(device="d2")
        feed, outlet = at.owner().feed, Outlet()
        feed.outlet = outlet
        woken = phone.woken, other.woken
        feed.ledger.record(me_key(phone.ticket.handle), Element(dataclasses.replace(ME, display_name="Eva")))
        feed.flush()
        assert (phone.woken, other.woken) == (woken[0] + 1, woken[1])
        assert outlet.marked == [], "nobody follows"
        await at.clock.advance(1)
        phone.take()
        assert phone.shown["me"]["display_name"] == "Eva"
        feed.ledger.readers[outlet] = None
        feed.forget(phone.ticket.handle)
        assert outlet.marked == [facts_key(phone.ticket.handle), me_key(phone.ticket.handle)]
