"""Does a listener open, say where, and close without cutting who is there?"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.app import listener as listener_module
from gateway.app.config_sections import Client
from gateway.app.listener import CannotListen, listening
from gateway.app.tls import client_context
from tests.app.certificates import make


def _app() -> web.Application:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def echo(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_str(await ws.receive_str())
        await ws.close()
        return ws

    app = web.Application()
    app.router.add_get("/", hello)
    app.router.add_get("/echo", echo)
    return app


async def test_it_serves_where_it_says() -> None:
    async with listening("client", _app(), "127.0.0.1", 0) as listener, aiohttp.ClientSession() as http:
        assert listener.url == f"http://127.0.0.1:{listener.port}"
        async with http.get(listener.url) as response:
            assert await response.text() == "hello"


async def test_it_speaks_tls(tmp_path: Path) -> None:
    certificate, key = make(tmp_path, days=100_000)
    tls = client_context(Client(certificate=certificate, key=key))
    trust = ssl.create_default_context(cafile=certificate)
    async with listening("client", _app(), "127.0.0.1", 0, tls) as listener, aiohttp.ClientSession() as http:
        assert listener.url.startswith("https://")
        async with http.get(listener.url, ssl=trust) as response:
            assert response.status == 200


async def test_who_does_not_speak_tls_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "HANDSHAKE_S", 0.2)
    certificate, key = make(tmp_path, days=100_000)
    tls = client_context(Client(certificate=certificate, key=key))
    async with listening("client", _app(), "127.0.0.1", 0, tls) as listener, asyncio.timeout(10):
        for said in (b"", b"\x16\x03\x01"):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(said)
            assert await reader.read() == b""
            writer.close()


async def test_it_refuses_newcomers_and_keeps_who_is_there() -> None:
    async with (
        listening("client", _app(), "127.0.0.1", 0) as listener,
        aiohttp.ClientSession() as http,
        aiohttp.ClientSession() as other,
        http.ws_connect(f"{listener.url}/echo") as ws,
    ):
        await listener.refuse()
        await listener.refuse()
        with pytest.raises(aiohttp.ClientConnectorError):
            await other.get(listener.url)
        await ws.send_str("still here")
        assert await ws.receive_str() == "still here"


async def test_a_taken_address_is_told_in_a_sentence() -> None:
    async with listening("client", _app(), "127.0.0.1", 0) as first:
        with pytest.raises(CannotListen) as caught:
            async with listening("ops", _app(), "127.0.0.1", first.port):
                pass
    assert str(caught.value).startswith(f"The ops listener cannot have 127.0.0.1 port {first.port}: ")


async def test_an_address_of_others_is_told_in_a_sentence() -> None:
    with pytest.raises(CannotListen, match=r"The client listener cannot have 203.0.113.1 port 0: "):
        async with listening("client", _app(), "203.0.113.1", 0):
            pass


async def test_brackets_stand_around_ipv6() -> None:
    try:
        async with listening("client", _app(), "::1", 0) as listener:
            assert listener.url == f"http://[::1]:{listener.port}"
    except CannotListen:
        pytest.skip("this machine has no IPv6")
