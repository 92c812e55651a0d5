"""Has somebody asked the process to end, and how much of a hurry are they in?"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from gateway.runtime.ports import Clock

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """Whether the end was asked for. The first request is polite, the second is in a hurry."""

    def __init__(self) -> None:
        self.asked: Final = asyncio.Event()
        self.hurried: Final = asyncio.Event()

    def ask(self) -> None:
        """Ask for the end; asked again, it comes fast."""
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()

    async def wait(self, clock: Clock, seconds: float | None = None) -> None:
        """Return when the end is asked for, or when *seconds* have passed."""
        if seconds is None:
            await self.asked.wait()
            return
        with suppress(TimeoutError):
            async with clock.timeout(seconds):
                await self.asked.wait()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT ask, while the block lasts."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.ask)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
