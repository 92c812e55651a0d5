"""Fingerprints of commands: equal for equal commands on every node."""

from __future__ import annotations

from typing import get_args

from gateway.core.commands import fingerprint
from gateway.domain.commands import (
    AcknowledgeNotice,
    ChangeRemoteNumber,
    Command,
    ExtendPostProcessing,
    FinishPostProcessing,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetGroupParameters,
    SetQueueParameters,
    SetRoutingState,
    SetSkills,
    SkillChange,
    StartPostProcessing,
)
from gateway.domain.resources import Parameter

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


def test_a_fingerprint_is_the_same_on_every_node() -> None:
    known = fingerprint(SetSkills("5", (SkillChange("61", 1),), "patch", 1)).hex()
    assert known == "2bf4a8df74bfdc3fb604fffd6588d503"


def test_a_fingerprint_shows_no_number() -> None:
    found = fingerprint(ChangeRemoteNumber("+4989123456"))
    assert len(found) == 16
    assert b"123456" not in found
    assert "123456" not in repr(ChangeRemoteNumber("+4989123456"))
