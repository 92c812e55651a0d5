"""Gateways for tests of the edge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from gateway.edge.policies import NoticesInForce
from gateway.edge.request_context import EdgeSettings
from tests.edge.channels import Serving, channels_served
from tests.edge.visits import SETTINGS, Gateway, opened


class Open(Protocol):
    """Opens a gateway with settings of the test's own."""

    def __call__(
        self, settings: EdgeSettings = SETTINGS, notices: NoticesInForce | None = None
    ) -> Awaitable[Gateway]:
        """Return the gateway."""
        ...


@pytest.fixture
async def gateway_with() -> AsyncIterator[Open]:
    """Open gateways; all are closed when the test is over."""
    async with AsyncExitStack() as stack:

        async def open_one(
            settings: EdgeSettings = SETTINGS, notices: NoticesInForce | None = None
        ) -> Gateway:
            gateway = await opened(settings, notices)
            stack.push_async_callback(gateway.client.close)
            return gateway

        yield open_one


@pytest.fixture
async def gateway(gateway_with: Open) -> Gateway:
    return await gateway_with()


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """Serve channels with a function of the test's own, until the test is over."""
    async with channels_served() as serve:
        yield serve
