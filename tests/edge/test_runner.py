"""Is what is no request answered in our words, and nowhere written down?"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest
from aiohttp import web

from gateway.app.listener import listening
from gateway.edge import runner
from tests.security.doors import say, status

MUCH = 30_000_000
"""More than kernels hold of a connection."""
MALFORMED = b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer canary\x00\r\n\r\n"


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
        return web.Response(body=bytes(MUCH))

    app = web.Application()
    app.router.add_get("/much", much)
    app.router.add_get("/leave", leave)
    app.router.add_get("/fail", fail)
    app.router.add_get("/begin", begin)
    return app


async def test_what_is_no_request_is_neither_repeated_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with listening("test", application(), "127.0.0.1", 0) as listener:
        answer = await say(listener.port, MALFORMED)
    assert status(answer) == [400]
    assert b"canary" not in answer
    assert b"aiohttp" not in answer
    assert b"application/problem+json" in answer
    assert b"no-store" in answer
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == []


async def test_a_fault_that_nobody_caught_is_told_by_its_place_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening("test", application(), "127.0.0.1", 0) as listener:
        answer = await say(listener.port, b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == [500]
    assert b"canary" not in answer
    (record,) = caplog.records
    assert record.getMessage() == "a request failed: RuntimeError at test_runner.py:23"


async def test_an_answer_that_has_begun_is_cut() -> None:
    async with listening("test", application(), "127.0.0.1", 0) as listener:
        answer = await say(listener.port, b"GET /begin HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == [200]
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("query", "lines"), [("", 0), ("?and=fail", 1)])
async def test_that_a_caller_has_left_is_no_fault(
    caplog: pytest.LogCaptureFixture, query: str, lines: int
) -> None:
    async with listening("test", application(), "127.0.0.1", 0) as listener:
        assert await say(listener.port, f"GET /leave{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == b""
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == lines


async def test_who_takes_a_long_answer_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TAKE_S", 0.2)
    async with listening("test", application(), "127.0.0.1", 0) as listener, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"GET /much HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        taken = 0
        while chunk := await reader.read(1_000_000):
            taken += len(chunk)
            await asyncio.sleep(0.005)
        assert taken > MUCH
        writer.close()


async def test_who_takes_nothing_of_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TAKE_S", 0.2)
    async with listening("test", application(), "127.0.0.1", 0) as listener, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, limit=1)
        writer.write(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1)
        taken = 0
        with suppress(ConnectionError):
            while chunk := await reader.read(1_000_000):
                taken += len(chunk)
        assert taken < MUCH
        writer.close()
