"""Diagrams of the state machines of the core: docs/diagrams, drawn from their tables of transitions.

Without arguments it writes them; with ``--check`` it writes nothing and fails when one is stale.
"""

from __future__ import annotations

import enum
import importlib
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gateway.core

FOLDER = Path(__file__).parents[1] / "diagrams"

Table = Mapping[tuple[Any, Any], Any]
"""(state, event) → next state; a pair that is not there changes nothing."""


class Drawn(NamedTuple):
    """The table of one state machine, and where it is."""

    module: str
    variable: str
    table: Table

    @property
    def name(self) -> str:
        """The name of the page: ``BUS_TRANSITIONS`` → ``bus``, ``TRANSITIONS`` → the module's name."""
        return self.variable.removesuffix("TRANSITIONS").removesuffix("_").lower() or self.module


def tables() -> Iterator[Drawn]:
    """Yield the table of each state machine of the core."""
    for module_info in sorted(pkgutil.iter_modules(gateway.core.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"gateway.core.{module_info.name}")
        for variable, table in vars(module).items():
            if variable.endswith("TRANSITIONS"):
                yield Drawn(module_info.name, variable, table)


def draw(drawn: Drawn) -> str:
    """Return the page of one state machine: a Mermaid diagram and the table that it was drawn from.

    The first state of the table is the initial one; a state that nothing leaves is final.
    """
    rows = [(_name(state), _name(event), _name(target)) for (state, event), target in drawn.table.items()]
    summary = (type(next(iter(drawn.table))[0]).__doc__ or "").strip().splitlines()[0]
    left = {state for state, _, _ in rows}
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, event, target in rows:
        arrows.setdefault((state, target), []).append(event)
    final = dict.fromkeys(target for _, _, target in rows if target not in left)
    lines = [f"# {drawn.name}", "", summary, ""]
    where = f"`{drawn.variable}` in `gateway/core/{drawn.module}.py`"
    lines += [f"Drawn by `make diagrams` from {where}; do not edit.", ""]
    lines += ["```mermaid", "stateDiagram-v2", f"    [*] --> {rows[0][0]}"]
    lines += [f"    {a} --> {b}: {', '.join(events)}" for (a, b), events in arrows.items()]
    lines += [f"    {state} --> [*]" for state in final]
    lines += ["```", "", "| state | event | next state |", "|---|---|---|"]
    lines += [f"| `{state}` | `{event}` | `{target}` |" for state, event, target in rows]
    return "\n".join(lines) + "\n"


def stale(pages: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Report pages that are missing, differ from their table, or have no table any more."""
    present = {path.name: path.read_text("utf-8") for path in folder.glob("*.md")}
    for name in sorted(pages.keys() | present.keys()):
        if name not in pages:
            yield f"{name}: drawn from a table that is gone"
        elif present.get(name) != pages[name]:
            yield f"{name}: stale; run make diagrams"


def main(arguments: list[str]) -> int:
    """Write the pages, or check them. Returns the exit code."""
    pages = {f"{drawn.name}.md": draw(drawn) for drawn in tables()}
    if arguments == ["--check"]:
        faults = list(stale(pages, FOLDER))
        print("\n".join(f"docs/diagrams/{fault}" for fault in faults), end="\n" if faults else "")
        return 1 if faults else 0
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        path.unlink()
    for name, page in pages.items():
        (FOLDER / name).write_text(page, "utf-8")
    return 0


def _name(part: object) -> str:
    match part:
        case enum.Enum():
            return part.name.lower()
        case type():
            return part.__name__
        case _:
            return str(part)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
