"""A gateway that a test plays, frame by frame and answer by answer.

Real HTTP and WebSockets on the loopback interface; the test sends every message. Waits fail after
:data:`PATIENCE_S` seconds, so that a silent client fails its test.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from gateway.domain.errors import advice
from gateway.domain.model import Application
from gateway.protocol import codec, frames
from gateway.protocol.codec import JSON, Codec, codec_for

PATIENCE_S: Final = 5.0
F = TypeVar("F", bound=frames.ClientFrame)

LIMITS: Final = frames.Limits(16_384, 262_144, 20.0, 40, 64, 8, 5)


def welcome(
    *,
    resumed: bool = False,
    server_time_ms: int = 1_700_000_000_000,
    ping_s: float = 25.0,
    granted: tuple[str, ...] = ("queues",),
) -> frames.Welcome:
    """Return a `welcome` of a supervisor's session."""
    return frames.Welcome(
        session=frames.SessionView("s1", Application.DASHBOARD, 1_800_000_000_000),
        user=frames.UserView("7", "Ada"),
        rights=(),
        application=Application.DASHBOARD,
        topics=frames.GrantedTopics(granted, ()),
        resumed=resumed,
        server_time_ms=server_time_ms,
        ping_s=ping_s,
        pace_s=0.0,
        limits=LIMITS,
    )


def ping(
    after: int,
    upto: int,
    *,
    nonce: str = "n",
    as_of_ms: int | None = 1_700_000_000_000,
    upstream: frames.HealthStatus = "live",
    bus: frames.BusHealth = "live",
    server_time_ms: int = 1_700_000_000_000,
) -> frames.Ping:
    return frames.Ping(after, upto, nonce, as_of_ms, upstream, bus, server_time_ms)


def notice(*, must_acknowledge: bool = True) -> frames.NoticeFrame:
    return frames.NoticeFrame(
        "n1", 2, "privacy", "New statement", "Read it.", None, 1_800_000_000_000, must_acknowledge
    )


def created(token: str = "token-1", *, session: str = "s1") -> dict[str, object]:
    """Return the body of a log-on's 201."""
    return {
        "token": token,
        "session": {"id": session, "application": "dashboard", "expires_at_ms": 1_800_000_000_000},
        "user": {"user_id": "7", "display_name": "Ada"},
    }


class Asked(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any] | None


class _Answer(NamedTuple):
    status: int
    body: object
    headers: Mapping[str, str]


class Phone:
    """One connected client, as its gateway sees it."""

    def __init__(self, socket: web.WebSocketResponse, codec: Codec, request: web.Request) -> None:
        self.codec = codec
        self.headers = request.headers
        self.close_code: int | None = None
        self.gone = asyncio.Event()
        self._socket = socket
        self._transport = request.transport
        self._received: asyncio.Queue[frames.ClientFrame] = asyncio.Queue()

    # ---- what the test says ----

    async def send(self, *said: frames.GatewayFrame) -> None:
        """Send frames, each whole."""
        for frame in said:
            await self.send_bytes(self._encode(frame))

    async def send_bytes(self, data: bytes) -> None:
        if self.codec.text:
            await self._socket.send_str(data.decode())
        else:
            await self._socket.send_bytes(data)

    async def serve(
        self, *, stream: str = "1.a", seq: int = 5, put: Mapping[str, dict[str, Any]] | None = None
    ) -> frames.Hello:
        """Receive `hello`, send welcome and reset, as most connections begin; return the hello."""
        hello = await self.receive(frames.Hello)
        reset = frames.Changes(0, seq, stream=stream, reset=True, put=dict(put or {}))
        await self.send(welcome(), reset)
        return hello

    async def resume(self) -> frames.Hello:
        """Receive `hello`, send welcome and an empty change since its position."""
        hello = await self.receive(frames.Hello)
        assert hello.position is not None
        at = hello.position.seq
        await self.send(welcome(resumed=True), frames.Changes(at, at))
        return hello

    async def bye(
        self,
        code: int,
        reason: str = "why",
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> None:
        """Send `bye` and close with the same code."""
        low, high = window_s or (None, None)
        await self.send(frames.Bye(code, reason, advice(code), by, low, high))
        await self.close(code)

    async def close(self, code: int) -> None:
        """Close without a `bye`."""
        await self._socket.close(code=code)

    def drop(self) -> None:
        """Break the connection like a network."""
        assert self._transport is not None
        self._transport.abort()

    def hang_up(self) -> None:
        """End the connection without a close frame, like a balancer."""
        assert self._transport is not None
        self._transport.close()

    # ---- what the test hears ----

    async def receive(self, kind: type[F]) -> F:
        """Return the next frame, which must be of *kind*."""
        async with asyncio.timeout(PATIENCE_S):
            frame = await self._received.get()
        assert isinstance(frame, kind), f"{frame} is no {kind.__name__}"
        return frame

    @property
    def silent(self) -> bool:
        """Whether no frame waits to be received."""
        return self._received.empty()

    async def left(self) -> None:
        """Return when the client is gone."""
        async with asyncio.timeout(PATIENCE_S):
            await self.gone.wait()

    # ---- inner ----

    async def run(self) -> None:
        """Receive until the connection ends."""
        try:
            async for message in self._socket:
                data = message.data.encode() if message.type is WSMsgType.TEXT else message.data
                self._received.put_nowait(self.codec.decode_client(data))
        finally:
            self.close_code = self._socket.close_code
            self.gone.set()

    def _encode(self, frame: frames.GatewayFrame) -> bytes:
        if not isinstance(frame, frames.Changes):
            return self.codec.encode(frame)
        write = codec.write_json if self.codec is JSON else codec.write_msgpack
        return self.codec.changes(
            after=frame.after,
            upto=frame.upto,
            stream=frame.stream,
            reset=frame.reset,
            more=frame.more,
            put=[(key, write(value)) for key, value in frame.put.items()],
            patch=[(key, write(value)) for key, value in frame.patch.items()],
            gone=frame.gone,
        )


class ScriptedGateway:
    """A gateway that follows the test's script; an async context manager."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.protocols: tuple[str, ...] = frames.PROTOCOLS
        self._answers: defaultdict[tuple[str, str], deque[_Answer]] = defaultdict(deque)
        self._last: dict[tuple[str, str], _Answer] = {}
        self._phones: asyncio.Queue[Phone] = asyncio.Queue()
        self._connected: list[Phone] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for phone in self._connected:
            if not phone.gone.is_set():
                phone.drop()
        await self._server.close()

    @property
    def address(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    def answer(
        self,
        method: str,
        path: str,
        status: int,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Set the next answer of this route; the last answer of a route is repeated. 101 upgrades."""
        self._answers[method, path].append(_Answer(status, body, headers or {}))

    def forget(self, method: str, path: str) -> None:
        """Remove the answers of a route."""
        self._answers.pop((method, path), None)
        self._last.pop((method, path), None)

    async def phone(self) -> Phone:
        """Return the next client that connects."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._phones.get()

    @property
    def called(self) -> bool:
        """Whether a client has connected that :meth:`phone` has not returned yet."""
        return not self._phones.empty()

    def count(self, method: str, path: str) -> int:
        """Return the number of requests of a route."""
        return sum((asked.method, asked.path) == (method, path) for asked in self.asked)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        text = await request.read()
        body = json.loads(text) if text else None
        self.asked.append(Asked(request.method, request.path, request.headers, body))
        route = request.method, request.path
        if waiting := self._answers[route]:
            self._last[route] = waiting.popleft()
        answer = self._last.get(route)
        if answer is not None and answer.status != 101:
            payload = answer.body if isinstance(answer.body, bytes) else _json(answer.body)
            return web.Response(status=answer.status, body=payload, headers=answer.headers)
        if request.path != "/v1/realtime":
            return web.Response(status=404)
        return await self._talk(request)

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=self.protocols)
        await socket.prepare(request)
        codec = codec_for(socket.ws_protocol or "")
        if codec is None:
            return socket
        phone = Phone(socket, codec, request)
        self._connected.append(phone)
        self._phones.put_nowait(phone)
        await phone.run()
        return socket


def _json(body: object) -> bytes:
    return b"" if body is None else json.dumps(body).encode()
