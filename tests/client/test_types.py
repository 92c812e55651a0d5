"""Types of both SDKs contain every field of the protocol."""

from __future__ import annotations

import re
from typing import Final, get_type_hints

import msgspec
import pytest

from docs._generate import fields as generated
from gateway import client
from gateway.client import mirror
from gateway.domain.resources import RESOURCES, Agent
from gateway.upstream.oscce import decode

SCHEMAS: Final = generated.SCHEMAS
RESOURCE_NAMES: Final = [of.__name__ for of in RESOURCES.values()]
PARTS: Final = [name for name in generated.types() if "properties" in SCHEMAS[name]]


def fields(name: str) -> set[str]:
    return set(SCHEMAS[name]["properties"])


@pytest.mark.parametrize("name", PARTS)
def test_python_knows_every_field(name: str) -> None:
    assert get_type_hints(getattr(mirror, f"{name}Value")).keys() == fields(name)


@pytest.mark.parametrize("name", PARTS)
def test_javascript_knows_every_field(name: str) -> None:
    text = generated.TYPESCRIPT.read_text("utf-8")
    (body,) = re.findall(
        rf"^export type {name} = (?:Value & )?\{{$(.*?)^\}};$", text, re.MULTILINE | re.DOTALL
    )
    assert set(re.findall(r"^  readonly (\w+)\??: ", body, re.MULTILINE)) == fields(name)


def test_each_resource_has_a_type_that_is_exported() -> None:
    assert {*RESOURCE_NAMES} <= {*PARTS}
    assert {f"{name}Value" for name in RESOURCE_NAMES} <= {*client.__all__}


def test_a_figure_that_its_resource_does_not_declare_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "_READ", {"QueueRealtime": (decode.queue_realtime, Agent)})
    with pytest.raises(generated.Undeclared, match=r"^QueueRealtime\.Contacts fills .* declare it in Agent"):
        list(generated.sources())


def test_a_field_of_the_directory_gets_its_place_on_the_page_of_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opening = msgspec.defstruct("_Queue", [("key", int), ("opens_at", str)], bases=(decode.WireElement,))
    monkeypatch.setattr(generated, "OBJECTS", {"Queue": opening})
    assert "| `Queue` | `Key,Name,Media,SkillKeys?,OpensAt?` (" in generated.link()


def test_the_files_are_fresh() -> None:
    assert generated.main(["--check"]) == 0
