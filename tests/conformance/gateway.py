"""Scripted gateway of the kit, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict, deque
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from tests.conformance.phone import PATIENCE_S, Phone
from tests.conformance.saying import created
from tests.conformance.timing import Failed, Time
from tests.conformance.wire import CODECS, accept_of

_LINE_MAX: Final = 65_536
REALTIME: Final = "/v1/realtime"


class Asked(NamedTuple):
    """One HTTP request, upgrades too; *at* in the check's seconds."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    at: float


class Answer(NamedTuple):
    """What is answered; *slow_s*: how long the body takes to come."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    slow_s: float = 0.0


class ScriptedGateway:
    """A gateway that does what a check says; an async context manager. A log-on succeeds by default."""

    def __init__(self, time: Time) -> None:
        self.asked: list[Asked] = []
        self.phones: list[Phone] = []
        self._time = time
        self._answers: defaultdict[tuple[str, str], deque[Answer]] = defaultdict(deque)
        self._arrived: asyncio.Queue[Phone] = asyncio.Queue()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks = asyncio.TaskGroup()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()
        for task in self._serving:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def open(self) -> None:
        """Listen: at first anywhere, later where it did before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, limit=_LINE_MAX)
        self._port = self._server.sockets[0].getsockname()[1]

    def shut(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # ---- what the check says ----

    def answer(
        self,
        method: str,
        path: str,
        status: int,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        slow_s: float = 0.0,
    ) -> None:
        """Answer the next request of a route so; later ones as said later, or as by default."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = "application/problem+json" if status >= 400 else "application/json"
        self._answers[method, path].append(
            Answer(status, data, {"Content-Type": kind, **(headers or {})}, slow_s)
        )

    def refuse(self, status: int, times: int = 1, **headers: str) -> None:
        """Refuse the next upgrades; 0 breaks the connection instead."""
        for _ in range(times):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            self._answers["GET", REALTIME].append(Answer(status, b"", named))

    async def phone(self, within_s: float | None = None) -> Phone:
        """Return the next client that connects.

        Raises:
            Failed: None does, within *within_s* of the check's seconds, else the kit's patience.
        """
        try:
            async with asyncio.timeout(PATIENCE_S if within_s is None else self._time.real(within_s)):
                return await self._arrived.get()
        except TimeoutError:
            raise Failed("the client does not connect") from None

    async def hears_nobody(self, seconds: float) -> None:
        """Hold that nobody tries to connect for *seconds*.

        Raises:
            Failed: Somebody does.
        """
        before = len(self.tries())
        await self._time.sleep(seconds)
        if len(self.tries()) > before:
            raise Failed("the client connects again")

    async def request(self, method: str, path: str, count: int = 1, within_s: float | None = None) -> Asked:
        """Return the *count*-th request of a route as soon as it has come.

        Raises:
            Failed: It does not come.
        """
        patience_s = PATIENCE_S if within_s is None else self._time.real(within_s)
        until = self._time.loop_now() + patience_s
        while len(asked := self.requests(method, path)) < count:
            if self._time.loop_now() > until:
                raise Failed(f"{method} {path} was asked {len(asked)} times, not {count}")
            await asyncio.sleep(0.005)
        return asked[count - 1]

    def requests(self, method: str, path: str) -> list[Asked]:
        """Return all requests of a route."""
        return [asked for asked in self.asked if (asked.method, asked.target.split("?")[0]) == (method, path)]

    def tries(self) -> list[float]:
        """Return when somebody tried to connect."""
        return [asked.at for asked in self.requests("GET", REALTIME)]

    # ---- inner ----

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._tasks.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(EOFError, OSError, ValueError, asyncio.LimitOverrunError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; returns whether another may follow."""
        asked = await self._request(reader)
        self.asked.append(asked)
        path = asked.target.split("?")[0]
        waiting = self._answers[asked.method, path]
        if path == REALTIME and not waiting:
            await self._upgrade(asked, reader, writer)
            return False
        answer = waiting.popleft() if waiting else self._default(asked.method, path)
        if answer.status == 0:
            writer.transport.abort()
            return False
        await self._write(answer, writer)
        return path != REALTIME

    async def _request(self, reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        text = await reader.readexactly(int(headers.get("content-length", "0")))
        body = json.loads(text) if text else {}
        return Asked(method, target, headers, body, self._time.now())

    def _default(self, method: str, path: str) -> Answer:
        if (method, path) == ("POST", "/v1/sessions"):
            number = len(self.requests(method, path))
            return Answer(201, json.dumps(created(f"token-{number}")).encode(), {})
        if (method, path) == ("DELETE", "/v1/session"):
            return Answer(204, b"", {})
        return Answer(404, json.dumps({"code": "not_found", "status": 404}).encode(), {})

    async def _write(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        headers = {"Cache-Control": "no-store", "Content-Type": "application/json", **answer.headers}
        if answer.status != 204:
            headers["Content-Length"] = str(len(answer.body))
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        for byte in answer.body if answer.slow_s else ():
            writer.write(bytes([byte]))
            await self._time.sleep(answer.slow_s / len(answer.body))
        writer.write(b"" if answer.slow_s else answer.body)
        await writer.drain()

    async def _upgrade(
        self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        offered = [name.strip() for name in asked.headers.get("sec-websocket-protocol", "").split(",")]
        codec = next((CODECS[name] for name in offered if name in CODECS), None)
        if codec is None:
            await self._write(Answer(400, b"", {}), writer)
            return
        accept = accept_of(asked.headers.get("sec-websocket-key", ""))
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {codec.subprotocol}\r\n\r\n".encode()
        )
        phone = Phone((reader, writer), codec, self._time)
        self.phones.append(phone)
        self._arrived.put_nowait(phone)
        await phone.run()
