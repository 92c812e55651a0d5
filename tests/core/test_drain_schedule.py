"""Phones that a node sends to others: schedule and pace of a drain, and the balance of nodes."""

from __future__ import annotations

import random  # noqa: TID251 - seeded: a load balancer of the test
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.drain_schedule import (
    BEGIN,
    END,
    EXCESS_MIN,
    LAST_S,
    PAUSE_S,
    ROOM_MIN,
    ROUND_S,
    SETTLED_S,
    SHARE,
    UNSEEN_S,
    AwayLimit,
    Balance,
    DrainPace,
    Move,
    drain_schedules,
)

# ---- drain schedule ----


class Phone:
    """A phone that was sent away."""

    def __init__(self) -> None:
        self.moved = Move.AWAY
        self.looks = 0

    def __call__(self) -> Move:
        self.looks += 1
        return self.moved


def send(away: AwayLimit, now: float) -> list[Phone]:
    """Send as many phones away as may be."""
    sent: list[Phone] = []
    while away.may_send(now):
        sent.append(Phone())
        away.sent(sent[-1], now)
    return sent


def test_one_phone_more_is_away_for_each_that_is_back_and_none_counts_after_four_seconds() -> None:
    away = AwayLimit(0.0)
    phones = send(away, 0.0)
    assert len(phones) == ROOM_MIN
    assert not away.may_send(0.5)
    phones[0].moved = Move.DONE
    assert away.may_send(0.6)
    assert away.room == ROOM_MIN + 1
    away = AwayLimit(0.0)
    send(away, 0.5)
    assert not away.may_send(4.4)
    assert away.may_send(4.6)


def test_a_phone_that_is_back_has_not_moved_for_those_who_wait_for_its_user() -> None:
    moving, returning = AwayLimit(0.0), AwayLimit(0.0, Move.BACK)
    for away in (moving, returning):
        for phone in send(away, 0.0):
            phone.moved = Move.BACK
    assert not moving.may_send(0.5)
    assert returning.may_send(0.5)


def test_many_late_phones_slow_a_drain_down_and_a_single_one_does_not() -> None:
    away = AwayLimit(0.0)
    away.room = 16.0
    phones = send(away, 0.0)
    for phone in phones[:8]:
        phone.moved = Move.DONE
    away.may_send(0.1)
    for phone in phones[8:]:
        phone.moved = Move.DONE
    away.may_send(2.1)
    assert away.room == pytest.approx(0.7 * (16 + 8))
    away = AwayLimit(0.0)
    away.room = 16.0
    away.sent(Phone(), 0.0)
    assert away.may_send(4.1)
    assert away.room == 16.0


@pytest.mark.parametrize(
    ("before", "room"), [([], 64), ([0.1] * 3, ROOM_MIN + 1)], ids=["slow", "slower than before"]
)
def test_on_slow_nodes_a_phone_is_late_after_twice_their_time(before: list[float], room: float) -> None:
    away, now = AwayLimit(0.0), 0.0
    for took_s in before + [3.0] * 6:  # however many are away
        phones = send(away, now)
        now += took_s
        for phone in phones:
            phone.moved = Move.DONE
    assert away.in_time_s == 6.0
    assert away.room >= room


def test_a_phone_that_waited_behind_many_does_not_show_how_slow_the_nodes_are() -> None:
    away = AwayLimit(0.0)
    away.room = 32.0
    phones = send(away, 0.0)
    away.room = ROOM_MIN  # as after many were late
    for phone in phones[4:]:
        phone.moved = Move.DONE
    away.may_send(3.9)
    assert away.in_time_s == 2.0
    for phone in phones[:4]:
        phone.moved = Move.DONE
    away.may_send(3.9)
    assert away.in_time_s == 7.8


def test_the_highest_rate_counts_for_the_last_phones() -> None:
    away, now = AwayLimit(0.0, Move.BACK), 0.0
    assert away.per_s(1.0) == 0.0
    for took_s in [0.5] * 60 + [4.0] * 10:
        phones = send(away, now)[:4]
        now += took_s
        for phone in phones:
            phone.moved = Move.BACK
    assert away.per_s(now) == pytest.approx(8.0, rel=0.1)


def test_phones_that_never_come_slow_a_drain_down_only_when_none_comes() -> None:
    away, now, sent = AwayLimit(0.0), 0.0, 0
    while sent < 1000 and now < 100.0:
        phones = send(away, now)
        sent += len(phones)
        now += 0.1
        for phone in phones[::2]:  # half of them are in the background
            phone.moved = Move.DONE
    assert now < 20.0
    away = AwayLimit(0.0)
    away.room, now = 64.0, 0.0
    while now < 60.0:
        send(away, now)
        now += 0.1
    assert away.room == ROOM_MIN


def test_phones_that_are_left_at_the_end_come_back_as_fast_as_those_before_them() -> None:
    pace, plan = DrainPace(0.0, 100, 60.0), drain_schedules(100, accepts_per_s=[1e3], moving=[], grace_s=60.0)
    now = 0.0
    for planned in enumerate(plan[:50]):  # one a second
        while not pace.may_send(*planned, now):
            now += 0.1
        phone = Phone()
        pace.sent(phone, now)
        phone.moved, now = Move.BACK, now + 1.0
    assert not pace.is_over(58.7)
    assert pace.is_over(58.9)
    pace.may_send(50, plan[50], 50.0)
    windows = pace.last_windows(plan[50:], 50.0)
    assert [windows[0], windows[-1]] == [(0.0, 1.0), (49.0, 50.0)]
    assert pace.last_windows(plan[50:], 100.0)[-1][1] <= LAST_S


@pytest.mark.parametrize("grace_s", [0.0, 5.0, 30.0])
def test_a_short_grace_lets_no_more_phones_return_than_the_other_nodes_accept(grace_s: float) -> None:
    plan = drain_schedules(500, accepts_per_s=[10.0], moving=[], grace_s=grace_s)
    pace, now, returns = DrainPace(0.0, 500, grace_s), 0.0, list[float]()
    for planned in enumerate(plan):
        now = max(now, planned[1].at_s)
        while not (may := pace.may_send(*planned, now)) and not pace.is_over(now):
            now += 0.05
        if not may:
            returns += [now + low_s for low_s, _ in pace.last_windows(plan[planned[0] :], now)]
            break
        phone, low_s = Phone(), planned[1].window_s[0]
        phone.moved = Move.DONE
        returns.append(now + low_s)
        pace.sent(phone, now + planned[1].window_s[1])
    assert len(returns) == 500
    for second in range(60):
        assert sum(second <= at < second + 5 for at in returns) <= 5 * 10 + 10
    assert max(returns) == pytest.approx(49.9, abs=1.0)


def test_phones_that_come_later_hold_back_none_and_those_before_hold_back_all() -> None:
    away, phones = AwayLimit(0.0), [Phone() for _ in range(20)]
    for phone in phones:
        away.sent(phone, 30.0)
    assert away.may_send(28.0)
    assert not any(phone.looks for phone in phones), "they are not looked at before their windows"
    assert not away.may_send(29.5)
    plan = drain_schedules(100, accepts_per_s=[1e3], moving=[], grace_s=60.0)
    for reached, may in ((Move.BACK, True), (Move.AWAY, False)):
        pace = DrainPace(0.0, 100, 60.0)
        for _ in range(4):
            phone = Phone()
            phone.moved = reached
            pace.sent(phone, 0.0)
        assert not pace.may_send(4, plan[4], 1.0)  # their users have not moved
        assert pace.may_send(4, plan[4], 3.0) is may  # the time of this phone has come


# ---- the part of the loop's time ----


def test_none_of_the_last_ones_comes_back_before_the_other_nodes_accept_it() -> None:
    plan = drain_schedules(500, accepts_per_s=[10.0], moving=[], grace_s=5.0)
    windows = DrainPace(0.0, 500, 5.0).last_windows(plan[100:], 5.0)
    assert [5.0 + low_s for low_s, _ in windows] == pytest.approx([place / 10 for place in range(100, 500)])
    assert all(high_s - low_s <= 1.0 for low_s, high_s in windows)


# ---- balance ----


LOG_ONS_PER_S = 20.0
LOOK_S = 3.0


def looks(
    balance: Balance, phones: int, others: dict[str, int], *, since: float = 0.0, for_s: float
) -> list[int]:
    """Return what is sent on at each look, while the counts stay as they are."""
    return [
        balance.phones_to_move(since + at * LOOK_S, phones, others, LOG_ONS_PER_S)
        for at in range(int(for_s / LOOK_S))
    ]


def test_nothing_is_sent_on_while_nodes_come_and_go() -> None:
    balance = Balance(0.0)
    assert looks(balance, 900, {"b": 100}, for_s=SETTLED_S) == [0] * 20
    assert looks(balance, 900, {"b": 100, "c": 0}, since=SETTLED_S, for_s=SETTLED_S) == [0] * 20
    assert looks(balance, 900, {}, since=2 * SETTLED_S, for_s=SETTLED_S) == [0] * 20
    assert balance.phones_to_move(4 * SETTLED_S, 900, {"b": 100}, LOG_ONS_PER_S) == 0
    assert balance.phones_to_move(5 * SETTLED_S, 900, {"b": 100}, LOG_ONS_PER_S) > 0


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


def test_what_is_sent_on_is_bounded_by_the_rate_and_what_could_not_be_may_be_later() -> None:
    balance, for_s = Balance(0.0), SETTLED_S + ROUND_S
    sent = looks(balance, 9_000, {"b": 0}, for_s=for_s)
    assert 0 < sum(sent) <= SHARE * LOG_ONS_PER_S * (ROUND_S + 5)
    assert max(sent) <= SHARE * LOG_ONS_PER_S * 5
    balance = Balance(0.0)
    looks(balance, 900, {"b": 0}, for_s=SETTLED_S)
    first = balance.phones_to_move(SETTLED_S, 900, {"b": 0}, LOG_ONS_PER_S)
    balance.sent(SETTLED_S, fewer=first)
    assert balance.phones_to_move(SETTLED_S, 900, {"b": 0}, LOG_ONS_PER_S) == first


def test_phones_that_no_node_counts_yet_are_not_taken_for_gone() -> None:
    balance, phones = Balance(0.0), 50
    looks(balance, phones, {"b": 0}, for_s=SETTLED_S)
    for at in range(int(UNSEEN_S)):
        phones -= balance.phones_to_move(SETTLED_S + at, phones, {"b": 0}, LOG_ONS_PER_S)
    assert phones == END * 50 / 2


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


class SimulatedDrain:
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
                for _ in range(balance.phones_to_move(now, self.counts[at], others, LOG_ONS_PER_S)):
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
@example(counts=[0, 698, 651, 645], place=in_turn, seed=0)
def test_after_a_while_the_fullest_is_near_the_mean_and_nobody_moves_any_longer(
    counts: list[int], place: Place, seed: int
) -> None:
    drain = SimulatedDrain(list(counts), place, seed)
    mean = sum(counts) / len(counts)
    excess = sum(max(0.0, count - END * mean) for count in counts)
    drain.run(3_600)
    worth = EXCESS_MIN * len(counts) / sum(counts)
    assert drain.spread <= max(BEGIN, END + worth) + 0.05
    moved = drain.moves.total()
    # one that comes back to any node stays for good only where there is room
    tries = len(counts) / max(1, sum(count < mean for count in counts))
    assert moved <= 1.75 * tries * excess + len(counts) * EXCESS_MIN
    drain.run(1_200)
    assert drain.moves.total() - moved <= 0.02 * sum(counts)
