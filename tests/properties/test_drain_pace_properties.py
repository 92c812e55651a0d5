"""On other nodes that serve phones at any rate: how long phones of a drained node are away, and are told.

The other nodes are a queue here: each phone is served in its turn, at a fixed rate, after a fixed time.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from collections import deque
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.drain_schedule import (
    ROOM_MIN,
    DrainPace,
    Move,
    UsersToMove,
    drain_schedules,
)

STEP_S = 0.05
BUDGET_PER_S = 20.0
"""Links that the site accepts per second; the other nodes open no more."""
BEGUN_S = 5.0
"""The number of phones that are away begins small."""


class Nodes(NamedTuple):
    """Other nodes, and what they are asked to take."""

    phones: int
    grace_s: float
    per_s: float
    """Phones that they can serve."""
    takes_s: float
    """How long each takes without a queue."""
    off: float
    """Part of the phones that never come back."""

    @property
    def in_time_s(self) -> float:
        """How long a phone may take: twice as long as while the fewest are away, and a look."""
        return max(1.0, 2 * (self.takes_s + ROOM_MIN / self.per_s)) + 2 * STEP_S

    @property
    def need_s(self) -> float:
        """How long they need for all phones."""
        return self.phones / min(self.per_s, BUDGET_PER_S)


NODES = st.builds(
    Nodes,
    phones=st.integers(1, 250),
    grace_s=st.sampled_from([10.0, 30.0, 60.0]),
    per_s=st.sampled_from([2.0, 5.0, 14.0, 40.0, 300.0]),
    takes_s=st.sampled_from([0.05, 0.3, 0.8]),
    off=st.sampled_from([0.0, 0.0, 0.3]),
)
SLOW = Nodes(phones=250, grace_s=20.0, per_s=11.0, takes_s=0.5, off=0.0)


class Phone:
    """A phone that was sent away at an instant, with its window."""

    def __init__(self, sent_at: float, window_s: tuple[float, float], arrives_at: float) -> None:
        self.sent_at = sent_at
        self.back_by = sent_at + window_s[1]
        self.arrives_at = arrives_at
        self.back_at: float | None = None
        self.is_off = False
        self.moved = Move.AWAY

    def __call__(self) -> Move:
        return self.moved

    @property
    def untold_s(self) -> float:
        assert self.back_at is not None
        return self.back_at - self.back_by


class Queue:
    """What the other nodes do, step by step."""

    def __init__(self, nodes: Nodes, seed: int) -> None:
        self.sent: list[Phone] = []
        self.now = 0.0
        self._nodes = nodes
        self._dice = random.Random(seed)
        self._coming: list[Phone] = []
        self._waiting: deque[Phone] = deque()
        self._served: deque[tuple[float, Phone]] = deque()
        self._without_link: deque[Phone] = deque()
        self._able = self._able_links = 0.0

    def send(self, window_s: tuple[float, float]) -> Phone:
        """Send a phone away; it chooses an instant of its window."""
        phone = Phone(self.now, window_s, self.now + self._dice.uniform(*window_s))
        phone.is_off = self._dice.random() < self._nodes.off
        self.sent.append(phone)
        if not phone.is_off:
            self._coming.append(phone)
        return phone

    @property
    def is_done(self) -> bool:
        return not (self._coming or self._waiting or self._served)

    def step(self) -> None:
        """Let the time of one step pass."""
        self.now += STEP_S
        for phone in sorted(self._coming, key=lambda one: one.arrives_at):
            if phone.arrives_at <= self.now:
                self._coming.remove(phone)
                self._waiting.append(phone)
        self._able = min(self._able, 1.0) + self._nodes.per_s * STEP_S
        while self._waiting and self._able >= 1:
            self._able -= 1
            self._served.append((self.now + self._nodes.takes_s, self._waiting.popleft()))
        while self._served and self._served[0][0] <= self.now:
            _, phone = self._served.popleft()
            phone.back_at, phone.moved = self.now, Move.BACK
            self._without_link.append(phone)
        self._able_links = min(self._able_links, 1.0) + BUDGET_PER_S * STEP_S
        while self._without_link and self._able_links >= 1:
            self._able_links -= 1
            self._without_link.popleft().moved = Move.DONE


class Drained(NamedTuple):
    """All phones of a drain, those that were left at its end, and when the last one was back."""

    phones: list[Phone]
    left: list[Phone]
    last_s: float


def drained(nodes: Nodes, seed: int) -> Drained:
    """Let a node drain."""
    moving = [UsersToMove(nodes.phones, BUDGET_PER_S)]
    plan = drain_schedules(nodes.phones, accepts_per_s=[500.0], moving=moving, grace_s=nodes.grace_s)
    pace, queue = DrainPace(0.0, nodes.phones, nodes.grace_s), Queue(nodes, seed)
    left: list[Phone] = []
    while len(queue.sent) < nodes.phones:
        place = len(queue.sent)
        if queue.now >= plan[place].at_s and pace.may_send(place, plan[place], queue.now):
            phone = queue.send(plan[place].window_s)
            pace.sent(phone, phone.back_by)
        elif pace.is_over(queue.now):
            left = [queue.send(window_s) for window_s in pace.last_windows(plan[place:], queue.now)]
        else:
            queue.step()
    while not queue.is_done:
        queue.step()
    return Drained(queue.sent, left, queue.now)


@given(nodes=NODES, seed=st.integers(0, 99))
@example(nodes=SLOW, seed=0)
def test_a_phone_is_away_for_little_longer_than_others_need_without_a_queue(nodes: Nodes, seed: int) -> None:
    done = drained(nodes, seed)
    for phone in done.phones:
        if phone not in done.left and not phone.is_off:
            assert phone.untold_s <= 2.5 * nodes.in_time_s, phone.untold_s


@given(nodes=NODES, seed=st.integers(0, 99))
@example(nodes=SLOW, seed=0)
def test_no_window_is_longer_than_the_other_nodes_need(nodes: Nodes, seed: int) -> None:
    done = drained(nodes, seed)
    if nodes.need_s + BEGUN_S <= 0.9 * nodes.grace_s:
        assert not done.left, "there was time to serve each phone until its turn"
    windows = [phone.back_by - phone.sent_at for phone in done.left]
    assert max(windows, default=0.0) <= 1.0 + max(0.0, 1.3 * nodes.need_s - nodes.grace_s + BEGUN_S)


@given(nodes=NODES, seed=st.integers(0, 99))
@example(nodes=SLOW, seed=0)
def test_a_drain_takes_little_longer_than_the_other_nodes_need(nodes: Nodes, seed: int) -> None:
    done = drained(nodes._replace(off=0.0), seed)
    assert done.last_s <= 1.15 * nodes.need_s + BEGUN_S + 2 * nodes.in_time_s
