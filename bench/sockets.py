"""Kernel memory of sockets whose phones do not read."""

from __future__ import annotations

import asyncio
import re

from bench.work import Figures

LOOKS_S = 0.5


class Sockets:
    """Watcher of a server's sockets while a load runs.

    Args:
        port: The server's port.
        stalled: How many phones do not read.
    """

    def __init__(self, port: int, stalled: int) -> None:
        self._port = port
        self._stalled = stalled
        self._most_bytes = 0

    async def watch(self) -> None:
        """Take samples until cancelled; returns at once on a machine without ``ss``."""
        while True:
            try:
                process = await asyncio.create_subprocess_exec(
                    *("ss", "-tmnH", "state", "established", "sport", "=", f":{self._port}"),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                )
            except OSError:
                return
            told, _ = await process.communicate()
            self.take(told.decode("ascii", "replace"))
            await asyncio.sleep(LOOKS_S)

    def take(self, told: str) -> None:
        """Record one sample: the bytes in the fullest sockets, one socket per stalled phone."""
        held = sorted(queued_bytes(told), reverse=True)[: self._stalled]
        self._most_bytes = max(self._most_bytes, sum(held))

    def figures(self) -> Figures:
        """Return the most memory that the server's sockets took per stalled phone."""
        return {"stalled_kernel_kb": self._most_bytes / self._stalled / 1e3} if self._most_bytes else {}


def queued_bytes(told: str) -> list[int]:
    """Return the memory of each socket's send queue (``w``) from ``ss -m``."""
    return [int(found) for found in re.findall(r"skmem:\([^)]*,w(\d+),", told)]
