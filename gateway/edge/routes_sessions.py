"""How are sessions begun, seen and ended over HTTP?"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import SessionId, Ticket
from gateway.domain.upstream import LoggedOff, SessionInfo
from gateway.edge.addresses import neighbourhood
from gateway.edge.bearer import Bearer, judged
from gateway.edge.callers import body_of
from gateway.edge.export import export
from gateway.edge.login import Login, session_view, user_view
from gateway.edge.parts import EdgeParts
from gateway.edge.problems import answer, check_json
from gateway.edge.routes_public import accept_language
from gateway.edge.visitors import Visitors
from gateway.protocol.bodies import (
    LOG_ON,
    DeviceView,
    LogOffPending,
    SessionBody,
    SessionEntry,
    SessionsBody,
)
from gateway.protocol.http_form import JSON_TYPE, read_body

EXPORT_AGAIN_S: Final = 5.0
"""When to ask again for an export while one of the same session is being made."""
SLICE_S: Final = 0.002
SLICE_RECORDS: Final = 100
"""After so long, or so many records, of an export others have their turn."""


class SessionRoutes:
    """Routes about sessions. All but the log-on, which has a password, need a token: not in clear text."""

    def __init__(self, parts: EdgeParts, login: Login, bearer: Bearer, visitors: Visitors) -> None:
        self._parts = parts
        self._login = login
        self._bearer = bearer
        self._visitors = visitors
        self._exporting: set[str] = set()
        """Sessions whose export is being made, by their handles."""

    def routes(self) -> list[web.RouteDef]:
        """Return them."""
        private = self._visitors.private
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
        address = self._visitors.address(request)
        self._parts.doors.knock(address, self._parts.clock.now())
        check_json(request)
        body = read_body(await body_of(request, self._parts.clock), LOG_ON)
        created = await self._login.log_on(body, accept_language(request), str(neighbourhood(address)))
        if request.transport is None or request.transport.is_closing():
            # nobody will ever know the token: its number must not be routed until the session ends unattached
            await self._parts.accounts.log_off(self._bearer.for_log_off([f"Bearer {created.token}"]).ticket)
        return answer(created, status=201)

    async def session(self, request: web.Request) -> web.Response:
        """``GET /v1/session``."""
        ticket = self._ticket(request)
        return answer(SessionBody(session_view(ticket), user_view(ticket)))

    async def log_off(self, request: web.Request) -> web.Response:
        """``DELETE /v1/session``."""
        opened = self._bearer.for_log_off(request.headers.getall(hdrs.AUTHORIZATION, []))
        return _ended(await self._parts.accounts.log_off(opened.ticket))

    async def sessions(self, request: web.Request) -> web.Response:
        """``GET /v1/sessions``."""
        ticket = self._ticket(request)
        with judged(ticket):
            found = await self._parts.accounts.sessions(ticket)
        return answer(SessionsBody(tuple(_entry(info, ticket) for info in found)))

    async def end(self, request: web.Request) -> web.Response:
        """``DELETE /v1/sessions/{id}``."""
        session = SessionId(request.match_info["id"])
        opened = self._bearer.for_log_off(request.headers.getall(hdrs.AUTHORIZATION, []))
        # one's own is ended as often, and as late, as one may log off
        ticket = opened.ticket if session == opened.ticket.session else self._ticket(request)
        with judged(ticket):
            return _ended(await self._parts.accounts.end(ticket, session))

    async def export(self, request: web.Request) -> web.Response:
        """``GET /v1/me/export``."""
        opened = self._bearer.of_header(request.headers.getall(hdrs.AUTHORIZATION, []))
        ticket = opened.ticket
        if ticket.handle in self._exporting:
            raise GatewayError(
                ErrorCode.RATE_LIMITED,
                "An export of this session is under way.",
                retry_after_s=EXPORT_AGAIN_S,
            )
        self._exporting.add(ticket.handle)
        try:
            if opened.expired:  # whether its session has ended, OSCC-E says
                with judged(ticket):
                    await self._parts.accounts.sessions(ticket)
            body = await self._exported(ticket, str(self._visitors.address(request)))
        finally:
            self._exporting.remove(ticket.handle)
        return web.Response(body=body, content_type=JSON_TYPE, charset="utf-8")

    async def _exported(self, ticket: Ticket, address: str) -> bytes:
        """Return the body of an export, made in slices between which everybody else has a turn."""
        elsewhere, complete = await self._parts.elsewhere(ticket)
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
            if number % SLICE_RECORDS == 0 or clock.now() - began > SLICE_S:
                await clock.sleep(0)
                began = clock.now()
        return bytes(body)

    def _ticket(self, request: web.Request) -> Ticket:
        return self._bearer.of_header(request.headers.getall(hdrs.AUTHORIZATION, [])).ticket


def _ended(told: LoggedOff) -> web.Response:
    if told.routing == "after_contact":
        return answer(LogOffPending(told.routed_until_ms), status=202)
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
