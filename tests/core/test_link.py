"""Link: when it is opened, and its health."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.link import BEAT_S, LATE_S, TRANSITIONS, Linger, LinkMachine, LinkState, Pauses

KEEP_ALIVE_S = 20.0
EVENTS: dict[str, Callable[[LinkMachine], object]] = {
    "dial": lambda link: link.dialling(), "opened": lambda link: link.opened(100.0),
    "refused": lambda link: link.refused(), "failed": lambda link: link.failed(100.0, 0.5),
    "kicked": lambda link: link.kicked(100.0, 0.5), "synced": lambda link: link.synced(100.0),
    "silent": lambda link: link.received(200.0), "stop": lambda link: link.stop(),
}  # fmt: skip
ROADS: dict[LinkState, tuple[str, ...]] = {
    LinkState.IDLE: (),
    LinkState.DIALLING: ("dial",),
    LinkState.SYNCING: ("dial", "opened"),
    LinkState.LIVE: ("dial", "opened", "synced"),
    LinkState.WAITING: ("dial", "failed"),
    LinkState.STOPPED: ("stop",),
}


def led(state: LinkState) -> LinkMachine:
    link = LinkMachine()
    for event in ROADS[state]:
        EVENTS[event](link)
    return link


def live(now: float = 0.0, link: LinkMachine | None = None) -> LinkMachine:
    link = link or LinkMachine()
    assert link.dialling()
    link.opened(now)
    link.agreed(KEEP_ALIVE_S)
    link.synced(now)
    return link


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", LinkState)
def test_the_table_is_what_happens_and_the_illegal_changes_nothing(state: LinkState, event: str) -> None:
    link = led(state)
    before = {name: getattr(link, name) for name in link.__slots__}
    EVENTS[event](link)
    if (state, event) in TRANSITIONS:
        assert link.state is TRANSITIONS[state, event]
    else:
        assert {name: getattr(link, name) for name in link.__slots__} == before


def test_after_failures_it_waits_longer_each_time_within_a_bound() -> None:
    link = LinkMachine()
    waits = []
    for _ in range(9):
        link.dialling()
        link.failed(100.0, 1.0)
        due_at = link.dial_at(100.0)
        waits.append(None if due_at is None else due_at - 100.0)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


@pytest.mark.parametrize(("given_s", "wait_s"), [(None, 0.5), (0.2, 0.5), (9.0, 9.0), (300.0, 60.0)])
def test_a_server_may_ask_for_a_longer_wait_within_a_bound(given_s: float | None, wait_s: float) -> None:
    link = LinkMachine()
    link.dialling()
    link.failed(100.0, 1.0, given_s)
    assert link.dial_at(100.0) == 100.0 + wait_s
    link.dialling()
    link.failed(200.0, 1.0)
    assert link.dial_at(200.0) == 201.0, "its own bound has grown meanwhile, and the advice is forgotten"


@pytest.mark.parametrize(("lived_s", "wait_s"), [(29.9, 1.0), (30.0, 0.5)])
def test_only_a_stable_link_resets_the_back_off(lived_s: float, wait_s: float) -> None:
    link = LinkMachine()
    link.dialling()
    link.failed(0.0, 0.0)
    live(0.0, link)
    link.failed(lived_s, 1.0)
    assert link.dial_at(lived_s) == lived_s + wait_s


def test_a_few_refused_dials_are_followed_at_once_and_then_they_pause() -> None:
    link = LinkMachine()
    waits = []
    for _ in range(7):
        link.dialling()
        link.refused()
        due_at = link.dial_at(10.0)
        waits.append(None if due_at is None else due_at - 10.0)
    assert waits == [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 2.0]
    link.dialling()
    link.opened(50.0)
    link.failed(50.0, 0.0)
    link.dialling()
    link.refused()
    assert link.dial_at(50.0) == 50.0


def test_kicks_wait_longer_each_time_until_a_quiet_time_and_jitter_spreads_rivals() -> None:
    link = LinkMachine()
    waits, now = [], 0.0
    for _ in range(8):
        live(now, link)
        link.kicked(now, 0.0)
        due_at = link.dial_at(now)
        assert due_at is not None
        waits.append(due_at - now)
        now = due_at
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 320.0]
    link = live()
    link.kicked(0.0, 0.0)
    live(5.0, link)
    link.kicked(15.0, 0.0)
    assert link.dial_at(15.0) == 25.0
    live(25.0, link)
    link.kicked(45.5, 0.0)
    assert link.dial_at(45.5) == 50.5
    link = live()
    link.kicked(0.0, 0.8)
    assert link.dial_at(0.0) == 6.0


def test_a_doubt_makes_a_live_link_stale_until_whole_sets_were_asked_for_and_answered() -> None:
    link = live()
    link.changes_missed()
    assert link.health(0.0) == "stale"
    link.synced(0.5)
    assert link.health(0.5) == "stale", "answers to questions of before do not count"
    assert link.need(1.0) == "listen_again"
    link.synced(1.5)
    assert link.health(1.5) == "live"
    link = LinkMachine()
    link.changes_missed()
    assert link.state is LinkState.IDLE
    assert live(0.0, link).need(1.0) == "nothing"


def test_what_is_read_is_as_old_as_the_last_beat_until_one_is_in_time_again() -> None:
    pauses = Pauses()
    assert pauses.came_at(100.0) == 100.0, "nothing is known before the first beat"
    pauses.record_beat(100.0)
    assert pauses.came_at(100.875) == 100.875, "a beat may be a little late"
    assert pauses.came_at(130.0) == 100.0
    pauses.record_beat(130.0)
    assert pauses.came_at(130.4) == 100.0
    pauses.record_beat(130.0 + BEAT_S)
    assert pauses.came_at(130.6) == 130.6


def test_after_a_long_stop_data_of_links_may_have_waited_for_some_seconds_more() -> None:
    pauses = Pauses()
    pauses.record_beat(100.0)
    for beat in range(12):
        pauses.record_beat(120.0 + BEAT_S * beat)
        if beat == 1:
            assert (pauses.came_at(120.6), pauses.sent_at(120.6)) == (120.6, 100.0)
        elif beat == 9:
            assert pauses.sent_at(124.9) == 100.0
    assert pauses.sent_at(125.6) == 125.6


def test_the_own_time_of_a_process_stands_still_while_it_is_late() -> None:
    pauses = Pauses()
    assert pauses.own_time(99.0) == 99.0, "nothing is known before the first beat"
    pauses.record_beat(100.0)
    assert [pauses.own_time(now) for now in (100.25, 100.5, 103.0)] == [100.25, 100.5, 100.5]
    pauses.record_beat(103.0)
    assert [pauses.own_time(now) for now in (103.0, 103.25)] == [100.5, 100.75]


def test_a_process_is_late_when_its_beats_are_and_for_a_while_after_that() -> None:
    pauses, now = Pauses(), 100.0
    for _ in range(20):
        pauses.record_beat(now)
        now += BEAT_S + 0.2
    assert not pauses.was_late(now, 60.0), "this is not late enough to keep anybody waiting"
    for _ in range(5):
        pauses.record_beat(now)
        now += BEAT_S + 0.5
    late_at = now
    linger = Linger(30.0)
    assert pauses.linger_time(now, linger) == now - 60.0
    over_at = [pauses.linger_over_at(until, now, linger) for until in (now - 50.0, now, math.inf)]
    assert over_at == [now + 10.0, now + 60.0, math.inf]
    for _ in range(200):
        pauses.record_beat(now)
        now += BEAT_S
    assert now - late_at == 200 * BEAT_S
    assert [pauses.was_late(now, within_s) for within_s in (90.0, 110.0)] == [False, True]
    assert pauses.linger_time(now, linger) == now
    assert pauses.linger_over_at(now, now, linger) == now
    assert pauses.was_late(now + 1.5, 1.0), "the next beat is long overdue"


@given(
    st.lists(
        st.tuples(st.floats(0.1, 30.0), st.sampled_from((0.0, 0.0, 1.5)), st.floats(0.0, 3.0)), max_size=9
    )
)
def test_prompt_data_has_waited_nowhere(beats: list[tuple[float, float, float]]) -> None:
    pauses, now = Pauses(), 100.0
    for pause_s, unread_s, later_s in beats:
        now += pause_s
        pauses.record_beat(now, unread_s)
        if now + later_s <= pauses.prompt_until:
            at = now + later_s
            assert (pauses.sent_at(at), pauses.unread_s(at), at >= pauses.prompt_from) == (at, 0.0, True)
    for _ in range(12):
        now += BEAT_S
        pauses.record_beat(now)
    assert pauses.prompt_until > now + BEAT_S, "a process that runs again finds nothing that waited"


def test_what_was_read_before_a_process_had_caught_up_stays_late_after_that() -> None:
    pauses = Pauses()
    pauses.record_beat(99.5)
    for at, unread_s in ((100.0, 5.0), (100.5, 2.0), (101.0, 0.0), (101.5, 0.0)):
        pauses.record_beat(at, unread_s)
    assert [pauses.prompt_from <= at <= pauses.prompt_until for at in (100.9, 101.1)] == [False, True]
    assert [pauses.unread_s(at) for at in (100.9, 101.6)] == [5.0, 0.0]


def test_nothing_is_taken_for_more_than_a_second_younger_than_it_may_be() -> None:
    assert BEAT_S + LATE_S < 1.0
