"""Context of an HTTP request: client address, encryption, web origin, language and body."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.addresses import (
    Address,
    client_address,
    cors_headers,
    is_encrypted,
    may_connect,
    preflight_headers,
)
from gateway.edge.problems import Handler
from gateway.edge.settings import EdgeSettings
from gateway.runtime.ports import Clock

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

    def address(self, request: web.Request) -> Address:
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
            return web.Response(status=204, headers=preflight_headers())
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
            response.headers.update(cors_headers(page))


def _is_preflight(request: web.Request) -> bool:
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


def accept_language(request: web.Request) -> str:
    """Return `Accept-Language`, its values joined (RFC 9110 §5.3)."""
    return ",".join(request.headers.getall(hdrs.ACCEPT_LANGUAGE, []))


async def read_body_in_time(request: web.Request, clock: Clock) -> bytes:
    """Return the body of *request*.

    Raises:
        GatewayError: ``bad_request``: it did not arrive in time.
    """
    try:
        async with clock.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise GatewayError(ErrorCode.BAD_REQUEST, f"The body did not arrive within {BODY_S:.0f} s.") from None
