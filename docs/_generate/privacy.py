"""Which personal data is handled, as docs/privacy.md lists it? Fills the page's table from the code.

Without arguments it writes the page; with ``--check`` it writes nothing and fails when the page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from docs._generate.cluster import filled
from gateway.protocol.schemas import inventory

PAGE: Final = Path(__file__).parents[1] / "privacy.md"


def inventory_table() -> Iterable[str]:
    """Yield the lines of the inventory's table."""
    yield "| category | fields | why | from | where | how long | who sees it |"
    yield "|---|---|---|---|---|---|---|"
    for entry in inventory().entries:
        fields = ", ".join(f"`{field}`" for field in entry.fields)
        told = (entry.purpose, entry.source, entry.held_in, entry.held_for, entry.seen_by)
        yield f"| `{entry.category}` | {fields} | {' | '.join(told)} |"


def page() -> str:
    """Return the page as it should be."""
    return filled(PAGE.read_text("utf-8"), {"inventory": inventory_table})


def main(arguments: list[str]) -> int:
    """Write the page, or check it. Returns the exit code."""
    fresh = page()
    if arguments == ["--check"]:
        is_stale = fresh != PAGE.read_text("utf-8")
        if is_stale:
            print("docs/privacy.md: stale; run make diagrams")
        return int(is_stale)
    PAGE.write_text(fresh, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
