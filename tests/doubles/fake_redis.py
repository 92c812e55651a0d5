"""How does an adapter reach the Redis of Python, in this process and on the test's clock?

`fakeredis` keeps and decides; what goes between is bytes, as on a real connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final

import redis.asyncio
from fakeredis import FakeServer
from fakeredis.aioredis import AsyncFakeSocket
from redis.exceptions import NoScriptError

from gateway.bus.address import Place
from gateway.bus.wire import Wire


class FakeRedis:
    """A server; its :meth:`dial` connects.

    Attributes:
        is_away: Whether nobody listens.
        transports: The open connections, in the order of their begin.
    """

    def __init__(self) -> None:
        self.is_away = False
        self.transports: Final[list[MemoryTransport]] = []
        self._server = FakeServer(version=(7, 2), server_type="redis")

    async def dial(self, wire: Wire, place: Place, tls: ssl.SSLContext | None) -> None:
        """Connect *wire*."""
        if self.is_away:
            raise ConnectionRefusedError
        transport = MemoryTransport(wire, self.transports.remove)
        self.transports.append(transport)
        side = _Side(self._server, 0, client_class=redis.asyncio.Redis)
        side.answer = transport.feed
        transport.peer = side.sendall
        transport.ended = side.close
        wire.connection_made(transport)

    def cut(self) -> None:
        """Break every connection."""
        for transport in list(self.transports):
            transport.abort()


class MemoryTransport(asyncio.Transport):
    """A connection without a network. *peer* is told what is written; :meth:`feed` is the way back.

    Attributes:
        written: All that was written, one item for each write.
    """

    def __init__(self, wire: Wire, gone: Callable[[MemoryTransport], None] = lambda _: None) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.peer: Callable[[bytes], object] = lambda _: None
        self.ended: Callable[[], object] = lambda: None
        self.unsent_bytes = 0
        self._wire = wire
        self._gone = gone
        self.is_open = True

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Tell the peer, in a later turn."""
        self.written.append(bytes(data))
        asyncio.get_running_loop().call_soon(self._tell, bytes(data))

    def feed(self, data: bytes) -> None:
        """Let the wire receive *data*, in a later turn."""
        asyncio.get_running_loop().call_soon(self._deliver, data)

    def close(self) -> None:
        """End it."""
        self.abort()

    def abort(self) -> None:
        """End it; the wire hears of it in a later turn."""
        if self.is_open:
            self.is_open = False
            self._gone(self)
            self.ended()
            asyncio.get_running_loop().call_soon(self._wire.connection_lost, None)

    def get_write_buffer_size(self) -> int:
        """Return what a test says."""
        return self.unsent_bytes

    def _tell(self, data: bytes) -> None:
        if self.is_open:
            self.peer(data)

    def _deliver(self, data: bytes) -> None:
        if self.is_open:
            self._wire.data_received(data)


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
        case NoScriptError():  # its parser took the first word off
            return f"-NOSCRIPT {value}\r\n".encode()
        case Exception():
            return f"-{value}\r\n".encode()
        case _:
            return _resp(str(value).encode())
