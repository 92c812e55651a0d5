"""How is work begun beside a life that may be ending?"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


def spawn(tasks: asyncio.TaskGroup | None, work: Coroutine[None, None, None]) -> bool:
    """Run *work* in *tasks*.

    Returns:
        False, and nothing runs, when there is no group any more or it is shutting down.
    """
    if tasks is not None:
        try:
            tasks.create_task(work)
        except RuntimeError:  # asyncio.TaskGroup.create_task: its life is ending
            pass
        else:
            return True
    work.close()
    return False
