"""Network of the client: HTTP requests, the session, the WebSocket, refusals, and back-off."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import random  # noqa: TID251 - the SDK is used without the gateway's wiring; its jitter starts here
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

import aiohttp
from pydantic import TypeAdapter, ValidationError

from gateway.client.mirror import Event, LogOffDelayed
from gateway.domain.errors import CloseCode, Detail, ErrorCode, GatewayError
from gateway.domain.model import Application
from gateway.protocol import frames
from gateway.protocol.bodies import (
    JSON_TYPE,
    NOTICES_MAX,
    PROBLEM_TYPE,
    DeviceBody,
    LogOffPending,
    LogOnBody,
    NoticeReference,
    SessionCreated,
    write_body,
)
from gateway.protocol.codec import BYTES_IN_MAX, BYTES_OUT_MAX, BadFrame, Codec, UnknownKind
from gateway.protocol.frames import ClientFrame, CommandFrame, GatewayFrame

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 20.0
STABLE_S: Final = 30.0
"""A connection of this length ends a row of failures."""
ADVISED_MAX_S: Final = 3600.0
"""A longer advice counts as this time."""
ABNORMAL: Final = 1006
"""RFC 6455 §7.4.1: the connection was lost without a close frame, or never came up."""


class Window(NamedTuple):
    """When to come back, as advised: a random instant from *min_s* to *max_s*."""

    min_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended, or why it was not opened."""

    code: int
    reason: str
    by: str | None = None
    window: Window | None = None


LOST: Final = Ending(ABNORMAL, "connection lost")


class Backoff:
    """The wait after each failure in a row: ``rand(0, min(20 s, 0.5 s · 2^n))``.

    It is full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
    """

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures = 0

    def failed(self, jitter: float) -> float:
        """Record a failure; return the seconds to wait. *jitter* is in [0, 1)."""
        doublings = min(self._failures, 10)
        self._failures += 1
        return jitter * min(BACKOFF_MAX_S, BACKOFF_FIRST_S * float(2**doublings))

    def lasted(self, seconds: float) -> None:
        """Record how long a connection was up; only a stable one ends the row of failures."""
        if seconds >= STABLE_S:
            self._failures = 0


def window_of(min_s: float | None, max_s: float | None) -> Window | None:
    """Return the window of a `bye`; None when it has none."""
    if min_s is None and max_s is None:
        return None
    low = min_s or 0.0
    return Window(low, low if max_s is None else max_s)


_OWN_MEMBERS: Final = frozenset(
    {"self", "code", "message", "retry_after_s", "type", "title", "status", "detail", "instance"}
)
"""Members of RFC 9457 §3.1 and of every error, and names that cannot be keywords; the others are details."""


class Unreachable(GatewayError):  # noqa: N818 - names what happened
    """No gateway answered. An HTTP request may have taken effect; a command was not sent."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(ErrorCode.UPSTREAM_UNAVAILABLE, message, retry_after_s=retry_after_s)


def error_of(
    members: Mapping[str, object], status: int = 400, *, retry_after_s: float | None = None
) -> GatewayError:
    """Return the error in *members*: problem+json, an outcome's error, or an error frame.

    An unknown code becomes ``internal`` or ``bad_request`` by its *status*, and is in the details as
    ``unknown_code``. *retry_after_s* is used when the members have none.
    """
    code_text, text = (
        members.get("code"),
        members.get("message") or members.get("detail") or members.get("title"),
    )
    details = {name: _detail(value) for name, value in members.items() if name not in _OWN_MEMBERS}
    code = ErrorCode.INTERNAL if status >= 500 else ErrorCode.BAD_REQUEST
    if isinstance(code_text, str):
        try:
            code = ErrorCode(code_text)
        except ValueError:
            details["unknown_code"] = code_text
    wait = members.get("retry_after_s")
    if isinstance(wait, int | float) and 0 <= wait < math.inf:
        retry_after_s = float(wait)
    return GatewayError(
        code, text if isinstance(text, str) else code.value, retry_after_s=retry_after_s, **details
    )


def _detail(value: object) -> Detail:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [
                {str(name): _plain(member) for name, member in record.items()}
                for record in value
                if isinstance(record, dict)
            ]
        case _:
            return str(value)


def _plain(member: object) -> str | int | bool | None:
    return member if isinstance(member, str | int | bool | None) else str(member)


class ClientClock(Protocol):
    """Time, and the only way to wait."""

    def now(self) -> float:
        """Return monotonic seconds. Never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of :meth:`now` have passed."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block: :class:`TimeoutError` when *seconds* of :meth:`now` passed inside it."""


class MachineClock:
    """The machine's own clock."""

    __slots__ = ()

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()  # noqa: TID251 - the SDK's own clock adapter

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block."""
        return asyncio.timeout(seconds)


MACHINE_CLOCK: Final = MachineClock()


def jitter() -> float:
    """Return a random number in [0, 1)."""
    return random.random()  # noqa: S311 - spreads reconnecting clients; no secret


RESPONSE_S: Final = 15.0
"""How long to wait for an answer."""
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""Highest size of an answer; an export of everything about one user is far smaller."""

Method = Literal["GET", "POST", "DELETE"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer without error."""

    status: int
    body: dict[str, Any] = field(repr=False)
    """The body; empty for 204."""

    def read(self, shape: TypeAdapter[T]) -> T:
        """Return the body as a *shape* of :mod:`gateway.protocol.bodies`; unknown members are ignored.

        Raises:
            Unreachable: It has another shape.
        """
        try:
            return shape.validate_python(self.body)
        except ValidationError:
            raise Unreachable("The server at this address uses another protocol.") from None


class Api:
    """The routes of one gateway.

    Invariant: a token travels in ``Authorization`` only.

    Args:
        session: Whose connections are used; follows no redirects (:func:`open_http`).
        address: The gateway's, without a slash at its end.
    """

    __slots__ = ("_address", "_clock", "_session")

    def __init__(self, session: aiohttp.ClientSession, address: str, clock: ClientClock) -> None:
        self._session = session
        self._address = address
        self._clock = clock

    async def ask(
        self,
        method: Method,
        path: str,
        *,
        token: str | None = None,
        body: bytes | None = None,
        language: str | None = None,
    ) -> HttpReply:
        """Send a request and return the answer.

        Raises:
            Unreachable: No answer came in time, or the server is no gateway.
            GatewayError: The gateway refused, with its code.
        """
        headers = {"Accept": f"{JSON_TYPE}, {PROBLEM_TYPE}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if language is not None:
            headers["Accept-Language"] = language
        if body is not None:
            headers["Content-Type"] = JSON_TYPE
        url = self._address + path
        try:
            async with (
                self._clock.timeout(RESPONSE_S),
                self._session.request(method, url, headers=headers, data=body) as response,
            ):
                return _answer(response.status, await _read(response), retry_after_of(response.headers))
        except (aiohttp.ClientError, OSError) as error:
            # without the cause: those of aiohttp may have the request's headers, and so the token
            raise Unreachable(f"The gateway does not answer ({type(error).__name__}).") from None


def open_http(ssl: Any) -> aiohttp.ClientSession:  # noqa: ANN401 - as aiohttp takes it: SSLContext or True
    """Return the session with which :class:`Api` and WebSockets connect.

    It keeps no cookies and follows no redirect: a token or a `hello` goes to the given address only. It
    repeats nothing after a failure, as the caller backs off.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    trace.on_connection_create_start.append(_refuse_second_try)
    return aiohttp.ClientSession(
        # each request has its own connection, so that :func:`_refuse_second_try` sees every try
        connector=aiohttp.TCPConnector(ssl=ssl, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        timeout=aiohttp.ClientTimeout(total=None),
    )


async def _refuse_redirect(
    _session: object, _context: object, redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    redirect.response.close()
    raise aiohttp.ClientConnectionError


async def _refuse_second_try(
    _session: object, context: SimpleNamespace, _connection: aiohttp.TraceConnectionCreateStartParams
) -> None:
    # aiohttp repeats an idempotent request at once when the connection breaks
    if getattr(context, "is_tried", False):
        raise aiohttp.ClientConnectionError
    context.is_tried = True


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After``; its date form (RFC 9110 §10.2.3) is not used here."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() else None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise Unreachable("The answer is too long for a gateway.")
    return bytes(body)


def _answer(status: int, text: bytes, retry_after_s: float | None) -> HttpReply:
    body = _object(text)
    if 200 <= status < 300 and body is not None:
        return HttpReply(status, body)
    if status >= 400 and body is not None and "code" in body:
        raise error_of(body, status, retry_after_s=retry_after_s)
    if status in {429, 502, 503, 504}:
        # a server in front of the gateway, for example a balancer, has too few gateways
        raise Unreachable(f"No gateway behind this address answers (HTTP {status}).", retry_after_s)
    raise Unreachable(f"The server at this address is not a gateway (HTTP {status}).")


def _object(text: bytes) -> dict[str, Any] | None:
    if not text:
        return {}
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


_CREATED: Final = TypeAdapter(SessionCreated)
PENDING: Final = TypeAdapter(LogOffPending)


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """The login data of a user, for one request. Its repr shows nothing."""

    user_name: str
    password: str
    remote_number: str | None = None


AskCredentials = Callable[[], Awaitable[Credentials | None]]
"""Returns the login data that is stored or typed; None when there is none."""


@dataclass(frozen=True, slots=True, repr=False)
class KeptSession:
    """The part of a session that a device may store. Its repr shows no token."""

    token: str
    id: str
    application: Application
    expires_at_ms: int
    site: str
    device: DeviceBody


class Account:
    """The session of one user at one gateway.

    Invariants: a password is in memory only during its request. The token is kept until the log-off is
    confirmed.

    Args:
        publish: Called when a log-off is pending.
    """

    __slots__ = ("_accepted", "_api", "_clock", "_jitter", "_publish", "session")

    def __init__(
        self, api: Api, clock: ClientClock, jitter: Callable[[], float], publish: Callable[[Event], None]
    ) -> None:
        self._api = api
        self._clock = clock
        self._jitter = jitter
        self._publish = publish
        self.session: KeptSession | None = None
        self._accepted: dict[NoticeReference, None] = {}
        """Notices that the user has accepted, the newest last; every log-on sends them."""

    def accept(self, notice: NoticeReference) -> None:
        """Record that the user has accepted a notice; the newest :data:`NOTICES_MAX` are kept."""
        self._accepted.pop(notice, None)
        self._accepted[notice] = None
        if len(self._accepted) > NOTICES_MAX:
            del self._accepted[next(iter(self._accepted))]

    @property
    def token(self) -> str:
        """The present token.

        Raises:
            GatewayError: ``unauthenticated``: there was no log-on.
        """
        if self.session is None:
            raise GatewayError(ErrorCode.UNAUTHENTICATED, "Nobody is logged on.")
        return self.session.token

    async def log_on(
        self,
        credentials: Credentials,
        *,
        site: str,
        application: Application,
        device: DeviceBody,
        takeover: bool = False,
    ) -> SessionCreated:
        """Log on and keep the session.

        Raises:
            GatewayError: With a log-on code, as the page lists them.
        """
        body = LogOnBody(
            site=site,
            application=application,
            user_name=credentials.user_name,
            password=credentials.password,
            device=device,
            remote_number=credentials.remote_number,
            takeover=takeover,
            accepted_notices=tuple(self._accepted) or None,
        )
        answer = await self._api.ask("POST", "/v1/sessions", body=write_body(body))
        created = answer.read(_CREATED)
        view = created.session
        self.session = KeptSession(created.token, view.id, view.application, view.expires_at_ms, site, device)
        return created

    async def log_on_again(self, credentials: Credentials) -> None:
        """Log on again with the same site, application and device.

        Raises:
            GatewayError: As :meth:`log_on`; ``unauthenticated`` without an earlier log-on.
        """
        before = self.session
        if before is None:
            raise GatewayError(ErrorCode.UNAUTHENTICATED, "Nobody was logged on.")
        await self.log_on(credentials, site=before.site, application=before.application, device=before.device)

    def renew(self, renewed: frames.Renewed) -> None:
        """Replace the token by a new one."""
        if self.session is not None:
            self.session = dataclasses.replace(
                self.session, token=renewed.token, expires_at_ms=renewed.expires_at_ms
            )

    async def log_off(self) -> None:
        """Log off and return when it is confirmed; until then the request is repeated and the token kept.

        Raises:
            GatewayError: The gateway refuses for a reason that is not temporary. Then nothing is confirmed:
                after ``unauthenticated`` (the gateway has lost its keys) calls may come until the session's
                own end.
        """
        backoff = Backoff()
        while self.session is not None:
            wait_s: float | None = None
            until_ms: int | None = None
            try:
                answer = await self._api.ask("DELETE", "/v1/session", token=self.token)
                if answer.status != 202:
                    break
                pending = answer.read(PENDING)
                until_ms, wait_s = pending.routed_until_ms, pending.retry_after_s
            except GatewayError as error:
                if error.code is ErrorCode.SESSION_ENDED:
                    break
                if error.status < 500 and not error.code.is_temporary:
                    raise
                wait_s = error.retry_after_s
            backed_off_s = backoff.failed(self._jitter())
            wait_s = backed_off_s if wait_s is None else min(wait_s, ADVISED_MAX_S)
            self._publish(LogOffDelayed(until_ms, wait_s))
            await self._clock.sleep(wait_s)
        self.session = None


# ---- the WebSocket ----


SEND_S: Final = 10.0
"""Time limit for sending a frame: after it the network counts as gone."""

_REFUSALS: Final = {
    400: CloseCode.PROTOCOL_ERROR,
    401: CloseCode.TOKEN_INVALID,
    403: CloseCode.FORBIDDEN,
}
"""Status of a refused upgrade → the close code with the same meaning; others may pass: try again."""


class NotOpened(Exception):  # noqa: N818 - names what happened
    """There is no connection; *ending* has the reason."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class ClientConnection:
    """An open WebSocket.

    Invariant: frames are sent and received whole and in order. A broken connection is no exception but the
    end of :meth:`frames`.
    """

    __slots__ = ("_clock", "_codec", "_socket", "close_code")

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse[bool], codec: Codec, clock: ClientClock
    ) -> None:
        self._socket = socket
        self._codec = codec
        self._clock = clock
        self.close_code: int | None = None
        """The close code of the gateway; None when it sent none."""

    @classmethod
    async def open(
        cls, session: aiohttp.ClientSession, address: str, codec: Codec, clock: ClientClock
    ) -> ClientConnection:
        """Return a connection to the gateway at *address*.

        Raises:
            NotOpened: With the ending.
        """
        try:
            async with clock.timeout(RESPONSE_S):
                socket = await session.ws_connect(
                    f"{address}/v1/realtime",
                    protocols=(codec.subprotocol,),
                    max_msg_size=BYTES_OUT_MAX,
                    autoclose=False,
                    compress=15,
                )
        except aiohttp.WSServerHandshakeError as refused:
            raise NotOpened(_ending_of(refused)) from refused
        except (aiohttp.ClientError, OSError) as error:
            raise NotOpened(Ending(ABNORMAL, f"unreachable ({type(error).__name__})")) from error
        connection = cls(socket, codec, clock)
        if socket.protocol != codec.subprotocol:
            await connection.close()
            raise NotOpened(Ending(CloseCode.PROTOCOL_ERROR, "no gateway: the subprotocol is not agreed on"))
        return connection

    async def send(self, frame: ClientFrame) -> None:
        """Send *frame*; on a connection that is closed or closing it is lost.

        Raises:
            GatewayError: ``bad_request``: the frame is so long that a gateway would close for good.
        """
        data = self._codec.encode(frame)
        if isinstance(frame, CommandFrame) and len(data) > BYTES_IN_MAX:
            raise GatewayError(
                ErrorCode.BAD_REQUEST, "It is longer than a gateway accepts; nothing was sent."
            )
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with self._clock.timeout(SEND_S):
                if self._codec.text:
                    await self._socket.send_str(data.decode())
                else:
                    await self._socket.send_bytes(data)

    async def frames(self) -> AsyncIterator[GatewayFrame | None]:
        """Yield received frames until the connection ends; None for a frame of an unknown kind."""
        while True:
            message = await self._socket.receive()
            match message.type:
                case aiohttp.WSMsgType.TEXT if self._codec.text:
                    data = message.data.encode()
                case aiohttp.WSMsgType.BINARY if not self._codec.text:
                    data = message.data
                case aiohttp.WSMsgType.CLOSE:
                    self.close_code = message.data
                    return
                case _:
                    return
            try:
                yield self._codec.decode_gateway(data)
            except UnknownKind:
                yield None
            except BadFrame:
                return

    async def close(self) -> None:
        """End it at once. The close frame is sent; the gateway's is not awaited."""
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(0):
                await self._socket.close()


def _ending_of(refused: aiohttp.WSServerHandshakeError) -> Ending:
    code = _REFUSALS.get(refused.status, ABNORMAL)
    wait_s = None if refused.headers is None else retry_after_of(refused.headers)
    window = None if wait_s is None else Window(wait_s, wait_s)
    return Ending(code, f"refused (HTTP {refused.status})", window=window)
