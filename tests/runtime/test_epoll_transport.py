"""The epoll transport keeps the promises of an asyncio transport, and frees everything at its end."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.runtime import event_loop
from gateway.runtime.event_loop import EVENTS_AT_ONCE, EpollTransport, EpollTransports

BIG = b"0123456789abcdef" * 200_000
SOON_S = 5.0


async def settle() -> None:
    """Let happen what is under way on this machine."""
    for _ in range(20):
        await asyncio.sleep(0)


class Received(asyncio.Protocol):
    """Keeps what it receives."""

    def __init__(self, order: list[str] | None = None) -> None:
        self.data = b""
        self.log: list[str] = []
        self.lost = asyncio.Event()
        self.came = asyncio.Event()
        self.order = order
        self.fault: Exception | None = None

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.came.set()
        if self.order is not None:
            self.order.append("data")
        if self.fault is not None:
            raise self.fault

    def eof_received(self) -> None:
        self.log.append("eof")

    def pause_writing(self) -> None:
        self.log.append("pause")

    def resume_writing(self) -> None:
        self.log.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.log.append("lost")
        self.lost.set()


class Listener:
    """Takes every connection that comes."""

    def __init__(
        self, port: int, came: asyncio.Queue[asyncio.Transport], transports: EpollTransports
    ) -> None:
        self.port = port
        self.came = came
        self.transports = transports

    async def pair(
        self, received: asyncio.Protocol, *, small: bool = False
    ) -> tuple[asyncio.Transport, Peer]:
        """Return a transport, and what is at its other end."""
        raw = socket.socket()
        if small:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=raw)
        carrier = self.transports.take(await self.came.get())
        carrier.set_protocol(received)
        return carrier, Peer(reader, writer)


class Peer:
    """The other end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    came: asyncio.Queue[asyncio.Transport] = asyncio.Queue()

    class Accepting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            came.put_nowait(transport)

    server = await asyncio.get_running_loop().create_server(Accepting, "127.0.0.1", 0)
    async with asyncio.timeout(2 * SOON_S):
        yield Listener(server.sockets[0].getsockname()[1], came, EpollTransports())
        server.close()


async def test_bytes_cross_both_ways_once_it_reads_and_an_end_is_reported() -> None:
    async with listening() as listener:
        received = Received()
        transport, peer = await listener.pair(received)
        assert isinstance(transport, EpollTransport)
        peer.writer.write(b"early")
        await settle()
        assert received.data == b"", "nothing is read before it is asked for"
        transport.resume_reading()
        await received.came.wait()
        assert received.data == b"early"
        transport.write(b"answer")
        assert await peer.reader.readexactly(6) == b"answer"
        transport.abort()
        await received.lost.wait()
        assert await peer.reader.read() == b""
        assert received.log == ["lost"]
        peer.writer.close()
        received = Received()
        transport, peer = await listener.pair(received)
        transport.resume_reading()
        peer.writer.write(b"last words")
        peer.writer.write_eof()
        await received.lost.wait()
        assert (received.data, received.log) == (b"last words", ["eof", "lost"])
        peer.writer.close()


async def test_what_the_kernel_does_not_take_waits_in_order_unless_it_is_aborted() -> None:
    async with listening() as listener:
        received = Received()
        transport, peer = await listener.pair(received, small=True)
        transport.write(BIG)
        assert received.log == ["pause"]
        assert transport.get_write_buffer_size() > 0
        transport.write(b"the end")
        assert received.log == ["pause"], "reported once"
        assert await peer.reader.readexactly(len(BIG) + 7) == BIG + b"the end"
        assert received.log == ["pause", "resume"]
        assert transport.get_write_buffer_size() == 0
        transport.close()
        await received.lost.wait()
        peer.writer.close()
        received = Received()
        transport, peer = await listener.pair(received, small=True)
        transport.write(BIG)
        transport.close()
        assert "lost" not in received.log, "it waits for what is unsent"
        transport.abort()
        transport.abort()
        await received.lost.wait()
        transport.close()
        await asyncio.sleep(0)
        assert received.log == ["pause", "lost"]
        assert len(listener.transports) == 0
        peer.writer.close()


@pytest.mark.parametrize("how", ["close", "write_eof"])
async def test_the_end_comes_after_all_that_was_written(how: str) -> None:
    async with listening() as listener:
        received = Received()
        transport, peer = await listener.pair(received, small=True)
        transport.resume_reading()
        transport.write(BIG)
        getattr(transport, how)()
        if how == "close":
            transport.write(b"too late")
        assert await peer.reader.read(-1) == BIG
        peer.writer.close()
        await received.lost.wait()
        assert received.log.count("lost") == 1
        assert transport.is_closing()


@pytest.mark.parametrize("is_full", [False, True])
async def test_a_reset_is_the_end_whether_it_reads_or_writes(is_full: bool) -> None:
    async with listening() as listener:
        received = Received()
        transport, peer = await listener.pair(received, small=True)
        if is_full:
            transport.write(BIG)
        else:
            transport.resume_reading()
        raw = peer.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()
        await received.lost.wait()
        assert received.log[-1] == "lost"
        assert "resume" not in received.log


async def _runs(pairs: list[tuple[asyncio.Transport, Peer]], order: list[str]) -> list[str]:
    """Have each peer send at once; return the data that was received in each turn, a letter each."""
    for _, peer in pairs:
        peer.writer.write(b"x")
    await settle()
    for transport, _ in pairs:
        transport.resume_reading()
    while order.count("data") < len(pairs):
        order.append("turn")
        await asyncio.sleep(0)
    for transport, peer in pairs:
        transport.abort()
        peer.writer.close()
    return "".join("d" if each == "data" else " " for each in order).split()


async def test_what_many_send_at_once_leaves_others_their_turn() -> None:
    async with listening() as listener:
        order: list[str] = []
        pairs = [(await listener.pair(Received(order))) for _ in range(3 * EVENTS_AT_ONCE)]
        runs = await _runs(pairs, order)
        assert max(map(len, runs)) <= EVENTS_AT_ONCE


async def test_at_rest_nothing_is_read_until_it_watches_again() -> None:
    async with listening() as listener:
        received = Received()
        carrier, peer = await listener.pair(received)
        carrier.resume_reading()
        for said in (b"a", b"ab"):
            listener.transports.rest()
            peer.writer.write(said[-1:])
            await settle()
            assert received.data == said[:-1]
            received.came.clear()
            listener.transports.watch_all()
            await received.came.wait()
            assert received.data == said
        carrier.abort()
        peer.writer.close()


async def test_what_takes_long_leaves_others_their_turn() -> None:
    now = 0.0

    class Slow(Received):
        def data_received(self, data: bytes) -> None:
            nonlocal now
            now += 0.003
            super().data_received(data)

    async with listening() as listener:
        listener.transports._now = lambda: now
        order: list[str] = []
        received = [Slow(order) for _ in range(12)]
        pairs = [(await listener.pair(each)) for each in received]
        runs = await _runs(pairs, order)
        assert max(map(len, runs)) == 2
        assert {each.data for each in received} == {b"x"}, "and each has had its own"


async def test_one_connections_fault_ends_one_connection() -> None:
    async with listening() as listener:
        faulty, received = Received(), Received()
        faulty.fault = ValueError("a fault")
        one, peer = await listener.pair(faulty)
        other, other_peer = await listener.pair(received)
        one.resume_reading()
        other.resume_reading()
        peer.writer.write(b"x")
        other_peer.writer.write(b"y")
        await faulty.lost.wait()
        await received.came.wait()
        assert received.log == []
        other.abort()
        await received.lost.wait()
        peer.writer.close()
        other_peer.writer.close()


async def test_nothing_is_held_when_the_last_has_ended_and_the_next_may_come() -> None:
    async with listening() as listener:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are not looked at
        for _ in range(2):
            received = Received()
            transport, peer = await listener.pair(received)
            transport.resume_reading()
            peer.writer.write(b"x")
            await received.came.wait()
            transport.close()
            await received.lost.wait()
            peer.writer.close()
            await peer.writer.wait_closed()
        await settle()
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names are not looked at


class Carrier(asyncio.Transport):
    """A transport that has, or waits for, what a test says."""

    def __init__(self, unsent_bytes: int = 0, **extra: Any) -> None:  # noqa: ANN401 - as asyncio has it
        super().__init__(extra)
        self._unsent_bytes = unsent_bytes

    def get_write_buffer_size(self) -> int:
        return self._unsent_bytes

    def is_closing(self) -> bool:
        return False


def no_descriptor(*_: object) -> int:
    raise OSError("too many open files")


async def test_a_transport_stays_where_it_has_to(monkeypatch: pytest.MonkeyPatch) -> None:
    transports = EpollTransports()
    with socket.socket() as raw:
        sealed = Carrier(socket=raw, sslcontext=object())
        busy = Carrier(unsent_bytes=1, socket=raw)
        bare = Carrier()
        assert [transports.take(each) for each in (sealed, busy, bare)] == [sealed, busy, bare]
        plain = Carrier(socket=raw)
        with monkeypatch.context() as patch:
            patch.setattr("os.dup", no_descriptor)
            assert transports.take(plain) is plain
        monkeypatch.setattr(event_loop, "_HAS_EPOLL", False)
        assert transports.take(plain) is plain
    assert len(transports) == 0


async def test_who_stays_for_want_of_a_descriptor_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as raw:
        plain = Carrier(socket=raw)
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are not looked at
        monkeypatch.setattr("select.epoll", no_descriptor)
        assert EpollTransports().take(plain) is plain
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
