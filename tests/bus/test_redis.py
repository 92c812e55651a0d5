"""The bus on Redis drops what is not its own, and reports what it did. See also tests/contracts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.bus.connect import KeyNames
from gateway.bus.pubsub import Partition, RedisBus
from gateway.bus.sealing import DropReason, Seals
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import Envelope, Inbox, Probe
from tests.bus.peer import Peer, Words, connector
from tests.bus.test_subscriptions import confirming, message
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import during

A = Inbox(NodeId("a"))
NAME = b"og:n:a:in"
SEALS = Seals([("k1", b"1" * 32)], os.urandom)


def server(words: Words) -> bytes | None:
    return b":3\r\n" if words[0] == b"PUBLISH" else confirming(words)


@asynccontextmanager
async def running(peer: Peer) -> AsyncIterator[tuple[RedisBus, ManualClock]]:
    clock = ManualClock()
    bus = RedisBus(
        (Partition(connector(peer, clock)),),
        KeyNames(b"p" * 32),
        Seals([("k1", b"1" * 32)], os.urandom),
        clock,
        lambda: 0.5,
        os.urandom,
    )
    async with during(bus.run()):
        await clock.settle()
        yield bus, clock


async def test_publishing_returns_the_number_of_receivers() -> None:
    async with running(Peer(server)) as (bus, _):
        assert await bus.publish(A, Probe(1)) == 3
        assert bus.published == 1


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"-NOPERM\r\n"])
async def test_an_answer_that_is_no_number_is_bus_down(answer: bytes) -> None:
    peer = Peer(lambda words: answer if words[0] == b"PUBLISH" else confirming(words))
    async with running(peer) as (bus, _):
        with pytest.raises(GatewayError) as raised:
            await bus.publish(A, Probe(1))
        assert raised.value.code is ErrorCode.BUS_DOWN
        assert bus.published == 0


async def test_what_cannot_be_opened_or_read_is_counted_and_the_next_is_reported() -> None:
    peer = Peer(server)
    received: list[Envelope] = []
    async with running(peer) as (bus, clock):
        await bus.subscribe(A, received.append)
        hearing = next(t for t in peer.transports if any(b"SUBSCRIBE" in written for written in t.written))
        sealed = bus.sealed(NAME, b"\x92\xa5Probe\x81\xa6number\x07")
        strange = bus.sealed(NAME, b"no envelope")
        for payload in (b"x", SEALS.seal(NAME, b"no head"), SEALS.seal(b"other", b"x"), sealed, strange):
            hearing.feed(message(NAME, payload))
        await clock.settle()
        assert received == [Probe(7)]
        assert bus.received == 1
        assert bus.seals.dropped == {DropReason.GARBAGE: 1, DropReason.UNREADABLE: 2, DropReason.FORGED: 1}


class Publishing(Peer):
    """A server that numbers its connections, and notes who is to be ended by whom."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.killed: list[Words] = []
        self.info = b"id=7 addr=10.0.0.1:4711 name= flags"

    def _answer(self, words: Words) -> bytes | None:
        if words == (b"CLIENT", b"INFO"):
            return b"$%d\r\n%s\r\n" % (len(self.info), self.info) if self.info else b"-NOPERM\r\n"
        if words[:2] == (b"CLIENT", b"KILL"):
            self.killed.append(words)
            return b"-ERR no such client\r\n"
        return server(words)


async def test_before_a_new_connection_publishes_the_last_one_is_ended_at_the_server() -> None:
    peer = Publishing()
    async with running(peer) as (bus, clock):
        assert peer.killed == []
        bus.publishers[0].drop("x")
        await clock.advance(0.1)
        assert peer.killed == [(b"CLIENT", b"KILL", b"ID", b"7", b"ADDR", b"10.0.0.1:4711")]
        assert await bus.publish(A, Probe(1)) == 3


async def test_a_server_that_does_not_tell_who_somebody_is_is_not_asked_to_end_him() -> None:
    peer = Publishing()
    peer.info = b""
    async with running(peer) as (bus, clock):
        bus.publishers[0].drop("x")
        await clock.advance(0.1)
        assert bus.publishers[0].is_up
        assert peer.killed == []
