"""OSCC-E Server that does exactly what a test says.

The real sockets and HTTP of an OSCC-E Server, with every answer written by the test.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, NamedTuple

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from gateway.domain.commands import Execute, LinkAnswer, LinkRequest, SetRoutingState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, SessionSecret, UserId
from gateway.domain.upstream import LinkClosed, LogOn
from gateway.upstream.oscce import OsccServer
from gateway.upstream.oscce.link import OsccLink
from tests.doubles.clock import ManualClock
from tests.upstream.samples import LINK_OPENED

ABOUT: dict[str, Any] = {
    "Product": "OSCC-E",
    "ExtensionsVersion": "V2R1",
    "ContactCenterVersion": "V8R2",
    "Protocol": 1,
    "Features": ["LinkFencing", "RequestKeys"],
}
USER = UserId("main", 7)
SECRET = SessionSecret("canary-session")
PASSWORD = "canary-password"
NUMBER = "+49-canary-number"
CREDENTIALS = LogOn(
    Application.REMOTE_ASSISTANT, "ana", PASSWORD, Device("d-1", "Phone"), remote_number=NUMBER
)

LOGGED_ON: dict[str, Any] = {
    "SessionID": SECRET,
    "ID": "public-1",
    "ExpiresAt": 1_700_000_500_000,
    "IdleTimeout": 900,
    "User": {"Key": 7, "ID": "ana", "FirstName": "Ana", "LastName": "Agent"},
    "RemoteNumber": NUMBER,
}


class Asked(NamedTuple):
    """One HTTP request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass(slots=True)
class ScriptedServer:
    """Answers what stands in *answers*, and 404 without a body to everything else."""

    answers: dict[str, tuple[int, object]] = field(default_factory=lambda: {"GET about": (200, ABOUT)})
    """Method and path below ``/oscce/v1/`` → status and body (bytes as they are, else as JSON)."""
    clock: ManualClock = field(default_factory=ManualClock)
    """The scene's; the server's own is *skew_ms* ahead."""
    skew_ms: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Further headers of every answer; an empty `Date` is none at all."""
    mute: bool = False
    """Nothing is answered."""
    greeting: bytes = json.dumps(LINK_OPENED).encode()
    """The first message of a link."""
    asked: list[Asked] = field(default_factory=list)
    link: web.WebSocketResponse | None = None
    """The newest link."""
    received: deque[dict[str, Any]] = field(default_factory=deque)
    """What links asked and was not yet looked at."""
    came: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    unmuted: asyncio.Event = field(default_factory=asyncio.Event)

    async def say(self, message: bytes | dict[str, Any]) -> None:
        """Send a text message on the newest link."""
        assert self.link is not None
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.link.send_frame(text, WSMsgType.TEXT)

    async def hear(self) -> dict[str, Any]:
        """Wait for the next request on a link."""
        while not self.received:
            self.came.clear()
            await self.came.wait()
        return self.received.popleft()

    async def respond(self, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Answer the next request; returns it."""
        request = await self.hear()
        await self.reply(request["RequestID"], **fields)
        return request

    async def reply(self, number: int, **fields: Any) -> None:  # noqa: ANN401 - JSON
        """Answer the request of that number."""
        await self.say({"Type": "Response", "RequestID": number, "Error": 0} | fields)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one HTTP request, or open a link."""
        body = await request.text()
        path = request.raw_path.removeprefix("/oscce/v1/")
        self.asked.append(Asked(request.method, path, dict(request.headers), body))
        if self.mute:
            await self.unmuted.wait()
        scripted = self.answers.get(f"{request.method} {path}")
        if scripted is None and path == "link":
            return await self._carry(request)
        status, received = scripted or (404, b"")
        raw = received if isinstance(received, bytes) else json.dumps(received).encode()
        return web.Response(status=status, body=raw, headers=self.headers)

    async def date(self, _request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Let an answer tell the server's own time."""
        received = formatdate((self.clock.wall_ms() + self.skew_ms) // 1000, usegmt=True)
        response.headers["Date"] = self.headers.get("Date", received)
        if not response.headers["Date"]:
            del response.headers["Date"]

    async def _carry(self, request: web.Request) -> web.WebSocketResponse:
        link = web.WebSocketResponse(protocols=("oscce.link.v1",), autoping=False)
        await link.prepare(request)
        self.link = link
        await link.send_frame(self.greeting, WSMsgType.TEXT)
        async for message in link:
            if message.type is WSMsgType.TEXT:
                self.received.append(json.loads(message.data))
            else:
                self.received.append({"Type": message.type.name, "Payload": message.data.decode()})
            self.came.set()
        return link


class Scene(NamedTuple):
    """A scripted server, the adapter before it, and the adapter's time; *opened* is closed in the end."""

    server: ScriptedServer
    adapter: OsccServer
    clock: ManualClock
    opened: list[OsccLink]

    async def open(self) -> OsccLink:
        """Open a link and take its opening."""
        link = await self.dial()
        await link.receive()
        return link

    async def dial(self) -> OsccLink:
        link = await self.adapter.open(USER, SECRET, token=5, holder="node-a")
        self.opened.append(link)
        return link


@asynccontextmanager
async def scene(*, tls: tuple[ssl.SSLContext, ssl.SSLContext | None] | None = None) -> AsyncIterator[Scene]:
    """Start a scripted server; *tls* are its context and the adapter's."""
    clock = ManualClock()
    scripted = ScriptedServer(clock=clock)
    application = web.Application()
    application.on_response_prepare.append(scripted.date)
    application.router.add_route("*", "/{path:.*}", scripted.serve)
    listening = TestServer(application, host="127.0.0.1", scheme="https" if tls else "http")
    await listening.start_server(ssl=tls[0] if tls else None, shutdown_timeout=0.1)
    async with listening:
        scripted.url = str(listening.make_url("/"))
        async with OsccServer("main", scripted.url, clock, tls=tls[1] if tls else None) as adapter:
            opened: list[OsccLink] = []
            yield Scene(scripted, adapter, clock, opened)
            scripted.unmuted.set()
            for link in opened:
                await link.close()


def execute(alias: int = 2) -> Execute:
    """Return a command of an attached session."""
    return Execute(alias, SetRoutingState("work"), "k-1", 1_700_000_000_000)


def link_of(at: Scene) -> web.WebSocketResponse:
    """Return the server's end of the link."""
    assert at.server.link is not None
    return at.server.link


async def code_seen(at: Scene) -> int | None:
    """Return with which code the server saw the link closed."""
    await at.clock.settle()
    return link_of(at).close_code


async def ended(link: OsccLink) -> str:
    """Receive until the end; returns why."""
    try:
        while True:
            await link.receive()
    except LinkClosed as closed:
        return closed.reason


async def outcome(link: OsccLink, request: LinkRequest) -> LinkAnswer | ErrorCode | str:
    """Return an answer, the code of a refusal, or why the link closed."""
    try:
        return await link.request(request)
    except GatewayError as error:
        return error.code
    except LinkClosed as closed:
        return closed.reason
