"""Command line of the conformance kit for clients."""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import sys
from pathlib import Path

from tests.conformance import checks as _registered
from tests.conformance.driver import DriverLost
from tests.conformance.registry import CHECKS
from tests.conformance.report import say, tell
from tests.conformance.runner import AT_ONCE, run

assert _registered.__all__, "the families register themselves when they are imported"


def main(arguments: list[str]) -> int:
    """Run the kit; returns 0 when the client passes, 1 when it does not, 2 when nothing could be run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description="Plays a gateway to a client and reports what it does not keep of docs/protocol.md.",
    )
    parser.add_argument(
        "--client", metavar="COMMAND", help="starts the driver; docs/clients.md says what it is"
    )
    parser.add_argument(
        "--only", metavar="PATTERN", action="append", help="names of checks, as in 'mirror.*'"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the report there, too")
    parser.add_argument("--at-once", metavar="N", type=int, default=AT_ONCE, help="drivers beside each other")
    parser.add_argument("--again", metavar="N", type=int, default=0, help="judge what fails N more times")
    parser.add_argument(
        "--list", action="store_true", help="name the checks and the sentences that they hold"
    )
    asked = parser.parse_args(arguments)
    patterns = asked.only or ["*"]
    chosen = [
        check for check in CHECKS.values() if any(fnmatch.fnmatch(check.name, name) for name in patterns)
    ]
    if asked.list:
        for check in chosen:
            say(f"{check.name}: {' '.join(check.sentence.split())}")
        return 0
    if not asked.client or not chosen:
        parser.error("--client is needed, and at least one check")
    try:
        report = asyncio.run(run(asked.client, chosen, at_once=asked.at_once, again=asked.again, tell=tell))
    except ExceptionGroup as group:
        lost, other = group.split((DriverLost, OSError))
        if other is not None or lost is None:
            raise
        say(f"the driver cannot be run: {lost.exceptions[0]}")
        return 2
    if asked.json:
        asked.json.write_text(report.as_json(), "utf-8")
    say(report.summary)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
