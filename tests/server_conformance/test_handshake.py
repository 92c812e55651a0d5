"""The kit opens links as RFC 6455 allows them, and says what is wrong with an answer to an upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.conformance.report import Report
from tests.server_conformance import checks as registered
from tests.server_conformance.driver import Driver, User
from tests.server_conformance.registry import CHECKS
from tests.server_conformance.runner import run
from tests.server_conformance.small_server import PASSWORD, USERS, SmallServer


@asynccontextmanager
async def rewriting(server: str, old: bytes, new: bytes) -> AsyncIterator[str]:
    """Yield the address of a proxy that replaces *old* by *new* in what *server* sends."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, rewrites: bool) -> None:
        while data := await reader.read(65_536):
            writer.write(data.replace(old, new) if rewrites else data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", urlsplit(server).port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pass_on(reader, back, rewrites=False))
            tasks.create_task(pass_on(there, writer, rewrites=True))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"


async def opened(old: bytes, new: bytes) -> Report:
    """Return what the kit says of a link to a server whose answers are rewritten."""
    async with SmallServer() as server, rewriting(server.url, old, new) as url:
        users = tuple(User(name, PASSWORD) for name in USERS)
        assert "link" in registered.__all__  # importing it registers the checks
        return await run(Driver(url, dashboards=users, patience_s=10.0), [CHECKS["link.opens"]])


async def test_the_header_connection_may_name_more_than_the_upgrade() -> None:
    (verdict,) = (await opened(b"Connection: upgrade", b"Connection: keep-alive, Upgrade")).verdicts
    assert verdict.outcome == "passed", verdict


async def test_what_is_wrong_with_the_answer_to_an_upgrade_is_said() -> None:
    (verdict,) = (await opened(b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x")).verdicts
    assert "the answer to the upgrade is not that of RFC 6455: Invalid challenge response" in verdict.text
