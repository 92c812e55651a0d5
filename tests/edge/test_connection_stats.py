"""Connection metrics: connections and what happens on them, with fixed labels."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gateway.core.ledger import Ledger
from gateway.core.outbox import Outbox, PaceLadder
from gateway.core.view import view_of
from gateway.domain.model import Application, Scope, UserId
from gateway.edge.channel import ConnectionStats, ConnectionSummary, Initiator, StatsOutput
from gateway.protocol import frames
from gateway.protocol.codec import JSON
from gateway.telemetry import Telemetry
from tests.core.outbox_line import queue
from tests.doubles.clock import ManualClock
from tests.edge.visits import HELLO, Gateway, ticket_of


class Watched:
    """A witness, what it counted and what it left."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.lives: list[ConnectionSummary] = []
        output = StatsOutput(self.telemetry, self.lives.append)
        self.stats = ConnectionStats(output, JSON, ip_address("192.0.2.1"), 10.0)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"oscc_gateway_{name}", labels)


def phone_of_three() -> Outbox:
    """Return what one phone is sent, of which nothing waits."""
    outbox = Outbox(Ledger(1), view_of("h", Scope(queues=frozenset({1})), ("queues",)), JSON, PaceLadder())
    outbox.begin(None)
    outbox.take(0.0)
    return outbox


@pytest.mark.parametrize(
    ("platform", "received"),
    [
        ("ios", "ios"), ("Android", "android"), ("web", "web"), ("other", "other"), ("BeOS", "other"),
        ("", "other"),
    ],
)  # fmt: skip
def test_a_served_phone_is_counted_in_and_out_by_one_of_four_platforms(platform: str, received: str) -> None:
    watched = Watched()
    labels = {"application": "dashboard", "platform": received, "codec": "json"}
    watched.stats.welcomed(ticket_of(ManualClock()), platform, 10.2)
    assert watched.sample("handshakes_total", result="ok") == 1
    assert watched.sample("connections", **labels) == 1
    assert watched.sample("handshake_seconds_sum") == pytest.approx(0.2)
    watched.stats.closed("client", 1000, "", 11.0)
    assert watched.sample("connections", **labels) == 0


@pytest.mark.parametrize(
    ("initiator", "code", "label"),
    [
        ("client", 1001, "1001"),
        ("client", 3456, "other"),
        ("client", 4300, "other"),
        ("network", 1006, "1006"),
    ],
)
def test_a_client_cannot_make_series(initiator: Initiator, code: int, label: str) -> None:
    watched = Watched()
    watched.stats.closed(initiator, code, "", 10.0)
    assert watched.sample("closes_total", initiator=initiator, code=label) == 1
    assert watched.lives[0].close_code == code


def test_frames_and_commands_are_counted_and_left() -> None:
    watched = Watched()
    stats = watched.stats
    stats.welcomed(ticket_of(ManualClock()), "ios", 10.0)
    stats.frames_in += 1
    outbox = phone_of_three()
    for waiting in range(1, 6):
        outbox.ledger.record("queue:1", queue(waiting))
    stats.frames_written([b"12", b"345"], 10.5, outbox.waits, outbox)
    for waiting in range(6, 8):
        outbox.ledger.record("queue:1", queue(waiting))
    stats.frames_written([b"6"], 10.5, outbox.waits, outbox)
    stats.frames_written([], 10.5, outbox.waits, outbox)
    stats.commands += 2
    stats.closed("network", 1006, "", 12.5)
    samples = ("frames_total", "frame_bytes_total", "conflated_total")
    assert [watched.sample(name) for name in samples] == [3, 6, 6]
    assert watched.sample("connection_age_seconds_sum") == 2.5
    assert watched.lives == [
        ConnectionSummary(
            user=UserId("main", 7), application=Application.DASHBOARD, codec="json",
            address=ip_address("192.0.2.1"), lasted_s=2.5, initiator="network", close_code=1006,
            close_reason="", frames_in=1, frames_out=3, bytes_out=6, conflated=6, commands=2,
        )
    ]  # fmt: skip


# ---- metrics of events at a phone's socket ----


RESUMES = ("in_sync", "since", "reset", "foreign")


async def come(gateway: Gateway, position: frames.StreamPosition | None) -> frames.StreamPosition:
    """Let a phone come and go that knows *position*; returns what it knows then."""
    phone = await gateway.connect()
    await phone.say(replace(HELLO, token=gateway.token(), position=position))
    received = await phone.hear_all("welcome", "changes", "ping")
    streams = [one.stream for one in received if isinstance(one, frames.Changes) and one.stream is not None]
    await gateway.leave(phone)
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
    for number, ago_s in ((1, 0.75), (2, 0.25)):
        gateway.node.ledger.came_at = gateway.clock.now() - ago_s
        gateway.node.wait_for(4, number)
    await phone.hear()
    assert gateway.sample("event_latency_seconds_count", hop="edge") == 1
    assert gateway.sample("event_latency_seconds_sum", hop="edge") == pytest.approx(0.75)
    assert gateway.sample("state_age_seconds_sum") == pytest.approx(0.25)


async def test_connections_their_age_and_their_limit_are_counted(gateway: Gateway) -> None:
    phone = await gateway.served()
    await gateway.clock.advance(7)
    await gateway.leave(phone)
    assert gateway.sample("connection_age_seconds_count") == 1
    assert gateway.sample("connection_age_seconds_sum") == pytest.approx(7)
    assert gateway.sample("slow_closes_total") == 0
    assert gateway.sample("connections_limit") == gateway.parts.settings.admission.connections
