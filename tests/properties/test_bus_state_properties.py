"""However slow the bus is and however long this process sleeps, its state is what an onlooker sees."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.lease import BusMachine, BusState

REFUSED, LOST = -1.0, math.inf
WORKS = (0.125, 0.5, 0.875)


class Probing(RuleBasedStateMachine):
    """A bus that carries, delays, loses or refuses probes, and somebody who knows which."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.bus = BusMachine(0.0)
        self.delay_s = LOST
        self.changed_at = 0.0
        self.woke_at = 0.0
        self.flying: dict[int, float] = {}
        self.sent: dict[int, float] = {}
        self.good: set[int] = set()
        self.failed: set[int] = set()
        self.last_back = 0
        self.trouble_at: float | None = 0.0
        self.back_at = 0.0
        self.was_down = False
        self.good_since: float | None = None
        self.good_at = -math.inf
        self.losses = 1
        self.asked_for = 0
        """How many of the losses have been asked for by a resync that ended."""
        self.resyncs: list[tuple[int, int]] = []

    # ---- the world ----

    @rule(delay_s=st.sampled_from([*WORKS, *WORKS, 1.0, 1.5, 3.0, LOST, LOST, REFUSED]))
    def the_bus_becomes(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.changed_at = self.now

    @rule(seconds=st.sampled_from([0.125, 0.625, 1.0, 2.5, 4.0, 6.0, 9.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            at = min(self.bus.due_at, *self.flying.values(), until)
            self.now = max(self.now, at)
            self.probes_arrive()
            self.look()
            assert self.bus.due_at > self.now
            if self.now >= until:
                break
        self.what_lasts_is_seen()

    @rule(seconds=st.sampled_from([0.5, 2.0, 7.0, 30.0]))
    def this_process_sleeps(self, seconds: float) -> None:
        self.now += seconds
        self.changed_at = self.woke_at = self.now

    @precondition(lambda self: self.last_back)
    @rule(back=st.integers(0, 3))
    def a_probe_comes_twice(self, back: int) -> None:
        if self.last_back - back not in self.flying:
            self.bus.returned(self.last_back - back, self.now)

    @rule()
    def a_connection_is_renewed(self) -> None:
        self.losses += 1
        self.good_since, self.good_at = None, -math.inf
        self.changed_at = self.now
        self.bus.possible_loss()

    @precondition(lambda self: self.bus.state is BusState.RECOVERING)
    @rule()
    def a_resync_begins(self) -> None:
        self.resyncs.append((self.bus.recovery, self.losses))

    @precondition(lambda self: self.resyncs)
    @rule(which=st.integers(0, 3))
    def a_resync_ends(self, which: int) -> None:
        recovery, losses = self.resyncs.pop(which % len(self.resyncs))
        if self.trouble_at is None:
            self.asked_for = max(self.asked_for, losses)
        self.bus.resynced(recovery)

    # ---- what a node does ----

    def probes_arrive(self) -> None:
        for number in sorted(number for number, at in self.flying.items() if at <= self.now):
            del self.flying[number]
            self.last_back = number
            self.back_at = self.now
            if number == len(self.sent) and number not in self.failed:  # late, but nobody has seen that
                self.good.add(number)
                self.trouble_at, self.was_down = None, False
                if self.good_since is None or self.now - self.good_at >= 2.0:
                    self.good_since = self.now
                self.good_at = self.now
            self.bus.returned(number, self.now)

    def look(self) -> None:
        newest = len(self.sent)
        if self.is_open(newest) and self.is_late(newest):
            self.a_probe_failed(newest)
        must_probe = self.bus.tick(self.now)
        if self.trouble_at is not None and not self.was_down:
            silent_since = max(self.trouble_at, self.back_at)
            self.was_down = self.now - silent_since >= 5.0
            if self.was_down and self.woke_at <= silent_since:
                assert self.now == silent_since + 5.0
        assert must_probe == (not newest or self.now - self.sent[newest] >= 1.0)
        if must_probe:
            self.send()

    def send(self) -> None:
        number = self.bus.probing(self.now)
        assert number == len(self.sent) + 1
        assert self.bus.probing(self.now) == number
        self.sent[number] = self.now
        if self.delay_s == REFUSED:
            self.bus.failed(number, self.now)
            self.a_probe_failed(number)
        elif self.delay_s != LOST:
            self.flying[number] = self.now + self.delay_s

    def a_probe_failed(self, number: int) -> None:
        self.failed.add(number)
        self.losses += 1
        self.good_since, self.good_at = None, -math.inf
        self.trouble_at = self.now if self.trouble_at is None else self.trouble_at

    def is_open(self, number: int) -> bool:
        return number in self.sent and number not in self.failed | self.good

    def is_late(self, number: int) -> bool:
        return self.now - self.sent[number] >= 1.0

    # ---- what must hold ----

    def what_lasts_is_seen(self) -> None:
        lasted = self.now - self.changed_at
        if self.delay_s in WORKS and lasted >= 3.0:
            assert self.bus.state in (BusState.RECOVERING, BusState.LIVE)
            assert self.bus.is_healthy_for(self.now) >= lasted - 3.0
        if self.delay_s in (LOST, REFUSED) and lasted >= 2.0:
            assert self.bus.health != "live"
        if self.delay_s in (LOST, REFUSED) and lasted >= 10.0:
            assert self.bus.health == "down"

    @invariant()
    def the_state_is_what_an_onlooker_sees(self) -> None:
        if self.trouble_at is not None:
            assert self.bus.state is (BusState.DOWN if self.was_down else BusState.DEGRADED)
        else:
            is_asked_for = self.asked_for == self.losses
            assert self.bus.state is (BusState.LIVE if is_asked_for else BusState.RECOVERING)

    @invariant()
    def health_is_not_overrated(self) -> None:
        newest = len(self.sent)
        is_late = self.is_open(newest) and self.is_late(newest)
        is_broken = is_late or self.now - self.good_at >= 2.0
        healthy = 0.0 if is_broken or self.good_since is None else self.now - self.good_since
        assert self.bus.is_healthy_for(self.now) == healthy


TestProbing = Probing.TestCase
TestProbing.settings = settings(max_examples=max(60, settings().max_examples))
