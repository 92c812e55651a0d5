"""Ambiguous and oversized requests are refused on every listener.

Every listener is asked byte by byte. The questions are those of RFC 9112 §11 (smuggling, splitting), of
OWASP's lists for APIs and WebSockets, and of those who look for directories.
"""

from __future__ import annotations

import asyncio
import gzip

import pytest

from gateway.protocol.openapi import openapi
from tests.security.doors import node, say, status

HOST = b"Host: x\r\n"
LAST = b"Connection: close\r\n\r\n"
GET = b"GET /v1/about HTTP/1.1\r\n" + HOST
POST = b"POST /v1/sessions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"0\r\n\r\nGET /v1/about HTTP/1.1\r\n" + HOST + LAST
BOMB = gzip.compress(bytes(20_000_000))

TWO_WAYS = {
    "both lengths": POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n" + SMUGGLED,
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n" + LAST + b"{}{}x",
    "a sign": POST + b"Content-Length: +4\r\n" + LAST + b"{}{}",
    "hexadecimal": POST + b"Content-Length: 0x4\r\n" + LAST + b"{}{}",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n" + LAST + SMUGGLED,
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n" + LAST + SMUGGLED,
    "a folded line": POST + b"Transfer-Encoding:\r\n chunked\r\n" + LAST + SMUGGLED,
    "two codings": POST + CHUNKED + b"Transfer-Encoding: identity\r\n" + LAST + SMUGGLED,
    "a line feed in an extension": POST + CHUNKED + LAST + b"2;\n\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": POST + CHUNKED + LAST + b"-2\r\n{}\r\n0\r\n\r\n",
    "bare line feeds": GET.replace(b"\r\n", b"\n") + b"Connection: close\n\n",
    "a bare carriage return": GET + b"X: a\rb\r\n" + LAST,
    "a zero byte": GET + b"X: a\x00b\r\n" + LAST,
    "no host": b"GET /v1/about HTTP/1.1\r\n" + LAST,
    "two hosts": GET + b"Host: y\r\n" + LAST,
    "a host that is no name": b"GET http://xn--/v1/about HTTP/1.1\r\n" + HOST + LAST,
    "a target that is no address": b"GET http://[::1]:80@/ HTTP/1.1\r\n" + HOST + LAST,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n",
}
TOO_MUCH = {
    "a huge header": GET + b"X: " + b"a" * 9_000 + b"\r\n" + LAST,
    "many headers": GET + b"".join(b"X-%d: a\r\n" % number for number in range(500)) + LAST,
    "a huge line": b"GET /v1/about?" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + LAST,
    "a header without end": GET + b"X: " + b"a" * 3_000_000,
}
REFUSED = {
    "a compressed body": (
        415,
        POST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(BOMB) + LAST + BOMB,
    ),
    "a large body": (413, POST + b"Content-Length: 100000\r\n" + LAST + b" " * 100_000),
    "a large body in chunks": (413, POST + CHUNKED + LAST + b"186a0\r\n" + b" " * 100_000 + b"\r\n0\r\n\r\n"),
    "a split answer": (404, b"GET /v1/%0d%0aX-Injected:%20a HTTP/1.1\r\n" + HOST + LAST),
    "a way up": (404, b"GET /app/../../etc/passwd HTTP/1.1\r\n" + HOST + LAST),
    "a hidden way up": (404, b"GET /app/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\n" + HOST + LAST),
    "a tunnel": (404, b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + LAST),
    "a mirror": (405, b"TRACE /v1/about HTTP/1.1\r\nCookie: canary\r\n" + HOST + LAST),
}

NEVER = (b"aiohttp", b"python", b"traceback", b"canary", b"x-injected", b"root:")


def faults(answer: bytes, statuses: list[int]) -> list[str]:
    """Return what is wrong with an answer, other than *statuses*."""
    found = [] if status(answer) == statuses else [f"status {status(answer)}"]
    low = answer.lower()
    return found + [word.decode() for word in NEVER if word in low]


@pytest.mark.parametrize("door", ["client", "ops", "admin"])
async def test_what_can_be_read_in_two_ways_or_is_too_much_is_refused(door: str) -> None:
    async with node() as ports:
        for name, request in (TWO_WAYS | TOO_MUCH).items():
            assert faults(await say(ports[door], request), [400]) == [], name


async def test_what_nobody_needs_is_refused() -> None:
    async with node() as ports:
        for name, (expected, request) in REFUSED.items():
            assert faults(await say(ports["client"], request), [expected]) == [], name


@pytest.mark.parametrize("door", ["client", "ops", "admin"])
async def test_no_answer_repeats_an_unknown_expectation(door: str) -> None:
    async with node() as ports:
        for path in (b"/", b"/livez", b"/v1/about", b"/nodes"):
            for expected in (b"canary", b"canary \xff"):
                request = b"GET " + path + b" HTTP/1.1\r\nExpect: " + expected + b"\r\n" + HOST + LAST
                assert faults(await say(ports[door], request), [417]) == []


async def test_a_client_that_leaves_before_its_body_is_no_fault_of_the_gateway(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with node() as ports:
        for turns in range(40):
            _, writer = await asyncio.open_connection("127.0.0.1", ports["client"])
            writer.write(GET + b"\r\n" + POST + b"Content-Length: 2\r\n\r\n{")
            for _ in range(turns):
                await asyncio.sleep(0)
            writer.transport.abort()
        assert status(await say(ports["client"], GET + LAST)) == [200]
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []


@pytest.mark.parametrize("host", [b"evil.example", b"evil.example:1", b"x@evil.example", b"[::1"])
async def test_no_answer_is_made_of_the_host_header(host: bytes) -> None:
    async with node() as ports:
        for path in (b"/", b"/app", b"/app/", b"/v1/about", b"/v1/openapi.json", b"/v1/asyncapi.json"):
            answer = await say(ports["client"], b"GET %b HTTP/1.1\r\nHost: %b\r\n" % (path, host) + LAST)
            assert b"evil" not in answer
            answer = await say(
                ports["client"], b"GET http://evil.example%b HTTP/1.1\r\n" % path + HOST + LAST
            )
            assert b"evil" not in answer


def test_no_operation_takes_anything_from_a_query_or_a_cookie() -> None:
    text = str(openapi())
    assert "'in': 'query'" not in text
    assert "'in': 'cookie'" not in text


def test_an_answer_with_a_fault_is_found() -> None:
    assert faults(b"HTTP/1.1 200 OK\r\nServer: aiohttp\r\n\r\nHTTP/1.1 200 OK", [400]) == [
        "status [200, 200]",
        "aiohttp",
    ]
