"""Is a server known for what it is, on both engines, and is what it hides left unknown?"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from gateway.app.process import SystemClock
from gateway.bus.connect import Endpoint, RedisUnreachable, parse_url
from gateway.bus.stores import ServerFacts, inspect
from tests.doubles.servers import Engine, free_port, redis_server

CLOCK = SystemClock()
KEEPS = {"snapshots": ("--save", "60 1"), "log": ("--appendonly", "yes"), "nothing": ()}


@pytest.mark.parametrize("engine", list(Engine), ids=lambda engine: engine.value)
async def test_a_server_tells_what_it_is(engine: Engine) -> None:
    async with redis_server("--maxmemory-policy", "noeviction", engine=engine) as server:
        found = await inspect(parse_url(server.url), CLOCK)
    assert found.endpoint == Endpoint("127.0.0.1", server.port)
    assert found.engine == engine.value.capitalize()
    assert found.version > (7, 2)
    assert (found.persists, found.evicts, found.is_too_old) == (False, False, False)
    assert found.clock_offset_s == pytest.approx(0, abs=0.5)


async def test_a_node_reaches_it_on_the_loop_that_nodes_have() -> None:
    async with redis_server() as server:
        found = await asyncio.to_thread(lambda: uvloop.run(inspect(parse_url(server.url), CLOCK)))
    assert found.engine is not None


@pytest.mark.parametrize("kept", list(KEEPS))
async def test_one_that_keeps_what_it_is_told_is_found_out(kept: str) -> None:
    async with redis_server(*KEEPS[kept]) as server:
        found = await inspect(parse_url(server.url), CLOCK)
    assert found.persists is (kept != "nothing")


async def test_one_that_forgets_when_it_is_full_is_found_out() -> None:
    async with redis_server("--maxmemory-policy", "volatile-lru") as server:
        assert (await inspect(parse_url(server.url), CLOCK)).evicts is True


@pytest.mark.parametrize("kept", list(KEEPS))
async def test_what_the_user_may_not_ask_is_unknown(kept: str) -> None:
    async with redis_server(*KEEPS[kept]) as server:
        await server.command("ACL", "SETUSER", "gw", "on", ">secret", "+ping", "+role", "+info")
        url = f"redis://gw:secret@127.0.0.1:{server.port}"
        found = await inspect(parse_url(url), CLOCK)
    assert found.engine is not None  # HELLO is nobody forbidden
    # only a log of commands shows in what INFO tells
    assert found.persists is (True if kept == "log" else None)
    assert (found.evicts, found.clock_offset_s) == (None, None)


@pytest.mark.parametrize(
    ("engine", "version", "is_too_old"),
    [
        ("Redis", (7, 0, 15), True),
        ("Redis", (7, 2), False),
        ("Redis", (8, 0, 2), False),
        ("Valkey", (7, 2, 9), True),
        ("Valkey", (8, 0, 0), False),
        (None, (), False),
    ],
)
def test_old_versions_are_known(engine: str | None, version: tuple[int, ...], is_too_old: bool) -> None:
    assert ServerFacts(Endpoint("h", 1), engine, version, None, None, None).is_too_old is is_too_old


async def test_one_that_is_not_there_or_lets_nobody_in_is_told(tmp_path: Path) -> None:
    with pytest.raises(RedisUnreachable, match="it refused the connection"):
        await inspect(parse_url(f"redis://127.0.0.1:{free_port()}"), CLOCK)
    async with redis_server("--requirepass", "secret") as server:
        with pytest.raises(RedisUnreachable, match="it refused AUTH: WRONGPASS"):
            await inspect(parse_url(f"redis://:wrong@127.0.0.1:{server.port}"), CLOCK)
    with pytest.raises(
        RedisUnreachable, match="the file of trusted certificates cannot be read: No such file"
    ):
        await inspect(parse_url(f"rediss://h?ca_file={tmp_path}/none.pem"), CLOCK)
