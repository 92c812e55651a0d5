"""Is the union of commands closed, and is each one for one application?"""

from __future__ import annotations

import dataclasses
import typing

import pytest

from gateway.domain.commands import (
    RULES,
    Command,
    CommandRule,
    Outcome,
    SetAgentRoutingState,
    SetRoutingState,
    Status,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Right

COMMANDS = typing.get_args(Command)


def test_every_command_has_a_rule_and_no_rule_is_left_over() -> None:
    assert set(RULES) == set(COMMANDS)


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        (SetAgentRoutingState, CommandRule(Application.DASHBOARD, Right.ROUTING_STATE_WRITE)),
        (SetRoutingState, CommandRule(Application.REMOTE_ASSISTANT, Right.OWN_ROUTING_STATE)),
    ],
)
def test_who_may_give_it(command: type[Command], rule: CommandRule) -> None:
    assert RULES[command] == rule


def test_kinds_are_unique_and_stand_in_the_type() -> None:
    kinds = [SetAgentRoutingState("5", "work").kind, SetRoutingState("work").kind]
    assert kinds == ["agent.routing_state.set", "routing_state.set"]
    assert len(COMMANDS) == len(kinds)


def test_an_agents_own_command_can_name_no_agent() -> None:
    assert {field.name for field in dataclasses.fields(SetRoutingState)} == {
        *("state", "reason_id", "when", "kind")
    }


def test_an_agents_own_command_cannot_log_off() -> None:
    hints = typing.get_type_hints(SetRoutingState)
    assert set(typing.get_args(hints["state"])) == {"available", "unavailable", "work"}


def test_unless_said_otherwise_it_is_for_now() -> None:
    assert SetRoutingState("work").when == "now"
    assert SetAgentRoutingState("5", "work").when == "now"


def test_an_outcome_is_one_of_five() -> None:
    assert {status.value for status in Status} == {"applied", "pending", "unchanged", "rejected", "unknown"}
    error = GatewayError(ErrorCode.BUSY, "Later.")
    assert Outcome(Status.REJECTED, error).error is error
    assert Outcome(Status.APPLIED) == Outcome(Status.APPLIED, None, None)
