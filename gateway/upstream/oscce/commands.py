"""Write commands and requests for the server, and read their responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.domain.commands import (
    AcknowledgeNotice,
    AttachSession,
    ChangeRemoteNumber,
    Command,
    DetachSession,
    Execute,
    Executed,
    ExtendPostProcessing,
    FinishPostProcessing,
    KeepAlive,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
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
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.resources import Parameter, Scalar
from gateway.upstream.oscce.decode import MOST, TARGET_STATES, WHENS, Count, WireElement
from gateway.upstream.oscce.directory import DIRECTORY_KINDS, directory
from gateway.upstream.oscce.errors import NAMES, UNREADABLE, WireError, read_as_meant, refusal
from gateway.upstream.oscce.messages import ServerSession, attached
from gateway.upstream.oscce.readings import Readings
from gateway.upstream.oscce.resources import EVENT_TYPES, References

Fields = dict[str, Any]
"""A request as it is written."""


def render_command(
    request: Execute, own_agents: Mapping[int, int], references: References, *, keys: bool
) -> Fields:
    """Write a command.

    Args:
        request: What is to be executed.
        own_agents: Alias of an attached session → its own agent.
        references: Which routing parameters hold Keys.
        keys: Whether the server knows ``RequestKey``.

    Raises:
        GatewayError: ``not_found``, ``skill_unknown``, ``reason_unknown``, ``reference_unknown`` when
            an id cannot be one of the server's Keys; ``wrong_type`` when a reference is no id at all.
    """
    fields: Fields = {"Session": request.alias, "NotAfter": request.not_after_ms}
    fields |= _command(request.command, own_agents.get(request.alias), references)
    if keys:
        fields["RequestKey"] = request.key
    return fields


def _command(command: Command, own_agent: int | None, references: References) -> Fields:
    match command:
        case SetAgentRoutingState() | SetRoutingState():
            return _routing_state(command, own_agent)
        case SetSkills():
            return _skills(command)
        case SetQueueParameters(queue_id):
            return _parameters("Queue", queue_id, command, references.queue)
        case SetGroupParameters(group_id):
            return _parameters("Group", group_id, command, references.group)
        case ChangeRemoteNumber(number):
            return {"Method": "ChangeRemoteNumber", "RemoteNumber": number}
        case (
            StartPostProcessing() | ExtendPostProcessing() | FinishPostProcessing() | SetAutoPostProcessing()
        ):
            return {"Method": "PostProcessing"} | _post_processing(command)
        case AcknowledgeNotice():
            raise GatewayError(ErrorCode.UNSUPPORTED_BY_UPSTREAM, "Notices are the gateway's own.")


def _routing_state(command: SetAgentRoutingState | SetRoutingState, own_agent: int | None) -> Fields:
    fields: Fields = {
        "Method": "SetRoutingState",
        "UserKey": _user_key(command, own_agent),
        "RoutingState": TARGET_STATES[command.state],
        "When": WHENS[command.when],
    }
    if command.reason_id is not None:
        fields["ReasonKey"] = _reason_key(command.reason_id)
    return fields


def _user_key(command: SetAgentRoutingState | SetRoutingState, own_agent: int | None) -> int:
    match command:
        case SetAgentRoutingState(agent_id):
            return _object_key(agent_id)
        case SetRoutingState():
            if own_agent is None:
                raise GatewayError(ErrorCode.NOT_LOGGED_ON, "The session has no agent of its own.")
            return own_agent


def _skills(command: SetSkills) -> Fields:
    return {
        "Method": "SetSkills",
        "UserKey": _object_key(command.agent_id),
        "Mode": "Patch" if command.mode == "patch" else "Replace",
        "Skills": [_skill(change) for change in command.changes],
        "Version": command.if_version,
    }


def _skill(change: SkillChange) -> Fields:
    key = _key(change.skill_id, ErrorCode.SKILL_UNKNOWN, "There is no such skill.")
    optional = {"Preference": change.preference, "Active": change.active}
    return {"SkillKey": key, "Level": change.level} | {
        name: value for name, value in optional.items() if value is not None
    }


def _parameters(
    object_type: str, id_: str, command: SetQueueParameters | SetGroupParameters, references: frozenset[str]
) -> Fields:
    return {
        "Method": "SetRoutingParameters",
        "ObjectType": object_type,
        "Key": _object_key(id_),
        "Parameters": {
            name: _reference(value) if name in references else value
            for name, value in command.changes.items()
        },
        "Version": command.if_version,
    }


def _reference(value: Parameter) -> int | list[int | None] | None:
    if isinstance(value, tuple):
        return [_referred(member) for member in value]
    return _referred(value)


def _referred(value: Scalar) -> int | None:
    match value:
        case None:
            return None
        case str():
            message = "The value names an object that does not exist."
            return _key(value, ErrorCode.REFERENCE_UNKNOWN, message)
        case _:
            raise GatewayError(ErrorCode.WRONG_TYPE, "The value must be an id, or null.")


def _post_processing(
    command: StartPostProcessing | ExtendPostProcessing | FinishPostProcessing | SetAutoPostProcessing,
) -> Fields:
    match command:
        case StartPostProcessing():
            return {"Action": "Start"}
        case ExtendPostProcessing(until_ms):
            return {"Action": "Extend", "Until": until_ms}
        case FinishPostProcessing(next_state, reason_ids):
            state: Fields = {} if next_state is None else {"NextState": TARGET_STATES[next_state]}
            reasons: Fields = {"WrapupReasonKeys": [_reason_key(each) for each in reason_ids]}
            return {"Action": "Finish"} | state | (reasons if reason_ids else {})
        case SetAutoPostProcessing(on, duration_s):
            duration: Fields = {} if duration_s is None else {"Duration": duration_s}
            return {"Action": "SetAuto", "On": on} | duration


def _object_key(id_: str) -> int:
    return _key(id_, ErrorCode.NOT_FOUND, "There is no such object.")


def _reason_key(id_: str) -> int:
    return _key(id_, ErrorCode.REASON_UNKNOWN, "There is no such reason.")


def _key(id_: str, code: ErrorCode, message: str) -> int:
    """Return the server's Key of an id; there is one spelling of each."""
    key = int(id_) if id_.isdecimal() and len(id_) <= 16 else -1
    if not 0 <= key <= MOST or str(key) != id_:
        raise GatewayError(code, message)
    return key


# ---- answers ----


class _Done(WireElement):
    state: str
    version: Count | None = None


_decode_done: Final = msgspec.json.Decoder(_Done).decode


def executed(body: str | bytes) -> Executed:
    """Read what became of a command.

    Raises:
        GatewayError: ``upstream_timeout``: the server's answer is not understood, so
            the outcome is unknown.
    """
    told = _decode_done(body)
    match told.state:
        case "Applied":
            return Executed("applied", told.version)
        case "Pending":
            return Executed("pending", told.version)
        case "Unchanged":
            return Executed("unchanged", told.version)
        case _:
            raise GatewayError(ErrorCode.UPSTREAM_TIMEOUT, "The OSCC-E Server's answer is not understood.")


def render(
    request: LinkRequest,
    number: int,
    *,
    own_agents: Mapping[int, int],
    references: References,
    keys: bool,
) -> str:
    """Write a request.

    Args:
        request: What is asked.
        number: Pairs the answer on this link.
        own_agents: Alias of an attached session → its own agent.
        references: Which routing parameters hold Keys.
        keys: Whether the server knows ``RequestKey``.

    Raises:
        GatewayError: See :func:`gateway.upstream.oscce.commands.render_command`.
    """
    fields: Fields = {"Type": "Request", "RequestID": number}
    match request:
        case Execute():
            fields |= render_command(request, own_agents, references, keys=keys)
        case _:
            fields |= _ask(request)
    return msgspec.json.encode(fields).decode()


def _ask(
    request: AttachSession | DetachSession | Presence | Listen | StopListening | QueryDirectory | KeepAlive,
) -> Fields:
    match request:
        case AttachSession(secret):
            return {"Method": "AttachSession", "SessionID": secret}
        case DetachSession(alias):
            return {"Method": "DetachSession", "Session": alias}
        case Presence(alias, present):
            return {"Method": "Presence", "Session": alias, "Present": present}
        case Listen(kind, source, numbers):
            keys = "All" if numbers is None else sorted(numbers)
            return {"Method": "ListenForEvents", "EventType": EVENT_TYPES[kind, source], "Keys": keys}
        case StopListening(query):
            return {"Method": "StopListeningForEvents", "QueryID": query}
        case QueryDirectory():
            return {"Method": "QueryDirectory", "Kinds": DIRECTORY_KINDS}
        case KeepAlive():
            return {"Method": "KeepAlive"}


# ---- answers ----


class _Outcome(WireElement):
    error: Count = 0
    error_name: str | None = None


class _Query(WireElement):
    query_id: Count


_decode_outcome: Final = msgspec.json.Decoder(_Outcome).decode
_decode_attached: Final = msgspec.json.Decoder(ServerSession).decode
_decode_query: Final = msgspec.json.Decoder(_Query).decode


def answer(request: LinkRequest, body: str | bytes, pool: Readings) -> LinkAnswer:
    """Read the answer to *request*.

    Raises:
        GatewayError: The server refused it.
        WireError: The answer cannot be read.
    """
    try:
        return read_as_meant(lambda text: _answer(request, text, pool), body)
    except UNREADABLE:
        raise WireError("an answer cannot be read") from None


def _answer(request: LinkRequest, body: str | bytes, pool: Readings) -> LinkAnswer:
    outcome = _decode_outcome(body)
    if outcome.error != 0 or outcome.error_name:
        raise refusal(outcome.error_name or NAMES.get(outcome.error, f"Error{outcome.error}"), body)
    match request:
        case AttachSession():
            return attached(_decode_attached(body), pool)
        case Listen():
            return Listening(_decode_query(body).query_id)
        case QueryDirectory():
            return directory(body, pool)
        case Execute():
            return executed(body)
        case DetachSession() | Presence() | StopListening() | KeepAlive():
            return None
