"""Log-on over HTTP, and the WebSocket handshake until aiohttp hands the connection over.

aiohttp does the handshake only. Its private attributes are used here and in :mod:`gateway.edge.server`.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from gateway.core.session import Session
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Application, Device, Ticket, has_controls, readable
from gateway.domain.upstream import LoggedOn, LogOn
from gateway.edge.channel import LEFT, Channel, ConnectionStats, ConnectionSummary, StatsOutput
from gateway.edge.credentials import (
    BearerAuth,
    CredentialServices,
    OpenedToken,
    SessionCredentials,
    Tokens,
    session_view,
    user_view,
)
from gateway.edge.export import RemoteHoldings
from gateway.edge.limits import SocketAdmission, SocketSlot
from gateway.edge.policies import NoticesInForce, NumberPolicies, languages
from gateway.edge.request_context import EdgeSettings, IPAddress, RequestContext, accept_language, problem
from gateway.edge.scheduler import Scheduler
from gateway.edge.socket import CommandRunner, PhoneSocket, SocketServices
from gateway.protocol import websocket
from gateway.protocol.bodies import LogOnBody, SessionCreated
from gateway.protocol.codec import Codec, codec_for
from gateway.protocol.frames import ClientInfo
from gateway.runtime.event_loop import EpollTransports
from gateway.runtime.node import Node
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class EdgeParts:
    """Dependencies of the edge.

    *scheduler* serves the sockets while it runs. *jitter* returns numbers in [0, 1). *on_close* receives the
    summary of each closed connection. *elsewhere* collects what all nodes hold about a user.
    """

    settings: EdgeSettings
    node: Node
    tokens: Tokens
    notices: NoticesInForce
    numbers: NumberPolicies
    admission: SocketAdmission
    clock: Clock
    scheduler: Scheduler[PhoneSocket]
    jitter: Callable[[], float]
    telemetry: Telemetry
    on_close: Callable[[ConnectionSummary], None]
    remote_holdings: Callable[[Ticket], Awaitable[RemoteHoldings]]

    @property
    def phones(self) -> Collection[PhoneSocket]:
        """The open sockets, with and without a `hello`."""
        return self.scheduler.sockets.keys()


_NUMBERS: Final = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,7})", re.ASCII)


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of *text*, without trailing zeros; empty when there are none."""
    found = _NUMBERS.match(text.strip())
    numbers = [int(number) for number in found[1].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def check_version(platform: str, version: str, minimum: Mapping[str, str]) -> None:
    """Refuse an app older than the minimum of its platform, if there is one.

    Raises:
        GatewayError: ``version_unsupported`` with the ``minimum``.
    """
    least = minimum.get(platform.lower())
    if least is not None and parse_version(version) < parse_version(least):
        raise GatewayError(
            ErrorCode.VERSION_UNSUPPORTED,
            "This version of the app is too old. Please update it.",
            minimum=least,
        )


_OK: Final = "ok"
_EQUAL_TIMES: Final = frozenset(
    {ErrorCode.INVALID_CREDENTIALS, ErrorCode.ACCOUNT_LOCKED, ErrorCode.ACCOUNT_BLOCKED}
)
"""Refusals whose response time must not reveal whether the user exists."""


class Login:
    """Log-ons.

    Invariant: the password exists for one call only. It is neither stored, logged nor returned.
    """

    def __init__(self, parts: EdgeParts) -> None:
        self._parts = parts
        self._sites: Final = {site.id: site for site in parts.settings.sites}

    async def log_on(self, body: LogOnBody, accept_language: str, address: str = "") -> SessionCreated:
        """Log on. Checks that do not need the OSCC-E Server come first.

        *address*: the client's address, as it is limited.

        Raises:
            GatewayError: One of the protocol's log-on errors.
        """
        began, result = self._parts.clock.now(), ErrorCode.INTERNAL.value
        try:
            created = await self._log_on(body, accept_language, address)
            result = _OK
        except GatewayError as error:
            result = error.code.value
            raise
        else:
            return created
        finally:
            self._parts.telemetry.log_ons[body.application.value, result].inc()
            took_s = self._parts.clock.now() - began
            self._parts.telemetry.log_on_seconds.observe(took_s, self._parts.telemetry.exemplar())

    async def _log_on(self, body: LogOnBody, accept_language: str, address: str) -> SessionCreated:
        site = self._sites.get(body.site)
        if site is None or body.application not in site.applications:
            raise GatewayError(
                ErrorCode.SITE_UNKNOWN,
                "There is no such site for this application. See GET /v1/about for the sites.",
            )
        check_version(body.device.platform, body.device.app_version, self._parts.settings.app_minimum)
        wall_ms = self._parts.clock.wall_ms()
        notices = self._parts.notices.acknowledged(body.accepted_notices or (), accept_language, wall_ms)
        if has_controls(body.user_name):
            raise GatewayError(ErrorCode.BAD_REQUEST, "user_name contains a control character.")
        logged_on = await self._ask(body.site, self._credentials(body), address)
        return self._created(body, logged_on, notices)

    def _credentials(self, body: LogOnBody) -> LogOn:
        number = None
        if body.application is Application.REMOTE_ASSISTANT:
            number = self._parts.numbers.accept(body.site, body.remote_number or "")
        return LogOn(
            application=body.application,
            user_name=body.user_name,
            password=body.password,
            device=Device(body.device.id, body.device.name),
            remote_number=number,
            takeover=body.takeover,
        )

    async def _ask(self, site: str, credentials: LogOn, address: str) -> LoggedOn:
        began = self._parts.clock.now()
        try:
            return await self._parts.node.account.log_on(site, credentials, address)
        except GatewayError as error:
            if error.code not in _EQUAL_TIMES:
                raise
            await self._pad_response_time(began)
            if error.code is ErrorCode.INVALID_CREDENTIALS:
                # one text and no details: an unknown user and a wrong password look alike
                raise GatewayError(error.code, "User name or password is wrong.") from None
            raise

    async def _pad_response_time(self, began: float) -> None:
        """Wait until the next whole multiple of the floor, so that the response time reveals nothing."""
        floor_s, taken_s = self._parts.settings.log_on_floor_s, self._parts.clock.now() - began
        await self._parts.clock.sleep(max(1, math.ceil(taken_s / floor_s)) * floor_s - taken_s)

    def _created(
        self, body: LogOnBody, logged_on: LoggedOn, notices: tuple[tuple[str, int], ...]
    ) -> SessionCreated:
        user = logged_on.user
        ticket = Ticket(
            user=user.id,
            display_name=readable(user.display_name),
            application=body.application,
            secret=logged_on.secret,
            session=logged_on.session,
            device=Device(body.device.id, body.device.name),
            notices=notices,
            issued_at_ms=self._parts.clock.wall_ms(),
            expires_at_ms=logged_on.expires_at_ms,
            idle_timeout_s=logged_on.idle_timeout_s,
            server=logged_on.server,
        )
        return SessionCreated(
            token=self._parts.tokens.seal(ticket),
            session=session_view(ticket),
            user=user_view(ticket),
            remote_number=logged_on.remote_number,
        )


NOTSENT_BYTES: Final = 16 * 1024
"""Bytes that the kernel queues beyond what is in flight. Without it megabytes become outdated."""
UNACKNOWLEDGED_MS: Final = 30_000
"""Time after which the kernel ends a connection whose peer acknowledges nothing, also while it closes."""
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §4.2.2."""
_KEY_BYTES: Final = 16
"""RFC 6455 §4.1."""
VERSION: Final = "13"
"""Version of the WebSocket protocol."""
_CANNOT_INFLATE: Final = re.compile(r"Version/15\.[0-3]\b.* Safari/")
"""Safari 15.0 to 15.3 offers compression and ends connections over it
(github.com/uNetworking/uWebSockets/issues/1347)."""
TRANSPORTS: Final = web.AppKey("transports", EpollTransports)
"""Key of an application's epoll transports. Without it connections keep their asyncio transport."""


def check_handshake(request: web.Request) -> None:
    """Refuse a request that is no WebSocket handshake (RFC 6455 §4.2.1).

    aiohttp's own check is not used: it logs what the client offers, and raises for a key that is not ASCII.

    Raises:
        GatewayError: ``bad_request``.
    """
    keys = request.headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    asks = (
        request.version >= HttpVersion11
        and not request.body_exists
        and request.headers.get(hdrs.SEC_WEBSOCKET_VERSION) == VERSION
        and request.headers.get(hdrs.UPGRADE, "").strip().lower() == "websocket"
        and "upgrade" in _connection_options(request)
        and len(keys) == 1
        and _is_key(keys[0])
    )
    if not asks:
        raise GatewayError(ErrorCode.BAD_REQUEST, "A WebSocket handshake is needed here.")


def _connection_options(request: web.Request) -> set[str]:
    """Return the options of `Connection` (RFC 9110 §7.6.1), in lower case."""
    options = ",".join(request.headers.getall(hdrs.CONNECTION, []))
    return {option.strip().lower() for option in options.split(",")}


def _is_key(text: str) -> bool:
    """Return whether *text* has 16 bytes in base64."""
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except ValueError:
        return False


async def accept(
    request: web.Request, codec: Codec, *, message_bytes: int, deflate: bool = False
) -> tuple[Channel, web.StreamResponse]:
    """Upgrade *request*. Return the channel, and the response that the handler must return.

    *deflate*: whether compression is agreed on with clients that offer it.

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
    if deflate := deflate and _may_compress(request):
        response.headers[hdrs.SEC_WEBSOCKET_EXTENSIONS] = websocket.DEFLATE_ANSWER
    response.force_close()  # aiohttp closes after the handler returns, and then finds it done
    await response.prepare(request)
    transport, server = request.transport, request.protocol
    if transport is None:
        raise ConnectionResetError("the peer left during the handshake")
    _tune(transport.get_extra_info("socket"))
    early = _detach(server)
    transports = request.app.get(TRANSPORTS)
    carrier = transport if transports is None else transports.take(transport)
    channel = Channel(carrier, codec, message_bytes=message_bytes, early=early, deflate=deflate)
    channel.begin()
    return channel, response


def _may_compress(request: web.Request) -> bool:
    """Return whether the client offers compression (RFC 7692), and is none that cannot read it."""
    offers = ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_EXTENSIONS, []))
    agent = request.headers.get(hdrs.USER_AGENT, "")
    return websocket.accepts_deflate(offers) and not _CANNOT_INFLATE.search(agent)


def _detach(server: web.RequestHandler) -> bytes:
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
        commands = CommandRunner(parts.numbers, parts.notices, parts.clock)
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
        settings = self._parts.settings
        channel: Channel | None = None
        try:
            channel, response = await accept(
                request, codec, message_bytes=settings.session.frame_bytes_in, deflate=settings.compress
            )
            credentials = SessionCredentials(
                self._credential_services, shown, languages(accept_language(request))
            )
            phone = self._phone(channel, credentials, address)
        except BaseException:
            self._parts.telemetry.handshakes[LEFT].inc()
            slot.release()
            if channel is not None:
                channel.abort()
            raise
        phone.begin(slot)
        return response

    def _admit(
        self, request: web.Request, address: IPAddress
    ) -> tuple[Codec, OpenedToken | None, SocketSlot]:
        """Check everything that a handshake can be refused for."""
        self._context.check_transport(request)  # the token may still come, in `hello`
        authorization = request.headers.getall(hdrs.AUTHORIZATION, [])
        ticket = self._bearer.ticket_in(authorization)
        user = None if ticket is None else ticket.user
        self._parts.admission.check_handshake(address, self._parts.clock.now(), user)
        codec = _codec(request)
        shown = self._bearer.from_header(authorization) if authorization else None
        check_handshake(request)
        return codec, shown, self._parts.admission.open_slot(address, user)

    def _phone(self, channel: Channel, credentials: SessionCredentials, address: IPAddress) -> PhoneSocket:
        parts, now = self._parts, self._parts.clock.now()
        session = Session(channel.codec, parts.settings.session, now, parts.jitter())
        stats = ConnectionStats(self._output, channel.codec, address, now)
        return PhoneSocket(session, channel, self._services, credentials, stats)

    def _admit_client(self, client: ClientInfo) -> None:
        """Refuse a client program that is too old."""
        try:
            check_version(client.platform, client.version, self._parts.settings.app_minimum)
        except GatewayError as error:
            raise SessionRefused(CloseCode.VERSION_UNSUPPORTED, error.code) from error


def _refused(error: GatewayError) -> web.Response:
    """Return the refusal, with the supported version of the protocol (RFC 6455 §4.4).

    A full node closes the connection: its descriptor is needed for the next answer.
    """
    response = problem(error)
    if error.code is ErrorCode.OVER_CAPACITY:
        response.force_close()
    response.headers[hdrs.SEC_WEBSOCKET_VERSION] = VERSION
    return response


def _codec(request: web.Request) -> Codec:
    """Return the codec of the first known subprotocol in the client's list (RFC 6455 §4.2.2)."""
    for offered in ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])).split(","):
        codec = codec_for(offered.strip())
        if codec is not None:
            return codec
    raise GatewayError(ErrorCode.BAD_REQUEST, "A subprotocol is needed: oscc.v1.json or oscc.v1.msgpack.")
