"""The shared store in Redis refuses answers that make no sense. See also tests/contracts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from gateway.bus.connect import KeyNames
from gateway.bus.redis import RedisClient, RedisLimits
from gateway.bus.sealing import Seals
from gateway.bus.stores import SKEW_MS, TRIES, RedisStore
from gateway.domain.errors import EndReason, GatewayError
from tests.bus.peer import OK, Peer, Words, door, usual
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import during

NAMES = KeyNames(b"p" * 32)
SEALS = Seals([("k1", b"1" * 32)], os.urandom)
WALL_MS = 1_000_000_000
COUNTER, DENIED = NAMES.throttled("a"), NAMES.denied("a")


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(value), value)


@asynccontextmanager
async def shared(answer: bytes, swapped: bytes | None = None) -> AsyncIterator[tuple[RedisStore, Peer]]:
    def server(words: Words) -> bytes | None:
        if swapped is not None and words[0] == b"EVALSHA":
            return swapped
        return answer if words[0] in {b"GET", b"SET", b"EVALSHA"} else usual(words)

    clock, peer = ManualClock(wall_ms=WALL_MS), Peer(server)
    line = RedisClient(door(peer, clock), clock, lambda: 0.5, RedisLimits())
    async with during(line.run()):
        yield RedisStore(line, NAMES, SEALS, clock), peer


async def test_a_reason_of_a_later_version_is_unknown_and_counts() -> None:
    async with shared(bulk(SEALS.seal_value(DENIED, b"later"))) as (there, _):
        assert await there.denied("a") is EndReason.UNKNOWN


def counter(count: int, until_ms: int) -> bytes:
    return SEALS.seal_value(COUNTER, msgspec.msgpack.encode((count, until_ms)))


async def test_what_no_node_sealed_for_that_key_is_not_there() -> None:
    sealed = SEALS.seal_value(DENIED, b"blocked")
    elsewhere = SEALS.seal_value(NAMES.denied("b"), b"blocked")
    said = SEALS.seal(DENIED, b"blocked")
    for value, reason in ((sealed, EndReason.BLOCKED), (elsewhere, None), (said, None), (b"blocked", None)):
        async with shared(bulk(value)) as (there, _):
            assert await there.denied("a") is reason
    for value in (b"7", b"1e300", counter(7, 2**40)[:-1], SEALS.seal_value(COUNTER, b"x")):
        async with shared(bulk(value)) as (there, _):
            assert await there.counted("a") == 0


async def test_a_counter_of_the_past_that_somebody_put_back_does_not_count() -> None:
    for until_ms, count in ((WALL_MS + 1, 7), (WALL_MS - SKEW_MS - 1, 0)):
        async with shared(bulk(counter(7, until_ms))) as (there, _):
            assert await there.counted("a") == count


async def test_a_counter_that_others_change_all_the_time_ends_the_trying() -> None:
    async with shared(b"$-1\r\n", swapped=b":0\r\n") as (there, peer):
        assert await there.count("a", 1.0) == 1
        assert len(peer.asked(b"EVALSHA")) == TRIES


@pytest.mark.parametrize("answer", [b"*0\r\n", b"-WRONGTYPE\r\n", b":7\r\n"])
async def test_answers_that_make_no_sense_are_bus_down(answer: bytes) -> None:
    async with shared(answer) as (there, _):
        with pytest.raises(GatewayError):
            await there.counted("a")
        with pytest.raises(GatewayError):
            await there.count("a", 1.0)
        with pytest.raises(GatewayError):
            await there.denied("a")


@pytest.mark.parametrize(("ttl_s", "ms"), [(60.0, b"60000"), (0.0001, b"1"), (0.0, b"1"), (-5.0, b"1")])
async def test_what_is_noted_has_an_end(ttl_s: float, ms: bytes) -> None:
    async with shared(OK) as (there, peer):
        await there.deny("a", EndReason.BLOCKED, ttl_s)
        assert peer.asked(b"SET")[0][3:] == (b"PX", ms)
