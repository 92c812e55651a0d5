"""The network between a browser and the gateway: slow, silent, cut, or back again, when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNK = 64 * 1024


class Road:
    """A relay of TCP connections that a test delays, silences and cuts.

    Args:
        port: Where the gateway listens.
        rtt_s: Round-trip time: half of it is added in each direction.
    """

    def __init__(self, port: int, rtt_s: float) -> None:
        self._port, self._one_way_s = port, rtt_s / 2
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.received = 0
        """Bytes that came from the gateway."""

    def silence(self) -> None:
        """Keep connections, accept new ones, and carry nothing."""
        self._flows.clear()

    def cut(self) -> None:
        """End all connections without a word; new ones are carried."""
        self._flows.set()
        for writer in tuple(self._writers):
            writer.transport.abort()

    def restore(self) -> None:
        """Carry what was held back."""
        self._flows.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for source, target, inward in ((reader, back, False), (there, writer, True)):
            waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
            for work in (self._take(source, waiting, inward=inward), self._give(waiting, target)):
                task = asyncio.create_task(work)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _take(
        self, source: asyncio.StreamReader, waiting: asyncio.Queue[tuple[float, bytes]], *, inward: bool
    ) -> None:
        """Read until the end, and note when each chunk arrives at the other side."""
        loop, chunk = asyncio.get_running_loop(), b" "
        while chunk:
            try:
                chunk = await source.read(_CHUNK)
            except OSError:
                chunk = b""
            self.received += len(chunk) if inward else 0
            waiting.put_nowait((loop.time() + self._one_way_s, chunk))

    async def _give(self, waiting: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter) -> None:
        """Write each chunk when its time has come; the chunks keep their order."""
        loop, chunk = asyncio.get_running_loop(), b" "
        while chunk:
            due, chunk = await waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._flows.wait()
            if chunk and not target.is_closing():
                target.write(chunk)
        target.close()
        self._writers.discard(target)

    async def end(self) -> None:
        """End everything."""
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def road(port: int, rtt_s: float) -> AsyncIterator[tuple[Road, str]]:
    """Open a road to *port*; yields it and the address that a browser goes to."""
    made = Road(port, rtt_s)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    try:
        yield made, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await made.end()
