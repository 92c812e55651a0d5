"""Background tasks: start them, log their faults, and keep nothing in memory after their end."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path, PurePath
from traceback import clear_frames
from types import TracebackType
from typing import Final, ParamSpec
from weakref import WeakMethod

import gateway

P = ParamSpec("P")


def spawn(tasks: asyncio.TaskGroup | None, work: Coroutine[None, None, None]) -> bool:
    """Run *work* in *tasks*.

    Returns:
        False, and nothing runs, when there is no group or it is shutting down.
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


class TaskGroup(asyncio.TaskGroup):
    """A task group that leaves memory when it is over, also when it was cancelled or has failed.

    A frame of :class:`asyncio.TaskGroup` holds what it has raised, and so, through the traceback, itself, and
    through its group the task and all that the task's frames hold.
    """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the tasks."""
        try:
            await super().__aexit__(kind, error, trace)
        except BaseException as raised:
            forget_frames(raised)
            raise
        finally:
            vars(self).pop("_parent_task", None)  # it holds its last error, whose traceback holds this group
            del error, trace


class LeanEvent:
    """A :class:`asyncio.Event` that has no queue of waiters, of 600 bytes, while nobody waits."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake all that wait."""
        self._is_set = True
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Make each wait from now on last until it is set again."""
        self._is_set = False

    async def wait(self) -> None:
        """Return once it is set."""
        if self._is_set:
            return
        waiter = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)
            if not self._waiters:
                self._waiters = None


def heed_cancellation() -> None:
    """Go on with a cancellation that a task group has swallowed; call it after ``except*``.

    Before Python 3.13 a :class:`asyncio.TaskGroup` whose body failed raises that failure alone, also when
    task was cancelled while it waited for its children: the handler of the failure would live on.

    Raises:
        asyncio.CancelledError: The task is to end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def weakly(method: Callable[P, None]) -> Callable[P, None]:
    """Return what calls the bound *method*, and does not keep its object in memory: then it does nothing."""
    found = WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        bound = found()
        if bound is not None:
            bound(*args, **kwargs)

    return call


def forget_frames(error: BaseException) -> None:
    """Clear the frames that *error*, which was handled, and all in its group have passed through.

    A frame of :class:`asyncio.TaskGroup` holds the group that it has raised, and so, through the group's
    traceback, itself: all that these frames hold would stay in memory until garbage is collected.
    """
    clear_frames(error.__traceback__)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            forget_frames(each)


FRAMES_MAX: Final = 24
"""Innermost frames that are logged; beyond that a fault recurses."""
_PACKAGE: Final = Path(gateway.__file__).parent
_OTHERS_PARTS: Final = 3
"""Parts of a path that are kept of a file outside the package."""


def first_of(fault: BaseException) -> BaseException:
    """Return the fault itself, or of a group the first one in it."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def frames(fault: BaseException) -> str | None:
    """Return where *fault* was raised: ``file:line:function``, the innermost first, joined by `` < ``.

    All frames inside the package are listed, and the innermost one wherever it is. None: it was not raised.
    """
    found = list(traceback.walk_tb(fault.__traceback__))
    shown = []
    for place, (frame, line) in enumerate(reversed(found)):
        code = frame.f_code
        path = PurePath(code.co_filename)
        if path.is_relative_to(_PACKAGE):
            shown.append(f"{path.relative_to(_PACKAGE.parent)}:{line}:{code.co_name}")
        elif place == 0:
            shown.append(f"{'/'.join(path.parts[-_OTHERS_PARTS:]).lstrip('/')}:{line}:{code.co_name}")
    return " < ".join(shown[:FRAMES_MAX]) or None


def log_fault(log: logging.Logger, event: str, fault: BaseException) -> None:
    """Log *event* as an error, with the type of *fault* (of a group: of the first one) and its frames."""
    fault = first_of(fault)
    log.error(event, extra={"error": type(fault).__name__, "place": frames(fault)})
