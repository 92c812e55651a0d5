"""The adapter for OSCC-E Servers: requests to one of them over HTTPS, and the handshake of a link.

The server's names are used in this package only. aiohttp makes the connection of a link; after the handshake
:mod:`gateway.upstream.oscce.socket` owns the transport.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from socket import SO_RCVBUF, SOL_SOCKET
from typing import Final, Literal, TypeVar
from urllib.parse import quote

import aiohttp
from aiohttp import EMPTY_PAYLOAD, hdrs
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
from gateway.runtime.event_loop import LinkScheduler
from gateway.runtime.ports import Clock
from gateway.upstream.oscce import http
from gateway.upstream.oscce.errors import UnreadableMessages, WireError, not_accepted
from gateway.upstream.oscce.http import (
    Answer,
    Deadlines,
    NoUpgradeError,
    RefusedAnswer,
    answer_of,
    unreached,
)
from gateway.upstream.oscce.link import OsccLink, Terms
from gateway.upstream.oscce.readings import Readings
from gateway.upstream.oscce.socket import LinkSocket, Lost

T = TypeVar("T")

SUBPROTOCOL: Final = "oscce.link.v1"
MESSAGE_BYTES: Final = 8 * 2**20
"""The largest message of a link."""
DOORS: Final = 32
"""HTTP requests under way at once; more wait within their deadline."""
ABOUT_S: Final = 60.0
"""How long the server's answer about its version is valid."""
ABOUT_FAILED_S: Final = 1.0
"""How long its failure is valid: all callers of the same request share it."""


class OsccServer:
    """One organisation's OSCC-E Server: the ports Upstream and Authority.

    Invariant: no request outlives its deadline. Neither texts nor causes of its errors have passwords,
    SessionIDs or numbers. Made inside a running loop; ``async with`` closes it.

    Args:
        base_url: ``https://host:port``, with or without a path.
        tls: Verifies the server; None means the system's authorities.
        link_scheduler: Reads the links of the whole node, and schedules processing. None: at once.
        trace: Called with each request before it is sent, and may add headers; not for links.
    """

    is_late: Callable[[], bool] = staticmethod(bool)
    """Whether the node does not get its core; set by the node."""

    def __init__(
        self,
        site: str,
        base_url: str,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        deadlines: Deadlines | None = None,
        link_scheduler: LinkScheduler | None = None,
        trace: aiohttp.TraceConfig | None = None,
    ) -> None:
        self.pool: Final = Readings()
        """Shared by all links; its counters have the amount of sharing."""
        self._site = site
        self._root = base_url.rstrip("/") + "/oscce/v1/"
        self._clock = clock
        self.link_scheduler: Final = link_scheduler or LinkScheduler(clock)
        self._links_open: set[LinkSocket] = set()
        links_open = self._links_open
        self._link_ended: Lost = lambda link, _: links_open.discard(link)
        self._deadlines = deadlines or Deadlines()
        self._tls: ssl.SSLContext | bool = tls or True
        self._http = http.session(most=DOORS, trace=trace)
        # links are bounded by the users of the node, not by the connector
        self._links = http.session(most=0, judge=self._judge)
        self._asking = asyncio.Lock()
        self._about: tuple[float, About | GatewayError] | None = None
        self.unreadable: Final = UnreadableMessages(site, clock)
        self._terms = {
            keys: Terms(self.pool, clock, keys, self._deadlines, self._forget, self.unreadable.note)
            for keys in (False, True)
        }

    def trust(self, tls: ssl.SSLContext) -> None:
        """Verify the server with *tls* from now on; requests under way and open links continue."""
        self._tls = tls
        self._forget()

    async def __aenter__(self) -> OsccServer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()
        await self._links.close()
        for link in list(self._links_open):
            link.abort()

    # ---- Upstream ----

    async def about(self) -> About:
        """Return name, version and features of the server; requested again after a minute, or a lost link.

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
        asked_at = self._clock.now()
        socket = await self._upgrade(headers)
        return OsccLink(socket, user, self._terms[Feature.REQUEST_KEYS in about.features], asked_at)

    # ---- Authority ----

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        """Open a session.

        Raises:
            GatewayError: As the port says.
        """
        await self.about()
        read = partial(http.logged_on, site=self._site)
        return await self._call("POST", "sessions", read, body=http.log_on_body(credentials))

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        """End the session. An ended or unknown one counts as removed."""
        try:
            return await self._call("DELETE", "sessions/current", http.logged_off, secret)
        except GatewayError as error:
            if error.code is ErrorCode.SESSION_ENDED:
                return LoggedOff("removed", None)
            raise

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        """List the sessions of the user."""
        return await self._call("GET", "sessions", http.sessions, secret)

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        """End another session of the same user. Raises ``not_found`` when there is none."""
        missing = GatewayError(ErrorCode.NOT_FOUND, "There is no such session.")
        if session in {"", ".", "..", "current"}:
            raise missing
        try:
            answer = await self._send("DELETE", "sessions/" + quote(session, safe=""), secret)
        except RefusedAnswer as refused:
            # another user's session gets the same answer as an unknown one
            others = refused.status in {403, 404}
            raise (missing if others else refused.meaning(of_session=True)) from refused
        return _readable(http.ended, answer)

    async def keep_alive(self, secret: SessionSecret) -> int:
        """Request a longer life; return the new end, ms since 1970."""
        return await self._call("POST", "sessions/current/keepalive", http.kept_alive, secret)

    # ---- inside ----

    async def _ask_about(self) -> tuple[float, About | GatewayError]:
        try:
            about = await self._call("GET", "about", lambda body, _: http.about(body))
        except GatewayError as error:
            if (fault := not_accepted(error)) is not None:
                self.unreadable.note(fault)
            unsupported = error.code is ErrorCode.UPSTREAM_VERSION_UNSUPPORTED
            sent = error if unsupported else http.unavailable(error.retry_after_s)
            sent.__cause__ = UnreachedError(trouble_of(error))  # the answer is stored, so without a traceback
            return self._clock.now() + ABOUT_FAILED_S, sent
        return self._clock.now() + ABOUT_S, about

    def _forget(self) -> None:
        self._about = None

    async def _call(
        self,
        method: str,
        path: str,
        read: Callable[[bytes, int], T],
        secret: SessionSecret | None = None,
        *,
        body: bytes | None = None,
    ) -> T:
        """Return the content of a success, as *read* from its body and the offset of the clocks.

        Raises:
            GatewayError: The refusal of the server, or ``upstream_unavailable``.
        """
        try:
            answer = await self._send(method, path, secret, body=body)
        except RefusedAnswer as refused:
            raise refused.meaning(of_session=secret is not None) from refused
        return _readable(read, answer)

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
                    ssl=self._tls,  # a connection that another context has verified is not used again
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
            async with self._clock.timeout(self._deadlines.upgrade_s(is_late=self.is_late())):
                link = await upgrade(
                    self._links,
                    URL(self._root + "link", encoded=True),
                    headers,
                    tls=self._tls,
                    subprotocol=SUBPROTOCOL,
                    message_bytes=MESSAGE_BYTES,
                    link_scheduler=self.link_scheduler,
                    ended=self._link_ended,
                )
        except RefusedAnswer as refused:
            raise refused.closed() from refused
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._forget()
            raise LinkClosed("unavailable") from unreached(error)
        self._links_open.add(link)
        return link


def _readable(read: Callable[[bytes, int], T], answer: Answer) -> T:
    try:
        return read(*answer)
    except WireError as error:
        raise http.unavailable() from unreached(error)


_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §4.2.2."""
_KEY_BYTES: Final = 16
KERNEL_BYTES: Final = 128 * 1024
"""Limit of the kernel's buffer for a link that is not read: data only gets older there."""


async def upgrade(
    http: aiohttp.ClientSession,
    url: URL,
    headers: Mapping[str, str],
    *,
    tls: ssl.SSLContext | bool,
    subprotocol: str,
    message_bytes: int,
    link_scheduler: LinkScheduler,
    ended: Lost,
) -> LinkSocket:
    """Open a WebSocket; redirects are not followed.

    Args:
        http: Makes the connection. Closing it closes the socket, unless *link_scheduler* carries it.
        url: The link's address, ``http`` or ``https``.
        headers: Further headers of the request.
        tls: Verifies the server; True means the system's authorities.
        subprotocol: The subprotocol.
        message_bytes: The largest allowed message.
        link_scheduler: Carries links in clear text, and schedules the processing of readings.
        ended: Called once, when the connection has ended.

    Raises:
        aiohttp.ClientError: The peer is no WebSocket server; or another error of *http* on its answer.
        OSError: It is not reached.
    """
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES))
    response = await http.get(
        url,
        headers={
            **headers,
            hdrs.UPGRADE: "websocket",
            hdrs.CONNECTION: "Upgrade",
            hdrs.SEC_WEBSOCKET_VERSION: "13",
            hdrs.SEC_WEBSOCKET_KEY: key.decode(),
            hdrs.SEC_WEBSOCKET_PROTOCOL: subprotocol,
        },
        allow_redirects=False,
        read_until_eof=False,
        ssl=tls,
    )
    try:
        _check(response, key, subprotocol)
        return _taken(response, message_bytes, link_scheduler, ended)
    except BaseException:
        response.close()
        raise


def _check(response: aiohttp.ClientResponse, key: bytes, subprotocol: str) -> None:
    """Check that the server answers as a WebSocket server, without what was not offered (§4.1)."""
    # SHA-1 protects nothing here, it only shows that the server has read the key
    proof = base64.b64encode(hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest()).decode()
    headers = response.headers
    if (
        response.status != 101
        or headers.get(hdrs.UPGRADE, "").lower() != "websocket"
        or not _has_token(headers.getall(hdrs.CONNECTION, ()), "upgrade")
        or headers.get(hdrs.SEC_WEBSOCKET_ACCEPT) != proof
        or headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, subprotocol) != subprotocol
        or hdrs.SEC_WEBSOCKET_EXTENSIONS in headers
    ):
        raise NoUpgradeError("the server does not upgrade to WebSocket")


def _has_token(values: Sequence[str], token: str) -> bool:
    """Return whether a header with a list (RFC 9110 §5.6.1) contains *token*, in any case."""
    return any(each.strip().lower() == token for value in values for each in value.split(","))


class _EarlyData:
    """Receives from aiohttp the data that came together with the end of the handshake."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Store the data, also further data."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Record that no data follows."""


def _taken(
    response: aiohttp.ClientResponse, message_bytes: int, link_scheduler: LinkScheduler, ended: Lost
) -> LinkSocket:
    """Take the connection over.

    In clear text aiohttp keeps no part of it. With TLS aiohttp still counts it as its own, and closes it with
    the session; then this module reports its end.
    """
    connection = response.connection
    handler = None if connection is None else connection.protocol
    transport = None if connection is None else connection.transport
    if handler is None or transport is None:
        raise aiohttp.ClientConnectionError("the server left during the handshake")

    def leave(fault: Exception | None) -> None:
        handler.connection_lost(fault)
        response.close()

    def lost(link: LinkSocket, fault: Exception | None) -> None:
        leave(fault)
        ended(link, fault)

    early = _EarlyData()
    handler.set_parser(early, EMPTY_PAYLOAD)
    _bound_kernel(transport)
    carrier = link_scheduler.transports.take(transport)
    if carrier is transport:
        link = LinkSocket(carrier, message_bytes, lost, link_scheduler)
    else:
        leave(None)
        link = LinkSocket(carrier, message_bytes, ended, link_scheduler)
    carrier.set_protocol(link)
    if carrier is not transport:
        carrier.resume_reading()
    if early.data:
        link.data_received(early.data)
    return link


def _bound_kernel(transport: asyncio.Transport) -> None:
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(SOL_SOCKET, SO_RCVBUF, KERNEL_BYTES)
