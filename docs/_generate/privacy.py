"""Which personal data is handled, as the page for privacy officers lists it? Fills docs/privacy.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from docs._generate.cluster import filled
from gateway.protocol.inventory import inventory

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


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.exit()
