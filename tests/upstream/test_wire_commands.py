"""Is every command written as the page's table of methods says, and every answer to one understood?"""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

import pytest

from gateway.domain.commands import (
    AcknowledgeNotice,
    ChangeRemoteNumber,
    Command,
    Execute,
    Executed,
    ExtendPostProcessing,
    FinishPostProcessing,
    OwnTargetState,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetGroupParameters,
    SetQueueParameters,
    SetRoutingState,
    SetSkills,
    SkillChange,
    StartPostProcessing,
    TargetState,
    When,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.resources import Parameter
from gateway.upstream.oscce.messages import executed, render_command
from gateway.upstream.oscce.resources import References

KEY = "5f0c0e1a-0000-4000-8000-000000000001"
NOT_AFTER_MS = 1_700_000_000_000
REFERENCES = References(queue=frozenset({"OverflowQueue"}), group=frozenset({"OverflowGroup"}))


def rendered(command: Command, *, alias: int = 2, keys: bool = True) -> dict[str, Any]:
    """Write a command of session *alias*; the agent of session 2 is 7."""
    request = Execute(alias, command, KEY, NOT_AFTER_MS)
    return render_command(request, {2: 7}, REFERENCES, keys=keys)


WRITTEN: list[tuple[Command, dict[str, Any]]] = [
    (
        SetSkills(
            "8",
            (SkillChange("61", 3), SkillChange("62", None), SkillChange("63", 0, 0, active=False)),
            "patch",
            0,
        ),
        {
            "Method": "SetSkills",
            "UserKey": 8,
            "Mode": "Patch",
            "Skills": [
                {"SkillKey": 61, "Level": 3},
                {"SkillKey": 62, "Level": None},
                {"SkillKey": 63, "Level": 0, "Preference": 0, "Active": False},
            ],
            "Version": 0,
        },
    ),
    (
        SetSkills("8", (), "replace", 12),
        {"Method": "SetSkills", "UserKey": 8, "Mode": "Replace", "Skills": [], "Version": 12},
    ),
    (
        SetAgentRoutingState("8", "logged_off", "31", "after_contact"),
        {
            "Method": "SetRoutingState",
            "UserKey": 8,
            "RoutingState": "LoggedOff",
            "ReasonKey": 31,
            "When": "AfterContact",
        },
    ),
    (
        SetQueueParameters(
            "3",
            {
                "OverflowQueue": "9",
                "OverflowGroup": "9",
                "Priority": 5,
                "Share": 0.5,
                "Open": True,
                "Note": "9",
                "Agents": ("1", "2"),
                "Nothing": None,
            },
            4,
        ),
        {
            "Method": "SetRoutingParameters",
            "ObjectType": "Queue",
            "Key": 3,
            "Parameters": {
                "OverflowQueue": 9,
                "OverflowGroup": "9",
                "Priority": 5,
                "Share": 0.5,
                "Open": True,
                "Note": "9",
                "Agents": ("1", "2"),
                "Nothing": None,
            },
            "Version": 4,
        },
    ),
    (
        SetQueueParameters("3", {"OverflowQueue": None}, 4),
        {
            "Method": "SetRoutingParameters",
            "ObjectType": "Queue",
            "Key": 3,
            "Parameters": {"OverflowQueue": None},
            "Version": 4,
        },
    ),
    (
        SetGroupParameters("4", {"OverflowGroup": "9", "OverflowQueue": "9"}, 1),
        {
            "Method": "SetRoutingParameters",
            "ObjectType": "Group",
            "Key": 4,
            "Parameters": {"OverflowGroup": 9, "OverflowQueue": "9"},
            "Version": 1,
        },
    ),
    (
        SetRoutingState("work", "32"),
        {
            "Method": "SetRoutingState",
            "UserKey": 7,
            "RoutingState": "Work",
            "ReasonKey": 32,
            "When": "Now",
        },
    ),
    (StartPostProcessing(), {"Method": "PostProcessing", "Action": "Start"}),
    (ExtendPostProcessing(99), {"Method": "PostProcessing", "Action": "Extend", "Until": 99}),
    (FinishPostProcessing(), {"Method": "PostProcessing", "Action": "Finish"}),
    (
        FinishPostProcessing("unavailable", ("51", "52")),
        {
            "Method": "PostProcessing",
            "Action": "Finish",
            "NextState": "Unavailable",
            "WrapupReasonKeys": [51, 52],
        },
    ),
    (SetAutoPostProcessing(on=False), {"Method": "PostProcessing", "Action": "SetAuto", "On": False}),
    (
        SetAutoPostProcessing(on=True, duration_s=0),
        {"Method": "PostProcessing", "Action": "SetAuto", "On": True, "Duration": 0},
    ),
    (
        ChangeRemoteNumber("+49 89 1234"),
        {"Method": "ChangeRemoteNumber", "RemoteNumber": "+49 89 1234"},
    ),
]


@pytest.mark.parametrize(("command", "fields"), WRITTEN)
def test_every_command_is_written_as_the_page_says(command: Command, fields: dict[str, Any]) -> None:
    expected = {"Session": 2, "NotAfter": NOT_AFTER_MS, "RequestKey": KEY} | fields
    assert rendered(command) == expected
    assert json.loads(json.dumps(rendered(command))) == json.loads(json.dumps(expected))


def test_every_command_but_the_gateways_own_was_written() -> None:
    assert {type(command) for command, _ in WRITTEN} == set(get_args(Command)) - {AcknowledgeNotice}


def test_a_notice_is_not_the_servers() -> None:
    with pytest.raises(GatewayError) as refused:
        rendered(AcknowledgeNotice("n", 1))
    assert refused.value.code is ErrorCode.UNSUPPORTED_BY_UPSTREAM


def test_a_server_that_knows_no_request_keys_is_told_none() -> None:
    for command, _ in WRITTEN:
        assert "RequestKey" not in rendered(command, keys=False)


STATES = {"available": "Available", "unavailable": "Unavailable", "work": "Work", "logged_off": "LoggedOff"}


@pytest.mark.parametrize("state", get_args(TargetState))
def test_the_states_of_others(state: TargetState) -> None:
    assert rendered(SetAgentRoutingState("8", state))["RoutingState"] == STATES[state]


@pytest.mark.parametrize("state", get_args(OwnTargetState))
def test_ones_own_states(state: OwnTargetState) -> None:
    assert rendered(SetRoutingState(state))["RoutingState"] == STATES[state]
    assert rendered(FinishPostProcessing(state))["NextState"] == STATES[state]


@pytest.mark.parametrize(("when", "name"), [("now", "Now"), ("after_contact", "AfterContact")])
def test_when_it_is_for(when: When, name: str) -> None:
    assert rendered(SetAgentRoutingState("8", "work", None, when))["When"] == name
    assert rendered(SetRoutingState("work", None, when))["When"] == name


# ---- ids that cannot be Keys ----

NO_KEYS = ["", "x", "07", "-7", "+7", " 7", "7.0", "\u0667", "9" * 17, "9" * 5000, str(2**53), "queue:7"]


@pytest.mark.parametrize("id_", NO_KEYS)
def test_what_cannot_be_a_key_is_refused_as_what_does_not_exist(id_: str) -> None:
    refused: dict[ErrorCode, list[Command]] = {
        ErrorCode.NOT_FOUND: [
            SetSkills(id_, (), "patch", 1),
            SetAgentRoutingState(id_, "work"),
            SetQueueParameters(id_, {}, 1),
            SetGroupParameters(id_, {}, 1),
        ],
        ErrorCode.SKILL_UNKNOWN: [SetSkills("8", (SkillChange("61", 1), SkillChange(id_, 1)), "patch", 1)],
        ErrorCode.REASON_UNKNOWN: [
            SetAgentRoutingState("8", "work", id_),
            SetRoutingState("work", id_),
            FinishPostProcessing(None, ("51", id_)),
        ],
        ErrorCode.REFERENCE_UNKNOWN: [
            SetQueueParameters("3", {"OverflowQueue": id_}, 1),
            SetGroupParameters("4", {"OverflowGroup": id_}, 1),
        ],
    }
    found = {code: [code_of(command) for command in commands] for code, commands in refused.items()}
    assert found == {code: [code] * len(commands) for code, commands in refused.items()}


def code_of(command: Command) -> ErrorCode | None:
    """Return why a command cannot be written."""
    try:
        rendered(command)
    except GatewayError as error:
        return error.code
    return None


@pytest.mark.parametrize("value", [9, 9.0, True, ("9", 9)])
def test_a_reference_that_is_no_id_is_of_the_wrong_type(value: Parameter) -> None:
    assert code_of(SetQueueParameters("3", {"OverflowQueue": value}, 1)) is ErrorCode.WRONG_TYPE


def test_each_reference_of_a_list_is_written_as_its_key() -> None:
    command = SetQueueParameters("3", {"OverflowQueue": ("9", None), "Priority": (1, "x", None)}, 1)
    assert rendered(command)["Parameters"] == {"OverflowQueue": [9, None], "Priority": (1, "x", None)}


def test_the_largest_key_can_be_written() -> None:
    assert rendered(SetAgentRoutingState(str(2**53 - 1), "work"))["UserKey"] == 2**53 - 1
    assert rendered(SetAgentRoutingState("0", "work"))["UserKey"] == 0


@pytest.mark.parametrize("command", [SetRoutingState("work"), SetRoutingState("available", "31")])
def test_a_session_without_an_agent_commands_none(command: SetRoutingState) -> None:
    with pytest.raises(GatewayError) as refused:
        rendered(command, alias=3)
    assert refused.value.code is ErrorCode.NOT_LOGGED_ON


# ---- answers ----


@pytest.mark.parametrize("version", [None, 0, 13])
@pytest.mark.parametrize(
    ("state", "expected"),
    [("Applied", "applied"), ("Pending", "pending"), ("Unchanged", "unchanged")],
)
def test_what_became_of_a_command(
    state: str, expected: Literal["applied", "pending", "unchanged"], version: int | None
) -> None:
    told = {"State": state, "RemoteNumber": "+49"} | ({} if version is None else {"Version": version})
    assert executed(json.dumps(told)) == Executed(expected, version)


def test_of_an_answer_that_nobody_understands_nobody_knows_what_became() -> None:
    with pytest.raises(GatewayError) as unknown:
        executed('{"State":"Sideways"}')
    assert unknown.value.code is ErrorCode.UPSTREAM_TIMEOUT
