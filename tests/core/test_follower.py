"""Follower: its attach requests, nodes that no longer receive, and positions to resume from."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from gateway.core.element import ChangeSet, Element
from gateway.core.follower import (
    LOST_S,
    LOWER_S,
    RECENT_MAX,
    SPACED_S,
    TRANSITIONS,
    FollowedNodes,
    FollowMachine,
    FollowState,
    Peers,
    Shared,
)
from gateway.core.ledger import Delta, Ledger, Receipt
from gateway.core.view import me_key
from gateway.domain.model import NodeId, Position, UserId
from gateway.domain.resources import Me, Queue
from tests.core.test_ledger import ONE, TWO, recorded

EPOCH = 70


def answer(follow: FollowMachine, now: float) -> None:
    """Let the owner tell that there is nothing new, and that this is his answer."""
    follow.published(EPOCH, Receipt.STALE, now)
    follow.answered(now)


EVENTS: dict[str, Callable[[FollowMachine], object]] = {
    "ask": lambda follow: follow.asked(100.0),
    "answered": lambda follow: answer(follow, 100.0),
    "gap": lambda follow: follow.published(EPOCH, Receipt.GAP, 100.0),
    "ask_again": lambda follow: follow.ask_again(100.0),
    "unread": lambda follow: follow.unread(100.0),
    "lost": lambda follow: follow.not_mine(100.0),
    "read": lambda follow: follow.read(EPOCH, 100.0),
}
ROADS: dict[FollowState, tuple[str, ...]] = {
    FollowState.INCOMPLETE: (),
    FollowState.ASKING: ("ask",),
    FollowState.FOLLOWING: ("ask", "answered"),
    FollowState.SEARCHING: ("lost",),
}


def led(state: FollowState) -> FollowMachine:
    follow = FollowMachine(EPOCH, 0.0)
    for event in ROADS[state]:
        EVENTS[event](follow)
    return follow


def following(at: float = 0.0, jitter: float = 0.0) -> FollowMachine:
    follow = FollowMachine(EPOCH, at, jitter)
    follow.asked(at)
    answer(follow, at)
    return follow


def asked_at(follow: FollowMachine, until: float) -> list[float]:
    """Ask whenever that is needed, and tell when it was."""
    times = []
    while follow.due_at <= until:
        now = follow.due_at
        assert follow.need(now) == "ask"
        follow.asked(now)
        times.append(now)
    return times


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", FollowState)
def test_the_table_is_what_happens_and_the_illegal_changes_nothing(state: FollowState, event: str) -> None:
    follow = led(state)
    before = (follow.state, follow.floor, follow.due_at)
    EVENTS[event](follow)
    if (state, event) in TRANSITIONS:
        assert follow.state is TRANSITIONS[state, event]
    else:
        assert (follow.state, follow.floor, follow.due_at) == before


def test_without_an_answer_it_asks_ever_more_slowly_and_at_once_when_unread() -> None:
    assert asked_at(FollowMachine(EPOCH, 0.0), 8.0) == [0.0, 1.0, 2.0, 3.0, 5.0, 7.0]
    follow = FollowMachine(EPOCH, 0.0)
    follow.asked(0.0)
    follow.unread(0.125)
    assert follow.need(0.125) == "ask"


def test_only_requests_at_intervals_may_be_late() -> None:
    follow = FollowMachine(EPOCH, 0.0)
    assert follow.urgent_at == follow.due_at == 0.0
    follow.asked(0.0)
    assert follow.urgent_at == LOST_S, "the first answer is missing"
    answer(follow, 0.125)
    assert follow.urgent_at == math.inf
    follow.asked(follow.due_at)
    follow.asked(follow.due_at)
    assert follow.urgent_at == math.inf, "nothing is missing, as far as known"
    follow.published(EPOCH - 1, Receipt.STALE, 12.0)
    assert follow.urgent_at == follow.due_at
    answer(follow, 12.5)
    follow.ask_again(12.5)
    assert follow.urgent_at == follow.due_at < 13.0


@pytest.mark.parametrize("late_s", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("every_s", [1.0, 1.1])
def test_two_requests_in_a_row_may_be_lost_and_the_data_stays_live(late_s: float, every_s: float) -> None:
    follow = FollowMachine(5, 0.0)
    follow.asked(0.0)
    follow.published(5, Receipt.APPLIED, 0.1)
    follow.answered(0.1)
    now, requests = late_s, 0
    while requests < 3:  # all that are due leave together, as often as this
        now += every_s
        if follow.need(now) == "ask":
            follow.asked(now)
            requests += 1
    assert follow.health(now + LOST_S, "live") == "live"


def test_when_asked_again_one_more_request_follows_the_answer() -> None:
    follow = FollowMachine(EPOCH, 0.0)
    follow.asked(0.0)
    follow.unconfirmed(0.0)
    follow.ask_again(0.0)
    assert follow.need(0.875) == "nothing", "the whole state would be sent twice"
    answer(follow, 0.875)
    assert follow.health(0.875, "live") == "stale", "the answer may be older than what was lost"
    assert follow.due_at == 0.875 + SPACED_S
    follow.asked(follow.due_at)
    answer(follow, 1.25)
    assert follow.health(1.25, "live") == "live"
    assert follow.due_at == 0.875 + SPACED_S + 10.0


def test_owner_and_lease_are_asked_again_with_growing_pauses() -> None:
    follow, now, times = FollowMachine(EPOCH, 0.0), 0.0, []
    for _ in range(5):
        follow.asked(now)
        times.append(now)
        follow.not_mine(now)
        follow.reading(now)
        follow.read(EPOCH, now)
        now = follow.due_at
    assert times == [0.0, 0.25, 1.25, 3.25, 5.25]
    follow, now, times = following(), 1.0, []
    follow.not_mine(1.0)
    for _ in range(6):
        assert follow.need(now) == "read_lease"
        follow.reading(now)
        times.append(now)
        now = follow.due_at
    assert times == [1.0, 1.25, 1.75, 2.75, 4.75, 6.75]


def test_after_five_seconds_of_lower_epochs_the_lease_is_read_and_is_right() -> None:
    follow = following()
    follow.published(EPOCH - 1, Receipt.STALE, 1.0)
    follow.published(EPOCH - 2, Receipt.STALE, 3.0)
    assert (follow.due_at, follow.need(5.875), follow.need(6.0)) == (6.0, "nothing", "read_lease")
    follow.reading(6.0)
    assert follow.read(EPOCH - 1, 6.125)
    assert (follow.floor, follow.need(6.125), follow.admits(EPOCH - 1)) == (EPOCH - 1, "ask", True)


def test_when_the_time_of_lower_epochs_is_over_the_lease_is_read_however_it_is_rounded() -> None:
    """The time to ask does not move by asking."""
    for at in (n / 7 + 1_000.0 for n in range(1, 2_000)):
        follow = FollowMachine(7, at)
        follow.asked(at)
        follow.published(7, Receipt.STALE, at)
        follow.answered(at)
        follow.published(6, Receipt.STALE, at)
        assert follow.due_at == at + LOWER_S
        assert follow.need(follow.due_at) == "read_lease"


def test_data_is_stale_when_it_is_old_or_incomplete_or_its_owner_unreachable() -> None:
    follow = following()
    follow.asked(80.0)
    follow.published(EPOCH, Receipt.STALE, 80.0)
    follow.answered(100.0)
    assert follow.stale_at == 115.0
    assert (follow.health(115.0, "live"), follow.health(115.125, "live")) == ("live", "stale")
    assert (follow.health(115.125, "down"), follow.health(100.0, "stale")) == ("down", "stale")
    follow = following()
    for now in (1.0, 2.0, 3.0):
        follow.published(EPOCH, Receipt.GAP, now)
    assert (follow.stale_at, follow.health(4.0, "live"), follow.health(4.125, "live")) == (
        4.0,
        "live",
        "stale",
    )
    follow.published(EPOCH, Receipt.APPLIED, 5.0)
    assert follow.health(9.0, "live") == "live"
    follow.unconfirmed(9.0)
    follow.published(EPOCH, Receipt.APPLIED, 9.0)
    assert (follow.stale_at, follow.health(9.0, "live")) == (-math.inf, "stale")
    follow.asked(9.0)
    answer(follow, 9.125)
    assert follow.health(9.125, "live") == "live"


APPLY: dict[str, Callable[[FollowMachine, float], object]] = {
    "published": lambda follow, now: follow.published(EPOCH, Receipt.APPLIED, now),
    "applied_next": lambda follow, now: follow.applied_next(now),
}


@pytest.mark.parametrize("apply", APPLY.values(), ids=APPLY.keys())
def test_an_applied_change_ends_a_gap_and_lower_epochs_and_is_an_answer(
    apply: Callable[[FollowMachine, float], object],
) -> None:
    follow = following()
    follow.published(EPOCH, Receipt.GAP, 1.0)
    assert (follow.due_at, follow.need(1.0)) == (1.0, "ask")
    follow.asked(1.0)
    follow.published(EPOCH - 1, Receipt.STALE, 1.5)
    follow.answered(1.5)
    assert follow.state is FollowState.ASKING, "nothing of the present owner has come"
    apply(follow, 2.0)
    assert follow.health(5.5, "live") == "live"
    follow.published(EPOCH - 1, Receipt.STALE, 2.125)
    follow.answered(2.125)
    assert follow.state is FollowState.ASKING, "lower epochs came since"
    apply(follow, 2.25)
    follow.answered(2.5)
    assert (follow.state, follow.due_at) == (FollowState.FOLLOWING, 11.0)


def seen_in(follow: FollowMachine, epoch: int, *, published: bool) -> None:
    """Let a request meet another owner: in what is published, or in the lease."""
    if published:
        follow.seen(epoch, 6.0)
    else:
        follow.not_mine(6.0)
    follow.read(epoch, 6.0)


@pytest.mark.parametrize(("epoch", "published"), [(EPOCH + 1, True), (EPOCH + 1, False), (EPOCH - 1, False)])
def test_another_owner_is_asked_at_once_the_same_one_after_a_pause(epoch: int, *, published: bool) -> None:
    follow = following()
    follow.published(EPOCH - 1, Receipt.STALE, 1.0)
    follow.asked(5.875)
    seen_in(follow, epoch, published=published)
    assert follow.due_at == 6.0
    follow.not_mine(6.0)
    assert not follow.read(follow.floor, 6.0)
    follow.asked(6.0)
    follow.not_mine(6.0)
    follow.read(follow.floor, 6.0)
    assert follow.due_at == 6.25


def test_the_search_for_an_owner_and_the_pause_after_an_answer_depend_on_nothing_before() -> None:
    follow = following()
    follow.published(EPOCH - 1, Receipt.STALE, 1.0)
    follow.not_mine(5.5)
    for now in (5.5, 5.75):
        follow.reading(now)
    assert follow.due_at == 6.25, "not when lower epochs have lasted for 5 s"
    follow = FollowMachine(EPOCH, 0.0)
    follow.asked(0.0)
    follow.asked(1.0)
    answer(follow, 1.0625)
    follow.published(EPOCH, Receipt.GAP, 1.125)
    assert follow.due_at == 1.25


def test_the_followed_nodes_are_those_of_the_last_known_owners() -> None:
    followed = FollowedNodes()
    ada, bob, cem = UserId("main", 1), UserId("main", 2), UserId("main", 3)

    def note(user: UserId, owner: str | None) -> tuple[str, int, int]:
        followed.note(user, None if owner is None else NodeId(owner))
        return " ".join(sorted(followed.nodes)), len(followed), followed.most_of_one

    assert note(ada, None) == ("", 0, 0)
    assert note(ada, "n1") == ("n1", 1, 1)
    assert note(bob, "n2") == ("n1 n2", 2, 1)
    assert note(cem, "n2") == ("n1 n2", 3, 2)
    assert note(ada, "n2") == ("n2", 3, 3)
    assert note(bob, "n2") == ("n2", 3, 3)
    assert note(bob, None) == note(bob, None) == ("n2", 2, 2)
    assert note(ada, None) == ("n2", 1, 1)
    assert note(cem, None) == ("", 0, 0)


# ---- peers ----


A, B = NodeId("a"), NodeId("b")


def peers(*nodes: NodeId) -> Peers:
    made = Peers()
    made.follow(nodes or (A,))
    return made


def ask(asker: Peers, now: float, receivers: int = 1) -> int:
    number = asker.asking(A, now)
    asker.received(A, number, receivers, now)
    return number


def test_numbers_grow_over_all_nodes_and_nobody_followed_is_nobody_to_ask() -> None:
    asker = Peers(40)
    asker.follow((A, B))
    assert [asker.asking(node, 0.0) for node in (A, B, A, NodeId("stranger"))] == [41, 42, 43, 44]
    asker = Peers()
    assert asker.due(0.0) == ()
    assert asker.due_at == math.inf
    assert asker.unreachable(0.0) == frozenset()


def test_three_seconds_without_an_answer_are_deaf() -> None:
    asker = peers()
    first = ask(asker, 0.0)
    ask(asker, 1.0)
    assert asker.unreachable(2.875) == frozenset()
    assert asker.unreachable(3.0) == frozenset({A})
    asker.answered(A, first, 3.25)
    assert asker.unreachable(3.25) == frozenset(), "it lives, if slowly"
    assert asker.unreachable(6.125) == frozenset()
    assert asker.unreachable(6.25) == frozenset({A})


def test_a_node_that_two_requests_a_second_apart_did_not_reach_is_unreachable_until_a_sign_of_life() -> None:
    asker = peers()
    for now in (0.0, 0.5):
        ask(asker, now, receivers=0)
    assert asker.are_reachable(0.5)
    last = ask(asker, 1.0, receivers=0)
    assert (asker.is_unreachable(A, 1.0), asker.are_reachable(1.0)) == (True, False)
    asker.answered(A, last, 1.25)
    assert asker.are_reachable(1.25)
    ask(asker, 2.0, receivers=0)
    ask(asker, 3.0)
    ask(asker, 4.0, receivers=0)
    assert asker.are_reachable(4.0), "it was reached in between"


def test_what_becomes_known_of_settled_earlier_or_later_requests_changes_nothing() -> None:
    asker = Peers(40)
    before = asker.asking(A, 0.0)
    asker.follow((A,))
    asker.received(A, before, 0, 0.0)
    ask(asker, 1.0, receivers=0)
    assert asker.are_reachable(1.0), "one request was not received; the other is of before it was followed"
    first, second = asker.asking(A, 2.0), asker.asking(A, 3.0)
    asker.received(A, second, 1, 3.0)
    asker.received(A, first, 0, 3.5)
    ask(asker, 4.5, receivers=0)
    assert asker.are_reachable(4.5), "the receipt of an earlier request comes too late"
    last = asker.asking(A, 5.0)
    asker.answered(A, last, 5.25)
    asker.received(A, last, 1, 5.5)
    assert asker.are_reachable(99.0)
    for number in (first, last, last + 99):
        asker.answered(A, number, 99.0)
    assert asker.answered_at(A) == 5.25


def test_an_answered_request_is_waited_for_no_longer_and_the_next_is_due_after_a_second() -> None:
    asker = peers()
    asker.answered(A, ask(asker, 0.0), 0.5)
    assert asker.are_reachable(99.0)
    assert (asker.due(0.875), asker.due(1.0), asker.due_at) == ((), (A,), 1.0)


def test_equal_values_are_one_element_and_those_of_a_single_session_are_not_kept() -> None:
    recent: dict[str, Element] = {}
    first = Shared(recent).element("queue:1", Queue(contacts_waiting=1), None)
    assert Shared(recent).element("queue:1", Queue(contacts_waiting=1), None) is first
    assert Shared(recent).element("queue:1", Queue(contacts_waiting=2), first) is not first
    assert Shared().element("queue:1", Queue(contacts_waiting=1), first) is first, "the reader holds it"
    Shared(recent).element(me_key("s1"), Me(), None)
    assert list(recent) == ["queue:1"]
    for number in range(RECENT_MAX + 1):
        Shared(recent).element(f"queue:{number}", Queue(contacts_waiting=0), None)
    assert len(recent) == RECENT_MAX


# ---- positions from which phones may resume at a node that has just begun to follow ----


@pytest.mark.parametrize(("tombstones", "lost"), [(1024, ["a"]), (1, ["a", "c"])])
def test_after_a_reset_is_known_what_was_removed_last(tombstones: int, lost: list[str]) -> None:
    owner = recorded("a", "b", "c", "me:1", tombstones=tombstones)
    for key in lost:
        owner.record(key, None)
    removed_at = owner.position.seq
    for key in ("me:2", "session:2", "session:1"):
        owner.record(key, ONE)
    owner.record("me:2", None)
    ledger, head = Ledger(), owner.position.seq
    ledger.receive(owner.since(ledger.position))
    assert ledger.since(Position(1, removed_at), "me:1") == Delta(
        1, removed_at, head, reset=False, updates=()
    )
    assert ledger.since(Position(1, removed_at - 1), "me:1").reset
    assert ledger.since(Position(1, removed_at), "me:2").reset
    assert ledger.seen_upto("me:1") == owner.seen_upto("me:1") == removed_at


def test_a_phone_receives_the_same_as_shared_at_every_node() -> None:
    owner = recorded("a", "me:1", "b", "me:2")
    ledger = Ledger()
    ledger.receive(owner.since(ledger.position))
    assert (ledger.shared_seq, ledger.position.seq) == (3, 4)
    owner.record_all(ChangeSet([("a", ONE, TWO)]))
    owner.record("me:1", TWO)
    ledger.receive(owner.since(ledger.position))
    assert (ledger.shared_seq, ledger.position.seq) == (5, 6)
    ledger.receive(owner.since(Position(0, 0))._replace(floor=None, upto=7))
    owner.record("me:1", ONE)
    owner.record("me:2", TWO)
    ledger.receive(owner.since(Position(0, 0)))
    assert (ledger.shared_seq, ledger.position.seq) == (7, 8), "it never falls in one epoch"
