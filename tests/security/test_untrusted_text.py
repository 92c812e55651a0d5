"""Texts of servers and phones reach people without deceptive characters.

Every string that a message can carry is poisoned; what the gateway reads of it is walked to the last string.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway.domain import model
from gateway.protocol.bodies import LOG_ON, read_body
from gateway.upstream.oscce import decode, directory, http
from gateway.upstream.oscce.decode import server_name
from gateway.upstream.oscce.errors import refusal
from gateway.upstream.oscce.messages import LinkReader
from gateway.upstream.oscce.readings import Readings
from tests.domain.test_texts import faults

POISON = "A\u202e\x1b[2J\n\u2066B" + "x" * 9_000
MOST = 4_000
ELEMENTS: dict[str, type[msgspec.Struct]] = {
    "UserRealtime": decode.UserRealtime,
    "QueueRealtime": decode.QueueRealtime,
    "Configuration": decode._Configuration,
}


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from strings(getattr(value, field.name))
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from strings(name)
            yield from strings(member)
    elif isinstance(value, list | tuple | frozenset):
        for member in value:
            yield from strings(member)


def deceiving(value: object) -> list[str]:
    return [repr(text[:40]) for text in strings(value) if faults(text, MOST)]


def poisoned(kind: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a value of a type that msgspec reads, with poison in every string."""
    match msgspec.inspect.type_info(kind):
        case msgspec.inspect.StructType() as received:
            return {field.encode_name: poisoned(field.type) for field in received.fields}
        case received:
            return _of_type(received)


def _of_type(received: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    match received:
        case msgspec.inspect.UnionType():
            return _of_type(next(t for t in received.types if not isinstance(t, msgspec.inspect.NoneType)))
        case msgspec.inspect.StructType():
            return {field.encode_name: _of_type(field.type) for field in received.fields}
        case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
            return [_of_type(received.item_type)]
        case msgspec.inspect.DictType():
            return {POISON: POISON, "Plain": POISON}
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return 1
        case msgspec.inspect.BoolType():
            return True
        case _:
            return POISON


def _struct(kind: type[msgspec.Struct]) -> dict[str, Any]:
    received = msgspec.inspect.type_info(kind)
    assert isinstance(received, msgspec.inspect.StructType)
    return {field.encode_name: _of_type(field.type) for field in received.fields}


def _event(event_type: str, element: dict[str, Any]) -> str:
    event = {"Type": "Event", "QueryID": 1, "EventType": event_type, "Time": 1, "Elements": [element]}
    return json.dumps(event)


@pytest.mark.parametrize("object_type", ["User", "Queue", "Group"])
@pytest.mark.parametrize("event_type", ELEMENTS)
def test_no_element_deceives(event_type: str, object_type: str) -> None:
    element = _struct(ELEMENTS[event_type])
    if "ObjectType" in element:
        element["ObjectType"] = object_type
    (said,) = LinkReader("main", Readings()).read(_event(event_type, element))
    assert list(strings(said)) != []
    assert deceiving(said) == []


def test_no_directory_deceives() -> None:
    objects = {
        server_name("skill"): [_struct(directory._Skill)],
        server_name("work_reason"): [_struct(directory._Reason)],
        server_name("routing_parameter"): [
            _struct(directory._RoutingParameter),
            {**_struct(directory._RoutingParameter), "Name": "Plain", "Values": [POISON]},
        ],
        "User": [_struct(directory._User)],
        "Queue": [_struct(directory._Queue)],
        "Group": [_struct(directory._Group)],
        "Aggregate": [_struct(directory._Aggregate)],
    }
    read = directory.directory(json.dumps({"Objects": objects}), Readings())
    assert len(read.parts) == 4
    assert [each.name for each in read.parameters] == ["Plain"]
    assert deceiving(read) == []


def test_no_announcement_and_no_ending_deceives() -> None:
    reader = LinkReader("main", Readings())
    notice = dict.fromkeys(("ID", "Category", "Title", "Summary", "Link"), POISON)
    said = [
        *reader.read(json.dumps({"Type": "Notice", **notice, "Version": 1})),
        *reader.read(json.dumps({"Type": "SessionEnded", "Session": 1, "Reason": POISON, "By": POISON})),
    ]
    assert len(said) == 2
    assert deceiving(said) == []


@pytest.mark.parametrize("link", ["https://a.example/\u202e", "https://a.example/ x", "javascript:alert(1)"])
def test_no_link_of_a_notice_deceives(link: str) -> None:
    received = {"Type": "Notice", "ID": "1", "Version": 1, "Title": "T", "Link": link}
    (said,) = LinkReader("main", Readings()).read(json.dumps(received))
    assert getattr(said, "link", "") is None


def test_no_refusal_and_no_list_of_sessions_deceives() -> None:
    device = {"ID": POISON, "Name": POISON}
    session = {"ID": "s", "Application": "Dashboard", "Device": device, "Since": 1, "Attached": True}
    sessions = http.sessions(json.dumps({"Sessions": [session]}).encode(), 0)
    details = {"Where": POISON, "Parameter": POISON, "Function": POISON}
    refused = refusal("AlreadyLoggedOn", json.dumps(details))
    assert len(sessions) == 1
    assert "where" in refused.details
    assert deceiving([sessions, refused.details, refusal(POISON, b"{}").details]) == []


def test_no_device_deceives() -> None:
    device = {"id": "d", "name": POISON[:100], "platform": "p", "app_version": "1"}
    body = {"site": "main", "application": "dashboard", "user_name": "u", "password": "p", "device": device}
    read = read_body(json.dumps(body).encode(), LOG_ON)
    assert read.device.name.startswith("A[2J B")
    assert deceiving(read.device.name) == []


def test_a_server_whose_words_were_not_looked_at_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_DROPPED", {})
    with pytest.raises(AssertionError):
        test_no_element_deceives("UserRealtime", "User")
