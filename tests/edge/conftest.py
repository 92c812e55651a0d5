"""How does a test of the edge get a gateway to knock at?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.edge.limits import Doors
from gateway.edge.notices import Notices
from gateway.edge.server import EdgeParts, make_app
from gateway.edge.settings import EdgeSettings
from gateway.edge.token import Tokens
from gateway.protocol import frames
from gateway.protocol.bodies import SiteView
from gateway.protocol.codec import JSON, Codec
from tests.doubles.clock import ManualClock
from tests.edge.fake_node import LIFE_MS, FakeNode

SITE = SiteView("main", "Main", (Application.DASHBOARD, Application.REMOTE_ASSISTANT))
SETTINGS = EdgeSettings(version="1.2.3", sites=(SITE,), insecure=True)
KEYS = (("k2", b"\x02" * 32), ("k1", b"\x01" * 32))
HELLO = frames.Hello(frames.ClientInfo("test", "1.0", "linux"))


def nonces() -> Callable[[int], bytes]:
    """Return what draws nonces that never come twice."""
    drawn = iter(range(1, 1 << 32))
    return lambda size: next(drawn).to_bytes(size, "big")


def ticket_of(
    clock: ManualClock,
    *,
    session: str = "public-1",
    application: Application = Application.DASHBOARD,
    expires_in_ms: int = LIFE_MS,
    key: int = 7,
) -> Ticket:
    """Return the ticket of somebody who has logged on."""
    return Ticket(
        user=UserId("main", key),
        display_name="Ann",
        application=application,
        secret=SessionSecret(f"SECRET-{session}"),
        session=SessionId(session),
        device=Device("d1", "one"),
        notices=(),
        issued_at_ms=clock.wall_ms(),
        expires_at_ms=clock.wall_ms() + expires_in_ms,
        idle_timeout_s=0,
    )


class Phone:
    """The other end of a WebSocket."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse[bool], codec: Codec) -> None:
        self.ws = ws
        self.codec = codec

    async def say(self, frame: frames.ClientFrame) -> None:
        """Send a frame."""
        data = self.codec.encode(frame)
        await (self.ws.send_str(data.decode()) if self.codec.text else self.ws.send_bytes(data))

    async def hear(self) -> frames.GatewayFrame:
        """Return the next frame."""
        message = await self.ws.receive(timeout=5)
        assert message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}, message
        data = message.data.encode() if isinstance(message.data, str) else message.data
        return self.codec.decode_gateway(data)

    async def hear_all(self, *kinds: str) -> list[Any]:
        """Return frames up to one of each of *kinds*, in order; pings count only when asked for."""
        heard: list[Any] = []
        while not set(kinds) <= {frame.kind for frame in heard}:
            heard.append(await self.hear())
        return heard

    async def end(self) -> tuple[frames.Bye | None, int | None]:
        """Return the `bye`, if one came, and the code of the close."""
        bye: frames.Bye | None = None
        while True:
            message = await self.ws.receive(timeout=5)
            if message.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                return bye, self.ws.close_code
            data = message.data.encode() if isinstance(message.data, str) else message.data
            frame = self.codec.decode_gateway(data)
            bye = frame if isinstance(frame, frames.Bye) else None


@dataclass
class Gateway:
    """A gateway's edge over a fake node, and its doors."""

    clock: ManualClock
    node: FakeNode
    tokens: Tokens
    doors: Doors
    client: TestClient[Any, Any]
    open: list[Phone] = field(default_factory=list)

    def token(self, **ticket: Any) -> str:
        """Return the token of somebody who has logged on."""
        return self.tokens.seal(ticket_of(self.clock, **ticket))

    def bearer(self, **ticket: Any) -> dict[str, str]:
        """Return the header that shows it."""
        return {"Authorization": f"Bearer {self.token(**ticket)}"}

    async def connect(self, codec: Codec = JSON, headers: dict[str, str] | None = None) -> Phone:
        """Open a WebSocket."""
        ws = await self.client.ws_connect("/v1/realtime", protocols=(codec.subprotocol,), headers=headers or {})
        return Phone(ws, codec)

    async def served(self, codec: Codec = JSON, **ticket: Any) -> Phone:
        """Open a WebSocket and come as far as the first state."""
        phone = await self.connect(codec)
        await phone.say(replace(HELLO, token=self.token(**ticket)))
        await phone.hear_all("welcome", "changes", "ping")
        return phone


Open = Callable[..., Awaitable[Gateway]]


@pytest.fixture
def clock() -> ManualClock:
    """Time under the test's hand."""
    return ManualClock()


@pytest.fixture
async def gateway_with(aiohttp_client: Any, clock: ManualClock) -> Open:
    """Open a gateway with settings of the test's own."""

    async def open_one(notices: Notices | None = None, **settings: Any) -> Gateway:
        chosen = replace(SETTINGS, **settings)
        node, tokens = FakeNode(clock), Tokens(KEYS, ("main",), nonces())
        doors = Doors(chosen.doors)
        parts = EdgeParts(chosen, node, tokens, notices or Notices(), doors, clock, lambda: 0.5)
        client = await aiohttp_client(TestServer(make_app(parts)))
        return Gateway(clock, node, tokens, doors, client)

    return open_one


@pytest.fixture
async def gateway(gateway_with: Open) -> Gateway:
    """A gateway as it comes."""
    return await gateway_with()
