"""Is a request to end heard, and a second one as a hurry?"""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from gateway.app.stopping import SIGNALS, Stopping
from tests.doubles.clock import ManualClock


def test_asking_once_is_polite_and_twice_is_a_hurry() -> None:
    stopping = Stopping()
    assert not stopping.asked.is_set()
    stopping.ask()
    assert (stopping.asked.is_set(), stopping.hurried.is_set()) == (True, False)
    stopping.ask()
    assert stopping.hurried.is_set()


async def test_waiting_ends_when_asked_or_when_the_time_is_over() -> None:
    clock, stopping = ManualClock(), Stopping()
    async with asyncio.TaskGroup() as tasks:
        patient = tasks.create_task(stopping.wait(clock))
        bounded = tasks.create_task(stopping.wait(clock, 5))
        await clock.advance(4)
        assert not bounded.done()
        await clock.advance(1)
        assert bounded.done()
        assert not patient.done()
        stopping.ask()
    assert patient.done()
    await stopping.wait(clock, 5)


@pytest.mark.parametrize("number", SIGNALS)
async def test_signals_ask(number: signal.Signals, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stopping = Stopping()
    with stopping.on_signals():
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stopping.asked.wait()
        assert not stopping.hurried.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stopping.hurried.wait()
        after = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, after.set)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGUSR1)  # heard after the third, which says nothing new
        async with asyncio.timeout(5):
            await after.wait()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
    assert [(record.getMessage(), vars(record)["signal"]) for record in caplog.records] == [
        ("asked to end", number.name),
        ("in a hurry to end", number.name),
    ]


async def test_afterwards_signals_are_as_before() -> None:
    stopping = Stopping()
    before = signal.getsignal(signal.SIGTERM)
    with stopping.on_signals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
