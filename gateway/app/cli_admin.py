"""What may an operator do from a command line? The commands that ask a node's admin listener."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from gateway.app.admin_asking import Answer, NotDone, ask, part
from gateway.app.cli_bundle import COMMAND as BUNDLE
from gateway.app.cli_command import Command, table
from gateway.app.cli_options import add_config
from gateway.app.config import load
from gateway.app.config_sections import Admin
from gateway.protocol.admin_openapi import PAGE, PAGE_MAX
from gateway.runtime.orders import EVERY_OTHER

LIMIT_MAX: Final = 1_000_000
Act = Callable[[Admin, argparse.Namespace], Awaitable[Answer]]
Show = Callable[[Answer], str]


def run(args: argparse.Namespace, act: Act, show: Show) -> int:
    """Do it and print what came of it. Returns 0, or 1 when it was not done, or not everywhere.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    admin = load(args.config, os.environ).settings.admin
    try:
        told = asyncio.run(_awaited(act(admin, args)))
    except NotDone as why:
        sys.stderr.write(f"oscc-gateway: {why}\n")
        return 1
    sys.stdout.write(f"{json.dumps(told, indent=2, ensure_ascii=False)}\n" if args.json else show(told))
    missing = [f"{_whom(each['node'])} ({each['reason']})" for each in told.get("unreached", [])]
    if missing:
        sys.stderr.write(f"oscc-gateway: Not reached: {', '.join(missing)}.\n")
    if told.get("next") is not None:
        sys.stderr.write(f"oscc-gateway: There are more: --after={shlex.quote(told['next'])}\n")
    kept = [f"{each['node']} ({', '.join(each['what'])})" for each in told.get("kept", [])]
    if kept:
        sys.stderr.write(f"oscc-gateway: Stays as it was, see the log: {', '.join(kept)}.\n")
    differ = _differing_keys(told)
    if differ:
        sys.stderr.write(f"oscc-gateway: The sealing keys differ: {differ}.\n")
    return 1 if missing or kept or differ else 0


def _differing_keys(told: Answer) -> str:
    """Return which node has which sealing keys where they differ, else nothing."""
    by_node = {each["node"]: " ".join(each["keys"]) for each in told.get("sealing_keys", [])}
    if len(set(by_node.values())) < 2:
        return ""
    return "; ".join(f"{node} has {keys}" for node, keys in by_node.items())


def _whom(node: str) -> str:
    return "the other nodes, of which this one knows none" if node == EVERY_OTHER else node


async def _awaited(act: Awaitable[Answer]) -> Answer:
    return await act


# ---- what is asked ----


def _paged(path: str, what: str) -> Act:
    async def act(admin: Admin, args: argparse.Namespace) -> Answer:
        told: Answer = {what: [], "unreached": []}
        after: str | None = args.after
        while (left := args.limit - len(told[what])) > 0:
            query = {"limit": str(min(left, PAGE_MAX))} | ({} if after is None else {"after": after})
            page = await ask(admin, "GET", path, query=query)
            told[what] += page[what]
            told["unreached"] += [each for each in page["unreached"] if each not in told["unreached"]]
            after = page.get("next")
            if after is None:
                return told
        return told | {"next": after}

    return act


def _about(method: str, path: str) -> Act:
    """Ask about whom the command line names: in *path* it stands for ``{id}``."""

    async def act(admin: Admin, args: argparse.Namespace) -> Answer:
        return await ask(admin, method, path.replace("{id}", part(args.id)))

    return act


def _told(path: str, *names: str) -> Act:
    """Tell what the options *names* say, as far as they were given."""

    async def act(admin: Admin, args: argparse.Namespace) -> Answer:
        said = {name: value for name, value in vars(args).items() if name in names and value}
        return await ask(admin, "POST", path, body=said)

    return act


# ---- how it is shown ----


def _sessions(told: Answer) -> str:
    rows = [
        (
            each["id"],
            each["user"],
            each["application"],
            each["owner"],
            each["node"] or "-",
            "attached" if each["attached"] else "waits",
            _instant(each["expires_at_ms"]),
        )
        for each in told["sessions"]
    ]
    return table(("SESSION", "USER", "APPLICATION", "OWNER", "PHONE AT", "STATE", "EXPIRES"), rows)


def _closes(told: Answer) -> str:
    rows = [
        (
            _instant(each["at_ms"]),
            each["node"],
            each["initiator"],
            str(each["close_code"]),
            each["close_reason"] or "-",
            each["user"] or "-",
            f"{each['lasted_s']:g}",
        )
        for each in told["closes"]
    ]
    return table(("AT", "NODE", "BY", "CODE", "REASON", "USER", "LASTED S"), rows)


def _ended(told: Answer) -> str:
    rows = [
        (
            each["id"],
            each["user"],
            each["application"],
            "ended" if each["confirmed"] else "ended, unconfirmed",
        )
        for each in told["ended"]
    ]
    return table(("SESSION", "USER", "APPLICATION", "STATE"), rows)


def _held(told: Answer) -> str:
    """Show the whole export: there is nothing of it to leave out."""
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _done(told: Answer) -> str:
    return table(("DONE BY",), [(node,) for node in told["nodes"]])


def _reloaded(told: Answer) -> str:
    keys = {each["node"]: " ".join(each["keys"]) for each in told.get("sealing_keys", [])}
    if not keys:
        return _done(told)
    return table(("DONE BY", "SEALING KEYS"), [(node, keys.get(node, "-")) for node in told["nodes"]])


def _drains(told: Answer) -> str:
    return table(("NODE", "STATE"), [(told["node"], told["state"])])


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# ---- the commands ----


def _command(
    summary: str,
    act: Act,
    show: Show,
    example: str,
    add: Callable[[argparse.ArgumentParser], None] | None = None,
) -> Command:
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        add_config(parser)
        parser.add_argument("--json", action="store_true", help="print what the listener answers, as JSON")
        if add is not None:
            add(parser)

    return Command(summary, add_arguments, lambda args: run(args, act, show), example)


def _paging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=_count, default=PAGE, metavar="N", help=f"so many at most; by default {PAGE}"
    )
    parser.add_argument("--after", metavar="NEXT", help="go on after this: what is told where there are more")


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= LIMIT_MAX:
        raise argparse.ArgumentTypeError(f"from 1 to {LIMIT_MAX}")
    return count


def _session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="SESSION", help="its id, as `sessions` lists it")


def _user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="USER", help="a hash, as `sessions` and logs have it, or site:key")


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", metavar="NAME", help="which node")


def _level(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("level", choices=("debug", "info", "warning", "error"), help="the least level")
    _node(parser)


COMMANDS: Final = {
    "sessions": _command(
        "list the sessions that OSCC-E has accepted, of all nodes",
        _paged("/sessions", "sessions"),
        _sessions,
        "oscc-gateway sessions --config gateway.toml --limit 1000",
        _paging,
    ),
    "end-session": _command(
        "end a session, wherever its phone is",
        _about("DELETE", "/sessions/{id}"),
        _ended,
        "oscc-gateway end-session sgKnu1RFfVKDi --config gateway.toml",
        _session,
    ),
    "end-user": _command(
        "end all sessions of a user",
        _about("POST", "/users/{id}/end"),
        _ended,
        "oscc-gateway end-user main:4711 --config gateway.toml",
        _user,
    ),
    "export": _command(
        "print all that the gateway holds about a user, for whoever asks for his data",
        _about("GET", "/users/{id}/export"),
        _held,
        "oscc-gateway export main:4711 --config gateway.toml > export.json",
        _user,
    ),
    "drain": _command(
        "send the phones of a node away and end it; by default the node of this configuration",
        _told("/drain", "node"),
        _drains,
        "oscc-gateway drain --config gateway.toml\n  oscc-gateway drain --node gw-2 --config gateway.toml",
        _node,
    ),
    "closes": _command(
        "list the last connections that ended, and why",
        _paged("/closes", "closes"),
        _closes,
        "oscc-gateway closes --config gateway.toml --limit 20",
        _paging,
    ),
    "log-level": _command(
        "change the least level that is logged, by default on all nodes",
        _told("/log-level", "level", "node"),
        _done,
        "oscc-gateway log-level debug --config gateway.toml --node gw-2",
        _level,
    ),
    "reload": _command(
        "read certificates, authorities of sites, keys and notices anew, by default on all nodes",
        _told("/reload", "node"),
        _reloaded,
        "oscc-gateway reload --config gateway.toml",
        _node,
    ),
    "support-bundle": BUNDLE,
}
