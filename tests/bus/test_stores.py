"""Leases, records of nodes, shared values and scripts in Redis. See also tests/contracts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources

import msgspec
import pytest
import redis.asyncio as client
from redis.exceptions import RedisError

from gateway.bus.connect import KeyNames
from gateway.bus.redis import Script
from gateway.bus.sealing import Seals
from gateway.bus.stores import FLOOR_TTL_S, LEASE, SKEW_MS, TRIES, RedisLeases, RedisNodeRegistry, RedisStore
from gateway.core.lease import TTL_S
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import NodeRecord
from tests.bus.peer import OK, Peer, Words, client_of, usual
from tests.contracts.buses import connected, node
from tests.doubles.clock import ManualClock
from tests.doubles.servers import redis_server

NAMES = KeyNames(b"p" * 32)

# ---- leases are asked for in pipelines and timed, and trouble is reported ----


ANN = UserId("main", 1)
N1 = NodeId("n1")


@asynccontextmanager
async def running(
    peer: Peer, took: list[float] | None = None
) -> AsyncIterator[tuple[RedisLeases, ManualClock]]:
    clock = ManualClock(wall_ms=1_000_000)
    async with client_of(peer, clock) as line:
        await clock.settle()
        yield RedisLeases(line, NAMES, clock, renewed=None if took is None else took.append), clock


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


@pytest.mark.parametrize(("after_s", "offset_s"), [(0.0, 2.5), (0.2, 2.4)])
async def test_the_clock_of_redis_is_compared_with_this_nodes_in_the_middle_of_a_renewal(
    after_s: float, offset_s: float
) -> None:
    peer, took = Peer(), list[float]()
    async with running(peer, took) as (leases, clock), asyncio.TaskGroup() as tasks:
        assert leases.clock_offset_s is None
        renewal = tasks.create_task(leases.renew(ANN, N1, "h", 5))
        await clock.advance(after_s)
        peer.say(renewing((b"EVALSHA",)) or b"")
        await clock.settle()
        assert leases.clock_offset_s == pytest.approx(offset_s)
        assert took == [pytest.approx(after_s, abs=1e-3)]
    assert renewal.result()


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


# ---- records of nodes: what is no node is left out ----


RECORD = NodeRecord(NodeId("a"), "h", "1.2.3", 3, 4, True, 2.5)


async def test_what_is_no_record_is_left_out_and_what_a_later_version_adds_is_ignored() -> None:
    async with redis_server() as server, node(server.url) as site:
        await connected(site)
        await site.registry.announce(RECORD)
        await server.command("HSET", "og:node:h", "later", "yes")
        await server.command("HSET", "og:node:bare", "node", "b")
        await server.command("HSET", "og:node:odd", "node", b"\xff")
        await server.command("SET", "og:node:word", "x")
        await server.command("RPUSH", "og:node:list", "x")
        stored = await server.command("HGETALL", "og:node:h")
        assert isinstance(stored, dict)
        await server.command(
            "HSET", "og:node:text", *[x for pair in (stored | {b"links": "many"}).items() for x in pair]
        )
        assert await site.registry.nodes() == (RECORD,)
        assert stored[b"draining"] == b"1"
        left_ms = await server.command("PTTL", "og:node:h")
        assert isinstance(left_ms, int)
        assert 9_000 < left_ms <= 10_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node", b"a\x1b[2J"),
        ("node", "a\u202e".encode()),
        ("version", b"1.2.3\nb"),
        ("version", b"1" * 5_000),
        ("sealing_keys", b"k1\x07"),
        ("connections", b"-1"),
        ("links", b"9" * 400),
        ("accepts_per_s", b"nan"),
        ("accepts_per_s", b"1e999"),
    ],
)
async def test_a_record_that_no_node_can_have_written_is_left_out(field: str, value: bytes) -> None:
    async with redis_server() as server, node(server.url) as site:
        await connected(site)
        await site.registry.announce(RECORD)
        await server.command("HSET", "og:node:h", field, value)
        assert await site.registry.nodes() == ()


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"*-1\r\n", b"*2\r\n:0\r\n*0\r\n"])
async def test_a_search_that_is_answered_otherwise_is_bus_down(answer: bytes) -> None:
    peer = Peer(lambda words: answer if words[0] == b"SCAN" else usual(words))
    async with client_of(peer, ManualClock()) as line:
        with pytest.raises(GatewayError):
            await RedisNodeRegistry(line, NAMES).nodes()


# ---- shared values: answers that make no sense are refused ----


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
    async with client_of(peer, clock) as line:
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


# ---- scripts run also on a server that has forgotten them ----


SCRIPT = Script("counter.lua")


async def ran(peer: Peer) -> object:
    """Run the script at *peer*; returns the answer, or the error."""
    async with client_of(peer, ManualClock()) as line:
        try:
            return await SCRIPT.run(line, (b"a", b"b"), 5, "x")
        except GatewayError as error:
            return error


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_server_is_sent_the_hash_of_a_script_and_its_text_if_it_does_not_know_it(
    is_known: bool,
) -> None:
    def answer(words: Words) -> bytes | None:
        if words[0] == b"EVALSHA" and not is_known:
            return b"-NOSCRIPT No matching script.\r\n"
        return b":1\r\n" if words[0] in {b"EVALSHA", b"EVAL"} else usual(words)

    peer = Peer(answer)
    assert await ran(peer) == 1
    assert peer.asked(b"EVALSHA")[0][2:] == (b"2", b"a", b"b", b"5", b"x")
    texts = peer.asked(b"EVAL")
    assert len(texts) == (not is_known)
    for words in texts:
        assert b"KEEPTTL" in words[1]
        assert words[2:] == (b"2", b"a", b"b", b"5", b"x")


async def test_other_refusals_are_bus_down() -> None:
    error = await ran(Peer(lambda words: b"-BUSY x\r\n" if words[0] == b"EVALSHA" else usual(words)))
    assert isinstance(error, GatewayError)
    assert error.message == "the bus gave no answer: BUSY"


async def test_a_real_server_may_forget_at_any_time() -> None:
    async with redis_server() as server, node(server.url) as site:
        await connected(site)
        assert await site.shared.count("x", 60.0) == 1
        await server.command("SCRIPT", "FLUSH")
        assert await site.shared.count("x", 60.0) == 2


async def test_a_lease_that_may_not_be_read_is_granted_to_nobody() -> None:
    async with redis_server() as server:
        text = resources.files("gateway.bus").joinpath("lease.lua").read_text("utf-8")
        rights = "on", ">secret", "~*", "&*", "+@all", "-hmget"
        await server.command("ACL", "SETUSER", "gw", *rights)
        await server.command("HSET", "own", "node", "a", "holder", "h1", "token", "5")
        url = f"redis://gw:secret@127.0.0.1:{server.port}"
        async with client.Redis.from_url(url) as limited:
            with pytest.raises(RedisError):
                await limited.eval(text, 2, "own", "tok", "acquire", "b", "h2", 0, 10_000, 10_000, 0, "")
        assert await server.command("HGET", "own", "holder") == b"h1"
