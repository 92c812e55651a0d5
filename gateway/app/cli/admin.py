"""Commands that call the admin listener of a node, and ``nodes``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random  # noqa: TID251 - spreads attempts to connect; this command is its own composition root
import secrets as randomness
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.app.adapters import open_bus
from gateway.app.admin import check_bus
from gateway.app.cli import CliCommand, add_config, advise, table, within
from gateway.app.config.settings import (
    MEMORY,
    AdminSection,
    BusSection,
    SecretsSection,
    Settings,
    socket_path,
)
from gateway.app.config.sources import load
from gateway.app.process import CommandFailed
from gateway.domain.errors import GatewayError
from gateway.protocol.envelopes import NodeRecord
from gateway.protocol.openapi import PAGE, PAGE_MAX
from gateway.runtime.cluster_receiver import EVERY_OTHER
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import Clock, NodeRegistry

ADMIN_TIMEOUT_S: Final = 30.0
AdminAnswer = dict[str, Any]
AdminCall = Callable[[AdminSection, argparse.Namespace], Coroutine[None, None, AdminAnswer]]


class AdminRefused(CommandFailed):
    """The listener refused a request."""


async def ask_admin(
    admin: AdminSection,
    method: str,
    path: str,
    *,
    body: Mapping[str, object] | None = None,
    query: Mapping[str, str] | None = None,
) -> AdminAnswer:
    """Send a request to the listener, and return its answer.

    Raises:
        AdminRefused: There is no token, no answer came, or it refused.
    """
    if admin.token is None:
        raise AdminRefused("admin.token is not set, so the admin listener stays closed.")
    headers = {"Authorization": f"Bearer {admin.token.get_secret_value()}"}
    socket = socket_path(admin.host)
    host = f"[{admin.host}]" if ":" in admin.host else admin.host
    base = "http://localhost" if socket is not None else f"http://{host}:{admin.port}"
    url = URL(base + path, encoded=True).with_query(query or {})
    connector = None if socket is None else aiohttp.UnixConnector(str(socket))
    timeout = aiohttp.ClientTimeout(total=ADMIN_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            http.request(
                method, url, json=None if body is None else dict(body), headers=headers, allow_redirects=False
            ) as answer,
        ):
            content: AdminAnswer = await answer.json(content_type=None)
            status = answer.status
    # a timeout is an OSError, invalid JSON a ValueError
    except (aiohttp.ClientError, OSError, ValueError) as error:
        where = admin.host if socket is not None else f"{admin.host} port {admin.port}"
        raise AdminRefused(f"No admin listener answers at {where}: does the node run?") from error
    if status >= 400:
        raise AdminRefused(_refusal(content))
    return content


def _asked(act: AdminCall, args: argparse.Namespace) -> AdminAnswer:
    return asyncio.run(act(load(args.config, os.environ).settings.admin, args))


def _refusal(problem: AdminAnswer) -> str:
    unreached = [f"{each.get('node')} ({each.get('reason')})" for each in problem.get("unreached", [])]
    where = f" Not reached: {', '.join(unreached)}." if unreached else ""
    wait_s = problem.get("retry_after_s")
    again = f" Try again in {wait_s:g} s." if isinstance(wait_s, int | float) and not unreached else ""
    return f"{problem.get('detail', 'It was refused.')} [{problem.get('code', 'unknown')}]{where}{again}"


# ---- support-bundle ----


def add_bundle_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)
    parser.add_argument("--purpose", metavar="TEXT", help="the purpose, which is written into the bundle")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the bundle to admin.bundle_folder without asking; without this option the command "
        "asks, and without a terminal it only shows the bundle",
    )
    parser.add_argument(
        "--json", action="store_true", help="print only JSON, with the file's path at the end"
    )


def run_bundle(args: argparse.Namespace) -> int:
    """Print the bundle, and write it if requested. Returns 0.

    Raises:
        AdminRefused: It was not written.
        ConfigError: The configuration cannot be used.
    """
    _asked(_bundle, args)
    return 0


async def _bundle(admin: AdminSection, args: argparse.Namespace) -> AdminAnswer:
    wish = {"preview": True} | ({} if args.purpose is None else {"purpose": args.purpose})
    shown = await ask_admin(admin, "POST", "/support-bundle", body=wish)
    sys.stdout.write(json.dumps(shown["bundle"], indent=1, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    if not args.write and not (sys.stdin.isatty() and not args.json and _is_confirmed(shown["size_bytes"])):
        return shown
    written = await ask_admin(admin, "POST", "/support-bundle", body={"digest": shown["digest"]})
    line = json.dumps({"path": written["path"]}) if args.json else f"Written to {written['path']}"
    sys.stdout.write(f"{line}\n")
    return written


def _is_confirmed(size_bytes: int) -> bool:
    sys.stderr.write(f"This would be written, {size_bytes} bytes. Write it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


BUNDLE_COMMAND: Final = CliCommand(
    "show a support bundle and write it to the configured folder after confirmation; it is never sent",
    add_bundle_arguments,
    run_bundle,
    "oscc-gateway support-bundle --config gateway.toml --purpose case-4711\n"
    "  oscc-gateway support-bundle --config gateway.toml --write",
)

# ---- commands of the admin listener ----


LIMIT_MAX: Final = 1_000_000
ShowAnswer = Callable[[AdminAnswer], str]


def run_admin(args: argparse.Namespace, act: AdminCall, show: ShowAnswer) -> int:
    """Send the request and print the result. Returns 0, or 1 when it was not done on all nodes.

    Raises:
        AdminRefused: It was refused.
        ConfigError: The configuration cannot be used.
    """
    content = _asked(act, args)
    sys.stdout.write(_export(content) if args.json else show(content))
    missing = [f"{_node_label(each['node'])} ({each['reason']})" for each in content.get("unreached", [])]
    kept = [f"{each['node']} ({', '.join(each['what'])})" for each in content.get("kept", [])]
    differ = _differing_keys(content)
    notes = []
    if missing:
        notes.append(f"Not reached: {', '.join(missing)}.")
    if content.get("next") is not None:
        notes.append(f"There are more: --after={shlex.quote(content['next'])}")
    elif getattr(args, "after", None) is not None and [] in (content.get("sessions"), content.get("closes")):
        notes.append(f"There are none after {shlex.quote(args.after)}")
    if kept:
        notes.append(f"Not changed, see the log: {', '.join(kept)}.")
    if differ:
        notes.append(f"The sealing keys differ: {differ}.")
    sys.stderr.writelines(f"oscc-gateway: {note}\n" for note in notes)
    return 1 if missing or kept or differ else 0


def _differing_keys(content: AdminAnswer) -> str:
    """Return the sealing keys of each node if they differ, else nothing."""
    by_node = {each["node"]: " ".join(each["keys"]) for each in content.get("sealing_keys", [])}
    if len(set(by_node.values())) < 2:
        return ""
    return "; ".join(f"{node} has {keys}" for node, keys in by_node.items())


def _node_label(node: str) -> str:
    return "the other nodes, of which this one knows none" if node == EVERY_OTHER else node


# ---- what is asked ----


def _paged(path: str, what: str) -> AdminCall:
    async def act(admin: AdminSection, args: argparse.Namespace) -> AdminAnswer:
        content: AdminAnswer = {what: [], "unreached": []}
        after: str | None = args.after
        while (left := args.limit - len(content[what])) > 0:
            query = {"limit": str(min(left, PAGE_MAX))} | ({} if after is None else {"after": after})
            page = await ask_admin(admin, "GET", path, query=query)
            content[what] += page[what]
            content["unreached"] += [each for each in page["unreached"] if each not in content["unreached"]]
            after = page.get("next")
            if after is None:
                return content
        return content | {"next": after}

    return act


def _about(method: str, path: str) -> AdminCall:
    """Return a request about the user or session of the command line, which replaces ``{id}`` in *path*."""

    async def act(admin: AdminSection, args: argparse.Namespace) -> AdminAnswer:
        return await ask_admin(admin, method, path.replace("{id}", quote(args.id, safe="")))

    return act


def _post_options(path: str, *names: str) -> AdminCall:
    """Return a request with the options *names*, as far as they were given."""

    async def act(admin: AdminSection, args: argparse.Namespace) -> AdminAnswer:
        fields = {name: value for name, value in vars(args).items() if name in names and value}
        return await ask_admin(admin, "POST", path, body=fields)

    return act


# ---- how it is shown ----


_WORDS: Final = {
    "attached": ("waits", "attached"),
    "confirmed": ("ended, unconfirmed", "ended"),
    "draining": ("live", "draining"),
}
"""A field that is false or true → its words."""


def _cell(name: str, value: object) -> str:
    match value:
        case bool():
            return _WORDS[name][value]
        case None | "":
            return "-"
        case int() if name.endswith("at_ms"):
            at = datetime.fromtimestamp(value / 1000, UTC)
            return at.isoformat(timespec="seconds").replace("+00:00", "Z")
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _table_of(what: str, headings: Sequence[str], fields: Sequence[str]) -> ShowAnswer:
    """Return a function that shows the list *what* of an answer: the *fields* of an object in a line."""
    return lambda content: table(
        headings, [[_cell(name, each[name]) for name in fields] for each in content[what]]
    )


_sessions: Final = _table_of(
    "sessions",
    ("SESSION", "USER", "APPLICATION", "OWNER", "PHONE AT", "STATE", "EXPIRES"),
    ("id", "user", "application", "owner", "node", "attached", "expires_at_ms"),
)
_closes: Final = _table_of(
    "closes",
    ("AT", "NODE", "BY", "CODE", "REASON", "USER", "LASTED S"),
    ("at_ms", "node", "initiator", "close_code", "close_reason", "user", "lasted_s"),
)
_ended: Final = _table_of(
    "ended", ("SESSION", "USER", "APPLICATION", "STATE"), ("id", "user", "application", "confirmed")
)
_nodes: Final = _table_of(
    "nodes",
    ("NODE", "VERSION", "PHONES", "LINKS", "ACCEPTS/S", "STATE", "SEALING KEYS"),
    ("node", "version", "connections", "links", "accepts_per_s", "draining", "sealing_keys"),
)


def _export(content: AdminAnswer) -> str:
    """Return the whole export, since no part of it can be left out."""
    return f"{json.dumps(content, indent=2, ensure_ascii=False)}\n"


def _done(content: AdminAnswer) -> str:
    return table(("DONE BY",), [(node,) for node in content["nodes"]])


def _reloaded(content: AdminAnswer) -> str:
    keys = {each["node"]: " ".join(each["keys"]) for each in content.get("sealing_keys", [])}
    if not keys:
        return _done(content)
    return table(("DONE BY", "SEALING KEYS"), [(node, keys.get(node, "-")) for node in content["nodes"]])


# ---- the commands ----


def _command(
    summary: str,
    act: AdminCall,
    show: ShowAnswer,
    example: str,
    add: Callable[[argparse.ArgumentParser], None] | None = None,
) -> CliCommand:
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        add_config(parser)
        parser.add_argument("--json", action="store_true", help="print the answer of the listener as JSON")
        if add is not None:
            add(parser)

    return CliCommand(summary, add_arguments, lambda args: run_admin(args, act, show), example)


def _paging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit",
        type=within(int, 1, LIMIT_MAX, f"between 1 and {LIMIT_MAX}"),
        default=PAGE,
        metavar="N",
        help=f"show at most N; default {PAGE}",
    )
    parser.add_argument(
        "--after",
        metavar="NEXT",
        help="continue after this value, which the command prints when there are more",
    )


def _session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="SESSION", help="the id of the session, from `sessions`")


def _user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "id", metavar="USER", help="the hash of the user, from `sessions` or logs, or site:key"
    )


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", metavar="NAME", help="the node's name, from `nodes`")


def _level(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "level", choices=("debug", "info", "warning", "error"), help="the lowest level to log"
    )
    _node(parser)


ADMIN_COMMANDS: Final = {
    "sessions": _command(
        "list the sessions that contact centres have accepted, on all nodes",
        _paged("/sessions", "sessions"),
        _sessions,
        "oscc-gateway sessions --config gateway.toml --limit 1000",
        _paging,
    ),
    "end-session": _command(
        "end a session, on any node",
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
        "print all data that the gateway holds about a user, to answer that person's request",
        _about("GET", "/users/{id}/export"),
        _export,
        "oscc-gateway export main:4711 --config gateway.toml > export.json",
        _user,
    ),
    "drain": _command(
        "send the phones of a node away and end it; by default the node of this configuration",
        _post_options("/drain", "node"),
        lambda content: table(("NODE", "STATE"), [(content["node"], content["state"])]),
        "oscc-gateway drain --config gateway.toml\n  oscc-gateway drain --node gw-2 --config gateway.toml",
        _node,
    ),
    "closes": _command(
        "list the last connections that ended, with the reason",
        _paged("/closes", "closes"),
        _closes,
        "oscc-gateway closes --config gateway.toml --limit 20",
        _paging,
    ),
    "log-level": _command(
        "set the lowest level that is logged, by default on all nodes",
        _post_options("/log-level", "level", "node"),
        _done,
        "oscc-gateway log-level debug --config gateway.toml --node gw-2",
        _level,
    ),
    "reload": _command(
        "read certificates, authorities of sites, keys and notices again, by default on all nodes",
        _post_options("/reload", "node"),
        _reloaded,
        "oscc-gateway reload --config gateway.toml",
        _node,
    ),
    "support-bundle": BUNDLE_COMMAND,
}

# ---- nodes ----


NODES_TIMEOUT_S: Final = 3.0
_AGAIN_S: Final = 0.1


class NodesUnknown(CommandFailed):
    """Neither Redis nor a node can list the live nodes."""


def add_nodes_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")


def run_nodes(args: argparse.Namespace) -> int:
    """Print the live nodes. Returns 0.

    Raises:
        NodesUnknown: The list is not available.
        CommandFailed: There is none.
        ConfigError: The configuration cannot be used.
    """
    nodes = asyncio.run(_find_nodes(load(args.config, os.environ).settings))
    sys.stdout.write(nodes_json(nodes) if args.json else nodes_table(nodes))
    times_of = Counter(node.node for node in nodes)
    advise(
        f"{name} is the name of several nodes: give each its own in node.name."
        for name, times in times_of.items()
        if times > 1
    )
    if keys_differ(nodes):
        advise(["the sealing keys of the nodes differ: see OsccGatewayKeysDiffer in the runbook."])
    if not nodes:
        raise CommandFailed("There is no live node.")
    return 0


async def _find_nodes(settings: Settings) -> tuple[NodeRecord, ...]:
    """Read the list from Redis, which needs no node; a single node is asked itself."""
    if settings.bus.url == MEMORY and settings.admin.token is not None:
        return await _from_admin_listener(settings.admin)
    return await live_nodes(settings.bus, settings.secrets, SystemClock())


async def _from_admin_listener(admin: AdminSection) -> tuple[NodeRecord, ...]:
    try:
        content = await ask_admin(admin, "GET", "/nodes")
    except AdminRefused as why:
        raise NodesUnknown(str(why)) from why
    names = [name for name in NodeRecord._fields if name not in {"holder", "sealing_keys"}]
    return tuple(
        NodeRecord(
            holder="",
            sealing_keys=" ".join(each.get("sealing_keys", ())),
            **{name: each[name] for name in names},
        )
        for each in content["nodes"]
    )


async def live_nodes(bus: BusSection, secrets: SecretsSection | None, clock: Clock) -> tuple[NodeRecord, ...]:
    """Return the nodes with a recent record, in the order of their names.

    Raises:
        NodesUnknown: There is one node only, or Redis does not answer.
    """
    if bus.url == MEMORY or secrets is None:
        raise NodesUnknown("bus.url is memory://: that is one node, and only its own metrics show it.")
    found = await check_bus(bus, clock)
    if not found.notes:
        raise NodesUnknown(" ".join(found.faults))
    async with open_bus(bus, secrets, clock, jitter=random.random, draw=randomness.token_bytes) as cluster:
        return await _from_registry(cluster.registry, clock)


async def _from_registry(registry: NodeRegistry, clock: Clock) -> tuple[NodeRecord, ...]:
    give_up_at = clock.now() + NODES_TIMEOUT_S
    while True:
        try:
            return await registry.nodes()
        except GatewayError as error:
            if clock.now() >= give_up_at:
                raise NodesUnknown(f"Redis does not list the live nodes: {error.message}.") from error
        await clock.sleep(_AGAIN_S)


def keys_differ(nodes: Sequence[NodeRecord]) -> bool:
    """Return whether live nodes have different sealing keys, or different first keys."""
    return len({node.sealing_keys for node in nodes if node.sealing_keys}) > 1


def nodes_json(nodes: Sequence[NodeRecord]) -> str:
    """Return the nodes as a JSON list."""
    fields = [{**node._asdict(), "sealing_keys": node.sealing_keys.split()} for node in nodes]
    return json.dumps(fields, indent=2) + "\n"


def nodes_table(nodes: Sequence[NodeRecord]) -> str:
    """Return the nodes as a table, one line each."""
    return _nodes({"nodes": [node._asdict() for node in nodes]})


COMMANDS: Final = {
    "nodes": CliCommand(
        "list the live nodes of a gateway",
        add_nodes_arguments,
        run_nodes,
        "oscc-gateway nodes --config gateway.toml\n  oscc-gateway nodes --config gateway.toml --json",
    ),
    **ADMIN_COMMANDS,
}
