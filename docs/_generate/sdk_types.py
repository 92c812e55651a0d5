"""Write the types of resources of both SDKs from the schemas, so that they know every field.

Fills the marked part of ``gateway/web/oscc-client.d.ts`` and writes ``gateway/client/values.py``. With
``--check`` it writes nothing and fails when one of them is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.domain.resources import RESOURCES
from gateway.protocol.schemas import frame_schemas

ROOT: Final = Path(__file__).parents[2]
TYPESCRIPT: Final = ROOT / "gateway" / "web" / "oscc-client.d.ts"
PYTHON: Final = ROOT / "gateway" / "client" / "values.py"
BEGIN: Final = "// ---- resources: written by docs/_generate/sdk_types.py ----\n"
END: Final = "// ---- end of the resources ----\n"
WIDTH: Final = 110
SCHEMAS: Final = frame_schemas()
Schema = dict[str, Any]


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _parts(field: Schema) -> Iterator[Schema]:
    """Yield the references that stand in a field."""
    if "$ref" in field:
        yield field
    for inner in (field.get("items"), field.get("additionalProperties"), *field.get("anyOf", ())):
        if isinstance(inner, dict):
            yield from _parts(inner)


def types() -> list[str]:
    """Return the resources and their parts by name, parts first."""
    found: list[str] = []

    def add(name: str) -> None:
        schema = SCHEMAS[name]
        for field in (*schema.get("properties", {}).values(), *schema.get("anyOf", ())):
            for part in _parts(field):
                add(_name(part))
        if name not in found:
            found.append(name)

    for of in RESOURCES.values():
        add(of.__name__)
    return found


def _lines(prefix: str, text: str, indent: str, join: str) -> Iterator[str]:
    """Yield a type, in several lines when it is a long choice."""
    if len(prefix + text) + 1 <= WIDTH:
        yield prefix + text
        return
    yield prefix.rstrip()
    for choice in text.split(join):
        yield f"{indent}{join.lstrip()}{choice}"


# ---- TypeScript ----

_TS: Final = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}


def _ts(field: Schema) -> str:
    """Return the TypeScript type of a field; null is left out, as it is absent then."""
    if "$ref" in field:
        return _name(field)
    if "anyOf" in field:
        return " | ".join(dict.fromkeys(_ts(each) for each in field["anyOf"]))
    kind = field["type"] if isinstance(field["type"], str) else field["type"][0]
    if kind == "array":
        inner = _ts(field["items"])
        return f"readonly {f'({inner})' if '|' in inner else inner}[]"
    if kind == "object":
        return f"Readonly<Record<string, {_ts(field['additionalProperties'])}>>"
    return _TS[kind]


def typescript() -> Iterator[str]:
    """Yield the lines of the TypeScript types."""
    resources = {of.__name__ for of in RESOURCES.values()}
    for name in types():
        schema = SCHEMAS[name]
        if "description" in schema:
            yield f"/** {schema['description']} */"
        if "enum" in schema:
            text = " | ".join(f"'{value}'" for value in schema["enum"])
            yield from _lines(f"export type {name} = ", f"{text};", "  ", " | ")
        elif "properties" not in schema:
            yield f"export type {name} = {_ts(schema)};"
        else:
            yield f"export type {name} = {'Value & ' if name in resources else ''}{{"
            for field, of in schema["properties"].items():
                is_there = isinstance(of.get("type"), str)  # what may be null is left out then
                yield f"  readonly {field}{'' if is_there else '?'}: {_ts(of)};"
            yield "};"


# ---- Python ----

_PY: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def _py(field: Schema) -> str:
    """Return the Python type of a field; None is left out, as it is absent then."""
    if "$ref" in field:
        of = SCHEMAS[_name(field)]
        return _name(field) if "properties" not in of else f"{_name(field)}Value"
    if "anyOf" in field:
        return " | ".join(dict.fromkeys(_py(each) for each in field["anyOf"]))
    kind = field["type"] if isinstance(field["type"], str) else field["type"][0]
    if kind == "array":
        return f"Sequence[{_py(field['items'])}]"
    if kind == "object":
        return f"Mapping[str, {_py(field['additionalProperties'])}]"
    return _PY[kind]


_HEAD: Final = '''"""Types of the values in a mirror: ``cast(AgentValue, client.mirror["agent:5"])``.

Written by docs/_generate/sdk_types.py from the schemas. A field that is absent is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict
'''


def python() -> Iterator[str]:
    """Yield the lines of the Python module."""
    yield from _HEAD.splitlines()
    yield ""
    choices = [name for name in types() if "properties" not in SCHEMAS[name]]
    for name in choices:
        schema = SCHEMAS[name]
        values = [f'"{value}"' for value in schema.get("enum", ())]
        if not values:
            yield f"{name} = {_py(schema)}"
        elif len(line := f"{name} = Literal[{', '.join(values)}]") <= WIDTH:
            yield line
        else:
            yield from (f"{name} = Literal[", *(f"    {value}," for value in values), "]")
    for name in types():
        schema = SCHEMAS[name]
        if "properties" in schema:
            yield from ("", "", f"class {name}Value(TypedDict, total=False):")
            yield f'    """{schema["description"]}"""'
            yield ""
            yield from (f"    {field}: {_py(of)}" for field, of in schema["properties"].items())


def files() -> dict[Path, str]:
    """Return the files as they should be."""
    text = TYPESCRIPT.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    inner = "".join(f"{line}\n" for line in typescript())
    return {TYPESCRIPT: head + BEGIN + inner + END + tail, PYTHON: "".join(f"{line}\n" for line in python())}


def main(arguments: list[str]) -> int:
    """Write the files, or check them. Returns the exit code."""
    stale = [file for file, text in files().items() if not file.exists() or file.read_text("utf-8") != text]
    if arguments == ["--check"]:
        for file in stale:
            print(f"{file.relative_to(ROOT)}: stale; run make diagrams")
        return int(bool(stale))
    for file, text in files().items():
        file.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
