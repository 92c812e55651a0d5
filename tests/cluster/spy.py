"""A spy in a Redis: its keys, MONITOR, the slow log, and the traffic to replicas, searched for canaries."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from tests.cluster.cluster import PASSWORD, Cluster
from tests.doubles.servers import Server

WORDS = (PASSWORD, "canary-", "supervisor1", "supervisor2")
"""Passwords, names of queues and phones, names of users."""


class Spy:
    """Stores what a Redis sends to MONITOR and to replicas, and searches all of it for canaries.

    Args:
        server: The Redis.
        folder: For the stored traffic, which is searched for canaries that are known only later.
        canaries: Texts that nobody may read, besides :data:`WORDS`.
        as_replica: False where Sentinels would take the spy for a replica.
    """

    def __init__(
        self, server: Server, folder: Path, canaries: Iterable[str], *, as_replica: bool = True
    ) -> None:
        self.canaries = {canary.encode() for canary in (*WORDS, *canaries)}
        self.found: set[str] = set()
        """Each text that was found, and its place."""
        self._server = server
        self._asks = {"monitor": b"MONITOR\r\n", "replication": b"PSYNC ? -1\r\n"}
        if not as_replica:
            del self._asks["replication"]
        self._folder = folder
        self._looked: Counter[str] = Counter()
        self._received: Counter[str] = Counter()

    def add_canaries(self, canaries: Iterable[str]) -> None:
        """Add canaries for the next :meth:`look`."""
        self.canaries |= {canary.encode() for canary in canaries}

    def move(self, server: Server) -> None:
        """Watch another server, as soon as the present one is gone."""
        self._server = server

    async def read_traffic(self) -> None:
        """Read the traffic, over as many connections as necessary."""
        self._folder.mkdir(exist_ok=True)
        async with asyncio.TaskGroup() as tasks:
            for where, ask in self._asks.items():
                tasks.create_task(self._read_on(where, ask))

    async def prepare(self) -> None:
        """Let the slow log have every command, and dumps be readable."""
        for name, value in (
            ("slowlog-log-slower-than", "0"),
            ("slowlog-max-len", "20000"),
            ("rdbcompression", "no"),
        ):
            await self._server.insist("CONFIG", "SET", name, value)

    async def look(self) -> None:
        """Search the traffic so far, the present content of the Redis with all values, and its slow log."""
        for where in self._asks:
            await self._look_at_file(where, self._folder / where)
        keys = await self._server.insist("KEYS", "*")
        assert isinstance(keys, list)
        for key in keys:
            value = await self._server.insist("DUMP", key)
            self._look_at("keys", key + (value if isinstance(value, bytes) else b""))
        slow = [data async for data in self._read(b"SLOWLOG GET 20000\r\n", 1.0)]
        self._look_at("slowlog", b"".join(slow))

    async def look_at_files(self, cluster: Cluster) -> None:
        """Search all files of nodes: their logs, and files in their folder except configurations."""
        for path in cluster.folder.iterdir():
            # the simulator is no gateway: its output is not checked
            if path.is_file() and path.suffix != ".toml" and path != cluster.centre.log:
                await self._look_at_file(f"log {path.name}", path)

    def received(self) -> set[str]:
        """Return the places where canaries were found."""
        paths = {where: self._folder / where for where in self._asks}
        return {where for where, path in paths.items() if path.exists() and path.stat().st_size}

    def looked(self) -> dict[str, int]:
        """Return the searched places with their bytes since the last call."""
        new = self._looked - self._received
        self._received = self._looked.copy()
        return dict(new)

    async def _look_at_file(self, where: str, path: Path) -> None:
        """Search a growing file from its beginning: there may be new canaries."""
        self._looked[where], seen = await asyncio.to_thread(self._search, path)
        self.found |= {f"{where}: {canary!r}" for canary in seen}

    def _search(self, path: Path) -> tuple[int, set[bytes]]:
        """Return the size of a file, and the canaries in it.

        grep searches for all of them at once: thousands, in a gigabyte at the full size.
        """
        if not path.exists():
            return 0, set()
        canaries = self._folder / "canaries"
        canaries.write_bytes(b"\n".join(sorted(self.canaries)))
        grep = subprocess.run(
            ["grep", "--text", "--only-matching", "--fixed-strings", f"--file={canaries}", "--", str(path)],
            env={**os.environ, "LC_ALL": "C"},
            stdout=subprocess.PIPE,
            check=False,
        )
        assert grep.returncode in (0, 1), f"grep ended with {grep.returncode}"  # 1: no match
        return path.stat().st_size, set(grep.stdout.splitlines())

    def _look_at(self, where: str, data: bytes) -> None:
        self._looked[where] += len(data)
        self.found |= {f"{where}: {canary!r}" for canary in self.canaries if canary in data}

    async def _read_on(self, where: str, ask: bytes) -> None:
        while True:
            with contextlib.suppress(OSError):
                async for data in self._read(ask, None):
                    with (self._folder / where).open("ab") as kept:
                        kept.write(data)
            await asyncio.sleep(0.2)  # the server may be away: pause before the next try

    async def _read(self, ask: bytes, silence_s: float | None) -> AsyncIterator[bytes]:
        """Yield a reply until the connection ends, or is silent for so long."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            writer.write(ask)
            with contextlib.suppress(TimeoutError):
                while data := await asyncio.wait_for(reader.read(65_536), silence_s):
                    yield data
        finally:
            writer.transport.abort()


async def script_cost(server: Server) -> tuple[float, int]:
    """Return CPU seconds of all scripts so far, and how often one ran."""
    stats = await server.command("INFO", "commandstats")
    assert isinstance(stats, dict)
    scripts = [
        figures for name, figures in stats.items() if name.startswith(("cmdstat_eval", "cmdstat_fcall"))
    ]
    return sum(each["usec"] for each in scripts) / 1e6, sum(each["calls"] for each in scripts)
