"""What is read anew while a node lives, and when?"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Final

from gateway.app.systemd import Supervisor
from gateway.runtime.ports import Clock

LOOK_S: Final = 2.0
"""How often files are looked at, and whether a notice has come to bind."""

Look = Callable[[], Awaitable[str | None]]
"""Puts in force what files say now, and returns the name of what stays old because they cannot be used.
Nothing that they say makes it fail."""


class StaysOld(Exception):  # noqa: N818 - names what happened
    """Files say something that cannot be put in force; all else that they say is.

    Args:
        what: Is not as they say.
    """

    def __init__(self, what: Sequence[str]) -> None:
        super().__init__(", ".join(what))
        self.what: Final = tuple(what)


class Reloading:
    """Looks again and again, and at once when it is asked.

    Invariant: looks come one after the other, whoever asks for them.

    Args:
        always: What is looked at each time, in order.
        when_asked: What is looked at only when somebody asks, before the others.
        clock: Tells when.
    """

    def __init__(self, always: Sequence[Look], when_asked: Sequence[Look], clock: Clock) -> None:
        self._always: Final = always
        self._when_asked: Final = when_asked
        self._clock = clock
        self._asked = asyncio.Event()
        self._turn = asyncio.Lock()

    def ask(self) -> None:
        """Have all looked at as soon as may be."""
        self._asked.set()

    @contextmanager
    def on_signal(self) -> Iterator[None]:
        """Let SIGHUP ask, while the block lasts."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.ask)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    async def run(self, after: Callable[[], Awaitable[None]]) -> None:
        """Look until cancelled; *after* follows each time."""
        while True:
            is_asked = self._asked.is_set()
            self._asked.clear()
            await self._look(is_asked=is_asked)
            await after()
            with suppress(TimeoutError):
                async with self._clock.timeout(LOOK_S):
                    await self._asked.wait()

    async def read_anew(self) -> None:
        """Look at all; what files say now is in force when this returns.

        Raises:
            StaysOld: Some of it cannot be.
        """
        old = await self._look(is_asked=True)
        if old:
            raise StaysOld(old)

    async def _look(self, *, is_asked: bool) -> list[str]:
        async with self._turn:
            looks = (*(self._when_asked if is_asked else ()), *self._always)
            return [old for look in looks if (old := await look()) is not None]


Cry = Callable[[], Coroutine[None, None, None]]


@contextmanager
def hearing(reloading: Reloading, cry: Cry, supervisor: Supervisor | None, *, is_any: bool) -> Iterator[Cry]:
    """Let SIGHUP have the files read anew, while the block lasts; gives what follows each reading.

    Args:
        reloading: Reads them.
        cry: Follows each reading.
        supervisor: Hears of reloads, when it is there.
        is_any: Without anything to read anew a hang-up ends the process, as it ends what runs in a terminal.
    """
    if supervisor is not None and supervisor.is_there:
        with supervisor.reloads(reloading.ask):
            yield supervisor.looked(cry, reloading.ask)
    else:
        with reloading.on_signal() if is_any else nullcontext():
            yield cry
