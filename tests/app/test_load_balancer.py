"""Load balancer of the demonstration: only nodes that run get connections."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from gateway.app.cli.demo_cluster import BalancerTarget, LoadBalancer, open_balancer
from tests.doubles.servers import free_port, until


class EchoNode:
    """Answers each line with its name before it, until it is killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while line := await reader.readline():
            writer.write(f"{self.name}: ".encode() + line)
        writer.close()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def echo(name: str) -> AsyncIterator[EchoNode]:
    node = EchoNode(name)
    async with await asyncio.start_server(node.serve, "127.0.0.1", 0) as server:
        node.port = server.sockets[0].getsockname()[1]
        yield node


async def _said(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], words: str) -> str:
    reader, writer = streams
    writer.write(f"{words}\n".encode())
    return (await reader.readline()).decode().rstrip()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_connections_go_to_the_nodes_in_turn_stay_there_and_end_with_the_door() -> None:
    async with asyncio.timeout(10), echo("n1") as first, echo("n2") as second:
        door = LoadBalancer(lambda: [BalancerTarget("n1", first.port), BalancerTarget("n2", second.port)])
        async with open_balancer(door, 0) as port:
            one = await asyncio.open_connection("127.0.0.1", port)
            assert await _said(one, "a") == "n1: a"
            other = await asyncio.open_connection("127.0.0.1", port)
            assert await _said(other, "b") == "n2: b"
            assert await _said(one, "c") == "n1: c"
            assert (door.last, dict(door.carried)) == ("n2", {"n1": 1, "n2": 1})
        for reader, writer in (one, other):
            assert await _rest(reader) == b""
            writer.close()


async def test_a_node_that_is_not_there_is_passed_over_and_its_end_ends_its_connections() -> None:
    async with asyncio.timeout(10), echo("n2") as node:
        door = LoadBalancer(lambda: [BalancerTarget("n1", free_port()), BalancerTarget("n2", node.port)])
        async with open_balancer(door, 0) as port:
            phones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            for phone in phones:
                assert await _said(phone, "a") == "n2: a"
            node.hang_up()
            for reader, writer in phones:
                assert await _rest(reader) == b""
                writer.close()
        assert door.carried["n2"] == 0


@pytest.mark.parametrize("targets", [[], ["nobody listens"]])
async def test_without_a_node_a_connection_ends_at_once(targets: list[str]) -> None:
    door = LoadBalancer(lambda: [BalancerTarget(name, free_port()) for name in targets])
    async with asyncio.timeout(10), open_balancer(door, 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await _rest(reader) == b""
        writer.close()
    assert door.last is None


@pytest.mark.parametrize("says", [b"x", b""], ids=["speaks", "ends"])
@pytest.mark.parametrize("resets", ["node", "phone"])
def test_a_side_that_is_killed_while_the_other_one_writes_ends_one_connection_only(
    resets: str, says: bytes
) -> None:
    # as in the demonstration: uvloop refuses to write to a closed transport
    uvloop.run(_killed_while_the_other_one_writes(resets, says))


async def _killed_while_the_other_one_writes(resets: str, says: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        door = LoadBalancer(lambda: [BalancerTarget("n1", port)])
        async with open_balancer(door, 0) as front:
            for turns in range(20):
                phone = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", front))
                node, _ = await asyncio.to_thread(listener.accept)
                with phone, node:
                    await until(lambda: _carries(door, 1), "the connection is not carried")
                    gone, other = (node, phone) if resets == "node" else (phone, node)
                    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    gone.close()
                    # the end is noticed in one turn of the loop, and handled in others
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    if says:
                        other.send(says)
                    else:
                        other.shutdown(socket.SHUT_WR)
                    await until(lambda: _carries(door, 0), "the connection does not end")


async def _carries(door: LoadBalancer, count: int) -> bool:
    return door.carried["n1"] == count
