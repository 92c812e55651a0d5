"""Measures of how readable the tree is, and the bounds that CI holds them to: ``make house``.

The static part is pure: it takes texts and returns figures and faults. :mod:`tests.architecture.routes`
measures how many files one event and one command pass.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Final

from tests.architecture.rules import Files, long_files, long_functions

ROOT: Final = Path(__file__).parents[2]
SIMULATOR: Final = "gateway/simulator/"
SDK: Final = "gateway/client/"
KITS: Final = ("tests/conformance/", "tests/server_conformance/")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure beside its goal."""

    measure: str
    figure: str
    goal: str


_ALIAS: Final = re.compile("[A-Z][a-z]+([A-Z][a-z]*)*")
"""The form of a name of a type; constants are in capitals."""


@cache
def _tree(text: str) -> ast.Module:
    return ast.parse(text)


def homonyms(files: Files) -> dict[str, list[str]]:
    """Return each public name of a type that several modules define, with those modules.

    Names of the SDK are those of the protocol page; only its classes count.
    """
    places: dict[str, list[str]] = defaultdict(list)
    for path, text in sorted(files.items()):
        for name in _types(_tree(text), with_aliases=not path.startswith(SDK)):
            places[name].append(path)
    return {name: where for name, where in sorted(places.items()) if len(where) > 1}


def _types(tree: ast.Module, *, with_aliases: bool) -> Iterator[str]:
    """Yield the public classes and, if wanted, aliases of types that a module defines; no type variables."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield name
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ) if with_aliases and _ALIAS.fullmatch(name) and not isinstance(value, ast.Call):
                yield name


def protocols(files: Files) -> int:
    """Return how many Protocol classes there are; protocols of asyncio are classes of their own."""
    return sum(
        any(ast.unparse(base).partition("[")[0] == "Protocol" for base in node.bases)
        for path, text in files.items()
        for node in ast.walk(_tree(text))
        if isinstance(node, ast.ClassDef)
    )


def imports(files: Files) -> dict[str, set[str]]:
    """Return the modules of *files* that each module imports, imports for types included."""
    modules = {_module(path): path for path in files}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        found = set(_imported(_tree(files[path]), modules))
        graph[module] = found - {module}
    return graph


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other: the strongly connected components."""
    order: list[str] = []
    seen: set[str] = set()
    for start in graph:
        _visit(graph, start, seen, order)
    backwards: dict[str, set[str]] = {module: set() for module in graph}
    for module, targets in graph.items():
        for target in targets:
            backwards[target].add(module)
    found: list[list[str]] = []
    seen = set()
    for start in reversed(order):
        group: list[str] = []
        _visit(backwards, start, seen, group)
        if len(group) > 1:
            found.append(sorted(group))
    return sorted(found)


def _visit(graph: Mapping[str, set[str]], start: str, seen: set[str], order: list[str]) -> None:
    if start in seen:
        return
    seen.add(start)
    stack = [(start, iter(sorted(graph[start])))]
    while stack:
        module, targets = stack[-1]
        target = next((one for one in targets if one not in seen), None)
        if target is None:
            order.append(module)
            stack.pop()
        else:
            seen.add(target)
            stack.append((target, iter(sorted(graph[target]))))


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imported(tree: ast.Module, modules: Mapping[str, str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules:
                    yield inner
                elif node.module in modules:
                    yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)


def rows(product: Files, simulator: Files, web: Files, tests: Files) -> list[Row]:
    """Return the table of what can be measured without running anything.

    Args:
        product: The gateway's modules without the simulator.
        simulator: The simulator's modules.
        web: The scripts, styles and pages of the web client.
        tests: The modules below ``tests/``, which cover all three.
    """
    lengths = {path: text.count("\n") for path, text in product.items()}
    longest = max(lengths, key=lengths.__getitem__)
    kits = {path: text for path, text in tests.items() if path.startswith(KITS)}
    ours, simulated, tested = _lines(product), _lines(simulator), _lines(tests)
    return [
        Row("Python files of the product, without the simulator", str(len(lengths)), "≤ 115"),
        Row("of them, with more than a summary line", str(sum(size > 4 for size in lengths.values())), ""),
        Row("lines of the product", str(ours), ""),
        Row("median lines of a file", f"{median(lengths.values()):.0f}", "250–400"),
        Row("longest file", f"{lengths[longest]} ({longest})", "≤ 800"),
        Row("files of at most 80 lines", str(sum(size <= 80 for size in lengths.values())), ""),
        Row("public names of types with several meanings", str(len(homonyms(product))), "0"),
        Row("import cycles", str(len(cycles(imports(product)))), "0"),
        Row("Protocol classes", str(protocols(product)), "the ports, and where a cycle is avoided"),
        Row(
            "lines of tests per line of product and simulator", f"{tested / (ours + simulated):.2f}", "≤ 1.6"
        ),
        Row(
            "the same without the kits for writers of clients and servers",
            f"{(tested - _lines(kits)) / (ours + simulated):.2f}",
            "",
        ),
        Row("lines of tests per line of the product alone", f"{tested / ours:.2f}", ""),
        Row(
            "lines of tests per line of product, simulator and web client",
            f"{tested / (ours + simulated + _lines(web)):.2f}",
            "",
        ),
    ]


def _lines(files: Files) -> int:
    return sum(text.count("\n") for text in files.values())


def faults(product: Files, every: Files) -> Iterator[str]:
    """Report what may not be: long files, long functions, homonyms, import cycles."""
    yield from long_files(every)
    yield from long_functions(every)
    for name, where in homonyms(product).items():
        yield f"the public name {name} has several meanings: {', '.join(where)}"
    yield from (f"modules import each other: {', '.join(ring)}" for ring in cycles(imports(product)))


def tracked(*under: str, kinds: Sequence[str] = ("*.py",)) -> dict[str, str]:
    """Return path → text of the files of *kinds* that the repository tracks below one of *under*."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *kinds], cwd=ROOT, capture_output=True, check=True, text=True
    )
    paths = sorted(path for path in listed.stdout.split("\0") if path.startswith(under))
    return {path: (ROOT / path).read_text("utf-8") for path in paths if (ROOT / path).is_file()}


def show(table: Sequence[Row]) -> str:
    """Return the table as text for a terminal."""
    width = max(len(row.measure) for row in table)
    figures = max(len(row.figure) for row in table)
    return "\n".join(f"{row.measure:{width}}  {row.figure:{figures}}  {row.goal}".rstrip() for row in table)


def main() -> int:
    """Print the table and the faults. Returns the exit code."""
    # the routes need a running gateway, which the rules alone do not
    from tests.architecture.routes import measure  # noqa: PLC0415 - loads the whole gateway

    whole = tracked("gateway/")
    product = {path: text for path, text in whole.items() if not path.startswith(SIMULATOR)}
    simulator = {path: text for path, text in whole.items() if path not in product}
    web = tracked("gateway/web/", kinds=("*.js", "*.css", "*.html"))
    table = rows(product, simulator, web, tracked("tests/"))
    for route in measure():
        table.append(Row(route.name, f"{route.files} files, {route.moves} moves", route.goal))
    print(show(table))
    found = list(faults(product, whole | tracked("tests/", "bench/", "docs/")))
    print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
