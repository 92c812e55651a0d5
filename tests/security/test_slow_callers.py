"""Slow or idle callers cannot keep others out."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from gateway.edge import request_context
from gateway.edge import server as edge_server
from tests.edge.raw_phone import RawPhone
from tests.security.doors import node, say, status

HEAD = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
ABOUT = b"GET /v1/about HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
DRIP = tuple(b"GET /v1/about HTTP/1.1\r\nX-A: b\r\n"[n : n + 1] for n in range(32)) * 20


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_server, "HEAD_S", 0.3)
    monkeypatch.setattr(request_context, "BODY_S", 0.3)
    monkeypatch.setattr(edge_server, "TAKE_S", 0.3)


@pytest.mark.parametrize("door", ["client", "ops", "admin"])
@pytest.mark.parametrize("pieces", [(), (b"GET / HTTP/1.1\r\n",), DRIP], ids=["silent", "half", "drips"])
async def test_a_follower_that_does_not_ask_is_dropped(
    soon: None, door: str, pieces: tuple[bytes, ...]
) -> None:
    async with node() as ports:
        began = time.perf_counter()
        assert await say(ports[door], *pieces, apart_s=0.02) == b""
        assert time.perf_counter() - began < 3


async def test_a_body_that_does_not_come_is_refused(soon: None) -> None:
    async with node() as ports:
        answer = await say(ports["client"], HEAD + b"{", b"", apart_s=0.8)
    assert status(answer) == [400]
    assert b"did not arrive within" in answer


@pytest.mark.parametrize(
    ("door", "path"), [("client", b"/v1/openapi.json"), ("ops", b"/metrics")], ids=["client", "ops"]
)
async def test_who_asks_and_does_not_take_the_answers_is_let_go(soon: None, door: str, path: bytes) -> None:
    asks = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path * 200
    async with node() as ports, asyncio.timeout(20):
        _, writer = await asyncio.open_connection("127.0.0.1", ports[door], limit=1)
        with pytest.raises(ConnectionError):
            await ask_on(writer, asks)
        writer.transport.abort()


async def ask_on(writer: asyncio.StreamWriter, asks: bytes) -> None:
    while True:
        writer.write(asks)
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("limits", [{"handshakes_burst": 10}, {}], ids=["bounded", "more may come"])
async def test_the_next_caller_is_served_beside_idle_connections(limits: dict[str, int]) -> None:
    async with node(limits) as ports:
        sitting = [await asyncio.open_connection("127.0.0.1", ports["client"]) for _ in range(60)]
        assert status(await say(ports["client"], ABOUT)) == [200]
        await asyncio.sleep(0.1)
        gone = sum(reader.at_eof() or reader.exception() is not None for reader, _ in sitting)
        assert gone >= 40 if limits else gone == 0, "below the bound they sit"
        for _, writer in sitting:
            writer.transport.abort()


async def test_who_is_too_many_of_an_address_is_sent_away_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with node({"handshakes_burst_of_address": 10}) as ports:
        sitting = [await asyncio.open_connection("127.0.0.1", ports["client"]) for _ in range(30)]
        await asyncio.sleep(0.1)
        assert sum(reader.at_eof() or reader.exception() is not None for reader, _ in sitting) == 10
        for _, writer in sitting:
            writer.transport.abort()
        await asyncio.sleep(0.1)
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_a_websocket_is_no_caller_any_more() -> None:
    async with node() as ports:
        async with await RawPhone.connect(ports["client"]) as phone:
            assert " 101 " in phone.head
            answer = await say(ports["ops"], b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b'oscc_gateway_registry_size{name="callers"} 0.0' in answer
        _, writer = await asyncio.open_connection("127.0.0.1", ports["client"])
        await asyncio.sleep(0.1)
        answer = await say(ports["ops"], b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b'oscc_gateway_registry_size{name="callers"} 1.0' in answer
        writer.transport.abort()
