"""No schedule of takers gets more than the rate, and no guesser shows more passwords than allowed."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.log_ons import LogOnGuard, name_hash
from gateway.core.rate_limits import Budget, KeyedRates, TokenBucket, Urgency

EPS = 1e-5
STEPS = st.sampled_from([0.0, 2**-6, 0.125, 0.25, 1.0, 3.75, 60.0])
RATES = st.sampled_from([0.125, 1.0, 4.0, 16.0])
BURSTS = st.integers(1, 10)


@given(
    rate=RATES, burst=BURSTS, asks=st.lists(st.tuples(STEPS, st.floats(0.01, 10.0)), min_size=5, max_size=40)
)
def test_no_schedule_gets_more_than_the_rate(
    rate: float, burst: int, asks: list[tuple[float, float]]
) -> None:
    bucket, now = TokenBucket(rate, burst), 100.0
    taken: list[tuple[float, float]] = []
    for step, amount in asks:
        now += step
        if bucket.take(now, amount):
            taken.append((now, amount))
    for first, (since, _) in enumerate(taken):
        got = 0.0
        for at, amount in taken[first:]:
            got += amount
            assert got <= burst + rate * (at - since) + EPS


@given(rate=RATES, burst=BURSTS, asks=st.lists(st.tuples(STEPS, st.floats(0.01, 12.0)), max_size=20))
def test_a_wait_is_as_long_as_needed_and_no_longer(
    rate: float, burst: int, asks: list[tuple[float, float]]
) -> None:
    bucket, now = TokenBucket(rate, burst), 0.0
    for step, amount in asks:
        now += step
        wait_s = bucket.wait_s(now, amount)
        if wait_s == math.inf:
            assert amount > burst
            assert not bucket.take(now + 1e6, amount)
            now += 1e6
        else:
            assert wait_s == 0.0 or not bucket.take(now + wait_s - min(wait_s, 0.001), amount)
            now += wait_s
            assert bucket.take(now, amount)


@given(
    asks=st.lists(
        st.tuples(st.sampled_from([0, 1, 1, 2, 30]), st.integers(0, 3), st.integers(1, 3)),
        min_size=5,
        max_size=60,
    )
)
def test_forgetting_full_buckets_changes_no_decision(asks: list[tuple[int, int, int]]) -> None:
    few, own, now = KeyedRates[int](1.0, 3, keys_max=2), dict[int, TokenBucket](), 0
    for step, key, times in asks:
        now += step
        bucket = own.setdefault(key, TokenBucket(1.0, 3))
        if sum(other.wait_s(now, 3.0) > 0 or other is bucket for other in own.values()) > 2:
            return  # from here on something must be forgotten
        for _ in range(times):
            assert few.take(key, now) == bucket.wait_s(now)
            bucket.take(now)
        assert len(few) <= 2


TRIES, WINDOW, ANN = 3, 100, name_hash("main", "ann")


class Guessing(RuleBasedStateMachine):
    """Many guess one name at once. OSCC-E judges each try at some time before its answer is here."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.guard = LogOnGuard(tries=TRIES, window_s=float(WINDOW))
        self.shown = 0
        self.judged: list[bool] = []
        self.wrong_at_server: list[int] = []

    @rule(seconds=st.sampled_from([1, 10, 50, 101]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(times=st.integers(1, 5))
    def show_passwords(self, times: int) -> None:
        for _ in range(times):
            if not self.guard.is_busy(ANN, self.now):
                self.guard.trying(ANN)
                self.shown += 1

    @precondition(lambda self: self.shown)
    @rule(right=st.sampled_from([False, False, True]))
    def one_is_judged(self, right: bool) -> None:
        self.shown -= 1
        self.judged.append(right)
        if right:
            self.wrong_at_server.clear()
        else:
            self.wrong_at_server.append(self.now)

    @precondition(lambda self: self.judged)
    @rule(which=st.integers(0, 4))
    def an_answer_comes(self, which: int) -> None:
        if self.judged.pop(which % len(self.judged)):
            self.guard.succeeded(ANN)
        else:
            self.guard.failed(ANN, self.now)

    @precondition(lambda self: self.shown)
    @rule()
    def no_answer_comes(self) -> None:
        self.shown -= 1
        self.guard.unanswered(ANN)

    @invariant()
    def oscce_never_locks_the_account(self) -> None:
        recent = [at for at in self.wrong_at_server if self.now < at + WINDOW]
        assert len(recent) <= TRIES

    @invariant()
    def who_is_locked_may_not_try(self) -> None:
        is_locked = self.guard.locked_s(ANN, self.now) > 0
        assert self.guard.is_busy(ANN, self.now) or not is_locked

    @invariant()
    def nobody_is_locked_out_for_ever(self) -> None:
        assert self.guard.locked_s(ANN, self.now) <= WINDOW
        if not self.shown and not self.judged:
            assert self.guard.locked_s(ANN, self.now + WINDOW) == 0.0


TestGuessing = Guessing.TestCase


RATE, BURST, PLACES = 8.0, 8.0, 8
FREE = {Urgency.PERSON: 0, Urgency.ROAMING: 2, Urgency.REOPENING: 4, Urgency.GIVING: 6}
"""Tokens that each class leaves."""
FREE_PLACES = FREE | {Urgency.GIVING: 4}
"""Places that links leave free before one of each class begins."""


class Asking(RuleBasedStateMachine):
    """Nodes ask a site for log-ons of every class."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.nodes = [Budget(rate_per_s=RATE, burst=BURST, in_flight_max=PLACES)]
        self.begun: list[float] = []

    @rule(seconds=STEPS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.begun)
    @rule(nodes=st.sampled_from([1, 2, 4]))
    def nodes_share(self, nodes: int) -> None:
        self.nodes = [Budget(rate_per_s=RATE, burst=BURST, in_flight_max=PLACES) for _ in range(nodes)]
        for node in self.nodes:
            node.share(nodes, self.now)

    @rule(which=st.integers(0, 3), urgency=st.sampled_from(Urgency), times=st.integers(1, 12))
    def ask(self, which: int, urgency: Urgency, times: int) -> None:
        node = self.nodes[which % len(self.nodes)]
        for _ in range(times):
            wait_s = node.wait_s(self.now, urgency)
            if node.admit(self.now, urgency):
                assert wait_s < EPS
                self.begun.append(self.now)
                if len(self.nodes) == 1:
                    assert PLACES - node.in_flight >= FREE_PLACES[urgency]
            else:
                assert wait_s > 0.0

    @rule(urgency=st.sampled_from([Urgency.ROAMING, Urgency.REOPENING, Urgency.GIVING]))
    def lesser_classes_leave_room_for_people(self, urgency: Urgency) -> None:
        node = Budget(rate_per_s=RATE, burst=BURST, in_flight_max=PLACES)
        while node.admit(self.now, urgency):
            pass
        assert [node.admit(self.now) for _ in range(FREE[urgency])] == [True] * FREE[urgency]
        assert not node.admit(self.now)

    @rule(which=st.integers(0, 3))
    def one_is_done(self, which: int) -> None:
        self.nodes[which % len(self.nodes)].done()

    @invariant()
    def the_site_is_not_asked_too_much(self) -> None:
        assert sum(node.in_flight for node in self.nodes) <= PLACES
        assert all(node.in_flight >= 0 for node in self.nodes)
        for first, since in enumerate(self.begun):
            for count, at in enumerate(self.begun[first:], 1):
                assert count <= BURST + RATE * (at - since) + EPS


TestAsking = Asking.TestCase
