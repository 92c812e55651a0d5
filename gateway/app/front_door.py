"""Which node does a phone of the demonstration reach? A load balancer of one page.

It knows nothing of what it carries: each connection goes, byte for byte, to the next node that takes it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

from gateway.app.listener import CannotListen, why
from gateway.app.living import alive
from gateway.runtime.spawn import spawn

_CHUNK_BYTES: Final = 64 * 1024
_CONNECT_S: Final = 1.0


class Target(NamedTuple):
    """A node that takes connections."""

    name: str
    port: int
    """On this machine."""


class _Taken(NamedTuple):
    """A connection that a node took."""

    name: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class FrontDoor:
    """Carries connections to nodes of this machine, in turn.

    Invariant: a connection stays with the node that took it, and ends when either side ends it.

    Args:
        targets: Tells which nodes may be tried now.
    """

    def __init__(self, targets: Callable[[], Sequence[Target]]) -> None:
        self.carried: Final[Counter[str]] = Counter()
        """Connections that are open now, by node."""
        self.last: str | None = None
        """The node that took the last connection."""
        self._targets = targets
        self._tasks: asyncio.TaskGroup | None = None
        self._turn = 0

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end; without a node that takes it, it is closed at once."""
        if not spawn(self._tasks, self._carry(reader, writer)):
            writer.transport.abort()

    async def run(self) -> None:
        """Carry what is taken until cancelled; then every connection ends."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await asyncio.Event().wait()
        finally:
            self._tasks = None

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            found = await self._connected()
            if found is not None:
                await self._joined(found, reader, writer)
        finally:
            await _end(writer)

    async def _joined(
        self, found: _Taken, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        name, from_node, to_node = found
        self.last = name
        self.carried[name] += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                there = tasks.create_task(_pour(reader, to_node))
                back = tasks.create_task(_pour(from_node, writer))
                there.add_done_callback(lambda _: back.cancel())
                back.add_done_callback(lambda _: there.cancel())
        finally:
            self.carried[name] -= 1
            await _end(to_node)

    async def _connected(self) -> _Taken | None:
        targets = list(self._targets())
        for step in range(len(targets)):
            name, port = targets[(self._turn + step) % len(targets)]
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    streams = await asyncio.open_connection("127.0.0.1", port)
                self._turn += step + 1
                return _Taken(name, *streams)
        return None


@asynccontextmanager
async def open_door(door: FrontDoor, port: int) -> AsyncIterator[int]:
    """Have *door* listen while the block lasts; gives its port, which is any free one for 0.

    Raises:
        CannotListen: The port is taken.
    """
    try:
        server = await asyncio.start_server(door.take, "127.0.0.1", port, start_serving=False)
    except OSError as error:
        raise CannotListen(f"The front door cannot have 127.0.0.1 port {port}: {why(error)}.") from None
    async with alive(door.run()):
        try:
            await server.start_serving()
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry bytes until either side ends."""
    with suppress(OSError):
        while chunk := await source.read(_CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
