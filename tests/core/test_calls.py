"""Repeated commands: calls under way, their fingerprints, and their history."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway.core.commands import (
    BUSY,
    FOREIGN,
    NOT_SENT,
    REUSED,
    Began,
    CommandLimits,
    CommandRecords,
    Decision,
    fingerprint,
)
from gateway.core.registry import CommandHistory
from gateway.domain.commands import (
    AcknowledgeNotice,
    Call,
    ChangeRemoteNumber,
    Command,
    ExtendPostProcessing,
    FinishPostProcessing,
    History,
    Outcome,
    Remembered,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetGroupParameters,
    SetQueueParameters,
    SetRoutingState,
    SetSkills,
    SkillChange,
    StartPostProcessing,
    Status,
)
from gateway.domain.errors import ErrorCode
from gateway.domain.resources import Parameter

BODY, OTHER_BODY = AcknowledgeNotice("body", 1), AcknowledgeNotice("other body", 1)
APPLIED = Outcome(Status.APPLIED)
REJECTED = Outcome(Status.REJECTED)
EPOCH = 7


def begin(
    calls: CommandRecords[str],
    key: str,
    now: float = 0.0,
    *,
    body: Command = BODY,
    waiter: str = "first",
    session: str = "s",
    retry: bool = False,
    stream: int | None = EPOCH,
    epoch: int = EPOCH,
) -> Began:
    return calls.begin(Call(key, session, body, stream, retry, 0), waiter, now, epoch)


@pytest.mark.parametrize("settled", [False, True])
def test_a_key_names_one_command(settled: bool) -> None:
    calls = CommandRecords[str]()
    begin(calls, "k")
    if settled:
        calls.settle("k", APPLIED, 1.0)
    assert begin(calls, "k", 2.0, body=OTHER_BODY) == REUSED


@pytest.mark.parametrize("stream", [None, EPOCH - 1, EPOCH + 1])
def test_a_retry_from_another_epoch_is_not_executed(stream: int | None) -> None:
    calls = CommandRecords[str]()
    assert begin(calls, "k", retry=True, stream=stream) == FOREIGN
    assert begin(calls, "k", retry=False, stream=stream) == Decision.NEW
    assert begin(calls, "sent in this epoch", retry=True) == Decision.NEW
    waited = Call("waited", "s", BODY, stream, False, 0, waited=True)
    assert calls.begin(waited, "first", 0.0, EPOCH) == NOT_SENT


def test_an_outcome_is_known_for_ten_minutes_and_no_refused_command_shortens_that() -> None:
    calls = CommandRecords[str](CommandLimits(per_session=1, entries=2))
    begin(calls, "k")
    calls.settle("k", APPLIED, 1.0)
    begin(calls, "under way", 1.0)
    assert begin(calls, "one too many", 2.0) == BUSY
    assert begin(calls, "k", 600.875) == APPLIED
    calls.settle("under way", APPLIED, 600.875)
    assert begin(calls, "k", 601.0) == Decision.NEW


def test_the_next_owner_knows_what_the_giver_did_and_no_more() -> None:
    giver, taker = CommandRecords[str](CommandLimits(entries=1)), CommandRecords[str]()
    for key in "ab":
        begin(giver, key)
        giver.settle(key, APPLIED, 0.0)
    taker.adopt(giver.history(100.0, epoch=EPOCH), EPOCH + 1, 1000.0)
    assert begin(taker, "a", 1499.0, retry=True, epoch=EPOCH + 1) == FOREIGN
    assert begin(taker, "a", 1500.0, retry=True, epoch=EPOCH + 1) == Decision.NEW
    assert begin(taker, "c", 1500.0, retry=True, stream=EPOCH - 1, epoch=EPOCH + 1) == FOREIGN
    giver, taker = CommandRecords[str](), CommandRecords[str]()
    begin(giver, "k", epoch=EPOCH)
    giver.settle("k", APPLIED, 0.0)
    taker.adopt(giver.history(0.0, epoch=EPOCH + 2), EPOCH + 3, 0.0)
    assert begin(taker, "k", retry=True, epoch=EPOCH + 3) == APPLIED
    assert begin(taker, "lost", retry=True, epoch=EPOCH + 3) == FOREIGN
    assert begin(taker, "lost", retry=True, stream=EPOCH + 2, epoch=EPOCH + 3) == Decision.NEW


def test_what_is_adopted_is_bounded_and_expires_in_order() -> None:
    giver, taker = CommandRecords[str](), CommandRecords[str](CommandLimits(entries=2))
    for key, at in (("a", 0.0), ("b", 50.0)):
        begin(giver, key)
        giver.settle(key, APPLIED, at)
    begin(taker, "mine", epoch=1)
    taker.settle("mine", APPLIED, 30.0)
    taker.adopt(giver.history(60.0, epoch=EPOCH), EPOCH + 1, 60.0)
    assert len(taker) == 2
    assert begin(taker, "mine", 60.0, epoch=EPOCH + 1) == APPLIED
    taker.expire(640.0)
    assert begin(taker, "b", 640.0, epoch=EPOCH + 1) == APPLIED
    assert len(taker) == 1


def test_what_is_known_already_is_not_replaced_by_what_is_adopted() -> None:
    giver, taker = CommandRecords[str](), CommandRecords[str]()
    begin(giver, "k")
    giver.settle("k", REJECTED, 0.0)
    begin(taker, "k", epoch=1)
    taker.settle("k", APPLIED, 0.0)
    taker.adopt(giver.history(0.0, epoch=EPOCH), EPOCH + 1, 0.0)
    assert begin(taker, "k", epoch=EPOCH + 1) == APPLIED


def test_nobody_gives_with_commands_in_flight() -> None:
    calls = CommandRecords[str]()
    begin(calls, "k")
    with pytest.raises(RuntimeError, match="in flight"):
        calls.history(0.0, epoch=EPOCH)


def test_what_is_reported_at_once() -> None:
    received = (REUSED, FOREIGN, NOT_SENT, BUSY)
    assert [(outcome.status, outcome.error and outcome.error.code) for outcome in received] == [
        (Status.REJECTED, ErrorCode.KEY_REUSED),
        (Status.UNKNOWN, ErrorCode.OTHER_EPOCH),
        (Status.REJECTED, ErrorCode.UPSTREAM_UNAVAILABLE),
        (Status.REJECTED, ErrorCode.OVERLOADED),
    ]


def test_a_waiter_that_leaves_gets_no_outcome_of_any_of_its_commands() -> None:
    calls = CommandRecords[str]()
    for key in "ab":
        begin(calls, key, waiter="leaves")
        begin(calls, key, waiter="stays")
    calls.leave("leaves")
    assert [calls.settle(key, APPLIED, 1.0) for key in "ab"] == [("stays",), ("stays",)]
    calls.expire(601.0)
    assert len(calls) == 0


def test_an_adopted_history_is_bounded_in_time_and_replaces_no_command_under_way() -> None:
    giver, taker = (
        CommandRecords[str](CommandLimits(entries=1, keep_s=100.0)),
        CommandRecords[str](CommandLimits(keep_s=10.0)),
    )
    for key, at in (("a", 0.0), ("b", 50.0), ("c", 60.0)):
        begin(giver, key, at)
        giver.settle(key, APPLIED, at)
    history = giver.history(159.875, epoch=EPOCH)
    assert (history.blind_s, [one.key for one in history.outcomes]) == (0.0, ["c"])
    assert giver.history(160.0, epoch=EPOCH).outcomes == ()
    begin(taker, "c", epoch=1)
    taker.adopt(History(1, 30.0, giver_outcomes(left_s=99.0)), EPOCH, 0.0)
    taker.adopt(History(1, 5.0, ()), EPOCH, 0.0)
    assert taker.in_flight == ("c",)
    assert begin(taker, "c", waiter="second") == Decision.PENDING
    assert begin(taker, "d", 9.875) == APPLIED
    assert begin(taker, "d", 10.0) == Decision.NEW
    assert begin(taker, "e", 29.875, retry=True) == FOREIGN, "the longer of both times holds"
    assert begin(taker, "e", 30.0, retry=True) == Decision.NEW


def giver_outcomes(left_s: float) -> tuple[Remembered, ...]:
    return tuple(Remembered(key, fingerprint(BODY), APPLIED, left_s) for key in "cd")


def test_the_commands_of_a_user_are_bounded_over_all_sessions() -> None:
    calls = CommandRecords[str](CommandLimits(per_session=2, per_user=3))
    decisions = [begin(calls, key, session=key[0]) for key in ("a1", "a2", "a3", "b1", "c1")]
    assert decisions == [Decision.NEW, Decision.NEW, BUSY, Decision.NEW, BUSY]


def test_waiters_and_commands_under_way_are_bounded() -> None:
    calls = CommandRecords[str](CommandLimits(waiters=2))
    decisions = [begin(calls, "a", waiter=waiter) for waiter in "xyz"]
    assert decisions == [Decision.NEW, Decision.PENDING, BUSY]
    assert calls.settle("a", APPLIED, 1.0) == ("x", "y")
    calls = CommandRecords[str](CommandLimits(entries=1))
    begin(calls, "a")
    assert begin(calls, "b") == BUSY


# ---- fingerprints of commands ----


VALUES: list[Parameter] = [1, 1.0, True, "1", ("1",), None, 0, False, "", (), ("1", "1")]
CHANGES: list[dict[str, Parameter]] = [
    *({"a": value} for value in VALUES), {}, {"b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1},
]  # fmt: skip
DIFFERENT: list[Command] = [
    SetSkills("5", (SkillChange("61", 1), SkillChange("62", 1)), "patch", 1),
    SetSkills("5", (SkillChange("62", 1), SkillChange("61", 1)), "patch", 1),
    SetSkills("5", (SkillChange("61", 1),), "patch", 1),
    SetSkills("5", (SkillChange("61", None),), "patch", 1),
    SetSkills("5", (SkillChange("61", 0),), "patch", 1),
    SetSkills("5", (SkillChange("61", 1, 1),), "patch", 1),
    SetSkills("5", (SkillChange("61", 1, active=False),), "patch", 1),
    SetSkills("5", (SkillChange("61", 1, active=True),), "patch", 1),
    SetSkills("5", (), "patch", 1),
    SetSkills("5", (), "replace", 1),
    SetSkills("5", (), "patch", 2),
    SetSkills("6", (), "patch", 1),
    SetAgentRoutingState("5", "available"),
    SetAgentRoutingState("6", "available"),
    SetAgentRoutingState("5", "available", "31"),
    SetRoutingState("available"),
    SetRoutingState("unavailable"),
    SetRoutingState("available", "31"),
    SetRoutingState("available", ""),
    SetRoutingState("available", when="after_contact"),
    *(SetQueueParameters("1", changes, 1) for changes in CHANGES),
    *(SetGroupParameters("1", changes, 1) for changes in CHANGES),
    SetQueueParameters("2", {}, 1),
    SetQueueParameters("1", {}, 2),
    StartPostProcessing(),
    ExtendPostProcessing(1),
    ExtendPostProcessing(2),
    FinishPostProcessing(),
    FinishPostProcessing("work"),
    FinishPostProcessing(None, ("51",)),
    FinishPostProcessing(None, ("51", "52")),
    FinishPostProcessing(None, ("52", "51")),
    SetAutoPostProcessing(on=True),
    SetAutoPostProcessing(on=False),
    SetAutoPostProcessing(on=True, duration_s=0),
    ChangeRemoteNumber("+4989123456"),
    ChangeRemoteNumber("+49 89123456"),
    AcknowledgeNotice("+4989123456", 1),
    AcknowledgeNotice("n", 2),
]
"""Commands that say different things, among them each pair that Python takes for equal."""


def test_different_commands_have_different_fingerprints() -> None:
    assert {type(command) for command in DIFFERENT} == set(get_args(Command))
    assert len({fingerprint(command) for command in DIFFERENT}) == len(DIFFERENT)


def test_a_fingerprint_is_the_same_on_every_node_and_shows_no_number() -> None:
    known = fingerprint(SetSkills("5", (SkillChange("61", 1),), "patch", 1)).hex()
    assert known == "2bf4a8df74bfdc3fb604fffd6588d503"
    found = fingerprint(ChangeRemoteNumber("+4989123456"))
    assert len(found) == 16
    assert b"123456" not in found
    assert "123456" not in repr(ChangeRemoteNumber("+4989123456"))


# ---- command history of users who were handed over ----


KEEP_S = 600.0


def asked(calls: CommandRecords[str], key: str, *, now: float = 0.0, retry: bool = False) -> object:
    return begin(calls, key, now, retry=retry, stream=1, epoch=1)


def served(command_history: CommandHistory[str, str], user: str, *, now: float = 0.0) -> None:
    """Let a user come, have one command executed, and leave."""
    calls = command_history.came(user)
    assert asked(calls, user, now=now) == Decision.NEW
    calls.settle(user, APPLIED, now)
    command_history.left(user)


def test_of_a_caller_that_leaves_what_is_under_way_is_kept_and_nothing_without_an_outcome() -> None:
    command_history: CommandHistory[str, str] = CommandHistory()
    command_history.came("anna")
    command_history.left("anna")
    command_history.left("anna")
    command_history.left("nobody")
    assert len(command_history) == 0
    command_history = CommandHistory()
    asked(command_history.came("anna"), "1")
    command_history.left("anna")
    assert command_history.came("anna").in_flight == ("1",)


def test_outcomes_of_the_absent_are_bounded_in_time_and_number() -> None:
    command_history: CommandHistory[str, str] = CommandHistory()
    served(command_history, "anna")
    served(command_history, "bert", now=1.0)
    command_history.expire(KEEP_S)
    assert len(command_history) == 1
    assert asked(command_history.came("bert"), "bert", now=KEEP_S, retry=True) == APPLIED
    command_history.left("bert")
    command_history.expire(KEEP_S + 1.0)
    assert len(command_history) == 0
    command_history = CommandHistory(absent_max=2)
    for user in ("anna", "bert", "cora"):
        served(command_history, user)
    assert len(command_history) == 2
    assert asked(command_history.came("anna"), "anna") == Decision.NEW
    assert asked(command_history.came("bert"), "bert") == APPLIED


def test_commands_of_known_users_only_can_be_looked_up() -> None:
    command_history: CommandHistory[str, str] = CommandHistory()
    served(command_history, "anna")
    empty = command_history.came("bert")
    assert set(command_history.users) == {"anna", "bert"}
    assert command_history.of("bert") is empty
    assert [key for key, _ in (command_history.of("anna") or CommandRecords()).remembered] == ["anna"]
    assert command_history.of("cora") is None
    assert "cora" not in command_history.users
