"""Published schemas describe what is sent."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given

from gateway.domain.resources import RESOURCES, Agent
from gateway.protocol import frames
from gateway.protocol.bodies import LogOnBody
from gateway.protocol.codec import plain_fields
from gateway.protocol.openapi import openapi
from gateway.protocol.schemas import (
    CLIENT_FRAMES,
    GATEWAY_FRAMES,
    InventoryBody,
    Schema,
    frame_schemas,
    ref,
    schemas_of,
)
from tests.protocol import strategies as any_of
from tests.protocol.references import references

SCHEMAS = frame_schemas()


@pytest.mark.parametrize("of", [*CLIENT_FRAMES, *GATEWAY_FRAMES], ids=lambda of: of.__name__)
def test_every_frame_is_described_with_its_fields(of: type) -> None:
    listed = {field.name: field for field in dataclasses.fields(of)}
    schema = SCHEMAS[of.__name__]
    assert schema["properties"].keys() == listed.keys()
    assert schema["properties"]["kind"]["const"] == listed["kind"].default
    assert "kind" in schema["required"]


def test_required_is_what_is_always_written() -> None:
    assert SCHEMAS["Ping"]["required"] == [field.name for field in dataclasses.fields(frames.Ping)]
    assert set(SCHEMAS["Bye"]["required"]) == {"kind", "code", "reason", "reconnect", "min_s", "max_s"}
    assert set(SCHEMAS["Changes"]["required"]) == {"kind", "after", "upto"}
    assert set(SCHEMAS["Hello"]["required"]) == {"kind", "client"}
    assert "required" not in SCHEMAS["Agent"]


@pytest.mark.parametrize("of", RESOURCES.values(), ids=lambda of: of.__name__)
def test_every_field_of_a_resource_says_how_it_may_be_handled(of: type) -> None:
    for field in dataclasses.fields(of):
        received = SCHEMAS[of.__name__]["properties"][field.name]["x-privacy"]
        assert received == field.metadata["privacy"]


def test_parts_of_resources_say_it_too() -> None:
    assert SCHEMAS["Handling"]["properties"]["contact_id"]["x-privacy"] == "realtime"


def test_state_is_described_by_key() -> None:
    for verb, suffix in (("put", ""), ("patch", "Patch")):
        patterns = SCHEMAS["Changes"]["properties"][verb]["patternProperties"]
        assert patterns["^agent:[0-9]+$"] == ref(f"Agent{suffix}")
        assert patterns["^catalogue:skills$"] == ref(f"Skills{suffix}")
        assert len(patterns) == len(RESOURCES)


# ---- for generators of models ----


def properties() -> Iterator[tuple[str, Schema]]:
    """Yield the name and the schema of each field of each type."""
    for of in (*SCHEMAS.values(), *openapi()["components"]["schemas"].values()):
        yield from of.get("properties", {}).items()


def test_instants_have_64_bits() -> None:
    instants = [field for name, field in properties() if name.endswith("_ms")]
    assert len(instants) > 20
    assert {field.get("format") for field in instants} == {"int64"}


def test_a_null_beside_one_type_stands_in_its_type() -> None:
    twofold = [field["anyOf"] for _, field in properties() if "anyOf" in field]
    plain = [one[0] for one in twofold if len(one) == 2 and "$ref" not in one[0] and "anyOf" not in one[0]]
    assert [one for one in plain if one["type"] != "object"] == []
    assert SCHEMAS["Ping"]["properties"]["as_of_ms"] == {"type": ["integer", "null"], "format": "int64"}


def test_names_are_names_in_every_language() -> None:
    names = {*SCHEMAS, *openapi()["components"]["schemas"]}
    assert {name for name in names if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)} == set()


def test_every_enumeration_has_a_name() -> None:
    assert [
        name for name, field in properties() if "enum" in field or "enum" in str(field.get("items"))
    ] == []
    assert SCHEMAS["Ping"]["properties"]["upstream"] == ref("UpstreamHealth")
    assert SCHEMAS["UpstreamHealth"]["enum"] == ["live", "stale", "down"]


def test_unions_are_distinguished_by_kind() -> None:
    for name, of in (("ClientFrame", CLIENT_FRAMES), ("GatewayFrame", GATEWAY_FRAMES)):
        union = {"title": name, "oneOf": [ref(one.__name__) for one in of], "discriminator": "kind"}
        assert SCHEMAS[name] == union
    assert SCHEMAS["CommandFrame"]["properties"]["command"] == ref("Command")
    assert SCHEMAS["Command"]["discriminator"] == "kind"


def test_an_optional_field_is_no_union_with_null() -> None:
    """Absent says the same. In a patch null clears, and level null takes a skill away."""
    for name, of in SCHEMAS.items():
        optional = of.get("properties", {}).keys() - set(of.get("required", ()))
        unions = {field for field in optional if "anyOf" in of["properties"][field]}
        assert not unions or name.endswith("Patch"), (name, unions)
    assert SCHEMAS["Agent"]["properties"]["media"]["$ref"] == ref("Media")["$ref"]
    assert SCHEMAS["SkillChange"]["properties"]["level"]["type"] == ["integer", "null"]


def test_every_constant_has_a_type_and_a_title() -> None:
    kinds = [
        of["properties"]["kind"]
        for of in SCHEMAS.values()
        if "const" in of.get("properties", {}).get("kind", {})
    ]
    assert len(kinds) > 20
    assert {each["type"] for each in kinds} == {"string"}
    assert len({each["title"] for each in kinds}) == len(kinds)


def test_an_outcome_names_the_fields_of_its_error() -> None:
    assert SCHEMAS["OutcomeView"]["properties"]["error"] == ref("OutcomeError")
    assert SCHEMAS["OutcomeError"]["required"] == ["code", "message"]


def test_every_field_of_a_patch_may_be_there_and_be_null() -> None:
    for of in RESOURCES.values():
        patch = SCHEMAS[f"{of.__name__}Patch"]
        assert "required" not in patch
        cleared = dict.fromkeys(patch["properties"])
        assert cleared.keys() == SCHEMAS[of.__name__]["properties"].keys()
        document = {"components": {"schemas": SCHEMAS}, **ref(f"{of.__name__}Patch")}
        jsonschema.Draft202012Validator(document).validate(cleared)


def test_commands_are_the_ones_that_are_offered() -> None:
    listed = SCHEMAS["Command"]["oneOf"]
    assert listed == [ref(of.__name__) for of in frames.COMMANDS.values()]
    for kind, of in frames.COMMANDS.items():
        assert SCHEMAS[of.__name__]["properties"]["kind"]["const"] == kind
        assert "kind" in SCHEMAS[of.__name__]["required"]


def _defaults(schema: object) -> list[object]:
    match schema:
        case dict():
            own = [schema["default"]] if "default" in schema and "x-privacy" not in schema else []
            return own + [found for member in schema.values() for found in _defaults(member)]
        case list():
            return [found for member in schema for found in _defaults(member)]
        case _:
            return []


def test_no_default_hides_that_absent_means_null() -> None:
    properties: list[Schema] = [schema.get("properties", {}) for schema in SCHEMAS.values()]
    named = [member for schema in properties for name, member in schema.items() if name != "default"]
    assert [found for member in named for found in _defaults(member)] == []


def test_every_reference_leads_somewhere() -> None:
    assert references(SCHEMAS) <= {f"#/components/schemas/{name}" for name in SCHEMAS}


def test_a_type_comes_with_its_parts() -> None:
    found = schemas_of([LogOnBody, InventoryBody, LogOnBody])
    assert {"LogOnBody", "DeviceBody", "NoticeReference", "InventoryBody", "InventoryEntry"} <= found.keys()
    assert found["LogOnBody"]["properties"]["password"]["writeOnly"] is True
    assert schemas_of([Agent]).keys() >= {"Agent", "AgentSkill", "Media"}


@given(value=any_of.client_frames | any_of.written_by_gateway | any_of.resources)
def test_what_is_written_is_what_is_described(value: Any) -> None:  # noqa: ANN401 - a frame or a resource
    document = {"components": {"schemas": SCHEMAS}, **ref(type(value).__name__)}
    jsonschema.Draft202012Validator(document).validate(plain_fields(value))
