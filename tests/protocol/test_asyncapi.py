"""The AsyncAPI document has both directions, both subprotocols and every close."""

from __future__ import annotations

from gateway.domain.errors import CloseCode, verdict
from gateway.protocol.frames import COMMANDS, PROTOCOLS
from gateway.protocol.openapi import asyncapi
from tests.protocol.references import references, resolves

DOCUMENT = asyncapi()
CHANNEL = DOCUMENT["channels"]["realtime"]
CLIENT = {"hello", "follow", "pace", "command", "pong", "resync", "bye"}
GATEWAY = {"welcome", "changes", "ping", "followed", "result", "notice", "renewed", "error", "bye"}


def kinds(action: str) -> set[str]:
    """Return the kinds of the frames that go in one direction."""
    (operation,) = [found for found in DOCUMENT["operations"].values() if found["action"] == action]
    names = [message["$ref"].rpartition("/")[2] for message in operation["messages"]]
    return {DOCUMENT["components"]["messages"][name]["name"] for name in names}


def test_it_is_of_the_version_it_says() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT.keys() == {
        "asyncapi",
        "info",
        "defaultContentType",
        "servers",
        "channels",
        "operations",
        "components",
    }
    assert CHANNEL["address"] == "/v1/realtime"


def test_both_directions_have_their_frames() -> None:
    assert kinds("receive") == CLIENT
    assert kinds("send") == GATEWAY
    assert len(CHANNEL["messages"]) == len(CLIENT) + len(GATEWAY)


def test_both_subprotocols_are_offered() -> None:
    header = CHANNEL["bindings"]["ws"]["headers"]["properties"]["Sec-WebSocket-Protocol"]
    assert header["enum"] == list(PROTOCOLS) == list(CHANNEL["x-subprotocols"])
    assert CHANNEL["x-subprotocols"]["oscc.v1.msgpack"]["message"] == "binary"


def test_every_close_code_is_there_with_what_a_client_does() -> None:
    received = {int(code): close["verdict"] for code, close in CHANNEL["x-close-codes"].items()}
    assert {int(code) for code in CloseCode} | {1002, 1003, 1007, 1009} == received.keys()
    assert all(verdict(code).value == said for code, said in received.items())


def test_payloads_are_the_schemas_of_their_frames() -> None:
    for message in DOCUMENT["components"]["messages"].values():
        schema = DOCUMENT["components"]["schemas"][message["payload"]["$ref"].rpartition("/")[2]]
        assert schema["properties"]["kind"]["const"] == message["name"]


def test_commands_are_distinguished_by_kind() -> None:
    """An AsyncAPI schema's discriminator is a string: the name of the field."""
    command = DOCUMENT["components"]["schemas"]["Command"]
    assert command.keys() == {"title", "oneOf", "discriminator"}
    assert command["discriminator"] == "kind"
    assert len(command["oneOf"]) == len(COMMANDS)


def test_every_reference_leads_somewhere() -> None:
    assert [found for found in references(DOCUMENT) if not resolves(DOCUMENT, found)] == []
