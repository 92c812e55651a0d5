"""Who answers when what came is no request that any handler could be asked?

aiohttp would: it repeats what was sent, a token among it, names its own version and Python's, and writes an
error into the log for every such request of anybody. Here all listeners answer in the gateway's words, and
write nothing down that anybody outside can bring about. aiohttp's private parts are touched for that.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
import sys
import termios
from typing import Final, cast

from aiohttp import StreamReader, hdrs, web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.callers import HEAD_S, Callers
from gateway.edge.problems import problem
from gateway.edge.visitors import HEADERS, NAME
from gateway.runtime.faults import log_fault

FAREWELL_S: Final = 2.0
"""How long requests under way may take once the listener closes."""
LINGER_S: Final = 2.0
"""How long is read, and thrown away, what still comes of a request that has its answer."""

TAKE_S: Final = 60.0
TAKE_BYTES: Final = 16 * 1024
"""So much at least of what waits for him a caller takes each time, or all; else the connection ends. A kernel
acknowledges up to 100 KB at once, and then nothing until that is read: half a minute at 3 KB/s."""

HEAD_BYTES: Final = 16 * 1024
"""The head of a request, all of it: aiohttp bounds only each line, and keeps up to 1 MB of a head without
end."""
_PIECE_BYTES: Final = 1024
"""How exactly a head is measured that comes together with other things."""
_FRAMING_BYTES: Final = 64 * 1024
"""What may come of one body beside the body itself: the framing of chunks, and trailers."""
_HEAD_TOO_LARGE: Final = 431
"""RFC 6585 §5."""

_ACKED: Final = struct.Struct("=120xQ")
"""``tcpi_bytes_acked`` in Linux's ``struct tcp_info``."""
_QUEUED: Final = struct.Struct("=i")

_LOG: Final = logging.getLogger(__name__)


class DoorRunner(web.AppRunner):
    """Runs an application without an access log, which would name people.

    Args:
        app: The application.
        callers: Bounds how many connections wait.
    """

    __slots__ = ("_callers",)

    def __init__(self, app: web.Application, callers: Callers) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=FAREWELL_S,
            keepalive_timeout=HEAD_S,
            lingering_time=LINGER_S,
        )
        self._callers = callers

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Door  # its maker offers no way to name the class
        door = cast(_Door, server)
        door.callers = self._callers
        return door


class _Door(web.Server):
    """Makes what serves each connection, and tells who is there."""

    callers: Callers

    def __call__(self) -> web.RequestHandler:
        return _Speaker(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.callers.came(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self.callers.left(handler)
        super().connection_lost(handler, exc)


class _Speaker(web.RequestHandler):
    """Serves one connection.

    Invariant: whoever asks and does not take the answers ("slow read") is let go, as is who does not ask.
    What he has taken is what his kernel has acknowledged: buffers here empty in lumps of hundreds of
    kilobytes, and those of TLS tell nothing. It is looked at until the connection is lost or upgraded:
    while it closes, too, and aiohttp knows its transport no more.
    """

    __slots__ = ("_body", "_body_bytes", "_head_bytes", "_heads", "_held", "_patience")

    _patience: asyncio.TimerHandle
    _head_bytes: int
    """What has come of a head that has not ended, or of a body beside the body itself."""
    _heads: int
    """How many heads had ended when that was counted last."""
    _body: StreamReader | None
    """The body of the last request, which what comes may belong to."""
    _body_bytes: int
    """What has come of it."""
    _held: bytes
    """What came while so many requests wait that no more are read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`, as all below."""
        self._wait(cast(asyncio.Transport, transport), 0, 0)
        self._head_bytes = self._heads = self._body_bytes = 0
        self._body, self._held = None, b""
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take in what came; a head that is too large is refused before its end."""
        if self._close or self._force_close:
            return
        if not data:  # aiohttp itself, to go on with what waits
            super().data_received(data)
            self._is_too_large(0)
        data, self._held = self._held + data, b""
        for start in range(0, len(data), _PIECE_BYTES):
            if self._reading_paused or len(self._messages) >= self._max_msg_queue_size:
                self._held = data[start:]
                return
            piece = data[start : start + _PIECE_BYTES]
            super().data_received(piece)
            if self._is_too_large(len(piece)):
                self._refuse_head()
                return

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget him."""
        self._patience.cancel()
        super().connection_lost(exc)

    async def start(self) -> None:
        """Serve what comes; nothing, when the caller was sent away before his first turn."""
        if self._manager is not None:
            await super().start()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's words repeat what was sent
    ) -> web.StreamResponse:
        """Answer what cannot be read, or what no handler caught, and close the connection.

        Raises:
            ConnectionError: An answer has begun already.
        """
        if status >= 500 and exc is not None and not _has_left(request, exc):
            log_fault(_LOG, "request_failed", exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        code = ErrorCode.BAD_REQUEST if status < 500 else ErrorCode.INTERNAL
        told = problem(GatewayError(code, "This is no request that can be served."), status=status)
        told.headers.update(HEADERS)
        told.headers[hdrs.SERVER] = NAME
        told.force_close()
        return told

    def _is_too_large(self, came_bytes: int) -> bool:
        """Count what came as a part of a head, or of what surrounds a body; return whether it is too much."""
        if self._request_count != self._heads:
            self._heads, self._head_bytes, self._body_bytes = self._request_count, 0, 0
            self._body = self._messages[-1][1] if self._messages else None
            return False
        body = self._body
        if body is None or body.is_eof():
            self._head_bytes += 0 if self._upgraded else came_bytes
            return self._head_bytes > HEAD_BYTES
        self._head_bytes += max(0, came_bytes - (body.total_bytes - self._body_bytes))
        self._body_bytes = body.total_bytes
        return self._head_bytes > _FRAMING_BYTES

    def _refuse_head(self) -> None:
        """Answer 431 and let what still comes be thrown away; behind other requests only close after them."""
        transport, is_idle = self.transport, self._current_request is None and not self._messages
        self._head_bytes = 0
        self.close()
        if transport is not None and is_idle:
            transport.write(_HEAD_REFUSED)
            self._loop.call_later(LINGER_S, transport.close)

    def _wait(self, transport: asyncio.Transport, acked_bytes: int, owed_bytes: int) -> None:
        self._patience = self._loop.call_later(TAKE_S, self._look, transport, acked_bytes, owed_bytes)

    def _look(self, transport: asyncio.Transport, acked_before: int, owed_before: int) -> None:
        measured = _measured(transport)
        if measured is None:
            return
        acked_bytes, owed_bytes = measured
        if acked_bytes - acked_before < min(TAKE_BYTES, owed_before):
            transport.abort()
        else:
            self._wait(transport, acked_bytes, owed_bytes)


def _head_refused() -> bytes:
    """Return the answer to a head that is too large, as it is sent."""
    told = problem(
        GatewayError(ErrorCode.BAD_REQUEST, "The head of the request is larger than 16 KiB."),
        status=_HEAD_TOO_LARGE,
    )
    told.headers.update(HEADERS)
    told.headers[hdrs.SERVER] = NAME
    told.headers[hdrs.CONNECTION] = "close"
    assert isinstance(told.body, bytes)  # noqa: S101 - problem() wrote it
    told.headers[hdrs.CONTENT_LENGTH] = str(len(told.body))
    lines = [f"HTTP/1.1 {_HEAD_TOO_LARGE} Request Header Fields Too Large"]
    lines += [f"{name}: {value}" for name, value in told.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + told.body


_HEAD_REFUSED: Final = _head_refused()


def _measured(transport: asyncio.Transport) -> tuple[int, int] | None:
    """Return how many bytes the peer has acknowledged since he came, and how many he has still to.

    Under TLS some of what waits here is not seen; then the kernel's queue is full, and counts. Who is to
    say good-bye owes a byte for it.

    None where the kernel does not tell: on other systems, and of Unix sockets, whose peer is of this machine.
    The size of the buffers would be no substitute: by that, honest callers would go.
    """
    raw = transport.get_extra_info("socket")
    if sys.platform != "linux" or raw is None:
        return None
    try:
        (acked_bytes,) = _ACKED.unpack(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size))
        (queued_bytes,) = _QUEUED.unpack(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(_QUEUED.size)))
    except (OSError, ValueError, struct.error):
        return None  # no TCP, closed already, or a kernel from before 2015
    return acked_bytes, queued_bytes + transport.get_write_buffer_size() + transport.is_closing()


def _has_left(request: web.BaseRequest, exc: BaseException) -> bool:
    """Whether nothing failed but that whoever asked is there no more."""
    is_gone = request.transport is None or request.transport.is_closing()
    return is_gone and isinstance(exc, ConnectionError)
