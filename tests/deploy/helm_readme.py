"""The table of values in the chart's README, made of values.yaml: ``python -m tests.deploy.helm_readme``.

A comment that begins with two hyphens belongs to the value under it; a test holds the page to the values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from tests.deploy.programs import ROOT

CHART: Final = ROOT / "helm" / "oscc-gateway"
PAGE: Final = CHART / "README.md"
BEGIN: Final = "<!-- Values: begin -->\n"
END: Final = "<!-- Values: end -->\n"
_KEY: Final = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z_]+):")


def comments(text: str) -> dict[str, str]:
    """Return the comment of each value that has one, by the value's path."""
    found = dict[str, str]()
    path = list[str]()
    waiting = list[str]()
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            waiting = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("# ") and waiting:
            waiting.append(stripped.removeprefix("# "))
        elif match := _KEY.match(line):
            path[len(match["indent"]) // 2 :] = [match["key"]]
            if waiting:
                found[".".join(path)] = " ".join(waiting)
            waiting = []
        else:
            waiting = []
    return found


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, object]]:
    """Yield each value with its path; of a table that is not empty also the table itself, as None."""
    for key, value in values.items():
        own = f"{path}{key}"
        if isinstance(value, Mapping) and value:
            yield own, Ellipsis
            yield from leaves(value, f"{own}.")
        else:
            yield own, value


def table() -> str:
    """Return the table in Markdown."""
    text = (CHART / "values.yaml").read_text("utf-8")
    said = comments(text)
    rows = ["| value | default | |", "|---|---|---|"]
    for path, value in leaves(yaml.safe_load(text)):
        if value is Ellipsis:
            if path in said:
                rows.append(f"| `{path}` | | {_cell(said[path])} |")
            continue
        rows.append(f"| `{path}` | `{json.dumps(value, ensure_ascii=False)}` | {_cell(said.get(path, ''))} |")
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def fresh() -> str:
    """Return the page with the table as it is now."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(fresh(), "utf-8")
