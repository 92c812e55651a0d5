"""Process metrics, and the detection of a blocked loop."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

from gateway.app.metrics import LOOP_CHECK_S, STUCK_S, ProcessMetrics, memory_limit_bytes
from gateway.telemetry import Telemetry
from tests.app.metrics import values_of
from tests.doubles.clock import ManualClock


async def test_a_loop_that_turns_is_alive_and_its_lag_is_measured() -> None:
    clock, telemetry = ManualClock(), Telemetry()
    vitals = ProcessMetrics(clock, telemetry)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(vitals.run())
        await clock.advance(LOOP_CHECK_S * 4)
        assert vitals.live() is None
        running.cancel()
    values = values_of(telemetry)
    assert values["loop_lag_seconds_count"] == 4
    assert values["loop_lag_seconds_sum"] < 0.001


async def test_a_loop_that_does_not_turn_is_not() -> None:
    clock = ManualClock()
    vitals = ProcessMetrics(clock, Telemetry())
    await clock.advance(STUCK_S - 1)
    assert vitals.live() is None
    await clock.advance(1)
    assert vitals.live() == "the event loop is stuck"


async def test_the_process_is_measured_when_asked_for() -> None:
    telemetry = Telemetry()
    ProcessMetrics(ManualClock(), telemetry).sample()
    values = values_of(telemetry)
    assert values["tasks"] >= 1
    assert values["rss_bytes"] > 10_000_000
    assert 3 <= values["fdsopen"] <= values["fdslimit"]


def test_the_client_librarys_own_names_are_there() -> None:
    values = values_of(Telemetry())
    assert values["process_cpu_seconds_total"] > 0
    assert values["process_resident_memory_bytes"] > 10_000_000
    assert 3 <= values["process_open_fds"] <= values["process_max_fds"]


def test_the_limit_of_memory_is_the_tightest_of_the_groups_around(tmp_path: Path) -> None:
    named, groups = tmp_path / "cgroup", tmp_path / "cgroups"
    (groups / "pods" / "one").mkdir(parents=True)
    named.write_text("1:cpu:/else\n0::/pods/one\n")
    assert math.isnan(memory_limit_bytes(named, groups))
    (groups / "pods" / "one" / "memory.max").write_text("max\n")
    assert math.isnan(memory_limit_bytes(named, groups))
    (groups / "pods" / "memory.max").write_text("2048\n")
    assert memory_limit_bytes(named, groups) == 2048
    (groups / "pods" / "one" / "memory.max").write_text("1024\n")
    assert memory_limit_bytes(named, groups) == 1024
    assert math.isnan(memory_limit_bytes(tmp_path / "none", groups))
