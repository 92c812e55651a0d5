"""The node registry in Redis leaves out what is no node. See also tests/contracts."""

from __future__ import annotations

import pytest

from gateway.bus.connect import KeyNames
from gateway.bus.redis import RedisClient, RedisLimits
from gateway.bus.stores import RedisNodeRegistry
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import NodeRecord
from tests.bus.peer import Peer, door, usual
from tests.contracts.buses import connected, node
from tests.doubles.clock import ManualClock
from tests.doubles.servers import redis_server
from tests.doubles.tasks import during

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
    clock = ManualClock()
    peer = Peer(lambda words: answer if words[0] == b"SCAN" else usual(words))
    line = RedisClient(door(peer, clock), clock, lambda: 0.5, RedisLimits())
    async with during(line.run()):
        with pytest.raises(GatewayError):
            await RedisNodeRegistry(line, KeyNames(b"p" * 32)).nodes()
