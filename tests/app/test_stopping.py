"""Signals: the first ends the process, a second one at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from gateway.app.process import SIGNALS, StopRequest
from tests.doubles.clock import ManualClock


def test_asking_once_is_polite_and_twice_is_a_hurry() -> None:
    stopping = StopRequest()
    assert not stopping.asked.is_set()
    stopping.ask()
    assert (stopping.asked.is_set(), stopping.hurried.is_set()) == (True, False)
    stopping.ask()
    assert stopping.hurried.is_set()


def test_who_was_asked_gently_is_asked_by_a_signal_for_the_first_time() -> None:
    stopping = StopRequest()
    for _ in range(2):
        stopping.ask_gently()
        assert (stopping.asked.is_set(), stopping.hurried.is_set()) == (True, False)
    stopping.ask()
    stopping.ask_gently()
    assert not stopping.hurried.is_set()
    stopping.ask()
    assert stopping.hurried.is_set()


async def test_waiting_ends_when_asked_or_when_the_time_is_over() -> None:
    clock, stopping = ManualClock(), StopRequest()
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
    stopping = StopRequest()
    with stopping.on_signals():
        assert signal.getsignal(number) not in {signal.SIG_DFL, signal.default_int_handler}
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
        os.kill(os.getpid(), signal.SIGUSR1)  # received after the third, which says nothing new
        async with asyncio.timeout(5):
            await after.wait()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
    assert signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}
    assert [(record.getMessage(), vars(record)["signal"]) for record in caplog.records] == [
        ("stop_requested", number.name),
        ("stop_hurried", number.name),
    ]
