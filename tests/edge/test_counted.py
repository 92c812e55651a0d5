"""Metrics of events at a phone's socket."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.protocol import frames
from tests.edge.visits import HELLO, Gateway

RESUMES = ("in_sync", "since", "reset", "foreign")


async def come(gateway: Gateway, position: frames.StreamPosition | None) -> frames.StreamPosition:
    """Let a phone come and go that knows *position*; returns what it knows then."""
    phone = await gateway.connect()
    await phone.say(replace(HELLO, token=gateway.token(), position=position))
    received = await phone.hear_all("welcome", "changes", "ping")
    streams = [one.stream for one in received if isinstance(one, frames.Changes) and one.stream is not None]
    await phone.ws.close()
    await gateway.clock.settle()
    stream = streams[-1] if streams else (position.stream if position else "")
    return frames.StreamPosition(stream, received[-1].upto)


def resumed(gateway: Gateway) -> dict[str, float]:
    counts = {result: gateway.sample("resumes_total", result=result) for result in RESUMES}
    return {result: count for result, count in counts.items() if count}


async def test_what_a_position_is_worth(gateway: Gateway) -> None:
    known = await come(gateway, None)
    assert resumed(gateway) == {}
    known = await come(gateway, known)
    assert resumed(gateway) == {"in_sync": 1}
    gateway.node.wait_for(4)
    await come(gateway, known)
    assert resumed(gateway) == {"in_sync": 1, "since": 1}
    await come(gateway, frames.StreamPosition(known.stream, known.seq + 9))
    await come(gateway, frames.StreamPosition("9.other", known.seq))
    assert resumed(gateway) == dict.fromkeys(RESUMES, 1)


async def test_a_ping_and_its_answer(gateway: Gateway) -> None:
    phone = await gateway.hello(gateway.token())
    *_, ping = await phone.hear_all("welcome", "changes", "ping")
    await gateway.clock.advance(0.25)
    await phone.say(frames.Pong(ping.nonce))
    await phone.say(frames.Pong(ping.nonce))  # it asks by it: the next frame shows that both were received
    await gateway.clock.advance(2)
    await phone.hear()
    assert gateway.sample("ping_rtt_seconds_count") == 1
    assert gateway.sample("ping_rtt_seconds_sum") == pytest.approx(0.25)


async def test_an_update_of_a_phone_that_goes_alone(gateway: Gateway) -> None:
    phone = await gateway.served()
    assert gateway.sample("updates_total") == 0  # a first state is no update
    assert gateway.sample("event_latency_seconds_count", hop="total") == 0
    await gateway.clock.advance(1)
    gateway.node.ledger.came_at, gateway.node.ledger.under_way_s = gateway.clock.now() - 0.5, 0.125
    gateway.node.wait_for(4)
    await phone.hear()
    assert gateway.sample("updates_total") == 1
    assert gateway.sample("event_latency_seconds_sum", hop="edge") == pytest.approx(0.5)
    assert gateway.sample("event_latency_seconds_sum", hop="total") == pytest.approx(0.625)
    assert gateway.sample("state_age_seconds_sum") == pytest.approx(0.625)


async def test_of_what_waited_together_the_oldest_counts(gateway: Gateway) -> None:
    phone = await gateway.served()
    await gateway.clock.advance(1)
    for queue, ago_s in ((1, 0.75), (2, 0.25)):
        gateway.node.ledger.came_at = gateway.clock.now() - ago_s
        gateway.node.wait_for(4, queue)
    await phone.hear()
    assert gateway.sample("event_latency_seconds_count", hop="edge") == 1
    assert gateway.sample("event_latency_seconds_sum", hop="edge") == pytest.approx(0.75)
    assert gateway.sample("state_age_seconds_sum") == pytest.approx(0.25)


async def test_the_age_and_the_end_of_a_connection(gateway: Gateway) -> None:
    phone = await gateway.served()
    await gateway.clock.advance(7)
    await phone.ws.close()
    await gateway.clock.settle()
    assert gateway.sample("connection_age_seconds_count") == 1
    assert gateway.sample("connection_age_seconds_sum") == pytest.approx(7)
    assert gateway.sample("slow_closes_total") == 0


async def test_how_many_connections_there_may_be(gateway: Gateway) -> None:
    assert gateway.sample("connections_limit") == gateway.parts.settings.admission.connections
