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


def heed_cancellation() -> None:
    """Go on with a cancellation that a task group has swallowed; call it after ``except*``.

    Before Python 3.13 a :class:`asyncio.TaskGroup` whose body failed raises that failure alone, also when
    its task was cancelled while it waited for its children: whoever handles the failure would live on.

    Raises:
        asyncio.CancelledError: The task is to end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
