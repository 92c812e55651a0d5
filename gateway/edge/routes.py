"""HTTP routes for clients: public documents, the web client, sessions and data export."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from aiohttp import ETag, hdrs, web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import SessionId, Ticket
from gateway.domain.upstream import LoggedOff, SessionInfo
from gateway.edge.credentials import BearerAuth, session_end_mapped, session_view, user_view
from gateway.edge.export import export
from gateway.edge.handshake import EdgeParts, Login
from gateway.edge.policies import NoticesInForce
from gateway.edge.request_context import (
    RETRY_AFTER_S,
    EdgeSettings,
    Handler,
    RequestContext,
    accept_language,
    address_group,
    answer,
    check_json,
    deliver,
    read_body_in_time,
    whole_seconds,
)
from gateway.protocol import codec
from gateway.protocol.bodies import (
    JSON_TYPE,
    LOG_ON,
    SCHEMA_TYPE,
    AboutBody,
    DeviceView,
    LogOffPending,
    NoticesBody,
    PrivacyView,
    SessionBody,
    SessionCreated,
    SessionEntry,
    SessionsBody,
    read_body,
    write_body,
)
from gateway.protocol.openapi import asyncapi, openapi
from gateway.protocol.schemas import inventory, schema_index, whole_schemas


def published(make: Callable[[], bytes], *, charset: str | None = "utf-8") -> Handler:
    """Return the handler of a document that never changes.

    It is made at its first request, in another thread: that takes up to 0.5 s.
    """
    made: list[bytes] = []

    async def get(_request: web.Request) -> web.Response:
        if not made:
            made.append(await asyncio.to_thread(make))
        return web.Response(body=made[0], content_type=JSON_TYPE, charset=charset)

    return get


class PublicRoutes:
    """Routes that need neither a token nor the OSCC-E Server."""

    def __init__(self, settings: EdgeSettings, notices: NoticesInForce, context: RequestContext) -> None:
        self._settings: Final = settings
        self._notices = notices
        self._context = context
        self._schemas: dict[str, bytes] = {}
        self._about: Final = {trusted: write_body(_about(settings, trusted)) for trusted in (True, False)}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/v1/about", self.about),
            web.get("/v1/notices", self.notices),
            web.get("/v1/privacy/inventory", published(lambda: write_body(inventory()))),
            web.get("/v1/openapi.json", published(lambda: codec.write_json(openapi()), charset=None)),
            web.get("/v1/asyncapi.json", published(lambda: codec.write_json(asyncapi()), charset=None)),
            web.get("/v1/schemas", published(lambda: codec.write_json(schema_index()))),
            web.get("/v1/schemas/{kind}.json", self.schema),
        ]

    async def about(self, request: web.Request) -> web.Response:
        """``GET /v1/about``."""
        body = self._about[self._context.is_encrypted(request)]
        return web.Response(body=body, content_type=JSON_TYPE, charset="utf-8")

    async def notices(self, request: web.Request) -> web.Response:
        """``GET /v1/notices``."""
        response = answer(NoticesBody(self._notices.views(accept_language(request))))
        response.headers[hdrs.VARY] = hdrs.ACCEPT_LANGUAGE
        return response

    async def schema(self, request: web.Request) -> web.Response:
        """``GET /v1/schemas/<kind>.json``."""
        if not self._schemas:
            self._schemas = await asyncio.to_thread(_schemas)
        schema = self._schemas.get(request.match_info["kind"])
        if schema is None:
            raise web.HTTPNotFound
        return web.Response(body=schema, content_type=SCHEMA_TYPE)


def _schemas() -> dict[str, bytes]:
    return {kind: codec.write_json(schema) for kind, schema in whole_schemas().items()}


def _about(settings: EdgeSettings, trusted_transport: bool) -> AboutBody:
    return AboutBody(
        name=settings.name,
        version=settings.version,
        sites=settings.sites,
        trusted_transport=trusted_transport,
        privacy=PrivacyView(settings.privacy_contact, settings.privacy_statement_url),
        capabilities=settings.capabilities,
    )


_LOG: Final = logging.getLogger(__name__)


EXPORT_AGAIN_S: Final = 5.0
"""Time after which to retry while another export of the same session is made."""
EXPORT_SLICE_S: Final = 0.002
EXPORT_SLICE_RECORDS: Final = 100
"""Other tasks run after this time, or this many records, of an export."""


class SessionRoutes:
    """Routes about sessions. They carry a password or a token, so they need encryption."""

    def __init__(self, parts: EdgeParts, login: Login, bearer: BearerAuth, context: RequestContext) -> None:
        self._parts = parts
        self._login = login
        self._bearer = bearer
        self._context = context
        self._exporting: set[str] = set()
        """Handles of the sessions whose export is being made."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        private = self._context.encrypted_only
        return [
            web.post("/v1/sessions", private(self.log_on)),
            web.get("/v1/session", private(self.session)),
            web.delete("/v1/session", private(self.log_off)),
            web.get("/v1/sessions", private(self.sessions)),
            web.delete("/v1/sessions/{id}", private(self.end)),
            web.get("/v1/me/export", private(self.export)),
        ]

    async def log_on(self, request: web.Request) -> web.Response:
        """``POST /v1/sessions``."""
        address = self._context.address(request)
        self._parts.admission.check_rate(address, self._parts.clock.now())
        check_json(request)
        body = read_body(await read_body_in_time(request, self._parts.clock), LOG_ON)
        created = await self._login.log_on(body, accept_language(request), str(address_group(address)))
        response = answer(created, status=201)
        if not await deliver(request, response):
            await self._undo(request, created)
        return response

    async def _undo(self, request: web.Request, created: SessionCreated) -> None:
        """End a session whose token reaches no client: its remote number must not stay routed."""
        _LOG.info("log_on_undelivered")
        if request.transport is not None:
            request.transport.abort()  # the token must not be sent now
        await self._parts.node.account.log_off(self._bearer.for_log_off([f"Bearer {created.token}"]).ticket)

    async def session(self, request: web.Request) -> web.Response:
        """``GET /v1/session``.

        OSCC-E is queried for an expired token, since its session may have been renewed.
        """
        opened = self._bearer.from_header(request.headers.getall(hdrs.AUTHORIZATION, []))
        ticket = opened.ticket
        if opened.expired:
            with session_end_mapped(ticket):
                await self._parts.node.account.sessions(ticket)
        return answer(SessionBody(session_view(ticket), user_view(ticket)))

    async def log_off(self, request: web.Request) -> web.Response:
        """``DELETE /v1/session``."""
        opened = self._bearer.for_log_off(request.headers.getall(hdrs.AUTHORIZATION, []))
        return _ended(await self._parts.node.account.log_off(opened.ticket))

    async def sessions(self, request: web.Request) -> web.Response:
        """``GET /v1/sessions``."""
        ticket = self._ticket(request)
        with session_end_mapped(ticket):
            found = await self._parts.node.account.sessions(ticket)
        return answer(SessionsBody(tuple(_entry(info, ticket) for info in found)))

    async def end(self, request: web.Request) -> web.Response:
        """``DELETE /v1/sessions/{id}``."""
        session = SessionId(request.match_info["id"])
        opened = self._bearer.for_log_off(request.headers.getall(hdrs.AUTHORIZATION, []))
        # the own session may be ended whenever it may be logged off
        ticket = opened.ticket if session == opened.ticket.session else self._ticket(request)
        with session_end_mapped(ticket):
            return _ended(await self._parts.node.account.end(ticket, session))

    async def export(self, request: web.Request) -> web.Response:
        """``GET /v1/me/export``."""
        opened = self._bearer.from_header(request.headers.getall(hdrs.AUTHORIZATION, []))
        ticket = opened.ticket
        if ticket.handle in self._exporting:
            raise GatewayError(
                ErrorCode.RATE_LIMITED,
                "An export of this session is in progress. Try again when it has ended.",
                retry_after_s=EXPORT_AGAIN_S,
            )
        self._exporting.add(ticket.handle)
        try:
            if opened.expired:  # OSCC-E decides whether its session has ended
                with session_end_mapped(ticket):
                    await self._parts.node.account.sessions(ticket)
            body = await self._exported(ticket, str(self._context.address(request)))
        finally:
            self._exporting.remove(ticket.handle)
        return web.Response(body=body, content_type=JSON_TYPE, charset="utf-8")

    async def _exported(self, ticket: Ticket, address: str) -> bytes:
        """Return the body of an export. It is made in slices, between which other tasks run."""
        elsewhere, complete = await self._parts.remote_holdings(ticket)
        clock, body = self._parts.clock, bytearray()
        pieces = export(
            ticket,
            self._parts.node.seen_by(ticket),
            address=address,
            at_ms=clock.wall_ms(),
            elsewhere=elsewhere,
            complete=complete,
        )
        began = clock.now()
        for number, piece in enumerate(pieces, 1):
            body += piece
            if number % EXPORT_SLICE_RECORDS == 0 or clock.now() - began > EXPORT_SLICE_S:
                await clock.sleep(0)
                began = clock.now()
        return bytes(body)

    def _ticket(self, request: web.Request) -> Ticket:
        return self._bearer.from_header(request.headers.getall(hdrs.AUTHORIZATION, [])).ticket


def _ended(ended: LoggedOff) -> web.Response:
    if ended.routing == "after_contact":
        response = answer(LogOffPending(ended.routed_until_ms, retry_after_s=RETRY_AFTER_S), status=202)
        response.headers[hdrs.RETRY_AFTER] = whole_seconds(RETRY_AFTER_S)
        return response
    return web.Response(status=204)


def _entry(info: SessionInfo, asking: Ticket) -> SessionEntry:
    return SessionEntry(
        id=info.session,
        application=info.application,
        device=DeviceView(info.device.id, info.device.name),
        since_ms=info.since_ms,
        attached=info.attached,
        current=info.session == asking.session,
    )


ROOT: Final = "/app/"
WORKER: Final = "sw.js"
_INDEX: Final = "index.html"

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml; charset=utf-8",
    ".webmanifest": "application/manifest+json; charset=utf-8",
}
"""Types of files that are served. Other files in the folder are not."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types oscc"
)
"""Nothing from other origins, nothing inline, and no text that becomes markup."""

_OFF: Final = (
    "accelerometer", "autoplay", "camera", "display-capture", "geolocation", "gyroscope", "hid",
    "magnetometer", "microphone", "midi", "payment", "serial", "usb",
)  # fmt: skip

_ZERO: Final = re.compile(r"q\s*=\s*0(\.0*)?")

_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{name}=()" for name in _OFF),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """File as it is sent."""

    body: bytes
    content_type: str
    etag: str
    packed: bytes | None
    """The body as gzip, where that is smaller."""


class WebClient:
    """Routes of the web client under ``/app/``.

    Args:
        texts: File name → bytes; by default the files of the package.
    """

    def __init__(self, texts: Mapping[str, bytes] | None = None) -> None:
        self.files: Final = _prepared(_carried() if texts is None else texts)
        """Served files, by name."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/", self.redirect),
            web.get(ROOT.rstrip("/"), self.redirect),
            web.get(ROOT, self.file),
            web.get(ROOT + "{name}", self.file),
        ]

    async def redirect(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """Redirect ``GET /`` to the web client."""
        return web.Response(status=302, headers={hdrs.LOCATION: ROOT})

    async def file(self, request: web.Request) -> web.Response:
        """``GET /app/<name>``."""
        name = request.match_info.get("name", _INDEX)
        found = self.files.get(name)
        if found is None:
            raise web.HTTPNotFound
        headers = dict(_HEADERS)
        if name == WORKER:
            headers["Service-Worker-Allowed"] = ROOT
        packed = found.packed if _takes_gzip(request) else None
        etag = found.etag if packed is None else f"{found.etag}-gzip"
        known = request.if_none_match or ()
        fresh = any(tag.value in {etag, "*"} for tag in known)
        response = web.Response(status=304, headers=headers) if fresh else _whole(found, packed, headers)
        response.etag = ETag(etag)
        return response


def _takes_gzip(request: web.Request) -> bool:
    """Return whether ``Accept-Encoding`` names gzip with a weight above 0."""
    for offer in ",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])).lower().split(","):
        coding, _, weight = (part.strip() for part in offer.partition(";"))
        if coding == "gzip":
            return not _ZERO.fullmatch(weight)
    return False


def _whole(found: StaticFile, packed: bytes | None, headers: dict[str, str]) -> web.Response:
    headers[hdrs.CONTENT_TYPE] = found.content_type
    if packed is None:
        return web.Response(body=found.body, headers=headers)
    return web.Response(body=packed, headers=headers | {hdrs.CONTENT_ENCODING: "gzip"})


def _carried() -> dict[str, bytes]:
    folder = resources.files("gateway") / "web"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def _prepared(texts: Mapping[str, bytes]) -> dict[str, StaticFile]:
    """Return the *texts* of known types as they are sent; the page and its worker contain their digest."""
    served = {name: body for name, body in sorted(texts.items()) if _type(name) is not None}
    whole = hashlib.sha256()
    for name, body in served.items():
        whole.update(b"%s %d " % (name.encode(), len(body)) + body)
    version = whole.hexdigest()[:16]
    if _INDEX in served:
        served[_INDEX] = served[_INDEX].replace(b"<html ", b'<html data-version="%s" ' % version.encode(), 1)
    if WORKER in served:
        names = ["./", *(name for name in served if name not in {WORKER, _INDEX})]
        head = f"const VERSION = '{version}';\nconst FILES = {json.dumps(names)};\n"
        served[WORKER] = head.encode() + served[WORKER]
    return {name: _static(body, _type(name) or "") for name, body in served.items()}


def _static(body: bytes, content_type: str) -> StaticFile:
    packed = gzip.compress(body, compresslevel=9, mtime=0)
    smaller = packed if len(packed) < len(body) else None
    return StaticFile(body, content_type, hashlib.sha256(body).hexdigest()[:16], smaller)


def _type(name: str) -> str | None:
    return _TYPES.get(f".{name.rpartition('.')[2]}")
