"""When does a follower ask, and whom?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.follower import LOWER_S, TRANSITIONS, FollowMachine, FollowState
from gateway.core.ledger import Receipt

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


def due_at(follow: FollowMachine) -> float:
    return follow.due_at


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


def test_it_asks_at_once_when_it_begins() -> None:
    assert asked_at(FollowMachine(EPOCH, 50.0), 50.0) == [50.0]


def test_without_an_answer_it_asks_again_ever_more_slowly() -> None:
    assert asked_at(FollowMachine(EPOCH, 0.0), 8.0) == [0.0, 0.25, 0.75, 1.75, 3.75, 5.75, 7.75]


@pytest.mark.parametrize(("jitter", "after_s"), [(0.0, 10.0), (0.5, 8.75), (1.0, 7.5)])
def test_once_answered_it_asks_every_10_s_less_jitter(jitter: float, after_s: float) -> None:
    follow = following(100.0, jitter)
    assert follow.need(100.0 + after_s - 0.125) == "nothing"
    assert follow.need(100.0 + after_s) == "ask"
    assert due_at(follow) == 100.0 + after_s


def test_an_answer_ends_the_growth() -> None:
    follow = FollowMachine(EPOCH, 0.0)
    asked_at(follow, 3.75)
    answer(follow, 3.875)
    follow.doubt(3.9375)
    assert asked_at(follow, 4.25) == [4.0, 4.25]


def test_a_gap_is_asked_about_at_once_but_not_within_a_quarter_of_a_second() -> None:
    follow = following()
    follow.published(EPOCH, Receipt.GAP, 5.0)
    assert follow.need(5.0) == "ask"
    follow.asked(5.0)
    answer(follow, 5.0625)
    follow.published(EPOCH, Receipt.GAP, 5.125)
    assert follow.need(5.125) == "nothing"
    assert due_at(follow) == 5.25


@pytest.mark.parametrize("receipt", [Receipt.APPLIED, Receipt.STALE])
def test_what_leaves_no_gap_needs_nothing(receipt: Receipt) -> None:
    follow = following()
    follow.published(EPOCH, receipt, 5.0)
    assert follow.state is FollowState.FOLLOWING
    assert due_at(follow) == 10.0


def test_the_answer_that_is_still_to_come_covers_a_gap_of_before_it() -> None:
    follow = FollowMachine(EPOCH, 0.0)
    follow.asked(0.0)
    follow.published(EPOCH, Receipt.GAP, 0.0625)
    follow.published(EPOCH, Receipt.APPLIED, 0.125)
    follow.answered(0.125)
    assert follow.state is FollowState.FOLLOWING


@pytest.mark.parametrize("told", [(), (Receipt.GAP,)], ids=["did not come", "does not fit"])
def test_it_is_no_answer_when_what_belongs_to_it(told: tuple[Receipt, ...]) -> None:
    follow = FollowMachine(EPOCH, 0.0)
    follow.published(EPOCH, Receipt.APPLIED, 0.0)
    follow.asked(0.0)
    for receipt in told:
        follow.published(EPOCH, receipt, 0.125)
    follow.answered(0.125)
    assert follow.state is FollowState.ASKING
    assert due_at(follow) == 0.25


def test_after_a_doubt_only_a_question_of_after_it_counts() -> None:
    follow = FollowMachine(EPOCH, 0.0)
    follow.asked(0.0)
    follow.doubt(0.0625)
    answer(follow, 0.125)
    assert follow.state is FollowState.DOUBTING
    assert due_at(follow) == 0.25


def test_doubts_do_not_hasten_a_node_that_does_not_answer() -> None:
    follow = FollowMachine(EPOCH, 0.0)
    asked_at(follow, 3.75)
    follow.doubt(4.0)
    assert due_at(follow) == 5.75


def test_whoever_is_not_the_owner_makes_the_lease_be_read_at_once() -> None:
    follow = following()
    follow.not_mine(1.0)
    assert follow.need(1.0) == "read_lease"
    follow.reading(1.0)
    assert follow.need(1.125) == "nothing"
    assert not follow.read(EPOCH, 1.125)
    assert follow.need(1.125) == "ask"


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


def test_another_owner_is_asked_at_once() -> None:
    follow = FollowMachine(EPOCH, 0.0)
    asked_at(follow, 3.75)
    follow.not_mine(3.875)
    follow.reading(3.875)
    assert not follow.read(EPOCH + 1, 4.0)
    assert asked_at(follow, 4.25) == [4.0, 4.25]
    assert follow.floor == EPOCH + 1


def test_a_lease_that_cannot_be_read_is_tried_again_with_growing_pauses() -> None:
    follow, now, times = following(), 1.0, []
    follow.not_mine(1.0)
    for _ in range(6):
        assert follow.need(now) == "read_lease"
        follow.reading(now)
        times.append(now)
        now = follow.due_at
    assert times == [1.0, 1.25, 1.75, 2.75, 4.75, 6.75]


def test_a_higher_epoch_is_another_owner_who_must_be_found() -> None:
    follow = following()
    assert follow.admits(EPOCH + 1)
    follow.published(EPOCH + 1, Receipt.GAP, 1.0)
    assert follow.floor == EPOCH + 1
    assert not follow.admits(EPOCH)
    assert follow.need(1.0) == "read_lease"
    follow.reading(1.0)
    follow.read(EPOCH + 1, 1.0625)
    assert follow.need(1.0625) == "ask"


def test_a_lease_of_before_lowers_nothing() -> None:
    follow = following()
    follow.published(EPOCH + 1, Receipt.APPLIED, 1.0)
    follow.reading(1.0)
    assert not follow.read(EPOCH, 1.0)
    assert follow.floor == EPOCH + 1


def test_after_five_seconds_of_lower_epochs_the_lease_is_read_and_is_right() -> None:
    follow = following()
    follow.published(EPOCH - 1, Receipt.STALE, 1.0)
    follow.published(EPOCH - 2, Receipt.STALE, 3.0)
    assert due_at(follow) == 6.0
    assert follow.need(5.875) == "nothing"
    assert follow.need(6.0) == "read_lease"
    follow.reading(6.0)
    assert due_at(follow) == 6.25
    assert follow.read(EPOCH - 1, 6.125)
    assert follow.floor == EPOCH - 1
    assert follow.need(6.125) == "ask"
    assert follow.admits(EPOCH - 1)


def test_a_lease_that_is_read_earlier_than_that_lowers_nothing() -> None:
    follow = following()
    follow.published(EPOCH - 1, Receipt.STALE, 1.0)
    follow.not_mine(2.0)
    follow.reading(5.0)
    assert not follow.read(EPOCH - 1, 5.9375)
    assert follow.floor == EPOCH


def test_the_owner_ends_the_doubt_whether_lower_epochs_are_right() -> None:
    follow = following()
    follow.published(EPOCH - 1, Receipt.STALE, 1.0)
    follow.published(EPOCH, Receipt.APPLIED, 4.0)
    assert due_at(follow) == 10.0
    follow.published(EPOCH - 1, Receipt.STALE, 5.0)
    assert follow.need(9.875) == "nothing"


def test_a_lease_that_says_what_was_known_makes_five_seconds_begin_anew() -> None:
    follow = following()
    follow.published(EPOCH - 1, Receipt.STALE, 1.0)
    follow.reading(6.0)
    assert not follow.read(EPOCH, 6.0)
    assert follow.floor == EPOCH
    follow.asked(6.0)
    answer(follow, 6.125)
    assert due_at(follow) == 16.0


def test_an_answer_of_a_lower_epoch_answers_nothing() -> None:
    follow = FollowMachine(EPOCH, 0.0)
    follow.asked(0.0)
    follow.published(EPOCH - 1, Receipt.STALE, 0.125)
    follow.answered(0.125)
    assert follow.state is FollowState.ASKING
    assert follow.health(0.125, "live") == "stale"


def test_before_the_first_word_of_the_owner_nothing_is_live() -> None:
    assert FollowMachine(EPOCH, 0.0).health(0.0, "live") == "stale"


def test_what_is_not_heard_of_for_15_s_is_stale() -> None:
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


def test_what_does_not_fit_is_no_word_of_how_things_are() -> None:
    follow = following()
    follow.published(EPOCH, Receipt.GAP, 14.0)
    assert follow.health(15.125, "live") == "stale"


def test_whoever_is_out_of_hearing_is_not_live_before_he_answers() -> None:
    follow = following()
    follow.unsure(5.0)
    assert due_at(follow) == 5.0
    follow.published(EPOCH, Receipt.APPLIED, 5.0)
    assert follow.health(5.0, "live") == "stale"
    follow.asked(5.0)
    answer(follow, 5.125)
    assert follow.health(5.125, "live") == "live"


def test_when_the_time_of_lower_epochs_is_over_the_lease_is_read_however_it_is_rounded() -> None:
    """Who is told to ask then is told so for ever: asking does not move that time."""
    for at in (n / 7 + 1_000.0 for n in range(1, 2_000)):
        follow = FollowMachine(7, at)
        follow.asked(at)
        follow.published(7, Receipt.STALE, at)
        follow.answered(at)
        follow.published(6, Receipt.STALE, at)
        assert follow.due_at == at + LOWER_S
        assert follow.need(follow.due_at) == "read_lease"
