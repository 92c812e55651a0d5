"""Scripted Redis server, for tests that need each reply in their hands."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import hiredis

from gateway.bus import Endpoint, parse_url
from gateway.bus.connect import Connector
from gateway.bus.redis import RedisClient, RedisLimits
from tests.doubles.clock import ManualClock
from tests.doubles.fake_redis import MemoryTransport, memory_connections
from tests.doubles.tasks import during

Words = tuple[bytes, ...]
Answer = Callable[[Words], bytes | None]
OK: Final = b"+OK\r\n"
PONG: Final = b"+PONG\r\n"
NO_SUCH: Final = b"-ERR unknown command\r\n"


def usual(words: Words) -> bytes | None:
    """Let everybody in, and say nothing of what comes then."""
    match words[0].upper():
        case b"PING":
            return PONG
        case b"AUTH" | b"SELECT" | b"CLIENT":
            return OK
        case b"ROLE":
            return b"*1\r\n$6\r\nmaster\r\n"
    return None


class Peer:
    """A server that answers as *answer* says; None: nothing, until the test does with :meth:`say`.

    Attributes:
        connections: Connect to it.
        received: Every command of the last connection.
        places: Where each connection led.
        fault: Raised instead of connecting.
        is_silent: Connecting takes for ever.
    """

    def __init__(self, answer: Answer = usual) -> None:
        self.connections: Final = memory_connections(self.dial)
        self.answer = answer
        self.received: list[Words] = []
        self.places: list[Endpoint] = []
        self.fault: Exception | None = None
        self.is_silent = False
        self.transports: list[MemoryTransport] = []
        self._gone: deque[MemoryTransport] = deque()

    async def dial(self, protocol: asyncio.Protocol, place: Endpoint) -> MemoryTransport:
        """Connect."""
        self.places.append(place)
        if self.fault is not None:
            raise self.fault
        if self.is_silent:
            await asyncio.Event().wait()
        return self.connected(protocol, self._says)

    def _says(self, words: Words) -> bytes | None:
        return self.answer(words)

    def connected(self, protocol: asyncio.Protocol, answer: Answer) -> MemoryTransport:
        """Begin a connection on which *answer* answers."""
        self.received = []
        transport = MemoryTransport(protocol, self._gone.append)
        self.transports.append(transport)
        reader = hiredis.Reader()
        transport.peer = lambda data: self._read(transport, reader, answer, data)
        return transport

    @property
    def transport(self) -> MemoryTransport:
        """The last connection."""
        return self.transports[-1]

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self.transports) - len(self._gone)

    def say(self, data: bytes) -> None:
        """Send *data* over the last connection."""
        self.transport.feed(data)

    def asked(self, verb: bytes) -> list[Words]:
        """Return the commands of the last connection that begin with *verb*."""
        return [words for words in self.received if words[0] == verb]

    def _read(self, transport: MemoryTransport, reader: hiredis.Reader, answer: Answer, data: bytes) -> None:
        reader.feed(data)
        while (frame := reader.gets()) is not False:
            words = tuple(frame)
            self.received.append(words)
            said = answer(words)
            if said is not None:
                transport.feed(said)


def connector(peer: Peer, clock: ManualClock, url: str = "redis://h") -> Connector:
    """Return a connector to *peer*."""
    return Connector(parse_url(url), clock, connections=peer.connections)


@asynccontextmanager
async def client_of(peer: Peer, clock: ManualClock) -> AsyncIterator[RedisClient]:
    """Run a client of *peer*."""
    line = RedisClient(connector(peer, clock), clock, lambda: 0.5, RedisLimits())
    async with during(line.run()):
        yield line
