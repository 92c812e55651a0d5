"""Lean OSCC-E Server for benchmarks: many users, and an endpoint for a publisher.

Run as a separate process: ``python -m bench.centre PORT DOOR USERS QUEUES AGENTS shared|private``. It
implements the part of the reference link protocol that the gateway uses. DOOR is the publisher's port, in
plain TCP: a line ``resource_set sequence stamp [size]`` publishes, ``reset`` deletes what was published,
``flood per_s`` floods the first user's link until the connection closes, and ``links`` returns the numbers of
links and of published elements. The server stores no sessions: a SessionID contains its user, so sessions
outlive the process, and phones log on once for many runs.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import uvloop
from aiohttp import WSMsgType, web

from bench import centre_frames as say
from bench.centre_links import Link, Links, opened, read_publish, user_key
from bench.centre_requests import answer
from bench.layout import Layout

LIFE_MS = 24 * 3600 * 1000
_LINE_BYTES = 128 << 10
"""Lines that are read at once, and half of those that wait in memory. What the server cannot publish in time
waits at the publisher, without a stamp: else the age of the values would be that of this server's queue.
"""
_DOOR_BYTES = 32 << 10
"""Lines that wait in the kernel."""
_FLOOD_S = 0.002
_SECRET = "a-benchmark-keeps-no-secret"  # noqa: S105 - a mark of SessionIDs, which protects nothing


class Session(NamedTuple):
    """Logged-on session of a user."""

    user: int
    public: str

    @property
    def secret(self) -> str:
        """The SessionID."""
        return f"{_SECRET}.{self.user}.{self.public}"

    @classmethod
    def of(cls, secret: str) -> Session | None:
        """Return the session of a SessionID; None when the SessionID is invalid."""
        mark, _, rest = secret.partition(".")
        user, _, public = rest.partition(".")
        return cls(int(user), public) if mark == _SECRET and user.isdecimal() else None


class Centre:
    """HTTP routes and links of the server."""

    def __init__(self, layout: Layout) -> None:
        self.links = Links(layout)
        self._numbers = itertools.count(1)

    def app(self) -> web.Application:
        """Return the HTTP application."""
        app = web.Application()
        routes: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
            ("GET", "about", self._about),
            ("POST", "sessions", self._log_on),
            ("GET", "sessions", self._list),
            ("POST", "sessions/current/keepalive", self._keep_alive),
            ("DELETE", "sessions/current", self._log_off),
            ("GET", "link", self._link),
        ]
        for method, path, serve in routes:
            app.router.add_route(method, f"/oscce/v1/{path}", serve)
        return app

    async def door(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one publisher until it disconnects."""
        rest = b""
        while data := await reader.read(_LINE_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            if lines and not lines[0][:1].isdigit():
                await self._told(lines, reader, writer)
            elif lines:
                self.links.publish([read_publish(line) for line in lines])
        writer.close()

    async def _told(
        self, words: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for word in words:
            if word.startswith(b"flood "):
                await self._flood(float(word.split()[1]), reader)
                return
            if word == b"reset":
                self.links.reset()
            writer.write(b"%d %d\n" % (len(self.links.by_user), self.links.published))
        await writer.drain()

    async def _flood(self, per_s: float, reader: asyncio.StreamReader) -> None:
        """Flood the first user's link until the publisher disconnects."""
        began, sent = time.monotonic(), 0
        while not reader.at_eof():
            due = round((time.monotonic() - began) * per_s) - sent
            sent += self.links.flood(0, due)
            await asyncio.sleep(_FLOOD_S)

    # ---- HTTP ----

    async def _about(self, _: web.Request) -> web.Response:
        return web.json_response(say.ABOUT)

    async def _log_on(self, request: web.Request) -> web.Response:
        body = await request.json()
        user = int(str(body["UserName"]).removeprefix("user").partition(".")[0])
        session = Session(user, str(body["Device"]["ID"]))
        told = {
            "SessionID": session.secret,
            "ID": session.public,
            "ExpiresAt": _expires(),
            "IdleTimeout": 0,
            "User": say.person(user, user_key(user)),
        }
        return web.json_response(told, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        self._session(request)
        return web.json_response({"Sessions": []})

    async def _keep_alive(self, request: web.Request) -> web.Response:
        self._session(request)
        return web.json_response({"ExpiresAt": _expires()})

    async def _log_off(self, request: web.Request) -> web.Response:
        self._session(request)
        return web.json_response({"Routing": "None"})

    def _session(self, request: web.Request) -> Session:
        found = Session.of(request.headers.get("OSCCE-Session", ""))
        if found is None:
            raise web.HTTPUnauthorized(text='{"Error":"SessionUnknown"}', content_type="application/json")
        return found

    # ---- links ----

    async def _link(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        socket = web.WebSocketResponse(protocols=(say.SUBPROTOCOL,), compress=False, max_msg_size=8 << 20)
        await socket.prepare(request)
        if request.transport is None:
            return socket
        link, publics = Link(session.user, request.transport), _publics(session.user)
        self.links.enter(link)
        try:
            link.send(opened(link, next(self._numbers), session.public, self.links.layout))
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    asked = json.loads(message.data)
                    link.send(answer(asked, link, self.links, publics))
        finally:
            self.links.leave(link)
        return socket


def _publics(user: int) -> Callable[[str], str | None]:
    def look(secret: str) -> str | None:
        found = Session.of(secret)
        return found.public if found is not None and found.user == user else None

    return look


def _expires() -> int:
    return time.time_ns() // 1_000_000 + LIFE_MS


async def serve(port: int, door: int, layout: Layout) -> None:
    """Serve until the process ends."""
    centre = Centre(layout)
    runner = web.AppRunner(centre.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    listening = socket.create_server(("127.0.0.1", door))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DOOR_BYTES)
    async with await asyncio.start_server(centre.door, sock=listening, limit=_LINE_BYTES):
        print("serving", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Read the command line and serve."""
    port, door, users, queues, agents = (int(word) for word in sys.argv[1:6])
    uvloop.run(serve(port, door, Layout(users, queues, agents, shared=sys.argv[6] == "shared")))


if __name__ == "__main__":
    main()
