"""Is every request written as the page says, and every answer understood?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.commands import (
    AttachSession,
    Command,
    DetachSession,
    Directory,
    Execute,
    Executed,
    KeepAlive,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    SetQueueParameters,
    SetRoutingState,
    StopListening,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, SessionSecret
from gateway.domain.upstream import Attached, Source
from gateway.upstream.oscce.directory import DIRECTORY_KINDS
from gateway.upstream.oscce.errors import WireError
from gateway.upstream.oscce.messages import answer, render
from gateway.upstream.oscce.readings import Readings
from gateway.upstream.oscce.resources import References
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


def execute(command: Command) -> Execute:
    return Execute(2, command, KEY, 1_700_000_000_000)


def answered(request: LinkRequest, **fields: Any) -> LinkAnswer:  # noqa: ANN401 - JSON
    body = json.dumps({"Type": "Response", "RequestID": 5, "Error": 0} | fields)
    return answer(request, body, Readings())


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (AttachSession(SessionSecret("s")), {"Method": "AttachSession", "SessionID": "s"}),
        (DetachSession(2), {"Method": "DetachSession", "Session": 2}),
        (Presence(2, present=True), {"Method": "Presence", "Session": 2, "Present": True}),
        (Presence(2, present=False), {"Method": "Presence", "Session": 2, "Present": False}),
        (StopListening(9), {"Method": "StopListeningForEvents", "QueryID": 9}),
        (QueryDirectory(), {"Method": "QueryDirectory", "Kinds": list(DIRECTORY_KINDS)}),
        (KeepAlive(), {"Method": "KeepAlive"}),
    ],
)
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


def test_a_command_is_written_like_every_request() -> None:
    assert rendered(execute(SetRoutingState("work"))) == {
        "Method": "SetRoutingState",
        "Session": 2,
        "UserKey": 7,
        "RoutingState": "Work",
        "When": "Now",
        "NotAfter": 1_700_000_000_000,
        "RequestKey": KEY,
    }


def test_a_server_that_knows_no_request_keys_is_told_none() -> None:
    fields = rendered(execute(SetRoutingState("work")), keys=False)
    assert "RequestKey" not in fields
    assert fields["Method"] == "SetRoutingState"


def test_references_of_parameters_are_written_as_keys() -> None:
    fields = rendered(execute(SetQueueParameters("3", {"OverflowQueue": "9"}, 1)))
    assert fields["Parameters"] == {"OverflowQueue": 9}


def test_answers_are_read_as_what_was_asked() -> None:
    attached = answered(AttachSession(SessionSecret("s")), **SESSION)
    assert isinstance(attached, Attached)
    assert (attached.alias, attached.application) == (2, Application.REMOTE_ASSISTANT)
    assert answered(Listen(Kind.QUEUE, Source.REALTIME, None), QueryID=4) == Listening(4)
    assert answered(QueryDirectory(), Objects={}) == Directory((), (), (), ())
    for request in (DetachSession(1), Presence(1, present=True), StopListening(1), KeepAlive()):
        assert answered(request, Time=1) is None


def test_what_became_of_a_command_is_read() -> None:
    command = execute(SetRoutingState("work"))
    assert answered(command, State="Applied", Version=3) == Executed("applied", 3)


@pytest.mark.parametrize(
    ("told", "code", "details"),
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
    told: dict[str, Any], code: ErrorCode, details: dict[str, Any]
) -> None:
    with pytest.raises(GatewayError) as refused:
        answered(execute(SetRoutingState("work")), **told)
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
