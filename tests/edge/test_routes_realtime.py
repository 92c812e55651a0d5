"""Refusals before the upgrade to a WebSocket."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import aiohttp
import pytest

from gateway.edge import handshake
from gateway.edge.request_context import AdmissionLimits
from gateway.protocol import frames
from gateway.protocol.codec import MSGPACK
from tests.edge.conftest import Open
from tests.edge.test_routes_sessions import code_of
from tests.edge.visits import HELLO, SETTINGS, Gateway, bearer, ticket_of

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": "oscc.v1.json",
}


async def knock(gateway: Gateway, **headers: str | None) -> aiohttp.ClientResponse:
    """Ask for a WebSocket with some headers changed or left out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in (UPGRADE | named).items() if value is not None}
    return await gateway.client.get("/v1/realtime", headers=sent)


async def test_the_first_known_subprotocol_is_chosen(gateway: Gateway) -> None:
    protocols = ("other", MSGPACK.subprotocol, "oscc.v1.json")
    ws = await gateway.client.ws_connect("/v1/realtime", protocols=protocols)
    assert ws.protocol == MSGPACK.subprotocol
    await ws.close()


async def test_what_is_no_handshake_gets_the_version_and_takes_no_place(gateway: Gateway) -> None:
    answer = await knock(gateway, Sec_WebSocket_Version="99")
    assert (answer.status, answer.headers["Sec-WebSocket-Version"]) == (400, "13")
    assert gateway.admission.sockets == 0


async def test_its_own_page_may_connect(gateway: Gateway) -> None:
    own = f"http://{gateway.client.host}:{gateway.client.port}"
    ws = await gateway.client.ws_connect("/v1/realtime", protocols=("oscc.v1.json",), origin=own)
    await ws.close()


async def test_a_page_on_the_list_may_connect(gateway_with: Open) -> None:
    page = "https://app.example"
    gateway = await gateway_with(replace(SETTINGS, origins=frozenset({page})))
    ws = await gateway.client.ws_connect("/v1/realtime", protocols=("oscc.v1.json",), origin=page)
    await ws.close()
    own = f"http://{gateway.client.host}:{gateway.client.port}"
    assert await code_of(await knock(gateway, Origin=own)) == (403, "forbidden")


async def test_silent_sockets_of_an_address_stop_none_of_its_neighbours(gateway_with: Open) -> None:
    gateway = await gateway_with(replace(SETTINGS, admission=AdmissionLimits(unhelloed_per_address=3)))
    silent = [await gateway.connect() for _ in range(3)]
    first = await gateway.hello(gateway.token())
    await first.hear_all("welcome")
    assert gateway.sample("unhelloed_connections") == 2
    bye, code = await silent[0].end()
    assert (code, bye and bye.code, bye and bye.reconnect) == (4110, 4110, "after")
    ticket = ticket_of(gateway.clock, session="public-2", key=8)
    waiting = await gateway.connect()
    second = await gateway.connect(headers=bearer(gateway.token(ticket)))
    assert gateway.sample("unhelloed_connections") == 4, "who shows a token takes no place of the address"
    await second.say(frames.Hello(HELLO.client))
    await second.hear_all("welcome")
    for phone in (*silent[1:], waiting):
        assert not phone.ws.closed
    assert gateway.admission.sockets == 5


async def test_a_token_in_the_header_counts_for_its_user_not_for_the_address(gateway_with: Open) -> None:
    doors = AdmissionLimits(handshakes_per_s_of_address=0.5, handshakes_burst_of_address=1)
    gateway = await gateway_with(replace(SETTINGS, admission=doors))
    await gateway.connect()
    assert await code_of(await knock(gateway)) == (429, "rate_limited")
    assert await code_of(await knock(gateway, **bearer("nonsense"))) == (429, "rate_limited")
    await gateway.connect(headers=bearer(gateway.token()))
    again = await knock(gateway, **bearer(gateway.token()))
    assert await code_of(again) == (429, "rate_limited"), "and no faster than an address may come"


async def test_an_upgrade_wears_the_headers_of_every_answer(gateway: Gateway) -> None:
    ws = await gateway.client.ws_connect("/v1/realtime", protocols=("oscc.v1.json",))
    assert ws._response.headers["Cache-Control"] == "no-store"
    await ws.close()


@pytest.mark.parametrize("fault", [ZeroDivisionError, OSError, ConnectionResetError])
@pytest.mark.parametrize("step", ["accept", "SessionCredentials", "Session", "ConnectionStats"])
async def test_whatever_fails_at_an_upgrade_the_place_is_given_back(
    gateway: Gateway, step: str, fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(handshake, step, fail)
        with suppress(aiohttp.ClientError):
            await knock(gateway)
    assert (gateway.admission.sockets, gateway.admission.unhelloed) == (0, 0)
    assert gateway.sample("handshakes_total", result="left") == 1
    await gateway.served()
