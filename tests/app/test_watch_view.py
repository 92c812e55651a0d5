"""``watch``: the age of data, and the last events."""

from __future__ import annotations

from datetime import UTC

import pytest

from gateway.app.cli.watch import BoardState
from gateway.client import (
    Connected,
    Ended,
    Event,
    HealthChanged,
    LogOffPending,
    NoticeShown,
    Reconnecting,
    Refused,
    Renewed,
)
from gateway.protocol.frames import ErrorFrame
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import notice

T = 1_700_000_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def view(clock: ManualClock) -> BoardState:
    return BoardState("Main site", "Ada", "dashboard", clock, UTC)


async def test_a_lost_connection_counts_down_to_the_next_try(view: BoardState, clock: ManualClock) -> None:
    view.received(Connected(False), T)
    assert view.health.connected
    view.received(Reconnecting(8.0, "draining"), T)
    await clock.advance(3)
    assert (view.health.connected, view.health.reason) == (False, "draining")
    assert view.health.reconnect_in_s == pytest.approx(5.0)
    view.received(Connected(True), T)
    assert (view.health.connected, view.health.reason, view.health.reconnect_in_s) == (True, None, None)


def test_health_is_what_was_reported_last(view: BoardState) -> None:
    view.received(HealthChanged("live", "live", 7), T)
    assert view.health.last_event is None
    view.received(HealthChanged("live", "live", 9), T)
    assert view.health.last_event is None
    view.received(HealthChanged("stale", "degraded", 9), T)
    assert (view.health.upstream, view.health.bus, view.health.as_of_ms) == ("stale", "degraded", 9)
    assert view.health.last_event == "22:13:20 upstream stale, bus degraded"


@pytest.mark.parametrize(
    ("event", "last"),
    [
        (Connected(False), "connected"),
        (Reconnecting(1.0, "lost"), "connection lost: lost"),
        (Ended(4005, "logged_off", "Bob"), "session ended: logged_off by Bob"),
        (Ended(4300, "session_ended", None), "session ended: session_ended"),
        (NoticeShown(notice()), "notice: New statement"),
        (Refused(ErrorFrame("rate_limited", "Slower.")), "refused: Slower."),
        (LogOffPending(7), "log-off is not confirmed yet"),
        (Renewed(7), None),
    ],
)
def test_what_happened_last_is_reported_with_its_time(
    view: BoardState, event: Event, last: str | None
) -> None:
    view.received(event, T)
    assert view.health.last_event == (last and f"22:13:20 {last}")
    view.received(event, None)
    assert view.health.last_event == last
    if isinstance(event, Ended):
        assert view.health.ended == (last or "").removeprefix("session ended: ")
        assert not view.health.connected


@pytest.mark.parametrize(
    ("key", "before", "after", "last"),
    [
        ("queue:1", {"level": "ok"}, {"level": "action", "name": "Sales"}, "22:13:20 Sales: action"),
        ("queue:1", {}, {"level": "attention"}, "22:13:20 queue:1: attention"),
        ("queue:1", {"level": "action"}, {"level": "action"}, None),
        ("queue:1", {"level": "action"}, {"level": "ok"}, None),
        ("queue:1", None, {"level": "action"}, None),
        ("queue:1", {"level": "ok"}, None, None),
        ("agent:1", {"level": "ok"}, {"level": "action"}, None),
    ],
)
def test_a_queue_that_gets_worse_is_an_event(
    view: BoardState,
    key: str,
    before: dict[str, object] | None,
    after: dict[str, object] | None,
    last: str | None,
) -> None:
    view.changed(key, before, after, at_ms=T)
    assert view.health.last_event == last
