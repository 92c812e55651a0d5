"""Write docs/rooms.md: every module of the gateway with the first line of its docstring.

Without arguments it writes the page; with ``--check`` it writes nothing and fails when the page is stale.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "rooms.md"

FLOORS = {
    "app": "composition root, CLI, settings, logging",
    "client": "the Python SDK",
    "edge": "adapter for phones, over HTTP and WebSocket",
    "bus": "adapter for messages between nodes",
    "upstream": "adapters for contact centres",
    "simulator": "a simulated OSCC-E Server",
    "runtime": "tasks, timers and ports around the core",
    "telemetry": "all metrics",
    "core": "state machines and their data; pure",
    "protocol": "frames, envelopes and codecs; pure",
    "domain": "values, commands and errors; the standard library and msgspec only",
}
"""The floors, from the top down."""


def sources() -> dict[str, str]:
    """Return path below ``gateway/`` → text of each module; of packages those that define functions."""
    folder = ROOT / "gateway"
    paths = sorted(folder.rglob("*.py"))
    texts = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in paths}
    return {
        path: text
        for path, text in texts.items()
        if Path(path).stem not in {"__init__", "__main__"} or ("/" in path and "\ndef " in text)
    }


def render(files: Mapping[str, str]) -> str:
    """Return the page: a table of modules per floor."""
    lines = ["# The modules", ""]
    lines += ["`make diagrams` writes this page from the first line of each module; do not edit.", ""]
    lines += ["[Architecture](architecture.md) describes the floors.", ""]
    for floor, purpose in FLOORS.items():
        rooms = {
            path: text for path, text in files.items() if path.removesuffix(".py").split("/")[0] == floor
        }
        if rooms:
            lines += [f"## {floor}: {purpose}", "", "| module | what it holds |", "|---|---|"]
            lines += [f"| [`{path}`](../gateway/{path}) | {_summary(text)} |" for path, text in rooms.items()]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or check it. Returns the exit code."""
    page = render(sources())
    if arguments == ["--check"]:
        fresh = PAGE.is_file() and PAGE.read_text("utf-8") == page
        if not fresh:
            print("docs/rooms.md: stale; run make diagrams")
        return 0 if fresh else 1
    PAGE.write_text(page, "utf-8")
    return 0


def _summary(text: str) -> str:
    docstring = ast.get_docstring(ast.parse(text)) or ""
    first = " ".join(docstring.split("\n\n")[0].split())
    return (first.partition("?")[0] + "?").replace("|", "\\|") if "?" in first else first


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
