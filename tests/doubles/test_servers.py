"""Are the servers of the tests real, and do they die, freeze, forget and fail over as they are told?"""

from __future__ import annotations

import socket

import pytest
from redis.exceptions import TimeoutError as NoAnswerError

from tests.doubles.sentinels import sentinel_trio
from tests.doubles.servers import Engine, Server, any_engine, binary, redis_server


async def test_a_server_answers_and_forgets() -> None:
    async with redis_server() as server:
        await server.command("SET", "key", "value")
        assert await server.command("GET", "key") == b"value"
        await server.flush()
        assert await server.command("GET", "key") is None


async def test_a_server_that_died_comes_back_at_its_place_and_empty() -> None:
    async with redis_server() as server:
        url = server.url
        await server.command("SET", "key", "value")
        await server.kill()
        with pytest.raises(ConnectionRefusedError):
            open_door(server)
        await server.restart()
        assert server.url == url
        assert await server.command("GET", "key") is None


def open_door(server: Server) -> None:
    """Connect to *server* and let go."""
    socket.create_connection(("127.0.0.1", server.port), timeout=5.0).close()


async def test_a_frozen_server_accepts_and_says_nothing() -> None:
    async with redis_server(engine=Engine.VALKEY) as server:
        server.freeze()
        open_door(server)
        with pytest.raises(NoAnswerError):
            await server.command("PING", patience_s=0.1)
        server.thaw()
        assert await server.command("PING")


async def test_a_frozen_server_dies_too() -> None:
    async with redis_server() as server:
        server.freeze()
        await server.kill()
        with pytest.raises(ConnectionRefusedError):
            open_door(server)


async def test_a_server_keeps_others_out_and_its_url_lets_in() -> None:
    async with redis_server("--requirepass", "secret") as server:
        assert server.url == f"redis://:secret@127.0.0.1:{server.port}/0"
        assert await server.command("PING")


async def test_sentinels_make_the_replica_primary() -> None:
    async with sentinel_trio() as trio:
        primary, replica = trio.primary, trio.replica
        await trio.fail_over()
        assert (trio.primary, trio.replica) == (replica, primary)
        await trio.primary.command("SET", "key", "value")


@pytest.mark.parametrize("required", ["1", ""])
def test_where_redis_is_missing_its_tests_say_so(monkeypatch: pytest.MonkeyPatch, required: str) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("REQUIRE_REDIS", required)
    assert any_engine() is Engine.VALKEY
    assert binary(Engine.VALKEY).endswith("valkey-server")
    expected = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(expected, match="redis-server is not installed"):
        binary(Engine.REDIS)
