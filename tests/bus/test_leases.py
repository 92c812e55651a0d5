"""Leases of Redis are asked for in pipelines and timed, and trouble is reported. See also tests/contracts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.bus.connect import KeyNames
from gateway.bus.redis import RedisClient, RedisLimits
from gateway.bus.stores import FLOOR_TTL_S, LEASE, RedisLeases
from gateway.core.lease import TTL_S
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from tests.bus.peer import Peer, Words, door, usual
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import during

ANN = UserId("main", 1)
N1 = NodeId("n1")


@asynccontextmanager
async def running(
    peer: Peer, took: list[float] | None = None
) -> AsyncIterator[tuple[RedisLeases, ManualClock]]:
    clock = ManualClock(wall_ms=1_000_000)
    line = RedisClient(door(peer, clock), clock, lambda: 0.5, RedisLimits())
    leases = RedisLeases(line, KeyNames(b"p" * 32), clock, renewed=None if took is None else took.append)
    async with during(line.run()):
        await clock.settle()
        yield leases, clock


def renewing(words: Words) -> bytes | None:
    return b"*3\r\n$4\r\n1002\r\n$6\r\n500000\r\n:1\r\n" if words[0] == b"EVALSHA" else usual(words)


async def test_renewals_of_one_turn_leave_in_slices_of_two_hundred() -> None:
    peer = Peer()
    async with running(peer) as (leases, clock), asyncio.TaskGroup() as tasks:
        renewals = [
            tasks.create_task(leases.renew(UserId("main", number), N1, "h", 5)) for number in range(450)
        ]
        sizes = []
        while not all(renewal.done() for renewal in renewals):
            await clock.settle()
            sizes.append(len(peer.asked(b"EVALSHA")))
            peer.say(b"*3\r\n$1\r\n1\r\n$1\r\n1\r\n:1\r\n" * (sizes[-1] - sum(sizes[-2:-1])))
            await clock.settle()
        assert sizes == [200, 400, 450]
        assert len(peer.transport.written) == 1 + 3


async def test_the_clock_of_redis_is_compared_with_this_nodes() -> None:
    took: list[float] = []
    async with running(Peer(renewing), took) as (leases, _):
        assert leases.clock_offset_s is None
        assert await leases.renew(ANN, N1, "h", 5)
        assert leases.clock_offset_s == pytest.approx(2.5)
        assert took == [0.0]


async def test_the_offset_is_that_of_the_middle_and_a_renewal_takes_its_time() -> None:
    peer, took = Peer(), list[float]()
    async with running(peer, took) as (leases, clock), asyncio.TaskGroup() as tasks:
        tasks.create_task(leases.renew(ANN, N1, "h", 5))
        await clock.advance(0.2)
        peer.say(renewing((b"EVALSHA",)) or b"")
        await clock.settle()
        assert leases.clock_offset_s == pytest.approx(2.4)
        assert took == [pytest.approx(0.2, abs=1e-3)]


async def test_an_answer_that_a_busy_node_reads_late_says_nothing_of_the_clock() -> None:
    peer = Peer()
    async with running(peer) as (leases, clock), asyncio.TaskGroup() as tasks:
        tasks.create_task(leases.renew(ANN, N1, "h", 5))
        await clock.settle()
        peer.say(renewing((b"EVALSHA",)) or b"")
        clock.stand_still(6.0)
        await clock.settle()
        assert leases.clock_offset_s is None


async def test_the_design_s_lives_are_asked_for() -> None:
    peer = Peer(renewing)
    async with running(peer) as (leases, _):
        await leases.renew(ANN, N1, "h", 5)
        words = peer.asked(b"EVALSHA")[0]
        assert words[5:] == (b"renew", b"n1", b"h", b"5", b"15000", b"2592000000")
    assert (TTL_S, FLOOR_TTL_S) == (15.0, 30 * 86_400)


@pytest.mark.parametrize(
    "answer", [b"+OK\r\n", b"*1\r\n:1\r\n", b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n", b"-OOM\r\n", b"*-1\r\n"]
)
async def test_an_answer_that_is_none_is_bus_down(answer: bytes) -> None:
    peer = Peer(lambda words: answer if words[0] == b"EVALSHA" else usual(words))
    async with running(peer) as (leases, _):
        with pytest.raises(GatewayError) as raised:
            await leases.acquire(ANN, N1, "h", floor=0)
        assert raised.value.code is ErrorCode.BUS_DOWN


async def test_a_lease_that_is_incomplete_is_none() -> None:
    peer = Peer(lambda words: b"*3\r\n$1\r\na\r\n$-1\r\n$-1\r\n" if words[0] == b"HMGET" else usual(words))
    async with running(peer) as (leases, _):
        assert await leases.read(ANN) is None


def test_a_server_learns_the_script_when_it_is_greeted() -> None:
    assert LEASE.load[:2] == ("SCRIPT", "LOAD")
    assert "acquire" in str(LEASE.load[2])
