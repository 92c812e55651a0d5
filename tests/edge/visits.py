"""Tickets, phones, and a gateway over a fake node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.domain.model import Application, Ticket, UserId
from gateway.edge.channel import ConnectionSummary
from gateway.edge.credentials import OpenedToken, Tokens
from gateway.edge.export import RemoteHoldings
from gateway.edge.handshake import EdgeParts
from gateway.edge.limits import SocketAdmission
from gateway.edge.policies import NoticesInForce, NumberPolicies, NumberPolicy
from gateway.edge.request_context import EdgeSettings
from gateway.edge.scheduler import Scheduler
from gateway.edge.server import make_app
from gateway.protocol import frames
from gateway.protocol.bodies import SiteView
from gateway.protocol.codec import JSON, Codec
from gateway.runtime.node import Node
from gateway.telemetry import Telemetry
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import during
from tests.doubles.tickets import ticket as made_ticket
from tests.edge.fake_node import LIFE_MS, FakeNode
from tests.edge.raw_phone import TOO_LONG_S, RawPhone

SITE = SiteView("main", "Main", (Application.DASHBOARD, Application.REMOTE_ASSISTANT))
SETTINGS = EdgeSettings(version="1.2.3", sites=(SITE,), insecure=True)
KEYS = (("k2", b"\x02" * 32), ("k1", b"\x01" * 32))
HELLO = frames.Hello(frames.ClientInfo("test", "1.0", "linux"))
FrameT = TypeVar("FrameT", bound=frames.GatewayFrame)
_DATA = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


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
    return made_ticket(
        UserId("main", key),
        session,
        secret=f"SECRET-{session}",
        application=application,
        device=("d1", "one"),
        issued_at_ms=clock.wall_ms(),
        life_ms=expires_in_ms,
    )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Phone:
    """The other end of a WebSocket."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse[bool], codec: Codec) -> None:
        self.ws = ws
        self.codec = codec

    async def say(self, frame: frames.ClientFrame) -> None:
        data = self.codec.encode(frame)
        await (self.ws.send_str(data.decode()) if self.codec.text else self.ws.send_bytes(data))

    async def hear(self) -> frames.GatewayFrame:
        message = await self.ws.receive(timeout=TOO_LONG_S)
        assert message.type in _DATA, message
        return self._frame(message.data)

    async def hear_one(self, kind: type[FrameT]) -> FrameT:
        """Return the next frame, which must be of that kind."""
        frame = await self.hear()
        assert isinstance(frame, kind), frame
        return frame

    async def hear_all(self, *kinds: str) -> list[Any]:
        """Return frames, in order, until one of each of *kinds* has come."""
        received: list[Any] = []
        while not set(kinds) <= {frame.kind for frame in received}:
            received.append(await self.hear())
        return received

    async def end(self) -> tuple[frames.Bye | None, int | None]:
        """Return the `bye`, if it was the last frame, and the code of the close."""
        bye: frames.Bye | None = None
        while True:
            message = await self.ws.receive(timeout=TOO_LONG_S)
            if message.type not in _DATA:
                return bye, self.ws.close_code
            frame = self._frame(message.data)
            bye = frame if isinstance(frame, frames.Bye) else None

    def _frame(self, data: str | bytes) -> frames.GatewayFrame:
        return self.codec.decode_gateway(data.encode() if isinstance(data, str) else data)


@dataclass
class EdgeSetup:
    """What an edge over a fake node is made of, time and the node under the test's hand."""

    clock: ManualClock
    node: FakeNode
    parts: EdgeParts
    lives: list[ConnectionSummary]

    @property
    def tokens(self) -> Tokens:
        return self.parts.tokens

    @property
    def admission(self) -> SocketAdmission:
        return self.parts.admission

    def token(self, ticket: Ticket | None = None) -> str:
        """Return the token of somebody who has logged on."""
        return self.tokens.seal(ticket or ticket_of(self.clock))

    def ticket_in(self, token: str) -> Ticket:
        """Return the ticket of a token, which must open."""
        opened = self.tokens.open(token, self.clock.wall_ms())
        assert isinstance(opened, OpenedToken), opened
        return opened.ticket

    def sample(self, name: str, **labels: str) -> float | None:
        return self.parts.telemetry.registry.get_sample_value(f"oscc_gateway_{name}", labels)


@dataclass
class Gateway(EdgeSetup):
    """An edge that serves, and who may connect to it."""

    client: TestClient[web.Request, web.Application]

    async def connect(self, codec: Codec = JSON, headers: dict[str, str] | None = None) -> Phone:
        protocols = (codec.subprotocol,)
        ws = await self.client.ws_connect("/v1/realtime", protocols=protocols, headers=headers or {})
        return Phone(ws, codec)

    async def hello(
        self, token: str | None, codec: Codec = JSON, headers: dict[str, str] | None = None
    ) -> Phone:
        phone = await self.connect(codec, headers)
        await phone.say(frames.Hello(HELLO.client, token))
        return phone

    async def raw(self, *, early: bytes = b"", connection: str = "Upgrade", slow: bool = False) -> RawPhone:
        """Open a WebSocket without any rules; see :meth:`RawPhone.connect`."""
        assert self.client.port is not None
        return await RawPhone.connect(self.client.port, early=early, connection=connection, slow=slow)

    async def served(self, codec: Codec = JSON, ticket: Ticket | None = None) -> Phone:
        """Open a WebSocket and come as far as the first state."""
        phone = await self.hello(self.token(ticket), codec)
        await phone.hear_all("welcome", "changes", "ping")
        return phone

    async def leave(self, phone: Phone) -> None:
        """Have a phone close its connection, and see that through."""
        await phone.ws.close()
        await self.clock.settle()


class Server(TestServer):
    """A server as the gateway's: no access log, and handlers are not cancelled when their client leaves."""

    async def _make_runner(self, **kwargs: object) -> web.BaseRunner:
        return await super()._make_runner(**kwargs | {"handler_cancellation": False, "access_log": None})


async def nowhere(_: Ticket) -> RemoteHoldings:
    return RemoteHoldings({}, complete=True)


def edge_setup(settings: EdgeSettings = SETTINGS, notices: NoticesInForce | None = None) -> EdgeSetup:
    """Return what an edge over a fake node is made of."""
    clock = ManualClock()
    node = FakeNode(clock)
    lives: list[ConnectionSummary] = []
    parts = EdgeParts(
        settings=settings,
        node=cast("Node", node),
        tokens=Tokens(KEYS, ("main",), nonces()),
        notices=notices or NoticesInForce(),
        numbers=NumberPolicies({site.id: NumberPolicy("DE") for site in settings.sites}),
        admission=SocketAdmission(settings.admission),
        clock=clock,
        scheduler=Scheduler(clock),
        jitter=lambda: 0.5,
        telemetry=Telemetry(),
        on_close=lives.append,
        remote_holdings=nowhere,
    )
    return EdgeSetup(clock, node, parts, lives)


def pumping(parts: EdgeParts) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what runs the pump for as long as an application serves."""

    async def life(_: web.Application) -> AsyncIterator[None]:
        async with during(parts.scheduler.run()):
            yield

    return life


async def opened(settings: EdgeSettings = SETTINGS, notices: NoticesInForce | None = None) -> Gateway:
    """Open a gateway on a manual clock; its client must be closed in the end."""
    made = edge_setup(settings, notices)
    app = make_app(made.parts)
    app.cleanup_ctx.append(pumping(made.parts))
    client: TestClient[web.Request, web.Application] = TestClient(Server(app))
    await client.start_server()
    return Gateway(made.clock, made.node, made.parts, made.lives, client)


async def code_of(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    """Return status and code of problem details, after a look at the rest of them."""
    assert answer.content_type == "application/problem+json"
    problem = await answer.json()
    assert problem["type"] == f"urn:oscc-gateway:error:{problem['code']}"
    assert problem["status"] == answer.status
    assert problem["title"]
    assert problem["detail"]
    return answer.status, problem["code"]
