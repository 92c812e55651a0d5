"""Request rates: a flood slows down its sender only."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.limits import WAIT_MAX_S, KeyedRates
from gateway.edge.request_context import AdmissionLimits
from tests.edge.conftest import Open
from tests.edge.test_routes_sessions import code_of
from tests.edge.visits import SETTINGS, Gateway, bearer, ticket_of

FEW = replace(
    SETTINGS,
    admission=AdmissionLimits(
        requests_per_s_of_session=2,
        requests_burst_of_session=3,
        requests_per_s_of_address=2,
        requests_burst_of_address=3,
    ),
)


async def asked(
    gateway: Gateway, path: str, times: int, token: str | None = None, method: str = "GET"
) -> list[tuple[float, aiohttp.ClientResponse]]:
    """Ask many times at once; returns after how long each answer came, in order."""
    answers: list[tuple[float, aiohttp.ClientResponse]] = []
    began = gateway.clock.now()

    async def ask() -> None:
        answer = await gateway.client.request(method, path, headers={} if token is None else bearer(token))
        answers.append((round(gateway.clock.now() - began, 1), answer))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(times):
            tasks.create_task(ask())
        while len(answers) < times:
            await gateway.clock.advance(0.1)
    return answers


async def test_requests_beyond_the_rate_wait_and_then_are_refused(gateway_with: Open) -> None:
    gateway = await gateway_with(FEW)
    answers = await asked(gateway, "/v1/about", 8)
    served = sorted(after_s for after_s, answer in answers if answer.status == 200)
    for after_s, earliest_s in zip(served, [0, 0, 0, 0.5, 1.0], strict=True):
        assert earliest_s <= after_s <= earliest_s + 0.2
    refused = [(after_s, answer) for after_s, answer in answers if answer.status == 429]
    assert len(refused) == 3
    for after_s, answer in refused:
        assert WAIT_MAX_S <= after_s <= WAIT_MAX_S + 0.2, "a client over the limit is answered late"
        assert await code_of(answer) == (429, "rate_limited")
        assert answer.headers["Retry-After"] == "1"


async def test_a_session_pays_for_itself_whatever_its_neighbours_ask(gateway_with: Open) -> None:
    gateway = await gateway_with(FEW)
    one = gateway.token()
    other = gateway.token(ticket_of(gateway.clock, session="public-2", key=8))
    await asked(gateway, "/v1/about", 8)
    assert {answer.status for _, answer in await asked(gateway, "/v1/session", 3, one)} == {200}
    assert {answer.status for _, answer in await asked(gateway, "/v1/session", 8, one)} == {200, 429}
    assert {answer.status for _, answer in await asked(gateway, "/v1/session", 3, other)} == {200}


async def test_a_token_that_does_not_open_pays_as_its_address(gateway_with: Open) -> None:
    gateway = await gateway_with(FEW)
    statuses = [answer.status for _, answer in await asked(gateway, "/v1/session", 8, "nonsense")]
    assert (statuses.count(401), statuses.count(429)) == (5, 3)
    (answer,) = await asked(gateway, "/v1/about", 1)
    assert answer[1].status in {200, 429}


async def test_an_export_is_dear(gateway_with: Open) -> None:
    doors = AdmissionLimits(requests_per_s_of_session=2, requests_burst_of_session=40)
    gateway = await gateway_with(replace(SETTINGS, admission=doors))
    token = gateway.token()
    for _ in range(2):
        assert [answer.status for _, answer in await asked(gateway, "/v1/me/export", 1, token)] == [200]
    ((_, answer),) = await asked(gateway, "/v1/me/export", 1, token)
    assert await code_of(answer) == (429, "rate_limited")


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/sessions"), ("DELETE", "/v1/sessions/public-9")])
async def test_what_the_server_is_asked_each_time_has_a_rate_of_its_session(
    gateway_with: Open, method: str, path: str
) -> None:
    doors = AdmissionLimits(requests_per_s_of_session=2, requests_burst_of_session=40)
    gateway = await gateway_with(replace(SETTINGS, admission=doors))
    one, other = gateway.token(), gateway.token(ticket_of(gateway.clock, session="public-2", key=8))
    for _ in range(4):
        ((_, answer),) = await asked(gateway, path, 1, one, method)
        assert answer.status != 429
    ((_, answer),) = await asked(gateway, path, 1, one, method)
    assert await code_of(answer) == (429, "rate_limited")
    ((_, answer),) = await asked(gateway, path, 1, other, method)
    assert answer.status != 429


async def test_log_ons_and_handshakes_have_rates_of_their_own(gateway_with: Open) -> None:
    gateway = await gateway_with(FEW)
    await asked(gateway, "/v1/about", 8)
    await gateway.served()


def test_a_flood_that_is_refused_makes_nobody_wait_longer() -> None:
    paces: KeyedRates[str] = KeyedRates(2.0, 3.0, keys_max=10)
    waits = [paces.wait_s("a", 0.0, 1) for _ in range(100)]
    assert waits[:5] == [0.0, 0.0, 0.0, 0.5, 1.0]
    assert set(waits[5:]) == {1.5}


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from([1, 20])), max_size=60))
def test_what_is_admitted_is_bounded(asks: list[tuple[float, int]]) -> None:
    paces: KeyedRates[str] = KeyedRates(2.0, 30.0, keys_max=10)
    now, admitted = 0.0, 0
    for after_s, price in asks:
        now += after_s
        admitted += price if paces.wait_s("a", now, price) <= WAIT_MAX_S else 0
    assert admitted <= 30 + 2 * (now + WAIT_MAX_S) + 1e-6


def test_what_is_remembered_is_bounded_and_who_owes_nothing_goes_first() -> None:
    paces: KeyedRates[int] = KeyedRates(1.0, 1.0, keys_max=3)
    paces.wait_s(1, 0.0, 2)
    for key in range(2, 5):
        paces.wait_s(key, 0.0, 1)
    assert len(paces) == 3
    for key in range(5, 50):
        paces.wait_s(key, 1.5, 1)
    assert len(paces) == 3
    assert paces.wait_s(1, 1.5, 1) >= 0


async def test_a_request_gives_way_before_it_is_served(gateway_with: Open) -> None:
    """From Python 3.12 on aiohttp starts each of many pipelined requests at once, in one turn of the loop."""
    gateway = await gateway_with(SETTINGS)
    (limit,) = (
        each for each in gateway.client.app.middlewares if getattr(each, "__name__", "") == "limit_rate"
    )
    served: list[web.Request] = []

    async def serve(request: web.Request) -> web.Response:
        served.append(request)
        return web.Response()

    async def ask() -> None:
        await limit(make_mocked_request("POST", "/v1/sessions"), serve)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask())
        await asyncio.sleep(0)
        assert served == []
    assert len(served) == 1


async def test_of_one_connection_one_request_is_served_in_a_turn(gateway_with: Open) -> None:
    gateway = await gateway_with(SETTINGS)
    url = gateway.client.make_url("/v1/about")
    request = b"GET /v1/about HTTP/1.1\r\nHost: x\r\n\r\n"
    (many, fill), (one, ask) = [await asyncio.open_connection(url.host, url.port) for _ in range(2)]
    answered = 0

    async def count() -> None:
        nonlocal answered
        while True:
            await many.readuntil(b"HTTP/1.1 200 OK")
            answered += 1

    counting = asyncio.get_running_loop().create_task(count())
    fill.write(request * 20)
    ask.write(request)
    await one.readuntil(b"HTTP/1.1 200 OK")
    assert answered <= 5, "20 requests in one packet are served before another connection's"
    counting.cancel()
    for writer in fill, ask:
        writer.close()
