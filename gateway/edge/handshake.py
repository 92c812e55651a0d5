"""WebSocket handshake: the checks before the upgrade, and the take-over of the connection from aiohttp.

aiohttp does the handshake only. Its private attributes are used here and in :mod:`gateway.edge.server`.
"""

from __future__ import annotations

import base64
import hashlib
import socket
from contextlib import suppress
from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from gateway.core.session import Session
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.edge.addresses import Address
from gateway.edge.channel import Channel
from gateway.edge.command_runner import CommandPrechecks, CommandRunner
from gateway.edge.connection_stats import LEFT, ConnectionStats, StatsOutput
from gateway.edge.credentials import BearerAuth, CredentialServices, SessionCredentials
from gateway.edge.limits import SocketSlot
from gateway.edge.login import check_version
from gateway.edge.notices import languages
from gateway.edge.parts import EdgeParts
from gateway.edge.problems import problem
from gateway.edge.request_context import RequestContext, accept_language
from gateway.edge.socket import PhoneSocket, SocketServices
from gateway.edge.token import OpenedToken
from gateway.protocol.codec import Codec, codec_for
from gateway.protocol.frames import PROTOCOLS, ClientInfo
from gateway.runtime.epoll_transport import Wires

NOTSENT_BYTES: Final = 16 * 1024
"""Bytes that the kernel queues beyond what is in flight. Without it megabytes become outdated."""
UNACKNOWLEDGED_MS: Final = 30_000
"""Time after which the kernel ends a connection whose peer acknowledges nothing, also while it closes."""
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §4.2.2."""
VERSION: Final = "13"
"""Version of the WebSocket protocol."""
WIRES: Final = web.AppKey("wires", Wires)
"""Key of an application's epoll transports. Without it connections keep their asyncio transport."""


def check_handshake(request: web.Request) -> None:
    """Refuse a request that is no WebSocket handshake (RFC 6455 §4.2.1).

    Raises:
        GatewayError: ``bad_request``.
    """
    asks = (
        request.version >= HttpVersion11
        and not request.body_exists
        and request.headers.get(hdrs.SEC_WEBSOCKET_VERSION) == VERSION
        and web.WebSocketResponse(protocols=PROTOCOLS).can_prepare(request)
    )
    if not asks:
        raise GatewayError(ErrorCode.BAD_REQUEST, "A WebSocket handshake is needed here.")


async def accept(
    request: web.Request, codec: Codec, *, message_bytes: int
) -> tuple[Channel, web.StreamResponse]:
    """Upgrade *request*. Return the channel, and the response that the handler must return.

    Raises:
        ConnectionResetError: The peer has left.
    """
    key = request.headers[hdrs.SEC_WEBSOCKET_KEY].encode()
    # §4.2.2; SHA-1 protects nothing here, it only proves that the server supports WebSocket
    proof = base64.b64encode(hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest()).decode()
    response = web.StreamResponse(
        status=101,
        headers={
            hdrs.UPGRADE: "websocket",
            hdrs.CONNECTION: "Upgrade",
            hdrs.SEC_WEBSOCKET_ACCEPT: proof,
            hdrs.SEC_WEBSOCKET_PROTOCOL: codec.subprotocol,
        },
    )
    response.force_close()  # aiohttp closes after the handler returns, and then finds it done
    await response.prepare(request)
    transport, server = request.transport, request.protocol
    if transport is None:
        raise ConnectionResetError("the peer left during the handshake")
    _tune(transport.get_extra_info("socket"))
    early = _let_go(server)
    wires = request.app.get(WIRES)
    carrier = transport if wires is None else wires.take(transport)
    channel = Channel(carrier, codec, message_bytes=message_bytes, early=early)
    channel.begin()
    return channel, response


def _let_go(server: web.RequestHandler) -> bytes:
    """Detach the connection from aiohttp. Return the bytes that followed the handshake.

    Without a transport aiohttp neither writes nor closes. After `connection_lost` it forgets the connection,
    stops its timer, and ends once the handler has returned.
    """
    early, server._message_tail = server._message_tail, b""  # noqa: SLF001 - aiohttp has no public way
    server.transport = None
    server.connection_lost(None)
    return early


def _tune(raw: socket.socket | None) -> None:
    """Send at once, and limit the kernel's queue. Sockets without these options keep their defaults."""
    if raw is None or raw.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with suppress(OSError):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_BYTES)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)


class RealtimeRoute:
    """Route ``GET /v1/realtime``. All checks happen before the upgrade."""

    def __init__(self, parts: EdgeParts, bearer: BearerAuth, context: RequestContext) -> None:
        self._parts = parts
        self._bearer = bearer
        self._context = context
        commands = CommandRunner(parts.node, CommandPrechecks(parts.numbers, parts.notices), parts.clock)
        self._services = SocketServices(parts.node, parts.scheduler, commands, self._admit_client)
        self._credential_services = CredentialServices(bearer, parts.notices, parts.clock)
        self._output = StatsOutput(parts.telemetry, parts.on_close)

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get("/v1/realtime", self.realtime, allow_head=False)]

    async def realtime(self, request: web.Request) -> web.StreamResponse:
        """Upgrade, and start to serve the socket. Its statistics count the result."""
        try:
            address = self._context.address(request)
            codec, shown, slot = self._admit(request, address)
        except GatewayError as error:
            self._parts.telemetry.handshakes[error.code.value].inc()
            return _refused(error)
        try:
            channel, response = await accept(
                request, codec, message_bytes=self._parts.settings.session.frame_bytes_in
            )
        except BaseException:
            self._parts.telemetry.handshakes[LEFT].inc()
            slot.release()
            raise
        try:
            credentials = SessionCredentials(
                self._credential_services, shown, languages(accept_language(request))
            )
            phone = self._phone(channel, credentials, address)
        except BaseException:
            self._parts.telemetry.handshakes[LEFT].inc()
            slot.release()
            channel.abort()
            raise
        phone.begin(slot)
        return response

    def _admit(self, request: web.Request, address: Address) -> tuple[Codec, OpenedToken | None, SocketSlot]:
        """Check everything that a handshake can be refused for."""
        self._context.check_transport(request)  # the token may still come, in `hello`
        user = self._bearer.user_of(request.headers.getall(hdrs.AUTHORIZATION, []))
        self._parts.admission.check_rate(address, self._parts.clock.now(), user)
        codec = _codec(request)
        shown = self._shown(request)
        check_handshake(request)
        return codec, shown, self._parts.admission.open_slot(address, user)

    def _phone(self, channel: Channel, credentials: SessionCredentials, address: Address) -> PhoneSocket:
        parts, now = self._parts, self._parts.clock.now()
        session = Session(channel.codec, parts.settings.session, now, parts.jitter())
        stats = ConnectionStats(self._output, channel.codec, address, now)
        return PhoneSocket(session, channel, self._services, credentials, stats)

    def _admit_client(self, client: ClientInfo) -> None:
        """Refuse a client program that is too old."""
        try:
            check_version(client.platform, client.version, self._parts.settings.app_minimum)
        except GatewayError as error:
            raise SessionRefused(CloseCode.VERSION_UNSUPPORTED, error.code) from None

    def _shown(self, request: web.Request) -> OpenedToken | None:
        authorization = request.headers.getall(hdrs.AUTHORIZATION, [])
        return self._bearer.from_header(authorization) if authorization else None


def _refused(error: GatewayError) -> web.Response:
    """Return the refusal, with the supported version of the protocol (RFC 6455 §4.4)."""
    response = problem(error)
    response.headers[hdrs.SEC_WEBSOCKET_VERSION] = VERSION
    return response


def _codec(request: web.Request) -> Codec:
    """Return the codec of the first known subprotocol in the client's list (RFC 6455 §4.2.2)."""
    for offered in ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])).split(","):
        codec = codec_for(offered.strip())
        if codec is not None:
            return codec
    raise GatewayError(ErrorCode.BAD_REQUEST, "A subprotocol is needed: oscc.v1.json or oscc.v1.msgpack.")
