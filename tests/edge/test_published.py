"""Published documents are complete, one for each kind."""

from __future__ import annotations

import json

from gateway.domain.resources import RESOURCES
from gateway.edge.routes import PublishedDocuments
from gateway.protocol.schemas import CLIENT_FRAMES, GATEWAY_FRAMES

SCHEMAS = PublishedDocuments().schemas
KINDS = sorted(
    {str(of.__dataclass_fields__["kind"].default) for of in (*CLIENT_FRAMES, *GATEWAY_FRAMES)}
    | set(RESOURCES)
)


def references(part: object) -> set[str]:
    if isinstance(part, dict):
        inner = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return inner | {name for each in part.values() for name in references(each)}
    members = part if isinstance(part, list) else []
    return {name for each in members for name in references(each)}


def test_there_is_a_schema_for_each_kind() -> None:
    assert sorted(SCHEMAS) == KINDS


def test_a_schema_is_complete_in_itself_and_holds_no_more() -> None:
    for kind in KINDS:
        schema = json.loads(SCHEMAS[kind])
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        held = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
        assert references(schema) == held, kind


def test_bye_is_said_by_both_sides() -> None:
    assert len(json.loads(SCHEMAS["bye"])["anyOf"]) == 2


def test_documents_are_made_once() -> None:
    published = PublishedDocuments()
    assert published.openapi is published.openapi
    assert json.loads(published.openapi)["openapi"].startswith("3.1")
    assert json.loads(published.asyncapi)["asyncapi"].startswith("3.")
