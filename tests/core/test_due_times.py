"""Due times, the schedule of a drain, and the balance of nodes."""

from __future__ import annotations

import math
import random  # noqa: TID251 - seeded  # noqa: TID251 - seeded: a load balancer of the test
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.due_times import (
    BEGIN,
    END,
    EXCESS_MIN,
    NO_SLOT,
    PAUSE_S,
    ROOM_MIN,
    ROUND_S,
    SETTLED_S,
    SHARE,
    SLOT_S,
    Away,
    Balance,
    DrainSchedule,
    DueSlots,
    DueTime,
    DueTimes,
    Moving,
    drain_schedules,
    moving_s,
)


def keys(taken: list[DueTime[str]]) -> list[str]:
    return [due.key for due in taken]


def test_what_is_touched_is_due_in_the_next_take_and_only_once() -> None:
    times: DueTimes[str] = DueTimes()
    due = times.add("a")
    times.take(0)
    times.put(due, 5)
    due.touch()
    due.touch()
    assert list(times.touched) == ["a"]
    assert keys(times.take(5)) == ["a"], "touched and due by time is due once"
    times.put(due, 9)
    assert keys(times.take(8)) == []
    assert keys(times.take(9)) == ["a"]


def test_what_is_dropped_is_never_due_again() -> None:
    times: DueTimes[str] = DueTimes()
    due, other = times.add("a"), times.add("b")
    times.take(0)
    times.put(due, 1)
    times.put(other, 1)
    due.touch()
    times.drop(due)
    times.put(due, 2)
    assert keys(times.take(100)) == ["b"]


def test_the_heap_shrinks_with_what_is_dropped() -> None:
    times: DueTimes[int] = DueTimes()
    dues = [times.add(key) for key in range(1_000)]
    times.take(0)
    for number, due in enumerate(dues):
        times.put(due, 100.0 + number)
    while dues:
        times.drop(dues.pop(0))
        assert len(times) <= 2 * len(dues) + 64
    assert times.take(1e9) == []


@pytest.mark.parametrize("seed", range(6))
def test_each_is_due_exactly_when_it_should_be_and_the_heap_stays_small(seed: int) -> None:
    dice, times = random.Random(seed), DueTimes[int]()
    wanted: dict[int, float] = {}
    dues = {key: times.add(key) for key in range(50)}
    times.take(0)
    for now in range(1, 400):
        for key in dice.sample(range(50), 10):
            if dice.random() < 0.3:
                dues[key].touch()
                wanted[key] = -math.inf
            elif wanted.get(key, math.inf) > -math.inf:
                wanted[key] = now + dice.choice([0, 1, 5, 50, math.inf])
                times.put(dues[key], wanted[key])
        taken = [due.key for due in times.take(now)]
        assert len(set(taken)) == len(taken)
        assert set(taken) == {key for key, at in wanted.items() if at <= now}
        for key in taken:
            wanted[key] = now + dice.choice([1, 7, 30])
            times.put(dues[key], wanted[key])
        assert len(times) <= 2 * 50 + 64


class Item:
    """An item of slots."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slot = NO_SLOT


def names(taken: list[Item]) -> list[str]:
    return [item.name for item in taken]


def test_an_item_is_in_one_slot_at_most_and_due_once() -> None:
    slots, a, b = DueSlots[Item](), Item("a"), Item("b")
    slots.put(a, 100.0)
    slots.put(b, 50.0)
    slots.put(a, 20.0)
    slots.put(b, 60.0)
    assert len(slots) == 2
    assert names(slots.take(19.9 - SLOT_S)) == []
    assert names(slots.take(20.0)) == ["a"]
    assert names(slots.take(59.0)) == []
    slots.put(b, 200.0)
    slots.drop(b)
    slots.drop(b)
    assert names(slots.take(1_000.0)) == []
    assert len(slots) == 0


@pytest.mark.parametrize("at", [-math.inf, -5.0, 0.0, 5.0])
def test_an_item_whose_time_has_passed_is_due_with_the_next_take(at: float) -> None:
    slots, item = DueSlots[Item](), Item("a")
    slots.put(item, at)
    assert names(slots.take(10.0)) == ["a"]


@pytest.mark.parametrize("seed", range(5))
def test_slots_are_never_late_and_early_by_one_slot_at_most(seed: int) -> None:
    dice, slots = random.Random(seed), DueSlots[Item]()
    items = [Item(str(number)) for number in range(50)]
    due_at: dict[Item, float] = {}
    for now in range(200):
        taken = slots.take(now)
        assert len(set(taken)) == len(taken)
        expected = {item for item, at in due_at.items() if at <= now}
        assert expected <= set(taken) <= {item for item, at in due_at.items() if at <= now + SLOT_S}
        for item in taken:
            del due_at[item]
        for item in dice.sample(items, 5):
            if dice.random() < 0.2:
                slots.drop(item)
                due_at.pop(item, None)
            else:
                due_at[item] = now + dice.uniform(-3.0, 30.0)
                slots.put(item, due_at[item])
        assert len(slots) == len(due_at)


# ---- drain schedule ----


def test_when_others_accept_too_few_in_the_grace_all_are_sent_away_within_it_and_come_back_later() -> None:
    received = drain_schedules(4, accepts_per_s=[0.25], moving=[Moving(4, 2.0)], grace_s=4.0)
    assert received == (
        DrainSchedule(0.0, (0.0, 1.0)),
        DrainSchedule(1.0, (3.0, 4.0)),
        DrainSchedule(2.0, (6.0, 7.0)),
        DrainSchedule(3.0, (9.0, 10.0)),
    )


def test_a_budget_that_needs_longer_than_the_grace_keeps_no_phone_away() -> None:
    received = drain_schedules(1000, accepts_per_s=[500.0], moving=[Moving(1000, 40 / 3)], grace_s=60.0)
    assert moving_s([Moving(1000, 40 / 3)]) == pytest.approx(75)
    assert received[-1].at_s == pytest.approx(60, abs=0.1)
    assert max(high for _, high in (one.window_s for one in received)) <= 0.1


@pytest.mark.parametrize("accepts_per_s", [(), (0.0, 0.0)])
def test_when_nobody_takes_them_all_are_sent_away_at_once_and_come_back_over_the_grace(
    accepts_per_s: tuple[float, ...],
) -> None:
    received = drain_schedules(20, accepts_per_s=accepts_per_s, moving=[Moving(20, 20.0)], grace_s=10.0)
    assert {drain_schedule.at_s for drain_schedule in received} == {0.0}
    assert [drain_schedule.window_s for drain_schedule in received[:3]] == [
        (0.0, 0.5),
        (0.5, 1.0),
        (1.0, 1.5),
    ]


def never() -> Callable[[], bool]:
    return lambda: False


def test_one_phone_more_may_be_away_for_each_that_is_back_in_time() -> None:
    away, back = Away(), set[int]()
    for phone in range(4):
        assert away.may_send(0.0)
        away.sent(lambda phone=phone: phone in back, 0.0)  # type: ignore[misc]  # bound to this phone
    assert not away.may_send(0.5)
    back.add(0)
    assert away.may_send(0.6)
    assert away.room == ROOM_MIN + 1


def test_phones_that_have_not_moved_are_counted_for_four_seconds() -> None:
    away = Away()
    while away.may_send(0.0):
        away.sent(never(), 0.5)
    assert not away.may_send(4.4)
    assert away.may_send(4.6)


def test_when_many_are_late_half_as_many_may_be_away() -> None:
    away = Away()
    away.room = 16.0
    while away.may_send(0.0):
        away.sent(never(), 0.0)
    away.may_send(2.1)
    assert away.room == 8.0


def test_a_single_late_phone_slows_nobody_down() -> None:
    away = Away()
    away.room = 16.0
    away.sent(never(), 0.0)
    assert away.may_send(2.1)
    assert away.room == 16.0


# ---- balance ----


LOG_ONS_PER_S = 20.0
LOOK_S = 3.0


def looks(
    balance: Balance, phones: int, others: dict[str, int], *, since: float = 0.0, for_s: float
) -> list[int]:
    """Return what is sent on at each look, while the counts stay as they are."""
    return [
        balance.look(since + at * LOOK_S, phones, others, LOG_ONS_PER_S) for at in range(int(for_s / LOOK_S))
    ]


def test_nothing_is_sent_on_while_nodes_come_and_go() -> None:
    balance = Balance(0.0)
    assert looks(balance, 900, {"b": 100}, for_s=SETTLED_S) == [0] * 20
    assert looks(balance, 900, {"b": 100, "c": 0}, since=SETTLED_S, for_s=SETTLED_S) == [0] * 20
    assert looks(balance, 900, {}, since=2 * SETTLED_S, for_s=SETTLED_S) == [0] * 20
    assert balance.look(4 * SETTLED_S, 900, {"b": 100}, LOG_ONS_PER_S) == 0
    assert balance.look(5 * SETTLED_S, 900, {"b": 100}, LOG_ONS_PER_S) > 0


@pytest.mark.parametrize(
    ("phones", "others"),
    [
        (130, {"b": 70}),  # exactly 30 % above the mean
        (100, {"b": 100}),
        (0, {"b": 0}),
        (16, {"b": 0}),  # too few to be worth it
        (100, {"b": 400}),
    ],
)
def test_small_differences_stay(phones: int, others: dict[str, int]) -> None:
    assert sum(looks(Balance(0.0), phones, others, for_s=5 * SETTLED_S)) == 0


def test_what_is_sent_on_is_bounded_by_the_rate_of_links() -> None:
    balance, for_s = Balance(0.0), SETTLED_S + ROUND_S
    sent = looks(balance, 9_000, {"b": 0}, for_s=for_s)
    assert 0 < sum(sent) <= SHARE * LOG_ONS_PER_S * (ROUND_S + 5)
    assert max(sent) <= SHARE * LOG_ONS_PER_S * 5


def test_what_could_not_be_sent_on_may_be_later() -> None:
    balance = Balance(0.0)
    looks(balance, 900, {"b": 0}, for_s=SETTLED_S)
    first = balance.look(SETTLED_S, 900, {"b": 0}, LOG_ONS_PER_S)
    balance.sent(SETTLED_S, fewer=first)
    assert balance.look(SETTLED_S, 900, {"b": 0}, LOG_ONS_PER_S) == first


def test_a_balancer_that_sends_phones_back_is_left_alone() -> None:
    balance = Balance(0.0)
    sent = looks(balance, 900, {"b": 100}, for_s=SETTLED_S + ROUND_S + PAUSE_S)
    tried = sum(sent)
    assert 0 < tried <= SHARE * LOG_ONS_PER_S * (ROUND_S + LOOK_S + 5)
    assert balance.paused_until > SETTLED_S + ROUND_S
    later = balance.paused_until
    assert sum(looks(balance, 900, {"b": 100}, since=later + LOOK_S, for_s=2 * PAUSE_S)) <= 1.5 * tried
    assert balance.paused_until >= later + 2 * PAUSE_S - ROUND_S


# ---- nodes behind a load balancer ----

Place = Callable[[random.Random, int, list[int]], int]


def in_turn(_: random.Random, phone: int, counts: list[int]) -> int:
    return phone % len(counts)


def at_random(chance: random.Random, _: int, counts: list[int]) -> int:
    return chance.randrange(len(counts))


def to_the_emptiest(_: random.Random, phone: int, counts: list[int]) -> int:
    return counts.index(min(counts))


class Street:
    """Nodes that know each other's counts as of their last record, phones that come back a while later."""

    def __init__(self, counts: list[int], place: Place, seed: int) -> None:
        self.counts = counts
        self.known = list(counts)
        self.moves: Counter[int] = Counter()
        self._balances = [Balance(0.0) for _ in counts]
        self._place = place
        self._chance = random.Random(seed)
        self._away: list[tuple[float, int]] = []
        self._serial = 0

    def run(self, for_s: int) -> None:
        for now in range(for_s):
            coming = [each for each in self._away if each[0] <= now]
            self._away = [each for each in self._away if each[0] > now]
            for _, phone in coming:
                self.counts[self._place(self._chance, phone, self.counts)] += 1
            for at, balance in enumerate(self._balances):
                if now % 3 != at % 3:  # each looks and says what it has at a time of its own
                    continue
                self.known[at] = self.counts[at]
                others = {str(other): count for other, count in enumerate(self.known) if other != at}
                for _ in range(balance.look(now, self.counts[at], others, LOG_ONS_PER_S)):
                    self.counts[at] -= 1
                    self._serial += 1
                    self.moves[at] += 1
                    self._away.append((now + self._chance.uniform(1, 8), self._serial))

    @property
    def spread(self) -> float:
        return max(self.counts) * len(self.counts) / sum(self.counts)


@settings(max_examples=min(30, settings().max_examples // 2))
@given(
    counts=st.lists(st.integers(0, 1_500), min_size=2, max_size=5).filter(lambda counts: sum(counts) > 100),
    place=st.sampled_from([in_turn, at_random, to_the_emptiest]),
    seed=st.integers(0, 99),
)
def test_after_a_while_the_fullest_is_near_the_mean_and_nobody_moves_any_longer(
    counts: list[int], place: Place, seed: int
) -> None:
    street = Street(list(counts), place, seed)
    mean = sum(counts) / len(counts)
    excess = sum(max(0.0, count - END * mean) for count in counts)
    street.run(3_600)
    worth = EXCESS_MIN * len(counts) / sum(counts)
    assert street.spread <= max(BEGIN, END + worth) + 0.05
    moved = street.moves.total()
    assert moved <= 2.5 * len(counts) / (len(counts) - 1) * excess + len(counts) * EXCESS_MIN
    street.run(1_200)
    assert street.moves.total() - moved <= 0.02 * sum(counts)


def test_nobody_below_the_mean_ever_sends_a_phone_on() -> None:
    street = Street([900, 500, 100], to_the_emptiest, 1)
    street.run(1_800)
    assert set(street.moves) == {0}
    assert street.spread <= END + 0.01
    assert sum(street.counts) == 1_500
