"""A message of 2,000 values leaves and arrives in slices, in order: work between two turns is counted."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.bus.pubsub import RedisBus
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.domain.resources import Agent
from gateway.protocol import envelopes
from gateway.protocol.envelopes import (
    VALUES_AT_ONCE,
    Envelope,
    Inbox,
    Probe,
    Publication,
    Publications,
    PublishedValue,
    Sliced,
)
from tests.contracts.buses import fake
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import during

B = Inbox(NodeId("b"))
MANY = 2_000
SNAPSHOT = Publication(
    UserId("main", 1),
    epoch=5,
    after=0,
    upto=MANY,
    reset=True,
    updates=tuple(
        PublishedValue(f"agent:{number}", number + 1, Agent(display_name=f"Ann {number}" + " of Sales" * 4))
        for number in range(MANY)
    ),
    upstream="live",
    as_of_ms=None,
)


class Work:
    """How many values were encoded and decoded, in all and at most between two turns of somebody else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoded = self.decoded = self.most_encoded = self.most_decoded = 0
        self.taken_apart = self.shared_turns = self.decoded_before = 0
        """How often the head of a message was read; how often that, or delivering it, shared a turn."""
        encoder, decode_agent = envelopes._ENCODER, envelopes._VALUES["agent"]
        work = self

        class Encoder:
            def encode(self, reported: object) -> bytes:
                work.encoded += values_in(reported)
                return encoder.encode(reported)

        class Decoder:
            def decode(self, raw: msgspec.Raw) -> object:
                work.decoded += 1
                work.shared_turns += work.taken_apart
                return decode_agent(raw)

        class Head:
            def __init__(self, name: str) -> None:
                self._decoder = getattr(envelopes, name)

            def decode(self, raw: bytes) -> object:
                work.taken_apart += 1
                return self._decoder.decode(raw)

        for name in ("_PUBLICATION", "_PUBLICATIONS"):
            monkeypatch.setattr(envelopes, name, Head(name))
        monkeypatch.setattr(envelopes, "_ENCODER", Encoder())
        monkeypatch.setitem(envelopes._VALUES, "agent", Decoder().decode)

    async def watch(self) -> None:
        """Have turns with everybody else, for ever."""
        while True:
            encoded, decoded = self.encoded, self.decoded
            await asyncio.sleep(0)
            self.most_encoded = max(self.most_encoded, self.encoded - encoded)
            self.most_decoded = max(self.most_decoded, self.decoded - decoded)
            self.taken_apart, self.decoded_before = 0, self.decoded


def values_in(reported: object) -> int:
    """Return how many agents are written with *received*."""
    match reported:
        case Agent():
            return 1
        case PublishedValue(value=value):
            return values_in(value)
        case Publication(updates=updates):
            return len(updates)
        case dict():
            return sum(map(values_in, reported.values()))
        case list() | tuple():
            return sum(map(values_in, reported))
        case _:
            return 0


@pytest.mark.parametrize("large", [SNAPSHOT, Publications((SNAPSHOT,))], ids=["alone", "bundled"])
async def test_a_large_message_leaves_and_arrives_in_slices_before_what_was_published_later(
    monkeypatch: pytest.MonkeyPatch, large: Envelope
) -> None:
    monkeypatch.setattr("gateway.core.rate_limits.TURN_MAX_S", 0.0)  # a busy machine makes turns long
    received: list[Envelope] = []
    async with fake() as site:
        here, there = site.buses
        work = Work(monkeypatch)

        def receive(reported: Envelope) -> None:
            received.append(reported)
            work.shared_turns += work.decoded > work.decoded_before

        await there.subscribe(B, receive)
        async with during(work.watch()):
            async with asyncio.TaskGroup() as sending:
                sending.create_task(here.publish(B, large))
                for number in range(3):
                    sending.create_task(here.publish(B, Probe(number)))
            while len(received) < 4:  # noqa: ASYNC110 - the server is in this loop
                await asyncio.sleep(0)
    assert received == [large, Probe(0), Probe(1), Probe(2)]
    assert min(work.encoded, work.decoded) >= MANY
    assert max(work.most_encoded, work.most_decoded) <= VALUES_AT_ONCE
    assert work.shared_turns == 0, "what leads up to the values, or what follows, has no turn of its own"


class LateClock(ManualClock):
    """A clock by which the work of others takes 0.1 s in each turn of the loop."""

    turns = 0

    async def sleep(self, seconds: float) -> None:
        self.turns += 1
        self.stand_still(0.1)
        await super().sleep(seconds)


async def test_in_turns_that_the_work_of_others_makes_long_a_message_takes_few() -> None:
    clock = LateClock()

    def slices() -> Sliced[int]:
        for _ in range(40):
            clock.stand_still(0.001)
            yield
        return 40

    async with fake() as site:
        bus = site.buses[0]
        assert isinstance(bus, RedisBus)
        bus._clock = clock
        assert await bus._whole(slices()) == 40
    assert clock.turns <= 3


async def test_nothing_is_posted_while_a_large_message_is_encoded_or_waits_for_that() -> None:
    received: list[Envelope] = []
    answers: list[int | GatewayError] = []
    async with fake() as site:
        here, there = site.buses
        await there.subscribe(B, received.append)
        assert not here.post(B, SNAPSHOT, answers.append), "it takes several turns"
        async with asyncio.TaskGroup() as sending:
            for envelope in (SNAPSHOT, Probe(1)):
                sending.create_task(here.publish(B, envelope))
            await asyncio.sleep(0)
            assert not here.post(B, Probe(2), answers.append)
        assert here.post(B, Probe(3), answers.append)
        while len(received) < 3:  # noqa: ASYNC110 - the server is in this loop
            await asyncio.sleep(0)
    assert received == [SNAPSHOT, Probe(1), Probe(3)]
    assert answers == [1]
