"""Commands: a closed union, each for the applications that docs/protocol.md names."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from gateway.domain.commands import (
    RULES,
    ChangeRemoteNumber,
    Command,
    CommandRule,
    SetAutoPostProcessing,
    SetRoutingState,
)
from gateway.domain.model import Application, Right
from gateway.domain.upstream import Feature, FunctionName
from tests.protocol.strategies import call

COMMANDS = typing.get_args(Command)
DASHBOARD, ASSISTANT = Application.DASHBOARD, Application.REMOTE_ASSISTANT
ROUTING: tuple[FunctionName, ...] = ("routing", "realtime")

EXPECTED = {
    "agent.skills.set": CommandRule(DASHBOARD, Right.SKILLS_WRITE, ("administration",), Feature.SKILLS),
    "agent.routing_state.set": CommandRule(DASHBOARD, Right.ROUTING_STATE_WRITE, ROUTING),
    "queue.routing_parameters.set": CommandRule(
        DASHBOARD, Right.ROUTING_PARAMETERS_WRITE, ("administration",), Feature.ROUTING_PARAMETERS
    ),
    "group.routing_parameters.set": CommandRule(
        DASHBOARD, Right.ROUTING_PARAMETERS_WRITE, ("administration",), Feature.ROUTING_PARAMETERS
    ),
    "routing_state.set": CommandRule(ASSISTANT, Right.OWN_ROUTING_STATE, ROUTING),
    "post_processing.start": CommandRule(
        ASSISTANT, Right.OWN_POST_PROCESSING, ROUTING, Feature.POST_PROCESSING_START
    ),
    "post_processing.extend": CommandRule(
        ASSISTANT, Right.OWN_POST_PROCESSING, ROUTING, Feature.POST_PROCESSING_EXTEND
    ),
    "post_processing.finish": CommandRule(
        ASSISTANT, Right.OWN_POST_PROCESSING, ROUTING, Feature.POST_PROCESSING_FINISH
    ),
    "post_processing.set_auto": CommandRule(
        ASSISTANT, Right.OWN_POST_PROCESSING, ROUTING, Feature.POST_PROCESSING_SET_AUTO
    ),
    "remote_number.change": CommandRule(ASSISTANT, None, ("routing", "remote_agent"), Feature.REMOTE_AGENT),
    "notices.acknowledge": CommandRule(None, None),
}


def kind_of(command: type[Command]) -> str:
    (kind,) = typing.get_args(typing.get_type_hints(command)["kind"])
    return str(kind)


def test_every_command_has_a_rule_and_no_rule_is_left_over() -> None:
    assert set(RULES) == set(COMMANDS)


def test_who_may_give_it_and_what_it_needs() -> None:
    assert {kind_of(command): rule for command, rule in RULES.items()} == EXPECTED


@pytest.mark.parametrize(
    "command", [of for of in COMMANDS if RULES[of].application is ASSISTANT], ids=kind_of
)
def test_an_agents_own_command_can_name_no_agent(command: type[Command]) -> None:
    assert not {"agent_id", "user_id", "queue_id", "group_id"} & {
        field.name for field in dataclasses.fields(command)
    }


def test_an_agents_own_command_cannot_log_off() -> None:
    hints = typing.get_type_hints(SetRoutingState)
    assert set(typing.get_args(hints["state"])) == {"available", "unavailable", "work"}


def test_a_number_stands_in_no_repr() -> None:
    command = ChangeRemoteNumber("+4989123456")
    assert "123456" not in repr(command) + repr(call("k", command))
    assert "True" in repr(SetAutoPostProcessing(on=True))
