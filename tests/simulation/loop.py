"""How does a whole cluster live through minutes in milliseconds, the same way each time?

An event loop whose time is a number: when nobody has anything to do, it jumps to the next instant for
which somebody waits. Tasks and futures are hashed by their order of birth, so that no set of them is
walked in an order that memory addresses decide.
"""

from __future__ import annotations

import asyncio
import itertools
from asyncio.base_events import BaseEventLoop
from collections.abc import Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

T = TypeVar("T")
TURNS_MAX: Final = 20_000
"""Turns of the loop in one instant after which something is busy for ever."""
READY_MAX: Final = 20_000
"""What may be to be done at a time before something grows without end."""


class _Task(asyncio.Task[T]):
    def __init__(
        self, work: Generator[Any, None, T] | Coroutine[Any, Any, T], *, loop: VirtualLoop, **more: Any
    ) -> None:
        self._born = next(loop.births)
        super().__init__(work, loop=loop, **more)

    def __hash__(self) -> int:
        return self._born


class _Future(asyncio.Future[Any]):
    def __init__(self, *, loop: VirtualLoop) -> None:
        self._born = next(loop.births)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._born


class StuckError(Exception):
    """Nobody waits for anything that will come, or somebody is busy for ever."""


class _Selector:
    """Waits by moving the loop's time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        self._loop.skip(timeout)
        return []

    def close(self) -> None:
        """Nothing is held."""


class VirtualLoop(BaseEventLoop):
    """An event loop without sockets, on virtual time.

    Args:
        now: Where its time starts.
    """

    def __init__(self, now: float = 1_000.0) -> None:
        super().__init__()
        self.births = itertools.count()
        self._virtual_now = now
        self._end = now + 3600.0
        self._turns = 0
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        self.set_task_factory(_task)

    def time(self) -> float:
        """Return the virtual instant, s."""
        return self._virtual_now

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future that is hashed by its birth."""
        return _Future(loop=self)

    def skip(self, timeout: float | None) -> None:
        """Move to the next instant for which somebody waits."""
        if timeout == 0:
            self._turns += 1
            if self._turns > TURNS_MAX or len(vars(self)["_ready"]) > READY_MAX:
                raise StuckError("the loop never came to rest")
            return
        self._turns = 0
        scheduled: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        if not scheduled:
            raise StuckError("nobody waits for time")
        self._virtual_now = max(self._virtual_now, scheduled[0].when())
        if self._virtual_now > self._end:
            raise StuckError("somebody does not end")

    def _process_events(self, events: list[object]) -> None:
        """There are no sockets."""


def _task(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> _Task[Any]:
    assert isinstance(loop, VirtualLoop)
    return _Task(work, loop=loop, **more)


class VirtualClock:
    """The Clock port on the running loop's time.

    Args:
        loop: Whose time.
        wall_at_zero_ms: What the wall clock says when the loop's time is 0.
    """

    def __init__(self, loop: VirtualLoop, wall_at_zero_ms: int = 1_700_000_000_000) -> None:
        self._loop = loop
        self._wall_at_zero_ms = wall_at_zero_ms

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._loop.time()

    def wall_ms(self) -> int:
        """Return ms since 1970 UTC."""
        return self._wall_at_zero_ms + round(self._loop.time() * 1000)

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block: :class:`TimeoutError` when *seconds* passed inside it."""
        return asyncio.timeout(seconds)
