"""Which nodes of a gateway live, and what do they say of themselves? The command ``nodes``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random  # noqa: TID251 - spreads attempts to connect; this command is its own composition root
import secrets as randomness
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.app.admin_asking import NotDone, ask
from gateway.app.bus_check import bus_found
from gateway.app.buses import open_bus
from gateway.app.cli_command import table
from gateway.app.cli_options import add_config
from gateway.app.config import load
from gateway.app.config_bus_url import MEMORY
from gateway.app.config_sections import Admin, Bus, Secrets, Settings
from gateway.domain.errors import GatewayError
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.clock import SystemClock
from gateway.runtime.ports import Clock, Roll

PATIENCE_S: Final = 3.0
_AGAIN_S: Final = 0.1
_HEADINGS: Final = ("NODE", "VERSION", "PHONES", "LINKS", "ACCEPTS/S", "STATE", "SEALING KEYS")


class NoRoll(Exception):  # noqa: N818 - names what happened
    """Nobody tells which nodes live. The message is a sentence."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the nodes that live. Returns 0, or 1 when none does or nobody knows.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    settings = load(args.config, os.environ).settings
    try:
        nodes = asyncio.run(_found(settings))
    except NoRoll as none:
        sys.stderr.write(f"oscc-gateway: {none}\n")
        return 1
    sys.stdout.write(as_json(nodes) if args.json else as_table(nodes))
    for name in namesakes(nodes):
        sys.stderr.write(f"advice: {name} is the name of several nodes: give each its own in node.name.\n")
    if keys_differ(nodes):
        sys.stderr.write(
            "advice: the sealing keys of the nodes differ: see OsccGatewayKeysDiffer in the runbook.\n"
        )
    if not nodes:
        sys.stderr.write("oscc-gateway: No node lives.\n")
    return 0 if nodes else 1


async def _found(settings: Settings) -> tuple[NodeRecord, ...]:
    """Ask Redis, as also works when no node does; a node that is alone is asked itself."""
    if settings.bus.url == MEMORY and settings.admin.token is not None:
        return await _of_itself(settings.admin)
    return await live_nodes(settings.bus, settings.secrets, SystemClock())


async def _of_itself(admin: Admin) -> tuple[NodeRecord, ...]:
    try:
        told = await ask(admin, "GET", "/nodes")
    except NotDone as why:
        raise NoRoll(str(why)) from None
    names = [name for name in NodeRecord._fields if name not in {"holder", "sealing_keys"}]
    return tuple(
        NodeRecord(
            holder="",
            sealing_keys=" ".join(each.get("sealing_keys", ())),
            **{name: each[name] for name in names},
        )
        for each in told["nodes"]
    )


async def live_nodes(bus: Bus, secrets: Secrets | None, clock: Clock) -> tuple[NodeRecord, ...]:
    """Return the nodes that said lately that they live, in the order of their names.

    Raises:
        NoRoll: There is one node only, or Redis does not answer.
    """
    if bus.url == MEMORY or secrets is None:
        raise NoRoll("bus.url is memory://: that is one node, and only its own metrics tell of it.")
    found = await bus_found(bus, clock)
    if not found.told:
        raise NoRoll(" ".join(found.faults))
    async with open_bus(bus, secrets, clock, jitter=random.random, draw=randomness.token_bytes) as cluster:
        return await _asked(cluster.roll, clock)


async def _asked(roll: Roll, clock: Clock) -> tuple[NodeRecord, ...]:
    give_up_at = clock.now() + PATIENCE_S
    while True:
        try:
            return await roll.nodes()
        except GatewayError as error:
            if clock.now() >= give_up_at:
                raise NoRoll(f"Redis does not tell which nodes live: {error.message}.") from None
        await clock.sleep(_AGAIN_S)


def namesakes(nodes: Sequence[NodeRecord]) -> Iterator[str]:
    """Yield each name that several live nodes have."""
    yield from (name for name, times in Counter(node.node for node in nodes).items() if times > 1)


def keys_differ(nodes: Sequence[NodeRecord]) -> bool:
    """Tell whether live nodes have different sealing keys, or another one of them seals."""
    return len({node.sealing_keys for node in nodes if node.sealing_keys}) > 1


def as_json(nodes: Sequence[NodeRecord]) -> str:
    """Return the nodes as a JSON list."""
    return json.dumps([_fields(node) for node in nodes], indent=2) + "\n"


def as_table(nodes: Sequence[NodeRecord]) -> str:
    """Return the nodes as a table, a line each below its headings."""
    return table(_HEADINGS, [_row(node) for node in nodes])


def _fields(node: NodeRecord) -> dict[str, object]:
    return {**node._asdict(), "sealing_keys": node.sealing_keys.split()}


def _row(node: NodeRecord) -> tuple[str, ...]:
    return (
        node.node,
        node.version,
        str(node.connections),
        str(node.links),
        f"{node.accepts_per_s:g}",
        "draining" if node.draining else "live",
        node.sealing_keys or "-",
    )
