"""A node lives through every fault of its Redis. Real servers, in real time."""

from __future__ import annotations

import asyncio
import os
from functools import partial

import pytest

from gateway.bus import Endpoint, RedisUnreachable
from gateway.bus.connect import BusKeys
from gateway.bus.stores import OneServer, RedisBackend
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import Envelope, Inbox, NodeRecord, Probe
from gateway.runtime.event_loop import SystemClock
from tests.contracts.buses import KEYS, acquainted, connected, node
from tests.doubles.clock import ManualClock
from tests.doubles.fake_redis import FakeRedis
from tests.doubles.sentinels import sentinel_trio
from tests.doubles.servers import Server, free_port, redis_server, until

ANN = UserId("main", 1)
N1 = NodeId("n1")
A = Inbox(N1)
CLOCK = SystemClock()
_SOON_S = 20.0
"""Far beyond a quarter of a second, since the machine may be busy."""


class Listener:
    """What one node received on its inbox, and how often it doubted."""

    def __init__(self, site: RedisBackend) -> None:
        self.numbers: list[int] = []
        self.doubts = 0
        self._site = site
        site.bus.watch(self._doubt)

    def _doubt(self) -> None:
        self.doubts += 1

    def _hear(self, envelope: Envelope) -> None:
        assert isinstance(envelope, Probe)
        self.numbers.append(envelope.number)

    async def listen(self) -> None:
        await self._site.bus.subscribe(A, self._hear)

    async def hears_again(self, doubts: int = 1) -> None:
        """Return when the node was notified of its loss, and is published to again."""

        async def is_back() -> bool:
            if self.doubts < doubts:
                return False
            try:
                return await self._site.bus.publish(A, Probe(-1)) == 1 and self._site.trouble is None
            except GatewayError:
                return False

        await until(is_back, f"not back: {self._site.trouble}")


async def test_a_node_begins_without_redis_and_finds_it_later() -> None:
    server_port = free_port()
    async with node(f"redis://127.0.0.1:{server_port}") as site:
        listener = Listener(site)
        await listener.listen()
        with pytest.raises(GatewayError) as raised:
            await site.bus.publish(A, Probe(1))
        assert raised.value.code is ErrorCode.BUS_DOWN
        assert "127.0.0.1" not in raised.value.message
        async with redis_server(port=server_port):
            await listener.hears_again()
            assert (await site.leases.acquire(ANN, N1, "h", floor=0)).holder == "h"


async def test_lives_are_challenged_again_soon_where_a_greeting_may_be_lost() -> None:
    server = FakeRedis()
    fake = partial(node, "redis://fake", connections=server.connections)
    async with fake() as here, fake() as there, asyncio.timeout(_SOON_S):
        for each in (here, there):
            await acquainted(each, 1)
            await until(partial(_has_nothing_to_ask, each), "it still greets")
        (before,) = here.bus.instances._known.values()
        here.bus.subscriber.client.drop("the network is broken")

        async def has_answered() -> bool:
            return here.bus.instances._known[there.bus.instances.own].answered_at > before.answered_at

        await until(has_answered, "no answer")


async def _has_nothing_to_ask(site: RedisBackend) -> bool:
    now = CLOCK.now()
    return site.bus.instances.due_at(now) > now + 1.0


async def test_a_killed_redis_is_found_again_and_leases_are_made_as_they_were() -> None:
    async with redis_server() as server, node(server.url) as site:
        listener = Listener(site)
        await listener.listen()
        grant = await site.leases.acquire(ANN, N1, "h", floor=0)
        await server.kill()
        with pytest.raises(GatewayError):
            await site.leases.renew(ANN, N1, "h", grant.token)
        await server.restart()
        await listener.hears_again()
        assert await site.leases.renew(ANN, N1, "h", grant.token)
        assert await site.leases.read(ANN) == grant


async def test_a_frozen_redis_is_noticed_soon_and_nothing_comes_out_of_order() -> None:
    async with redis_server() as server, node(server.url) as here, node(server.url) as there:
        listener = Listener(there)
        await listener.listen()
        await acquainted(there, 1)
        taken, failed = await _published(here, range(100))
        server.freeze()
        since = CLOCK.now()
        frozen, lost = await _published(here, range(100, 2_000))
        waited_s = CLOCK.now() - since
        server.thaw()
        await connected(here)
        again, late = await _published(here, range(2_000, 3_000))
        await there.bus.subscriber.client.ask("PING")
        assert (frozen, len(lost)) == ([], 1_900)
        assert waited_s < _SOON_S
        assert listener.numbers == sorted(set(listener.numbers))
        assert set(taken) | set(again) <= set(listener.numbers)
        assert len(taken) + len(failed) == 100  # a machine that is busy may be late by itself
        assert len(again) + len(late) == 1_000


async def _published(site: RedisBackend, numbers: range) -> tuple[list[int], list[int]]:
    """Publish them all at once; returns which Redis took and which failed."""
    taken: list[int] = []
    failed: list[int] = []

    async def publish(number: int) -> None:
        try:
            await site.bus.publish(A, Probe(number))
        except GatewayError:
            failed.append(number)
        else:
            taken.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in numbers:
            tasks.create_task(publish(number))
    return taken, failed


@pytest.mark.parametrize("how", ["asked", "killed", "frozen"])
async def test_whatever_becomes_of_a_primary_its_successor_is_found(how: str) -> None:
    async with sentinel_trio() as trio, node(trio.url) as site:
        await connected(site)
        listener = Listener(site)
        await listener.listen()
        grant = await site.leases.acquire(ANN, N1, "h", floor=0)
        old = trio.primary
        match how:
            case "asked":
                await trio.fail_over()
            case "killed":
                await old.kill()
                await trio.failed_over()
            case _:
                old.freeze()
                await trio.failed_over()
                old.thaw()
        await _connected_to(site, trio.primary)
        await listener.hears_again()
        assert await site.leases.renew(ANN, N1, "h", grant.token)


async def _connected_to(site: RedisBackend, server: Server) -> None:
    async def is_there() -> bool:
        return site.trouble is None and {client.endpoint for client in site.clients.values()} == {
            Endpoint("127.0.0.1", server.port)
        }

    await until(is_there, f"not at the primary: {site.trouble}")


LEAST = (
    "on >s3cret ~og:* &og:* -@all +ping +role +client|setname +client|info +client|kill +script|load "
    "+evalsha +eval +publish +subscribe +unsubscribe +time +hmget +hset +pexpire +incr +hgetall "
    "+get +set +del +scan"
)
"""What ADR 14 says that a node needs."""


async def test_a_user_with_the_least_rights_can_do_everything() -> None:
    port = free_port()
    async with (
        redis_server("--user", "gateway", *LEAST.split(), port=port) as server,
        node(f"redis://gateway:s3cret@127.0.0.1:{port}") as site,
    ):
        await connected(site)
        listener = Listener(site)
        await listener.listen()
        assert await site.bus.publish(A, Probe(1)) == 1
        await site.bus.unsubscribe(A)
        grant = await site.leases.acquire(ANN, N1, "h", floor=0)
        assert await site.leases.renew(ANN, N1, "h", grant.token)
        assert await site.leases.read(ANN) == grant
        await site.leases.release(ANN, "h", grant.token)
        record = NodeRecord(N1, "h", "1", 0, 0, False, 0.0)
        await site.registry.announce(record)
        assert await site.registry.nodes() == (record,)
        await site.registry.leave("h")
        await site.shared.deny("a", EndReason.BLOCKED, 60.0)
        assert await site.shared.denied("a") is EndReason.BLOCKED
        assert [await site.shared.count("a", 60.0), await site.shared.counted("a")] == [1, 1]
        await site.shared.forget("a")
        await server.command("SCRIPT", "FLUSH")
        assert await site.shared.count("a", 60.0) == 1
        site.bus.publishers[0].drop("x")
        assert await site.bus.publish(A, Probe(1)) == 0
        assert await server.command("ACL", "LOG") == [], "something was denied"


async def test_passwords_let_in_and_are_not_shown() -> None:
    async with redis_server("--requirepass", "s3cret") as server:
        async with node(server.url) as site:
            await connected(site)
            assert repr(site) == "RedisBackend(connected)"
        wrong = f"redis://:s3cre7@127.0.0.1:{server.port}"
        async with node(wrong) as site:
            with pytest.raises(GatewayError) as raised:
                await site.shared.counted("x")
            assert "s3cre" not in str(raised.value) + repr(site) + repr(vars(site))

            async def says_why() -> bool:
                return {client.trouble for client in site.clients.values()} == {"it refused AUTH: WRONGPASS"}

            await until(says_why, "the reason is not logged")


async def test_a_block_may_be_cancelled() -> None:
    async with redis_server() as server, asyncio.TaskGroup() as tasks:
        entered = asyncio.Event()

        async def live() -> None:
            async with node(server.url):
                entered.set()
                await asyncio.Event().wait()

        task = tasks.create_task(live())
        await entered.wait()
        task.cancel()
    assert task.cancelled()


def test_secrets_of_the_wrong_length_and_urls_of_no_form_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="begins with redis://"):
        node("memory://")
    with pytest.raises(ValueError, match="32 bytes"):
        node("redis://h", BusKeys([("k", b"short")], KEYS.pseudonym))
    with pytest.raises(ValueError, match="32 bytes"):
        node("redis://h", BusKeys(KEYS.sealing, b"short"))
    assert repr(KEYS) == "BusKeys(…)"


async def test_a_split_network_s_old_primary_is_left_though_it_answers() -> None:
    clock, server = ManualClock(), FakeRedis()
    primary: list[str | None] = ["old"]

    site = RedisBackend(
        "redis+sentinel://a/main", KEYS, clock, lambda: 0.5, os.urandom, connections=server.connections
    )

    async def tell() -> Endpoint:
        if primary[0] is None:
            raise RedisUnreachable("no sentinel knows the primary")
        return Endpoint(primary[0], 1)

    assert isinstance(site._servers, OneServer)
    site._servers.connector.primary = tell  # type: ignore[method-assign]  # the sentinels' word, without them
    async with site:
        await clock.advance(1.5)
        assert {client.endpoint for client in site.clients.values()} == {Endpoint("old", 1)}
        primary[0] = None
        await clock.advance(1.5)
        assert {client.endpoint for client in site.clients.values()} == {Endpoint("old", 1)}
        primary[0] = "new"
        await clock.advance(1.5)
        assert {client.endpoint for client in site.clients.values()} == {Endpoint("new", 1)}
        assert {dict(client.losses)["another is primary"] for client in site.clients.values()} == {1}
