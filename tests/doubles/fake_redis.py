"""The Redis of Python in this process, on the test's clock.

`fakeredis` stores and decides; requests and replies are bytes, as on a real connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import redis.asyncio
from fakeredis import FakeServer
from fakeredis.aioredis import AsyncFakeSocket
from redis.asyncio import Connection
from redis.exceptions import NoScriptError

from gateway.bus import Endpoint


def memory_connections(
    dial: Callable[[asyncio.Protocol, Endpoint], Awaitable[MemoryTransport]],
) -> type[Connection]:
    """Return redis-py's connection over the transport of *dial*; only the network is not the real one."""

    class MemoryConnection(Connection):
        async def _connect(self) -> None:
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport = await dial(protocol, Endpoint(self.host, self.port))
            protocol.connection_made(transport)
            self._reader = reader
            self._writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())

    return MemoryConnection


class FakeRedis:
    """A server.

    Attributes:
        connections: Connect to it, whatever their address.
        is_away: Whether it refuses connections.
        transports: The open connections, in the order of their begin.
    """

    def __init__(self) -> None:
        self.connections: Final = memory_connections(self._dial)
        self.is_away = False
        self.transports: Final[list[MemoryTransport]] = []
        self._server = FakeServer(version=(7, 2), server_type="redis")

    async def _dial(self, protocol: asyncio.Protocol, _: Endpoint) -> MemoryTransport:
        if self.is_away:
            raise ConnectionRefusedError
        transport = MemoryTransport(protocol, self.transports.remove)
        self.transports.append(transport)
        side = _Side(self._server, 0, client_class=redis.asyncio.Redis)
        side.answer = transport.feed
        transport.peer = side.sendall
        transport.ended = side.close
        return transport

    def cut(self) -> None:
        for transport in list(self.transports):
            transport.abort()


class MemoryTransport(asyncio.Transport):
    """A connection without a network. *peer* receives what is written; :meth:`feed` is the way back.

    Attributes:
        written: All writes, one item for each.
        was_aborted: Whether it was ended without sending the unsent bytes.
    """

    def __init__(
        self, protocol: asyncio.Protocol, gone: Callable[[MemoryTransport], None] = lambda _: None
    ) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.peer: Callable[[bytes], object] = lambda _: None
        self.ended: Callable[[], object] = lambda: None
        self._protocol = protocol
        self._unsent: list[bytes] | None = None
        self._gone = gone
        self.is_open = True
        self.was_aborted = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Pass *data* to the peer, in a later turn; keep it while the simulated kernel accepts no more."""
        if self._unsent is not None:
            self._unsent.append(bytes(data))
            return
        self.written.append(bytes(data))
        asyncio.get_running_loop().call_soon(self._tell, bytes(data))

    def is_closing(self) -> bool:
        return not self.is_open

    def choke(self) -> None:
        """Let the simulated kernel accept no more."""
        self._unsent = []
        self._protocol.pause_writing()

    def breathe(self) -> None:
        """Let the simulated kernel accept more again."""
        unsent, self._unsent = self._unsent or [], None
        for data in unsent:
            self.write(data)
        self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that the kernel has not accepted."""
        return sum(map(len, self._unsent or ()))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def resume_reading(self) -> None:
        """Do nothing: it is never paused."""

    def feed(self, data: bytes) -> None:
        """Let the connection receive *data*, in a later turn."""
        asyncio.get_running_loop().call_soon(self._deliver, data)

    def close(self) -> None:
        """End it after the unsent bytes."""
        self._end(None)

    def abort(self) -> None:
        """End it now; the protocol is informed in a later turn."""
        self.was_aborted = self.was_aborted or self.is_open
        self._end(None)

    def hang_up(self) -> None:
        """Let the connection receive the end of the stream, in a later turn."""
        asyncio.get_running_loop().call_soon(self._protocol.eof_received)

    def breaks(self, error: OSError) -> None:
        """End it like a broken network."""
        self._end(error)

    def _end(self, error: OSError | None) -> None:
        if self.is_open:
            self.is_open = False
            self._gone(self)
            self.ended()
            asyncio.get_running_loop().call_soon(lambda: self._protocol.connection_lost(error))

    def _tell(self, data: bytes) -> None:
        if self.is_open:
            self.peer(data)

    def _deliver(self, data: bytes) -> None:
        if self.is_open:
            self._protocol.data_received(data)


class _Side(AsyncFakeSocket):
    """The server's end of a connection."""

    answer: Callable[[bytes], None]

    def put_response(self, msg: object) -> None:
        self.answer(_resp(msg))


def _resp(value: object) -> bytes:
    match value:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % value
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(value), value)
        case list() | tuple():
            return b"*%d\r\n%s" % (len(value), b"".join(map(_resp, value)))
        case NoScriptError():  # its parser has removed the first word
            return f"-NOSCRIPT {value}\r\n".encode()
        case Exception():
            return f"-{value}\r\n".encode()
        case _:
            return _resp(str(value).encode())
