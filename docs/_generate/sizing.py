"""How many nodes do how many phones need? Writes the table of docs/sizing.md from the command ``size``.

With ``--check`` it writes nothing and fails when the page is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from gateway.app.cli.doctor import page_table

PAGE: Final = Path(__file__).parents[1] / "sizing.md"
BEGIN: Final = "<!-- sizing: begin -->\n"
END: Final = "<!-- sizing: end -->\n"


def fresh() -> str:
    """Return the page with the table as it is now."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{page_table()}{END}{rest.partition(END)[2]}"


def main() -> int:
    """Write the page, or compare it."""
    if "--check" in sys.argv[1:]:
        if PAGE.read_text("utf-8") != fresh():
            print(f"{PAGE} is stale: make diagrams", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(fresh(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
