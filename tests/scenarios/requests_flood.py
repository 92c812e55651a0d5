"""A flood of requests, as a process of its own, so that it takes no time from the test that measures.

``python -m tests.scenarios.requests_flood FROM PORT PATH TOKEN PER_S COUNT SECONDS`` reads what is answered,
and prints in the end how often each status came.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Final

CONNECTIONS: Final = 20
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Flood:
    """At most *count* requests, *per_s* of them each second, for so many *seconds*."""

    def __init__(
        self, source: str, port: int, request: bytes, per_s: float, count: int, seconds: float
    ) -> None:
        self.statuses: Counter[str] = Counter()
        self._source = source
        self._port = port
        self._request = request
        self._per_s = per_s
        self._count = count
        self._began = time.monotonic()
        self._ends = self._began + seconds
        self._sent = 0

    async def run(self) -> None:
        """Send over some connections until it is over; a connection that ends is replaced."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._ends - time.monotonic()), asyncio.TaskGroup() as tasks:
                for _ in range(CONNECTIONS):
                    tasks.create_task(self._connections())

    async def _connections(self) -> None:
        while True:
            with suppress(OSError):
                await self._connection()
            await asyncio.sleep(0.1)

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._source, 0))
        reading = asyncio.ensure_future(self._read(reader))
        try:
            while self._sent < self._count and not reading.done():
                await asyncio.sleep(max(0.0, self._began + self._sent / self._per_s - time.monotonic()))
                self._sent += 1
                writer.write(self._request)
                await writer.drain()
            await reading
        finally:
            reading.cancel()
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(64 * 1024):
            self.statuses.update(found.decode() for found in _STATUS.findall(data))


def main() -> None:
    """Flood as the arguments say, and print what was answered."""
    source, port, path, token, per_s, count, seconds = sys.argv[1:]
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    request = f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{authorization}\r\n".encode()
    flood = Flood(source, int(port), request, float(per_s), int(count), float(seconds))
    asyncio.run(flood.run())
    print(dict(flood.statuses), flush=True)


if __name__ == "__main__":
    main()
