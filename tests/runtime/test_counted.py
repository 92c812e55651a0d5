"""Metrics of what happens to users of a node."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest

from gateway.core.element import ChangeSet, Element
from gateway.core.ledger import Health, Reader
from gateway.domain.errors import EndReason
from gateway.domain.model import Kind
from gateway.domain.resources import FunctionState, Me, Queue, Site
from gateway.domain.upstream import FunctionChanged, Part, Reading, Source
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.link_session import REPORT_EVERY_S
from gateway.runtime.mirror import Feed
from tests.runtime.followed import TRUSTED_S, followed
from tests.runtime.mirror_room import ALL_QUEUES
from tests.runtime.nodes import Nodes
from tests.runtime.scene import FakePhone, Scene, scene, user


def hop(at: Scene, name: str) -> tuple[float, float]:
    """How often and how long in all."""
    name, labels = "event_latency_seconds", {"hop": name}
    return at.counted(f"{name}_count", **labels), at.counted(f"{name}_sum", **labels)


async def test_what_a_link_brings_takes_its_time_until_the_mirror_shows_it(at: Scene) -> None:
    await at.served()
    before, _ = hop(at, "upstream")
    for waiting in (3, 4):  # so soon after each other that one of them is looked at
        at.upstream.set_waiting(waiting)
    await at.clock.settle()
    await at.clock.advance(REPORT_EVERY_S * 2)
    at.upstream.set_waiting(5)
    await at.clock.settle()
    after, seconds = hop(at, "upstream")
    assert 1 <= after - before <= 2
    assert seconds == 0  # on a clock that stands


async def test_what_is_published_takes_its_time_until_who_follows_has_it(at: Nodes) -> None:
    await followed(at)
    await at.pass_time(3)
    scene_ = at.scenes[1]
    times, seconds = hop(scene_, "bus")
    at.trouble.chance = lambda: 0.9
    at.trouble.delays, at.trouble.delay_s = 1.0, 0.5
    at.upstream.set_waiting(8)
    await at.pass_time(1)
    times_now, seconds_now = hop(scene_, "bus")
    assert times_now == times + 1
    assert seconds_now - seconds == pytest.approx(0.5, abs=0.3)
    ledger = scene_.node.user_states[user(1)].feed.ledger
    assert ledger.under_way_s == pytest.approx(seconds_now - seconds)
    assert hop(at.scenes[0], "bus") == (0, 0)


async def test_nothing_new_is_no_news_and_it_is_one_end_on_two_nodes(at: Nodes) -> None:
    await followed(at)
    await at.pass_time(3)
    times, _ = hop(at.scenes[1], "bus")
    await at.pass_time(30)
    assert hop(at.scenes[1], "bus")[0] == times
    _, far = await followed(at)
    await at.scenes[1].node.account.log_off(far.ticket)
    await at.pass_time(2)
    ends = [one.counted("session_ends_total", reason="logged_off") for one in at.scenes]
    assert sum(ends) == 1


async def test_each_new_phone_reports_the_number_of_its_users_phones(at: Scene) -> None:
    for device in ("d1", "d2", "d3"):
        await at.served(device=device)
    assert at.counted("devices_per_user_count") == 3
    assert at.counted("devices_per_user_sum") == 1 + 2 + 3
    assert at.counted("devices_per_user_bucket", le="2.0") == 2


async def test_a_session_that_ends_is_counted_once_with_its_reason(at: Scene) -> None:
    phone, other = await at.served(), await at.served(device="d2")
    at.upstream.end_session(at.upstream.session(phone.ticket.secret), EndReason.MAINTENANCE)
    await at.clock.settle()
    await at.node.account.log_off(other.ticket)
    await at.pass_time(2)
    assert at.counted("session_ends_total", reason="maintenance") == 1
    assert at.counted("session_ends_total", reason="logged_off") == 1


async def test_an_element_that_comes_late_is_counted(at: Scene) -> None:
    await at.served()
    queries = at.upstream.user_links[user(1)].queries
    query = next(number for number, listen in queries.items() if listen == ALL_QUEUES)
    old_ms = at.clock.wall_ms() - 60_000
    part = Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=99))
    at.link().push(Reading(query, Kind.QUEUE, Source.REALTIME, old_ms, False, (part,), ()))
    await at.clock.settle()
    assert at.node.composer.late == 1


async def test_probes_and_messages_are_counted(at: Nodes) -> None:
    await at.pass_time(10)
    assert all(count >= 9 for count in at.counted("bus_probe_seconds_count"))
    assert at.counted("bus_publish_total") >= at.counted("bus_probe_seconds_count")
    at.trouble.take_away(1)
    before = at.counted("bus_publish_total")
    await at.pass_time(5)
    after = at.counted("bus_publish_total")
    assert (after[0] > before[0], after[1]) == (True, before[1])


async def test_a_bus_that_was_away_is_a_gap_for_the_probe_and_a_resync_of_the_followed(at: Nodes) -> None:
    await followed(at, settled_s=TRUSTED_S)
    at.trouble.lose = lambda sender, to, *_: sender == to == 1
    await at.pass_time(3)
    at.trouble.lose = None
    await at.pass_time(5)
    assert at.counted("bus_gaps_total", detector="probe") == [0, 1]
    assert at.counted("bus_gaps_total", detector="subscription") == [0, 0]
    assert at.counted("resyncs_total", reason="bus") == [0, 1]


# ---- changes of one user on this node ----


ME = Me("1", "Anna", None, (), 0, None, None)


async def test_only_who_has_news_is_woken(at: Scene) -> None:
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


async def test_a_change_of_health_wakes_everybody_and_the_same_health_nobody(at: Scene) -> None:
    phones = [await at.served(device=device) for device in ("d1", "d2")]
    feed = at.owner().feed
    woken = [phone.woken for phone in phones]
    feed.set_health(dataclasses.replace(feed.ledger.health, as_of=1))
    assert [phone.woken for phone in phones] == woken
    assert feed.ledger.health.as_of == 1
    feed.set_health(Health("stale", "live", 2.0))
    assert [phone.woken for phone in phones] == [count + 1 for count in woken]
    assert [phone.health for phone in phones] == ["stale", "stale"]


def _facts(phone: FakePhone, *, expires_at_ms: int | None = None) -> SessionFacts:
    facts = phone.scene.owner().feed.facts(phone.ticket.handle)
    assert facts is not None
    return dataclasses.replace(facts, expires_at_ms=expires_at_ms or facts.expires_at_ms)


async def test_facts_are_sent_to_their_connection_in_the_same_turn_when_they_changed(at: Scene) -> None:
    phone, other = await at.served(), await at.served(device="d2")
    feed = at.owner().feed
    received = len(phone.facts), len(other.facts)
    feed.set_facts(_facts(phone), Element(ME))
    assert (len(phone.facts), len(other.facts)) == received
    feed.set_facts(_facts(phone, expires_at_ms=5), None)
    assert phone.facts[-1].expires_at_ms == 5
    assert (len(phone.facts), len(other.facts)) == (received[0] + 1, received[1])


class Outlet:
    """Records what other nodes would receive."""

    def __init__(self) -> None:
        self.flushed = 0
        self.notices: list[NoticeFrame] = []
        self.marked: list[str] = []

    def flush(self) -> None:
        self.flushed += 1

    def mark_all(self, changes: ChangeSet) -> None:
        for key, before in changes.befores.items():
            self.mark(key, before)

    def mark(self, key: str, before: Element | None) -> None:
        self.marked.append(key)

    def announce(self, notice: NoticeFrame) -> None:
        self.notices.append(notice)


def test_data_waits_for_the_pace_of_the_only_phone_unless_another_node_follows() -> None:
    class Phone:
        pace = object()

    feed, phone = Feed(user(1)), Phone()
    feed.ledger.readers[cast("Reader", phone)] = None
    paces: list[object] = [feed.flush()]
    feed.ledger.outlet = Outlet()
    paces.append(feed.flush())
    assert paces == [phone.pace, None]


def test_other_nodes_are_notified_of_changes_of_health_and_of_notices() -> None:
    feed, outlet = Feed(user(1)), Outlet()
    feed.outlet = outlet
    feed.flush()
    assert outlet.flushed == 0, "no node follows"
    feed.ledger.outlet = outlet
    feed.flush()
    assert outlet.flushed == 1
    feed.set_health(Health("live", "live", 5.0))
    assert outlet.flushed == 2
    feed.set_health(Health("live", "live", 6.0))
    assert outlet.flushed == 2, "it is as fresh as before"
    feed.set_health(Health("live", "degraded", 6.0))
    assert outlet.flushed == 3
    notice = NoticeFrame("n", 1, "maintenance", "Tonight", "An update", None, 0, False)
    feed.announce(notice)
    assert outlet.notices == [notice]


@pytest.mark.parametrize("by", ["node", "server"])
async def test_a_link_is_counted_and_its_end_logged_once(caplog: pytest.LogCaptureFixture, by: str) -> None:
    caplog.set_level("DEBUG", "gateway.link")
    async with scene() as at:
        phone = await at.served()
        assert at.counted("upstream_events_total", type="opened") == 1
        at.link().push(FunctionChanged("voice", FunctionState.DOWN))
        before = at.counted("upstream_events_total", type="function_changed")
        await at.clock.settle()
        assert at.counted("upstream_events_total", type="function_changed") == before + 1
        if by == "server":
            at.upstream.drop(user(1))
            await at.clock.settle()
        phone.leave()
    ends = [vars(line) for line in caplog.records if line.getMessage() == "link_closed"]
    reason = "lost" if by == "server" else "closed by this node"
    assert [(line["user"], line["close_reason"]) for line in ends] == [(user(1), reason)]
