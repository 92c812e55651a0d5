"""One value of each key, with every field that the tables of the protocol's page list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "protocol.md"
AT_MS: Final = 1_767_225_000_000
KEYS: Final = {"agent": "agent:7", "queue": "queue:1", "group": "group:3", "aggregate": "aggregate:2"}
SAMPLES: Final[Mapping[str, object]] = {
    "integer": 3, "number": 0.5, "seconds": 9.5, "whole seconds": 30, "percent": 81.5, "instant": AT_MS,
    "boolean": False, "id": "7", "text": "Zoë", "value": 20,
    "object": {"threshold": 20, "overflow": ["2", "3"], "open": False, "text": "x"},
}  # fmt: skip
"""By the type that a table names; an object has what its own rows say, or any values."""


def _value(name: str, kind: str, parts: dict[str, Any]) -> object:
    if name == "version":
        return 3_000_000_000  # beyond 32 bits
    return parts or SAMPLES.get(kind, kind.partition(",")[0].strip("`"))


def _object(rows: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    """Return the object whose fields are the rows below *prefix*."""
    found: dict[str, Any] = {}
    for path, kind in rows.items():
        name = path.removeprefix(prefix)
        if path.startswith(prefix) and "." not in name:
            value = _value(name, kind, _object(rows, f"{path}."))
            found[name.removesuffix("[]")] = [value] if name.endswith("[]") else value
    return found


def values() -> dict[str, dict[str, Any]]:
    """Return the values by key."""
    tables = re.findall(r"<!-- fields of (\S+): begin -->\n(.*?)<!--", PAGE.read_text("utf-8"), re.DOTALL)
    return {
        KEYS.get(name, name): _object(
            dict(re.findall(r"^\| `(.+?)`(?: [PR])? \| (.+?) \|", table, re.MULTILINE))
        )
        for name, table in tables
    }


VALUES: Final = values()
