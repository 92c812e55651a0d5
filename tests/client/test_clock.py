"""Promises of the machine's clock to the client."""

from __future__ import annotations

import asyncio

import pytest

from gateway.client.http import MACHINE_CLOCK, jitter


async def test_sleep_takes_its_time() -> None:
    began = MACHINE_CLOCK.now()
    await MACHINE_CLOCK.sleep(0.01)
    assert MACHINE_CLOCK.now() - began >= 0.01


async def test_timeout_ends_the_block() -> None:
    with pytest.raises(TimeoutError):
        async with MACHINE_CLOCK.timeout(0.001):
            await asyncio.Event().wait()


def test_jitter_is_spread_over_zero_to_one() -> None:
    drawn = {jitter() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0.0 <= number < 1.0 for number in drawn)
