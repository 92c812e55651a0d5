"""No schedule lets anybody overtake at the admission queue, or do more than his quota."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.rate_limits import AdmissionQueue, Budget, Place, Quota, Urgency

RATE, BURST, IN_FLIGHT = 2.0, 4.0, 6
STEPS = st.sampled_from([0.0, 0.125, 0.5, 1.0, 5.0])


class Queueing(RuleBasedStateMachine):
    """Users join, are woken, enter, give up, finish; people log on beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = AdmissionQueue(Budget(rate_per_s=RATE, burst=BURST, in_flight_max=IN_FLIGHT))
        self.now = 0.0
        self.waiting: list[tuple[Urgency, int, Place]] = []
        self.joined = 0
        self.inside = self.log_ons = 0
        self.on_their_way = 0
        """Links that other nodes are to hand over."""
        self.entered: list[float] = []
        self.woken: set[int] = set()
        self.is_slowed = False

    @rule(urgency=st.sampled_from(Urgency))
    def join(self, urgency: Urgency) -> None:
        number = self.joined
        self.joined += 1
        place = self.gate.join(urgency, lambda: self.woken.add(number))
        self.waiting.append((urgency, number, place))
        if number in [first for _, first, _ in self._firsts()]:
            self.woken.add(number)  # the one that joins checks at once, and sees it

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def enter(self, data: st.DataObject) -> None:
        mine = data.draw(st.sampled_from(sorted(self.waiting, key=lambda one: one[1])))
        firsts = self._firsts()
        if self.gate.enter(mine[2], self.now):
            assert mine in firsts, "somebody was overtaken"
            self.entered.append(self.now)
            self.waiting.remove(mine)
            if mine[0] is Urgency.GIVING:
                self.on_their_way += 1
            else:
                self.inside += 1

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        mine = data.draw(st.sampled_from(sorted(self.waiting, key=lambda one: one[1])))
        self.gate.withdraw(mine[2])
        self.waiting.remove(mine)

    @rule()
    def log_on(self) -> None:
        if self.gate.admit_log_on(self.now):
            assert all(urgency is not Urgency.PERSON for urgency, _, _ in self.waiting)
            self.log_ons += 1
            assert self.log_ons <= IN_FLIGHT / 2
            self.inside += 1
            self.entered.append(self.now)

    @precondition(lambda self: self.on_their_way)
    @rule(has_failed=st.booleans())
    def end_hand_over(self, has_failed: bool) -> None:
        self.on_their_way -= 1
        if has_failed:
            self.gate.hand_over_failed()
        else:
            self.inside += self.gate.handed_over()

    @precondition(lambda self: self.inside)
    @rule()
    def done(self) -> None:
        if self.log_ons:
            self.gate.log_on_done()
            self.log_ons -= 1
        else:
            self.gate.done()
        self.inside -= 1

    @rule(is_slowed=st.booleans())
    def slow(self, is_slowed: bool) -> None:
        self.is_slowed = is_slowed
        self.gate.slow(self.now, is_slowed=is_slowed)

    @rule(step=STEPS)
    def wait(self, step: float) -> None:
        self.now += step

    @rule()
    def everybody_has_his_turn_in_the_end(self) -> None:
        """With time and places enough the queue empties, in order."""
        self.slow(is_slowed=False)
        while self.on_their_way:
            self.end_hand_over(has_failed=True)
        while self.inside:
            self.done()
        for urgency, _, place in sorted(self.waiting, key=lambda one: one[:2]):
            self.now += (BURST + 1) / RATE
            assert self.gate.enter(place, self.now)
            assert urgency is not Urgency.GIVING or self.gate.handed_over()
            self.gate.done()
            self.entered.append(self.now)
        self.waiting.clear()

    @invariant()
    def no_more_than_the_budget(self) -> None:
        assert self.inside <= IN_FLIGHT
        assert self.on_their_way <= IN_FLIGHT
        assert len(self.gate) == len(self.waiting)
        for _, number, place in self._firsts():
            assert number in self.woken, "the first was never woken"
            assert self.gate.wait_s(place, self.now) < math.inf
        for first, since in enumerate(self.entered):
            for last in range(first, len(self.entered)):
                assert last - first + 1 <= BURST + RATE * (self.entered[last] - since) + 1e-6

    def _firsts(self) -> list[tuple[Urgency, int, Place]]:
        """Return whose turn it is: the first, and while newcomers are slowed the first of the others, too."""
        newcomers = [one for one in self.waiting if one[0] is Urgency.PERSON]
        others = [one for one in self.waiting if one[0] is not Urgency.PERSON]
        firsts = [min(line, key=lambda one: one[:2]) for line in (newcomers, others) if line]
        return firsts if self.is_slowed else firsts[:1]


TestQueueing = Queueing.TestCase


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 10.0, 40.0]), st.sampled_from("ab"), st.booleans()),
        max_size=60,
    )
)
def test_no_key_does_more_than_its_quota_and_none_waits_longer_than_needed(
    steps: list[tuple[float, str, bool]],
) -> None:
    quota: Quota[str] = Quota(most=3, window_s=100.0)
    now = 0.0
    done: dict[str, list[float]] = {"a": [], "b": []}
    for step, key, comes_to_nothing in steps:
        now += step
        wait_s = quota.take(key, now)
        recent = [at for at in done[key] if at > now - 100.0]
        if wait_s:
            assert len(recent) == 3
            assert wait_s == recent[0] + 100.0 - now
        elif comes_to_nothing:
            quota.give_back(key, now)
        else:
            assert len(recent) < 3
            done[key].append(now)
