"""Refusals of Redis: detected, with their duration."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from gateway.app.admin import check_bus
from gateway.app.config.settings import BusSection
from gateway.bus.connect import REFUSAL_S, Lifetimes, Refusals
from gateway.bus.stores import BackendOptions, RedisBackend
from gateway.runtime.event_loop import SystemClock
from tests.app.certificates import make
from tests.contracts.buses import KEYS, connected
from tests.doubles.clock import ManualClock
from tests.doubles.servers import Engine, Server, free_port, redis_server, until

Trouble = Callable[[Server], Awaitable[None]]


async def test_a_refusal_counts_until_a_write_is_taken_and_a_while_at_least() -> None:
    clock = ManualClock()
    refusals = Refusals(clock)
    refusals.add("OOM")
    refusals.add("ERR")
    await clock.advance(REFUSAL_S * 100)
    assert refusals.present == {"OOM"}
    refusals.clear()
    assert refusals.present == frozenset()
    for _ in range(10):
        refusals.add("NOPERM")
        await clock.advance(REFUSAL_S / 2)
        refusals.clear()
        assert refusals.present == {"NOPERM"}, "what is taken between two refusals ends neither"
    await clock.advance(REFUSAL_S)
    assert refusals.present == frozenset()


def node(url: str) -> RedisBackend:
    """Return a node's access to Redis, which tries sooner than in earnest."""
    often = Lifetimes(refusal_s=1.0, trial_s=0.1)
    return RedisBackend(url, KEYS, SystemClock(), lambda: 0.5, os.urandom, options=BackendOptions(ttl=often))


async def refuses(site: RedisBackend, *words: str) -> None:
    async def is_so() -> bool:
        return site.refusals() == frozenset(words)

    await until(is_so, f"it does not refuse {words}, but {site.refusals()}")


async def full(server: Server) -> None:
    await server.command("CONFIG", "SET", "maxmemory", 1)


async def without_replicas(server: Server) -> None:
    await server.command("CONFIG", "SET", "min-replicas-to-write", 1)


async def with_a_disk_that_fails(server: Server) -> None:
    (server.folder / "taken").mkdir()
    await server.command("CONFIG", "SET", "dbfilename", "taken")
    await server.command("CONFIG", "SET", "save", "3600 1000")

    async def fails() -> bool:
        with suppress(RedisError):  # one is under way
            await server.command("BGSAVE")
        received = await server.command("INFO", "persistence")
        return isinstance(received, dict) and received["rdb_last_bgsave_status"] == "err"

    await until(fails, "it saves well")


@pytest.mark.parametrize(
    ("engine", "trouble", "word"),
    [
        (Engine.REDIS, full, "OOM"),
        (Engine.VALKEY, full, "OOM"),
        (Engine.REDIS, without_replicas, "NOREPLICAS"),
        (Engine.VALKEY, with_a_disk_that_fails, "MISCONF"),
    ],
)
async def test_a_server_that_takes_no_writes_is_known_by_its_word(
    engine: Engine, trouble: Trouble, word: str
) -> None:
    options = "--enable-protected-configs", "yes"
    async with redis_server(*options, engine=engine) as server, node(server.url) as site:
        await connected(site)
        await refuses(site)
        await trouble(server)
        await refuses(site, word)
        (fault,) = (await check_bus(BusSection(url=server.url), SystemClock())).faults
        assert f"takes no writes ({word})" in fault
        assert "at sites without link fencing no new user could be served" in fault
        async with node(server.url) as newcomer:  # it carries messages all the same
            await connected(newcomer)
        await server.command("CONFIG", "SET", "maxmemory", 0)
        await server.command("CONFIG", "SET", "min-replicas-to-write", 0)
        await server.command("CONFIG", "SET", "save", "")
        await refuses(site)


async def test_a_replica_is_known_by_its_word() -> None:
    async with redis_server() as server:
        await server.command("REPLICAOF", "127.0.0.1", 1)
        async with node(server.url) as site:
            await refuses(site, "READONLY")
            await server.insist("REPLICAOF", "NO", "ONE")
            await refuses(site)


async def test_who_is_not_let_in_knows_why() -> None:
    async with redis_server("--requirepass", "right") as server:
        place = f"127.0.0.1:{server.port}/0"
        async with node(f"redis://{place}") as none, node(f"redis://:wrong@{place}") as wrong:
            await refuses(none, "NOAUTH")
            await refuses(wrong, "WRONGPASS")
            await server.command("CONFIG", "SET", "requirepass", "wrong")
            await refuses(wrong)


async def test_whose_tls_fails_knows_it(tmp_path: Path) -> None:
    certificate, key = make(tmp_path, days=36_500)
    port = str(free_port())
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    url = f"rediss://127.0.0.1:{port}"
    async with redis_server("--tls-port", port, *files, engine=Engine.REDIS), node(url) as site:
        await refuses(site, "TLS")


async def test_a_server_that_is_away_refuses_nothing() -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    async with redis_server("--requirepass", "right", port=port) as server, node(url) as site:
        await refuses(site, "NOAUTH")
        await server.kill()
        await refuses(site)


async def test_a_user_who_may_not_write_is_known_by_its_word() -> None:
    async with redis_server() as server, node(server.url) as site:
        await connected(site)
        await server.command("ACL", "SETUSER", "default", "-set", "-evalsha")
        await refuses(site, "NOPERM")
        await server.command("ACL", "SETUSER", "default", "+@all")
        await refuses(site)
