"""Command line of the conformance kit for servers."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import fnmatch
import sys
from pathlib import Path

from tests.conformance.report import say, tell
from tests.server_conformance import checks as _registered
from tests.server_conformance.driver import Driver, DriverError, User, read
from tests.server_conformance.registry import CHECKS
from tests.server_conformance.runner import AT_ONCE, run

assert _registered.__all__, "the families register themselves when they are imported"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.server_conformance",
        description="Plays a gateway, and reports each sentence of docs/oscce-link.md that a server breaks.",
    )
    add = parser.add_argument
    add("--server", metavar="URL", help="where it is, as in https://server.example:8443")
    add("--driver", metavar="FILE", type=Path, help="what the kit needs of the server, as in docs/servers.md")
    add("--user", metavar="NAME", help="of the Dashboard; goes before the driver's")
    add("--password", metavar="TEXT", help="of --user and, without --agent-password, of --agent")
    add("--agent", metavar="NAME", help="of the Remote Assistant; goes before the driver's")
    add("--agent-password", metavar="TEXT")
    add(
        "--number",
        metavar="NUMBER",
        action="append",
        default=[],
        help="a remote number of --agent; twice is better",
    )
    add("--ca", metavar="FILE", help="certificates that vouch for the server; else those of the machine")
    add(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a value that hooks of the driver name",
    )
    add("--only", metavar="PATTERN", action="append", help="names of checks, as in 'fencing.*'")
    add("--slow", action="store_true", help="run what waits for minutes, too")
    add(
        "--at-once",
        metavar="N",
        type=int,
        default=AT_ONCE,
        help="checks beside each other, as far as users are there",
    )
    add("--patience", metavar="S", type=float, help="seconds for what the server does at once (10)")
    add("--json", metavar="FILE", type=Path, help="write the report there, too")
    add("--list", action="store_true", help="name the checks and the sentences that they hold")
    return parser


def main(arguments: list[str]) -> int:
    """Run the kit; returns 0 when the server passes, 1 when it does not, 2 when nothing could be run."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    patterns = asked.only or ["*"]
    chosen = [check for check in CHECKS.values() if any(fnmatch.fnmatch(check.name, one) for one in patterns)]
    if asked.list:
        for check in chosen:
            say(f"{check.name}: {check.sentence.line}")
        return 0
    if not chosen:
        parser.error("no check has such a name")
    try:
        driver = _driver(asked)
        report = asyncio.run(run(driver, chosen, slow=asked.slow, at_once=asked.at_once, tell=tell))
    except DriverError as error:
        say(f"nothing could be run: {error}")
        return 2
    if asked.json:
        asked.json.write_text(report.as_json(), "utf-8")
    say(report.summary)
    return 1 if report.failed else 0


def _driver(asked: argparse.Namespace) -> Driver:
    values = dict(each.split("=", 1) for each in asked.set if "=" in each)
    driver = read(asked.driver, values, server=asked.server, authority=asked.ca, patience_s=asked.patience)
    dashboards, agents = driver.dashboards, driver.agents
    if asked.user:
        dashboards = (User(asked.user, asked.password or ""), *dashboards)
    if asked.agent:
        password = asked.agent_password or asked.password or ""
        agents = (User(asked.agent, password, tuple(asked.number)), *agents)
    return dataclasses.replace(driver, dashboards=dashboards, agents=agents)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
