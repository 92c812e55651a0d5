"""What lives beside a block, and ends with it?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def alive(*lives: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run *lives* while the block lasts. The block's own error leaves it as it is, not in a group."""
    own: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        living = [tasks.create_task(life) for life in lives]
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again outside the group
            own = error
        finally:
            for task in living:
                task.cancel()
    if own is not None:
        raise own
