"""Whose commands are still known, after he was let go?"""

from __future__ import annotations

from gateway.core.calls import Calls, Done, New
from gateway.core.recall import Recall
from gateway.domain.commands import Outcome, Status

APPLIED = Outcome(Status.APPLIED)
KEEP_S = 600.0


def begin(calls: Calls[str], key: str, *, now: float = 0.0, retry: bool = False) -> object:
    return calls.begin(key, b"body", "waiter", now, session="s", retry=retry, stream_epoch=1, epoch=1)


def served(recall: Recall[str, str], user: str, *, now: float = 0.0) -> None:
    """Let a user come, have one command executed, and leave."""
    calls = recall.came(user)
    assert begin(calls, user, now=now) == New()
    calls.settle(user, APPLIED, now)
    recall.left(user)


def test_whoever_comes_back_in_time_is_told_what_became_of_his_command() -> None:
    recall: Recall[str, str] = Recall()
    served(recall, "anna")
    served(recall, "bert")
    assert begin(recall.came("anna"), "anna", retry=True) == Done(APPLIED)


def test_whoever_is_present_has_one_and_the_same_also_before_his_first_command() -> None:
    recall: Recall[str, str] = Recall()
    first = recall.came("anna")
    assert recall.came("anna") is first
    assert recall.came("bert") is not first
    assert len(recall) == 2


def test_of_whoever_leaves_without_an_outcome_nothing_is_kept() -> None:
    recall: Recall[str, str] = Recall()
    recall.came("anna")
    recall.left("anna")
    recall.left("anna")
    recall.left("nobody")
    assert len(recall) == 0


def test_a_command_that_is_still_under_way_is_kept_too() -> None:
    recall: Recall[str, str] = Recall()
    begin(recall.came("anna"), "1")
    recall.left("anna")
    assert recall.came("anna").in_flight == ("1",)


def test_outcomes_of_the_absent_are_forgotten_when_their_time_is_over() -> None:
    recall: Recall[str, str] = Recall()
    served(recall, "anna")
    served(recall, "bert", now=1.0)
    recall.expire(KEEP_S)
    assert len(recall) == 1
    assert begin(recall.came("bert"), "bert", now=KEEP_S, retry=True) == Done(APPLIED)
    recall.left("bert")
    recall.expire(KEEP_S + 1.0)
    assert len(recall) == 0


def test_of_too_many_absent_the_one_who_left_first_is_forgotten() -> None:
    recall: Recall[str, str] = Recall(absent_max=2)
    for user in ("anna", "bert", "cora"):
        served(recall, user)
    assert len(recall) == 2
    assert begin(recall.came("anna"), "anna") == New()
    assert begin(recall.came("bert"), "bert") == Done(APPLIED)


def test_the_commands_of_whoever_is_known_can_be_looked_at_and_of_nobody_else() -> None:
    recall: Recall[str, str] = Recall()
    served(recall, "anna")
    empty = recall.came("bert")
    assert set(recall.users) == {"anna", "bert"}
    assert recall.of("bert") is empty
    assert [key for key, _ in (recall.of("anna") or Calls()).remembered] == ["anna"]
    assert recall.of("cora") is None
    assert "cora" not in recall.users
