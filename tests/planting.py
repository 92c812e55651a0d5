"""Seeded bugs: small changes of the product that a test must notice.

A :class:`Seed` names a function, method, class or constant and one operator; the operator changes the syntax
tree of that symbol while its module is imported. No file is changed and no source text is quoted. A place
that is missing or ambiguous is a :class:`MisplacedError`, so a seed cannot silently do nothing.

``python -m tests.planting LAW MODULE ARGS…`` runs a module, as ``python -m`` does, with a seed planted.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import os
import re
import runpy
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, Protocol, TypeVar
from unittest import mock

from tests.doubles.forked import ForkedProcess, preload

ROOT: Final = Path(__file__).parents[1]
GIVE_UP_S: Final = 300.0
SIMULATION: Final = "tests.simulation.run"
_FOUND: Final = 3
"""Exit code of a simulation that broke a law."""
_FAILED: Final = re.compile(r"^(?:E +(?:AssertionError|assert )|[E ]*\| +AssertionError)", re.MULTILINE)
"""An assertion that failed, alone or in a group of failures."""
_SIMPLE: Final = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Delete, ast.Return, ast.Raise)
_COMPARISONS: Final[dict[str, ast.cmpop]] = {
    "<": ast.Lt(),
    "<=": ast.LtE(),
    ">": ast.Gt(),
    ">=": ast.GtE(),
    "==": ast.Eq(),
    "!=": ast.NotEq(),
}
_NAMING: Final = ("id", "attr", "arg", "name")
T = TypeVar("T")


class MisplacedError(Exception):
    """A symbol, or the place of an operator inside it, does not exist or is not unique."""


class Operator(Protocol):
    """One small change inside a symbol."""

    def apply(self, symbol: ast.AST) -> None:
        """Change *symbol* in place. Raises: MisplacedError."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A bug that breaks a law, and the test that must notice."""

    law: str
    """What no longer holds. Unique."""
    symbol: str
    """Module and qualified name: ``gateway.core.lease:Lease.granted``."""
    bug: Operator
    killer: str
    """A test of pytest, or a search of the simulation: ``tests.simulation.run 0 150 --stalled``."""
    deep: bool = False
    """Whether only ``make properties`` plants it, as finding it takes long."""


# ---- operators ----


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove the one simple statement that mentions all of *names*."""

    names: str

    def apply(self, symbol: ast.AST) -> None:
        found = [
            (body, at)
            for body in _bodies(symbol)
            for at, statement in enumerate(body)
            if isinstance(statement, _SIMPLE) and _mentions(statement, self.names)
        ]
        body, at = _only(found, self)
        body[at] = ast.copy_location(ast.Pass(), body[at])


@dataclass(frozen=True, slots=True)
class Condition:
    """Fix, or negate, the one condition that mentions all of *names*."""

    names: str
    becomes: bool | None = None
    """None: negate it."""

    def apply(self, symbol: ast.AST) -> None:
        """Replace the test of an if, while or conditional expression, or a filter of a comprehension."""
        found: list[tuple[ast.AST, int | None]] = []
        for node in ast.walk(symbol):
            if isinstance(node, ast.If | ast.While | ast.IfExp) and _mentions(node.test, self.names):
                found.append((node, None))
            elif isinstance(node, ast.comprehension):
                found.extend((node, at) for at, one in enumerate(node.ifs) if _mentions(one, self.names))
        node, at = _only(found, self)
        if isinstance(node, ast.comprehension) and at is not None:
            node.ifs[at] = self._changed(node.ifs[at])
        elif isinstance(node, ast.If | ast.While | ast.IfExp):
            node.test = self._changed(node.test)

    def _changed(self, test: ast.expr) -> ast.expr:
        if self.becomes is None:
            return ast.UnaryOp(ast.Not(), test)
        return ast.Constant(self.becomes)


@dataclass(frozen=True, slots=True)
class Return:
    """Return another value from the one ``return`` that mentions all of *names*; none: the only one."""

    becomes: str
    names: str = ""

    def apply(self, symbol: ast.AST) -> None:
        found = [node for node in ast.walk(symbol) if isinstance(node, ast.Return)]
        _only([node for node in found if _mentions(node, self.names)], self).value = _expression(self.becomes)


@dataclass(frozen=True, slots=True)
class Compare:
    """Use another operator in the one comparison that mentions all of *names*."""

    names: str
    becomes: str

    def apply(self, symbol: ast.AST) -> None:
        """Replace the operator; the last one where comparisons are chained."""
        found = [node for node in ast.walk(symbol) if isinstance(node, ast.Compare)]
        _only([node for node in found if _mentions(node, self.names)], self).ops[-1] = _COMPARISONS[
            self.becomes
        ]


@dataclass(frozen=True, slots=True)
class DropOperand:
    """Ignore the one operand of ``and`` or ``or`` that mentions all of *names*."""

    names: str

    def apply(self, symbol: ast.AST) -> None:
        found = [
            (node, operand)
            for node in ast.walk(symbol)
            if isinstance(node, ast.BoolOp)
            for operand in node.values
            if not isinstance(operand, ast.BoolOp) and _mentions(operand, self.names)
        ]
        node, operand = _only(found, self)
        node.values[node.values.index(operand)] = ast.Constant(isinstance(node.op, ast.And))


@dataclass(frozen=True, slots=True)
class Value:
    """Assign another value: to the one variable, attribute, constant or keyword argument *target*."""

    target: str
    becomes: str

    def apply(self, symbol: ast.AST) -> None:
        _only([node for node in ast.walk(symbol) if self._sets(node)], self).value = _expression(self.becomes)  # type: ignore[attr-defined] # each node that sets has a value

    def _sets(self, node: ast.AST) -> bool:
        if isinstance(node, ast.keyword):
            return node.arg == self.target
        targets: Sequence[ast.expr] = ()
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            targets = [node.target]
        return any(self.target in (getattr(one, "id", None), getattr(one, "attr", None)) for one in targets)


@dataclass(frozen=True, slots=True)
class Use:
    """Compute with another expression wherever the variable or attribute *name* is read."""

    name: str
    becomes: str

    def apply(self, symbol: ast.AST) -> None:
        reader = _Reader(self)
        reader.visit(symbol)
        if not reader.replaced:
            raise MisplacedError(f"{self} fits no place")


class _Reader(ast.NodeTransformer):
    def __init__(self, use: Use) -> None:
        self._use = use
        self.replaced = 0

    def visit(self, node: ast.AST) -> ast.AST:
        """Replace *node*, or what is inside it."""
        is_read = isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
        if not is_read or self._use.name not in (getattr(node, "id", None), getattr(node, "attr", None)):
            return self.generic_visit(node)
        self.replaced += 1
        return _expression(self._use.becomes)


@dataclass(frozen=True, slots=True)
class Entry:
    """Change, or remove, the one entry of a dictionary whose key mentions all of *names*."""

    names: str
    becomes: str | None = None
    """None: remove it."""

    def apply(self, symbol: ast.AST) -> None:
        found = [
            (node, at)
            for node in ast.walk(symbol)
            if isinstance(node, ast.Dict)
            for at, key in enumerate(node.keys)
            if key is not None and _mentions(key, self.names)
        ]
        node, at = _only(found, self)
        if self.becomes is None:
            del node.keys[at], node.values[at]
        else:
            node.values[at] = _expression(self.becomes)


def _only(found: Sequence[T], operator: Operator) -> T:
    if len(found) != 1:
        raise MisplacedError(f"{operator} fits {len(found)} places, not 1")
    return found[0]


def _mentions(node: ast.AST, names: str) -> bool:
    return set(names.split()) <= set(_names(node))


def _names(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        yield from (name for field in _NAMING if isinstance(name := getattr(inner, field, None), str))
        if isinstance(inner, ast.Constant):
            yield str(inner.value)


def _bodies(symbol: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(symbol):
        for field in ("body", "orelse", "finalbody"):
            if isinstance(body := getattr(node, field, None), list):
                yield body


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


# ---- planting ----


def planted(seed: Seed) -> ast.Module:
    """Return the syntax tree of the seed's module with the bug. Raises: MisplacedError."""
    module, _, name = seed.symbol.partition(":")
    source = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(source.read_text("utf-8"), str(source))
    try:
        seed.bug.apply(_symbol(tree, name))
    except MisplacedError as error:
        raise MisplacedError(f"seed {seed.law!r}, {seed.symbol}: {error}") from None
    return ast.fix_missing_locations(tree)


def _symbol(tree: ast.Module, name: str) -> ast.AST:
    here: Iterable[ast.stmt] = tree.body
    found: ast.AST = tree
    for part in name.split("."):
        one = [node for node in here if part in _defines(node)]
        if len(one) != 1:
            raise MisplacedError(f"{part} is defined {len(one)} times, not once")
        found, here = one[0], getattr(one[0], "body", ())
    return found


def _defines(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads one module with a bug, whatever compiled file of it is kept."""

    def __init__(self, seed: Seed, name: str, path: str) -> None:
        super().__init__(name, path)
        self._seed = seed

    def get_code(self, fullname: str) -> CodeType:
        """Compile the changed tree."""
        code: CodeType = compile(planted(self._seed), self.get_filename(fullname), "exec")
        return code


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, seed: Seed) -> None:
        self._seed = seed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Load the seed's module with :class:`_Loader`, and leave the others alone."""
        if fullname != self._seed.symbol.partition(":")[0]:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(self._seed, fullname, spec.origin)
        return spec


def plant(seed: Seed) -> None:
    """Have the seed's module imported with its bug from now on."""
    module = seed.symbol.partition(":")[0]
    if module in sys.modules:
        raise MisplacedError(f"{module} was imported before its bug was planted")
    sys.meta_path.insert(0, _Finder(seed))


# ---- judging ----

# nothing that a seed may change, and no plugin: pytest loads those itself
preload(
    *(
        "pytest",
        "pdb",
        "faulthandler",
        "unittest.mock",
        "hypothesis.stateful",
        "aiohttp.web",
        "redis.asyncio",
    ),
    *("msgspec", "msgpack", "pydantic.dataclasses", "phonenumbers"),
    *("cryptography.hazmat.primitives.kdf.hkdf", "prometheus_client"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a killer said. *killed*: an assertion of it failed, or the simulation broke a law."""

    passed: bool
    killed: bool
    output: str


def judge(killer: str, seed: Seed | None) -> Verdict:
    """Run a killer in a process of its own, with a seed or without. A crash kills nothing."""
    simulated = killer.startswith(SIMULATION)
    command = [*killer.split(), "--stop"] if simulated else ["pytest", *_OPTIONS, killer]
    with (
        tempfile.NamedTemporaryFile("r", encoding="utf-8") as output,
        mock.patch.dict(os.environ, _ENVIRONMENT),
    ):
        process = ForkedProcess(
            "tests.planting", [seed.law if seed else "", *command], Path(output.name), os.environ
        )
        code, said = process.join(2 * GIVE_UP_S), output.read()
    failed = code == 1 and _FAILED.search(said) is not None
    killed = code == _FOUND if simulated else failed
    return Verdict(code == 0, killed, said)


# Plugins that no killer needs would be imported for each seed: a second of computing.
_ENVIRONMENT: Final = {
    "HYPOTHESIS_PROFILE": "seeded",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTHONHASHSEED": "0",
}
_PLUGINS: Final = ("pytest_asyncio.plugin", "pytest_timeout", "_hypothesis_pytestplugin", "no:cacheprovider")
_OPTIONS: Final = [
    "-xq",
    "--tb=short",
    f"--timeout={GIVE_UP_S:.0f}",
    *(option for plugin in _PLUGINS for option in ("-p", plugin)),
]


def main() -> None:
    """Run a module with a seed planted: the one of the law that the first argument names; "": none."""
    from tests.seeds import SEEDS  # noqa: PLC0415 - it imports this module

    law, module, *arguments = sys.argv[1:]
    if law:
        plant(next(seed for seed in SEEDS if seed.law == law))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
