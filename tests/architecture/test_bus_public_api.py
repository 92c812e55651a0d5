"""The bus uses redis-py and hiredis by their public names alone: a next version may change the others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway

ROOMS = sorted((Path(gateway.__file__).parent / "bus").glob("*.py"))
NAMED_TUPLE = frozenset({"_asdict", "_fields", "_replace"})
VENDORS = ("redis", "hiredis")


def private_uses(text: str) -> Iterator[str]:
    """Report private modules, names and attributes of the vendors that a module of the bus uses.

    Only ``self`` may have private attributes; so that these are the gateway's own, no class extends one of
    the vendors'.
    """
    tree = ast.parse(text)
    imported = dict(_imported(tree))
    yield from (path for path in imported.values() if "._" in path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = [ast.unparse(base) for base in node.bases]
            yield from (f"class {node.name}({base})" for base in bases if base.split(".")[0] in imported)
        elif isinstance(node, ast.Attribute) and _is_private(node.attr) and ast.unparse(node.value) != "self":
            yield ast.unparse(node)


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each name that stands for something of a vendor, and where that is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in VENDORS:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            vendors = [alias for alias in node.names if alias.name.split(".")[0] in VENDORS]
            yield from ((alias.asname or alias.name.split(".")[0], alias.name) for alias in vendors)


def _is_private(name: str) -> bool:
    is_special = name.startswith("__") and name.endswith("__")
    return name.startswith("_") and not is_special and name not in NAMED_TUPLE


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.name)
def test_the_bus_uses_public_names_alone(path: Path) -> None:
    assert list(private_uses(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "from redis._parsers.hiredis import NOT_ENOUGH_DATA",
        "from redis.asyncio.connection import _Something",
        "import redis._parsers",
        "connection._writer.transport.abort()",
        "self.connection._reader",
        "from redis.asyncio import Connection\nclass Cable(Connection):\n    ...",
        "import hiredis\nclass Reader(hiredis.Reader):\n    ...",
    ],
)
def test_a_private_use_is_found(text: str) -> None:
    assert len(list(private_uses(text))) == 1


def test_what_is_ones_own_may_be_private() -> None:
    text = "class A:\n    def f(self):\n        return self._x, LIMITS._replace(a=1), self.x"
    assert list(private_uses(text)) == []
