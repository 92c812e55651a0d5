"""HTTP servers: the application for clients, the ops application, and the runner of all listeners.

aiohttp's own answers quote the request, with tokens in it. They name the versions of aiohttp and Python, and
a line is logged for each malformed request. All listeners replace these answers, and log nothing that an
unauthenticated client can cause. This needs private attributes of aiohttp.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import math
import socket
import struct
import sys
import termios
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import StreamReader, hdrs, web

from gateway.core.rate_limits import KeyedRates
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.credentials import BearerAuth
from gateway.edge.handshake import TRANSPORTS, EdgeParts, Login, RealtimeRoute
from gateway.edge.limits import (
    BURSTS,
    HEAD_S,
    PENDING_CONNECTIONS,
    REQUEST_RATES,
    PendingConnections,
    RequestRates,
)
from gateway.edge.request_context import HEADERS, SERVER_NAME, RequestContext, problem, problems, reword
from gateway.edge.routes import PublicRoutes, SessionRoutes, WebClient
from gateway.protocol.bodies import BODY_BYTES_MAX
from gateway.runtime.event_loop import EpollTransports, log_fault
from gateway.telemetry import Families, written

SHUTDOWN_S: Final = 2.0
"""Time for open requests once the listener closes."""
LINGER_S: Final = 2.0
"""Time for which the rest of an answered request is read and discarded."""

TAKE_S: Final = 60.0
TAKE_BYTES: Final = 16 * 1024
"""A client must acknowledge at least this much of a response in each interval, or everything; else the
connection is closed. A kernel acknowledges up to 100 KB at once, and then nothing until that is read: 30 s at
3 KB/s."""

HEAD_BYTES: Final = 16 * 1024
"""Limit of the whole head of a request: aiohttp limits only each line, and a head to 1 MB."""
_PIECE_BYTES: Final = 1024
"""Largest step in which received data are counted. What follows another request in one is not counted."""
_FRAMING_BYTES: Final = 64 * 1024
"""Limit of the bytes around a body: the framing of chunks, and trailers."""
_HEAD_TOO_LARGE: Final = 431
"""RFC 6585 §5."""
_EXPECTATION_FAILED: Final = 417
_CANNOT_SERVE: Final = "This request is malformed or cannot be served."

_ACKED: Final = struct.Struct("=120xQ")
"""``tcpi_bytes_acked`` in Linux's ``struct tcp_info``."""
_QUEUED: Final = struct.Struct("=i")

_LOG: Final = logging.getLogger(__name__)


class ListenerRunner(web.AppRunner):
    """Runner of an application without an access log, which would contain personal data.

    Bodies stay compressed: otherwise aiohttp would decompress also what is refused and discarded.
    """

    __slots__ = ("_pending",)

    def __init__(self, app: web.Application, pending: PendingConnections) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=SHUTDOWN_S,
            keepalive_timeout=HEAD_S,
            lingering_time=LINGER_S,
            auto_decompress=False,
        )
        self._pending = pending

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _CountingServer  # aiohttp has no public way to choose the class
        counting = cast(_CountingServer, server)
        counting.pending = self._pending
        return counting


class _CountingServer(web.Server):
    """Server that counts its connections."""

    pending: PendingConnections

    def __call__(self) -> web.RequestHandler:
        return _HttpConnection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.pending.opened(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self.pending.closed(handler)
        super().connection_lost(handler, exc)


class _HttpConnection(web.RequestHandler):
    """Handler of the requests of one connection.

    Invariant: a client that does not read responses ("slow read"), or sends no request, is disconnected. The
    bytes that the client's kernel has acknowledged count: the buffers here empty in steps of hundreds of KB,
    and those of TLS are not visible. The check runs until the connection is lost or upgraded, also while it
    closes.
    """

    __slots__ = ("_body", "_body_bytes", "_head_bytes", "_heads", "_held_bytes", "_read_timer")

    _read_timer: asyncio.TimerHandle
    _head_bytes: int
    """Received bytes of an incomplete head, or around a body."""
    _heads: int
    """Number of complete heads at the last count."""
    _body: StreamReader | None
    """The body of the last request, as long as it is incomplete."""
    _body_bytes: int
    """Received bytes of that body."""
    _held_bytes: bytes
    """Data received while the queue of requests is full."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`, as all below."""
        self._start_read_timer(cast(asyncio.Transport, transport), 0, 0)
        self._head_bytes = self._heads = self._body_bytes = 0
        self._body, self._held_bytes = None, b""
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Handle received data. A head that is too large is refused before its end."""
        if self._close or self._force_close:
            return
        if not data:  # called by aiohttp itself, to continue with waiting data
            self._parse(data)
            self._is_too_large(0)
        data, self._held_bytes = self._held_bytes + data, b""
        start = 0
        while start < len(data):
            if self._reading_paused or len(self._messages) >= self._max_msg_queue_size:
                self._held_bytes = data[start:]
                return
            piece = data[start : start + self._piece_bytes()]
            start += len(piece)
            if not self._parse(piece):
                return
            if self._is_too_large(len(piece)):
                self._refuse(_HEAD_REFUSED)
                return

    def _piece_bytes(self) -> int:
        """Return how many bytes are counted next: no more than a head of the limit has left."""
        return _PIECE_BYTES if self._body is not None else min(_PIECE_BYTES, HEAD_BYTES - self._head_bytes)

    def _parse(self, data: bytes) -> bool:
        """Pass *data* to aiohttp, which raises for some targets that are no addresses: False then."""
        try:
            super().data_received(data)
        except (LookupError, ValueError):
            self._refuse(_MALFORMED)
            return False
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timer."""
        self._read_timer.cancel()
        super().connection_lost(exc)

    async def start(self) -> None:
        """Serve requests, unless the connection was closed before its first turn.

        aiohttp raises for a target whose host is no name, and would leave the connection open for good.
        """
        if self._manager is None:
            return
        try:
            await super().start()
        except Exception as fault:  # noqa: BLE001 - whatever it was, the connection has to end
            if not isinstance(fault, ValueError):
                log_fault(_LOG, "request_failed", fault)
            if self.transport is not None:
                self.transport.write(_MALFORMED)
                self.transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's text repeats what was sent
    ) -> web.StreamResponse:
        """Answer a request that cannot be parsed or has failed, and close the connection.

        Raises:
            ConnectionError: A response has begun already.
        """
        if isinstance(exc, UnicodeEncodeError) and hdrs.EXPECT in request.headers:
            exc, status = None, _EXPECTATION_FAILED  # aiohttp's own text repeats it, and it is no text
        if status >= 500 and exc is not None and not _has_left(request, exc):
            log_fault(_LOG, "request_failed", exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        code = ErrorCode.BAD_REQUEST if status < 500 else ErrorCode.INTERNAL
        response = problem(GatewayError(code, _CANNOT_SERVE), status=status)
        response.headers.update(HEADERS)
        response.headers[hdrs.SERVER] = SERVER_NAME
        response.force_close()
        return response

    def log_exception(self, *args: object, **keywords: object) -> None:
        """Log a fault outside a request. A discarded body that cannot be read is the client's fault."""
        if not isinstance(keywords.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **keywords)

    def _is_too_large(self, came_bytes: int) -> bool:
        """Count received bytes of a head, or around a body. Return whether there are too many."""
        if self._request_count != self._heads:
            self._heads, self._head_bytes, self._body_bytes = self._request_count, 0, 0
            cast(_CountingServer, self._manager).pending.head_received(self)
            body = self._messages[-1][1] if self._messages else None
            self._body = None if body is None or body.is_eof() else body
            return False
        body = self._body
        if body is None:
            self._head_bytes += 0 if self._upgraded else came_bytes
            return self._head_bytes >= HEAD_BYTES
        self._head_bytes += max(0, came_bytes - (body.total_bytes - self._body_bytes))
        self._body_bytes = body.total_bytes
        if body.is_eof():
            self._body, self._head_bytes = None, 0
        return self._head_bytes > _FRAMING_BYTES

    def _refuse(self, answer: bytes) -> None:
        """Write *answer* and discard the rest. After other requests, only close the connection."""
        transport, is_idle = self.transport, self._current_request is None and not self._messages
        self._head_bytes = 0
        self.close()
        if transport is not None and is_idle:
            transport.write(answer)
            self._loop.call_later(LINGER_S, transport.close)

    def _start_read_timer(self, transport: asyncio.Transport, acked_bytes: int, owed_bytes: int) -> None:
        self._read_timer = self._loop.call_later(
            TAKE_S, self._check_progress, transport, acked_bytes, owed_bytes
        )

    def _check_progress(self, transport: asyncio.Transport, acked_before: int, owed_before: int) -> None:
        measured = _measured(transport)
        if measured is None:
            return
        acked_bytes, owed_bytes = measured
        if acked_bytes - acked_before < min(TAKE_BYTES, owed_before):
            transport.abort()
        else:
            self._start_read_timer(transport, acked_bytes, owed_bytes)


def _refusal(status: int, reason: str, text: str) -> bytes:
    """Return the response to a request that reaches no handler, as bytes. The connection ends with it."""
    response = problem(GatewayError(ErrorCode.BAD_REQUEST, text), status=status)
    response.headers.update(HEADERS)
    response.headers[hdrs.SERVER] = SERVER_NAME
    response.headers[hdrs.CONNECTION] = "close"
    assert isinstance(response.body, bytes)  # noqa: S101 - problem() wrote it
    response.headers[hdrs.CONTENT_LENGTH] = str(len(response.body))
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + response.body


_HEAD_REFUSED: Final = _refusal(
    _HEAD_TOO_LARGE, "Request Header Fields Too Large", "The head of the request is larger than 16 KiB."
)
_MALFORMED: Final = _refusal(400, "Bad Request", _CANNOT_SERVE)


def _measured(transport: asyncio.Transport) -> tuple[int, int] | None:
    """Return how many bytes the peer has acknowledged in all, and how many are outstanding.

    With TLS some of what waits here is not visible; then the kernel's queue is full, and counts. A closing
    connection counts as one outstanding byte.

    None where the kernel has no such figures: on other systems, and for Unix sockets, whose peer is local.
    The size of the buffers is no substitute: it would disconnect clients that behave.
    """
    raw = transport.get_extra_info("socket")
    if sys.platform != "linux" or raw is None:
        return None
    try:
        (acked_bytes,) = _ACKED.unpack(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size))
        (queued_bytes,) = _QUEUED.unpack(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(_QUEUED.size)))
    except (OSError, ValueError, struct.error):
        return None  # no TCP, closed already, or a kernel older than 2015
    return acked_bytes, queued_bytes + transport.get_write_buffer_size() + transport.is_closing()


def _has_left(request: web.BaseRequest, exc: BaseException) -> bool:
    """Return whether the error only means that the client has left."""
    is_gone = request.transport is None or request.transport.is_closing()
    return is_gone and isinstance(exc, ConnectionError)


_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS: Final = "application/openmetrics-text"
_OPENMETRICS_TYPE: Final = f"{_OPENMETRICS}; version=1.0.0; charset=utf-8"
"""The exposition format of Prometheus."""

FRESH_S: Final = 1.0
"""Time for which collected metrics are reused."""

Check = Callable[[], str | None]
"""Returns what is wrong, in a few words, or None."""


@dataclass(frozen=True, slots=True)
class OpsParts:
    """Dependencies of the ops application.

    *measure* collects the metrics, or raises TimeoutError when the event loop of phones is busy. *now*
    returns monotonic seconds.
    """

    live: Check
    ready: Check
    started: Check
    measure: Callable[[], Awaitable[Families]]
    now: Callable[[], float]


class MetricsPage:
    """Page of metrics, made at most once in :data:`FRESH_S`.

    Requests during that time get the same page, or the same error.

    *has_exemplars*: it is written as OpenMetrics, with exemplars.
    """

    def __init__(self, parts: OpsParts, *, has_exemplars: bool) -> None:
        self._parts = parts
        self._has_exemplars = has_exemplars
        self.content_type: Final = _OPENMETRICS_TYPE if has_exemplars else _METRICS_TYPE
        self._made_at = -math.inf
        self._page: bytes | None = None
        self._making = asyncio.Lock()

    async def page(self) -> bytes:
        """Return the page.

        Raises:
            TimeoutError: The event loop of phones is busy.
        """
        async with self._making:
            if self._parts.now() - self._made_at >= FRESH_S:
                self._page = None
                with suppress(TimeoutError):
                    self._page = written(await self._parts.measure(), has_exemplars=self._has_exemplars)
                self._made_at = self._parts.now()
            if self._page is None:
                raise TimeoutError
            return self._page


def make_ops_app(parts: OpsParts) -> web.Application:
    """Return the application of the ops listener."""
    app = web.Application(client_max_size=0)
    app.on_response_prepare.append(_replace_server_header)
    app.on_response_prepare.append(reword)
    pages = {asked: MetricsPage(parts, has_exemplars=asked) for asked in (False, True)}

    async def metrics(request: web.Request) -> web.Response:
        page = pages[_OPENMETRICS in request.headers.get(hdrs.ACCEPT, "")]
        try:
            return web.Response(body=await page.page(), headers={hdrs.CONTENT_TYPE: page.content_type})
        except TimeoutError:
            return web.Response(text="the event loop is busy\n", status=503)

    app.router.add_get("/livez", _health(parts.live))
    app.router.add_get("/readyz", _health(parts.ready))
    app.router.add_get("/startupz", _health(parts.started))
    app.router.add_get("/metrics", metrics)
    return app


async def _replace_server_header(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - aiohttp asks so
    """Replace the `Server` header, which contains versions."""
    response.headers[hdrs.SERVER] = SERVER_NAME


def _health(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def serve(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
        wrong = check()
        return web.Response(
            text="ok\n" if wrong is None else f"{wrong}\n",
            status=200 if wrong is None else 503,
            headers={hdrs.CACHE_CONTROL: "no-store"},
        )

    return serve


def make_app(parts: EdgeParts) -> web.Application:
    """Return the application of the client listener.

    Run it without an access log, which would contain personal data, and without cancelling handlers whose
    client has left, as a log-on or log-off must not be interrupted.
    """
    context = RequestContext(parts.settings)
    bearer = BearerAuth(parts.tokens, parts.node.denied, parts.clock, grace_s=parts.settings.log_off_grace_s)
    parts.telemetry.unhelloed_connections.set_function(lambda: parts.admission.unhelloed)
    parts.telemetry.connections_limit.set(parts.settings.admission.connections)
    rates = RequestRates(parts.settings.admission, bearer, context, parts.clock)
    parts.telemetry.registry_size["requesters"].set_function(lambda: len(rates))
    app = web.Application(
        middlewares=[problems, rates.limit_rate, context.check_origin], client_max_size=BODY_BYTES_MAX
    )
    app[REQUEST_RATES] = rates
    app[TRANSPORTS] = EpollTransports(now=parts.clock.now)
    admission = parts.settings.admission
    app[PENDING_CONNECTIONS] = pending = PendingConnections(
        BURSTS * admission.handshakes_burst,
        BURSTS * admission.handshakes_burst_of_address,
        parts.settings.trusted_proxies,
        KeyedRates(
            BURSTS * admission.handshakes_per_s_of_address,
            BURSTS * admission.handshakes_burst_of_address,
            keys_max=admission.addresses,
        ),
    )
    parts.telemetry.registry_size["callers"].set_function(lambda: len(pending))
    app.on_response_prepare.append(context.add_headers)
    app.on_response_prepare.append(reword)
    app.add_routes(PublicRoutes(parts.settings, parts.notices, context).routes())
    app.add_routes(SessionRoutes(parts, Login(parts), bearer, context).routes())
    app.add_routes(RealtimeRoute(parts, bearer, context).routes())
    app.add_routes(WebClient().routes())
    return app
