"""How many nodes do how many phones need? Writes the table of docs/sizing.md from the command ``size``.

With ``--check`` it writes nothing and fails when the page is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from gateway.app.cli.doctor import Wanted, size

PAGE: Final = Path(__file__).parents[1] / "sizing.md"
BEGIN: Final = "<!-- sizing: begin -->\n"
END: Final = "<!-- sizing: end -->\n"
SHOWN: Final = (1_000, 10_000, 50_000, 200_000)


def page_table() -> str:
    """Return the table of docs/sizing.md."""
    head = ["phones", "TLS", "nodes", "cores a node", "MB a node", "memory limit", "`connections`"]
    head += ["open files", "`drain_s`", "shift start", "Redis"]
    rows = [f"| {' | '.join(head)} |", "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for phones in SHOWN:
        for tls in (False, True):
            one = size(Wanted(phones, phones, phones // 10, tls))
            rows.append(
                f"| {phones:,} | {'nodes' if tls else 'proxy'} | {one.nodes} | {one.cores} | {one.memory_mb} "
                f"| {one.memory_limit_mb} MB | {one.connections} | {one.files} | {one.drain_s} s "
                f"| {one.all_logged_on_s:,} s | {one.redis_per_s:,}/s, {one.redis_mb} MB |"
            )
    return "\n".join(rows) + "\n"


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
