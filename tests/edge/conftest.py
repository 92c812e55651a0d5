"""How does a test of the edge get a gateway to knock at?"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pytest_aiohttp.plugin import AiohttpClient

from gateway.edge.limits import Doors
from gateway.edge.notices import Notices
from gateway.edge.server import EdgeParts, make_app
from gateway.edge.settings import EdgeSettings
from gateway.edge.token import Tokens
from gateway.telemetry import Telemetry
from tests.doubles.clock import ManualClock
from tests.edge.fake_node import FakeNode
from tests.edge.visits import KEYS, SETTINGS, Gateway, nonces


class Server(TestServer):
    """A server whose handlers are not cancelled when their client leaves, as in the gateway."""

    async def _make_runner(self, **kwargs: object) -> web.BaseRunner:
        return await super()._make_runner(**kwargs | {"handler_cancellation": False})


class Open(Protocol):
    """Opens a gateway with settings of the test's own."""

    def __call__(
        self, settings: EdgeSettings = SETTINGS, notices: Notices | None = None
    ) -> Awaitable[Gateway]:
        """Return the gateway."""
        ...


@pytest.fixture
def clock() -> ManualClock:
    """Time under the test's hand."""
    return ManualClock()


@pytest.fixture
def gateway_with(aiohttp_client: AiohttpClient, clock: ManualClock) -> Open:
    """Open gateways."""

    async def open_one(settings: EdgeSettings = SETTINGS, notices: Notices | None = None) -> Gateway:
        node, tokens, telemetry = FakeNode(clock), Tokens(KEYS, ("main",), nonces()), Telemetry()
        doors = Doors(settings.doors)
        parts = EdgeParts(
            settings=settings,
            node=node,
            accounts=node,
            tokens=tokens,
            notices=notices or Notices(),
            doors=doors,
            clock=clock,
            jitter=lambda: 0.5,
            telemetry=telemetry,
        )
        client: TestClient[web.Request, None] = await aiohttp_client(Server(make_app(parts)))
        return Gateway(clock, node, tokens, doors, client, telemetry)

    return open_one


@pytest.fixture
async def gateway(gateway_with: Open) -> Gateway:
    """A gateway as it comes."""
    return await gateway_with()
