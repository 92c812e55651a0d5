"""What all runs share: folders, keys, sessions, the load generator, servers that are ready."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.crowd import Centre, centre, log_on, write_hellos
from bench.gateway_node import Node, Reach, Settings, node, reach, secrets, written
from bench.layout import Layout
from bench.load.generator import Generator, generator
from bench.machine import LOAD_CORE, files_most
from bench.tls import certificate
from bench.work import Work

BUILD = Path("build/bench").absolute()
SPARE_FILES = 500
"""Descriptors of a process that are no phones."""
SESSIONS_LAST_S = 12 * 3600
"""After so long all phones log on anew."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that a run plays with.

    Attributes:
        folder: For files of one invocation, logs among them.
        reach: How far this version of the gateway lets itself be set.
        secrets: Of all its nodes.
        generator: Of load.
    """

    folder: Path
    reach: Reach
    secrets: str
    generator: Generator

    @classmethod
    async def make(cls, build: Path = BUILD) -> Stage:
        """Prepare everything; what an earlier invocation made is used again."""
        kept = build / "secrets.toml"
        if not is_file(kept):
            written(kept, await secrets())
        return cls(build, await reach(), read_text(kept), await generator(build))

    @property
    def phones_most(self) -> int:
        """How many phones one process can serve or play here."""
        return files_most() - SPARE_FILES

    def settings(self, centre: Centre, pace_min_s: float | None = None) -> Settings:
        """Return how a node is set up for a benchmark."""
        return Settings(centre.port, self.secrets, pace_min_s, devices=self.reach.devices)

    def layout(self, work: Work) -> Layout:
        """Return whose resources the gateway needs for *work*."""
        if work.topics > 1:
            return Layout(work.topics, work.queues, work.agents, shared=False)
        fewest = -(-work.phones // self.reach.devices)
        return Layout(max(fewest, work.users or 1), work.queues, work.agents)

    async def tokens(self, phones: int, users: int) -> list[str]:
        """Return the tokens of *phones* of *users*, phone n being of user n modulo users.

        Sessions last longer than nodes: a crowd of an earlier run is used again.
        """
        file = self.folder / f"tokens-of-{users}-users.json"
        known = read_tokens(file, self.secrets)
        if len(known) < phones:
            logs = self.folder / "logs"
            async with (
                centre(Layout(users, 1), logs) as made,
                node(self.settings(made), logs, LOAD_CORE, "door") as door,
            ):
                known = [*known, *await log_on(door, range(len(known), phones), users)]
            written(file, json.dumps({"of": self.secrets, "tokens": known}))
        return known[:phones]

    async def hellos(self, phones: int, users: int) -> Path:
        """Return a file with what each phone says first."""
        return write_hellos(self.folder / "hellos.txt", await self.tokens(phones, users))

    @asynccontextmanager
    async def gateway(
        self, layout: Layout, pace_min_s: float | None = None, *, tls: bool = False
    ) -> AsyncIterator[tuple[Centre, Node]]:
        """Run an OSCC-E Server and a node while the block lasts."""
        logs = self.folder / "logs"
        async with centre(layout, logs) as made:
            settings = self.settings(made, pace_min_s)
            if tls:
                settings = replace(settings, certificate=certificate(self.folder))
            async with node(settings, logs) as door:
                yield made, door


def is_file(path: Path) -> bool:
    """Tell whether there is such a file."""
    return path.is_file()


def read_text(path: Path) -> str:
    """Return what stands in a file."""
    return path.read_text("utf-8")


def read_tokens(file: Path, secrets_: str) -> list[str]:
    """Return tokens that an earlier invocation kept, as long as they are good under these secrets."""
    if not file.is_file() or time.time() - file.stat().st_mtime > SESSIONS_LAST_S:
        return []
    kept = json.loads(file.read_text("utf-8"))
    return list(kept["tokens"]) if kept["of"] == secrets_ else []
