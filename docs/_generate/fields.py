"""Write what follows from the declaration of a field: types, tables, rows of the link.

Fills the marked parts of ``gateway/web/oscc-client.d.ts``, ``gateway/client/mirror.py`` and
``docs/protocol.md``, and writes ``gateway/web/figures.js``. A field that the gateway reads from an element or
a directory object of the link is added to its row of ``docs/oscce-link.md``. With ``--check`` it writes
nothing and fails when one is stale.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from docs._generate.cluster import filled
from docs._generate.link import ELEMENTS, OBJECTS
from gateway.domain.resources import RESOURCES, Agent, Aggregate, Group, Privacy, Queue
from gateway.domain.upstream import Part
from gateway.protocol.schemas import frame_schemas, part_of, stricter
from gateway.upstream.oscce import decode

ROOT: Final = Path(__file__).parents[2]
TYPESCRIPT: Final = ROOT / "gateway" / "web" / "oscc-client.d.ts"
PYTHON: Final = ROOT / "gateway" / "client" / "mirror.py"
FIGURES: Final = ROOT / "gateway" / "web" / "figures.js"
PROTOCOL: Final = ROOT / "docs" / "protocol.md"
LINK: Final = ROOT / "docs" / "oscce-link.md"
BEGIN: Final = " ---- resources: written by docs/_generate/fields.py ----\n"
END: Final = " ---- end of the resources ----\n"
"""Marks around what is written, each after the sign that begins a comment."""
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


def _sentence(of: Schema) -> str:
    text = str(of["description"])
    return f"{text[0].upper()}{text[1:]}."


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
                # what may be null is left out then, as each object may be
                is_there = isinstance(of.get("type"), str) and of["type"] != "object"
                if "description" in of:
                    yield f"  /** {_sentence(of)} */"
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


def python() -> Iterator[str]:
    """Yield the lines of the Python types."""
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
            for field, of in schema["properties"].items():
                yield f"    {field}: {_py(of)}"
                if "description" in of:
                    line = f'    """{_sentence(of)}"""'
                    long = [*textwrap.wrap(line[:-3], WIDTH, subsequent_indent="    "), '    """']
                    yield from [line] if len(line) <= WIDTH else long
    yield from ("", "")


# ---- the pages ----

_UNITS: Final = {"_ms": "instant", "_s": "seconds", "_pct": "percent"}
_WORDS: Final = {bool: "boolean", int: "integer", float: "number"}
_MARKS: Final = {Privacy.PERSONAL: " P", Privacy.REALTIME: " R"}


def _present(hint: object) -> object:
    """Return the type of an optional field without its null."""
    kinds = [of for of in get_args(hint) if of is not type(None)]
    return kinds[0] if len(kinds) == 1 and get_origin(hint) is not tuple else hint


def _type(name: str, hint: object) -> str:
    """Return the type of a field for people; its unit is at the end of its name."""
    kinds = [of for of in get_args(hint) if of is not type(None)]
    if get_origin(hint) is Literal:
        return ", ".join(f"`{each}`" for each in kinds)
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return ", ".join(f"`{each.value}`" for each in hint)
    if get_origin(hint) is dict:
        return "object"
    if kinds:
        return _type(name, kinds[0]) if len(kinds) == 1 or kinds[-1] is ... else "value"
    whole = "whole " if hint is int and name.endswith("_s") else ""
    unit = next((whole + unit for end, unit in _UNITS.items() if re.search(f"{end}(_|$)", name)), None)
    is_id = name.endswith(("_id", "_ids")) or name == "agent"
    return unit or _WORDS.get(hint, "id" if is_id else "text") if isinstance(hint, type) else "value"


def rows(of: type[Any], prefix: str = "", outer: Privacy = Privacy.NEUTRAL) -> Iterator[str]:
    """Yield the row of each field of a resource, and of the fields that it consists of."""
    hints = get_type_hints(of)
    for field in dataclasses.fields(of):
        privacy = stricter(field.metadata["privacy"], outer)
        part, many = part_of(hints[field.name])
        many = many or get_origin(_present(hints[field.name])) is tuple
        path = f"{prefix}{field.name}{'[]' if many else ''}"
        kind = "object" if part else _type(field.name, hints[field.name])
        yield f"| `{path}`{_MARKS.get(privacy, '')} | {kind} | {field.metadata['meaning']} |"
        if part is not None:
            yield from rows(part, f"{path}.", privacy)


def _table(of: type[Any]) -> list[str]:
    return ["| field | type | meaning |", "|---|---|---|", *rows(of)]


def figures() -> Iterator[str]:
    """Yield the lines of the web client's list of figures: field, type, and words by language."""
    yield "/** Figures in the view of one queue or team, by field. Written by docs/_generate/fields.py. */"
    yield "export const FIGURES = {"
    for name, of in RESOURCES.items():
        hints = get_type_hints(of)
        found = [field for field in dataclasses.fields(of) if field.metadata["words"]]
        if found:
            yield f"  {name}: ["
            for field in found:
                english, german = field.metadata["words"]
                kind = _type(field.name, hints[field.name])
                yield f"    ['{field.name}', '{kind}', {{en: '{english}', de: '{german}'}}],"
            yield "  ],"
    yield "};"


def protocol() -> str:
    """Return docs/protocol.md with a table of the fields of each resource."""
    tables = {f"fields of {name}": lambda of=of: _table(of) for name, of in RESOURCES.items()}
    return filled(PROTOCOL.read_text("utf-8"), tables)


_READ: Final[Mapping[str, tuple[Callable[[Any, int], Part], type[Any]]]] = {
    "QueueRealtime": (decode.queue_realtime, Queue),
    "GroupRealtime": (decode.group_realtime, Group),
    "AggregateRealtime": (decode.aggregate_realtime, Aggregate),
    "QueueCumulative": (decode.queue_cumulative, Queue),
    "UserCumulative": (decode.user_cumulative, Agent),
}
"""Event types whose elements are figures, how they are mapped, and the resource that they fill."""
_SAMPLES: Final = (7, 7.5, "Attention")


def _filled(event_type: str, **fields: object) -> dict[str, object]:
    """Return what an element with these fields alone fills, by the names of the client protocol."""
    element, (mapped, _) = ELEMENTS[event_type], _READ[event_type]
    key = element.__struct_encode_fields__[0]
    part = mapped(msgspec.convert({key: 1, **fields}, element), 1_700_000_000_000)
    return {field.name: getattr(part.value, field.name) for field in dataclasses.fields(part.value)}


def _fills(event_type: str, name: str) -> Iterator[str]:
    """Yield the fields that the field *name* of an element fills."""
    empty = _filled(event_type)
    for sample in _SAMPLES:
        with contextlib.suppress(msgspec.ValidationError):
            full = _filled(event_type, **{name: sample})
            yield from (field for field, value in full.items() if value != empty[field])
            return


class Undeclared(SystemExit):
    """A part of a resource has a field that the resource does not declare."""


def sources() -> Iterator[str]:
    """Yield the table of the figures on a link: what each fills at a client, and means."""
    yield from ("| figure | fills | meaning |", "|---|---|---|")
    for event_type, (_, of) in _READ.items():
        meanings = {field.name: field.metadata["meaning"] for field in dataclasses.fields(of)}
        for name in ELEMENTS[event_type].__struct_encode_fields__[1:]:
            for field in _fills(event_type, name):
                if field not in meanings:
                    raise Undeclared(f"{event_type}.{name} fills {field}: declare it in {of.__name__}, too.")
                yield f"| `{event_type}.{name}` | `{field}` | {meanings[field]} |"


def link() -> str:
    """Return docs/oscce-link.md with the table of figures.

    A field that the row of its element or object lacks is added there, as one that may be absent.
    """
    page = filled(LINK.read_text("utf-8"), {"figures": sources})
    for name, element in {**ELEMENTS, **OBJECTS}.items():
        first, *others = (field.encode_name for field in msgspec.structs.fields(element))
        row = re.search(rf"^\| [^|]*`{name}`.*$", page, re.MULTILINE)
        told = row and re.search(rf"`{first}\b[^`]*`", row[0])
        if row and told:
            lacking = [each for each in others if not re.search(rf"\b{each}\b", told[0])]
            fresh = "".join((told[0][:-1], *(f",{each}?" for each in lacking), "`"))
            page = page.replace(row[0], row[0].replace(told[0], fresh))
    return page


def _between_marks(file: Path, comment: str, lines: Iterable[str]) -> str:
    head, _, rest = file.read_text("utf-8").partition(comment + BEGIN)
    _, _, tail = rest.partition(comment + END)
    return head + comment + BEGIN + "".join(f"{line}\n" for line in lines) + comment + END + tail


def files() -> dict[Path, str]:
    """Return the files as they should be."""
    return {
        TYPESCRIPT: _between_marks(TYPESCRIPT, "//", typescript()),
        PYTHON: _between_marks(PYTHON, "#", python()),
        FIGURES: "".join(f"{line}\n" for line in figures()),
        PROTOCOL: protocol(),
        LINK: link(),
    }


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
