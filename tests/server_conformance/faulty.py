"""Faulty server: what passes between the kit and a simulator is altered on its way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp import WSMsgType, web

Message = dict[str, Any]
PREFIX: Final = "/oscce/v1"
PROTOCOL: Final = "oscce.link.v1"
CUT: Final = "no message: the link is closed here"
_HOP_BY_HOP: Final = frozenset({"host", "connection", "upgrade", "content-length", "transfer-encoding"})


@dataclass
class Call:
    """A request over HTTPS, as it comes from the kit."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    """None: there is none, or it is no JSON."""
    raw: bytes


@dataclass
class Said:
    """An answer over HTTPS."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Line:
    """One link through the proxy."""

    number: int
    headers: dict[str, str]
    upstream: aiohttp.ClientWebSocketResponse
    down: web.WebSocketResponse
    asked: dict[int, str] = field(default_factory=dict)
    """Request → its method."""
    held: list[Message] = field(default_factory=list)
    """What a fault keeps back."""


class Spoil:
    """One fault; this one has none. A fault says otherwise in one place."""

    lines: list[Line]

    def __init__(self) -> None:
        self.lines = []

    def instead(self, call: Call) -> Said | None:
        """Alter a call, or answer it."""

    def reply(self, _call: Call, said: Said) -> Said:
        """Alter an answer."""
        return said

    def upgrade(self, headers: dict[str, str]) -> Said | None:
        """Alter the headers of a link, or refuse it."""

    def refused(self, said: Said) -> Said:
        """Alter the refusal of a link."""
        return said

    def up(self, _line: Line, message: Message) -> Iterable[Message]:
        """Alter what the kit says on a link."""
        return (message,)

    def down(self, _line: Line, message: Message) -> Iterable[Message | str]:
        """Alter what the server says on a link."""
        return (message,)

    def to(self, line: Line) -> Line:
        """Return the link by which goes on what the kit says."""
        return line

    def close(self, _line: Line, code: int) -> int | None:
        """Alter the code of a close; None: the link stays open."""
        return code

    protocols: tuple[str, ...] = (PROTOCOL,)


class FaultyServer:
    """A proxy before a simulator; an async context manager.

    Args:
        origin: The simulator's address.
        spoil: The fault.
    """

    def __init__(self, origin: str, spoil: Spoil) -> None:
        self.url = ""
        self._origin = origin
        self._spoil = spoil
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._http = await stack.enter_async_context(
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
            )
            app = web.Application()
            app.add_routes([web.get(f"{PREFIX}/link", self._link), web.route("*", "/{path:.*}", self._pass)])
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._spoil.lines:
            await line.upstream.close()
        await self._stack.aclose()

    async def _pass(self, request: web.Request) -> web.Response:
        raw = await request.read()
        call = Call(request.method, request.path.removeprefix(PREFIX), _headers(request), _json(raw), raw)
        said = self._spoil.instead(call)
        if said is None:
            said = self._spoil.reply(call, await self._forward(call))
        return web.json_response(said.body, status=said.status, headers=said.headers)

    async def _forward(self, call: Call) -> Said:
        data = call.raw if call.body is None else json.dumps(call.body).encode()
        async with self._http.request(
            call.method, f"{self._origin}{PREFIX}{call.path}", headers=call.headers, data=data
        ) as response:
            return Said(response.status, _json(await response.read()), {"Date": response.headers["Date"]})

    async def _link(self, request: web.Request) -> web.StreamResponse:
        headers = _headers(request)
        refusal = self._spoil.upgrade(headers)
        if refusal is not None:
            return web.json_response(refusal.body, status=refusal.status)
        own = {name: value for name, value in headers.items() if not name.lower().startswith("sec-websocket")}
        address = f"{self._origin}{PREFIX}/link"
        try:
            upstream = await self._http.ws_connect(
                address, headers=own, protocols=(PROTOCOL,), max_msg_size=8 << 20
            )
        except aiohttp.WSServerHandshakeError:
            asking = {"Upgrade": "websocket", "Connection": "Upgrade"}
            async with self._http.get(address, headers={**headers, **asking}) as response:
                said = self._spoil.refused(Said(response.status, _json(await response.read())))
            return web.json_response(said.body, status=said.status)
        down = web.WebSocketResponse(protocols=self._spoil.protocols, max_msg_size=8 << 20)
        await down.prepare(request)
        line = Line(len(self._spoil.lines) + 1, headers, upstream, down)
        self._spoil.lines.append(line)
        async with asyncio.TaskGroup() as tasks:
            outward = tasks.create_task(self._outward(line))
            await self._inward(line)
            await upstream.close()
            await outward
        return down

    async def _inward(self, line: Line) -> None:
        """Carry what the kit says."""
        async for received in line.down:
            message = _json(received.data)
            if not isinstance(message, dict):
                await line.upstream.send_str(received.data)
                continue
            line.asked[message.get("RequestID", 0)] = str(message.get("Method"))
            for each in self._spoil.up(line, message):
                with suppress(ConnectionError):
                    await self._spoil.to(line).upstream.send_str(json.dumps(each))

    async def _outward(self, line: Line) -> None:
        """Carry what the server says."""
        with suppress(ConnectionError):
            async for received in line.upstream:
                if received.type is WSMsgType.TEXT:
                    for each in self._spoil.down(line, json.loads(received.data)):
                        if each == CUT:
                            await line.down.close(code=1000)
                            return
                        await line.down.send_str(each if isinstance(each, str) else json.dumps(each))
            code = self._spoil.close(line, line.upstream.close_code or 1006)
            if code is not None:
                await line.down.close(code=code if code != 1006 else 1001)


def _headers(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}


def _json(raw: bytes | str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(raw)
    except ValueError:
        return None
