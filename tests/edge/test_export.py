"""Export: all categories, without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from gateway.domain.resources import Agent, Handling, Me, Queue, Resource, RoutingState, Site
from gateway.edge.export import export, pick
from gateway.protocol.bodies import ExportBody
from gateway.protocol.codec import write_body
from gateway.protocol.schemas import inventory
from tests.doubles.clock import ManualClock
from tests.edge.visits import ticket_of

MIRROR: dict[str, Resource] = {
    "me": Me(user_id="7", display_name="Ann", remote_number="+4989123"),
    "agent:5": Agent(
        display_name="Ann",
        routing_state=RoutingState.WORK,
        handling=(Handling(contact_id="c1", state="talking"),),
    ),
    "queue:1": Queue(name="Sales", contacts_waiting=3),
    "site": Site(extensions_version="V2R1"),
}


def exported(mirror: dict[str, Resource]) -> bytes:
    return b"".join(export(ticket_of(ManualClock()), mirror, address="192.0.2.1", at_ms=5))


def body_of(mirror: dict[str, Resource]) -> ExportBody:
    return TypeAdapter(ExportBody).validate_json(exported(mirror))


def held(category: str) -> tuple[dict[str, Any], ...]:
    return {entry.category: entry.held for entry in body_of(MIRROR).entries}[category]


def test_every_category_of_the_inventory_is_there_once_and_in_order() -> None:
    body = body_of({})
    assert [entry.category for entry in body.entries] == [entry.category for entry in inventory().entries]
    assert (body.user.user_id, body.at_ms) == ("7", 5)


def test_every_field_of_the_mirror_is_in_one_category() -> None:
    realtime = held("agent.realtime")
    assert realtime[0]["key"] == "agent:5"
    assert realtime[0]["routing_state"] == "work"
    assert realtime[0]["handling"][0]["state"] == "talking"
    assert held("agent.personal")[0]["display_name"] == "Ann"
    assert held("queue.realtime") == ({"key": "queue:1", "contacts_waiting": 3},)
    assert held("queue.neutral") == ({"key": "queue:1", "name": "Sales"},)
    assert held("site.neutral") == ({"key": "site", "extensions_version": "V2R1"},)


def test_what_is_held_beside_the_mirror_is_shown() -> None:
    assert held("remote_number") == ({"remote_number": "+4989123"},)
    assert held("connection") == ({"network_address": "192.0.2.1"},)
    assert held("device") == ({"device.id": "d1", "device.name": "one"},)
    assert held("log_on") == ()
    token = next(entry for entry in inventory().entries if entry.category == "token")
    assert set(held("token")[0]) == set(token.fields)


def test_the_secret_is_never_shown() -> None:
    assert b"SECRET" not in exported(MIRROR)


def test_it_is_written_as_all_bodies_are() -> None:
    assert exported(MIRROR) == write_body(body_of(MIRROR))
    assert exported({}) == write_body(body_of({}))


def test_no_piece_holds_more_than_one_record() -> None:
    mirror: dict[str, Resource] = {f"queue:{number}": Queue(name="Sales") for number in range(100)}
    pieces = list(export(ticket_of(ManualClock()), mirror, address="192.0.2.1", at_ms=5))
    assert max(piece.count(b'"key"') for piece in pieces) == 1


@pytest.mark.parametrize(
    ("paths", "picked"),
    [
        (["a"], {"a": 1}),
        (["b.c"], {"b": {"c": 2}}),
        (["d[].e", "d[].f"], {"d": [{"e": 3}, {"e": 4, "f": 5}]}),
        (["missing", "missing.deeper", "a.deeper"], {}),
        (["b"], {"b": {"c": 2, "x": 9}}),
    ],
)
def test_paths_lead_to_what_they_name(paths: list[str], picked: dict[str, Any]) -> None:
    value = {"a": 1, "b": {"c": 2, "x": 9}, "d": [{"e": 3, "g": 0}, {"e": 4, "f": 5}]}
    assert pick(value, [path.split(".") for path in paths]) == picked
