"""Where a test takes place: the fixture ``at`` is what the test annotates it with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import pytest

from tests.runtime.pair import Pair, pair
from tests.runtime.scene import Scene, scene
from tests.runtime.street import Street, street

Place = Pair | Scene | Street
PLACES: Final[Mapping[str, Callable[[], AbstractAsyncContextManager[Place]]]] = {
    "Pair": pair,
    "Scene": scene,
    "Street": street,
}


@pytest.fixture
async def at(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Run a place with its defaults, in a task of its own that a failed test cannot hold up."""
    ready, over = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def live() -> None:
        async with PLACES[request.function.__annotations__["at"]]() as place:
            ready.set_result(place)
            await over.wait()

    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(live())
        yield await ready
        over.set()
        await asyncio.wait({life}, timeout=5)
        life.cancel()
