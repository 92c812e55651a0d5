"""No header of 8 KiB takes long to parse.

A node has one loop: what one request takes, all phones wait. CPU time is measured, not the clock.
"""

from __future__ import annotations

import time

import pytest
from aiohttp import web

from gateway.edge import routes
from gateway.protocol.bodies import JSON_TYPE
from tests.security.doors import node, say, status

MOST_S = 0.1
"""What aiohttp makes of the worst Content-Type takes ten times as long."""
HOSTILE = ("a,", ";a=", ' a="', "((", '"', "[", "en;q=0.1,", 'W/"', "=?a?", "%00", "*", "a;", "\t", "<>@,")
NAMES = (
    "Accept", "Accept-Language", "Authorization", "Connection", "Content-Encoding", "Content-Type", "Cookie",
    "Expect", "Forwarded", "If-Modified-Since", "If-None-Match", "Origin", "Range",
    "Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Upgrade", "X-Forwarded-For",
    "X-Forwarded-Proto",
)  # fmt: skip
BODY = b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"


async def cost_s(port: int, line: str, name: str, value: str) -> tuple[float, list[int]]:
    """Return what one request takes, and its statuses."""
    head = f"{line} HTTP/1.1\r\nHost: x\r\n"
    head += "" if name == "Content-Type" else "Content-Type: application/json\r\n"
    began = time.process_time()
    answer = await say(port, f"{head}{name}: {value}\r\n".encode() + BODY)
    return time.process_time() - began, status(answer)


@pytest.mark.parametrize("door", ["client", "admin"])
async def test_no_header_takes_long(door: str) -> None:
    lines = {"client": ("POST /v1/sessions", "GET /app/", "GET /v1/notices"), "admin": ("POST /drain",)}
    slow: list[str] = []
    async with node(trusted_proxies=["127.0.0.1/32"]) as ports:
        for line in lines[door]:
            await cost_s(ports[door], line, "X", "warm")
            for name in NAMES:
                for piece in HOSTILE:
                    value = JSON_TYPE + ";" + piece * (8_000 // len(piece)) if name == "Content-Type" else ""
                    took, received = await cost_s(
                        ports[door], line, name, value or piece * (8_000 // len(piece))
                    )
                    if took > MOST_S or any(each >= 500 and each != 503 for each in received):
                        slow.append(f"{line} {name} {piece!r}: {took:.2f} s {received}")
    assert slow == []


async def test_a_slow_reading_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_as_mail(request: object) -> None:
        if getattr(request, "content_type", "") != JSON_TYPE:
            raise web.HTTPUnsupportedMediaType

    monkeypatch.setattr(routes, "check_json", read_as_mail)
    async with node() as ports:
        took, _ = await cost_s(ports["client"], "POST /v1/sessions", "Content-Type", ";a=" * 2_600)
        _, received = await cost_s(
            ports["client"], "POST /v1/sessions", "Content-Type", JSON_TYPE + ";" + "((" * 4_000
        )
    assert took > MOST_S
    assert received == [500]
