"""Lease: whether this node owns the user."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.lease import LEASE_TRANSITIONS, AssumedTokens, Lease, LeaseState, Renew

EVENTS: dict[str, Callable[[Lease], object]] = {
    "ask": lambda lease: lease.ask(100.0),
    "assume": lambda lease: lease.assume(1000),
    "granted": lambda lease: lease.granted(lease.floor + 1),
    "granted_too_low": lambda lease: lease.granted(lease.floor),
    "renewed": lambda lease: lease.renewed(),
    "refused": lambda lease: lease.refused(),
    "unanswered": lambda lease: lease.unanswered(100.0),
    "release": lambda lease: lease.release(),
}

ROADS: dict[LeaseState, tuple[str, ...]] = {
    LeaseState.FREE: (),
    LeaseState.ASKING: ("ask",),
    LeaseState.HELD: ("ask", "granted"),
    LeaseState.RENEWING: ("ask", "granted", "ask"),
    LeaseState.LEAVING: ("ask", "granted", "ask", "release"),
}


def led(state: LeaseState) -> Lease:
    lease = Lease()
    for event in ROADS[state]:
        EVENTS[event](lease)
    return lease


def held(at: float = 0.0, token: int = 7) -> Lease:
    lease = Lease()
    lease.ask(at)
    assert lease.granted(token)
    return lease


def due_at(lease: Lease) -> float | None:
    return lease.due_at


def test_it_is_ours_from_its_grant_to_its_end_and_time_is_left_until_it_holds_no_more() -> None:
    assert [state for state in LeaseState if led(state).is_ours] == [LeaseState.HELD, LeaseState.RENEWING]
    lease = held(at=3.0)
    assert [lease.left_s(now) for now in (3.0, 7.0, 13.0, 99.0)] == [10.0, 6.0, 0.0, 0.0]
    assert [lease.holds(now) for now in (12.9, 13.0)] == [True, False]
    assumed = Lease()
    assumed.assume(1000)
    assert (assumed.is_ours, assumed.left_s(0.0)) == (True, 0.0)


def everything(lease: Lease) -> dict[str, object]:
    return {name: getattr(lease, name) for name in lease.__slots__}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", LeaseState)
def test_the_table_is_what_happens_and_the_illegal_changes_nothing(state: LeaseState, event: str) -> None:
    lease = led(state)
    before = everything(lease)
    EVENTS[event](lease)
    if (state, event) in LEASE_TRANSITIONS:
        assert lease.state is LEASE_TRANSITIONS[state, event]
    else:
        assert everything(lease) == before


def test_a_renewal_without_an_answer_changes_nothing_and_a_grant_may_answer_an_earlier_question() -> None:
    lease = held()
    lease.ask(5.0)
    lease.unanswered(5.25)
    assert lease.holds(9.9)
    assert lease.due_at == 6.25
    lease.ask(6.25)
    lease.unanswered(6.5)
    assert not lease.holds(10.0)
    assert lease.may_dial
    lease = Lease()
    lease.ask(0.0)
    lease.unanswered(1.0)
    lease.ask(2.0)
    lease.refused(3)
    lease.ask(9.0)
    assert lease.granted(7)
    assert lease.holds(9.9)
    assert not lease.holds(10.0)
    assert lease.due_at == 5.0
    lease.ask(10.0)
    lease.renewed()
    assert lease.holds(19.9)


def test_what_is_released_while_its_renewal_is_under_way_is_released_after_the_answer() -> None:
    lease = held()
    lease.ask(5.0)
    assert not lease.release()
    assert not lease.holds(5.0)
    assert not lease.renewed()
    assert lease.state is LeaseState.FREE
    assert not lease.holds(5.0)


def test_without_the_store_the_user_is_taken_above_everything_seen() -> None:
    lease = Lease()
    lease.seen(50)
    assert lease.assume(20) == 51
    assert lease.may_dial
    assert not lease.holds(0.0)
    assert lease.ask(0.0) == Renew(51)
    assert lease.assume(99) is None
    assert lease.renewed()
    assert lease.holds(9.9)
    assert Lease().assume(20) == 20


def test_who_was_refused_or_kicked_is_overtaken_until_he_is_granted_more() -> None:
    lease, said = Lease(), []
    lease.ask(0.0)
    lease.granted(7)
    said.append(lease.is_overtaken)
    lease.kicked(9)
    said.append(lease.is_overtaken)
    lease.ask(1.0)
    lease.renewed()  # the store may not know of the one who kicked
    said.append(lease.is_overtaken)
    lease.superseded(9)
    lease.ask(2.0)
    lease.granted(10)
    said.append(lease.is_overtaken)
    lease.ask(7.0)
    lease.refused()
    said.append(lease.is_overtaken)
    assert said == [False, True, True, False, True]


def test_no_two_tokens_that_are_assumed_are_equal_in_a_millisecond_or_after_a_clock_that_went_back() -> None:
    here, there = AssumedTokens("n1-17"), AssumedTokens("n2-4")
    tokens = [here.take(1_000), here.take(1_000), there.take(1_000), here.take(999), here.take(1_001)]
    assert len(set(tokens)) == 5
    mine = [token for at, token in enumerate(tokens) if at != 2]
    assert mine == sorted(mine)
    assert all(1_000_000 <= token < 1_002_000 for token in tokens)
