"""Docstrings of the gateway name modules, classes, functions and parameters that exist."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import gateway

ROOT = Path(gateway.__file__).parent
MODULES = {
    ".".join(("gateway", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
_REFERENCE = re.compile(r":(?:mod|class|func|meth|data|attr|exc):`~?([^`]+)`")
_ARGUMENT = re.compile(r" +([^:]+): ")


def resolves(name: str, package: str) -> bool:
    """Return whether there is a gateway's thing of that name; other names are not looked at."""
    here = f"{package}.{name}"
    if not name.startswith("gateway."):
        return here in MODULES or re.fullmatch(r"[a-z_]+", name) is None
    parts = name.split(".")
    depth = next(size for size in range(len(parts), 0, -1) if ".".join(parts[:size]) in MODULES)
    found: object = importlib.import_module(".".join(parts[:depth]))
    for part in parts[depth:]:
        if not hasattr(found, part):
            return part in getattr(found, "__annotations__", {})
        found = getattr(found, part)
    return True


def unresolved(text: str, package: str) -> list[str]:
    """Return the names in *text* that name nothing; a bare word is a module's name in ``:mod:`` only."""
    found = []
    for match in _REFERENCE.finditer(text):
        name = re.sub(r"\s+", "", match[1])
        is_module = match[0].startswith(":mod:") and name not in {"rich", "secrets", "asyncio"}
        if (name.startswith("gateway.") or is_module) and not resolves(name, package):
            found.append(name)
    return found


def documented(docstring: str) -> list[str]:
    """Return the names under ``Args:``."""
    _, heading, rest = docstring.partition("\nArgs:\n")
    lines = list(takewhile(lambda line: line.startswith("    "), rest.splitlines())) if heading else []
    return [match[1] for line in lines if line[4] != " " and (match := _ARGUMENT.match(line))]


def strange_arguments(tree: ast.AST) -> Iterator[str]:
    """Yield what ``Args:`` sections name that is no parameter, nor a field of the class."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if not (named := documented(ast.get_docstring(node) or "")):
            continue
        known = {one.arg for each in ast.walk(node) if isinstance(each, ast.arguments) for one in _all(each)}
        if isinstance(node, ast.ClassDef):
            known |= {
                each.target.id
                for each in node.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            }
        yield from (f"{node.name}: {name}" for name in named if name.lstrip("*") not in known)


def _all(arguments: ast.arguments) -> list[ast.arg]:
    beside = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *beside]


def test_references_resolve_and_arguments_are_parameters() -> None:
    faults = []
    for module, path in MODULES.items():
        text = path.read_text("utf-8")
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        faults += [f"{module}: {name}" for name in unresolved(text, package)]
        faults += [f"{module}: {name}" for name in strange_arguments(ast.parse(text))]
    assert faults == []
    assert len(MODULES) > 100


def test_what_names_nothing_is_found() -> None:
    gone = "See :mod:`gateway.runtime.households`, :class:`gateway.runtime.user_state.Owner`, :mod:`witness`."
    assert unresolved(gone, "gateway.runtime") == ["gateway.runtime.households", "witness"]
    doc = '"""A.\n\n    Args:\n        queue of a: It.\n        b: It.\n    """'
    source = f"class A:\n    {doc}\n\n    def __init__(self, b): ...\n"
    assert list(strange_arguments(ast.parse(source))) == ["A: queue of a"]
