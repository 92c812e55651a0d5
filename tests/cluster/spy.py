"""What would somebody find who looks into a Redis: its keys, MONITOR, the slow log, what goes to replicas?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from tests.cluster.cluster import PASSWORD, Cluster
from tests.doubles.servers import Server

TAIL = 256
"""Bytes kept of what was read before: a canary may be cut in two."""
WORDS = (PASSWORD, "canary-", "supervisor1", "supervisor2")
"""Passwords, names of queues and phones, names of users."""


class Spy:
    """Reads along everything that a Redis tells, for as long as it lives, and looks for canaries."""

    def __init__(self, server: Server, canaries: Iterable[str], *, as_replica: bool = True) -> None:
        self.canaries = sorted({canary.encode() for canary in (*WORDS, *canaries)})
        self.looked: dict[str, int] = {}
        """Where → bytes looked at."""
        self.found: set[str] = set()
        """Where, and which."""
        self._server = server
        self._as_replica = as_replica
        """Sentinels would take a spy that asks as a replica for one."""

    def learn(self, canaries: Iterable[str]) -> None:
        """Look for more from now on."""
        self.canaries = sorted({*self.canaries, *(canary.encode() for canary in canaries)})

    def move(self, server: Server) -> None:
        """Sit in another server, as soon as the one that it sits in is gone."""
        self._server = server

    async def attend(self) -> None:
        """Ask for the slow log of everything, and read along what is sent to replicas and to MONITOR."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_on("monitor", b"MONITOR\r\n"))
            if self._as_replica:
                tasks.create_task(self._read_on("replication", b"PSYNC ? -1\r\n"))

    async def prepare(self) -> None:
        """Let the slow log hold every command, and dumps be readable."""
        for name, value in (
            ("slowlog-log-slower-than", "0"),
            ("slowlog-max-len", "20000"),
            ("rdbcompression", "no"),
        ):
            await self._server.command("CONFIG", "SET", name, value)

    async def look(self) -> None:
        """Look at what it holds now: all keys with their values, and the slow log."""
        keys = await self._server.command("KEYS", "*")
        assert isinstance(keys, list)
        for key in keys:
            value = await self._server.command("DUMP", key)
            self.look_at("keys", key + (value if isinstance(value, bytes) else b""))
        await self._read("slowlog", b"SLOWLOG GET 20000\r\n", 1.0)

    def look_at(self, where: str, data: bytes) -> None:
        """Look at *data*."""
        self.looked[where] = self.looked.get(where, 0) + len(data)
        self.found |= {f"{where}: {canary!r}" for canary in self.canaries if canary in data}

    async def _read_on(self, where: str, ask: bytes) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self._read(where, ask, None)
            await asyncio.sleep(0.2)

    async def _read(self, where: str, ask: bytes, silence_s: float | None) -> None:
        """Read an answer until the connection ends, or until it was silent for so long."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        tail = b""
        try:
            writer.write(ask)
            with contextlib.suppress(TimeoutError):
                while data := await asyncio.wait_for(reader.read(65_536), silence_s):
                    self.look_at(where, tail + data)
                    tail = data[-TAIL:]
        finally:
            writer.transport.abort()


def look_at_files(spy: Spy, cluster: Cluster) -> None:
    """Look at everything that nodes wrote: their logs, and files in their folder but configurations."""
    for path in cluster.folder.iterdir():
        # the simulator is no gateway: it may say what it likes
        if path.is_file() and path.suffix != ".toml" and path != cluster.centre.log:
            spy.look_at(f"log {path.name}", path.read_bytes())


async def script_cost(server: Server) -> tuple[float, int]:
    """Return CPU seconds of all scripts so far, and how often one ran."""
    stats = await server.command("INFO", "commandstats")
    assert isinstance(stats, dict)
    scripts = [
        figures for name, figures in stats.items() if name.startswith(("cmdstat_eval", "cmdstat_fcall"))
    ]
    return sum(each["usec"] for each in scripts) / 1e6, sum(each["calls"] for each in scripts)
