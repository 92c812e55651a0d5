"""WebSocket of a link: upgrade it, and read its requests."""

from __future__ import annotations

import asyncio
import contextlib
import json

from aiohttp import WSCloseCode, WSMsgType, web

from gateway.simulator.clock import Clock
from gateway.simulator.errors import Refused
from gateway.simulator.faults import Faults
from gateway.simulator.fields import Body
from gateway.simulator.link import Link
from gateway.simulator.outlet import Line, SocketOutlet
from gateway.simulator.requests import Requests
from gateway.simulator.settings import KEEP_ALIVE_S
from gateway.simulator.switchboard import Switchboard
from gateway.simulator.web import SESSION_HEADER

PROTOCOL = "oscce.link.v1"
TOKEN_HEADER, HOLDER_HEADER = "OSCCE-Link-Token", "OSCCE-Link-Holder"
MESSAGE_LIMIT_BYTES = 8 * 1024 * 1024
INBOX_MOST = 1000
"""Requests that may wait while a link is frozen."""


class LinkDoor:
    """The link's route, and all open sockets.

    Invariant: every line in :attr:`lines` has a reader; a line that was silent for three times
    KeepAlive is cut at the next turn.
    """

    def __init__(
        self,
        board: Switchboard,
        requests: Requests,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        faults: Faults,
        limit_bytes: int,
    ) -> None:
        self._board = board
        self._requests = requests
        self._clock = clock
        self._tasks = tasks
        self._limit_bytes = limit_bytes
        self._faults = faults
        self.lines = faults.lines
        self.cut_slow = 0
        """Lines that were cut because too much waited."""
        self._silence_at_s = clock.transport_s()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Open a link and serve it until it ends."""
        session = self._board.sessions.get(request.headers.get(SESSION_HEADER, ""))
        socket = web.WebSocketResponse(
            protocols=(PROTOCOL,), compress=False, max_msg_size=MESSAGE_LIMIT_BYTES, timeout=2.0
        )
        ready = socket.can_prepare(request)
        if not ready.ok or ready.protocol != PROTOCOL:
            raise Refused("BadRequest")  # before anybody's link is replaced
        link = self._board.admit(session, _token(request), request.headers.get(HOLDER_HEADER))
        try:
            await socket.prepare(request)
            line = self._line(link, socket, request)
            self._board.opened(link, line.outlet)
            await self._read(line, socket)
        finally:
            gone = self.lines.pop(link.link_id, None)
            self.cut_slow += gone is not None and gone.outlet.cut_slow
            self._board.closed(link)
        return socket

    def turn(self) -> None:
        """Let frozen lines thaw and cut silent ones."""
        now_s = self._clock.transport_s()
        for line in list(self.lines.values()):
            if line.outlet.waiting:
                line.outlet.turn()
            if line.inbox and line.outlet.frozen_until_s <= now_s:
                waiting, line.inbox[:] = list(line.inbox), []
                for body in waiting:
                    self._execute(line, body)
        if now_s - self._silence_at_s >= 1:
            self._silence_at_s = now_s
            for line in list(self.lines.values()):
                if now_s - line.heard_s > 3 * KEEP_ALIVE_S:
                    line.outlet.abort()

    def _line(self, link: Link, socket: web.WebSocketResponse, request: web.Request) -> Line:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the peer left during the handshake")

        def say_close(code: int) -> None:
            self._tasks.create_task(_close(socket, code))

        outlet = SocketOutlet(transport, self._clock, self._limit_bytes, say_close)
        line = Line(link, outlet, self._clock.transport_s())
        self.lines[link.link_id] = line
        self._faults.trouble(line)
        return line

    async def _read(self, line: Line, socket: web.WebSocketResponse) -> None:
        async for received in socket:
            line.heard_s = self._clock.transport_s()
            if received.type is not WSMsgType.TEXT:
                line.outlet.close(WSCloseCode.PROTOCOL_ERROR)
                continue
            try:
                body = json.loads(received.data)
            except (ValueError, RecursionError):
                body = None
            self._take(line, body)

    def _take(self, line: Line, body: object) -> None:
        if not isinstance(body, dict):
            line.outlet.close(WSCloseCode.PROTOCOL_ERROR)
        elif line.outlet.frozen_until_s <= self._clock.transport_s():
            self._execute(line, body)
        elif len(line.inbox) < INBOX_MOST:
            line.inbox.append(body)
        else:
            line.outlet.abort()

    def _execute(self, line: Line, body: Body) -> None:
        self._board.turn(self._clock.now_ms())  # deadlines are judged by the present, not by the last turn
        try:
            self._requests.received(line.link, body)
        except Refused:
            line.outlet.close(WSCloseCode.PROTOCOL_ERROR)


async def _close(socket: web.WebSocketResponse, code: int) -> None:
    with contextlib.suppress(ConnectionError):  # the peer may be gone already
        await socket.close(code=code)


def _token(request: web.Request) -> int | None:
    header = request.headers.get(TOKEN_HEADER, "")
    return int(header) if header.isascii() and header.isdecimal() else None
