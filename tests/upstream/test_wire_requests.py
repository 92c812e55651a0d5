"""Requests are written as documented, and every answer is understood."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.commands import (
    AcknowledgeNotice,
    AttachSession,
    ChangeRemoteNumber,
    Command,
    DetachSession,
    Directory,
    Execute,
    Executed,
    ExtendPostProcessing,
    FinishPostProcessing,
    KeepAlive,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
    OwnTargetState,
    Presence,
    QueryDirectory,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetGroupParameters,
    SetQueueParameters,
    SetRoutingState,
    SetSkills,
    SkillChange,
    StartPostProcessing,
    StopListening,
    TargetState,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, SessionSecret
from gateway.domain.resources import Parameter
from gateway.domain.upstream import Attached, Source
from gateway.upstream.oscce.decode import References
from gateway.upstream.oscce.directory import DIRECTORY_KINDS
from gateway.upstream.oscce.errors import WireError
from gateway.upstream.oscce.messages import answer, executed, render
from gateway.upstream.oscce.readings import Readings
from tests.doubles.refusals import refused_with
from tests.upstream.samples import SESSION

KEY = "5f0c0e1a-0000-4000-8000-000000000001"
REFERENCES = References(queue=frozenset({"OverflowQueue"}))


def rendered(request: LinkRequest, *, keys: bool = True) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(
        render(request, 5, own_agents={2: 7}, references=REFERENCES, keys=keys)
    )
    assert fields.pop("Type") == "Request"
    assert fields.pop("RequestID") == 5
    return fields


PLAIN: list[tuple[LinkRequest, dict[str, Any]]] = [
    (AttachSession(SessionSecret("s")), {"Method": "AttachSession", "SessionID": "s"}),
    (DetachSession(2), {"Method": "DetachSession", "Session": 2}),
    (Presence(2, present=True), {"Method": "Presence", "Session": 2, "Present": True}),
    (Presence(2, present=False), {"Method": "Presence", "Session": 2, "Present": False}),
    (StopListening(9), {"Method": "StopListeningForEvents", "QueryID": 9}),
    (QueryDirectory(), {"Method": "QueryDirectory", "Kinds": list(DIRECTORY_KINDS)}),
    (KeepAlive(), {"Method": "KeepAlive"}),
]


def execute(command: Command) -> Execute:
    return Execute(2, command, KEY, 1_700_000_000_000)


def answered(request: LinkRequest, **fields: Any) -> LinkAnswer:  # noqa: ANN401 - JSON
    body = json.dumps({"Type": "Response", "RequestID": 5, "Error": 0} | fields)
    return answer(request, body, Readings())


@pytest.mark.parametrize(("request_", "fields"), PLAIN)
def test_requests_are_written_as_the_page_says(request_: LinkRequest, fields: dict[str, Any]) -> None:
    assert rendered(request_) == fields


@pytest.mark.parametrize(
    ("kind", "source", "event_type"),
    [
        (Kind.AGENT, Source.REALTIME, "UserRealtime"),
        (Kind.QUEUE, Source.REALTIME, "QueueRealtime"),
        (Kind.GROUP, Source.REALTIME, "GroupRealtime"),
        (Kind.AGGREGATE, Source.REALTIME, "AggregateRealtime"),
        (Kind.AGENT, Source.CUMULATIVE, "UserCumulative"),
        (Kind.QUEUE, Source.CUMULATIVE, "QueueCumulative"),
        (None, Source.CONFIGURATION, "Configuration"),
        (None, Source.DIRECTORY, "Administration"),
    ],
)
def test_what_is_listened_to_has_an_event_type(kind: Kind | None, source: Source, event_type: str) -> None:
    expected = {"Method": "ListenForEvents", "EventType": event_type, "Keys": "All"}
    assert rendered(Listen(kind, source, None)) == expected


def test_single_keys_are_listened_to_in_order() -> None:
    fields = rendered(Listen(Kind.QUEUE, Source.REALTIME, frozenset({30, 4})))
    assert fields["Keys"] == [4, 30]


def test_answers_are_read_as_what_was_asked() -> None:
    attached = answered(AttachSession(SessionSecret("s")), **SESSION)
    assert isinstance(attached, Attached)
    assert (attached.alias, attached.application) == (2, Application.REMOTE_ASSISTANT)
    assert answered(Listen(Kind.QUEUE, Source.REALTIME, None), QueryID=4) == Listening(4)
    assert answered(QueryDirectory(), Objects={}) == Directory((), (), (), ())
    for request in (DetachSession(1), Presence(1, present=True), StopListening(1), KeepAlive()):
        assert answered(request, Time=1) is None


@pytest.mark.parametrize(
    ("received", "code", "details"),
    [
        ({"Error": 63, "ErrorName": "Expired"}, ErrorCode.EXPIRED, {}),
        ({"Error": 61}, ErrorCode.BUSY, {}),
        ({"ErrorName": "Busy"}, ErrorCode.BUSY, {}),
        ({"Error": 61, "RetryAfter": "soon"}, ErrorCode.BUSY, {}),
        (
            {"Error": 60, "ErrorName": "FunctionUnavailable", "Function": "Voice"},
            ErrorCode.FUNCTION_UNAVAILABLE,
            {"function": "voice"},
        ),
        ({"Error": 99}, ErrorCode.UPSTREAM_REJECTED, {"upstream_code": "Internal"}),
        ({"Error": 77}, ErrorCode.UPSTREAM_REJECTED, {"upstream_code": "Error77"}),
        ({"Error": 3}, ErrorCode.SESSION_ENDED, {}),
    ],
)
def test_refusals_have_the_codes_of_clients(
    received: dict[str, Any], code: ErrorCode, details: dict[str, Any]
) -> None:
    with pytest.raises(GatewayError) as refused:
        answered(execute(SetRoutingState("work")), **received)
    assert (refused.value.code, refused.value.details) == (code, details)


def test_an_answer_that_names_no_error_has_none() -> None:
    assert answer(KeepAlive(), b'{"Type":"Response","RequestID":5}', Readings()) is None


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (KeepAlive(), {"Error": "none"}),
        (KeepAlive(), {"Error": 3, "ErrorName": 3}),
        (KeepAlive(), {"Error": None}),
        (Listen(Kind.QUEUE, Source.REALTIME, None), {}),
        (AttachSession(SessionSecret("s")), SESSION | {"Scope": {"Users": 5}}),
        (QueryDirectory(), {"Objects": {"User": {"Key": 1}}}),
        (Execute(2, SetRoutingState("work"), KEY, 0), {}),
    ],
)
def test_answers_that_cannot_be_read_are_errors(request_: LinkRequest, fields: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        answered(request_, **fields)


@given(
    st.sampled_from(
        [
            AttachSession(SessionSecret("s")),
            Listen(Kind.QUEUE, Source.REALTIME, None),
            QueryDirectory(),
            execute(SetRoutingState("work")),
        ]
    ),
    st.dictionaries(
        st.sampled_from(["Error", "ErrorName", "Session", "Scope", "QueryID", "Objects", "State", "Min"]),
        st.none() | st.integers() | st.text(max_size=3) | st.just({"User": [{}]}),
    ),
)
def test_arbitrary_answers_are_harmless(request: LinkRequest, fields: dict[str, Any]) -> None:
    try:
        answer(request, json.dumps(fields), Readings())
    except (WireError, GatewayError):
        return


# ---- commands, written as the page's table of methods says ----


NOT_AFTER_MS = 1_700_000_000_000
REFERENCED = References(queue=frozenset({"OverflowQueue"}), group=frozenset({"OverflowGroup"}))


def written(command: Command, *, alias: int = 2, keys: bool = True) -> dict[str, Any]:
    """Write a command of session *alias*; the agent of session 2 is 7."""
    request = Execute(alias, command, KEY, NOT_AFTER_MS)
    sent = json.loads(render(request, 5, own_agents={2: 7}, references=REFERENCED, keys=keys))
    return {name: value for name, value in sent.items() if name not in {"Type", "RequestID"}}


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
                "Agents": ["1", "2"],
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
        {"Method": "SetRoutingState", "UserKey": 7, "RoutingState": "Work", "ReasonKey": 32, "When": "Now"},
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
    (ChangeRemoteNumber("+49 89 1234"), {"Method": "ChangeRemoteNumber", "RemoteNumber": "+49 89 1234"}),
]


@pytest.mark.parametrize(("command", "fields"), WRITTEN)
def test_every_command_is_written_as_the_page_says(command: Command, fields: dict[str, Any]) -> None:
    expected = {"Session": 2, "NotAfter": NOT_AFTER_MS, "RequestKey": KEY} | fields
    assert written(command) == expected
    assert json.loads(json.dumps(written(command))) == json.loads(json.dumps(expected))


def test_every_command_but_the_gateways_own_was_written() -> None:
    assert {type(command) for command, _ in WRITTEN} == set(get_args(Command)) - {AcknowledgeNotice}


def test_a_notice_is_not_the_servers() -> None:
    with refused_with(ErrorCode.UNSUPPORTED_BY_UPSTREAM):
        written(AcknowledgeNotice("n", 1))


STATES = {"available": "Available", "unavailable": "Unavailable", "work": "Work", "logged_off": "LoggedOff"}


@pytest.mark.parametrize("state", get_args(TargetState))
def test_the_states_of_others(state: TargetState) -> None:
    assert written(SetAgentRoutingState("8", state))["RoutingState"] == STATES[state]


@pytest.mark.parametrize("state", get_args(OwnTargetState))
def test_ones_own_states(state: OwnTargetState) -> None:
    assert written(SetRoutingState(state))["RoutingState"] == STATES[state]
    assert written(FinishPostProcessing(state))["NextState"] == STATES[state]


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
        written(command)
    except GatewayError as error:
        return error.code
    return None


@pytest.mark.parametrize("value", [9, 9.0, True, ("9", 9)])
def test_a_reference_that_is_no_id_is_of_the_wrong_type(value: Parameter) -> None:
    assert code_of(SetQueueParameters("3", {"OverflowQueue": value}, 1)) is ErrorCode.WRONG_TYPE


def test_each_reference_of_a_list_is_written_as_its_key() -> None:
    command = SetQueueParameters("3", {"OverflowQueue": ("9", None), "Priority": (1, "x", None)}, 1)
    assert written(command)["Parameters"] == {"OverflowQueue": [9, None], "Priority": [1, "x", None]}


def test_the_largest_key_can_be_written() -> None:
    assert written(SetAgentRoutingState(str(2**53 - 1), "work"))["UserKey"] == 2**53 - 1
    assert written(SetAgentRoutingState("0", "work"))["UserKey"] == 0


@pytest.mark.parametrize("command", [SetRoutingState("work"), SetRoutingState("available", "31")])
def test_a_session_without_an_agent_commands_none(command: SetRoutingState) -> None:
    with refused_with(ErrorCode.NOT_LOGGED_ON):
        written(command, alias=3)


# ---- answers ----


@pytest.mark.parametrize("version", [None, 0, 13])
@pytest.mark.parametrize(
    ("state", "expected"), [("Applied", "applied"), ("Pending", "pending"), ("Unchanged", "unchanged")]
)
def test_what_became_of_a_command(
    state: str, expected: Literal["applied", "pending", "unchanged"], version: int | None
) -> None:
    received = {"State": state, "RemoteNumber": "+49"} | ({} if version is None else {"Version": version})
    assert executed(json.dumps(received)) == Executed(expected, version)


def test_of_an_answer_that_nobody_understands_nobody_knows_what_became() -> None:
    with refused_with(ErrorCode.UPSTREAM_TIMEOUT):
        executed('{"State":"Sideways"}')
