"""Admin API: access control, audit, operations on all nodes, and HTTP routes."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from aiohttp import hdrs, web
from pydantic import TypeAdapter, ValidationError

from gateway.core.rate_limits import TokenBucket
from gateway.domain.commands import OperatorAct, UserHash
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.edge.credentials import token_in
from gateway.edge.export import ENDED_WITHIN_S, gather_holdings, user_of
from gateway.edge.request_context import SERVER_NAME, Handler, answer, check_json, problems, reword
from gateway.protocol import codec
from gateway.protocol.bodies import (
    BODY_BYTES_MAX,
    BUNDLE,
    JSON_TYPE,
    LOG_LEVEL,
    AttachedBody,
    AttachedSession,
    BundleBody,
    BundleView,
    ClosesBody,
    CloseView,
    DoneBody,
    DrainBody,
    EndedBody,
    EndedSession,
    ExportEntry,
    HeldBody,
    KeptOld,
    KeysInForce,
    NodeBody,
    NodesBody,
    NodeView,
    Unreached,
    read_body,
)
from gateway.protocol.bodies import NODE as NODE_BODY
from gateway.protocol.envelopes import Order, Record
from gateway.protocol.openapi import CURSOR_CHARS_MAX, PAGE, PAGE_MAX, USER_ID, admin_openapi
from gateway.protocol.schemas import inventory
from gateway.runtime.cluster_receiver import NOT_IN_FORCE, ORDER_ANSWER_S, NodeAnswer
from gateway.runtime.node import Node
from gateway.runtime.ports import Clock

TRIES_PER_S: Final = 1.0
TRIES_BURST: Final = 10
"""Wrong tokens allowed at once, then one per second. Beyond that no token is checked."""
NODE: Final = web.RequestKey("node", str)
"""Set by the handler of a request: the node that was addressed."""
DETAIL: Final = web.RequestKey("detail", str)
"""Set by the handler: a detail of the act."""
USER: Final = web.RequestKey("user", str)
"""Set by the handler: the keyed hash of the user concerned, once a node has found them."""
RESULT: Final = web.RequestKey("result", str)
"""Set by the handler when the response is no error, but a part of the request was not done."""
ACT_ID: Final = web.RequestKey("act_id", str)
"""Set by the middleware: the id in all audit lines of this request, on all nodes."""
_UNKNOWN: Final = "unknown"
_HASH_CHARACTERS: Final = 16


class AdminAccess:
    """Access control and audit of the admin API.

    Invariants: an accepted request showed the token, and each accepted request is audited. Of the refused
    requests one per second is audited; the others are counted in the next record.
    """

    def __init__(self, parts: AdminParts) -> None:
        self._digest: Final = _digest(parts.token)
        self._parts = parts
        self._tries = TokenBucket(TRIES_PER_S, TRIES_BURST)
        self._refusals = TokenBucket(1.0, 1.0)
        self._suppressed = 0

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve *request* if it is allowed, and write an audit record."""
        status, result, is_admitted = 500, ErrorCode.INTERNAL.value, False
        request[ACT_ID] = self._parts.draw()
        try:
            self._admit(request)
            is_admitted = True
            response = await handler(request)
            status, result = response.status, request.get(RESULT, "ok")
        except GatewayError as error:
            status, result = error.status, error.code.value
            raise
        except web.HTTPException as refusal:
            status = refusal.status
            result = (ErrorCode.NOT_FOUND if status == 404 else ErrorCode.BAD_REQUEST).value
            raise
        else:
            return response
        finally:
            if is_admitted or self._refusals.take(self._parts.clock.now()):
                self._note(request, status, result)
            else:
                self._suppressed += 1

    def _admit(self, request: web.Request) -> None:
        """Refuse *request* unless it shows the token.

        Raises:
            GatewayError: ``forbidden`` for web pages, ``unauthenticated``, or ``rate_limited`` while too many
                wrong tokens were shown.
        """
        now = self._parts.clock.now()
        wait_s = self._tries.wait_s(now)
        if wait_s > 0:
            raise GatewayError(ErrorCode.RATE_LIMITED, "Too many wrong tokens.", retry_after_s=wait_s)
        if hdrs.ORIGIN in request.headers:
            raise GatewayError(
                ErrorCode.FORBIDDEN, "Web pages may not use the admin API. Use the command line instead."
            )
        shown = token_in(request.headers.getall(hdrs.AUTHORIZATION, []))  # a missing token is no attempt
        if not hmac.compare_digest(_digest(shown), self._digest):
            self._tries.take(now)
            raise GatewayError(ErrorCode.UNAUTHENTICATED, "The token is not valid.")

    def _note(self, request: web.Request, status: int, result: str) -> None:
        name = request.match_info.route.name or _UNKNOWN
        detail, user = request.get(DETAIL), request.get(USER)
        self._parts.audit(
            OperatorAct(
                act=name if detail is None else f"{name} {detail}",
                subject=self._subject(request),
                node=request.get(NODE),
                result=result,
                status=status,
                suppressed=self._suppressed,
                user=None if user is None else UserHash(user),
                act_id=request[ACT_ID],
            )
        )
        self._suppressed = 0

    def _subject(self, request: web.Request) -> str | None:
        """Return the subject: a user's keyed hash, or the hash of a session's public id."""
        name = request.match_info.get("id")
        if name is None:
            return None
        if request.match_info.route.name == "end_session":
            named = name.encode(errors="replace")
            return hashlib.blake2s(named, digest_size=8, person=b"session").hexdigest()
        user = user_of(name)
        return self._parts.named(user) if user is not None else name[:_HASH_CHARACTERS]


def _digest(token: str) -> bytes:
    """Return the digest to compare, of equal length for all tokens."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


R = TypeVar("R")
_ATTACHED: Final = TypeAdapter(tuple[AttachedSession, ...])
_CLOSED: Final = TypeAdapter(tuple[CloseView, ...])
_ENDED: Final = TypeAdapter(tuple[EndedSession, ...])
_ELSEWHERE: Final = (
    "Not found on the nodes that were reached, but others were not. Try again when all nodes are reached."
)


class ClusterOperations:
    """Operations on all nodes, and the union of their answers.

    Invariant: every live node has answered, or is named in ``unreached``.

    *named* returns a user's keyed hash. *act_id* is in the audit records of all nodes.
    """

    def __init__(self, node: Node, named: Callable[[UserId], str], act_id: str) -> None:
        self._node = node
        self._named = named
        self._act_id = act_id

    # ---- looking ----

    async def sessions(self, limit: int, after: str) -> AttachedBody:
        """Return a page of the sessions that OSCC-E has accepted."""
        answers = await self._ask("sessions", after=after, most=limit)
        found, unreached = _read(_ATTACHED, answers)
        # while a user moves, two nodes may report a session: the one that serves it is right
        best: dict[str, AttachedSession] = {}
        for one in found:
            if one.id not in best or one.attached:
                best[one.id] = one
        page = sorted(best.values(), key=lambda one: one.id)[:limit]
        more = len(best) > limit or any(each.page.more for each in answers)
        return AttachedBody(tuple(page), unreached, page[-1].id if more and page else None)

    async def closes(self, limit: int, after: str) -> ClosesBody:
        """Return a page of the connections that ended, the newest first."""
        answers = await self._ask("closes", after=after, most=limit)
        found, unreached = _read(_CLOSED, answers)
        page = sorted(found, key=lambda one: one.id, reverse=True)[:limit]
        more = len(found) > limit or any(each.page.more for each in answers)
        return ClosesBody(tuple(page), unreached, page[-1].id if more and page else None)

    def nodes(self) -> NodesBody:
        """Return the live nodes, as this node sees them."""
        own = self._node.record()
        others = [each for each in self._node.membership.nodes if each.holder != own.holder]
        views = [
            NodeView(
                each.node,
                each.version,
                each.connections,
                each.links,
                each.draining,
                each.accepts_per_s,
                here=each is own,
                sealing_keys=tuple(each.sealing_keys.split()),
            )
            for each in (own, *others)
        ]
        return NodesBody(tuple(sorted(views, key=lambda view: (view.node, not view.here))))

    async def export(self, name: str) -> HeldBody:
        """Return everything that live nodes hold about a user.

        Raises:
            GatewayError: ``not_found``: no node has a user with this hash; ``bus_down``: a node that was not
                reached may have one.
        """
        user = user_of(name) or await self._whois(name)
        pages = await gather_holdings(self._node.orders, user, self._act_id)
        by_category: dict[str, list[Record]] = {}
        for answers in pages:
            for record in answers.page.records:
                held = {"node": answers.node, **record["held"]}
                by_category.setdefault(record["category"], []).append(held)
        entries = tuple(
            ExportEntry(entry.category, tuple(by_category.get(entry.category, ())))
            for entry in inventory().entries
        )
        unreached = _unreached(pages)
        return HeldBody(
            user=self._named(user),
            at_ms=self._node.clock.wall_ms(),
            complete=not unreached and not any(each.page.more for each in pages),
            nodes=tuple(each.node for each in pages if each.trouble is None),
            unreached=unreached,
            entries=entries,
        )

    # ---- acting ----

    async def end_session(self, session: str) -> EndedBody:
        """End a session on the node that serves it.

        Raises:
            GatewayError: ``not_found``, or ``bus_down`` when it may be on a node that was not reached.
        """
        return self._ended(await self._ask("end_session", session, within_s=ENDED_WITHIN_S), "session")

    async def end_user(self, name: str) -> EndedBody:
        """End all sessions of a user.

        Raises:
            GatewayError: ``not_found``, or ``bus_down`` when the user may be on a node that was not reached.
        """
        user = user_of(name)
        subject = name if user is None else self._named(user)
        return self._ended(await self._ask("end_user", subject, within_s=ENDED_WITHIN_S), "user")

    async def everywhere(self, act: str, subject: str, node: str | None) -> DoneBody:
        """Perform an act without a result on all nodes, or on one.

        Raises:
            GatewayError: ``not_found``: no such node lives; ``bus_down``: it was not reached.
        """
        answers = await self._ask(act, subject, nodes=None if node is None else self._named_one(node))
        reached = [each for each in answers if each.trouble is None]
        if not reached:
            raise _not_reached(_unreached(answers), " ".join(_why(each) for each in answers))
        kept = tuple(KeptOld(each.node, _kept(each)) for each in reached if _kept(each))
        done = tuple(each.node for each in reached if not _kept(each))
        keys = tuple(KeysInForce(each.node, names) for each in reached if (names := _keys(each)))
        return DoneBody(done, _unreached(answers), kept or None, keys or None)

    async def drain(self, node: str | None) -> DrainBody:
        """Drain a node, by default this one.

        Raises:
            GatewayError: ``not_found``: no such node lives; ``bus_down``: it was not reached.
        """
        done = await self.everywhere("drain", "", node or self._node.orders.node)
        return DrainBody(done.nodes[0])

    # ---- inner ----

    async def _ask(
        self,
        act: str,
        subject: str = "",
        *,
        after: str = "",
        most: int = 0,
        nodes: Iterable[NodeId] | None = None,
        within_s: float = ORDER_ANSWER_S,
    ) -> list[NodeAnswer]:
        orders = self._node.orders
        order = Order(orders.node, 0, act, subject, after, most, self._act_id)
        if nodes is None:
            return [*await orders.ask(order, orders.nodes, within_s), *orders.unknown]
        return await orders.ask(order, nodes, within_s)

    def _named_one(self, node: str) -> tuple[NodeId, ...]:
        meant = tuple(each for each in self._node.orders.nodes if each == node)
        if not meant:
            raise GatewayError(
                ErrorCode.NOT_FOUND, "There is no live node of that name. List the nodes to see their names."
            )
        return meant

    async def _whois(self, name: str) -> UserId:
        answers = await self._ask("whois", name)
        for each in answers:
            for record in each.page.records:
                return UserId(str(record["site"]), int(record["key"]))
        unreached = _unreached(answers)
        raise _not_reached(unreached) if unreached else _not_found("user")

    def _ended(self, answers: list[NodeAnswer], what: str) -> EndedBody:
        found, unreached = _read(_ENDED, answers)
        if not found:
            raise _not_reached(unreached) if unreached else _not_found(what)
        # several nodes may have ended the same session: one confirmation is enough
        ended: dict[str, EndedSession] = {}
        for one in found:
            if one.id not in ended or one.confirmed:
                ended[one.id] = one
        return EndedBody(tuple(ended.values()), unreached)


def _read(
    adapter: TypeAdapter[tuple[R, ...]], answers: list[NodeAnswer]
) -> tuple[list[R], tuple[Unreached, ...]]:
    """Return the records of all nodes, and the nodes that were not reached or whose records are invalid."""
    found: list[R] = []
    strange: list[Unreached] = []
    for each in answers:
        try:
            found += adapter.validate_python(each.page.records)
        except ValidationError:
            strange.append(Unreached(each.node, "refused"))
    return found, (*_unreached(answers), *strange)


def _kept(answers: NodeAnswer) -> tuple[str, ...]:
    """Return which settings a node kept at a reload."""
    return tuple(str(record["kept"]) for record in answers.page.records if "kept" in record)


def _keys(answers: NodeAnswer) -> tuple[str, ...]:
    """Return the sealing keys that a node reported."""
    return tuple(str(name) for record in answers.page.records for name in record.get("sealing_keys", ()))


def _unreached(answers: Iterable[NodeAnswer]) -> tuple[Unreached, ...]:
    return tuple(Unreached(each.node, each.trouble) for each in answers if each.trouble is not None)


def _why(answers: NodeAnswer) -> str:
    """Return why the addressed node has not done the act."""
    match answers.trouble:
        case "not_heard":
            return f"{answers.node} does not answer: it has ended, or does not reach Redis."
        case "bus_down":
            return f"This node does not reach Redis, and so does not reach {answers.node}."
        case "refused":
            return f"{answers.node} does not support this request."
        case _:
            return f"{answers.node} did not confirm in time. Check its state before you repeat the request."


def _not_reached(unreached: tuple[Unreached, ...], sentence: str = _ELSEWHERE) -> GatewayError:
    listed: list[dict[str, str | int | bool | None]] = [
        {"node": each.node, "reason": each.reason} for each in unreached
    ]
    return GatewayError(ErrorCode.BUS_DOWN, sentence, unreached=listed)


def _not_found(what: str) -> GatewayError:
    return GatewayError(ErrorCode.NOT_FOUND, f"No node has that {what}.")


B = TypeVar("B")
_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,3}")
_USER_ID: Final = re.compile(USER_ID)
_CLOSE_ID: Final = re.compile(r"\d{15}\.\d{10}\..+")


class SupportBundles(Protocol):
    """Maker of support bundles."""

    async def preview(self, purpose: str | None) -> BundleView:
        """Return the complete bundle that would be written."""

    async def write(self, digest: str) -> BundleView:
        """Write exactly the bundle of the preview.

        Raises:
            GatewayError: ``not_found``: there is no recent preview with this digest;
                ``forbidden``: no folder is configured.
        """


@dataclass(frozen=True, slots=True)
class AdminParts:
    """Dependencies of the listener for operators.

    *named* returns a user's keyed hash, *draw* the id of an act: 16 hexadecimal digits.
    """

    token: str
    node: Node
    named: Callable[[UserId], str]
    audit: Callable[[OperatorAct], None]
    bundles: SupportBundles
    clock: Clock
    draw: Callable[[], str]


def make_admin_app(parts: AdminParts) -> web.Application:
    """Return the application of the admin listener. Run it without an access log, which would name people."""
    app = web.Application(middlewares=[problems, AdminAccess(parts).guard], client_max_size=BODY_BYTES_MAX)
    app.on_response_prepare.append(_add_common_headers)
    app.on_response_prepare.append(reword)
    app.add_routes(AdminRoutes(partial(ClusterOperations, parts.node, parts.named), parts.bundles).routes())
    return app


class AdminRoutes:
    """Routes of the admin API. Their names are the names of the audited acts.

    *operations* returns those for the act with an id.
    """

    def __init__(self, operations: Callable[[str], ClusterOperations], bundles: SupportBundles) -> None:
        self._operations = operations
        self._bundles = bundles
        self._openapi = codec.write_json(admin_openapi())

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
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
        return await _page(request, self._operations(request[ACT_ID]).sessions)

    async def closes(self, request: web.Request) -> web.Response:
        """``GET /closes``."""
        after = _one(request, "after")
        if after is not None and _CLOSE_ID.fullmatch(after) is None:
            raise GatewayError(ErrorCode.BAD_REQUEST, "after must be the `next` of a page.")
        return await _page(request, self._operations(request[ACT_ID]).closes)

    async def nodes(self, request: web.Request) -> web.Response:
        """``GET /nodes``."""
        return answer(self._operations(request[ACT_ID]).nodes())

    async def end_session(self, request: web.Request) -> web.Response:
        """``DELETE /sessions/{id}``."""
        done = await self._operations(request[ACT_ID]).end_session(_word(request.match_info["id"], "id"))
        request[USER] = done.ended[0].user
        return answer(done)

    async def end_user(self, request: web.Request) -> web.Response:
        """``POST /users/{id}/end``."""
        done = await self._operations(request[ACT_ID]).end_user(_user(request))
        request[USER] = done.ended[0].user
        return answer(done)

    async def export(self, request: web.Request) -> web.Response:
        """``GET /users/{id}/export``."""
        held = await self._operations(request[ACT_ID]).export(_user(request))
        request[USER] = held.user
        return answer(held)

    async def drain(self, request: web.Request) -> web.Response:
        """``POST /drain``."""
        wish = await _optional(request)
        return answer(await self._operations(request[ACT_ID]).drain(wish.node), status=202)

    async def log_level(self, request: web.Request) -> web.Response:
        """``POST /log-level``."""
        wish = await _body(request, LOG_LEVEL)
        request[DETAIL] = wish.level
        _note_node(request, wish.node)
        return answer(await self._operations(request[ACT_ID]).everywhere("log_level", wish.level, wish.node))

    async def reload(self, request: web.Request) -> web.Response:
        """``POST /reload``."""
        wish = await _optional(request)
        done = await self._operations(request[ACT_ID]).everywhere("reload", "", wish.node)
        if done.kept or done.keys_differ:
            request[RESULT] = NOT_IN_FORCE
        return answer(done)

    async def support_bundle(self, request: web.Request) -> web.Response:
        """``POST /support-bundle``."""
        wish: BundleBody = await _body(request, BUNDLE)
        request[DETAIL] = "preview" if wish.preview else "write"
        if wish.preview:
            if wish.digest is not None:
                raise GatewayError(ErrorCode.BAD_REQUEST, "A preview has no digest. Leave it out.")
            return answer(await self._bundles.preview(wish.purpose))
        if wish.digest is None or wish.purpose is not None:
            sentence = "Ask for a preview first, then write it by its digest alone."
            raise GatewayError(ErrorCode.BAD_REQUEST, sentence)
        return answer(await self._bundles.write(wish.digest))


async def _page(request: web.Request, ask: Callable[[int, str], Awaitable[object]]) -> web.Response:
    limit = _one(request, "limit") or str(PAGE)
    if _LIMIT.fullmatch(limit) is None or int(limit) > PAGE_MAX:
        raise GatewayError(ErrorCode.BAD_REQUEST, f"limit must be a number from 1 to {PAGE_MAX}.")
    after = _one(request, "after")
    return answer(await ask(int(limit), "" if after is None else _word(after, "after")))


def _one(request: web.Request, name: str) -> str | None:
    given = request.query.getall(name, [])
    if len(given) > 1 or given == [""]:
        raise GatewayError(ErrorCode.BAD_REQUEST, f"{name} must be given once, with a value.")
    return given[0] if given else None


def _word(text: str, name: str) -> str:
    """Return *text* if it is a valid id to send to other nodes."""
    if len(text) > CURSOR_CHARS_MAX or not text.isprintable():
        raise GatewayError(ErrorCode.BAD_REQUEST, f"{name} must be an id.")
    return text


def _user(request: web.Request) -> str:
    name = request.match_info["id"]
    if _USER_ID.fullmatch(name) is None:
        raise GatewayError(ErrorCode.BAD_REQUEST, "A user must be given by keyed hash, or as site:key.")
    return name


async def _body(request: web.Request, of: TypeAdapter[B]) -> B:
    check_json(request)
    return read_body(await request.read(), of)


async def _optional(request: web.Request) -> NodeBody:
    """Return the addressed node; an empty body addresses none."""
    wish = await _body(request, NODE_BODY) if request.body_exists else NodeBody()
    _note_node(request, wish.node)
    return wish


def _note_node(request: web.Request, node: str | None) -> None:
    if node is not None:
        request[NODE] = node


async def _add_common_headers(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - aiohttp asks so
    """Add the common headers, and no CORS headers: no web page may read a response."""
    response.headers.update(_HEADERS)
    response.headers[hdrs.SERVER] = SERVER_NAME
