"""Has somebody asked the process to end, and how much of a hurry are they in?"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from gateway.runtime.ports import Clock

_LOG: Final = logging.getLogger("gateway.app")
"""Not structlog's: commands that configure no logging stop by signals too, and must not write lines."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """Whether the end was asked for, and whether it was in a hurry."""

    def __init__(self) -> None:
        self.asked: Final = asyncio.Event()
        self.hurried: Final = asyncio.Event()
        self._is_signalled = False

    def ask(self) -> None:
        """Ask for the end, as a signal does; asked so again, it comes fast."""
        if self._is_signalled:
            self.hurried.set()
        self._is_signalled = True
        self.asked.set()

    def ask_gently(self) -> None:
        """Ask for the end in no hurry, however often.

        It is not counted: who has a node drained, then stops its service or deletes its pod, is in no hurry.
        """
        self.asked.set()

    async def wait(self, clock: Clock, seconds: float | None = None) -> None:
        """Return when the end is asked for, or when *seconds* have passed."""
        if seconds is None:
            await self.asked.wait()
            return
        with suppress(TimeoutError):
            async with clock.timeout(seconds):
                await self.asked.wait()

    def _hear(self, number: signal.Signals) -> None:
        if not self.hurried.is_set():
            event = "in a hurry to end" if self._is_signalled else "asked to end"
            _LOG.info(event, extra={"signal": number.name})
        self.ask()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT ask, while the block lasts."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._hear, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
