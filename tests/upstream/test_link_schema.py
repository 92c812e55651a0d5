"""The published schema of the link agrees with what is sent and read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from docs._generate.link import ELEMENTS, FILE, OBJECTS, REQUESTS, main
from gateway.domain.commands import (
    Execute,
    LinkRequest,
    Listen,
)
from gateway.domain.model import Kind
from gateway.domain.upstream import Source
from gateway.simulator import SimulatorSettings
from gateway.upstream.oscce.decode import References
from gateway.upstream.oscce.http import log_on_body
from gateway.upstream.oscce.messages import render
from tests.simulator.peer import Message, World
from tests.upstream.samples import LINK_OPENED, QUEUE_CONFIGURATION, USER_REALTIME, event
from tests.upstream.scripted_server import CREDENTIALS
from tests.upstream.test_wire_requests import PLAIN, WRITTEN

SCHEMA: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
SAID: tuple[LinkRequest, ...] = (
    *(request for request, _ in PLAIN),
    Listen(Kind.QUEUE, Source.REALTIME, frozenset({3})),
    Listen(None, Source.DIRECTORY, None),
    *(Execute(2, command, "key", 1_700_000_000_000) for command, _ in WRITTEN),
)


def faults(name: str, received: object) -> list[str]:
    """Return what the definition *name* has against *received*."""
    schema = {"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]}
    return [error.message for error in Draft202012Validator(schema).iter_errors(received)]


def test_the_published_schema_is_the_present_one_with_a_type_for_each_field_and_elements_of_each_event() -> (
    None
):
    Draft202012Validator.check_schema(SCHEMA)
    assert main(["--check"]) == 0
    definitions = SCHEMA["$defs"].values()
    assert all(shown for each in definitions for shown in each.get("properties", {}).values())
    assert SCHEMA["x-elements"].keys() == ELEMENTS.keys()


def _name(request_: LinkRequest) -> str:
    """Return a name that is the same in every process: a repr may hold an address."""
    command = getattr(request_, "command", None)
    return type(request_).__name__ if command is None else type(command).__name__


@pytest.mark.parametrize("request_", SAID, ids=_name)
@pytest.mark.parametrize("keys", [True, False])
def test_what_the_gateway_says_is_described(request_: LinkRequest, *, keys: bool) -> None:
    received = json.loads(render(request_, 1, own_agents={2: 7}, references=References(), keys=keys))
    assert faults("GatewayMessage", received) == []
    assert faults("GatewayMessage", received | {"RequestID": 0}) != []
    name = next(name for name in SCHEMA["$defs"] if name == received["Method"])
    known = SCHEMA["$defs"][name]["properties"].keys()
    assert received.keys() <= known, "a field stands nowhere"


def test_every_method_is_tried_here() -> None:
    said = {
        json.loads(render(each, 1, own_agents={2: 7}, references=References(), keys=True))["Method"]
        for each in SAID
    }
    assert said == set(REQUESTS) == set(SCHEMA["x-answers"])


def test_a_log_on_is_described() -> None:
    assert faults("LogOn", json.loads(log_on_body(CREDENTIALS))) == []


def test_what_is_read_is_described() -> None:
    assert faults("ServerMessage", LINK_OPENED) == []
    received = json.loads(event("UserRealtime", USER_REALTIME))
    assert faults("ServerMessage", received) == []
    assert faults("ServerMessage", json.loads(event("Configuration", QUEUE_CONFIGURATION))) == []
    assert faults("ServerMessage", received | {"Time": -1}) != []


@pytest.mark.parametrize(
    ("applies_to", "is_legal"), [("Queue", True), (["Queue", "Group"], True), (7, False), ([7], False)]
)
def test_a_parameter_applies_to_one_object_type_or_several(applies_to: object, *, is_legal: bool) -> None:
    row = {"Name": "n", "AppliesTo": applies_to, "DataType": "Integer"}
    assert (faults("RoutingParameter", row) == []) is is_legal


@pytest.fixture(scope="module")
def arrived() -> tuple[list[Message], Message]:
    """Run the simulator for a minute; give what it said on a supervisor's link, and its directory."""
    world = World(SimulatorSettings(seed=3))
    link, peer = world.link(world.log_on())
    for event_type in ELEMENTS:
        world.ask(link, "ListenForEvents", EventType=event_type, Keys="All")
    directory = world.ask(link, "QueryDirectory", Kinds=list(OBJECTS))
    world.pass_time(60)
    return peer.take(), directory


def test_what_the_simulator_says_is_described_field_by_field(arrived: tuple[list[Message], Message]) -> None:
    received = [each for each in arrived[0] if each["Type"] != "Response"]
    events = {each["EventType"] for each in received if each["Type"] == "Event"}
    assert events >= ELEMENTS.keys() - {"Administration"}
    for each in received:
        assert faults("ServerMessage", each) == []
        assert each.keys() <= known(each["Type"])
        for element in each.get("Elements", ()):
            name = SCHEMA["x-elements"][each["EventType"]]["$ref"].rpartition("/")[2]
            assert faults(name, element) == []
            assert element.keys() <= known(name)


def test_the_simulators_directory_is_described_field_by_field(arrived: tuple[list[Message], Message]) -> None:
    assert faults("DirectoryAnswer", arrived[1]) == []
    kinds = SCHEMA["$defs"]["DirectoryObjects"]["properties"]
    for kind, rows in arrived[1]["Objects"].items():
        name = kinds[kind]["anyOf"][0]["items"]["$ref"].rpartition("/")[2]
        assert all(row.keys() <= known(name) for row in rows)


def known(name: str) -> set[str]:
    return set(SCHEMA["$defs"][name]["properties"])
