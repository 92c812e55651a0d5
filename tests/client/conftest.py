"""A scripted gateway and a clock that stands still, for every test of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.client.http import Api, open_http
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import ScriptedGateway


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with ScriptedGateway() as gateway:
        yield gateway


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_http(True) as http:
        yield http


@pytest.fixture
def api(http: aiohttp.ClientSession, gateway: ScriptedGateway, clock: ManualClock) -> Api:
    return Api(http, gateway.address, clock)
