"""Write requests to the server, and read their responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.domain.link_requests import (
    AttachSession,
    DetachSession,
    Execute,
    KeepAlive,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    StopListening,
)
from gateway.upstream.readings import Readings
from gateway.upstream.wire import AttachedSession, attached
from gateway.upstream.wire_commands import Fields, executed, render_command
from gateway.upstream.wire_directory import DIRECTORY_KINDS, directory
from gateway.upstream.wire_elements import EVENT_TYPES, References
from gateway.upstream.wire_errors import NAMES, UNREADABLE, WireError, refusal
from gateway.upstream.wire_mending import read_as_meant
from gateway.upstream.wire_names import Count, Element


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
        GatewayError: See :func:`gateway.upstream.wire_commands.render_command`.
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


class _Outcome(Element):
    error: Count = 0
    error_name: str | None = None


class _Query(Element):
    query_id: Count


_decode_outcome: Final = msgspec.json.Decoder(_Outcome).decode
_decode_attached: Final = msgspec.json.Decoder(AttachedSession).decode
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
