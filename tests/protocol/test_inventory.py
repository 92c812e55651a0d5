"""Data inventory: complete against the fields of every resource."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from gateway.domain.resources import RESOURCES, Agent, Privacy, neutral, personal, realtime
from gateway.protocol.schemas import InventoryEntry, classified, inventory

ENTRIES = {entry.category: entry for entry in inventory().entries}


@pytest.mark.parametrize("name", RESOURCES)
def test_every_field_of_every_resource_stands_in_the_inventory_once(name: str) -> None:
    listed = [
        path
        for category, entry in ENTRIES.items()
        if category.rpartition(".")[0] == name
        for path in entry.fields
    ]
    assert len(listed) == len(set(listed))
    top = {path.partition(".")[0].removesuffix("[]") for path in listed}
    assert top == {field.name for field in dataclasses.fields(RESOURCES[name])}


@dataclass(frozen=True)
class _Part:
    id: str = neutral("what it is")
    deep: str = realtime("what it is")


@dataclass(frozen=True)
class _Whole:
    alone: str = neutral("what it is")
    one: _Part | None = personal("what it is")
    many: tuple[_Part, ...] = realtime("what it is", many=True)


def test_parts_are_as_strict_as_what_holds_them() -> None:
    assert dict(classified(_Whole)) == {
        "alone": Privacy.NEUTRAL,
        "one.id": Privacy.PERSONAL,
        "one.deep": Privacy.REALTIME,
        "many[].id": Privacy.REALTIME,
        "many[].deep": Privacy.REALTIME,
    }


@dataclass(frozen=True)
class _Careless:
    fine: str = neutral("what it is")
    forgotten: str = ""


@dataclass(frozen=True)
class _Outer:
    part: _Careless | None = neutral("what it is")


@pytest.mark.parametrize("of", [_Careless, _Outer])
def test_a_field_without_a_class_fails_the_build(of: type) -> None:
    with pytest.raises(TypeError, match=r"_Careless\.forgotten"):
        list(classified(of))


def test_what_the_page_marks_is_marked() -> None:
    found = dict(classified(Agent))
    assert found["display_name"] is found["extension"] is Privacy.PERSONAL
    assert found["routing_state"] is found["handling[].contact_id"] is Privacy.REALTIME
    assert dict(classified(RESOURCES["queue"]))["contacts_waiting"] is Privacy.REALTIME
    assert dict(classified(RESOURCES["me"]))["remote_number"] is Privacy.PERSONAL


def test_what_is_held_beside_the_mirror_is_reported_too() -> None:
    assert {"log_on", "token", "remote_number", "device"} <= ENTRIES.keys()
    assert ENTRIES["log_on"].privacy is ENTRIES["token"].privacy is Privacy.CREDENTIAL
    assert "password" in ENTRIES["log_on"].fields
    assert "device.name" in ENTRIES["device"].fields


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.category)
def test_every_entry_answers_every_question(entry: InventoryEntry) -> None:
    for field in dataclasses.fields(entry):
        assert getattr(entry, field.name), field.name


def test_realtime_data_is_on_no_disk() -> None:
    for category, entry in ENTRIES.items():
        if entry.privacy is Privacy.REALTIME:
            assert entry.held_in.startswith("memory"), category
