"""How is a configuration shown to people and machines, without its secrets?

The effective settings as TOML, every setting's reference page, and the JSON Schema.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from gateway.app.config import Configuration
from gateway.app.config_bus_url import HIDDEN
from gateway.app.config_names import SETTINGS, SITES, Setting, sections
from gateway.app.config_sections import Settings

HEADINGS: Final = ("| key | value | default | why |", "|---|---|---|---|")
_PREFACE: Final = """\
# Configuration

Written by `oscc-gateway check-config --reference` from the settings themselves; a test keeps it fresh.

- One TOML file, `oscc-gateway serve --config gateway.toml`, and environment variables, which win over it.
  [Operations](operations.md) has the smallest file.
- A variable is named `OSCC_GATEWAY__SECTION__KEY`; for the first site `OSCC_GATEWAY__SITES__0__KEY`.
  The dot of a key becomes two underscores: `OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__ALLOW`.
  Lists are words between blanks or commas. An empty variable counts as not set.
- Secrets may also come from files: `OSCC_GATEWAY__ADMIN__TOKEN_FILE` is a path. They are never shown.
  Such a file, and `client.key`, must not be readable by every user of the machine; its group may read it.
- A secret that still is the documentation's `…` counts as not set.
- Relative paths count from the folder of the configuration file.
- Unknown keys and misspelt variables are refused, with the nearest name that exists.
- `oscc-gateway check-config --config gateway.toml` shows the settings in effect and tries what they point to;
  `--schema` prints their JSON Schema.
"""


def effective(configuration: Configuration) -> str:
    """Return the settings in effect as TOML, secrets hidden, with where each came from."""
    lines: list[str] = []
    for name, value in configuration.settings:
        match value:
            case tuple():
                for place, item in enumerate(value):
                    lines += [f"[[{name}]]", *_table(f"{name}[{place}]", item, configuration.origins)]
            case BaseModel():
                lines += [f"[{name}]", *_table(name, value, configuration.origins)]
            case _:
                lines += [f"# [{name}] is not set", ""]
    return "\n".join(lines)


def schema() -> str:
    """Return the JSON Schema of the file."""
    return json.dumps(Settings.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def reference() -> str:
    """Return the page that explains every setting."""
    lines = [_PREFACE]
    for name, section in sections():
        title = f"[[{name}]]" if name == SITES else f"[{name}]"
        lines += [f"## {title}", "", section.__doc__ or "", ""]
        lines += HEADINGS
        lines += [row(setting) for setting in SETTINGS if setting.section == name]
        lines.append("")
    return "\n".join(lines)


# ---- effective ----


def _table(path: str, section: BaseModel, origins: Mapping[str, str]) -> Iterator[str]:
    yield from _lines("", path, section, origins)
    yield ""


def _lines(inside: str, path: str, table: BaseModel, origins: Mapping[str, str]) -> Iterator[str]:
    """Yield a line per setting; *inside* is what stands before the keys of a table in a table."""
    shown = table.model_dump(mode="json")
    for key, value in table:
        if value is None:
            yield f"# {inside}{key} is not set"
            continue
        if isinstance(value, BaseModel):
            yield from _lines(f"{inside}{key}.", f"{path}.{key}", value, origins)
            continue
        text = f"{inside}{key} = {_toml(HIDDEN if isinstance(value, SecretStr) else shown[key])}"
        origin = origins.get(f"{path}.{key}")
        if origin is None and key not in table.model_fields_set:
            origin = "default"
        yield f"{text}  # {origin}" if origin is not None else text


def _toml(value: object) -> str:
    match value:
        case list():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case dict():
            pairs = (f"{json.dumps(key, ensure_ascii=False)} = {_toml(item)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        case _:
            return json.dumps(value, ensure_ascii=False)


# ---- reference ----


def row(setting: Setting) -> str:
    """Return a setting's line of a table: key, value, default, why."""
    field = setting.field
    cells = (
        f"`{setting.key}`",
        _kind(setting),
        _default(field),
        (field.description or "").replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    match field.get_default(call_default_factory=True):
        case None | () | "" | {}:
            return "none"
        case bool() as value:
            return f"`{str(value).lower()}`"
        case tuple() as values:
            return ", ".join(f"`{value}`" for value in values)
        case value:
            return f"`{value}`"


def _kind(setting: Setting) -> str:
    annotation, metadata = _inner(setting.field)
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{word}`" for word in typing.get_args(annotation))
    if typing.get_origin(annotation) is dict:
        return "table of whole numbers"
    kind = "secret" if setting.secret else _WORDS.get(annotation, "text")
    return " ".join(part for part in (f"{kind}s" if setting.many else kind, _bounds(metadata)) if part)


_WORDS: Final[dict[object, str]] = {bool: "true or false", int: "whole number", float: "number", Path: "path"}


def _inner(field: FieldInfo) -> tuple[object, list[object]]:
    annotation, metadata = field.annotation, list(field.metadata)
    while True:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            annotation = arguments[0]
            metadata += arguments[1:]
        elif origin in {types.UnionType, typing.Union} or (origin is tuple and arguments):
            annotation = arguments[0]
        else:
            return annotation, metadata


def _bounds(metadata: list[object]) -> str:
    low = high = ""
    for bound in metadata:
        match bound:
            case Ge():
                low = f"{bound.ge}"
            case Gt():
                low = f"more than {bound.gt}"
            case Le():
                high = f"{bound.le}"
            case _:
                continue
    return f"{low} … {high}" if low and high else low or high
