"""What does the gateway tell anyone?"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from gateway.edge.notices import Notices
from gateway.edge.problems import answer
from gateway.edge.published import Published
from gateway.edge.settings import EdgeSettings
from gateway.edge.visitors import Visitors
from gateway.protocol.bodies import AboutBody, NoticesBody, PrivacyView
from gateway.protocol.http_form import JSON_TYPE, SCHEMA_TYPE
from gateway.protocol.inventory import inventory


class PublicRoutes:
    """Routes that need no token and no OSCC-E Server."""

    def __init__(self, settings: EdgeSettings, notices: Notices, visitors: Visitors) -> None:
        self._settings: Final = settings
        self._notices = notices
        self._visitors = visitors
        self._published: Final = Published()

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
        settings = self._settings
        return answer(
            AboutBody(
                name=settings.name,
                version=settings.version,
                sites=settings.sites,
                trusted_transport=self._visitors.is_encrypted(request),
                privacy=PrivacyView(settings.privacy_contact, settings.privacy_statement_url),
                capabilities=settings.capabilities,
            )
        )

    async def notices(self, request: web.Request) -> web.Response:
        """``GET /v1/notices``."""
        response = answer(NoticesBody(self._notices.views(accept_language(request))))
        response.headers[hdrs.VARY] = hdrs.ACCEPT_LANGUAGE
        return response

    async def inventory(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """``GET /v1/privacy/inventory``."""
        return answer(inventory())

    async def openapi(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """``GET /v1/openapi.json``."""
        return web.Response(body=self._published.openapi, content_type=JSON_TYPE)

    async def asyncapi(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """``GET /v1/asyncapi.json``."""
        return web.Response(body=self._published.asyncapi, content_type=JSON_TYPE)

    async def schema(self, request: web.Request) -> web.Response:
        """``GET /v1/schemas/<kind>.json``."""
        schema = self._published.schemas.get(request.match_info["kind"])
        if schema is None:
            raise web.HTTPNotFound
        return web.Response(body=schema, content_type=SCHEMA_TYPE)


def accept_language(request: web.Request) -> str:
    """Return `Accept-Language`, its values joined (RFC 9110 §5.3)."""
    return ",".join(request.headers.getall(hdrs.ACCEPT_LANGUAGE, []))
