"""The command of the kit when nothing can be run: exit code 2, and a sentence that says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.server_conformance.__main__ import main

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
USER = ("--user", "ada", "--password", "secret", "--patience", "1")


async def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command; returns its only line. It must end with 2."""
    code = await asyncio.to_thread(main, [*arguments, *USER, "--only", "about.*"])
    (line,) = capsys.readouterr().out.splitlines()
    assert code == 2, line
    return line.removeprefix("nothing could be run: ")


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    writer.transport.abort()


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def speak_nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"Asterisk Call Manager/13.0.0\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (hang, "says nothing in time (--patience)"),
        (hang_up, "the server closed the connection without an answer"),
        (speak_nonsense, "what it answers is no HTTP"),
    ],
)
async def test_what_listens_and_does_not_answer(
    capsys: pytest.CaptureFixture[str], handler: Handler, why: str
) -> None:
    async with listening(handler) as port:
        line = await said(capsys, "--server", f"http://127.0.0.1:{port}")
        assert line.startswith("no server answers: GET /about is not answered: ")
        assert why in line


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "no server is named: --server URL, or server in the driver file"),
        (("--server", "http://127.0.0.1:9"), "no connection to 127.0.0.1:9: "),
        (("--server", "127.0.0.1:9"), "this is no address; it begins with http:// or https://"),
        (
            ("--server", "https://127.0.0.1:9", "--ca", "/no"),
            "the certificates of /no cannot be used",
        ),
        (("--driver", "/nowhere.toml"), "the driver file /nowhere.toml cannot be used: "),
    ],
)
async def test_arguments_that_lead_nowhere(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    assert why in await said(capsys, *arguments)


async def refuse(_: web.Request) -> web.Response:
    return web.json_response({"code": "not_found"}, status=404)


@pytest.mark.parametrize("routes", [[], [web.get("/{tail:.*}", refuse)]])
async def test_another_web_server(capsys: pytest.CaptureFixture[str], routes: list[web.RouteDef]) -> None:
    app = web.Application()
    app.add_routes(routes)
    async with TestServer(app) as server:
        line = await said(capsys, "--server", f"http://127.0.0.1:{server.port}")
        assert line.endswith("answered 404: no server of the reference link is at this address")
