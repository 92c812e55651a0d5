"""Contract of the Clock port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import Clock
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import beside, during


class Subject(NamedTuple):
    """A clock, and how its time is made to pass."""

    clock: Clock
    pass_time: Callable[[float], Awaitable[None]]


@pytest.fixture(params=["manual", "system"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "system":
        return Subject(SystemClock(), asyncio.sleep)
    clock = ManualClock()
    return Subject(clock, clock.advance)


async def test_both_times_go_on_together(subject: Subject) -> None:
    now, wall_ms = subject.clock.now(), subject.clock.wall_ms()
    await subject.pass_time(0.02)
    assert subject.clock.now() - now >= 0.02
    assert subject.clock.wall_ms() - wall_ms >= 19


async def test_sleep_ends_when_its_time_is_over_and_not_before(subject: Subject) -> None:
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        began = subject.clock.now()
        await subject.clock.sleep(seconds)
        woken.append(seconds)
        assert subject.clock.now() - began >= seconds

    async with asyncio.TaskGroup() as tasks:
        for seconds in (0.03, 0.01, 0.02):
            tasks.create_task(sleeper(seconds))
        await subject.pass_time(0)
        assert woken == []
        await subject.pass_time(0.05)
    assert woken == [0.01, 0.02, 0.03]


async def test_sleeping_no_time_lets_others_run(subject: Subject) -> None:
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with beside(other()):
        await subject.clock.sleep(0)
        ran.append("sleeper")
    assert ran == ["other", "sleeper"]


async def test_timeout_ends_the_block(subject: Subject) -> None:
    async def bounded() -> str:
        try:
            async with subject.clock.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "returned"

    async with beside(bounded()) as task:
        await subject.pass_time(0.05)
    assert task.result() == "timed out"


async def test_timeout_lets_a_quick_block_be(subject: Subject) -> None:
    async with subject.clock.timeout(0.01):
        await asyncio.sleep(0)
    await subject.pass_time(0.02)


async def test_a_timeout_of_no_time_ends_a_wait(subject: Subject) -> None:
    with pytest.raises(TimeoutError):
        async with subject.clock.timeout(0):
            await asyncio.Event().wait()


async def test_cancelling_a_bounded_block_is_no_timeout(subject: Subject) -> None:
    async def bounded() -> None:
        async with subject.clock.timeout(10):
            await asyncio.Event().wait()

    async with during(bounded()) as task:
        await subject.pass_time(0)
    assert task.cancelled()


async def test_the_inner_of_two_timeouts_ends_first(subject: Subject) -> None:
    ended: list[str] = []

    async def bounded() -> None:
        async with subject.clock.timeout(0.2):
            try:
                async with subject.clock.timeout(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                ended.append("inner")
            await subject.clock.sleep(0.01)
            ended.append("block")

    async with beside(bounded()):
        await subject.pass_time(0.1)
    assert ended == ["inner", "block"]
