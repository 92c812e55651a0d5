"""What may operators ask, and how is it answered over HTTP?"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from aiohttp import hdrs, web
from pydantic import TypeAdapter

from gateway.domain.audit import OperatorAct
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import UserId
from gateway.edge.admin_desk import Desk
from gateway.edge.admin_door import ACT_ID, DETAIL, NODE, RESULT, USER, AdminDoor
from gateway.edge.problems import answer, check_json, problems, reword
from gateway.protocol import json_form
from gateway.protocol.admin_bodies import BUNDLE, LOG_LEVEL, BundleBody, BundleView, NodeBody
from gateway.protocol.admin_bodies import NODE as NODE_BODY
from gateway.protocol.admin_openapi import CURSOR_CHARS_MAX, PAGE, PAGE_MAX, USER_ID, admin_openapi
from gateway.protocol.http_form import BODY_BYTES_MAX, JSON_TYPE, read_body
from gateway.runtime.node import Node
from gateway.runtime.orders import NOT_IN_FORCE
from gateway.runtime.ports import Clock

B = TypeVar("B")
_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_NAME: Final = "oscc-gateway"
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,3}")
_USER_ID: Final = re.compile(USER_ID)


class Bundles(Protocol):
    """Makes support bundles."""

    async def preview(self, purpose: str | None) -> BundleView:
        """Return what would be written, whole."""
        ...

    async def write(self, digest: str) -> BundleView:
        """Write what was previewed, to the letter.

        Raises:
            GatewayError: ``not_found``: nothing was previewed that has this digest, or too long ago;
                ``forbidden``: there is no folder for it.
        """
        ...


@dataclass(frozen=True, slots=True)
class AdminParts:
    """What the listener for operators is given.

    *named* returns a user's keyed hash, *draw* the id of an act: 16 hexadecimal digits.
    """

    token: str
    node: Node
    named: Callable[[UserId], str]
    audit: Callable[[OperatorAct], None]
    bundles: Bundles
    clock: Clock
    draw: Callable[[], str]


def make_admin_app(parts: AdminParts) -> web.Application:
    """Return the application of the admin listener. Run it without an access log, which would name people."""
    door = AdminDoor(parts.token, parts.named, parts.audit, parts.clock, parts.draw)
    app = web.Application(middlewares=[problems, door.guard], client_max_size=BODY_BYTES_MAX)
    app.on_response_prepare.append(_dress)
    app.on_response_prepare.append(reword)
    app.add_routes(AdminRoutes(partial(Desk, parts.node, parts.named), parts.bundles).routes())
    return app


class AdminRoutes:
    """The operators' routes. The names of the routes are those of the audited acts.

    Args:
        desk: Returns what serves the act with an id.
        bundles: Makes support bundles.
    """

    def __init__(self, desk: Callable[[str], Desk], bundles: Bundles) -> None:
        self._desk = desk
        self._bundles = bundles
        self._openapi = json_form.write(admin_openapi())

    def routes(self) -> list[web.RouteDef]:
        """Return them."""
        return [
            web.get("/openapi.json", self.openapi, name="get_openapi"),
            web.get("/sessions", self.sessions, name="list_sessions"),
            web.delete("/sessions/{id}", self.end_session, name="end_session"),
            web.post("/users/{id}/end", self.end_user, name="end_user"),
            web.get("/users/{id}/export", self.export, name="export_user"),
            web.post("/drain", self.drain, name="drain"),
            web.get("/nodes", self.nodes, name="list_nodes"),
            web.get("/closes", self.closes, name="list_closes"),
            web.post("/log-level", self.log_level, name="set_log_level"),
            web.post("/support-bundle", self.support_bundle, name="support_bundle"),
            web.post("/reload", self.reload, name="reload"),
        ]

    async def openapi(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """``GET /openapi.json``."""
        return web.Response(body=self._openapi, content_type=JSON_TYPE, charset="utf-8")

    async def sessions(self, request: web.Request) -> web.Response:
        """``GET /sessions``."""
        return await _page(request, self._desk(request[ACT_ID]).sessions)

    async def closes(self, request: web.Request) -> web.Response:
        """``GET /closes``."""
        return await _page(request, self._desk(request[ACT_ID]).closes)

    async def nodes(self, request: web.Request) -> web.Response:
        """``GET /nodes``."""
        return answer(self._desk(request[ACT_ID]).nodes())

    async def end_session(self, request: web.Request) -> web.Response:
        """``DELETE /sessions/{id}``."""
        done = await self._desk(request[ACT_ID]).end_session(_word(request.match_info["id"], "id"))
        request[USER] = done.ended[0].user
        return answer(done)

    async def end_user(self, request: web.Request) -> web.Response:
        """``POST /users/{id}/end``."""
        done = await self._desk(request[ACT_ID]).end_user(_user(request))
        request[USER] = done.ended[0].user
        return answer(done)

    async def export(self, request: web.Request) -> web.Response:
        """``GET /users/{id}/export``."""
        held = await self._desk(request[ACT_ID]).export(_user(request))
        request[USER] = held.user
        return answer(held)

    async def drain(self, request: web.Request) -> web.Response:
        """``POST /drain``."""
        wish = await _optional(request)
        return answer(await self._desk(request[ACT_ID]).drain(wish.node), status=202)

    async def log_level(self, request: web.Request) -> web.Response:
        """``POST /log-level``."""
        wish = await _body(request, LOG_LEVEL)
        request[DETAIL] = wish.level
        _note_node(request, wish.node)
        return answer(await self._desk(request[ACT_ID]).everywhere("log_level", wish.level, wish.node))

    async def reload(self, request: web.Request) -> web.Response:
        """``POST /reload``."""
        wish = await _optional(request)
        done = await self._desk(request[ACT_ID]).everywhere("reload", "", wish.node)
        if done.kept or done.keys_differ:
            request[RESULT] = NOT_IN_FORCE
        return answer(done)

    async def support_bundle(self, request: web.Request) -> web.Response:
        """``POST /support-bundle``."""
        wish: BundleBody = await _body(request, BUNDLE)
        request[DETAIL] = "preview" if wish.preview else "write"
        if wish.preview:
            if wish.digest is not None:
                raise GatewayError(ErrorCode.BAD_REQUEST, "A preview has no digest yet.")
            return answer(await self._bundles.preview(wish.purpose))
        if wish.digest is None or wish.purpose is not None:
            sentence = "Ask for a preview first, then write it by its digest alone."
            raise GatewayError(ErrorCode.BAD_REQUEST, sentence)
        return answer(await self._bundles.write(wish.digest))


async def _page(request: web.Request, ask: Callable[[int, str], Awaitable[object]]) -> web.Response:
    limit = _one(request, "limit") or str(PAGE)
    if _LIMIT.fullmatch(limit) is None or int(limit) > PAGE_MAX:
        raise GatewayError(ErrorCode.BAD_REQUEST, f"limit is a number from 1 to {PAGE_MAX}.")
    after = _one(request, "after")
    return answer(await ask(int(limit), "" if after is None else _word(after, "after")))


def _one(request: web.Request, name: str) -> str | None:
    given = request.query.getall(name, [])
    if len(given) > 1 or given == [""]:
        raise GatewayError(ErrorCode.BAD_REQUEST, f"{name} stands there once, with a value.")
    return given[0] if given else None


def _word(text: str, name: str) -> str:
    """Return *text* if it may travel to other nodes and be compared."""
    if len(text) > CURSOR_CHARS_MAX or not text.isprintable():
        raise GatewayError(ErrorCode.BAD_REQUEST, f"{name} is no id.")
    return text


def _user(request: web.Request) -> str:
    name = request.match_info["id"]
    if _USER_ID.fullmatch(name) is None:
        raise GatewayError(ErrorCode.BAD_REQUEST, "A user is named by a keyed hash, or as site:key.")
    return name


async def _body(request: web.Request, of: TypeAdapter[B]) -> B:
    check_json(request)
    return read_body(await request.read(), of)


async def _optional(request: web.Request) -> NodeBody:
    """Return which node is meant; no body at all means none."""
    wish = await _body(request, NODE_BODY) if request.body_exists else NodeBody()
    _note_node(request, wish.node)
    return wish


def _note_node(request: web.Request, node: str | None) -> None:
    if node is not None:
        request[NODE] = node


async def _dress(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - aiohttp asks so
    """Add the headers that every answer has, and nothing that would let a web page read it."""
    response.headers.update(_HEADERS)
    response.headers[hdrs.SERVER] = _NAME
