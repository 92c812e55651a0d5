"""Work that goes on beside a test's block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run *work* beside the block, and wait for its end afterwards."""
    async with asyncio.TaskGroup() as tasks:
        yield tasks.create_task(work)


@asynccontextmanager
async def during(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run *work* while the block lasts, and cancel it afterwards."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(work)
        yield running
        running.cancel()
