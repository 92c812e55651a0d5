"""Replay protection of the bus: what is repeated, reordered, held back or of another life has no effect."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that each run is the same
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.bus import sealing
from gateway.bus.sealing import (
    AGE_S,
    ANSWERED_S,
    CHALLENGE_S,
    CHALLENGE_SOON_S,
    FORGOTTEN_S,
    HELD_BYTES_MAX,
    HELD_MAX,
    HELD_S,
    INSTANCES_MAX,
    Freshness,
    Greeting,
    Head,
    SenderInstances,
    WaitingMessage,
    opened,
    read,
    written,
)


@dataclass
class Message:
    """What a process published. *sent_at*: by the time of the world."""

    plain: bytes
    sent_at: float
    is_greeting: bool


@dataclass
class Process:
    """One life of a node, with a clock of its own; it notes which messages had an effect."""

    lives: SenderInstances
    ahead_s: float
    born_at: float
    taken: list[Head] = field(default_factory=list)

    def says(self, at: float, body: bytes = b"x") -> Message:
        return Message(self.lives.stamp(at + self.ahead_s) + body, at, is_greeting=False)

    def greets(self, at: float) -> Message:
        now = at + self.ahead_s
        return Message(self.lives.stamp(now) + written(self.lives.greeting(now)), at, is_greeting=True)

    def hears(self, message: Message, at: float) -> Freshness:
        found = opened(message.plain)
        assert found is not None
        head, body = found
        now = at + self.ahead_s
        if message.is_greeting:
            said = read(body)
            assert said is not None
            verdict, released = self.lives.greeted(head, said, now)
            self.taken += [held.head for held in released]
            return verdict
        verdict = self.lives.judge(head, now)
        if verdict is Freshness.NEW:
            self.taken.append(head)
        elif verdict is Freshness.UNPROVEN:
            self.lives.hold(WaitingMessage(head, now, b"c", body))
        return verdict


def begun(seed: int, at: float = 0.0, ahead_s: float = 0.0) -> Process:
    return Process(SenderInstances(random.Random(seed).randbytes, at + ahead_s), ahead_s, at)


def acquainted(at: float = 1.0) -> tuple[Process, Process]:
    """Return two processes that know each other; the clock of the second is a day ahead."""
    one, two = begun(1), begun(2, ahead_s=86_400.0)
    asked = one.greets(at)
    two.hears(asked, at)
    answered = two.greets(at)
    assert one.hears(answered, at) is Freshness.NEW
    assert two.hears(one.greets(at + CHALLENGE_SOON_S), at + CHALLENGE_SOON_S) is Freshness.NEW
    return one, two


def test_a_message_is_new_once() -> None:
    one, two = acquainted()
    first, second, third = (two.says(2.0) for _ in range(3))
    assert one.hears(first, 2.0) is Freshness.NEW
    assert one.hears(first, 2.0) is Freshness.REPEATED
    assert one.hears(third, 2.0) is Freshness.NEW, "what was lost holds nothing up"
    assert one.hears(second, 2.0) is Freshness.REPEATED, "the bus keeps the order"


@pytest.mark.parametrize(("late_s", "verdict"), [(29.9, Freshness.NEW), (30.5, Freshness.LATE)])
def test_what_was_held_back_is_late_whatever_the_clocks_say(late_s: float, verdict: Freshness) -> None:
    one, two = acquainted()
    message = two.says(2.0)
    assert one.hears(message, 2.0 + late_s) is verdict


def test_nobody_is_believed_who_answered_no_challenge_of_this_process() -> None:
    _, two = acquainted()
    recorded = [two.says(2.0), two.greets(2.0), two.says(2.0)]
    again = begun(3, at=3.0)
    challenge = again.greets(3.0)
    for message in (*recorded, *recorded):
        assert again.hears(message, 3.1) is Freshness.UNPROVEN
    assert again.taken == []
    two.hears(challenge, 3.2)
    assert again.hears(two.greets(3.2), 3.2) is Freshness.NEW
    assert again.taken == [], "all of it was sent before this process began"
    for message in recorded:
        assert again.hears(message, 3.3) is Freshness.REPEATED
    assert again.hears(two.says(3.3), 3.3) is Freshness.NEW


def test_what_waits_is_released_in_order_when_its_life_has_proved_itself() -> None:
    one, two = begun(1), begun(2, at=50.0, ahead_s=-1_000.0)
    messages = [two.says(51.0 + at / 10) for at in range(3)]
    for message in (messages[0], messages[2], messages[0], messages[1]):
        assert one.hears(message, 51.3) is Freshness.UNPROVEN
    assert one.lives.due_at(51.3) <= 51.3, "somebody who is not known is challenged at once"
    two.hears(one.greets(51.3), 51.4)
    assert one.hears(two.greets(51.4), 51.5) is Freshness.NEW
    assert [head.number for head in one.taken] == [1, 3]
    assert one.lives.held == 0


def test_what_waits_in_vain_is_dropped() -> None:
    one, two = begun(1), begun(2)
    one.greets(1.0)
    one.hears(two.says(1.0), 1.0)
    assert one.lives.due_at(1.0) == 1.0 + CHALLENGE_SOON_S
    assert one.lives.expire(1.0 + HELD_S - 0.1) == 0
    assert one.lives.expire(1.0 + HELD_S) == 1
    assert one.lives.held == 0


def test_an_answer_that_comes_too_late_proves_nothing() -> None:
    one, two = begun(1), begun(2)
    two.hears(one.greets(1.0), 1.0)
    answer = two.greets(1.0)
    one.lives.expire(1.0 + ANSWERED_S)
    assert one.hears(answer, 1.0 + ANSWERED_S) is Freshness.UNPROVEN
    assert len(one.lives) == 0


def test_a_clock_that_stood_still_is_forgiven_with_the_next_answer() -> None:
    one, two = acquainted()
    two.ahead_s -= 3_600.0
    assert one.hears(two.says(10.0), 10.0) is Freshness.LATE
    assert one.lives.due_at(10.0) <= 10.0
    two.hears(one.greets(10.0), 10.0)
    assert one.hears(two.greets(10.0), 10.0) is Freshness.NEW
    assert one.hears(two.says(10.1), 10.1) is Freshness.NEW


def test_all_are_challenged_again_and_who_does_not_answer_is_forgotten() -> None:
    one, two = acquainted()
    at = 1.0 + CHALLENGE_SOON_S
    assert one.lives.due_at(at) == pytest.approx(at + CHALLENGE_S)
    one.lives.expire(1.0 + FORGOTTEN_S)
    assert len(one.lives) == 0
    assert one.hears(two.says(1.0 + FORGOTTEN_S), 1.0 + FORGOTTEN_S) is Freshness.UNPROVEN


def test_ones_own_messages_are_new_once() -> None:
    one = begun(1, at=100.0)
    message = one.says(100.0)
    assert [one.hears(message, 100.0) for _ in range(2)] == [Freshness.NEW, Freshness.REPEATED]
    greeting = one.greets(100.0)
    assert [one.hears(greeting, 100.0) for _ in range(2)] == [Freshness.NEW, Freshness.REPEATED]
    assert one.hears(one.says(100.0), 100.0 + AGE_S + 1) is Freshness.LATE


def test_nothing_grows_whatever_somebody_sends() -> None:
    one = begun(1)
    for number in range(HELD_MAX + 5):
        waiting = WaitingMessage(Head(b"%08d" % number, 1, 0.0), 1.0, b"c", b"x")
        assert one.lives.hold(waiting) == (number >= HELD_MAX)
    largest = WaitingMessage(Head(b"largest.", 1, 0.0), 1.0, b"c", bytes(HELD_BYTES_MAX))
    assert one.lives.hold(largest) == HELD_MAX
    for number in range(INSTANCES_MAX + 5):
        greeting = one.lives.greeting(number * CHALLENGE_SOON_S)
        head = Head(b"%08d" % number, 1, 0.0)
        for _ in range(100):
            one.lives.greeted(head, Greeting(bytes(16), (greeting.nonce,)), number * CHALLENGE_SOON_S)
        one.lives.expire(number * CHALLENGE_SOON_S)
    assert len(one.lives) <= INSTANCES_MAX
    assert len(one.lives._asked) <= ANSWERED_S / CHALLENGE_SOON_S + 1
    assert len(one.lives.greeting(1e9).answers) <= sealing.ANSWERS_MAX


@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_no_greeting_and_raise_nothing(data: bytes) -> None:
    found = opened(data)
    assert found is None or len(found[1]) == len(data) - sealing.HEAD_BYTES
    said = read(data)
    assert said is None or len(said.answers) <= sealing.ANSWERS_MAX


acts = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, 1)),
        st.tuples(st.just("greet"), st.integers(0, 1)),
        st.tuples(st.just("deliver"), st.integers(0, 200)),
        st.tuples(st.just("newest"), st.integers(0, 3)),
        st.tuples(st.just("restart"), st.integers(0, 1)),
        st.tuples(st.just("pass"), st.sampled_from([0.01, 0.3, 2.5, 20.0, 70.0])),
    ),
    max_size=80,
)


class Between:
    """A network in which somebody records everything and delivers what he likes, when he likes."""

    def __init__(self, ahead: tuple[float, float]) -> None:
        self.at = 1e6
        self._seeds = iter(range(1_000))
        self._nodes = [begun(next(self._seeds), self.at, ahead_s) for ahead_s in ahead]
        self._recorded: list[tuple[Message, Process]] = []
        self._by_head: dict[Head, Message] = {}
        self._gone: list[Process] = []

    def act(self, act: str, what: float) -> None:
        self.at += 0.001
        match act:
            case "say" | "greet":
                self._publish(self._nodes[int(what)], act)
            case "deliver" if self._recorded:
                self._deliver(*self._recorded[int(what) % len(self._recorded)])
            case "newest" if self._recorded:
                self._deliver(*self._recorded[-1 - int(what) % len(self._recorded)])
            case "restart":
                self._gone.append(self._nodes[int(what)])
                self._nodes[int(what)] = begun(next(self._seeds), self.at, self._gone[-1].ahead_s)
            case "pass":
                self.at += what
                for node in self._nodes:
                    node.lives.expire(self.at + node.ahead_s)

    def _publish(self, node: Process, act: str) -> None:
        message = node.says(self.at) if act == "say" else node.greets(self.at)
        found = opened(message.plain)
        assert found is not None
        self._recorded.append((message, node))
        self._by_head[found[0]] = message

    def _deliver(self, message: Message, sender: Process) -> None:
        for node in self._nodes:
            if node is not sender:
                before = len(node.taken)
                node.hears(message, self.at)
                for head in node.taken[before:]:
                    sent_at = self._by_head[head].sent_at
                    assert sent_at >= node.born_at, "of before this process"
                    assert self.at - sent_at <= AGE_S + ANSWERED_S + HELD_S, "held back"

    def check(self) -> None:
        for node in (*self._nodes, *self._gone):
            for life in {head.instance for head in node.taken}:
                numbers = [head.number for head in node.taken if head.instance == life]
                assert numbers == sorted(set(numbers)), "each once, and in order"


@settings(max_examples=5 * settings().max_examples, deadline=None)
@given(acts=acts, ahead=st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)))
def test_repeating_reordering_and_delaying_on_the_bus_has_no_effect(
    acts: list[tuple[str, float]], ahead: tuple[float, float]
) -> None:
    between = Between(ahead)
    for act, what in acts:
        between.act(act, what)
    between.check()


@given(
    seeds=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).filter(lambda two: two[0] != two[1]),
    ahead_s=st.floats(-1e5, 1e5),
    trip_s=st.floats(0.0, 0.4),
)
def test_without_anybody_between_nothing_is_lost(
    seeds: tuple[int, int], ahead_s: float, trip_s: float
) -> None:
    one, two = begun(seeds[0], 0.0), begun(seeds[1], 5.0, ahead_s)
    first, greeting, second = two.says(6.0), two.greets(6.0), two.says(6.0)
    for message in (first, greeting, second):
        one.hears(message, 6.0 + trip_s)
    challenge = one.greets(6.0 + trip_s)
    two.hears(challenge, 6.0 + 2 * trip_s)
    answer, third = two.greets(6.0 + 2 * trip_s), two.says(6.0 + 2 * trip_s)
    for message in (answer, third):
        one.hears(message, 6.0 + 3 * trip_s)
    assert [head.number for head in one.taken] == [1, 3, 5]
