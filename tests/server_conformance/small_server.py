"""The least server that keeps the page: Dashboards without features, hooks or anything that may be absent.

It shares no code with the simulator: the kit is held against the page, not against one reading of it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import WSCloseCode, WSMsgType, web

Json = dict[str, Any]
PASSWORD: Final = "small"
USERS: Final = {"ann": 1, "bob": 2}
QUEUES: Final = (11, 12)
SCOPE: Final[Json] = {"Users": [], "Queues": list(QUEUES), "Groups": [], "Aggregates": []}
KEY_NAMES: Final = {
    "UserRealtime": "UserKey", "QueueRealtime": "QueueKey", "GroupRealtime": "GroupKey",
    "AggregateRealtime": "AggregateKey", "QueueCumulative": "QueueKey", "UserCumulative": "UserKey",
    "Configuration": "Key",
}  # fmt: skip


def now_ms() -> int:
    return int(time.time() * 1000)  # noqa: TID251 - this server lives in real time


class RefusedError(Exception):
    """A request is refused, with a code of the page."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code: Final = code


@dataclass(eq=False)
class Session:
    """One log-on."""

    user: str
    device: Json
    since: int
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    public: str = field(default_factory=lambda: secrets.token_hex(4))
    link: Link | None = None
    alias: int = 0


@dataclass(eq=False)
class Link:
    """One link of one user."""

    user: str
    socket: web.WebSocketResponse
    sessions: dict[int, Session] = field(default_factory=dict)
    queries: dict[int, str] = field(default_factory=dict)
    count: int = 0

    async def say(self, **message: object) -> None:
        if not self.socket.closed:
            await self.socket.send_str(json.dumps(message))

    def attach(self, session: Session) -> Json:
        if session.link is not self:
            self.count += 1
            session.link, session.alias = self, self.count
            self.sessions[session.alias] = session
        return {
            "Session": session.alias,
            "ID": session.public,
            "Application": "Dashboard",
            "Rights": [],
            "Scope": SCOPE,
        }


class SmallServer:
    """An async context manager that listens on the loopback interface."""

    def __init__(self) -> None:
        self.url = ""
        self._sessions: dict[str, Session] = {}
        self._ended: set[str] = set()
        self._links: dict[str, Link] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application()
        root = "/oscce/v1"
        app.add_routes(
            [
                web.get(f"{root}/about", self._about),
                web.post(f"{root}/sessions", self._log_on),
                web.get(f"{root}/sessions", self._list),
                web.post(f"{root}/sessions/current/keepalive", self._keep),
                web.delete(f"{root}/sessions/{{which}}", self._log_off),
                web.get(f"{root}/link", self._link),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # ---- HTTPS ----

    async def _about(self, _request: web.Request) -> web.Response:
        versions = {"ExtensionsVersion": "V10R0", "ContactCenterVersion": "V9R1"}
        return web.json_response({"Product": "Small", **versions, "Protocol": 1, "Features": []})

    async def _log_on(self, request: web.Request) -> web.Response:
        try:
            said = json.loads(await request.text())
            user, password, device = said["UserName"], said["Password"], said["Device"]
            application = {"Dashboard": 0, "RemoteAssistant": 1}[said["Application"]]
        except (ValueError, KeyError, TypeError):
            return _refusal(422, "Unreadable")
        if user not in USERS or password != PASSWORD:
            return _refusal(401, "InvalidCredentials")
        if application:
            return _refusal(403, "RoleMissing")
        for old in [each for each in self._sessions.values() if each.user == user]:
            if old.device["ID"] == device["ID"]:
                await self._end(old, "TakenOver")
        session = Session(user, device, now_ms())
        self._sessions[session.secret] = session
        reported = {"SessionID": session.secret, "ID": session.public, "ExpiresAt": now_ms() + 3_600_000}
        return web.json_response({**reported, "IdleTimeout": 0, "User": _user(user)}, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        own = self._sessions.get(request.headers["OSCCE-Session"])
        if own is None:
            return _refusal(401, "SessionUnknown")
        reported = [
            {
                "ID": each.public,
                "Application": "Dashboard",
                "Device": each.device,
                "Since": each.since,
                "Attached": each.link is not None,
            }
            for each in self._sessions.values()
            if each.user == own.user
        ]
        return web.json_response({"Sessions": reported})

    async def _keep(self, request: web.Request) -> web.Response:
        if request.headers["OSCCE-Session"] not in self._sessions:
            return _refusal(401, "SessionUnknown")
        return web.json_response({"ExpiresAt": now_ms() + 3_600_000})

    async def _log_off(self, request: web.Request) -> web.Response:
        secret, which = request.headers["OSCCE-Session"], request.match_info["which"]
        own = self._sessions.get(secret)
        if which == "current" and (own is not None or secret in self._ended):
            found = own
        elif own is None:
            return _refusal(401, "SessionUnknown")
        else:
            mine = [each for each in self._sessions.values() if (each.user, each.public) == (own.user, which)]
            if not mine:
                return _refusal(404, "NotFound")
            found = mine[0]
        if found is not None:
            await self._end(found, "LoggedOff")
        return web.json_response({"Routing": "None"})

    async def _end(self, session: Session, reason: str) -> None:
        del self._sessions[session.secret]
        self._ended.add(session.secret)
        link, session.link = session.link, None
        if link is not None:
            del link.sessions[session.alias]
            await link.say(Type="SessionEnded", Session=session.alias, Reason=reason)
            if not link.sessions:
                self._tasks.create_task(self._linger(link))

    @staticmethod
    async def _linger(link: Link) -> None:
        count = link.count
        await asyncio.sleep(5)
        if not link.sessions and link.count == count:
            await link.socket.close(code=1000)

    # ---- the link ----

    async def _link(self, request: web.Request) -> web.StreamResponse:
        session = self._sessions.get(request.headers["OSCCE-Session"])
        if session is None:
            return _refusal(401, "SessionUnknown")
        socket = web.WebSocketResponse(protocols=("oscce.link.v1",))
        await socket.prepare(request)
        link = Link(session.user, socket)
        old, self._links[session.user] = self._links.get(session.user), link
        if old is not None:
            self._detach(old)
            await old.say(Type="LinkReplaced", Token=0)
            await old.socket.close(code=4409)
        attached = link.attach(session)
        opened = {"LinkID": "1", "Time": now_ms(), "KeepAlive": 20, "User": _user(session.user)}
        await link.say(Type="LinkOpened", **opened, Session=attached)
        await link.say(Type="ManagerStateChanged", Manager="Statistics", Function="RealTime", State="Up")
        async for received in socket:
            if received.type is not WSMsgType.TEXT or not await self._hear(link, received.data):
                await socket.close(code=WSCloseCode.INVALID_TEXT)
        if self._links.get(session.user) is link:
            del self._links[session.user]
        self._detach(link)
        return socket

    @staticmethod
    def _detach(link: Link) -> None:
        for session in link.sessions.values():
            session.link = None
        link.sessions.clear()

    async def _hear(self, link: Link, text: str) -> bool:
        try:
            said = json.loads(text)
        except ValueError:
            return False
        if not isinstance(said, dict):
            return False
        try:
            answer, event = self._answer(link, said)
        except RefusedError as refused:
            answer, event = {"Error": refused.code}, None
        except (KeyError, TypeError):
            answer, event = {"Error": 1}, None
        await link.say(**{"Type": "Response", "RequestID": said["RequestID"], "Error": 0, **answer})
        if event is not None:
            await link.say(**event)
        return True

    def _answer(self, link: Link, said: Json) -> tuple[Json, Json | None]:
        match said["Method"]:
            case "KeepAlive":
                return {"Time": now_ms()}, None
            case "AttachSession":
                return self._attach(link, said["SessionID"]), None
            case "DetachSession" | "Presence":
                self._touch(link, said)
                return {}, None
            case "StopListeningForEvents":
                if link.queries.pop(said["QueryID"], None) is None:
                    raise RefusedError(5)
                return {}, None
            case "ListenForEvents":
                return self._listen(link, said["EventType"], said["Keys"])
            case "QueryDirectory":
                queues = [{"Key": key, "Name": f"Queue {key}", "Media": "Voice"} for key in QUEUES]
                return {"Objects": {kind: queues if kind == "Queue" else [] for kind in said["Kinds"]}}, None
        raise RefusedError(2)

    @staticmethod
    def _touch(link: Link, said: Json) -> None:
        if said["Session"] not in link.sessions:
            raise RefusedError(3)
        if said["Method"] == "DetachSession":
            link.sessions.pop(said["Session"]).link = None

    def _attach(self, link: Link, secret: str) -> Json:
        session = self._sessions.get(secret)
        if session is None:
            raise RefusedError(3)
        if session.user != link.user:
            raise RefusedError(4)
        return link.attach(session)

    @staticmethod
    def _listen(link: Link, event_type: str, keys: object) -> tuple[Json, Json | None]:
        link.count += 1
        query, link.queries[link.count] = link.count, event_type
        if event_type == "Administration":
            return {"QueryID": query}, None
        asked = [key for key in QUEUES if keys == "All" or (isinstance(keys, list) and key in keys)]
        elements: list[Json] = []
        if event_type in ("QueueRealtime", "QueueCumulative"):
            elements = [{KEY_NAMES[event_type]: key} for key in asked]
        if event_type == "Configuration":
            elements = [
                {"ObjectType": "Queue", "Key": key, "RoutingParameters": {}, "Version": 1} for key in asked
            ]
        head = {"Type": "Event", "QueryID": query, "EventType": event_type, "Time": now_ms()}
        return {"QueryID": query}, {**head, "Complete": True, "Elements": elements}


def _user(name: str) -> Json:
    return {"Key": USERS[name], "ID": name, "FirstName": name, "LastName": "Small"}


def _refusal(status: int, name: str) -> web.Response:
    return web.json_response({"Error": name}, status=status)
