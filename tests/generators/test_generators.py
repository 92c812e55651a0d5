"""Code generators make good models of the published documents.

`make generators` installs the tools into build/generators; GENERATORS names another folder. Without a tool
its test is skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from gateway.domain.resources import RESOURCES
from gateway.protocol import codec
from gateway.protocol import openapi as http_api

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = Path(os.environ.get("GENERATORS") or ROOT / "build" / "generators")
MODELINA: Final = Path(__file__).with_name("modelina.cjs")
ANONYMOUS: Final = re.compile(
    r"Anonymous|Purple|Fluffy|Tentacled|\w+(Class|Element)\b|\b(?!Int)\w+Enum\b|^class \w*[A-Za-z]\d+\b",
    re.MULTILINE,
)
"""Names that generators make up where a schema has none."""
UNTYPED: Final[Mapping[str, str]] = {
    "kotlin": r"^ +val (\w+): .*\b(Any|JsonObject|JsonElement)\b",
    "swift": r"^ +let (\w+): .*JSONAny",
    "typescript": r"^ +(?:readonly )?_?(\w+)\??: .*\b(any|unknown)\b",
    "python": r"^ +_?(\w+): .*\bAny\b",
}
"""Fields whose type is left open, by language."""
INSTANTS: Final[Mapping[str, str]] = {"kotlin": r"val \w+M[sS]: (\w+)", "swift": r"let \w+M[sS]: (\w+)"}
WIDE: Final[Mapping[str, frozenset[str]]] = {"kotlin": frozenset({"Long"}), "swift": frozenset({"Int"})}
"""Integers of 64 bits; Swift's Int is one on every phone of today."""
BY_KEY: Final = frozenset({"put", "patch"})
"""The key decides what stands there: each is decoded by its own type."""
OF_MODELINA: Final = frozenset(
    {"additionalProperties", "additional_properties", "command", "changes", "default", "values"}
    | {"routingParameters", "routing_parameters"}
)
"""What it adds itself, and unions, which it has no type for in some languages."""


def tool(name: str) -> str:
    """Return the path of a tool; without it the test is skipped."""
    for folder in ("node_modules/.bin", "python/bin"):
        found = TOOLS / folder / name
        if found.exists():
            return str(found)
    pytest.skip(f"there is no {name}: make generators")


def run(*command: str | Path) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "TOOLS": str(TOOLS)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def asyncapi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("documents") / "asyncapi.json"
    file.write_bytes(codec.write_json(http_api.asyncapi()))
    return file


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("documents") / "openapi.json"
    file.write_bytes(codec.write_json(http_api.openapi()))
    return file


def check(text: str, language: str, open_fields: frozenset[str]) -> None:
    """Hold that every model has a name, every field a type and every instant 64 bits."""
    for of in RESOURCES.values():
        assert re.search(rf"\b(class|struct|interface|type) {of.__name__}\b", text), f"no {of.__name__}"
    assert sorted({found.group() for found in ANONYMOUS.finditer(text)}) == []
    untyped = {found.group(1) for found in re.finditer(UNTYPED[language], text, re.MULTILINE)}
    assert untyped <= open_fields
    if language in INSTANTS:
        instants = re.findall(INSTANTS[language], text)
        assert len(instants) > 10
        assert set(instants) <= WIDE[language]


@pytest.mark.parametrize("language", ["kotlin", "swift", "typescript", "python"])
def test_quicktype(asyncapi: Path, language: str) -> None:
    options = {"kotlin": ["--framework", "kotlinx"], "typescript": ["--just-types"]}.get(language, [])
    schemas = f"{asyncapi}#/components/schemas/"
    text = run(tool("quicktype"), "-s", "schema", "--lang", language, *options, schemas)
    check(text, language, BY_KEY)


@pytest.mark.parametrize("language", ["kotlin", "typescript", "python"])
def test_modelina(asyncapi: Path, language: str) -> None:
    if not (TOOLS / "node_modules" / "@asyncapi" / "modelina").exists():
        pytest.skip("there is no Modelina: make generators")
    node = shutil.which("node") or pytest.skip("there is no Node")
    text = run(node, MODELINA, asyncapi, language)
    if language == "kotlin":  # it has no unions: a field of a patch that may be null is one
        text = re.sub(r"data class \w+Patch\(.*?^\)", "", text, flags=re.MULTILINE | re.DOTALL)
    check(text, language, BY_KEY | OF_MODELINA)


def test_openapi_typescript(openapi: Path, tmp_path: Path) -> None:
    file = tmp_path / "api.ts"
    run(tool("openapi-typescript"), openapi, "-o", file)
    run(tool("tsc"), "--noEmit", "--strict", file)
    text = file.read_text("utf-8")
    assert "enum {unknown}" not in text
    lines = [line.strip() for line in text.splitlines() if re.search(r": (any|unknown)\b", line)]
    assert set(lines) <= {"[key: string]: unknown;", "[name: string]: unknown;"}  # of `held`, and of headers
    assert lines.count("[key: string]: unknown;") == 1


def test_datamodel_code_generator(openapi: Path, tmp_path: Path) -> None:
    file = tmp_path / "api.py"
    options = ["--input-file-type", "openapi", "--output-model-type", "pydantic_v2.BaseModel"]
    run(tool("datamodel-codegen"), "--input", openapi, "--output", file, *options)
    text = file.read_text("utf-8")
    assert [found.group() for found in ANONYMOUS.finditer(text)] == []
    assert re.findall(r"^ +(\w+): .*\bAny\b", text, re.MULTILINE) == ["held"]  # as the inventory lists it
    compile(text, str(file), "exec")
