"""Resources of all runs: folders, keys, sessions, the load generator, running servers."""

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
"""File descriptors that a process keeps for other uses than phones."""
SESSIONS_LAST_S = 12 * 3600
"""Age of saved tokens from which all phones log on again."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Resources of all runs.

    Attributes:
        folder: The folder for tokens, certificates and logs.
        reach: The settings that this version of the gateway accepts.
        secrets: The secrets of all nodes.
        generator: The load generator.
    """

    folder: Path
    reach: Reach
    secrets: str
    generator: Generator

    @classmethod
    async def make(cls, build: Path = BUILD) -> Stage:
        """Prepare everything; files of an earlier invocation are reused."""
        kept = build / "secrets.toml"
        if not is_file(kept):
            written(kept, await secrets())
        return cls(build, await reach(), read_text(kept), await generator(build))

    @property
    def phones_most(self) -> int:
        """The most phones that one process can serve or simulate here."""
        return files_most() - SPARE_FILES

    def settings(self, centre: Centre, pace_min_s: float | None = None) -> Settings:
        """Return the settings of a node."""
        return Settings(centre.port, self.secrets, pace_min_s, devices=self.reach.devices)

    def layout(self, work: Work) -> Layout:
        """Return the users and resources that the gateway needs for *work*."""
        if work.topics > 1:
            return Layout(work.topics, work.queues, work.agents, shared=False)
        fewest = -(-work.phones // self.reach.devices)
        return Layout(max(fewest, work.users or 1), work.queues, work.agents)

    async def tokens(self, phones: int, users: int) -> list[str]:
        """Return the tokens of *phones* phones; phone n belongs to user n modulo *users*.

        Sessions outlive nodes, so tokens of an earlier run are reused.
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
        """Return a file with the hello frame of each phone."""
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
    """Return whether *path* is a file."""
    return path.is_file()


def read_text(path: Path) -> str:
    """Return the text of *path*."""
    return path.read_text("utf-8")


def read_tokens(file: Path, secrets_: str) -> list[str]:
    """Return the saved tokens; none when they are too old or belong to other secrets."""
    if not file.is_file() or time.time() - file.stat().st_mtime > SESSIONS_LAST_S:
        return []
    kept = json.loads(file.read_text("utf-8"))
    return list(kept["tokens"]) if kept["of"] == secrets_ else []
