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
    assert bus.carried_since(2.3) == 2.3
    carried_at = bus.carried_since(20.0)
    assert 1.5 <= carried_at <= 2.0
    bus.tick(3.0)
    number = bus.probing(3.0)
    bus.tick(4.0)
    bus.returned(number, 9.0)  # late: messages of the time before may still come
    assert bus.carried_since(9.0) == carried_at
