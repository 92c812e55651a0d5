"""Does the bus carry messages?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.bus_health import TRANSITIONS, BusMachine, BusState


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


def state(bus: BusMachine) -> BusState:
    return bus.state


def due_at(bus: BusMachine) -> float:
    return bus.due_at


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("start", BusState)
def test_the_table_is_what_happens_and_the_illegal_changes_nothing(start: BusState, event: str) -> None:
    bus = led(start)
    recovery = bus.recovery
    EVENTS[event](bus)
    target = TRANSITIONS.get((start, event))
    assert bus.state is (start if target is None else target)
    assert bus.recovery == recovery + (target is BusState.RECOVERING)


@pytest.mark.parametrize("start", [BusState.DEGRADED, BusState.DOWN])
def test_a_doubt_of_a_bus_that_is_away_changes_nothing(start: BusState) -> None:
    bus = led(start)
    before = dict(vars(bus))
    bus.doubted()
    bus.resynced(bus.recovery)
    assert vars(bus) == before


def test_it_begins_degraded_and_probes_at_once() -> None:
    bus = BusMachine(50.0)
    assert (bus.state, bus.health, bus.is_healthy_for(50.0)) == (BusState.DEGRADED, "degraded", 0.0)
    assert bus.due_at == 50.0
    assert bus.tick(50.0)


def test_a_start_without_a_bus_is_down_after_5_s() -> None:
    bus = BusMachine(50.0)
    for second in range(5):
        assert bus.tick(50.0 + second)
        bus.probing(50.0 + second)
    bus.tick(54.875)
    assert state(bus) is BusState.DEGRADED
    assert bus.due_at == 55.0
    assert bus.tick(55.0)
    assert state(bus) is BusState.DOWN
    assert bus.health == "down"


def test_a_first_probe_that_comes_back_begins_a_recovery_which_is_shown_as_degraded() -> None:
    bus = BusMachine(0.0)
    comes_back(bus, 0.0)
    assert (state(bus), bus.health) == (BusState.RECOVERING, "degraded")
    bus.resynced(bus.recovery)
    assert (state(bus), bus.health) == (BusState.LIVE, "live")


def test_probes_leave_every_second_one_at_a_time() -> None:
    bus = BusMachine(0.0)
    assert bus.probing(0.0) == bus.probing(0.5) == 1
    assert not bus.tick(0.875)
    assert bus.due_at == 1.0
    bus.returned(1, 0.875)
    assert not bus.tick(0.875)
    assert due_at(bus) == 1.0
    assert bus.tick(1.0)
    assert bus.probing(1.0) == 2


def test_one_late_probe_degrades_a_live_bus_within_two_seconds() -> None:
    bus = live()
    assert bus.tick(1.0)
    bus.probing(1.0)
    bus.tick(1.875)
    assert state(bus) is BusState.LIVE
    assert bus.due_at == 2.0
    assert bus.tick(2.0), "and the next leaves at once"
    assert state(bus) is BusState.DEGRADED
    assert bus.due_at == 2.0


def test_a_probe_that_cannot_be_sent_degrades_at_once_and_the_next_keeps_its_time() -> None:
    bus = live()
    fails(bus, 1.0)
    assert bus.state is BusState.DEGRADED
    assert not bus.tick(1.0)
    assert bus.due_at == 2.0


def test_what_failed_before_cannot_fail_again() -> None:
    bus = live()
    fails(bus, 1.0)
    number = bus.probing(2.0)
    bus.failed(number - 1, 2.0)
    bus.returned(number, 2.25)
    assert bus.state is BusState.RECOVERING
    bus.failed(number, 2.25)
    assert bus.state is BusState.RECOVERING


def test_five_seconds_count_from_when_the_trouble_was_seen() -> None:
    bus = live()
    bus.probing(1.0)
    bus.tick(41.0)
    assert state(bus) is BusState.DEGRADED, "it was this process that slept"
    bus.probing(41.0)
    bus.tick(45.875)
    assert state(bus) is BusState.DEGRADED
    bus.tick(46.0)
    assert state(bus) is BusState.DOWN


def test_a_slow_bus_stays_degraded_and_is_not_down() -> None:
    bus = BusMachine(0.0)
    for second in range(20):
        bus.tick(float(second))
        number = bus.probing(float(second))
        bus.returned(number - 1, second + 0.5)
        assert bus.state is BusState.DEGRADED
        assert bus.is_healthy_for(second + 0.5) == 0.0


def test_a_late_return_that_is_seen_before_the_clock_heals_nothing() -> None:
    bus = BusMachine(0.0)
    number = bus.probing(0.0)
    bus.returned(number, 1.0)
    assert bus.state is BusState.DEGRADED
    assert bus.tick(1.0)


def test_a_probe_that_comes_back_twice_or_was_never_sent_is_ignored() -> None:
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


def test_a_late_return_does_not_end_an_outage_but_the_next_in_time_does() -> None:
    bus = led(BusState.DOWN)
    late = bus.probing(100.0)
    bus.tick(101.0)
    number = bus.probing(101.0)
    bus.returned(late, 101.25)
    assert state(bus) is BusState.DOWN
    bus.returned(number, 101.25)
    assert state(bus) is BusState.RECOVERING


def test_a_recovery_ends_by_its_own_resync_only() -> None:
    bus = led(BusState.RECOVERING)
    first = bus.recovery
    bus.doubted()
    bus.resynced(first)
    assert state(bus) is BusState.RECOVERING
    fails(bus, 101.0)
    comes_back(bus, 102.0)
    bus.resynced(first + 1)
    assert state(bus) is BusState.RECOVERING
    bus.resynced(bus.recovery)
    assert state(bus) is BusState.LIVE


def test_health_is_counted_from_the_first_good_probe_after_trouble() -> None:
    bus = BusMachine(0.0)
    for second in range(4):
        bus.tick(float(second))
        comes_back(bus, float(second))
    assert bus.is_healthy_for(3.25) == 3.0
    bus.probing(4.0)
    assert bus.is_healthy_for(4.875) == 4.625
    assert bus.is_healthy_for(5.0) == 0.0, "also before the clock told"
    bus.tick(5.0)
    comes_back(bus, 5.0)
    assert bus.is_healthy_for(5.25) == 0.0
    assert bus.is_healthy_for(6.0) == 0.75


def test_whoever_slept_knows_nothing_of_the_meantime() -> None:
    bus = live()
    comes_back(bus, 1.0)
    assert bus.is_healthy_for(3.125) == 2.875
    assert bus.is_healthy_for(3.25) == 0.0
    comes_back(bus, 11.0)
    assert bus.is_healthy_for(11.25) == 0.0
    comes_back(bus, 12.0)
    assert bus.is_healthy_for(12.25) == 1.0


def test_after_a_connection_was_renewed_health_is_counted_anew() -> None:
    """Others may still be renewing theirs: who is not heard by then is not to be taken for dead."""
    bus = live()
    for at in (1.0, 2.0, 3.0):
        comes_back(bus, at)
    assert bus.is_healthy_for(3.5) == 3.25
    bus.doubted()
    assert bus.is_healthy_for(3.5) == 0.0
    comes_back(bus, 4.0)
    assert bus.is_healthy_for(4.5) == 0.25
