"""State of the bus."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.lease import BUS_TRANSITIONS, BusMachine, BusState, StoreWrites


def comes_back(bus: BusMachine, at: float, *, after: float = 0.25) -> None:
    bus.returned(bus.probing(at), at + after)


def fails(bus: BusMachine, at: float) -> None:
    bus.failed(bus.probing(at), at)


EVENTS: dict[str, Callable[[BusMachine], object]] = {
    "returned": lambda bus: comes_back(bus, 100.0),
    "failed": lambda bus: fails(bus, 100.0),
    "silent": lambda bus: bus.tick(100.0),
    "loss": lambda bus: bus.possible_loss(),
    "resynced": lambda bus: bus.resynced(bus.recovery),
}
ROADS: dict[BusState, tuple[str, ...]] = {
    BusState.DEGRADED: (),
    BusState.LIVE: ("returned", "resynced"),
    BusState.DOWN: ("silent",),
    BusState.RECOVERING: ("returned",),
}


def led(state: BusState) -> BusMachine:
    bus = BusMachine(0.0)
    for event in ROADS[state]:
        EVENTS[event](bus)
    return bus


def live(at: float = 0.0) -> BusMachine:
    bus = BusMachine(at)
    comes_back(bus, at)
    bus.resynced(bus.recovery)
    assert bus.state is BusState.LIVE
    return bus


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("start", BusState)
def test_the_table_is_what_happens_and_the_illegal_changes_nothing(start: BusState, event: str) -> None:
    bus = led(start)
    recovery = bus.recovery
    EVENTS[event](bus)
    target = BUS_TRANSITIONS.get((start, event))
    assert bus.state is (start if target is None else target)
    assert bus.recovery == recovery + (target is BusState.RECOVERING)


def test_messages_may_have_waited_since_the_last_probe_that_came_back_in_time() -> None:
    bus = live()
    for at in (1.0, 2.0):
        comes_back(bus, at)
    assert [bus.carried_since(now) for now in (2.25, 3.125, 3.25)] == [2.25, 3.125, 2.0]
    carried_at = bus.carried_since(20.0)
    assert carried_at == 2.0
    bus.tick(3.0)
    number = bus.probing(3.0)
    bus.tick(4.0)
    bus.returned(number, 9.0)  # late: messages of the time before may still come
    assert bus.carried_since(9.0) == carried_at


@pytest.mark.parametrize("number", [0, 1, 99], ids=["of an earlier life", "returned before", "never sent"])
def test_a_probe_that_is_not_missing_does_not_put_off_the_outage(number: int) -> None:
    bus = live()
    fails(bus, 1.0)
    bus.returned(number, 5.0)
    bus.tick(6.0)
    assert bus.state is BusState.DOWN


def test_a_report_of_another_probe_than_the_one_under_way_changes_nothing() -> None:
    bus = live()
    fails(bus, 1.0)
    number = bus.probing(2.0)
    bus.failed(number - 1, 2.0)
    bus.returned(number, 2.25)
    assert (bus.state, bus.health) == (BusState.RECOVERING, "degraded")
    bus.failed(number, 2.25)
    assert bus.state is BusState.RECOVERING


def test_an_outage_counts_from_the_failure_also_after_a_stop_of_the_process() -> None:
    bus = live()
    fails(bus, 20.0)
    fails(bus, 24.5)
    bus.tick(24.875)
    assert (bus.state, bus.due_at) == (BusState.DEGRADED, 25.0)
    bus.tick(25.0)
    assert bus.state is BusState.DOWN


def test_health_counts_from_the_last_gap_failure_or_doubt() -> None:
    bus = live()
    comes_back(bus, 1.0)
    assert bus.is_healthy_for(1.5) == 1.25
    comes_back(bus, 3.0)
    assert bus.is_healthy_for(3.5) == 0.25, "two seconds without a probe"
    fails(bus, 4.0)
    assert bus.is_healthy_for(4.0) == 0.0
    comes_back(bus, 5.0)
    assert bus.is_healthy_for(5.5) == 0.25
    bus.possible_loss()
    assert bus.is_healthy_for(5.5) == 0.0
    bus = live()
    bus.probing(1.0)
    assert [bus.is_healthy_for(now) for now in (1.875, 2.0)] == [1.625, 0.0], "a probe is overdue"


def test_a_probe_that_returns_to_a_bus_that_is_not_live_shows_nothing_of_earlier_messages() -> None:
    bus = live()
    comes_back(bus, 1.0)
    fails(bus, 2.0)
    comes_back(bus, 3.0)
    assert bus.carried_since(3.375) == 1.0


def test_a_store_is_away_after_five_seconds_of_refused_writes() -> None:
    writes = StoreWrites()
    assert not writes.is_away(9.0)
    for at in (10.0, 14.0):
        writes.record(at, refused=True)
    assert [(writes.is_away(now), writes.taken_for(now)) for now in (14.875, 15.0)] == [(False, 0), (True, 0)]
    for at in (16.0, 20.0):
        writes.record(at, refused=False)
    assert (writes.is_away(20.0), writes.taken_for(20.0)) == (False, 4.0)
