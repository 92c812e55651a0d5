"""Requests to the gateway's HTTP API, and its refusals."""

from __future__ import annotations

import asyncio
import json
import random  # noqa: TID251 - the SDK is used without the gateway's wiring; its jitter starts here
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, Literal, Protocol, TypeVar

import aiohttp
from pydantic import TypeAdapter, ValidationError

from gateway.domain.errors import Detail, ErrorCode, GatewayError
from gateway.protocol.http_form import JSON_TYPE, PROBLEM_TYPE

_OWN_MEMBERS: Final = frozenset(
    {"self", "code", "message", "retry_after_s", "type", "title", "status", "detail", "instance"}
)
"""Members of RFC 9457 §3.1 and of every error, and what no keyword can be; the others are details."""


class Unreachable(GatewayError):  # noqa: N818 - names what happened
    """No gateway answered. What was asked by HTTP may have happened; a command was not sent."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(ErrorCode.UPSTREAM_UNAVAILABLE, message, retry_after_s=retry_after_s)


def error_of(
    members: Mapping[str, object], status: int = 400, *, retry_after_s: float | None = None
) -> GatewayError:
    """Return the error that *members* describe: problem+json, an outcome's error, an error frame.

    A code that this version does not know becomes ``internal`` or ``bad_request`` by its *status*,
    and stands in the details as ``unknown_code``. *retry_after_s* holds when the members have none.
    """
    said, text = members.get("code"), members.get("message") or members.get("detail") or members.get("title")
    details = {name: _detail(value) for name, value in members.items() if name not in _OWN_MEMBERS}
    code = ErrorCode.INTERNAL if status >= 500 else ErrorCode.BAD_REQUEST
    if isinstance(said, str):
        try:
            code = ErrorCode(said)
        except ValueError:
            details["unknown_code"] = said
    wait = members.get("retry_after_s")
    return GatewayError(
        code,
        text if isinstance(text, str) else code.value,
        retry_after_s=float(wait) if isinstance(wait, int | float) else retry_after_s,
        **details,
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


class Clock(Protocol):
    """Time, and the only way to wait for it."""

    def now(self) -> float:
        """Return monotonic seconds. Never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of :meth:`now` have passed."""
        ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block: :class:`TimeoutError` when *seconds* of :meth:`now` passed inside it."""
        ...


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


ANSWER_S: Final = 15.0
"""How long an answer may take."""
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""How long an answer may be; an export of everything about one person is far smaller."""

Method = Literal["GET", "POST", "DELETE"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer that is no error."""

    status: int
    body: dict[str, Any] = field(repr=False)
    """What it says; empty for 204."""

    def read(self, shape: TypeAdapter[T]) -> T:
        """Return the body as a *shape* of :mod:`gateway.protocol.bodies`; unknown members are ignored.

        Raises:
            Unreachable: It has another shape.
        """
        try:
            return shape.validate_python(self.body)
        except ValidationError:
            raise Unreachable("What answers at this address speaks another protocol.") from None


class Api:
    """The routes of one gateway.

    Invariant: a token travels in ``Authorization`` only.

    Args:
        session: Whose connections are used; follows no redirects (:func:`open_http`).
        address: The gateway's, without a slash at its end.
        clock: Bounds every call.
    """

    __slots__ = ("_address", "_clock", "_session")

    def __init__(self, session: aiohttp.ClientSession, address: str, clock: Clock) -> None:
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
        """Ask and return the answer.

        Raises:
            Unreachable: No answer came in time, or what answered is no gateway.
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
                self._clock.timeout(ANSWER_S),
                self._session.request(method, url, headers=headers, data=body) as response,
            ):
                return _answer(response.status, await _read(response), retry_after_of(response.headers))
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"The gateway does not answer ({type(error).__name__}).") from None


def open_http(ssl: Any) -> aiohttp.ClientSession:  # noqa: ANN401 - as aiohttp takes it: SSLContext or True
    """Return what :class:`Api` and WebSockets connect with.

    It keeps no cookies and follows no redirect: a token or a `hello` goes to the address given, only.
    A failure is not tried again here, as the caller backs off.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    trace.on_connection_create_start.append(_refuse_second_try)
    return aiohttp.ClientSession(
        # each request has a connection of its own, so that :func:`_refuse_second_try` sees every try
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
    # aiohttp asks an idempotent request again at once when the connection breaks, whatever broke it
    if getattr(context, "is_tried", False):
        raise aiohttp.ClientConnectionError
    context.is_tried = True


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After``; its form as a date (RFC 9110 §10.2.3) is not used here."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() else None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise Unreachable("The answer is too long for one of a gateway.")
    return bytes(body)


def _answer(status: int, text: bytes, retry_after_s: float | None) -> HttpReply:
    body = _object(text)
    if 200 <= status < 300 and body is not None:
        return HttpReply(status, body)
    if status >= 400 and body is not None and "code" in body:
        raise error_of(body, status, retry_after_s=retry_after_s)
    if status in {429, 502, 503, 504}:
        # whatever stands before the gateway, a balancer for example, is short of gateways
        raise Unreachable(f"No gateway behind this address answers (HTTP {status}).", retry_after_s)
    raise Unreachable(f"What answers at this address is no gateway (HTTP {status}).")


def _object(text: bytes) -> dict[str, Any] | None:
    if not text:
        return {}
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
