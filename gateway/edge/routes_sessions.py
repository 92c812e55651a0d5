"""How are sessions begun, seen and ended over HTTP?"""

from __future__ import annotations

from aiohttp import hdrs, web

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
from gateway.protocol.http_form import read_body


class SessionRoutes:
    """Routes about sessions. All but the log-on, which has a password, need a token: not in clear text."""

    def __init__(self, parts: EdgeParts, login: Login, bearer: Bearer, visitors: Visitors) -> None:
        self._parts = parts
        self._login = login
        self._bearer = bearer
        self._visitors = visitors

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
        ticket = self._ticket(request)
        elsewhere, complete = await self._parts.elsewhere(ticket)
        told = export(
            ticket,
            self._parts.node.seen_by(ticket),
            address=str(self._visitors.address(request)),
            at_ms=self._parts.clock.wall_ms(),
            elsewhere=elsewhere,
            complete=complete,
        )
        return answer(told)

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
