"""How is the server asked, and what does its answer mean?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.domain.commands import Command, SetAgentRoutingState, SetRoutingState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.link_requests import (
    AttachSession,
    DetachSession,
    Execute,
    Executed,
    KeepAlive,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    StopListening,
)
from gateway.upstream.wire import AttachedSession, attached
from gateway.upstream.wire_directory import DIRECTORY_KINDS, directory
from gateway.upstream.wire_elements import EVENT_TYPES
from gateway.upstream.wire_errors import NAMES, UNREADABLE, WireError, refusal
from gateway.upstream.wire_names import TARGET_STATES, WHENS, Count, Element
from gateway.upstream.wire_pool import PartPool

Fields = dict[str, Any]
"""A request as it is written."""


def render(request: LinkRequest, number: int, *, own_agents: Mapping[int, int], keys: bool) -> str:
    """Write a request.

    Args:
        request: What is asked.
        number: Pairs the answer on this link.
        own_agents: Alias of an attached session → its own agent.
        keys: Whether the server knows ``RequestKey``.

    Raises:
        GatewayError: ``not_found``, ``reason_unknown`` when an id cannot be one of the server's Keys.
    """
    fields: Fields = {"Type": "Request", "RequestID": number}
    match request:
        case Execute():
            fields |= _execute(request, own_agents, keys=keys)
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


def _execute(request: Execute, own_agents: Mapping[int, int], *, keys: bool) -> Fields:
    fields: Fields = {"Session": request.alias, "NotAfter": request.not_after_ms}
    fields |= _command(request.command, own_agents.get(request.alias))
    if keys:
        fields["RequestKey"] = request.key
    return fields


def _command(command: Command, own_agent: int | None) -> Fields:
    fields: Fields = {
        "Method": "SetRoutingState",
        "UserKey": _user_key(command, own_agent),
        "RoutingState": TARGET_STATES[command.state],
        "When": WHENS[command.when],
    }
    if command.reason_id is not None:
        fields["ReasonKey"] = _key(command.reason_id, ErrorCode.REASON_UNKNOWN, "There is no such reason.")
    return fields


def _user_key(command: Command, own_agent: int | None) -> int:
    match command:
        case SetAgentRoutingState(agent_id):
            return _key(agent_id, ErrorCode.NOT_FOUND, "There is no such agent.")
        case SetRoutingState():
            if own_agent is None:
                raise GatewayError(ErrorCode.NOT_LOGGED_ON, "The session has no agent of its own.")
            return own_agent


def _key(id_: str, code: ErrorCode, message: str) -> int:
    """Return the server's Key of an id; there is one spelling of each."""
    if not (id_.isascii() and id_.isdecimal() and len(id_) <= 16 and str(int(id_)) == id_):
        raise GatewayError(code, message)
    return int(id_)


# ---- answers ----


class _Outcome(Element):
    error: Count = 0
    error_name: str | None = None


class _Query(Element):
    query_id: Count


class _Done(Element):
    state: str
    version: Count | None = None


_decode_outcome: Final = msgspec.json.Decoder(_Outcome).decode
_decode_attached: Final = msgspec.json.Decoder(AttachedSession).decode
_decode_query: Final = msgspec.json.Decoder(_Query).decode
_decode_done: Final = msgspec.json.Decoder(_Done).decode


def answer(request: LinkRequest, body: str | bytes, pool: PartPool) -> LinkAnswer:
    """Read the answer to *request*.

    Raises:
        GatewayError: The server refused it.
        WireError: The answer cannot be read.
    """
    try:
        outcome = _decode_outcome(body)
        if outcome.error != 0 or outcome.error_name:
            raise refusal(outcome.error_name or NAMES.get(outcome.error, f"Error{outcome.error}"), body)
        return _answer(request, body, pool)
    except UNREADABLE:
        raise WireError("an answer cannot be read") from None


def _answer(request: LinkRequest, body: str | bytes, pool: PartPool) -> LinkAnswer:
    match request:
        case AttachSession():
            return attached(_decode_attached(body))
        case Listen():
            return Listening(_decode_query(body).query_id)
        case QueryDirectory():
            return directory(body, pool)
        case Execute():
            return _done(_decode_done(body))
        case DetachSession() | Presence() | StopListening() | KeepAlive():
            return None


def _done(told: _Done) -> Executed:
    """A state that is not known says that it was accepted, and no more: the mirror shows what follows."""
    match told.state:
        case "Applied":
            return Executed("applied", told.version)
        case "Unchanged":
            return Executed("unchanged", told.version)
        case _:
            return Executed("pending", told.version)
