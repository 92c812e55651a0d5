"""Does what redis-py says come out as it is, and its errors without anything of anybody?"""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Connection
from redis.exceptions import AuthenticationError, BusyLoadingError, InvalidResponse, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.bus.connect import code, is_refusal, pack, reason, reply
from tests.bus.peer import Peer


async def connected(peer: Peer) -> Connection:
    connection = peer.connections(host="h", protocol=2, driver_info=None, socket_timeout=None)
    await connection.connect()  # type: ignore[no-untyped-call]  # it has no hints
    return connection


def test_a_command_is_written_as_redis_reads_it() -> None:
    assert pack("SET", b"\r\n\xff", 5) == b"*3\r\n$3\r\nSET\r\n$3\r\n\r\n\xff\r\n$1\r\n5\r\n"


async def test_refusals_are_replies_and_the_end_of_the_connection_is_none() -> None:
    peer = Peer()
    connection = await connected(peer)
    peer.say(b"+OK\r\n-WRONGTYPE secret\r\n-LOADING secret\r\n*1\r\n$-1\r\n")
    said = [await reply(connection) for _ in range(4)]
    assert (said[0], said[3]) == (b"OK", [None])
    assert [code(error) for error in said[1:3] if isinstance(error, RedisError)] == ["WRONGTYPE", "LOADING"]
    assert [error.__traceback__ for error in said[1:3] if isinstance(error, RedisError)] == [None, None]
    peer.transport.abort()
    with pytest.raises(RedisConnectionError):
        await reply(connection)
    assert connection.is_connected
    await connection.disconnect()


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (ResponseError("WRONGTYPE x"), True),
        (BusyLoadingError("x", status_code="LOADING"), True),
        (AuthenticationError("x", status_code="WRONGPASS"), True),
        (RedisConnectionError("Connection closed by server."), False),
        (InvalidResponse("x"), False),
    ],
)
def test_what_the_server_said_is_told_from_what_happened(error: RedisError, refused: bool) -> None:
    assert is_refusal(error) is refused


def caused(cause: BaseException | None = None, context: BaseException | None = None) -> RedisError:
    error = RedisConnectionError("secret")
    error.__cause__, error.__context__ = cause, context
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (TimeoutError(), "it did not answer in time"),
        (RedisTimeoutError("secret"), "it did not answer in time"),
        (caused(context=TimeoutError("secret")), "it did not answer in time"),
        (caused(context=ConnectionRefusedError("secret")), "it refused the connection"),
        (caused(context=ConnectionResetError("secret")), "the connection broke"),
        (caused(context=BrokenPipeError("secret")), "the connection broke"),
        (RuntimeError("secret"), "the connection broke"),
        (caused(context=OSError("secret")), "it cannot be reached"),
        (caused(cause=UnicodeError("secret")), "it cannot be reached"),
        (caused(context=asyncio.CancelledError()), "it closed the connection"),
        (caused(), "it closed the connection"),
        (InvalidResponse("secret"), "its answer is not RESP"),
    ],
)
def test_reasons_hold_nothing_of_anybody(error: BaseException, says: str) -> None:
    assert reason(error) == says
