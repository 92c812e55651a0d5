"""Follower: when it sends attach requests, and to which node."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.follower import LOWER_S, TRANSITIONS, FollowedNodes, FollowMachine, FollowState
from gateway.core.ledger import Receipt
from gateway.domain.model import NodeId, UserId

EPOCH = 70


def answer(follow: FollowMachine, now: float) -> None:
    """Let the owner tell that there is nothing new, and that this is his answer."""
    follow.published(EPOCH, Receipt.STALE, now)
    follow.answered(now)


EVENTS: dict[str, Callable[[FollowMachine], object]] = {
    "ask": lambda follow: follow.asked(100.0),
    "answered": lambda follow: answer(follow, 100.0),
    "gap": lambda follow: follow.published(EPOCH, Receipt.GAP, 100.0),
    "doubt": lambda follow: follow.doubt(100.0),
    "lost": lambda follow: follow.not_mine(100.0),
    "read": lambda follow: follow.read(EPOCH, 100.0),
}
ROADS: dict[FollowState, tuple[str, ...]] = {
    FollowState.DOUBTING: (),
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


def test_without_an_answer_it_asks_again_ever_more_slowly() -> None:
    assert asked_at(FollowMachine(EPOCH, 0.0), 8.0) == [0.0, 0.25, 0.75, 1.75, 3.75, 5.75, 7.75]


@pytest.mark.parametrize(("jitter", "after_s"), [(0.0, 10.0), (0.5, 8.75), (1.0, 7.5)])
def test_once_answered_it_asks_every_10_s_less_jitter(jitter: float, after_s: float) -> None:
    follow = following(100.0, jitter)
    assert follow.need(100.0 + after_s - 0.125) == "nothing"
    assert follow.need(100.0 + after_s) == "ask"
    assert follow.due_at == 100.0 + after_s


@pytest.mark.parametrize("received", [(), (Receipt.GAP,)], ids=["did not come", "does not fit"])
def test_it_is_no_answer_when_what_belongs_to_it(received: tuple[Receipt, ...]) -> None:
    follow = FollowMachine(EPOCH, 0.0)
    follow.published(EPOCH, Receipt.APPLIED, 0.0)
    follow.asked(0.0)
    for receipt in received:
        follow.published(EPOCH, receipt, 0.125)
    follow.answered(0.125)
    assert follow.state is FollowState.ASKING
    assert follow.due_at == 0.25


def test_the_same_owner_is_asked_again_with_growing_pauses() -> None:
    follow, now, times = FollowMachine(EPOCH, 0.0), 0.0, []
    for _ in range(5):
        follow.asked(now)
        times.append(now)
        follow.not_mine(now)
        follow.reading(now)
        follow.read(EPOCH, now)
        now = follow.due_at
    assert times == [0.0, 0.25, 1.25, 3.25, 5.25]


def test_a_lease_that_cannot_be_read_is_tried_again_with_growing_pauses() -> None:
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
    assert follow.due_at == 6.0
    assert follow.need(5.875) == "nothing"
    assert follow.need(6.0) == "read_lease"
    follow.reading(6.0)
    assert follow.due_at == 6.25
    assert follow.read(EPOCH - 1, 6.125)
    assert follow.floor == EPOCH - 1
    assert follow.need(6.125) == "ask"
    assert follow.admits(EPOCH - 1)


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


def test_what_is_not_received_of_for_15_s_is_stale() -> None:
    follow = following()
    answer(follow, 100.0)
    assert follow.health(115.0, "live") == "live"
    assert follow.health(115.125, "live") == "stale"
    assert follow.health(115.125, "down") == "down"
    assert follow.health(100.0, "stale") == "stale"


def test_what_is_missing_for_3_s_makes_the_rest_stale_until_it_comes() -> None:
    follow = following()
    for now in (1.0, 2.0, 3.0):
        follow.published(EPOCH, Receipt.GAP, now)
    assert follow.health(4.0, "live") == "live"
    assert follow.health(4.125, "live") == "stale"
    follow.published(EPOCH, Receipt.APPLIED, 5.0)
    assert follow.health(9.0, "live") == "live"


def test_an_unreachable_owner_is_not_live_before_it_answers() -> None:
    follow = following()
    follow.unsure(5.0)
    assert follow.due_at == 5.0
    follow.published(EPOCH, Receipt.APPLIED, 5.0)
    assert follow.health(5.0, "live") == "stale"
    follow.asked(5.0)
    answer(follow, 5.125)
    assert follow.health(5.125, "live") == "live"


def test_the_followed_nodes_are_those_of_the_last_known_owners() -> None:
    followed = FollowedNodes()
    ada, bob = UserId("main", 1), UserId("main", 2)
    followed.note(ada, None)
    assert followed.nodes == frozenset()
    followed.note(ada, NodeId("n1"))
    followed.note(bob, NodeId("n2"))
    assert followed.nodes == {"n1", "n2"}
    followed.note(ada, NodeId("n2"))
    assert followed.nodes == {"n2"}
    before = followed.nodes
    followed.note(bob, NodeId("n2"))
    assert followed.nodes is before, "nothing has changed"
    followed.note(bob, None)
    followed.note(bob, None)
    assert followed.nodes == {"n2"}
    followed.note(ada, None)
    assert followed.nodes == frozenset()
