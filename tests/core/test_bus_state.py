"""State of the bus."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.lease import BUS_TRANSITIONS, BusMachine, BusState


def comes_back(bus: BusMachine, at: float, *, after: float = 0.25) -> None:
    bus.returned(bus.probing(at), at + after)


def fails(bus: BusMachine, at: float) -> None:
    bus.failed(bus.probing(at), at)


EVENTS: dict[str, Callable[[BusMachine], object]] = {
    "returned": lambda bus: comes_back(bus, 100.0),
    "failed": lambda bus: fails(bus, 100.0),
    "silent": lambda bus: bus.tick(100.0),
    "doubted": lambda bus: bus.doubted(),
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


def test_it_begins_degraded_probes_at_once_and_a_slow_bus_stays_so() -> None:
    bus = BusMachine(50.0)
    assert (bus.state, bus.health, bus.is_healthy_for(50.0)) == (BusState.DEGRADED, "degraded", 0.0)
    assert bus.due_at == 50.0
    assert bus.tick(50.0)
    bus = BusMachine(0.0)
    for second in range(20):
        bus.tick(float(second))
        number = bus.probing(float(second))
        bus.returned(number - 1, second + 0.5)
        assert bus.state is BusState.DEGRADED
        assert bus.is_healthy_for(second + 0.5) == 0.0


def test_a_renewed_connection_resets_the_health_count() -> None:
    """Others may still be renewing theirs: a node that is silent until then is not to be taken for dead."""
    bus = live()
    for at in (1.0, 2.0, 3.0):
        comes_back(bus, at)
    assert bus.is_healthy_for(3.5) == 3.25
    bus.doubted()
    assert bus.is_healthy_for(3.5) == 0.0
    comes_back(bus, 4.0)
    assert bus.is_healthy_for(4.5) == 0.25


def test_messages_may_have_waited_since_the_last_probe_that_came_back_in_time() -> None:
    bus = live()
    for at in (1.0, 2.0):
        comes_back(bus, at)
    assert bus.carried_since(2.3) == 2.3
    carried_at = bus.carried_since(20.0)
    assert 1.5 <= carried_at <= 2.0
    bus.tick(3.0)
    number = bus.probing(3.0)
    bus.tick(4.0)
    bus.returned(number, 9.0)  # late: messages of the time before may still come
    assert bus.carried_since(9.0) == carried_at


def test_what_is_said_of_a_probe_again_or_of_none_is_ignored() -> None:
    bus = live()
    fails(bus, 1.0)
    number = bus.probing(2.0)
    bus.failed(number - 1, 2.0)
    bus.returned(number, 2.25)
    assert bus.state is BusState.RECOVERING
    bus.failed(number, 2.25)
    assert bus.state is BusState.RECOVERING
    bus = BusMachine(0.0)
    bus.returned(1, 0.0)
    bus.returned(0, 0.0)
    assert bus.state is BusState.DEGRADED
    first = bus.probing(0.0)
    bus.tick(1.0)
    second = bus.probing(1.0)
    bus.returned(second, 1.25)
    bus.tick(2.25)
    before = dict(vars(bus))
    for number in (first, second, second + 1):
        bus.returned(number, 2.5)
    assert vars(bus) == before
