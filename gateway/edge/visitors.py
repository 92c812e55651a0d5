"""Who asks: from which address, how safely, and on behalf of which web page?"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge import origin
from gateway.edge.addresses import Address, client_address, is_encrypted
from gateway.edge.problems import Handler
from gateway.edge.settings import EdgeSettings

HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""What every answer has, unless it has its own."""
NAME: Final = "oscc-gateway"
"""All that is told of the program that answers."""
_HSTS: Final = {"Strict-Transport-Security": "max-age=31536000"}


class Visitors:
    """Reads what requests say of their senders, and believes of it what the settings allow."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings: Final = settings

    def address(self, request: web.Request) -> Address:
        """Return the client's address."""
        forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, [])
        return client_address(request.remote, forwarded, self._settings.trusted_proxies)

    def is_encrypted(self, request: web.Request) -> bool:
        """Tell whether the client's connection is encrypted, as far as the gateway can tell."""
        return is_encrypted(
            tls=self._settings.tls,
            peer=request.remote,
            forwarded_proto=request.headers.getall(hdrs.X_FORWARDED_PROTO, []),
            trusted=self._settings.trusted_proxies,
        )

    def check_way(self, request: web.Request) -> None:
        """Refuse whoever comes by a way on which others may read passwords and tokens.

        Raises:
            GatewayError: ``untrusted_transport``.
        """
        if not (self._settings.insecure or self.is_encrypted(request)):
            raise GatewayError(
                ErrorCode.UNTRUSTED_TRANSPORT,
                "This connection is not encrypted: no password and no token may travel over it.",
            )

    def private(self, handler: Handler) -> Handler:
        """Return *handler* behind :meth:`check_way`."""

        async def checked(request: web.Request) -> web.StreamResponse:
            self.check_way(request)
            return await handler(request)

        return checked

    def page(self, request: web.Request) -> str | None:
        """Return the origin of the web page that asks; None for an app.

        Raises:
            GatewayError: ``forbidden``; the page may not.
        """
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if not origins:
            return None
        settings, host = self._settings, request.headers.get(hdrs.HOST)
        if len(origins) > 1 or not origin.may_connect(origins[0], host, settings.origins, tls=settings.tls):
            raise GatewayError(ErrorCode.FORBIDDEN, "Pages of this origin may not connect.")
        return origins[0]

    @web.middleware
    async def pages(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse pages that may not ask, and answer browsers that want to know beforehand."""
        page = self.page(request)
        if page is not None and _is_preflight(request):
            return web.Response(status=204, headers=origin.preflight_headers())
        return await handler(request)

    async def dress(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers that every answer has; a more special one of the answer itself stays."""
        for name, value in (HEADERS | _HSTS if self._settings.tls else HEADERS).items():
            response.headers.setdefault(name, value)
        response.headers[hdrs.SERVER] = NAME  # aiohttp has put its own name and version there
        try:
            page = self.page(request)
        except GatewayError:
            return
        if page is not None:
            response.headers.update(origin.cors_headers(page))


def _is_preflight(request: web.Request) -> bool:
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
