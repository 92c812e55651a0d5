"""An event loop on virtual time: minutes of a whole cluster take milliseconds, and are repeatable.

When no callback is due, its time jumps to the next awaited instant. Tasks and futures are hashed by their
order of creation, so that no iteration over a set depends on memory addresses.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from asyncio.base_events import BaseEventLoop
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from contextvars import Context, ContextVar
from operator import attrgetter
from random import Random
from typing import Any, Final, ParamSpec, TypeVar, TypeVarTuple

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
TURNS_MAX: Final = 20_000
"""Turns of the loop in one instant after which a task counts as endlessly busy."""
READY_MAX: Final = 20_000
"""Callbacks that may wait before something counts as growing without bound."""


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


class _Timer(asyncio.TimerHandle):
    """A timer with its place among those of the same instant, which a heap alone leaves to chance."""

    def __init__(
        self, when: float, act: Callable[..., object], args: Any, loop: VirtualLoop, context: Context | None
    ) -> None:
        super().__init__(when, act, args, loop, context)
        self._scheduled = True
        self._order = when, loop.place()

    def __lt__(self, other: object) -> bool:
        return self._order < other._order if isinstance(other, _Timer) else NotImplemented


def behind(before: float, due: float) -> float:
    """Return when a message that is *due* arrives: later than the last of its connection, at *before*."""
    return max(due, math.nextafter(before, math.inf))


class StuckError(Exception):
    """No future event is awaited, or a task is endlessly busy."""


_HOST: Final[ContextVar[Host | None]] = ContextVar("host", default=None)
_CONTEXT: Final = attrgetter("_context")
OUTSIDE: Final = Context()
"""The host of everything outside the nodes: the network, Redis, OSCC-E and the users."""


class Host:
    """The host of one process. While it is stopped, as by SIGSTOP, its due callbacks wait in order.

    A call in :attr:`context` runs there, and so does everything that it starts.

    Args:
        loop: The loop of the callbacks.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self.is_stopped = False
        self.context = Context()
        self.context.run(_HOST.set, self)
        self.waiting: deque[asyncio.Handle] = deque()
        self._entering = 0
        """Number of calls that have waited for the process to continue, and have not begun."""
        self._loop = loop

    def stop(self) -> None:
        self.is_stopped = True

    def go_on(self) -> None:
        """Continue with the callbacks that were due, before those that are due since a moment ago."""
        if not self.is_stopped:
            return
        self.is_stopped = False
        self._loop.ready.extendleft(reversed(self.waiting))
        self.waiting.clear()

    def enter(self, act: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call *act* there: at once, or when the process continues, after all earlier calls."""
        if not self.is_stopped and not self._entering:
            self.context.copy().run(act, *args, **kwargs)
            return

        def enter() -> None:
            self._entering -= 1
            act(*args, **kwargs)

        self._entering += 1
        self._loop.call_soon(enter, context=self.context)


class _Ready(deque[asyncio.Handle]):
    """The due callbacks; those of a stopped process are put aside."""

    def popleft(self) -> asyncio.Handle:
        handle = super().popleft()
        host: Host | None = _CONTEXT(handle).get(_HOST)
        if host is None or not host.is_stopped:
            return handle
        host.waiting.append(handle)
        return asyncio.Handle(_nothing, (), asyncio.get_running_loop())


def _nothing() -> None:
    """Do nothing."""


class _Selector:
    """Waits by advancing the loop's time."""

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
        now: The first instant.
        rng: Draws the order of the timers of one instant; None: the order in which they were set.
    """

    def __init__(self, now: float = 1_000.0, *, rng: Random | None = None) -> None:
        super().__init__()
        self.births = itertools.count()
        self._timers = itertools.count()
        self._rng = rng
        self._virtual_now = now
        self._end = now + 3600.0
        self._turns = 0
        self._selector = _Selector(self)
        self.ready = _Ready()
        vars(self)["_ready"] = self.ready
        self._clock_resolution = 1e-9
        self.set_task_factory(_task)

    def time(self) -> float:
        return self._virtual_now

    def place(self) -> float:
        """Return the place of the next timer among those of its instant."""
        return next(self._timers) if self._rng is None else self._rng.random()

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future that is hashed by its creation."""
        return _Future(loop=self)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(vars(self)["_scheduled"], timer)
        return timer

    def skip(self, timeout: float | None) -> None:
        """Advance to the next awaited instant."""
        if timeout == 0:
            self._turns += 1
            if self._turns > TURNS_MAX or len(self.ready) > READY_MAX:
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
    """The Clock port on the loop's time: the true one, and OSCC-E's.

    Args:
        loop: The loop.
        wall_at_zero_ms: The wall clock at the loop's time 0.
    """

    def __init__(self, loop: VirtualLoop, wall_at_zero_ms: int = 1_700_000_000_000) -> None:
        self._loop = loop
        self._wall_at_zero_ms = wall_at_zero_ms

    def now(self) -> float:
        return self._loop.time()

    def wall_ms(self) -> int:
        return self._wall_at_zero_ms + round(self._loop.time() * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds)

    def call_later(self, seconds: float, act: Callable[[], None]) -> Callable[[], None]:
        return self._loop.call_later(seconds, act).cancel


class NodeClock:
    """The clocks of one node's machine: wrongly set, with their own rate.

    Args:
        real: The true time.
        zero: The steady clock at the loop's 0: machines did not start together.
        rate: Rate of both clocks; 1 is right.
        ahead_s: How far the wall clock is ahead.
    """

    def __init__(
        self, real: VirtualClock, *, zero: float = 0.0, rate: float = 1.0, ahead_s: float = 0.0
    ) -> None:
        self.ahead_s = ahead_s
        self._real = real
        self._zero = zero
        self._rate = rate
        self._began_at = real.now()

    def now(self) -> float:
        return self.at(self._real.now())

    def at(self, real: float) -> float:
        """Return the steady clock at an instant of the true one."""
        return self._zero + real * self._rate

    def wall_ms(self) -> int:
        drifted_s = (self._real.now() - self._began_at) * (self._rate - 1.0)
        return self._real.wall_ms() + round((self.ahead_s + drifted_s) * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._rate)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds / self._rate)

    def call_later(self, seconds: float, act: Callable[[], None]) -> Callable[[], None]:
        return self._real.call_later(seconds / self._rate, act)
