"""A TCP relay that a test makes slow, frozen, lossy or closed.

It passes every byte unchanged until a fault is set, each direction on its own. Random decisions come from one
seed. With ``resp=True`` it reads the replies of a Redis (see :mod:`tests.doubles.resp`) and can lose, repeat
and delay single published messages: TCP itself loses none.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random  # noqa: TID251 - seeded by the test that makes the proxy
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from tests.doubles.resp import RespFrames, is_published

CHUNK: Final = 65_536
WAITING_MAX: Final = 1024
"""Waiting pieces in one direction of one connection; beyond this its source is not read."""


@dataclass(slots=True)
class Way:
    """The faults of one direction. All rates are in 0..1; seconds are real ones."""

    latency_s: float = 0.0
    lose_rate: float = 0.0
    """Published messages only, as the next two."""
    repeat_rate: float = 0.0
    delay_rate: float = 0.0
    delay_s: float = 0.0
    """Delay of delayed messages; others overtake them."""
    passed: int = 0
    """Bytes written so far."""
    published: int = 0
    """Published messages so far; then the number of each fault."""
    lost: int = 0
    repeated: int = 0
    delayed: int = 0
    _flows: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._flows.set()

    @property
    def is_frozen(self) -> bool:
        """Whether nothing is read and nothing is written."""
        return not self._flows.is_set()

    def freeze(self) -> None:
        """Pass nothing until :meth:`thaw`; connections stay and are still accepted."""
        self._flows.clear()

    def thaw(self) -> None:
        """Continue; nothing was lost."""
        self._flows.set()

    def heal(self) -> None:
        """Pass everything at once from now on. The counts stay."""
        self.latency_s = self.delay_s = 0.0
        self.lose_rate = self.repeat_rate = self.delay_rate = 0.0
        self.thaw()

    async def flowing(self) -> None:
        """Return when it is not frozen."""
        await self._flows.wait()


class ChaosProxy:
    """A relay to one server on this machine, at :attr:`port`.

    Args:
        target: The server's port.
        seed: Seed of the random decisions.
        resp: Whether the server is a Redis whose published messages are distinguished.
    """

    def __init__(self, target: int, *, seed: int = 1, resp: bool = False) -> None:
        self.target = target
        """The target of new connections; it may be changed."""
        self.port = 0
        self.up: Final = Way()
        self.down: Final = Way()
        self.accepted = 0
        """Number of connections so far."""
        self.refuses = False
        """Whether new connections are closed."""
        self.unreadable: Final[list[str]] = []
        """Data of a server that is no RESP; its connection is cut."""
        self._chance: Final = random.Random(seed)
        self._resp = resp
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, and cut all connections."""
        assert self._server is not None
        self._server.close()
        for handler in list(self._handlers):
            handler.cancel()
        if self._handlers:
            await asyncio.wait(self._handlers)

    @property
    def connections(self) -> int:
        return len(self._pairs)

    @property
    def ways(self) -> tuple[Way, Way]:
        return self.up, self.down

    def freeze(self) -> None:
        """Accept, but pass nothing in either direction."""
        for way in self.ways:
            way.freeze()

    def thaw(self) -> None:
        """Pass what was held back, and all that follows."""
        for way in self.ways:
            way.thaw()

    def cut(self) -> int:
        """Reset all connections; return their number. New connections are served."""
        for pair in list(self._pairs):
            pair.abort()
        return len(self._pairs)

    def kill(self) -> None:
        """Reset all connections, and refuse new ones until :meth:`heal`."""
        self.refuses = True
        self.cut()

    def heal(self) -> None:
        """Pass everything unchanged from now on."""
        self.refuses = False
        for way in self.ways:
            way.heal()

    # ---- inner ----

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.accepted += 1
        try:
            if self.refuses:
                return
            with contextlib.suppress(OSError):  # no server listens there
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
                with _closed(far_writer):
                    await self._relay(_Pair(reader, writer, far_reader, far_writer))
        except asyncio.CancelledError:
            # the proxy ends; asyncio's server would report a cancelled handler as an error
            pass
        finally:
            writer.transport.abort()
            self._handlers.discard(task)

    async def _relay(self, pair: _Pair) -> None:
        frames = RespFrames() if self._resp else None
        up = _Lane(self.up, self._chance, None, pair.near_reader, pair.far_writer)
        down = _Lane(self.down, self._chance, frames, pair.far_reader, pair.near_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as tasks:
                pair.carriers = [tasks.create_task(self._carry(lane, pair)) for lane in (up, down)]
        finally:
            self._pairs.discard(pair)

    async def _carry(self, lane: _Lane, pair: _Pair) -> None:
        try:
            await lane.carry()
        except* OSError:
            pair.abort()
        except* ValueError as strange:
            self.unreadable.append(str(strange.exceptions[0]))
            pair.abort()


@dataclass(eq=False, slots=True)
class _Pair:
    near_reader: asyncio.StreamReader
    near_writer: asyncio.StreamWriter
    far_reader: asyncio.StreamReader
    far_writer: asyncio.StreamWriter
    carriers: list[asyncio.Task[None]] = field(default_factory=list)

    def abort(self) -> None:
        self.near_writer.transport.abort()
        self.far_writer.transport.abort()
        for carrier in self.carriers:
            carrier.cancel()


class _Lane:
    """One direction of one connection: pieces wait until they are due, then leave in that order."""

    def __init__(
        self,
        way: Way,
        chance: random.Random,
        frames: RespFrames | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._way, self._chance, self._frames = way, chance, frames
        self._reader, self._writer = reader, writer
        self._waiting: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._last_due = 0.0
        self._ended = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def carry(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leave())
            await self._arrive()

    async def _arrive(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await self._reader.read(CHUNK):
            await self._way.flowing()
            for piece in [data] if self._frames is None else self._frames.feed(data):
                self._take(piece, loop.time())
            while len(self._waiting) >= WAITING_MAX:
                self._room.clear()
                await self._room.wait()
        self._ended = True
        self._news.set()

    def _take(self, piece: bytes, now: float) -> None:
        way, chance = self._way, self._chance
        due = now + way.latency_s
        self._last_due = due = max(due, self._last_due)
        if self._frames is None or not is_published(piece):
            self._put(due, piece)
            return
        way.published += 1
        if way.lose_rate and chance.random() < way.lose_rate:
            way.lost += 1
            return
        if way.repeat_rate and chance.random() < way.repeat_rate:
            way.repeated += 1
            self._put(due, piece)
        if way.delay_rate and chance.random() < way.delay_rate:
            way.delayed += 1
            due += way.delay_s
        self._put(due, piece)

    def _put(self, due: float, piece: bytes) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (due, self._count, piece))
        self._news.set()

    async def _leave(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or not self._ended:
            wait_s = self._waiting[0][0] - loop.time() if self._waiting else None
            if wait_s is not None and wait_s <= 0:
                await self._way.flowing()
                await self._write(heapq.heappop(self._waiting)[2])
                continue
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
        if self._writer.can_write_eof() and not self._writer.is_closing():
            self._writer.write_eof()

    async def _write(self, piece: bytes) -> None:
        self._room.set()
        self._writer.write(piece)
        self._way.passed += len(piece)
        await self._writer.drain()


@contextlib.contextmanager
def _closed(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.transport.abort()
