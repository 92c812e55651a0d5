"""Chaos proxy: does to a connection what a test asks, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.runtime.event_loop import SystemClock
from tests.doubles.chaos_proxy import ChaosProxy

CLOCK = SystemClock()
PATIENCE_S = 5.0
SHORT_S = 0.05
"""Long enough to see that nothing comes."""


class Server:
    """Answers each line with itself, or with what it is given."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.received = b""
        self.ended = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                self.received += data
                writer.write(data)
            self.ended += 1
            writer.write(b"end\n")
            writer.close()

    def say(self, data: bytes) -> None:
        for writer in self.writers:
            writer.write(data)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    for writer in made.writers:
        writer.transport.abort()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def echo(self, line: bytes) -> bytes:
        self.writer.write(line)
        return await self.line()

    async def line(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readline()

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(count)

    async def is_silent(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHORT_S):
                return not await self.reader.read(1)
        return True

    async def is_reset(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self.reader.read() == b""
        except ConnectionError:
            return True


OPEN: list[asyncio.StreamWriter] = []


@pytest.fixture(autouse=True)
async def nobody_stays() -> AsyncIterator[None]:
    yield
    for writer in OPEN:
        writer.transport.abort()
    OPEN.clear()
    await asyncio.sleep(0)


async def connected(proxy: ChaosProxy) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    OPEN.append(writer)
    return Client(reader, writer)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110 - a look at many things; only others' turns are waited for
            await asyncio.sleep(0)


async def test_every_byte_passes_unchanged_by_default(server: Server) -> None:
    everything = bytes(range(256)) * 2_000
    async with ChaosProxy(server.port) as proxy:
        client = await connected(proxy)
        client.writer.write(everything)
        assert await client.exactly(len(everything)) == everything
        assert server.received == everything
        assert (proxy.up.passed, proxy.down.passed) == (len(everything), len(everything))
        client.writer.write_eof()
        assert await client.exactly(4) == b"end\n"
        assert await client.is_reset()
        await until(lambda: proxy.connections == 0)


async def test_latency_delays_and_keeps_the_order(server: Server) -> None:
    loop = asyncio.get_running_loop()
    async with ChaosProxy(server.port) as proxy:
        client = await connected(proxy)
        assert await client.echo(b"a\n") == b"a\n"
        proxy.up.latency_s, proxy.down.latency_s = 0.03, 0.05
        began = loop.time()
        for number in range(20):
            client.writer.write(b"%d\n" % number)
            await CLOCK.sleep(0.001)
        assert [await client.line() for _ in range(20)] == [b"%d\n" % number for number in range(20)]
        assert loop.time() - began >= 0.08
        proxy.heal()
        began = loop.time()
        assert await client.echo(b"b\n") == b"b\n"
        assert loop.time() - began < 0.05


async def test_a_frozen_way_accepts_and_passes_nothing_until_it_thaws(server: Server) -> None:
    async with ChaosProxy(server.port) as proxy:
        old = await connected(proxy)
        assert await old.echo(b"a\n") == b"a\n"
        proxy.freeze()
        new = await connected(proxy)
        for client in (old, new):
            client.writer.write(b"b\n")
            assert await client.is_silent()
        assert server.received == b"a\n"
        proxy.heal()
        assert [await old.line(), await new.line()] == [b"b\n", b"b\n"]


async def test_cut_connections_are_reset_also_frozen_ones_and_who_comes_again_is_served(
    server: Server,
) -> None:
    async with ChaosProxy(server.port) as proxy:
        clients = [await connected(proxy) for _ in range(3)]
        for client in clients:
            assert await client.echo(b"a\n") == b"a\n"
        proxy.freeze()
        assert proxy.cut() == 3
        for client in clients:
            assert await client.is_reset()
        await until(lambda: proxy.connections == 0)
        proxy.heal()
        assert await (await connected(proxy)).echo(b"b\n") == b"b\n"


async def test_a_killed_proxy_sends_everybody_away_until_it_is_healed(server: Server) -> None:
    async with ChaosProxy(server.port) as proxy:
        client = await connected(proxy)
        assert await client.echo(b"a\n") == b"a\n"
        proxy.kill()
        assert await client.is_reset()
        assert await (await connected(proxy)).is_reset()
        proxy.heal()
        assert await (await connected(proxy)).echo(b"b\n") == b"b\n"


MESSAGES = [b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$3\r\n%03d\r\n" % number for number in range(200)]
CONFIRMED = b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n"


async def published(server: Server, proxy: ChaosProxy) -> list[bytes]:
    """Let the server publish all messages and a last word; returns what arrived before it."""
    client = await connected(proxy)
    await until(lambda: proxy.connections == len(server.writers) > 0)
    for message in MESSAGES:
        server.say(message)
        await asyncio.sleep(0)
    await until(lambda: proxy.down.published == len(MESSAGES))
    await CLOCK.sleep(proxy.down.delay_s)
    server.say(CONFIRMED)
    arrived = b""
    while not arrived.endswith(CONFIRMED):
        arrived += await client.exactly(1)
    size = len(MESSAGES[0])
    return [arrived[at : at + size] for at in range(0, len(arrived) - len(CONFIRMED), size)]


async def test_published_messages_are_lost_repeated_and_delayed_and_nothing_else_is(server: Server) -> None:
    async with ChaosProxy(server.port, resp=True) as proxy:
        down = proxy.down
        down.lose_rate = down.repeat_rate = down.delay_rate = 0.2
        down.delay_s = 0.02
        arrived = await published(server, proxy)
        assert len(set(arrived)) == len(MESSAGES) - down.lost
        assert len(arrived) - len(set(arrived)) == down.repeated
        assert set(arrived) <= set(MESSAGES)
        assert arrived != sorted(arrived)
        for count in (down.lost, down.repeated, down.delayed):
            assert 15 <= count <= 65


async def test_a_redis_that_speaks_no_resp_is_cut_and_noted(server: Server) -> None:
    async with ChaosProxy(server.port, resp=True) as proxy:
        client = await connected(proxy)
        client.writer.write(b"hello\r\n")
        assert await client.is_reset()
        assert proxy.unreadable == ["no RESP: a reply begins with 'h'"]
