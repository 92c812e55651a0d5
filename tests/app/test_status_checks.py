"""Warnings at the start of a node about its cluster."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from gateway.app import status
from gateway.app.config.settings import BusSection
from gateway.app.status import (
    BUS_RETRY_S,
    CLOCK_EVERY_S,
    DUPLICATE_NAME_EVERY_S,
    KEYS_LOOK_S,
    BusReport,
    log_bus_faults,
    log_clock_offset,
    log_duplicate_name,
    log_key_differences,
)
from gateway.domain.model import NodeId
from gateway.runtime.ports import Clock
from tests.doubles.clock import ManualClock


async def test_a_redis_is_looked_at_until_it_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [BusReport(faults=("It is away.",))] * 2 + [
        BusReport(("There.",), advices=("It writes to a disk.",))
    ]

    async def found(bus: BusSection, clock: Clock) -> BusReport:
        return seen.pop(0)

    monkeypatch.setattr(status, "check_bus", found)
    clock = ManualClock()
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(log_bus_faults(BusSection(url="redis://h"), clock))
            await clock.advance(2 * BUS_RETRY_S - 0.1)
            assert not running.done()
            await clock.advance(0.2)
    assert [(line["log_level"], line["fault"]) for line in lines] == [
        ("error", "It is away."),
        ("error", "It is away."),
        ("warning", "It writes to a disk."),
    ]


async def test_without_redis_there_is_nothing_to_say() -> None:
    with capture_logs() as lines:
        await log_bus_faults(BusSection(), ManualClock())
    assert lines == []


async def test_a_node_with_the_same_name_is_reported_once_while_it_is_there() -> None:
    clock, membership = ManualClock(), SimpleNamespace(has_namesake=True, node=NodeId("n1"))
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            looking_ = tasks.create_task(log_duplicate_name(membership, clock))  # type: ignore[arg-type]  # stands in
            await clock.advance(DUPLICATE_NAME_EVERY_S - 0.1)
            assert lines == []
            await clock.advance(3 * DUPLICATE_NAME_EVERY_S)
            assert [(line["log_level"], line["node"]) for line in lines] == [("error", "n1")]
            membership.has_namesake = False
            await clock.advance(DUPLICATE_NAME_EVERY_S)
            membership.has_namesake = True
            await clock.advance(DUPLICATE_NAME_EVERY_S)
            looking_.cancel()
    assert len(lines) == 2


async def test_a_clock_that_differs_is_reported_once_and_when_it_agrees_again() -> None:
    seen: list[float | None] = [None, 0.9, -1.0, -30.0, -30.0, 0.2, 0.1]
    clock = ManualClock()
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            looking_on = tasks.create_task(log_clock_offset(lambda: seen.pop(0), clock))
            await clock.advance(6 * CLOCK_EVERY_S)
            looking_on.cancel()
    assert [(line["event"], line["offset_s"]) for line in lines] == [
        ("clock_differs", -1.0),
        ("clock_agrees", 0.2),
    ]


async def test_keys_that_stay_different_are_reported_once_and_when_they_agree_again() -> None:
    n2, n3 = NodeId("n2"), NodeId("n3")
    clock, others = ManualClock(), {n2: "k1/00000001", n3: "k1/00000001"}
    membership = SimpleNamespace(sealing_keys="k1/00000001", sealing_keys_of_others=others)
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(log_key_differences(membership, clock))  # type: ignore[arg-type]  # stands in
            await clock.advance(2.5 * KEYS_LOOK_S)
            membership.sealing_keys = "k1/00000001 k2/00000002"
            others[n2] = membership.sealing_keys
            await clock.advance(KEYS_LOOK_S)
            assert lines == [], "a reload of all nodes takes a moment"
            await clock.advance(3 * KEYS_LOOK_S)
            others[n3] = membership.sealing_keys
            await clock.advance(2 * KEYS_LOOK_S)
            running.cancel()
    own = "k1/00000001 k2/00000002"
    assert lines == [
        {
            "event": "sealing_keys_differ",
            "log_level": "warning",
            "node": n3,
            "sealing_keys": own,
            "other_keys": "k1/00000001",
        },
        {"event": "sealing_keys_agree", "log_level": "info", "node": n3, "sealing_keys": own},
    ]
