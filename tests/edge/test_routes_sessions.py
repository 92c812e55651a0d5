"""Routes of sessions, as docs/protocol.md says."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Ticket
from gateway.domain.upstream import LoggedOff
from gateway.edge.export import RemoteHoldings
from gateway.edge.routes import EXPORT_SLICE_RECORDS
from gateway.protocol.schemas import inventory
from tests.doubles.tasks import during
from tests.edge.conftest import Open
from tests.edge.fake_node import LIFE_MS
from tests.edge.visits import Gateway, bearer, code_of, ticket_of

LOG_ON: dict[str, Any] = {
    "site": "main",
    "application": "dashboard",
    "user_name": "ann",
    "password": "secret",
    "device": {"id": "d1", "name": "one", "platform": "web", "app_version": "1.0", "later": 1},
    "later": "ignored",
}


async def test_a_log_on_gives_a_token_that_works(gateway: Gateway) -> None:
    answer = await gateway.client.post("/v1/sessions", json=LOG_ON)
    assert answer.status == 201
    created = await answer.json()
    token = created.pop("token")
    expires_at_ms = gateway.clock.wall_ms() + LIFE_MS
    assert created == {
        "session": {"id": "public-1", "application": "dashboard", "expires_at_ms": expires_at_ms},
        "user": {"user_id": "7", "display_name": "Ann"},
    }
    seen = await gateway.client.get("/v1/session", headers=bearer(token))
    assert await seen.json() == created
    await gateway.clock.settle()
    assert gateway.node.logged_off == [], "who waits for the answer is not logged off"


async def test_a_caller_that_leaves_before_the_answer_is_logged_off(gateway: Gateway) -> None:
    gateway.node.log_on_takes_s = 5.0
    async with during(gateway.client.post("/v1/sessions", json=LOG_ON)):
        while not gateway.node.credentials:
            await gateway.clock.settle()
    await gateway.clock.settle()
    assert gateway.node.logged_off == []
    await gateway.clock.advance(5.0)
    assert [ticket.session for ticket in gateway.node.logged_off] == ["public-1"]


@contextmanager
def sent_log_on(gateway: Gateway) -> Iterator[socket.socket]:
    """Send a log-on over a socket of no event loop, which closes only in the kernel."""
    body = json.dumps(LOG_ON)
    lines = ["POST /v1/sessions HTTP/1.1", "Host: x", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", "", body]
    with socket.create_connection((gateway.client.host, gateway.client.port or 0)) as raw:
        raw.sendall("\r\n".join(lines).encode())
        yield raw


def wait_for_state(raw: socket.socket, state: int) -> None:
    """Block, with the event loop, until the connection has the TCP state."""
    while raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != state:
        os.sched_yield()


FIN_WAIT_2 = 5
"""The other side's kernel has seen the close."""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
async def test_a_caller_that_leaves_in_the_turn_of_the_answer_is_logged_off(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.node.log_on_takes_s = 5.0
    caplog.set_level("INFO")
    with sent_log_on(gateway) as raw:
        while not gateway.node.credentials:
            await gateway.clock.settle()
        raw.shutdown(socket.SHUT_WR)
        wait_for_state(raw, FIN_WAIT_2)
        await gateway.clock.advance(5.0)
        await gateway.clock.settle()
        assert [ticket.session for ticket in gateway.node.logged_off] == ["public-1"]
        with suppress(ConnectionError):
            assert raw.recv(1) == b""  # nobody gets the token of an ended session
    assert [each.getMessage() for each in caplog.records].count("log_on_undelivered") == 1


async def test_a_caller_whose_connection_breaks_under_the_answer_is_logged_off(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(web.Response, "write_eof", fails)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await gateway.client.post("/v1/sessions", json=LOG_ON)
    assert [ticket.session for ticket in gateway.node.logged_off] == ["public-1"]


async def test_a_caller_that_leaves_with_its_token_keeps_the_session(gateway: Gateway) -> None:
    with sent_log_on(gateway) as raw:
        raw.setblocking(False)
        received = await asyncio.get_running_loop().sock_recv(raw, 65_536)
    await gateway.clock.settle()
    assert received.startswith(b"HTTP/1.1 201 ")
    assert gateway.node.logged_off == []


# ---- tokens ----

WITH_TOKEN = [
    ("GET", "/v1/session"),
    ("GET", "/v1/sessions"),
    ("DELETE", "/v1/sessions/public-2"),
    ("GET", "/v1/me/export"),
]


@pytest.mark.parametrize(("method", "path"), WITH_TOKEN)
async def test_a_token_in_the_address_is_no_token(gateway: Gateway, method: str, path: str) -> None:
    answer = await gateway.client.request(method, path, params={"token": gateway.token()})
    assert await code_of(answer) == (401, "unauthenticated")


# ---- log off ----


@pytest.mark.parametrize("routing", ["removed", "none"])
async def test_a_confirmed_log_off_is_204(gateway: Gateway, routing: Any) -> None:  # noqa: ANN401 - a literal
    gateway.node.routing = LoggedOff(routing, None)
    answer = await gateway.client.delete("/v1/session", headers=bearer(gateway.token()))
    assert (answer.status, await answer.read()) == (204, b"")
    assert [ticket.session for ticket in gateway.node.logged_off] == ["public-1"]


@pytest.mark.parametrize("until_ms", [1_700_000_300_000, None])
@pytest.mark.parametrize(
    ("path", "ended", "logged_off"),
    [("session", [], ["public-1"]), ("sessions/public-2", ["public-2"], [])],
    ids=["my own", "another of mine"],
)
async def test_one_that_ends_after_a_contact_is_202(
    gateway: Gateway, path: str, ended: list[str], logged_off: list[str], until_ms: int | None
) -> None:
    gateway.node.routing = LoggedOff("after_contact", until_ms)
    answer = await gateway.client.delete(f"/v1/{path}", headers=bearer(gateway.token()))
    assert answer.status == 202
    body = {"state": "pending", "routed_until_ms": until_ms, "retry_after_s": 5.0}
    assert (await answer.json(), answer.headers["Retry-After"]) == (body, "5")
    assert gateway.node.ended == ended
    assert [ticket.session for ticket in gateway.node.logged_off] == logged_off


async def test_an_expired_or_denied_session_is_logged_off_all_the_same(gateway: Gateway) -> None:
    gateway.node.denials["public-1"] = SessionRefused(CloseCode.LOGGED_OFF, "logged_off")
    token = gateway.token(ticket_of(gateway.clock, expires_in_ms=1_000))
    gateway.clock.jump_wall(24 * 3_600_000)
    assert (await gateway.client.delete("/v1/session", headers=bearer(token))).status == 204
    gateway.clock.jump_wall(2_000)
    late = await gateway.client.delete("/v1/session", headers=bearer(token))
    assert await code_of(late) == (401, "unauthenticated")


# ---- my sessions ----


async def test_my_sessions_are_listed(gateway: Gateway) -> None:
    answer = await gateway.client.get("/v1/sessions", headers=bearer(gateway.token()))
    assert await answer.json() == {
        "sessions": [
            {
                "id": "public-1", "application": "dashboard", "device": {"id": "d1", "name": "one"},
                "since_ms": 3, "attached": True, "current": True,
            },
            {
                "id": "public-2", "application": "remote_assistant", "device": {"id": "d2", "name": "two"},
                "since_ms": 5, "attached": False, "current": False,
            },
        ]
    }  # fmt: skip


async def test_one_of_them_is_ended(gateway: Gateway) -> None:
    headers = bearer(gateway.token())
    assert (await gateway.client.delete("/v1/sessions/public-2", headers=headers)).status == 204
    assert gateway.node.ended == ["public-2"]
    missing = await gateway.client.delete("/v1/sessions/nobodys", headers=headers)
    assert await code_of(missing) == (404, "not_found")


async def test_ones_own_is_logged_off_as_often_and_as_late_as_one_likes(gateway: Gateway) -> None:
    gateway.node.routing = LoggedOff("after_contact", 77)
    token = gateway.token(ticket_of(gateway.clock, expires_in_ms=1_000))
    first = await gateway.client.delete("/v1/sessions/public-1", headers=bearer(token))
    assert (first.status, (await first.json())["routed_until_ms"]) == (202, 77)
    gateway.node.denials["public-1"] = SessionRefused(CloseCode.LOGGED_OFF, "logged_off")
    gateway.node.routing = LoggedOff("removed", None)
    gateway.clock.jump_wall(24 * 3_600_000)
    assert (await gateway.client.delete("/v1/sessions/public-1", headers=bearer(token))).status == 204
    assert [ticket.session for ticket in gateway.node.logged_off] == ["public-1", "public-1"]
    other = await gateway.client.delete("/v1/sessions/public-2", headers=bearer(token))
    assert await code_of(other) == (401, "session_ended")
    assert gateway.node.ended == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/sessions"), ("DELETE", "/v1/sessions/public-2")])
async def test_whose_session_the_server_does_not_know_any_more_learns_what_to_do(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    async def refuse(*_: object) -> None:
        raise GatewayError(ErrorCode.SESSION_ENDED, "The session has ended.")

    monkeypatch.setattr(gateway.node, "sessions", refuse)
    monkeypatch.setattr(gateway.node, "end", refuse)
    answer = await gateway.client.request(method, path, headers=bearer(gateway.token()))
    assert await code_of(answer) == (401, "session_ended")
    assert (await answer.json())["verdict"] == "log_on"


async def test_my_data_is_exported(gateway: Gateway) -> None:
    answer = await gateway.client.get("/v1/me/export", headers=bearer(gateway.token()))
    body = await answer.json()
    assert [entry["category"] for entry in body["entries"]] == [
        entry.category for entry in inventory().entries
    ]
    by_category = {entry["category"]: entry["held"] for entry in body["entries"]}
    assert by_category["queue.realtime"][0] == {"key": "queue:1", "contacts_waiting": 0}
    assert by_category["connection"][0]["network_address"] in {"127.0.0.1", "::1"}
    assert "SECRET" not in await answer.text()


async def test_one_export_of_a_session_is_made_at_a_time(gateway_with: Open) -> None:
    gateway = await gateway_with()
    gate = asyncio.Event()

    async def elsewhere(_: Ticket) -> RemoteHoldings:
        await gate.wait()
        return RemoteHoldings({}, complete=True)

    object.__setattr__(gateway.parts, "remote_holdings", elsewhere)
    mine, other = bearer(gateway.token()), ticket_of(gateway.clock, session="public-2", key=8)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(gateway.client.get("/v1/me/export", headers=mine))
        await gateway.clock.settle()
        second = await gateway.client.get("/v1/me/export", headers=mine)
        assert await code_of(second) == (429, "rate_limited")
        assert second.headers["Retry-After"] == "5"
        third = tasks.create_task(gateway.client.get("/v1/me/export", headers=bearer(gateway.token(other))))
        await gateway.clock.settle()
        gate.set()
    assert (first.result().status, third.result().status) == (200, 200)
    assert (await gateway.client.get("/v1/me/export", headers=mine)).status == 200


async def test_others_have_their_turn_while_an_export_is_made(gateway: Gateway) -> None:
    gateway.node.show_queues(2_000, "q")
    written = SliceCounter(gateway)
    answer = await gateway.client.get("/v1/me/export", headers=bearer(gateway.token()))
    assert answer.status == 200
    assert written.slices >= 2 * 2_000 / EXPORT_SLICE_RECORDS


class SliceCounter:
    """Counts how often the gateway lets others have their turn."""

    def __init__(self, gateway: Gateway) -> None:
        self.slices = 0
        self._sleep = gateway.clock.sleep
        gateway.clock.sleep = self  # type: ignore[method-assign]  # counted, then as before

    async def __call__(self, seconds: float) -> None:
        self.slices += seconds == 0
        await self._sleep(seconds)
