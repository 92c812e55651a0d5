"""Who answers when what came is no request that any handler could be asked?

aiohttp would: it repeats what was sent, a token among it, names its own version and Python's, and writes an
error into the log for every such request of anybody. Here all listeners answer in the gateway's words, and
write nothing down that anybody outside can bring about. aiohttp's private parts are touched for that.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, cast

from aiohttp import hdrs, web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.callers import HEAD_S, Callers
from gateway.edge.problems import problem
from gateway.edge.visitors import HEADERS, NAME
from gateway.runtime.faults import place

FAREWELL_S: Final = 2.0
"""How long requests under way may take once the listener closes."""
LINGER_S: Final = 2.0
"""How long is read, and thrown away, what still comes of a request that has its answer."""

TAKE_S: Final = 30.0
TAKE_BYTES: Final = 16 * 1024
"""So much at least of what waits for him a caller takes each time, or all; else the connection ends."""

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
    """

    __slots__ = ("_patience",)

    _patience: asyncio.TimerHandle | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`, as all below."""
        self._patience = None
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """Begin to wait for him to take something."""
        super().pause_writing()
        self._end_patience()
        self._wait()

    def resume_writing(self) -> None:
        """Wait no more."""
        self._end_patience()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget him."""
        self._end_patience()
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
            _LOG.error("a request failed: %s", place(exc))
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        code = ErrorCode.BAD_REQUEST if status < 500 else ErrorCode.INTERNAL
        told = problem(GatewayError(code, "This is no request that can be served."), status=status)
        told.headers.update(HEADERS)
        told.headers[hdrs.SERVER] = NAME
        told.force_close()
        return told

    def _wait(self) -> None:
        if self.transport is not None:
            left_bytes = self.transport.get_write_buffer_size()
            self._patience = self._loop.call_later(TAKE_S, self._look, left_bytes)

    def _look(self, before_bytes: int) -> None:
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size() > before_bytes - TAKE_BYTES:
            self.transport.abort()
        else:
            self._wait()

    def _end_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def _has_left(request: web.BaseRequest, exc: BaseException) -> bool:
    """Whether nothing failed but that whoever asked is there no more."""
    is_gone = request.transport is None or request.transport.is_closing()
    return is_gone and isinstance(exc, ConnectionError)
