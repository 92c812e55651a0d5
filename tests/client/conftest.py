"""A scripted gateway, a clock that stands still, and a running realtime for the tests of the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.client import GatewayClient
from gateway.client.client import RealtimeServices
from gateway.client.http import Api, open_http
from gateway.protocol.codec import JSON, Codec
from tests.client.subject import Subject, log_on
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import Phone, ScriptedGateway, created


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


@pytest.fixture
def codec() -> Codec:
    """The encoding; test_connection.py tries both."""
    return JSON


@pytest.fixture
def means(
    http: aiohttp.ClientSession, gateway: ScriptedGateway, codec: Codec, clock: ManualClock
) -> RealtimeServices:
    return RealtimeServices(http, gateway.address, codec, clock, lambda: 0.5)


@pytest.fixture
async def subject(means: RealtimeServices) -> AsyncIterator[Subject]:
    subject = Subject(means)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(subject.listen())
        await asyncio.sleep(0)
        subject.realtime.start(tasks)
        yield subject
        await subject.realtime.leave()
        subject.realtime.close()


@pytest.fixture
async def phone(subject: Subject, gateway: ScriptedGateway) -> Phone:
    """The gateway's end of the running realtime's connection."""
    phone = await gateway.phone()
    await phone.serve(put={"queue:1": {"name": "Sales"}})
    await subject.realtime.arrived()
    return phone


@pytest.fixture
async def client(gateway: ScriptedGateway, clock: ManualClock, codec: Codec) -> AsyncIterator[GatewayClient]:
    gateway.answer("POST", "/v1/sessions", 201, created())
    client = GatewayClient(f"{gateway.address}/", codec=codec, clock=clock, chance=lambda: 0.5)
    async with client:
        await log_on(client)
        yield client


@pytest.fixture
async def peer(client: GatewayClient, gateway: ScriptedGateway) -> Phone:
    """The gateway's end of the client's connection."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.connect())
        phone = await gateway.phone()
        await phone.serve(put={"queue:1": {"name": "Sales"}})
    return phone
