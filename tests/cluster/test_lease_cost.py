"""Cost of the leases of 10,000 users for a Redis: renewed in slices, on a server of its own."""

from __future__ import annotations

import asyncio
import random
import secrets

import pytest

from gateway.bus.connect import BusKeys
from gateway.bus.stores import RedisBackend
from gateway.domain.model import NodeId, UserId
from gateway.runtime.event_loop import SystemClock
from tests.cluster.figures import Figures
from tests.doubles.servers import Server, redis_server

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(120)]

USERS = 10_000
SLICE = 200
EVERY_S = 5.0
ROUNDS = 3
CORE_MAX_PCT = 20.0
"""More of a core than this for 10,000 users would be a fault: one Redis is to bear several times as many."""


async def cpu_s(redis: Server) -> float:
    """Return CPU seconds of the server so far, the kernel's part included."""
    received = await redis.command("INFO", "cpu")
    assert isinstance(received, dict)
    return float(received["used_cpu_user"]) + float(received["used_cpu_sys"])


@pytest.mark.takes(35)
async def test_leases_of_ten_thousand_users_cost_little_of_a_core() -> None:
    node, holder = NodeId("node1"), "holder"
    keys = BusKeys([("k1", secrets.token_bytes(32))], secrets.token_bytes(32))
    users = [UserId("main", number) for number in range(USERS)]
    async with redis_server() as redis:
        site = RedisBackend(redis.url, keys, SystemClock(), random.random, secrets.token_bytes)
        async with site as doors:
            async with asyncio.timeout(10):
                while doors.trouble is not None:  # noqa: ASYNC110 - it connects by itself
                    await asyncio.sleep(0.05)  # between two looks
            tokens: dict[UserId, int] = {}
            for at in range(0, USERS, SLICE):
                part = users[at : at + SLICE]
                asked = [doors.leases.acquire(user, node, holder, floor=0) for user in part]
                grants = await asyncio.gather(*asked)
                tokens |= {user: grant.token for user, grant in zip(part, grants, strict=True)}
            began_s, loop = await cpu_s(redis), asyncio.get_running_loop()
            since = loop.time()
            for _ in range(ROUNDS):
                for at in range(0, USERS, SLICE):
                    part = users[at : at + SLICE]
                    asked_again = [doors.leases.renew(user, node, holder, tokens[user]) for user in part]
                    assert all(await asyncio.gather(*asked_again))
            took_s = loop.time() - since
            used_s = (await cpu_s(redis) - began_s) / ROUNDS
        memory = await redis.command("INFO", "memory")
    assert isinstance(memory, dict)
    figures = Figures("leases of 10,000 users", 8)
    figures.notes = {
        "CPU of Redis, % of a core": 100 * used_s / EVERY_S,
        "one round of renewals took, s": took_s / ROUNDS,
        "memory of Redis, MB": int(memory["used_memory"]) / 2**20,
    }
    print(f"\n{figures.text()}")
    assert 0 < 100 * used_s / EVERY_S <= CORE_MAX_PCT
    figures.keep()
