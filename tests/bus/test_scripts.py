"""Scripts run also on a server that has forgotten them."""

from __future__ import annotations

from importlib import resources

import pytest
import redis.asyncio as client
from redis.exceptions import RedisError

from gateway.bus.redis import RedisClient, RedisLimits, Script
from gateway.domain.errors import GatewayError
from tests.bus.peer import Peer, Words, door, usual
from tests.contracts.buses import connected, node
from tests.doubles.clock import ManualClock
from tests.doubles.servers import redis_server
from tests.doubles.tasks import during

COUNTER = Script("counter.lua")


async def ran(peer: Peer) -> object:
    """Run the script at *peer*; returns the answer, or the error."""
    clock = ManualClock()
    line = RedisClient(door(peer, clock), clock, lambda: 0.5, RedisLimits())
    async with during(line.run()):
        try:
            answer: object = await COUNTER.run(line, (b"a", b"b"), 5, "x")
        except GatewayError as error:
            answer = error
    return answer


async def test_a_server_that_knows_it_is_sent_its_hash() -> None:
    peer = Peer(lambda words: b":1\r\n" if words[0] == b"EVALSHA" else usual(words))
    assert await ran(peer) == 1
    assert peer.received[-1][2:] == (b"2", b"a", b"b", b"5", b"x")
    assert peer.asked(b"EVAL") == []


async def test_a_server_that_does_not_is_sent_its_text() -> None:
    def answer(words: Words) -> bytes | None:
        if words[0] == b"EVALSHA":
            return b"-NOSCRIPT No matching script.\r\n"
        return b":1\r\n" if words[0] == b"EVAL" else usual(words)

    peer = Peer(answer)
    assert await ran(peer) == 1
    assert b"KEEPTTL" in peer.asked(b"EVAL")[0][1]
    assert peer.asked(b"EVAL")[0][2:] == (b"2", b"a", b"b", b"5", b"x")


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
