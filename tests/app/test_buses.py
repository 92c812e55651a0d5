"""Settings open the bus that they name; nodes of one Redis reach each other."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.app import process
from gateway.app.adapters import open_bus
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import BusSection, SecretsSection
from gateway.app.config.sources import generate_secrets
from gateway.app.status import check_bus
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.node import Cluster
from gateway.runtime.ports import Clock
from tests.doubles.clock import ManualClock
from tests.doubles.servers import redis_server, until

ANNA = UserId("main", 1)


@asynccontextmanager
async def opened(bus: BusSection, secrets: SecretsSection, clock: Clock) -> AsyncIterator[Cluster]:
    async with open_bus(bus, secrets, clock, jitter=lambda: 0.5, draw=os.urandom) as cluster:
        yield cluster


async def _is_up(cluster: Cluster) -> bool:
    try:
        await cluster.registry.nodes()
    except GatewayError:
        return False
    return True


async def test_without_redis_a_node_is_alone() -> None:
    clock, secrets = ManualClock(), generate_secrets()
    async with opened(BusSection(), secrets, clock) as one, opened(BusSection(), secrets, clock) as other:
        mine = await one.leases.acquire(ANNA, NodeId("n1"), "h1", floor=0)
        theirs = await other.leases.acquire(ANNA, NodeId("n2"), "h2", floor=0)
    assert (mine.holder, theirs.holder) == ("h1", "h2")


async def _meet() -> None:
    clock, secrets = SystemClock(), generate_secrets()
    async with redis_server() as server:
        bus = BusSection(url=server.url)
        assert (await check_bus(bus, clock)).faults == ()
        async with opened(bus, secrets, clock) as one, opened(bus, secrets, clock) as other:
            for cluster in (one, other):
                await until(lambda cluster=cluster: _is_up(cluster), "Redis was not reached")  # type: ignore[misc]  # binds this turn's
            record = NodeRecord(NodeId("n1"), "h1", "1", 3, 2, draining=False, accepts_per_s=10.0)
            await one.registry.announce(record)
            assert await other.registry.nodes() == (record,)
            await one.leases.acquire(ANNA, NodeId("n1"), "h1", floor=0)
            grant = await other.leases.acquire(ANNA, NodeId("n2"), "h2", floor=0)
            assert grant.holder == "h1"


def test_nodes_of_one_redis_and_the_same_secrets_meet_on_the_loop_that_nodes_run_on() -> None:
    process.run_loop(_meet())


async def test_a_file_of_an_authority_that_is_none_is_reported(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none", "utf-8")
    for name in ("ca.pem", "missing.pem"):
        bus = BusSection(url="rediss://h", ca_file=tmp_path / name)
        with pytest.raises(ConfigError, match=r"bus\.ca_file holds no certificate that can be read"):
            await open_bus(
                bus, generate_secrets(), SystemClock(), jitter=lambda: 0.5, draw=os.urandom
            ).__aenter__()
