"""Redis configuration: servers start, nodes may work, others may not."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis.asyncio as client
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from gateway.app.admin import check_bus
from gateway.app.cli.demo import ChildProcess, free_port
from gateway.app.config.settings import BusSection
from gateway.bus.connect import BusKeys
from gateway.bus.stores import BackendOptions, RedisBackend
from gateway.domain.errors import EndReason, GatewayError
from gateway.domain.model import Application, NodeId, UserId
from gateway.protocol.envelopes import Control, Envelope, Inbox, Leaving, NodeRecord, Probe
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import KeptLogOff
from tests.doubles.servers import Engine, binary, until
from tests.doubles.tickets import ticket as made_ticket

DEPLOY = Path(__file__).parents[2] / "deploy"
ALONE, REPLICATED = DEPLOY / "redis.conf", DEPLOY / "redis-replicated.conf"
SHARDED = DEPLOY / "redis-cluster.conf"
SENTINEL = DEPLOY / "sentinel.conf"
CLOCK = SystemClock()
KEYS = BusKeys([("k1", bytes(32))], bytes(32))
NODE, ANNA = NodeId("n1"), UserId("main", 1)
ENGINES = pytest.mark.parametrize("engine", list(Engine), ids=lambda engine: engine.value)


@dataclass(frozen=True, slots=True)
class Started:
    """A server that runs with one of our files."""

    child: ChildProcess
    port: int

    def url(self, user: str = "oscc-gateway", password: str = "secret") -> str:
        return f"redis://{user}:{password}@127.0.0.1:{self.port}"

    @asynccontextmanager
    async def administrator(self) -> AsyncIterator[client.Redis]:
        async with client.Redis.from_url(self.url("oscc-admin"), decode_responses=True) as door:
            yield door


@asynccontextmanager
async def started(engine: Engine, folder: Path, text: str, *options: str) -> AsyncIterator[Started]:
    """Run a server with the configuration *text* while the block lasts."""
    port = free_port()
    path = folder / f"{port}.conf"
    path.write_text(text.replace("include /etc/oscc-gateway/redis.conf", given(ALONE)), "utf-8")
    words = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *options)
    child = ChildProcess("redis", (binary(engine), str(path), *words), folder / f"{port}.log")
    await child.start()

    async def listens() -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return child.pid is None

    try:
        await until(listens, "it did not start")
        assert child.pid is not None, child.log.read_text("utf-8")
        yield Started(child, port)
    finally:
        await child.kill()


def given(file: Path) -> str:
    """Return one of our files with passwords given."""
    text = re.sub(
        r"^user (oscc-\w+) off ", r"user \1 on >secret ", file.read_text("utf-8"), flags=re.MULTILINE
    )
    return text if file is ALONE else text + "masterauth secret\n"


def _rule(user: str, file: Path = ALONE) -> str:
    """Return the line of *file* that says what *user* may do."""
    return next(line for line in file.read_text("utf-8").splitlines() if line.startswith(f"user {user} "))


def node(url: str) -> RedisBackend:
    return RedisBackend(url, KEYS, CLOCK, lambda: 0.5, os.urandom, options=BackendOptions(node=NODE))


async def live(site: RedisBackend, server: Started) -> None:
    """Do everything that a node does with a Redis."""
    arrived: list[Envelope] = []

    async def is_up() -> bool:
        return site.trouble is None

    await until(is_up, "the node did not connect")
    async with server.administrator() as door:
        await door.script_flush()  # scripts are sent again
    for channel in (Inbox(NODE), Control()):
        await site.bus.subscribe(channel, arrived.append)
    await site.bus.publish(Inbox(NODE), Probe(1))
    await site.bus.publish(Control(), Leaving(NODE))
    await until(lambda: _has(arrived, 2), "nothing was received")
    await site.bus.unsubscribe(Control())
    grant = await site.leases.acquire(ANNA, NODE, "h1", floor=0)
    assert await site.leases.renew(ANNA, NODE, "h1", grant.token)
    assert await site.leases.read(ANNA) == grant
    await site.leases.release(ANNA, "h1", grant.token)
    await site.registry.announce(NodeRecord(NODE, "h1", "1", 0, 0, draining=False, accepts_per_s=1.0))
    assert len(await site.registry.nodes()) == 1
    await site.registry.leave("h1")
    await site.shared.deny("handle", EndReason.LOGGED_OFF, 60)
    assert await site.shared.denied("handle") is EndReason.LOGGED_OFF
    assert await site.shared.count("name", 60) == await site.shared.counted("name") == 1
    await site.shared.forget("name")
    await live_with_log_offs(site)
    publisher = site.bus.publishers[0]
    publisher.drop("the test cuts it")  # the next connection sees to it that the last one is gone

    async def is_back() -> bool:
        return bool(publisher.losses) and await is_up()

    await until(is_back, "the node did not connect again")


async def live_with_log_offs(site: RedisBackend) -> None:
    """Keep a log-off that OSCC-E has not confirmed, and drop it; reserve a try, and end that."""
    assert await site.shared.reserve("x", "a 1", 60.0) == ("a 1",)
    await site.shared.end_reservation("x", "a 1")
    ticket = made_ticket(ANNA, "s", application=Application.REMOTE_ASSISTANT, idle_timeout_s=300)
    kept = KeptLogOff("h1", 2, ticket)
    assert await site.shared.keep_log_off(kept, 60.0)
    assert await site.shared.log_offs() == (kept,)
    await site.shared.drop_log_off(ticket.handle)
    assert await site.shared.log_offs() == ()


async def _has(arrived: list[Envelope], count: int) -> bool:
    return len(arrived) == count


async def denials(server: Started) -> list[str]:
    """Return what was forbidden to our own users, but CONFIG, which a node tries and may miss."""
    async with server.administrator() as door:
        log = await door.acl_log()
    return [f"{entry['username']}: {entry['object']}" for entry in log if entry["object"] != "config|get"]


# ---- one server ----


@ENGINES
async def test_as_shipped_nobody_gets_in(engine: Engine, tmp_path: Path) -> None:
    async with started(engine, tmp_path, ALONE.read_text("utf-8")) as server:
        users = server.url("default", "x"), server.url("oscc-admin"), server.url("oscc-admin", "")
        for url in (f"redis://127.0.0.1:{server.port}", server.url(password=""), *users):
            async with client.Redis.from_url(url) as door:
                with pytest.raises((AuthenticationError, ResponseError)):
                    await door.get("og:x")


@ENGINES
async def test_the_administrator_changes_the_password_of_nodes_as_the_pages_say(
    engine: Engine, tmp_path: Path
) -> None:
    async def refused(password: str) -> bool:
        async with client.Redis.from_url(server.url(password=password)) as door:
            with suppress(AuthenticationError):
                return not await door.ping()
            return True

    async with started(engine, tmp_path, given(ALONE)) as server, server.administrator() as door:
        await door.execute_command("ACL", "SETUSER", "oscc-gateway", ">second")  # type: ignore[no-untyped-call]  # ships partly typed
        assert [await refused(each) for each in ("secret", "second")] == [False, False]
        await door.execute_command("ACL", "SETUSER", "oscc-gateway", "<secret")  # type: ignore[no-untyped-call]  # ships partly typed
        assert [await refused(each) for each in ("secret", "second")] == [True, False]
        await door.config_set("maxmemory", "512mb")
        assert "used_memory" in await door.info("memory")


@ENGINES
async def test_nothing_stays_and_nothing_is_evicted(engine: Engine, tmp_path: Path) -> None:
    async with started(engine, tmp_path, given(ALONE)) as server:
        async with server.administrator() as door:
            received = await door.config_get("save", "appendonly", "maxmemory-policy", "repl-diskless-*")
        assert (received["save"], received["appendonly"], received["maxmemory-policy"]) == (
            "",
            "no",
            "noeviction",
        )
        assert (received["repl-diskless-sync"], received["repl-diskless-load"]) == ("yes", "swapdb")
        await live_once(server)
    assert left(tmp_path) == set()


def left(folder: Path) -> set[str]:
    """Return which files a server has written, beside its log."""
    return {path.name for path in folder.iterdir() if path.suffix not in {".conf", ".log"}}


async def live_once(server: Started) -> None:
    async with node(server.url()) as site:
        await live(site, server)


@ENGINES
async def test_a_node_may_do_its_work_and_uses_all_that_it_may(engine: Engine, tmp_path: Path) -> None:
    async with started(engine, tmp_path, given(ALONE)) as server:
        found = await check_bus(BusSection(url=server.url()), CLOCK)
        await live_once(server)
        assert await denials(server) == []
        async with server.administrator() as door:
            used = {str(name).removeprefix("cmdstat_") for name in await door.info("commandstats")}
    allowed = set(re.findall(r"(?<= \+)[\w|]+", _rule("oscc-gateway")))
    assert allowed
    assert allowed <= used
    assert found.faults == ()
    (advice,) = found.advices
    assert "does not show this user whether it writes snapshots" in advice


@ENGINES
async def test_a_node_may_do_nothing_else(engine: Engine, tmp_path: Path) -> None:
    forbidden = (
        ("GET", "other"), ("PUBLISH", "other", "x"), ("KEYS", "*"), ("FLUSHALL",),
        ("CONFIG", "GET", "requirepass"), ("ACL", "LIST"), ("MONITOR",), ("SELECT", "1"),
        ("EVAL", "return redis.call('GET', 'other')", "0"), ("EVAL", "return redis.call('FLUSHALL')", "0"),
    )  # fmt: skip
    async with started(engine, tmp_path, given(ALONE)) as server, client.Redis.from_url(server.url()) as door:
        for words in forbidden:
            with pytest.raises((NoPermissionError, ResponseError), match=r"(?i)permission|NOPERM|ACL"):
                await door.execute_command(*words)  # type: ignore[no-untyped-call]  # ships partly typed


# ---- a primary and its replicas ----


@ENGINES
async def test_a_primary_takes_no_writes_without_a_replica(engine: Engine, tmp_path: Path) -> None:
    text = given(REPLICATED)
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(started(engine, tmp_path, text))
        site = await stack.enter_async_context(node(primary.url()))

        async def is_granted() -> bool:
            try:
                return (await site.leases.acquire(ANNA, NODE, "h1", floor=0)).holder == "h1"
            except GatewayError as error:
                seen.add(error.message)
                return False

        seen: set[str] = set()

        async def is_refused() -> bool:
            return not await is_granted() and any("NOREPLICAS" in message for message in seen)

        await until(is_refused, "it took a write without a replica")
        replica = await stack.enter_async_context(
            started(engine, tmp_path, text, "--replicaof", f"127.0.0.1 {primary.port}")
        )
        await until(is_granted, "it took no write with a replica")
        assert await denials(primary) == await denials(replica) == []


@ENGINES
async def test_sentinels_may_do_their_work(engine: Engine, tmp_path: Path) -> None:
    text = given(REPLICATED)
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(started(engine, tmp_path, text))
        replica = await stack.enter_async_context(
            started(engine, tmp_path, text, "--replicaof", f"127.0.0.1 {primary.port}")
        )
        sentinel = await stack.enter_async_context(_sentinel(engine, tmp_path, primary))

        async def is_moved() -> bool:
            async with client.Redis(port=sentinel) as door:
                with suppress(RedisError):  # it has not seen the replica yet, or the fail-over is under way
                    await door.execute_command("SENTINEL", "FAILOVER", "oscc-gateway")  # type: ignore[no-untyped-call]  # ships partly typed
            with suppress(RedisError, OSError):  # in the middle of a change it hangs up on all
                async with replica.administrator() as door:
                    return str((await door.role())[0]) == "master"
            return False

        await until(is_moved, "the replica was not made primary")
        assert await denials(primary) == await denials(replica) == []


@asynccontextmanager
async def _sentinel(engine: Engine, folder: Path, primary: Started) -> AsyncIterator[int]:
    port, path = free_port(), folder / "sentinel.conf"
    text = SENTINEL.read_text("utf-8").replace("127.0.0.1 6379 2", f"127.0.0.1 {primary.port} 1")
    path.write_text(f"{text}\nsentinel auth-pass oscc-gateway secret\n", "utf-8")
    words = (binary(engine), str(path), "--sentinel", "--port", str(port), "--dir", str(folder))
    child = ChildProcess("sentinel", words, folder / "sentinel.log")
    await child.start()
    try:
        yield port
    finally:
        await child.kill()


# ---- a cluster ----


def settings_of(file: Path) -> dict[str, str]:
    """Return what a file sets, without its users."""
    lines = (line.split(maxsplit=1) for line in file.read_text("utf-8").splitlines() if line[:1].isalpha())
    return {name: value for name, value in lines if name != "user"}


def test_a_node_of_a_cluster_has_the_settings_of_a_single_server() -> None:
    assert settings_of(ALONE).items() <= settings_of(SHARDED).items()
    alone, sharded = (
        set(re.findall(r"(?<= )[+~&]\S+", _rule("oscc-gateway", each))) for each in (ALONE, SHARDED)
    )
    assert alone - sharded == {"+publish", "+subscribe", "+unsubscribe"}


@ENGINES
async def test_a_node_may_do_its_work_in_a_cluster_and_uses_all_that_it_may(
    engine: Engine, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        primary, _ = await stack.enter_async_context(shard(engine, tmp_path))
        replica, meeting = await stack.enter_async_context(shard(engine, tmp_path))
        url = f"redis+cluster://oscc-gateway:secret@127.0.0.1:{primary.port}"
        async with primary.administrator() as door:
            await door.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]  # ships partly typed
            await door.execute_command("CLUSTER", "MEET", "127.0.0.1", replica.port, meeting)  # type: ignore[no-untyped-call]  # ships partly typed
            own = await door.execute_command("CLUSTER", "MYID")  # type: ignore[no-untyped-call]  # ships partly typed

        async def is_followed() -> bool:
            with suppress(RedisError):
                async with replica.administrator() as door:
                    await door.execute_command("CLUSTER", "REPLICATE", own)  # type: ignore[no-untyped-call]  # ships partly typed
                    role = list(await door.role())
                async with primary.administrator() as door:
                    info = await door.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]  # ships partly typed
                return role[3] == "connected" and "cluster_state:ok" in info
            return False

        await until(is_followed, "the replica did not follow")
        found = await check_bus(BusSection(url=url), CLOCK)
        assert found.faults == ()
        async with node(url) as site:
            await live(site, primary)
        for server in (primary, replica):
            assert await denials(server) == []
        async with primary.administrator() as door:
            used = {str(name).removeprefix("cmdstat_") for name in await door.info("commandstats")}
    allowed = set(re.findall(r"(?<= \+)[\w|]+", _rule("oscc-gateway", SHARDED)))
    assert allowed - used == {"asking"}  # for slots that move


@asynccontextmanager
async def shard(engine: Engine, folder: Path) -> AsyncIterator[tuple[Started, int]]:
    """Run a node of a cluster, with a folder of its own for the file that it writes.

    Yields it, and the port at which other nodes meet it.
    """
    meeting = free_port()
    own = folder / str(meeting)
    own.mkdir()
    async with started(engine, own, given(SHARDED), "--cluster-port", str(meeting)) as server:
        yield server, meeting
    assert left(own) == set()  # nodes.conf alone, which says where the others are
