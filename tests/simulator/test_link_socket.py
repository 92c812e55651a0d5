"""WebSockets that become a link, and those that do not."""

from __future__ import annotations

import pytest

from tests.simulator.wire import Wire

NORMAL = {"OSCCE-Link-Token": "3", "OSCCE-Link-Holder": "me"}


async def test_refusals_before_the_upgrade(wire: Wire) -> None:
    secret = (await wire.log_on())["SessionID"]
    known = {"OSCCE-Session": secret}
    assert await wire.refused_link(NORMAL) == 401
    assert await wire.refused_link(known) == 400
    assert await wire.refused_link(known | NORMAL | {"OSCCE-Link-Token": "x"}) == 400
    line = await wire.link(secret, 5)
    await line.greeting()
    assert await wire.refused_link(known | NORMAL) == 409


@pytest.mark.parametrize("text", ["{", '{"Type":"Request","RequestID":-1}', "[" * 100_000])
async def test_what_cannot_be_read_closes_with_1002(wire: Wire, text: str) -> None:
    line = await wire.link((await wire.log_on())["SessionID"])
    await line.socket.send_str(text)
    assert await line.closed() == 1002


async def test_binary_messages_close_with_1002(wire: Wire) -> None:
    line = await wire.link((await wire.log_on())["SessionID"])
    await line.socket.send_bytes(b"{}")
    assert await line.closed() == 1002


async def test_requests_of_a_frozen_line_wait_and_may_be_too_late(wire: Wire) -> None:
    line = await wire.link((await wire.log_on())["SessionID"])
    await line.greeting()
    wire.sim.faults.freeze(10, "supervisor1")
    now_ms = wire.clock.now_ms()
    for request_id, not_after in ((1, now_ms + 5000), (2, now_ms + 50_000)):
        await line.socket.send_json(
            {"Type": "Request", "RequestID": request_id, "Method": "KeepAlive", "NotAfter": not_after}
        )
    while len(next(iter(wire.sim.faults.lines.values())).inbox) < 2:
        await line.socket.ping()
        await wire.control("POST", "publish")
    await wire.clock.advance(11)
    answers = [await line.read(), await line.read()]
    assert [each.get("ErrorName") for each in answers] == ["Expired", None]
