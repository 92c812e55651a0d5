"""Connections between a gateway and the simulated OSCC-E Server without sockets.

Both ends are the real ones, down to the text of each message: the gateway's link with all that it
writes and reads, and the simulator's frames, requests and rules. Only the network between them is a queue.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import SessionSecret, UserId
from gateway.domain.upstream import About, Feature, LinkClosed, LoggedOff, LoggedOn, LogOn
from gateway.runtime.ports import Clock
from gateway.simulator import Simulator
from gateway.simulator.fields import Refused
from gateway.simulator.links import Link
from gateway.simulator.sessions import Ended
from gateway.simulator.sessions import LogOn as Asked
from gateway.upstream.oscce import http
from gateway.upstream.oscce.link import OsccLink, Terms
from gateway.upstream.oscce.readings import Kept, Readings
from gateway.upstream.oscce.socket import Closed, Incoming, LinkSocket, SocketReader
from tests.simulator.peer import texts

CLOSED = Closed()
"""A line that was cut; a good-bye is another one."""


class ServerEnd:
    """The server's way out."""

    def __init__(self) -> None:
        self.to_gateway: asyncio.Queue[Incoming] = asyncio.Queue()
        self.events = 0
        """How many events were sent."""
        self.is_over = False

    def send(self, frames: bytes) -> None:
        for text in map(bytes.decode, texts(frames)):
            self.events += text.startswith('{"Type":"Event"')
            self.to_gateway.put_nowait(text)

    def close(self, _code: int) -> None:
        self.to_gateway.put_nowait(Closed())
        self.is_over = True

    def abort(self) -> None:
        """Cut the line: what was not received yet is lost."""
        while not self.to_gateway.empty():
            self.to_gateway.get_nowait()
        self.to_gateway.put_nowait(CLOSED)
        self.is_over = True


class GatewayEnd:
    """What an :class:`OsccLink` needs of a WebSocket.

    Args:
        server: The other end.
        received: Takes a request in.
        gone: Called at the end.
        clock: Dates messages.
    """

    waits_since = None

    def __init__(
        self, server: ServerEnd, arrived: Callable[[Any], None], gone: Callable[[], None], clock: Clock
    ) -> None:
        self._server = server
        self._clock = clock
        self._received = arrived
        self._gone = gone

    @property
    def came_at(self) -> float:
        return self._clock.now()

    @property
    def has_message(self) -> bool:
        return not self._server.to_gateway.empty()

    def arrival(self, reader: SocketReader) -> None:
        """Have :meth:`receive` wait itself."""

    async def receive(self, reader: SocketReader | None = None) -> Incoming:
        """Return the next message; texts that come meanwhile are given to *reader*."""
        while True:
            has_waited = not self.has_message
            said = await self._server.to_gateway.get()
            if not (has_waited and isinstance(said, str)):
                return said
            if reader is None or not (_took(reader, said) or reader.take_text(said)):
                return said

    async def send(self, text: str) -> None:
        if not self.send_now(text):
            raise ConnectionResetError

    def send_now(self, text: str) -> bool:
        if not self._server.is_over:
            self._received(json.loads(text))
        return not self._server.is_over

    def send_soon(self, text: str) -> bool:
        return self.send_now(text)

    async def close(self, code: int) -> None:
        """Close it, even when it is closed; a pending receive ends."""
        self._server.abort()
        self._gone()


def _took(reader: SocketReader, said: str) -> bool:
    unread: list[Kept] = [said.encode()]
    reader.take_readings(unread)
    return not unread


class ServerAccess:
    """One node's access to a simulated server: the ports Upstream and Authority."""

    def __init__(self, site: str, server: Simulator, clock: Clock) -> None:
        self.unreachable: set[int] = set()
        """Users whose links do not get through."""
        self.ends: dict[int, ServerEnd] = {}
        """The newest link of each user."""
        self._site = site
        self._server = server
        self._clock = clock
        self._pool = Readings()

    def cut(self, user: int) -> None:
        self.unreachable.add(user)
        end = self.ends.get(user)
        link = self._server.board.of_user(user)
        if end is not None and link is not None:
            end.abort()
            self._server.board.closed(link)

    # ---- Upstream ----

    async def about(self) -> About:
        return http.about(_body(self._server.about.as_json()))

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> OsccLink:
        if user.key in self.unreachable:
            raise LinkClosed("unavailable")
        try:
            session = self._server.sessions.get(secret)
            link = self._server.board.admit(session, token, holder)
        except Refused as refused:
            raise _closed(refused) from None
        end = self.ends[user.key] = ServerEnd()
        gone = partial(self._server.board.closed, link)
        gateway = GatewayEnd(end, self._receiver(link, end), gone, self._clock)
        self._server.board.opened(link, end)
        terms = Terms(
            pool=self._pool,
            clock=self._clock,
            keys=Feature.REQUEST_KEYS in (await self.about()).features,
            deadlines=http.Deadlines(),
            left=lambda: None,
        )
        return OsccLink(cast("LinkSocket", gateway), user, terms)

    # ---- Authority ----

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        asked = json.loads(http.log_on_body(credentials))
        log_on = Asked(
            asked["Application"],
            asked["UserName"],
            asked["Password"],
            asked["Device"]["ID"],
            asked["Device"]["Name"],
            asked.get("RemoteNumber"),
            asked.get("Takeover", False),
        )
        try:
            session = self._server.sessions.log_on(log_on)
        except Refused as refused:
            received = _body({"Error": refused.name})
            raise http.refused(refused.status, received, self._offset_ms, of_session=False) from None
        self._server.board.flush_ended()
        answer = {
            "SessionID": session.secret,
            "ID": session.public_id,
            "ExpiresAt": session.expires_ms + self._server.center.skew_ms,
            "IdleTimeout": session.idle_timeout_s,
            "User": session.account.as_json(),
        }
        return http.logged_on(_body(answer), self._offset_ms, self._site)

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        sessions = self._server.sessions
        found = sessions.find(secret)
        ended = found if isinstance(found, Ended) else sessions.end(found, "LoggedOff")
        self._server.board.flush_ended()
        self._server.board.publish()
        return http.logged_off(_body(sessions.routing_of(ended)), self._offset_ms)

    async def keep_alive(self, secret: SessionSecret) -> int:
        try:
            return self._server.sessions.keep_alive(self._server.sessions.get(secret))
        except Refused:
            raise GatewayError(ErrorCode.SESSION_ENDED, "the session has ended") from None

    @property
    def _offset_ms(self) -> int:
        return -self._server.center.skew_ms

    def _receiver(self, link: Link, end: ServerEnd) -> Callable[[Any], None]:
        def arrived(body: Any) -> None:  # noqa: ANN401 - JSON
            self._server.board.turn(self._server.clock.now_ms())
            try:
                self._server.requests.received(link, body)
            except Refused:
                end.close(1002)

        return arrived


def _body(content: object) -> bytes:
    return json.dumps(content).encode()


def _closed(refused: Refused) -> LinkClosed:
    match refused.name:
        case "SessionUnknown":
            return LinkClosed("session_unknown")
        case "LinkStale":
            return LinkClosed("stale", token=http.stale_token(_body(refused.details)))
        case _:
            return LinkClosed("unavailable")
