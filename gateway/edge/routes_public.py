"""What does the gateway tell anyone?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from aiohttp import hdrs, web

from gateway.edge.notices import Notices
from gateway.edge.problems import answer
from gateway.edge.published import Published
from gateway.edge.settings import EdgeSettings
from gateway.edge.visitors import Visitors
from gateway.protocol import http_form
from gateway.protocol.bodies import AboutBody, NoticesBody, PrivacyView
from gateway.protocol.http_form import JSON_TYPE, SCHEMA_TYPE

T = TypeVar("T")


class PublicRoutes:
    """Routes that need no token and no OSCC-E Server."""

    def __init__(self, settings: EdgeSettings, notices: Notices, visitors: Visitors) -> None:
        self._settings: Final = settings
        self._notices = notices
        self._visitors = visitors
        self._published: Final = Published()
        self._about: Final = {
            trusted: http_form.write_body(_about(settings, trusted)) for trusted in (True, False)
        }

    def routes(self) -> list[web.RouteDef]:
        """Return them."""
        return [
            web.get("/v1/about", self.about),
            web.get("/v1/notices", self.notices),
            web.get("/v1/privacy/inventory", self.inventory),
            web.get("/v1/openapi.json", self.openapi),
            web.get("/v1/asyncapi.json", self.asyncapi),
            web.get("/v1/schemas/{kind}.json", self.schema),
        ]

    async def about(self, request: web.Request) -> web.Response:
        """``GET /v1/about``."""
        return _json(self._about[self._visitors.is_encrypted(request)])

    async def notices(self, request: web.Request) -> web.Response:
        """``GET /v1/notices``."""
        response = answer(NoticesBody(self._notices.views(accept_language(request))))
        response.headers[hdrs.VARY] = hdrs.ACCEPT_LANGUAGE
        return response

    async def inventory(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """``GET /v1/privacy/inventory``."""
        return _json(await self._made("inventory", lambda: self._published.inventory))

    async def openapi(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """``GET /v1/openapi.json``."""
        return web.Response(
            body=await self._made("openapi", lambda: self._published.openapi), content_type=JSON_TYPE
        )

    async def asyncapi(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """``GET /v1/asyncapi.json``."""
        return web.Response(
            body=await self._made("asyncapi", lambda: self._published.asyncapi), content_type=JSON_TYPE
        )

    async def schema(self, request: web.Request) -> web.Response:
        """``GET /v1/schemas/<kind>.json``."""
        schemas = await self._made("schemas", lambda: self._published.schemas)
        schema = schemas.get(request.match_info["kind"])
        if schema is None:
            raise web.HTTPNotFound
        return web.Response(body=schema, content_type=SCHEMA_TYPE)

    async def _made(self, name: str, read: Callable[[], T]) -> T:
        """Return a document; it takes up to half a second to make, so that happens in another thread."""
        return read() if name in vars(self._published) else await asyncio.to_thread(read)


def _about(settings: EdgeSettings, trusted_transport: bool) -> AboutBody:
    return AboutBody(
        name=settings.name,
        version=settings.version,
        sites=settings.sites,
        trusted_transport=trusted_transport,
        privacy=PrivacyView(settings.privacy_contact, settings.privacy_statement_url),
        capabilities=settings.capabilities,
    )


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=JSON_TYPE, charset="utf-8")


def accept_language(request: web.Request) -> str:
    """Return `Accept-Language`, its values joined (RFC 9110 §5.3)."""
    return ",".join(request.headers.getall(hdrs.ACCEPT_LANGUAGE, []))
