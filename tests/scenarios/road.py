"""Faults between a gateway and its OSCC-E Server: a TCP relay that a test controls."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Literal, Self

State = Literal["open", "closed", "one-way", "lost"]
"""Closed: new connections are refused, present ones are cut. One-way: no answer comes back.
Lost: nothing arrives on either side, not even the end of a connection."""


class Road:
    """One road to one server on this machine, by :attr:`port`."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._state: State = "open"
        self._ways: set[asyncio.StreamWriter] = set()
        self._carriers: set[asyncio.Task[None]] = set()
        self._found = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open it."""
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; nobody is on it any more."""
        self.be("closed")
        self._server.close()
        await asyncio.gather(*self._carriers)

    def be(self, state: State) -> None:
        """Change the state. Connections that missed data are cut when the road is open again."""
        was, self._state = self._state, state
        if state == "closed" or was not in {"open", "closed"}:
            for way in self._ways:
                way.transport.abort()
        if state == "lost":
            self._found.clear()
        else:
            self._found.set()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carriers.add(task)
        try:
            if self._state == "closed":
                writer.transport.abort()
            else:
                await self._relay(reader, writer)
        finally:
            self._carriers.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, far_writer}
        self._ways |= ends
        try:
            await asyncio.gather(
                self._carry(reader, far_writer, {"open", "one-way"}),
                self._carry(far_reader, writer, {"open"}),
            )
        finally:
            self._ways -= ends

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, while_it_is: set[State]
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if self._state in while_it_is:
                    writer.write(data)
        if self._state == "lost":
            await self._found.wait()
        writer.close()
