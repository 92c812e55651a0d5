"""HTTPS routes of the reference link."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from gateway.simulator import fields
from gateway.simulator.about import About
from gateway.simulator.accounts import APPLICATIONS
from gateway.simulator.clock import Clock
from gateway.simulator.errors import Refused
from gateway.simulator.faults import Faults
from gateway.simulator.model import Json
from gateway.simulator.session import Ended, LogOn, Session
from gateway.simulator.sessions import Sessions
from gateway.simulator.switchboard import Switchboard

SESSION_HEADER = "OSCCE-Session"
BODY_LIMIT_BYTES = 64 * 1024


class WebDoor:
    """The routes of the local web server."""

    def __init__(self, board: Switchboard, about: About, faults: Faults, clock: Clock) -> None:
        self._clock = clock
        self._board = board
        self._about = about
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """List the routes but the link."""
        return [
            web.get("/oscce/v1/about", self._say_about),
            web.post("/oscce/v1/sessions", self._log_on),
            web.get("/oscce/v1/sessions", self._list),
            web.post("/oscce/v1/sessions/current/keepalive", self._keep_alive),
            web.delete("/oscce/v1/sessions/current", self._log_off),
            web.delete("/oscce/v1/sessions/{public_id}", self._end_other),
        ]

    async def date(self, _request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Let an answer tell the server's time, not that of the machine it runs on."""
        response.headers[hdrs.DATE] = formatdate(self._board.center.wall_ms // 1000, usegmt=True)

    @property
    def troubles(self) -> Middleware:
        """Hold requests up while the whole server is frozen or slow."""

        @web.middleware
        async def hold_up(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            while (wait_s := self._faults.wait_s()) > 0:
                await self._clock.sleep(wait_s)
                if self._faults.delay_s > 0:
                    break
            return await handler(request)

        return hold_up

    async def _say_about(self, _request: web.Request) -> web.Response:
        return _answer(self._about.as_json() | {"ServerInstance": self._board.server_instance})

    async def _log_on(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        self._faults.check_log_on()
        device = fields.mapping(body, "Device")
        asked = LogOn(
            fields.one_of(body, "Application", APPLICATIONS),
            fields.text(body, "UserName"),
            fields.text(body, "Password"),
            fields.text(device, "ID"),
            fields.text(device, "Name"),
            fields.optional_text(body, "RemoteNumber"),
            fields.flag(body, "Takeover", default=False),
        )
        session = self._sessions.log_on(asked)
        self._board.flush_ended()
        answer: Json = {
            "SessionID": session.secret,
            "ID": session.public_id,
            "ExpiresAt": session.expires_ms + self._board.center.skew_ms,
            "IdleTimeout": session.idle_timeout_s,
            "User": session.account.as_json(),
            "ServerInstance": self._board.server_instance,
        }
        number = self._sessions.remote_number(session)
        if number is not None:
            answer["RemoteNumber"] = number
        return _answer(answer, 201)

    async def _keep_alive(self, request: web.Request) -> web.Response:
        expires_ms = self._sessions.keep_alive(self._session(request))
        return _answer({"ExpiresAt": expires_ms + self._board.center.skew_ms})

    async def _list(self, request: web.Request) -> web.Response:
        own = self._session(request)
        found = [
            {
                "ID": each.public_id,
                "Application": each.application,
                "Device": {"ID": each.device_id, "Name": each.device_name},
                "Since": each.since_ms + self._board.center.skew_ms,
                "Attached": each.link_id is not None,
            }
            for each in self._sessions.of_user(own.account.key)
        ]
        return _answer({"Sessions": found})

    async def _log_off(self, request: web.Request) -> web.Response:
        return self._end(self._sessions.find(_secret(request)), None)

    async def _end_other(self, request: web.Request) -> web.Response:
        own = self._session(request)
        other = self._sessions.find_own(own, request.match_info["public_id"])
        return self._end(other, None if other is own else own.device_name)

    def _end(self, found: Session | Ended, by: str | None) -> web.Response:
        ended = found if isinstance(found, Ended) else self._sessions.end(found, "LoggedOff", by)
        self._board.flush_ended()
        return _answer(self._sessions.routing_of(ended))

    def _session(self, request: web.Request) -> Session:
        return self._sessions.get(_secret(request))

    @property
    def _sessions(self) -> Sessions:
        return self._board.sessions


@web.middleware
async def refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn a refusal into the page's error body."""
    try:
        return await handler(request)
    except Refused as refused:
        return _answer({"Error": refused.name, **refused.details}, refused.status)


async def read_body(request: web.Request) -> fields.Body:
    """Read a JSON object.

    Raises:
        Refused: ``BadRequest``.
    """
    try:
        body = json.loads(await request.text())
    except (ValueError, RecursionError):
        raise Refused("BadRequest") from None
    if not isinstance(body, dict):
        raise Refused("BadRequest")
    return body


def _answer(content: Json, status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers={"Cache-Control": "no-store"})


def _secret(request: web.Request) -> str:
    return request.headers.get(SESSION_HEADER, "")
