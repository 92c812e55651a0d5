"""Context of an HTTP request: client address, encryption, origin, language, body; and refusals."""

from __future__ import annotations

import ipaddress
import logging
import math
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from gateway.core.rate_limits import SessionLimits
from gateway.domain.errors import ErrorCode, GatewayError, tenths
from gateway.protocol import codec
from gateway.protocol.bodies import JSON_TYPE, PROBLEM_TYPE, SiteView, problem_members, write_body
from gateway.protocol.frames import COMMANDS
from gateway.runtime.event_loop import log_fault
from gateway.runtime.ports import Clock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_AFTER_S: Final = 5.0
"""Default time after which to retry a request that may succeed later."""

_TCP_ESTABLISHED: Final = 1
"""First byte of Linux's ``struct tcp_info`` while neither side has closed."""
_LOG: Final = logging.getLogger(__name__)

_OF_HTTP: Final[dict[int, tuple[ErrorCode, str]]] = {
    404: (ErrorCode.NOT_FOUND, "There is nothing at this path."),
    405: (ErrorCode.BAD_REQUEST, "This method is not allowed here."),
    413: (ErrorCode.BAD_REQUEST, "The body is too large."),
    415: (ErrorCode.BAD_REQUEST, "The body must be application/json, and not compressed."),
    417: (ErrorCode.BAD_REQUEST, "The only expectation supported is 100-continue."),
}
"""HTTP status of a refusal by aiohttp → the nearest error code, and its text."""


def check_json(request: web.Request) -> None:
    """Refuse a body that is not plain ``application/json``.

    aiohttp's parser of the header is not used: it takes 1 s of the event loop for 8 KiB of parameters, and
    does not return from nested comments.

    Raises:
        web.HTTPUnsupportedMediaType: It is another type, compressed, or has no type.
    """
    content_types = request.headers.getall(hdrs.CONTENT_TYPE, [])
    plain = len(content_types) == 1 and content_types[0].partition(";")[0].strip().lower() == JSON_TYPE
    if not plain or hdrs.CONTENT_ENCODING in request.headers:
        raise web.HTTPUnsupportedMediaType


def answer(body: object, *, status: int = 200) -> web.Response:
    """Return *body* as a JSON response."""
    return web.Response(body=write_body(body), status=status, content_type=JSON_TYPE, charset="utf-8")


def has_left(request: web.Request) -> bool:
    """Return whether the client has closed its connection.

    The kernel is asked too: the event loop may not have seen the close yet.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        return True
    raw = transport.get_extra_info("socket")
    if sys.platform != "linux" or raw is None or raw.family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    try:
        info: bytes = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return False
    return info[0] != _TCP_ESTABLISHED


async def deliver(request: web.Request, response: web.StreamResponse) -> bool:
    """Send *response*. Return False when the client surely did not get all of it.

    True only means that the kernel has taken it. The handler returns *response* in both cases.
    """
    if has_left(request):
        return False
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return False
    return request.transport is not None and not request.transport.is_closing()


def whole_seconds(wait_s: float) -> str:
    """Return a wait in whole seconds, as in ``Retry-After``."""
    return str(max(1, math.ceil(wait_s)))


def problem(error: GatewayError, *, status: int | None = None) -> web.Response:
    """Return *error* as problem details, with *status* when it is better than that of the code."""
    members = problem_members(error)
    if status is not None:
        members["status"] = status
    wait_s = _wait_s(error)
    if wait_s is not None:
        members["retry_after_s"] = wait_s
    response = web.Response(
        body=codec.write_json(members),
        status=error.status if status is None else status,
        content_type=PROBLEM_TYPE,
    )
    if wait_s is not None:
        response.headers[hdrs.RETRY_AFTER] = whole_seconds(wait_s)
    if error.code in {ErrorCode.UNAUTHENTICATED, ErrorCode.SESSION_ENDED}:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"  # RFC 9110 §11.6.1: each 401 needs it
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Convert the exceptions of handlers into responses."""
    try:
        return await handler(request)
    except GatewayError as error:
        return problem(error)
    except web.HTTPException as refusal:
        if refusal.status < 400:
            raise
        return _of_http(refusal)
    except web.RequestPayloadError:
        return problem(GatewayError(ErrorCode.BAD_REQUEST, "The body cannot be read."))
    except ConnectionError:  # the client has left: aiohttp handles it
        raise
    except Exception as fault:  # noqa: BLE001 - the outermost handler: a fault of one request ends that request only
        log_fault(_LOG, "request_failed", fault)
        return problem(
            GatewayError(
                ErrorCode.INTERNAL,
                "Internal error of the gateway. Try again, or give the operator the time of the request.",
            )
        )


async def reword(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - aiohttp asks so
    """Replace the texts of aiohttp's own refusals, which quote the request."""
    if isinstance(response, web.HTTPException) and response.status >= 400:
        reworded = _of_http(response)
        response.body = reworded.body
        response.headers[hdrs.CONTENT_TYPE] = PROBLEM_TYPE
        response.headers[hdrs.CONTENT_LENGTH] = str(reworded.content_length)


def _wait_s(error: GatewayError) -> float | None:
    """Return the seconds after which to retry; None when a retry is of no use."""
    if error.retry_after_s is None:
        return RETRY_AFTER_S if error.code.is_temporary else None
    return tenths(error.retry_after_s)


def _of_http(refusal: web.HTTPException) -> web.Response:
    code, text = _OF_HTTP.get(refusal.status, (ErrorCode.BAD_REQUEST, "This request cannot be served."))
    response = problem(GatewayError(code, text), status=refusal.status)
    if hdrs.ALLOW in refusal.headers:
        response.headers[hdrs.ALLOW] = refusal.headers[hdrs.ALLOW]
    return response


IPAddress = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

NO_ADDRESS: Final = IPv4Address(0)
"""Placeholder for a peer without an address."""
_ENCRYPTED: Final = frozenset({"https", "wss"})
_HOPS_MAX: Final = 32


def parse_address(text: str) -> IPAddress | None:
    """Parse an address as proxies write it, with or without port and brackets; None when it is invalid."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_trusted(address: IPAddress, trusted: Networks) -> bool:
    """Return whether *address* is a trusted proxy."""
    return any(address in network for network in trusted)


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Networks) -> IPAddress:
    """Return the client's address: the last one that is not a trusted proxy's.

    *forwarded_for* are the values of `X-Forwarded-For`, in order.
    """
    address = parse_address(peer or "") or NO_ADDRESS
    hops = [hop for value in forwarded_for for hop in value.split(",")][-_HOPS_MAX:]
    while hops and is_trusted(address, trusted):
        before = parse_address(hops.pop())
        if before is None:
            break
        address = before
    return address


def address_group(address: IPAddress) -> IPAddress | IPv6Network:
    """Return the unit of limits: an IPv4 address, or the /64 of an IPv6 subscriber (RFC 6177)."""
    if isinstance(address, IPv6Address):
        return IPv6Network((address, 64), strict=False)
    return address


def is_encrypted(*, tls: bool, peer: str | None, forwarded_proto: Sequence[str], trusted: Networks) -> bool:
    """Return whether the client's connection is known to be encrypted.

    A connection through a trusted proxy counts as encrypted, unless a proxy sent a scheme other than `https`
    or `wss`: many end TLS and send no scheme.
    """
    if tls:
        return True
    address = parse_address(peer or "")
    if address is None or not is_trusted(address, trusted):
        return False
    schemes = {scheme.strip().lower() for value in forwarded_proto for scheme in value.split(",")}
    return schemes <= _ENCRYPTED


_DEFAULT_PORT: Final = {"http": 80, "https": 443}
PREFLIGHT_HEADERS: Final = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}
"""Headers of the answer to a preflight request (Fetch §3.2.2)."""


def may_connect(origin: str, host: str | None, allowed: AbstractSet[str], *, tls: bool) -> bool:
    """Return whether *origin* is on the list or, without a list, is that of *host*.

    *origin* is the value of `Origin`, *host* that of `Host`. The origin `null` is refused. With *tls* the own
    pages of the listener are `https` ones.
    """
    if origin == "null":
        return False
    if allowed:
        return origin in allowed
    parts = _authority(origin)
    if parts is None or host is None or (tls and parts[0] != "https"):
        return False
    scheme, name, port = parts
    own = _authority(f"{scheme}://{host}")
    return own is not None and own[1:] == (name, port)


def cors_headers(origin: str) -> dict[str, str]:
    """Return the CORS headers that let a page of *origin* read a response."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


def _authority(origin: str) -> tuple[str, str, int] | None:
    """Split an origin into scheme, host and port; None when it is not exactly one."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORT or not parts.hostname:
        return None
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORT[parts.scheme]


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Limits of admission. Each refusal contains the time of the next try."""

    connections: int = 20_000
    """WebSockets of this node."""
    unhelloed: int = 2_000
    """WebSockets of this node without a valid token."""
    unhelloed_per_address: int = 200
    """The same for one address, or for the user of the upgrade's token: beyond it the oldest is closed. All
    phones of an office may share an address."""
    handshakes_per_s: float = 500.0
    """Upgrades and log-ons of this node: what it can serve after another node has ended."""
    handshakes_burst: int = 2_000
    handshakes_per_s_of_address: float = 100.0
    handshakes_burst_of_address: int = 500
    requests_per_s_of_session: float = 20.0
    """HTTP requests that show the token of one session; an export counts as 20, a list or an end as 10."""
    requests_burst_of_session: int = 400
    requests_per_s_of_address: float = 200.0
    """HTTP requests of one address without a valid token: all users of an office may load the web client."""
    requests_burst_of_address: int = 4_000
    addresses: int = 20_000
    """Addresses whose rate is stored; the one used longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Settings of the edge."""

    version: str
    sites: tuple[SiteView, ...]
    """Allowed sites. Clients send the id of a site, never an address."""
    name: str = "OSCC gateway"
    tls: bool = False
    """Whether the listener uses TLS."""
    insecure: bool = False
    """Whether passwords and tokens are accepted in clear text without a trusted proxy."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of the proxies that end TLS for clients."""
    origins: frozenset[str] = frozenset()
    """Exact origins whose pages may connect; empty: the same host only."""
    privacy_contact: str | None = None
    privacy_statement_url: str | None = None
    app_minimum: Mapping[str, str] = field(default_factory=dict)
    """Platform → oldest version of the app that may log on. Other platforms have no minimum."""
    capabilities: tuple[str, ...] = tuple(COMMANDS)
    session: SessionLimits = field(default_factory=SessionLimits)
    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    compress: bool = True
    """Whether large state is compressed for clients that offer it (RFC 7692)."""
    log_on_floor_s: float = 0.3
    """Refused credentials are answered after a multiple of this time, whatever was wrong with them."""
    log_off_grace_s: float = 24 * 3600.0
    """How long an expired token still logs off."""


HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of each response that does not set its own."""
SERVER_NAME: Final = "oscc-gateway"
"""Value of the `Server` header: no version of anything."""
BODY_S: Final = 10.0
"""Time limit for a body, of at most 16 KiB."""
_HSTS: Final = {"Strict-Transport-Security": "max-age=31536000"}


class RequestContext:
    """Reader of the client address, encryption and web origin of requests."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings: Final = settings

    def address(self, request: web.Request) -> IPAddress:
        """Return the client's address."""
        forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, [])
        return client_address(request.remote, forwarded, self._settings.trusted_proxies)

    def is_encrypted(self, request: web.Request) -> bool:
        """Return whether the client's connection is known to be encrypted."""
        return is_encrypted(
            tls=self._settings.tls,
            peer=request.remote,
            forwarded_proto=request.headers.getall(hdrs.X_FORWARDED_PROTO, []),
            trusted=self._settings.trusted_proxies,
        )

    def check_transport(self, request: web.Request) -> None:
        """Refuse a connection on which others may read passwords and tokens.

        Raises:
            GatewayError: ``untrusted_transport``.
        """
        if not (self._settings.insecure or self.is_encrypted(request)):
            raise GatewayError(
                ErrorCode.UNTRUSTED_TRANSPORT,
                "This connection is not encrypted: use https or wss for passwords and tokens.",
            )

    def encrypted_only(self, handler: Handler) -> Handler:
        """Return *handler* with :meth:`check_transport` before it."""

        async def checked(request: web.Request) -> web.StreamResponse:
            self.check_transport(request)
            return await handler(request)

        return checked

    def origin(self, request: web.Request) -> str | None:
        """Return the origin of the web page that sent *request*; None for an app.

        Raises:
            GatewayError: ``forbidden``: pages of this origin are not allowed.
        """
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if not origins:
            return None
        settings, host = self._settings, request.headers.get(hdrs.HOST)
        if len(origins) > 1 or not may_connect(origins[0], host, settings.origins, tls=settings.tls):
            raise GatewayError(
                ErrorCode.FORBIDDEN,
                "Pages of this origin may not connect. The operator can allow the origin.",
            )
        return origins[0]

    @web.middleware
    async def check_origin(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse pages of other origins, and answer preflight requests."""
        page = self.origin(request)
        if page is not None and _is_preflight(request):
            return web.Response(status=204, headers=PREFLIGHT_HEADERS)
        return await handler(request)

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the common headers to *response*, unless it sets its own."""
        for name, value in (HEADERS | _HSTS if self._settings.tls else HEADERS).items():
            response.headers.setdefault(name, value)
        response.headers[hdrs.SERVER] = SERVER_NAME  # aiohttp has set its own name and version
        try:
            page = self.origin(request)
        except GatewayError:
            return
        if page is not None:
            vary = response.headers.get(hdrs.VARY)
            response.headers.update(cors_headers(page))
            if vary is not None:
                response.headers[hdrs.VARY] = f"{vary}, {hdrs.ORIGIN}"


def _is_preflight(request: web.Request) -> bool:
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


def accept_language(request: web.Request) -> str:
    """Return `Accept-Language`, its values joined (RFC 9110 §5.3)."""
    return ",".join(request.headers.getall(hdrs.ACCEPT_LANGUAGE, []))


async def read_body_in_time(request: web.Request, clock: Clock) -> bytes:
    """Return the body of *request*.

    Raises:
        GatewayError: ``bad_request``: it did not arrive in time.
        ConnectionResetError: The client has left already, for which aiohttp would raise a RuntimeError.
    """
    if request.transport is None:
        raise ConnectionResetError("the client left before its body was read")
    try:
        async with clock.timeout(BODY_S):
            return await request.read()
    except TimeoutError as error:
        late = f"The body did not arrive within {BODY_S:.0f} s."
        raise GatewayError(ErrorCode.BAD_REQUEST, late) from error
