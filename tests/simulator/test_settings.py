"""Settings of the simulator, their options, and its clocks."""

from __future__ import annotations

import argparse
import asyncio

from gateway.simulator.settings import ManualClock, RealClock, SimulatorSettings, add_arguments, settings_from


def test_groups_follow_from_agents() -> None:
    assert SimulatorSettings().group_count == 8
    assert SimulatorSettings(agents=3).group_count == 1
    assert SimulatorSettings(groups=5).group_count == 5


# ---- options ----


def parse(*options: str) -> SimulatorSettings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--something-else", default=1)
    return settings_from(parser.parse_args(options))


def test_without_options_the_defaults_hold_but_for_the_port() -> None:
    assert parse() == SimulatorSettings(port=8443)


def test_options_are_taken_over() -> None:
    settings = parse(
        "--agents", "1500", "--queues", "100", "--users", "2000", "--port", "0", "--on-change", "--tls"
    )
    assert (settings.agents, settings.queues, settings.users, settings.port) == (1500, 100, 2000, 0)
    assert settings.on_change
    assert settings.tls
    assert parse("--events-per-s", "500").events_per_s == 500
    assert parse("--warm-up-s", "0").warm_up_s == 0


# ---- Time passes as asked ----


async def test_sleepers_wake_when_their_time_has_come() -> None:
    clock, woken = ManualClock(0), list[float]()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleep(2))
        tasks.create_task(sleep(1))
        await asyncio.sleep(0)
        await clock.advance(1)
        for _ in range(5):
            await asyncio.sleep(0)
        assert woken == [1]
        await clock.advance(1)
    assert woken == [1, 2]


async def test_a_scaled_clock_runs_fast_in_the_centre_only() -> None:
    clock = RealClock(scale=1000.0)
    began_ms, began_s = clock.now_ms(), clock.transport_s()
    await clock.sleep(0.002)
    passed_ms, passed_s = clock.now_ms() - began_ms, clock.transport_s() - began_s
    assert passed_ms >= 1000
    assert passed_s < passed_ms / 1000
