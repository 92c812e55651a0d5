"""Byte-level requests to a whole node."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.app.config.sources import generate_secrets
from gateway.app.process import StopRequest
from gateway.app.wiring import serving
from gateway.runtime.event_loop import SystemClock
from tests.app.samples import settings_for

PATIENCE_S = 10.0


@asynccontextmanager
async def node(limits: dict[str, int] | None = None, **client: object) -> AsyncIterator[dict[str, int]]:
    """Run a node whose site does not answer; gives the ports of its listeners by name."""
    settings = settings_for(
        "http://127.0.0.1:1",
        client=client,
        admin={"token": "canary-token-of-operators-0123456789"},
        limits={"drain_s": 0} | (limits or {}),
    )
    stopping = StopRequest()
    async with serving(settings, generate_secrets(), SystemClock(), stopping) as received:
        urls = {"client": received.client, "ops": received.ops, "admin": received.admin}
        yield {name: int(url.rpartition(":")[2]) for name, url in urls.items() if url is not None}


async def say(port: int, *pieces: bytes, apart_s: float = 0.0) -> bytes:
    """Send *pieces*, and return all that is answered until the node ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(_rest(reader))
        with suppress(ConnectionError):
            for piece in pieces:
                if answer.done():
                    break
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(apart_s)
    writer.close()
    return answer.result()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    arrived = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE_S):
            while chunk := await reader.read(65_536):
                arrived += chunk
    return arrived


def status(answer: bytes) -> list[int]:
    """Return the status of every answer in *answer*."""
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]
