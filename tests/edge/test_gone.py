"""A phone that is gone leaves memory at once, with the collector off: on every loop, also over TLS."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import uvloop
from aiohttp import web

from gateway.core.outbox import Outbox
from gateway.core.session import Session
from gateway.domain.commands import SetAgentRoutingState
from gateway.domain.errors import CloseCode
from gateway.edge.channel import Channel
from gateway.edge.credentials import SessionCredentials
from gateway.edge.server import make_app
from gateway.edge.socket import PhoneSocket
from gateway.protocol.codec import JSON
from gateway.protocol.frames import CommandFrame, Hello
from gateway.runtime.event_loop import SystemClock
from tests.app.certificates import both_ends
from tests.edge.visits import HELLO, EdgeSetup, Phone, edge_setup, pumping

KINDS = (PhoneSocket, Channel, Session, Outbox, SessionCredentials)
GIVE_UP_S = 60.0
KEY = "00000000-0000-4000-8000-000000000001"


pytestmark = [pytest.mark.freezes, pytest.mark.usefixtures("without_collector")]


def there() -> list[str]:
    """Return what is held of phones, but for what was there before the test."""
    return [type(each).__name__ for each in gc.get_objects() if type(each) in KINDS]


@asynccontextmanager
async def serving(folder: Path | None) -> AsyncIterator[tuple[EdgeSetup, aiohttp.ClientSession, str]]:
    """Serve phones, over TLS with a certificate in *folder*."""
    made = edge_setup()
    ours, theirs = both_ends(folder) if folder else (None, None)
    app = make_app(made.parts)
    app.cleanup_ctx.append(pumping(made.parts))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ours).start()
    scheme = "https" if ours else "http"
    connector = aiohttp.TCPConnector(ssl=theirs or True)
    async with aiohttp.ClientSession(connector=connector) as http:
        yield made, http, f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/v1/realtime"
    await runner.cleanup()


async def leave(phone: Phone, made: EdgeSetup, ending: str) -> None:
    if ending == "closed by the node":
        made.node.connections[0].close(CloseCode.DRAINING, "draining")
        await phone.end()
    elif ending == "closed by the phone":
        await phone.ws.close()
    else:
        connection = phone.ws._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()


async def story(folder: Path | None, ending: str) -> None:
    async with serving(folder) as (made, http, url):
        made.node.allow_agent(5)
        made.node.settles_commands = False
        phone = Phone(await http.ws_connect(url, protocols=(JSON.subprotocol,)), JSON)
        await phone.say(Hello(HELLO.client, made.token()))
        await phone.hear_all("welcome", "changes", "ping")
        assert sorted(there()) == sorted(kind.__name__ for kind in KINDS)
        by_ms = made.clock.wall_ms() + 5_000
        await phone.say(CommandFrame("c1", KEY, "1.x", by_ms, SetAgentRoutingState("5", "available")))
        clock = SystemClock()
        end = clock.now() + GIVE_UP_S
        while not made.node.begun and clock.now() < end:
            await clock.sleep(0.01)
        await leave(phone, made, ending)
        while not made.node.detached and clock.now() < end:
            await clock.sleep(0.01)
        made.node.connections.clear()
        made.node.detached.clear()
        assert made.node.begun == [], "the command under way is left"
        made.node.calls.clear()
        while there() and clock.now() < end:
            await clock.sleep(0.05)
        assert there() == []


@pytest.mark.parametrize(
    ("loop", "tls", "ending"),
    [
        (asyncio.new_event_loop, False, "closed by the node"),
        (asyncio.new_event_loop, True, "closed by the phone"),
        (asyncio.new_event_loop, False, "broken"),
        (uvloop.new_event_loop, True, "closed by the node"),
        (uvloop.new_event_loop, False, "closed by the phone"),
        (uvloop.new_event_loop, True, "broken"),
    ],
)
def test_a_phone_that_is_gone_is_gone(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], ending: str, *, tls: bool
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story(tmp_path if tls else None, ending))
