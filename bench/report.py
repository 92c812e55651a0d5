"""Report: the page docs/benchmarks.md.

People write the page; the program writes the results between its markers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from bench import plots, tables
from bench.kept import MACHINE, kept
from bench.results import Results
from bench.scenarios import SCENARIOS
from bench.stage import BUILD

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
PICTURES = PAGE.with_suffix("")


def fill(page: str, parts: Mapping[str, str]) -> str:
    """Return *page* with each part between its markers.

    The markers of a part are ``<!-- bench:NAME -->`` and ``<!-- /bench:NAME -->``.

    Raises:
        ValueError: A part does not have exactly one pair of markers: results would be lost.
    """
    for name, text in parts.items():
        mark = re.escape(name)
        pattern = re.compile(rf"(<!-- bench:{mark} -->\n).*?(<!-- /bench:{mark} -->)", re.DOTALL)
        page, count = pattern.subn(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)  # type: ignore[misc]  # mypy cannot see the default
        if count != 1:
            raise ValueError(f"the page has {count} places for {name}")
    return page


def parts(results: Results, machine: Mapping[str, str | int], pictures: list[Path]) -> dict[str, str]:
    """Return the text between each pair of markers, by name."""
    found = {"machine": tables.machine(machine, results.runs()), "goals": tables.goals(results)}
    found["others"] = tables.others(results)
    found |= {name: tables.scenario(results, name) for name in SCENARIOS}
    shown = [f"![{file.stem}]({PICTURES.name}/{file.name})" for file in pictures]
    found["pictures"] = "\n".join(shown) or "_None yet._"
    return found


def main(build: Path = BUILD) -> int:
    """Rewrite the page and its pictures from the results; returns the exit code."""
    results = Results(kept(build))
    machine_file = build / MACHINE
    machine = json.loads(machine_file.read_text("utf-8")) if machine_file.exists() else {}
    pictures = plots.draw(results, PICTURES)
    page = PAGE.read_text("utf-8")
    PAGE.write_text(fill(page, parts(results, machine, pictures)), "utf-8")
    print(f"wrote {PAGE.name} and {len(pictures)} pictures")
    return 0
