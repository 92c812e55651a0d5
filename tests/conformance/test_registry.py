"""Each check of the kit holds a sentence of the page, once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import jsonschema
import pytest

from docs._generate.fields import SCHEMAS
from gateway.domain.errors import CloseCode
from gateway.domain.resources import RESOURCES
from gateway.protocol.schemas import ref
from tests.conformance import checks as registered
from tests.conformance.driver import Driver
from tests.conformance.faults import FAULTS
from tests.conformance.gateway import ScriptedGateway
from tests.conformance.registry import CHECKS, add
from tests.conformance.stage import Stage
from tests.conformance.timing import Failed, Time
from tests.conformance.values import VALUES

PAGE: Final = Path(__file__).parents[2] / "docs" / "protocol.md"


def test_every_sentence_stands_on_the_page() -> None:
    page = " ".join(PAGE.read_text("utf-8").split())
    missing = {check.name for check in CHECKS.values() if " ".join(check.sentence.split()) not in page}
    assert not missing


def members(schema: dict[str, Any], value: object) -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield for each object in *value* its type, its fields, and those that it should have."""
    for each in (schema, *schema.get("anyOf", ())):
        if "$ref" in each:
            name = each["$ref"].rpartition("/")[2]
            schema = SCHEMAS[name]
            if isinstance(value, dict) and "properties" in schema:
                yield name, set(value), set(schema["properties"])
    if isinstance(value, dict):
        for field, inner in schema.get("properties", {}).items():
            yield from members(inner, value.get(field))
    if isinstance(value, list):
        for one in value:
            yield from members(schema["items"], one)


def test_the_kits_values_have_every_field_of_the_schemas() -> None:
    assert {key if key in RESOURCES else key.partition(":")[0] for key in VALUES} == RESOURCES.keys()
    for key, value in VALUES.items():
        of = RESOURCES.get(key) or RESOURCES[key.partition(":")[0]]
        found = list(members(ref(of.__name__), value))
        assert [one for one in found if one[1] != one[2]] == []
        document = {"components": {"schemas": SCHEMAS}, **ref(of.__name__)}
        jsonschema.Draft202012Validator(document).validate(value)


def test_every_family_has_checks() -> None:
    assert {name.split(".")[0] for name in CHECKS} == set(registered.__all__)


def test_every_close_code_of_the_page_is_tried() -> None:
    assert {f"endings.{code.value}" for code in CloseCode} <= CHECKS.keys()


def test_every_fault_is_found_by_a_check_that_exists() -> None:
    assert {fault.found_by for fault in FAULTS.values()} <= CHECKS.keys()


def test_the_kit_shares_no_code_with_what_it_tests() -> None:
    probe = "import sys, tests.conformance.__main__; print(*[name for name in sys.modules])"
    command = [sys.executable, "-c", probe]
    done = subprocess.run(command, cwd=PAGE.parents[1], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "tests.conformance.checks.mirror" in loaded
    assert not {name for name in loaded if name.split(".")[0] in {"gateway", "aiohttp", "pydantic"}}


def test_a_name_is_given_once() -> None:
    async def play(_stage: Stage) -> None: ...

    with pytest.raises(ValueError, match=r"mirror\.put"):
        add("mirror.put", "…", play)


async def test_a_status_that_is_no_text_is_another_status() -> None:
    async def answered(*_: object) -> object:
        return {"outcome": {"status": ["applied"]}}

    stage = Stage(cast("Driver", SimpleNamespace(answered=answered)), cast("ScriptedGateway", None), Time())
    with pytest.raises(Failed, match=r"the client reports \['applied'\], not applied"):
        await stage.outcome(None, "applied")
