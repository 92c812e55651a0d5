"""Gateway node of a benchmark, run as an operator runs it, with raised limits."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.machine import SERVER_CORE, free_port
from bench.programs import STARTS_WITHIN_S, BenchError, Program, output, running

PROGRAM = (sys.executable, "-m", "gateway")
_ROOM: Mapping[str, float] = {
    "connections": 20_000,
    "unhelloed": 20_000,
    "unhelloed_per_address": 20_000,
    "handshakes_per_s": 100_000,
    "handshakes_burst": 100_000,
    "handshakes_per_s_of_address": 100_000,
    "handshakes_burst_of_address": 100_000,
    "log_ons_per_s": 10_000,
    "log_ons_in_flight": 1_000,
    "frames_per_s": 1_000,
    "frames_burst": 10_000,
    "commands_in_flight": 100,
    "ping_s": 55,
}
"""Limits against floods, raised so far that they affect no measurement."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Configuration of a node.

    Attributes:
        centre: The port of its OSCC-E Server.
        secrets: The table ``[secrets]``, as ``oscc-gateway keys`` writes it.
        pace_min_s: The shortest time between two state frames of a phone; None is the product's default.
        devices: Phones that one user may have.
        bus: The nodes' bus.
        certificate: PEM files of certificate and key; None: clear text.
        limits: More settings of ``[limits]``.
    """

    centre: int
    secrets: str
    pace_min_s: float | None = None
    devices: int = 20
    bus: str = "memory://"
    certificate: tuple[Path, Path] | None = None
    limits: Mapping[str, float] = field(default_factory=dict)

    def text(self, client: int, ops: int, admin: int) -> str:
        """Return the configuration file of a node at these ports."""
        limits: dict[str, float] = {**_ROOM, **self.limits, "devices": self.devices}
        if self.pace_min_s is not None:
            limits["pace_min_s"] = self.pace_min_s
        way = "insecure = true"
        if self.certificate is not None:
            way = 'certificate = "{}"\nkey = "{}"'.format(*self.certificate)
        tables = (
            f'[client]\nhost = "127.0.0.1"\nport = {client}\n{way}',
            f'[ops]\nhost = "127.0.0.1"\nport = {ops}',
            f'[admin]\nhost = "127.0.0.1"\nport = {admin}',
            f'[bus]\nurl = "{self.bus}"',
            '[log]\nlevel = "warning"',
            "[limits]\n" + "\n".join(f"{name} = {value}" for name, value in limits.items()),
            f'[[sites]]\nid = "main"\nurl = "http://127.0.0.1:{self.centre}"\ndisplay_name = "Main"',
            'applications = ["dashboard"]',
        )
        return "\n".join(tables) + "\n" + self.secrets


@dataclass(frozen=True, slots=True)
class Node:
    """Node that is ready."""

    program: Program
    port: int
    ops: int

    async def metrics(self) -> dict[str, float]:
        """Return the node's metrics: name with labels → value."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{self.ops}/metrics") as answer,
        ):
            return read_metrics(await answer.text())

    async def until_connected(self, phones: int, within_s: float) -> None:
        """Wait until exactly *phones* phones are connected."""
        left = within_s * 5
        while total(await self.metrics(), "connections") != phones:
            left -= 1
            if left < 0:
                raise BenchError(f"{phones} phones never were connected at once")
            await asyncio.sleep(0.2)


def read_metrics(text: str) -> dict[str, float]:
    """Read metrics in Prometheus' text format, without the prefix of the gateway's names."""
    found = re.findall(r"^oscc_gateway_(\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def total(metrics: Mapping[str, float], name: str) -> float:
    """Return the sum of a metric over all labels."""
    return sum(value for each, value in metrics.items() if each == name or each.startswith(name + "{"))


def quantile_of(metrics: Mapping[str, float], name: str, share: float) -> float:
    """Return the quantile *share* of a histogram, interpolated within its bucket."""
    buckets: dict[float, float] = {}
    for each, count in metrics.items():
        if found := re.match(rf'{name}_bucket\{{.*?le="([^"]+)"', each):
            buckets[float(found[1])] = buckets.get(float(found[1]), 0.0) + count
    ordered = sorted(buckets.items())
    wanted = share * ordered[-1][1] if ordered else 0.0
    low, below = 0.0, 0.0
    for bound, count in ordered:
        if count >= wanted:
            part = (wanted - below) / (count - below) if count > below else 0.0
            return low if bound == float("inf") else low + part * (bound - low)
        low, below = bound, count
    return low


@asynccontextmanager
async def node(
    settings: Settings, folder: Path, core: int = SERVER_CORE, name: str = "gateway"
) -> AsyncIterator[Node]:
    """Run a node while the block lasts; the block begins once the node is ready."""
    client, ops, admin = free_port(), free_port(), free_port()
    config = written(folder / f"{name}.toml", settings.text(client, ops, admin))
    async with running(name, (*PROGRAM, "serve", "--config", str(config)), core, folder) as program:
        await program.until_listening(ops)
        await program.until_listening(client)
        yield Node(program, client, ops)


def written(file: Path, text: str) -> Path:
    """Write *file*, creating its folder; returns *file*."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


async def secrets() -> str:
    """Return new secrets of a gateway, made by its command ``keys``."""
    return (await output("keys", (*PROGRAM, "keys"), SERVER_CORE, STARTS_WITHIN_S)).decode()


@dataclass(frozen=True, slots=True)
class Reach:
    """Settings that this version of the gateway accepts."""

    devices: int
    has_pace: bool


async def reach() -> Reach:
    """Return what settings the gateway accepts, from its own schema."""
    told = await output("schema", (*PROGRAM, "check-config", "--schema"), SERVER_CORE, STARTS_WITHIN_S)
    return read_reach(json.loads(told))


def read_reach(schema: Mapping[str, Any]) -> Reach:
    """Read the bounds of settings from their JSON Schema."""
    place = str(schema["properties"]["limits"]["$ref"]).rpartition("/")[2]
    limits = schema["$defs"][place]["properties"]
    return Reach(int(limits["devices"]["maximum"]), "pace_min_s" in limits)
