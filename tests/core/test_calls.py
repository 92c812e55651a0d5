"""Repeated commands."""

from __future__ import annotations

import pytest

from gateway.core.commands import (
    Began,
    Busy,
    CallLimits,
    Calls,
    Done,
    Foreign,
    New,
    Pending,
    Reused,
    answer,
)
from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import ErrorCode

BODY, OTHER_BODY = b"body", b"other body"
APPLIED = Outcome(Status.APPLIED)
REJECTED = Outcome(Status.REJECTED)
EPOCH = 7


def begin(
    calls: Calls[str],
    key: str,
    now: float = 0.0,
    *,
    body: bytes = BODY,
    waiter: str = "first",
    session: str = "s",
    retry: bool = False,
    stream: int | None = EPOCH,
    epoch: int = EPOCH,
) -> Began:
    return calls.begin(key, body, waiter, now, session=session, retry=retry, stream_epoch=stream, epoch=epoch)


@pytest.mark.parametrize("settled", [False, True])
def test_a_key_names_one_command(settled: bool) -> None:
    calls = Calls[str]()
    begin(calls, "k")
    if settled:
        calls.settle("k", APPLIED, 1.0)
    assert begin(calls, "k", 2.0, body=OTHER_BODY) == Reused()


@pytest.mark.parametrize("stream", [None, EPOCH - 1, EPOCH + 1])
def test_a_retry_from_another_epoch_is_not_executed(stream: int | None) -> None:
    calls = Calls[str]()
    assert begin(calls, "k", retry=True, stream=stream) == Foreign()
    assert begin(calls, "k", retry=False, stream=stream) == New()


def test_when_full_the_outcome_that_settled_first_goes() -> None:
    calls = Calls[str](CallLimits(entries=2))
    for key in "ab":
        begin(calls, key)
    calls.settle("b", APPLIED, 1.0)
    calls.settle("a", APPLIED, 2.0)
    assert begin(calls, "c", 3.0) == New()
    assert begin(calls, "a", 3.0) == Done(APPLIED)
    assert len(calls) == 2


def test_after_an_early_drop_an_unknown_retry_is_not_executed_for_the_rest_of_its_time() -> None:
    calls = Calls[str](CallLimits(entries=1))
    begin(calls, "a")
    calls.settle("a", APPLIED, 1.0)
    begin(calls, "b", 2.0)
    calls.settle("b", APPLIED, 2.0)
    assert begin(calls, "a", 600.9, retry=True) == Foreign()
    assert begin(calls, "a", 602.1, retry=True) == New()


def test_the_next_owner_does_not_know_what_the_giver_did_not() -> None:
    giver, taker = Calls[str](CallLimits(entries=1)), Calls[str]()
    for key in "ab":
        begin(giver, key)
        giver.settle(key, APPLIED, 0.0)
    taker.adopt(giver.history(100.0, epoch=EPOCH), EPOCH + 1, 1000.0)
    assert begin(taker, "a", 1499.0, retry=True, epoch=EPOCH + 1) == Foreign()
    assert begin(taker, "a", 1500.0, retry=True, epoch=EPOCH + 1) == New()
    assert begin(taker, "c", 1500.0, retry=True, stream=EPOCH - 1, epoch=EPOCH + 1) == Foreign()


def test_a_giver_who_began_nothing_in_its_epoch_claims_nothing_of_earlier_ones() -> None:
    giver, taker = Calls[str](), Calls[str]()
    begin(giver, "k", epoch=EPOCH)
    giver.settle("k", APPLIED, 0.0)
    taker.adopt(giver.history(0.0, epoch=EPOCH + 2), EPOCH + 3, 0.0)
    assert begin(taker, "k", retry=True, epoch=EPOCH + 3) == Done(APPLIED)
    assert begin(taker, "lost", retry=True, epoch=EPOCH + 3) == Foreign()
    assert begin(taker, "lost", retry=True, stream=EPOCH + 2, epoch=EPOCH + 3) == New()


def test_what_is_adopted_is_bounded_and_expires_in_order() -> None:
    giver, taker = Calls[str](), Calls[str](CallLimits(entries=2))
    for key, at in (("a", 0.0), ("b", 50.0)):
        begin(giver, key)
        giver.settle(key, APPLIED, at)
    begin(taker, "mine", epoch=1)
    taker.settle("mine", APPLIED, 30.0)
    taker.adopt(giver.history(60.0, epoch=EPOCH), EPOCH + 1, 60.0)
    assert len(taker) == 2
    assert begin(taker, "mine", 60.0, epoch=EPOCH + 1) == Done(APPLIED)
    taker.expire(640.0)
    assert begin(taker, "b", 640.0, epoch=EPOCH + 1) == Done(APPLIED)
    assert len(taker) == 1


def test_what_is_known_already_is_not_replaced_by_what_is_adopted() -> None:
    giver, taker = Calls[str](), Calls[str]()
    begin(giver, "k")
    giver.settle("k", REJECTED, 0.0)
    begin(taker, "k", epoch=1)
    taker.settle("k", APPLIED, 0.0)
    taker.adopt(giver.history(0.0, epoch=EPOCH), EPOCH + 1, 0.0)
    assert begin(taker, "k", epoch=EPOCH + 1) == Done(APPLIED)


def test_nobody_gives_with_commands_in_flight() -> None:
    calls = Calls[str]()
    begin(calls, "k")
    with pytest.raises(RuntimeError, match="in flight"):
        calls.history(0.0, epoch=EPOCH)


def test_what_is_reported_at_once() -> None:
    assert answer(Done(APPLIED)) is APPLIED
    received = [answer(began) for began in (Reused(), Foreign(), Busy())]
    assert [outcome.status for outcome in received] == [Status.REJECTED, Status.UNKNOWN, Status.REJECTED]
    assert [outcome.error and outcome.error.code for outcome in received] == [
        ErrorCode.KEY_REUSED,
        ErrorCode.OTHER_EPOCH,
        ErrorCode.OVERLOADED,
    ]


def test_so_many_may_wait_for_one_command() -> None:
    calls = Calls[str](CallLimits(waiters=2))
    assert [begin(calls, "a", waiter=waiter) for waiter in "xyz"] == [New(), Pending(), Busy()]
    assert calls.settle("a", APPLIED, 1.0) == ("x", "y")


def test_when_all_are_in_flight_the_newcomer_is_refused() -> None:
    calls = Calls[str](CallLimits(entries=1))
    begin(calls, "a")
    assert begin(calls, "b") == Busy()
