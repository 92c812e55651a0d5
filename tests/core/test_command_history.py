"""Command history of users who were handed over."""

from __future__ import annotations

from gateway.core.commands import Calls, CommandHistory, Done, New
from gateway.domain.commands import Outcome, Status

APPLIED = Outcome(Status.APPLIED)
KEEP_S = 600.0


def begin(calls: Calls[str], key: str, *, now: float = 0.0, retry: bool = False) -> object:
    return calls.begin(key, b"body", "waiter", now, session="s", retry=retry, stream_epoch=1, epoch=1)


def served(command_history: CommandHistory[str, str], user: str, *, now: float = 0.0) -> None:
    """Let a user come, have one command executed, and leave."""
    calls = command_history.came(user)
    assert begin(calls, user, now=now) == New()
    calls.settle(user, APPLIED, now)
    command_history.left(user)


def test_of_a_caller_that_leaves_without_an_outcome_nothing_is_kept() -> None:
    command_history: CommandHistory[str, str] = CommandHistory()
    command_history.came("anna")
    command_history.left("anna")
    command_history.left("anna")
    command_history.left("nobody")
    assert len(command_history) == 0


def test_a_command_that_is_still_under_way_is_kept_too() -> None:
    command_history: CommandHistory[str, str] = CommandHistory()
    begin(command_history.came("anna"), "1")
    command_history.left("anna")
    assert command_history.came("anna").in_flight == ("1",)


def test_outcomes_of_the_absent_are_forgotten_when_their_time_is_over() -> None:
    command_history: CommandHistory[str, str] = CommandHistory()
    served(command_history, "anna")
    served(command_history, "bert", now=1.0)
    command_history.expire(KEEP_S)
    assert len(command_history) == 1
    assert begin(command_history.came("bert"), "bert", now=KEEP_S, retry=True) == Done(APPLIED)
    command_history.left("bert")
    command_history.expire(KEEP_S + 1.0)
    assert len(command_history) == 0


def test_of_too_many_absent_the_one_who_left_first_is_forgotten() -> None:
    command_history: CommandHistory[str, str] = CommandHistory(absent_max=2)
    for user in ("anna", "bert", "cora"):
        served(command_history, user)
    assert len(command_history) == 2
    assert begin(command_history.came("anna"), "anna") == New()
    assert begin(command_history.came("bert"), "bert") == Done(APPLIED)


def test_commands_of_known_users_only_can_be_looked_up() -> None:
    command_history: CommandHistory[str, str] = CommandHistory()
    served(command_history, "anna")
    empty = command_history.came("bert")
    assert set(command_history.users) == {"anna", "bert"}
    assert command_history.of("bert") is empty
    assert [key for key, _ in (command_history.of("anna") or Calls()).remembered] == ["anna"]
    assert command_history.of("cora") is None
    assert "cora" not in command_history.users
