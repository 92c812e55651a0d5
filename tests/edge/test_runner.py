"""Invalid HTTP is answered in our format, and never logged."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web

from gateway.app import process
from gateway.app.process import listening
from gateway.edge import server as edge_server
from gateway.edge.limits import PENDING_CONNECTIONS, PendingConnections
from tests.app.certificates import both_ends
from tests.security.doors import say, status

MUCH = 5_000_000
"""More than kernels hold of a connection whose end has a modest buffer."""
REST = 100_000
"""More than they hold of one with a small buffer, by less than what makes aiohttp wait."""
MALFORMED = b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer canary\x00\r\n\r\n"


LINES = Path(__file__).read_text("utf-8").splitlines()
FAILS_AT = 1 + LINES.index('        raise RuntimeError("canary-of-a-fault")')


def application() -> web.Application:
    async def fail(request: web.Request) -> web.Response:
        raise RuntimeError("canary-of-a-fault")

    async def begin(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        raise RuntimeError("canary-of-a-fault")

    async def leave(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        if request.query:
            raise RuntimeError("canary-of-a-fault")
        response = web.StreamResponse()
        await response.prepare(request)
        raise AssertionError("nobody could be answered")

    async def much(request: web.Request) -> web.Response:
        return web.Response(body=bytes(int(request.query.get("bytes", MUCH))))

    async def length(request: web.Request) -> web.Response:
        return web.Response(text=f"{len(await request.read())} bytes")

    app = web.Application()
    app.router.add_get("/much", much)
    app.router.add_post("/length", length)
    app.router.add_get("/leave", leave)
    app.router.add_get("/fail", fail)
    app.router.add_get("/begin", begin)
    return app


async def answered(request: bytes) -> bytes:
    """Return the answer to one request, of a listener of its own."""
    async with listening("test", application(), "127.0.0.1", 0) as listener:
        return await say(listener.port, request)


async def test_what_is_no_request_is_neither_repeated_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await answered(MALFORMED)
    assert status(answer) == [400]
    assert b"canary" not in answer
    assert b"aiohttp" not in answer
    assert b"application/problem+json" in answer
    assert b"no-store" in answer
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == []


async def test_a_body_stays_compressed() -> None:
    body = zlib.compress(bytes(10_000_000), 9)
    head = f"Host: x\r\nConnection: close\r\nContent-Encoding: deflate\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = await answered(b"POST /length HTTP/1.1\r\n" + head.encode() + body)
    assert answer.endswith(f"{len(body)} bytes".encode()), (
        "what is refused would be decompressed all the same"
    )


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Encoding: gzip\r\nContent-Length: 40\r\n\r\n" + bytes(40),
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"Content-Length: 40\r\n\r\nabc",
    ],
    ids=["compressed", "chunks", "short"],
)
async def test_a_discarded_body_that_cannot_be_read_is_logged_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rest: bytes
) -> None:
    monkeypatch.setattr(edge_server, "LINGER_S", 0.5)
    async with listening("test", application(), "127.0.0.1", 0) as listener:
        for path in (b"/nowhere", b"/much"):
            answer = await say(
                listener.port, b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + rest
            )
            assert status(answer)[0] in {404, 405}
    assert caplog.records == []


async def test_a_fault_nobody_caught_is_reported_by_its_place_alone(caplog: pytest.LogCaptureFixture) -> None:
    answer = await answered(b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == [500]
    assert b"canary" not in answer
    (record,) = caplog.records
    assert record.getMessage() == "request_failed"
    assert (vars(record)["error"], vars(record)["place"].split(" < ")[0]) == (
        "RuntimeError",
        f"tests/edge/test_runner.py:{FAILS_AT}:fail",
    )


async def test_an_answer_that_has_begun_is_cut() -> None:
    answer = await answered(b"GET /begin HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == [200]
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("query", "lines"), [("", 0), ("?and=fail", 1)])
async def test_a_caller_that_left_is_no_fault(
    caplog: pytest.LogCaptureFixture, query: str, lines: int
) -> None:
    assert await answered(f"GET /leave{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == b""
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == lines


@pytest.mark.parametrize("is_tls", [False, True], ids=["clear", "tls"])
async def test_who_takes_a_long_answer_slowly_gets_all_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, is_tls: bool
) -> None:
    monkeypatch.setattr(edge_server, "TAKE_S", 0.25)
    monkeypatch.setattr(edge_server, "HEAD_S", 0.2)
    assert await _slowly_taken(tmp_path, is_tls=is_tls) > MUCH


async def test_no_longer_than_tls_may_take_to_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "TLS_SHUTDOWN_S", 0.5)
    monkeypatch.setattr(edge_server, "HEAD_S", 0.2)
    assert await _slowly_taken(tmp_path, is_tls=True) < MUCH


@pytest.mark.parametrize(
    ("length", "closes_after_s", "is_tls"),
    [
        pytest.param(MUCH, 20.0, False, id="much"),
        pytest.param(REST, 20.0, True, id="a rest, TLS"),
        pytest.param(REST, 0.2, False, id="a rest while closing"),
        pytest.param(REST, 0.2, True, id="a rest while closing, TLS"),
        pytest.param(1_000, 0.2, True, id="a good-bye, TLS"),
    ],
)
async def test_who_takes_nothing_of_it_is_let_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, length: int, closes_after_s: float, is_tls: bool
) -> None:
    monkeypatch.setattr(edge_server, "TAKE_S", 0.3)
    monkeypatch.setattr(edge_server, "HEAD_S", closes_after_s)
    app = application()
    there = app[PENDING_CONNECTIONS] = PendingConnections(10, 10)
    tls, trust = both_ends(tmp_path) if is_tls else (None, None)
    async with listening("test", app, "127.0.0.1", 0, tls) as listener, asyncio.timeout(10):
        with await asyncio.to_thread(_ask, listener.port, length, trust):
            await _until(lambda: len(there) == 1)
            await _until(lambda: len(there) == 0)


async def test_who_has_taken_all_may_take_his_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_server, "TAKE_S", 0.1)
    async with listening("test", application(), "127.0.0.1", 0) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        for _ in range(2):
            writer.write(b"GET /much?bytes=9 HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n" + bytes(9))
            await asyncio.sleep(0.5)
        assert not reader.at_eof()
        writer.close()


async def _slowly_taken(folder: Path, *, is_tls: bool) -> int:
    """Return how many bytes of a long answer came to one who takes some two megabytes a second."""
    tls, trust = both_ends(folder) if is_tls else (None, None)
    taken = 0
    async with listening("test", application(), "127.0.0.1", 0, tls) as listener, asyncio.timeout(20):
        name = None if trust is None else "127.0.0.1"
        raw = _dial(listener.port, 65_536)
        reader, writer = await asyncio.open_connection(sock=raw, ssl=trust, server_hostname=name)
        writer.write(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        with suppress(ConnectionError):
            while chunk := await reader.read(20_000):
                taken += len(chunk)
                await asyncio.sleep(0.01)
        writer.close()
    return taken


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - nothing reports it
        await asyncio.sleep(0.01)


def _ask(port: int, length: int, trust: ssl.SSLContext | None) -> socket.socket:
    """Ask for *length* bytes with a small buffer for them, and take nothing."""
    raw = _dial(port, 4_096)
    asker = raw if trust is None else trust.wrap_socket(raw, server_hostname="127.0.0.1")
    asker.sendall(b"GET /much?bytes=%d HTTP/1.1\r\nHost: x\r\n\r\n" % length)
    return asker


def _dial(port: int, buffer_bytes: int) -> socket.socket:
    """Connect as from another machine: in small segments, and with a buffer that does not grow."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1_400)
    raw.connect(("127.0.0.1", port))
    return raw


# ---- heads ----


LONG = b"GET /much?bytes=1 HTTP/1.1\r\nHost: x\r\n"


def head_of(size_bytes: int, last: bytes = b"Connection: close\r\n") -> bytes:
    """Return a head of so many bytes, no line of which is long."""
    rest = size_bytes - len(LONG) - len(last) - 2
    lines = [b"X-%03d: " % number + b"a" * 991 + b"\r\n" for number in range(rest // 1_000)]
    lines += [b"Y: " + b"a" * (rest % 1_000 - 5) + b"\r\n"]
    return LONG + b"".join(lines) + last + b"\r\n"


@pytest.mark.parametrize("piece_bytes", [1_000, 100_000])
async def test_a_head_of_16_kib_is_served_and_a_larger_one_refused(
    monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(edge_server, "LINGER_S", 0.2)
    async with listening("test", application(), "127.0.0.1", 0) as listener:
        for size_bytes, expected in ((16_384, 200), (16_385, 431), (100_000, 431)):
            head = head_of(size_bytes)
            pieces = [head[at : at + piece_bytes] for at in range(0, len(head), piece_bytes)]
            answer = await say(listener.port, *pieces)
            assert status(answer) == [expected], size_bytes
            if expected == 431:
                assert b"application/problem+json" in answer
                assert b"no-store" in answer
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "bad_request"


async def test_a_head_that_does_not_end_is_refused_on_a_connection_that_asked_before() -> None:
    async with listening("test", application(), "127.0.0.1", 0) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(head_of(1_000, b""))
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(1) == b"\0"
        writer.write(head_of(20_000)[:-2])
        assert b" 431 " in await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_a_head_after_a_body_has_the_whole_limit() -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = application()
    app.router.add_post("/read", read)
    first = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with listening("test", app, "127.0.0.1", 0) as listener:
        for size_bytes, expected in ((16_384, b" 200 "), (16_385, b" 431 ")):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(first + b"5\r\nhello\r\n" * 100 + b"0\r\n\r\n")
            assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(500) == b"hello" * 100
            writer.write(head_of(size_bytes))
            assert expected in await reader.readuntil(b"\r\n\r\n")
            writer.close()


async def test_many_requests_in_one_piece_are_no_large_head_and_behind_one_none_is_answered() -> None:
    answer = await answered(head_of(1_500, b"") * 99 + head_of(1_500))
    assert status(answer) == [200] * 100
    answer = await answered(head_of(1_000, b"") + head_of(30_000))
    assert status(answer) in ([200], [200, 431])


async def test_a_body_is_no_head_and_its_trailers_are_bounded() -> None:
    served = asyncio.Event()

    async def read(request: web.Request) -> web.Response:
        body = await request.read()
        served.set()
        return web.Response(text=str(len(body)))

    app = application()
    app.router.add_post("/read", read)
    head = b"POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
    trailer = b"".join(b"X-%03d: " % number + b"a" * 4_000 + b"\r\n" for number in range(30))
    async with listening("test", app, "127.0.0.1", 0) as listener:
        answer = await say(listener.port, head + b"Content-Length: 40000\r\n\r\n" + b" " * 40_000)
        assert answer.endswith(b"40000")
        served.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(chunked + trailer)
        await writer.drain()
        writer.write(b"\r\n")
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await served.wait()
        assert not served.is_set(), "what came of it was thrown away"
        writer.close()
