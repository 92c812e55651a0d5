"""Is a request to end heard, and a second one as a hurry?"""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from gateway.app.stopping import SIGNALS, Stopping


def test_asking_once_is_polite_and_twice_is_a_hurry() -> None:
    stopping = Stopping()
    assert not stopping.asked.is_set()
    stopping.ask()
    assert (stopping.asked.is_set(), stopping.hurried.is_set()) == (True, False)
    stopping.ask()
    assert stopping.hurried.is_set()


@pytest.mark.parametrize("number", SIGNALS)
async def test_signals_ask(number: signal.Signals) -> None:
    stopping = Stopping()
    with stopping.on_signals():
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stopping.asked.wait()
        assert not stopping.hurried.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stopping.hurried.wait()


async def test_afterwards_signals_are_as_before() -> None:
    stopping = Stopping()
    before = signal.getsignal(signal.SIGTERM)
    with stopping.on_signals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
