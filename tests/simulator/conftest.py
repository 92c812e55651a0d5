"""A simulator on real sockets under a manual clock, and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.simulator import ManualClock, Simulator
from tests.simulator.client import SimulatorClient
from tests.simulator.peer import QUIET, World


@pytest.fixture
async def client() -> AsyncIterator[SimulatorClient]:
    """A quiet centre whose desks are open."""
    simulator = Simulator(replace(QUIET, seed=3), ManualClock())
    async with simulator, SimulatorClient(simulator) as client:
        yield client


@pytest.fixture
def world() -> World:
    return World()
