"""Requests to one OSCC-E Server: about, log-on, log-off, sessions, and opening links.

The HTTPS routes (which server, log on and off, sessions) and the opening of links.
"""

from __future__ import annotations

import asyncio
import ssl
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import SessionId, SessionSecret, UserId
from gateway.domain.upstream import (
    About,
    Feature,
    LinkClosed,
    LoggedOff,
    LoggedOn,
    LogOn,
    SessionInfo,
    UnreachedError,
    trouble_of,
)
from gateway.runtime.ports import Clock
from gateway.runtime.turns import Turns
from gateway.upstream.oscce import http
from gateway.upstream.oscce.errors import WireError
from gateway.upstream.oscce.http import Answer, RefusedAnswer, answer_of, unreached, upgrade
from gateway.upstream.oscce.link import OsccLink, Terms
from gateway.upstream.oscce.readings import Readings
from gateway.upstream.oscce.socket import LinkSocket

T = TypeVar("T")

SUBPROTOCOL: Final = "oscce.link.v1"
MESSAGE_BYTES: Final = 8 * 2**20
"""The largest message of a link."""
DOORS: Final = 32
"""HTTP requests under way at once; more wait within their deadline."""
ABOUT_S: Final = 60.0
"""How long the answer to "which server is this" holds."""
ABOUT_FAILED_S: Final = 1.0
"""How long its failure holds: all that waited for the same answer share it."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long may what take? Seconds."""

    answer_s: float = 10.0
    """One HTTP request."""
    open_s: float = 10.0
    """The upgrade to a link, and then until the server has spoken."""
    request_s: float = 5.0
    """One request on a link; a command has its own deadline."""
    patience_s: float = 60.0
    """A question on a link whose answer has data: better late than asked again."""
    close_s: float = 1.0
    """The closing handshake of a link."""


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return TLS that verifies the server: by *ca_file* when given, else by the system's authorities."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class OsccServer:
    """One organisation's OSCC-E Server: the ports Upstream and Authority.

    Invariant: no request outlives its deadline; neither texts nor causes of its errors hold
    passwords, SessionIDs or numbers. Made inside a running loop; ``async with`` closes it.

    Args:
        site: The site of its users.
        base_url: ``https://host:port``, with or without a path.
        clock: The only time.
        tls: Verifies the server; None means the system's authorities.
        deadlines: Bounds of every wait.
        pool: Shared by all links; its counters say how much was shared.
        turns: When links are read, and readings digested: of a whole node. None: as they come.
        trace: Called with each request before it is sent, and may add headers; links are none.
    """

    def __init__(
        self,
        site: str,
        base_url: str,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        deadlines: Deadlines | None = None,
        pool: Readings | None = None,
        turns: Turns | None = None,
        trace: aiohttp.TraceConfig | None = None,
    ) -> None:
        self.pool = pool or Readings()
        self._site = site
        self._root = base_url.rstrip("/") + "/oscce/v1/"
        self._clock = clock
        self.turns: Final = turns or Turns(clock)
        self._links_open: weakref.WeakSet[LinkSocket] = weakref.WeakSet()
        self._deadlines = deadlines or Deadlines()
        self._tls: ssl.SSLContext | bool = tls or True
        self._http = _session(most=DOORS, trace=trace)
        # links are bounded by the users of the node, not by the connector
        self._links = _session(most=0, judge=self._judge)
        self._asking = asyncio.Lock()
        self._about: tuple[float, About | GatewayError] | None = None

    def trust(self, tls: ssl.SSLContext) -> None:
        """Verify the server by *tls* from now on; what is under way and open links go on."""
        self._tls = tls
        self._forget()

    async def __aenter__(self) -> OsccServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()
        await self._links.close()
        for link in list(self._links_open):
            link.abort()

    # ---- Upstream ----

    async def about(self) -> About:
        """Return which server this is; asked again after a minute, and after a link was lost.

        Raises:
            GatewayError: ``upstream_version_unsupported`` or ``upstream_unavailable``.
        """
        async with self._asking:
            if self._about is None or self._clock.now() >= self._about[0]:
                self._about = await self._ask_about()
            known = self._about[1]
        if isinstance(known, GatewayError):
            raise GatewayError(known.code, known.message, retry_after_s=known.retry_after_s) from known
        return known

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> OsccLink:
        """Open the user's link by any of their live sessions; the first event is ``Opened``.

        Raises:
            LinkClosed: ``session_unknown``, ``stale`` (with the token), ``unavailable``,
                ``version_unsupported``.
        """
        try:
            about = await self.about()
        except GatewayError as error:
            unsupported = error.code is ErrorCode.UPSTREAM_VERSION_UNSUPPORTED
            reason: Literal["version_unsupported", "unavailable"]
            reason = "version_unsupported" if unsupported else "unavailable"
            raise LinkClosed(reason, retry_after_s=error.retry_after_s) from error
        headers = {"OSCCE-Session": secret, "OSCCE-Link-Token": str(token), "OSCCE-Link-Holder": holder}
        socket = await self._upgrade(headers)
        return OsccLink(
            socket,
            Terms(
                user=user,
                pool=self.pool,
                clock=self._clock,
                keys=Feature.REQUEST_KEYS in about.features,
                open_s=self._deadlines.open_s,
                request_s=self._deadlines.request_s,
                patience_s=self._deadlines.patience_s,
                close_s=self._deadlines.close_s,
                left=self._forget,
            ),
        )

    # ---- Authority ----

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        """Open a session.

        Raises:
            GatewayError: As the port says.
        """
        await self.about()
        answer = await self._call("POST", "sessions", body=http.log_on_body(credentials))
        return _readable(lambda: http.logged_on(*answer, self._site))

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        """End the session. An ended or unknown one counts as removed."""
        try:
            answer = await self._call("DELETE", "sessions/current", secret)
        except GatewayError as error:
            if error.code is ErrorCode.SESSION_ENDED:
                return LoggedOff("removed", None)
            raise
        return _readable(lambda: http.logged_off(*answer))

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        """List the sessions of the user."""
        answer = await self._call("GET", "sessions", secret)
        return _readable(lambda: http.sessions(*answer))

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        """End another session of the same user. Raises ``not_found`` when it is none."""
        missing = GatewayError(ErrorCode.NOT_FOUND, "There is no such session.")
        if session in {"", ".", "..", "current"}:
            raise missing
        try:
            answer = await self._send("DELETE", "sessions/" + quote(session, safe=""), secret)
        except RefusedAnswer as refused:
            # another user's session is none, and does not become known this way
            others = refused.status in {403, 404}
            raise (missing if others else refused.meaning(of_session=True)) from refused
        return _readable(lambda: http.ended(*answer))

    async def keep_alive(self, secret: SessionSecret) -> int:
        """Ask for more life; returns the new end, ms since 1970."""
        answer = await self._call("POST", "sessions/current/keepalive", secret)
        return _readable(lambda: http.kept_alive(*answer))

    # ---- inside ----

    async def _ask_about(self) -> tuple[float, About | GatewayError]:
        try:
            answer = await self._call("GET", "about")
            about = _readable(lambda: http.about(answer.body))
        except GatewayError as error:
            unsupported = error.code is ErrorCode.UPSTREAM_VERSION_UNSUPPORTED
            told = error if unsupported else http.unavailable(error.retry_after_s)
            told.__cause__ = UnreachedError(trouble_of(error))  # it is kept for a while: without a traceback
            return self._clock.now() + ABOUT_FAILED_S, told
        return self._clock.now() + ABOUT_S, about

    def _forget(self) -> None:
        self._about = None

    async def _call(
        self, method: str, path: str, secret: SessionSecret | None = None, *, body: bytes | None = None
    ) -> Answer:
        """Return the answer of a success.

        Raises:
            GatewayError: What the server refused, or ``upstream_unavailable``.
        """
        try:
            return await self._send(method, path, secret, body=body)
        except RefusedAnswer as refused:
            raise refused.meaning(of_session=secret is not None) from refused

    async def _send(
        self, method: str, path: str, secret: SessionSecret | None = None, *, body: bytes | None = None
    ) -> Answer:
        headers: dict[str, str] = {} if secret is None else {"OSCCE-Session": secret}
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = URL(self._root + path, encoded=True)
        try:
            async with (
                self._clock.timeout(self._deadlines.answer_s),
                self._http.request(
                    method,
                    url,
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                    ssl=self._tls,  # a connection that was verified by another is not used again
                ) as response,
            ):
                return await answer_of(response, self._clock)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise http.unavailable() from unreached(error)

    async def _judge(self, response: aiohttp.ClientResponse) -> None:
        """Raise on anything but an upgrade."""
        if response.status != 101:
            try:
                await answer_of(response, self._clock, frozenset())
            finally:
                response.close()

    async def _upgrade(self, headers: dict[str, str]) -> LinkSocket:
        try:
            async with self._clock.timeout(self._deadlines.open_s):
                link = await upgrade(
                    self._links,
                    URL(self._root + "link", encoded=True),
                    headers,
                    tls=self._tls,
                    subprotocol=SUBPROTOCOL,
                    message_bytes=MESSAGE_BYTES,
                    turns=self.turns,
                )
        except RefusedAnswer as refused:
            raise refused.closed() from refused
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._forget()
            raise LinkClosed("unavailable") from unreached(error)
        self._links_open.add(link)
        return link


def _readable(read: Callable[[], T]) -> T:
    try:
        return read()
    except WireError as error:
        raise http.unavailable() from unreached(error)


def _session(
    *,
    most: int,
    judge: Callable[[aiohttp.ClientResponse], Awaitable[None]] | None = None,
    trace: aiohttp.TraceConfig | None = None,
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=most),
        # one user's cookies must not reach another
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "oscc-gateway"},
        raise_for_status=judge or False,
        timeout=aiohttp.ClientTimeout(),
        trace_configs=None if trace is None else [trace],
    )
