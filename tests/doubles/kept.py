"""A place of a test in a task of its own, for fixtures: their two halves run in different tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def kept(place: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Keep *place* open; a failed test, which may leave work behind in it, cannot hold up its end."""
    ready: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def live() -> None:
        async with place as made:
            ready.set_result(made)
            await over.wait()

    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(live())
        yield await ready
        over.set()
        await asyncio.wait({life}, timeout=5)
        life.cancel()
