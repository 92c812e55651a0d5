"""Bytes that the benchmark's OSCC-E Server sends.

A publish changes one text of an element, which the gateway forwards unchanged: the formula of a queue's
service level, or the presence of an agent. The text holds the publisher's sequence number and time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.layout import FIRST_AGENT, Layout, VisibleKeys
from gateway.domain.model import VALUE_CHARS

SUBPROTOCOL = "oscce.link.v1"
SEQUENCE, STAMP = "S:", ",T:"
"""Texts before a publish's sequence number and time (ns since 1970) in a phone's frame."""
_PAD = "x" * VALUE_CHARS
_BEGAN_MS = time.time_ns() // 1_000_000
_HOW_LONG = "<how long>"
KEEP_ALIVE_S = 20
RIGHTS = ("SkillsWrite", "RoutingStateWrite", "RoutingParametersWrite")
QUERY_STRIDE = 1000
QUERIES = (
    "UserRealtime",
    "QueueRealtime",
    "GroupRealtime",
    "AggregateRealtime",
    "UserCumulative",
    "QueueCumulative",
    "Configuration",
    "Administration",
)
ABOUT = {
    "Product": "OSCC-E",
    "ExtensionsVersion": "V2R1",
    "ContactCenterVersion": "V8R2",
    "Protocol": 1,
    "Features": ["Skills", "RoutingParameters", "RequestKeys"],
}


def text(message: Mapping[str, Any]) -> bytes:
    """Return *message* as JSON."""
    return json.dumps(message, separators=(",", ":")).encode()


def frame(payload: bytes) -> bytes:
    """Return a text message as the frame of a server (RFC 6455 §5.2), the same for all links."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def news(sequence: int, stamp_ns: int) -> str:
    """Return the text that a publish changes: the longest that the gateway forwards whole."""
    return f"{SEQUENCE}{sequence}{STAMP}{stamp_ns},{_PAD}"[:VALUE_CHARS]


def queue(key: int, varied: str, contacts: int) -> bytes:
    """Return a queue's reading, of which only *varied* and *contacts* vary."""
    return (
        f'{{"QueueKey":{key},"Contacts":{contacts},"OldestContactWaitTime":null,"ServiceLevel":87.5,'
        f'"ServiceLevelThreshold":20,"ServiceLevelFormula":"{varied}","AbandonedRate":2.5,'
        f'"EstimatedWaitTime":30,"LoggedOnUsers":40,"AvailableUsers":11,"HandlingUsers":21,'
        f'"PostProcessingUsers":3,"UnavailableUsers":4,"WorkUsers":1,"Level":"Ok"}}'
    ).encode()


def agent(key: int, varied: str, state: str = "Available") -> bytes:
    """Return an agent's reading, of which only *varied* and *state* vary."""
    return (
        f'{{"UserKey":{key},"Extension":"{key}","RoutingState":"{state}","TimeInRoutingState":{_HOW_LONG},'
        f'"PresenceState":"{varied}","HandlingStates":[],"Media":{{"Voice":"On"}},"AllowedActions":[]}}'
    ).encode()


def element(key: int, sequence: int, stamp_ns: int) -> tuple[str, bytes]:
    """Return the event type and the reading of resource *key* after a publish."""
    if key >= FIRST_AGENT:
        return "UserRealtime", agent(key, news(sequence, stamp_ns))
    return "QueueRealtime", queue(key, news(sequence, stamp_ns), sequence % 50)


def _since(raw: bytes, time_ms: int) -> bytes:
    """Fill in the agents' times in their states: whole seconds since this process began."""
    return raw.replace(_HOW_LONG.encode(), str(max(0, (time_ms - _BEGAN_MS) // 1000)).encode())


def event(query: int, event_type: str, time_ms: int, elements: Iterable[bytes], *, complete: bool) -> bytes:
    """Return an event's frame."""
    head = (
        f'{{"Type":"Event","QueryID":{query},"EventType":"{event_type}","Time":{time_ms},'
        f'"Complete":{"true" if complete else "false"},"Elements":['
    )
    raws = b",".join(elements)
    return frame(head.encode() + (_since(raws, time_ms) if event_type == "UserRealtime" else raws) + b"]}")


def first(event_type: str, visible: VisibleKeys, keys: frozenset[int] | None) -> Iterable[bytes]:
    """Return the first readings of a query, before anything was published."""
    if event_type == "QueueRealtime":
        return [queue(key, "none yet", 0) for key in visible.queues if keys is None or key in keys]
    if event_type == "UserRealtime":
        return [agent(key, "none yet") for key in visible.agents if keys is None or key in keys]
    return ()


def response(request_id: int, **fields: object) -> bytes:
    """Return the frame of a successful response."""
    return frame(text({"Type": "Response", "RequestID": request_id, "Error": 0, **fields}))


def refusal(request_id: int, code: int, name: str) -> bytes:
    """Return the frame of a response with an error."""
    return frame(text({"Type": "Response", "RequestID": request_id, "Error": code, "ErrorName": name}))


def person(user: int, key: int) -> dict[str, object]:
    """Return a supervisor's object."""
    return {"Key": key, "ID": f"user{user}", "FirstName": "User", "LastName": str(user)}


def session(alias: int, public: str, visible: VisibleKeys) -> dict[str, object]:
    """Return an attached session as ``AttachSession`` and ``LinkOpened`` contain it."""
    scope = {"Users": list(visible.agents), "Queues": list(visible.queues), "Groups": [], "Aggregates": []}
    return {"Session": alias, "ID": public, "Application": "Dashboard", "Rights": RIGHTS, "Scope": scope}


def directory(layout: Layout, user: int, kinds: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    """Return the objects of *kinds* that a user may see."""
    visible = layout.visible_keys(user)
    found: dict[str, list[dict[str, object]]] = {kind: [] for kind in kinds}
    if "User" in found:
        found["User"] = [
            {"Key": key, "ID": f"agent{key}", "FirstName": "Agent", "LastName": str(key), "Version": 1}
            for key in visible.agents
        ]
    if "Queue" in found:
        found["Queue"] = [{"Key": key, "Name": f"Queue {key}", "Media": "Voice"} for key in visible.queues]
    return found
