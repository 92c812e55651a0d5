"""Balance: an overloaded node sends some phones away, slowly, never in circles."""

from __future__ import annotations

import random  # noqa: TID251 - seeded: a load balancer of the test
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.due_times import BEGIN, END, EXCESS_MIN, PAUSE_S, ROUND_S, SETTLED_S, SHARE, Balance

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
