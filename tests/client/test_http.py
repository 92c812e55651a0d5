"""HTTP client: requests as documented, and every answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

import aiohttp
import pytest
from pydantic import TypeAdapter

from gateway.client.http import MACHINE_CLOCK, RESPONSE_S, Api, HttpReply, Unreachable, jitter, retry_after_of
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.bodies import problem_members
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import ScriptedGateway


async def test_the_token_travels_in_the_header_only(api: Api, gateway: ScriptedGateway) -> None:
    gateway.answer("POST", "/v1/x", 201, {"a": 1})
    answer = await api.ask("POST", "/v1/x", token="secret", body=b'{"b":2}', language="de")
    assert answer == HttpReply(201, {"a": 1})
    (asked,) = gateway.asked
    assert asked.body == {"b": 2}
    assert asked.headers["Authorization"] == "Bearer secret"
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.headers["Accept-Language"] == "de"
    assert "secret" not in asked.path


async def test_problem_details_become_the_error(api: Api, gateway: ScriptedGateway) -> None:
    locked = GatewayError(ErrorCode.ACCOUNT_LOCKED, "Later.", retry_after_s=30.0)
    gateway.answer("GET", "/v1/x", 423, problem_members(locked))
    with pytest.raises(GatewayError) as refused:
        await api.ask("GET", "/v1/x")
    assert (refused.value.code, refused.value.retry_after_s) == (ErrorCode.ACCOUNT_LOCKED, 30.0)
    assert not isinstance(refused.value, Unreachable)


@pytest.mark.parametrize(
    ("status", "body", "wait_s"),
    [
        (503, b"<html>busy</html>", 7.0), (502, b"", 7.0), (200, b"<html>", None), (200, b"[]", None),
        (200, b"[" * 100_000, None), (404, b"{}", None), (302, b"{}", None),
    ],
)  # fmt: skip
async def test_what_is_no_gateway_is_unreachable(
    api: Api, gateway: ScriptedGateway, status: int, body: bytes, wait_s: float | None
) -> None:
    gateway.answer("GET", "/v1/x", status, body, {"Retry-After": "7"})
    with pytest.raises(Unreachable) as error:
        await api.ask("GET", "/v1/x")
    assert error.value.retry_after_s == wait_s


async def test_redirects_are_not_followed(api: Api, gateway: ScriptedGateway) -> None:
    gateway.answer("GET", "/v1/x", 307, b"", {"Location": "/elsewhere"})
    gateway.answer("GET", "/elsewhere", 200, {})
    with pytest.raises(Unreachable):
        await api.ask("GET", "/v1/x", token="secret")
    assert gateway.count("GET", "/elsewhere") == 0


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_connection_that_breaks_is_not_tried_again_unasked(
    http: aiohttp.ClientSession, clock: ManualClock, method: Literal["GET", "DELETE"]
) -> None:
    tries = 0

    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(breaks, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Unreachable):
        await Api(http, f"http://127.0.0.1:{port}", clock).ask(method, "/v1/x")
    server.close()
    assert tries == 1


async def test_nobody_there_is_unreachable_and_says_no_secret(
    http: aiohttp.ClientSession, clock: ManualClock
) -> None:
    async with ScriptedGateway() as gone:
        address = gone.address
    with pytest.raises(Unreachable) as error:
        await Api(http, address, clock).ask("GET", "/v1/x", token="secret")
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None


async def test_an_answer_has_its_time(http: aiohttp.ClientSession, clock: ManualClock) -> None:
    received = asyncio.Event()

    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        received.set()
        await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def ask() -> None:
        with pytest.raises(Unreachable):
            await Api(http, f"http://127.0.0.1:{port}", clock).ask("GET", "/v1/x")

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask())
        await received.wait()
        await clock.advance(RESPONSE_S - 0.1)
        assert not asking.done()
        await clock.advance(0.2)
    await left.wait()
    server.close()


async def test_an_answer_has_its_length(
    api: Api, gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.client.http.ANSWER_BYTES_MAX", 100)
    gateway.answer("GET", "/v1/x", 200, b'{"a":"' + b"x" * 200 + b'"}')
    with pytest.raises(Unreachable):
        await api.ask("GET", "/v1/x")


@dataclass
class _Shape:
    a: int


def test_a_body_is_read_by_its_shape() -> None:
    assert HttpReply(200, {"a": 1, "of_tomorrow": 2}).read(TypeAdapter(_Shape)) == _Shape(1)
    with pytest.raises(Unreachable):
        HttpReply(200, {"a": "x"}).read(TypeAdapter(_Shape))


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("120", 120.0), ("-1", None), ("soon", None), ("²", None)]
)
def test_retry_after_counts_seconds(value: str, seconds: float | None) -> None:
    assert retry_after_of({"Retry-After": value}) == seconds
    assert retry_after_of({}) is None


# ---- the machine's clock ----


async def test_sleep_takes_its_time() -> None:
    began = MACHINE_CLOCK.now()
    await MACHINE_CLOCK.sleep(0.01)
    assert MACHINE_CLOCK.now() - began >= 0.01


async def test_timeout_ends_the_block() -> None:
    with pytest.raises(TimeoutError):
        async with MACHINE_CLOCK.timeout(0.001):
            await asyncio.Event().wait()


def test_jitter_is_spread_over_zero_to_one() -> None:
    drawn = {jitter() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0.0 <= number < 1.0 for number in drawn)
