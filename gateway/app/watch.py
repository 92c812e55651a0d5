"""How does one watch a contact centre live in a terminal? The command ``watch``.

A supervisor logs on, sees the board until the time is over or Ctrl-C, and is logged off. On a
terminal the board is on its second screen, so nothing of it stays in the scroll-back.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live

from gateway.app.board import board
from gateway.app.stopping import Stopping
from gateway.app.watch_log_on import log_off, log_on
from gateway.app.watch_options import PLAIN_LINES, Options, Refusal, add_arguments, options_from
from gateway.app.watch_view import View
from gateway.client import Clock, GatewayClient, Wishes
from gateway.client.clock import MACHINE_CLOCK

__all__ = ["add_arguments", "run", "watch"]

SOON_S: Final = 0.1
EARLY_S: Final = 0.002
"""Event loops wake up to a millisecond early."""
FIRST_DATA_S: Final = 30.0
"""How long ``--once`` waits for something to show."""
FIRST_FRAME_S: Final = 3.0
"""After how long a frame that is not drawn in place is shown without data too."""
WISHES: Final = Wishes(ping_s=10)
"""A board tells the age of its data, which each ping brings: the more often the better."""


def run(args: argparse.Namespace) -> int:
    """Show the board. Returns the exit code."""
    try:
        return asyncio.run(watch(options_from(args)))
    except Refusal as refusal:
        sys.stderr.write(f"oscc-gateway: {refusal}\n")
        return 1


async def watch(
    options: Options,
    *,
    console: Console | None = None,
    stopping: Stopping | None = None,
    clock: Clock = MACHINE_CLOCK,
) -> int:
    """Log on, show the board, log off. Returns 0, or 1 when the session was ended or no data came.

    Args:
        options: Whose board.
        console: Where; standard output when None.
        stopping: Asks for the end; SIGINT and SIGTERM do when None.
        clock: Time.

    Raises:
        Refusal: The gateway cannot be reached or refuses the log-on.
    """
    screen = console or _console()
    stop = stopping or Stopping()
    async with GatewayClient(options.address, wishes=WISHES, ssl=options.trusted, clock=clock) as client:
        view = await log_on(client, options, clock)
        with stop.on_signals() if stopping is None else nullcontext():
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(view.listen(client))
                running = tasks.create_task(client.run())
                try:
                    await _Show(client, view, options, screen, clock).until(stop.asked)
                finally:
                    code = 1 if client.ended is not None or client.mirror.position is None else 0
                    await log_off(client, stop, clock)
                    running.cancel()
                    listening.cancel()
    return code


class _Show:
    """Draws the board again and again.

    Invariant: with ``--once`` one frame is drawn, as soon as there is data or none will come.
    """

    def __init__(
        self, client: GatewayClient, view: View, options: Options, screen: Console, clock: Clock
    ) -> None:
        self._client = client
        self._view = view
        self._options = options
        self._screen = screen
        self._clock = clock
        self._is_once = options.for_s == 0
        self._is_printed = False
        self._in_place = screen.is_terminal and not self._is_once
        began = clock.now()
        self._ends_at = None if options.for_s is None else began + (options.for_s or FIRST_DATA_S)
        self._impatient_at = began + (FIRST_DATA_S if self._is_once else FIRST_FRAME_S)

    async def until(self, asked: asyncio.Event) -> None:
        """Draw until the time is over, the session is, or the end is *asked* for."""
        with self._drawing() as draw:
            while not self._is_over(asked):
                if self._is_worth_a_frame():
                    draw(self._frame())
                    if self._is_once:
                        return
                await self._pause(asked)
            draw(self._frame())

    def _is_over(self, asked: asyncio.Event) -> bool:
        late = self._ends_at is not None and self._clock.now() >= self._ends_at - EARLY_S
        return late or asked.is_set() or self._client.ended is not None

    def _has_data(self) -> bool:
        return self._client.mirror.position is not None and self._client.health is not None

    def _is_worth_a_frame(self) -> bool:
        """Frames below each other begin when there is something to see, or has not been for long."""
        return self._in_place or self._has_data() or self._clock.now() >= self._impatient_at

    async def _pause(self, asked: asyncio.Event) -> None:
        """Wait for the next frame or the end."""
        is_soon = not self._has_data() and self._clock.now() < self._impatient_at
        wait_s = SOON_S if is_soon else self._options.refresh_s
        if self._ends_at is not None:
            wait_s = min(wait_s, self._ends_at - self._clock.now())
        with suppress(TimeoutError):
            async with self._clock.timeout(wait_s):
                await asked.wait()

    def _frame(self) -> RenderableType:
        footer = self._options.footer
        return board(
            self._client.mirror,
            self._view.health,
            self._client.server_time_ms(),
            zone=self._options.zone,
            lines=self._options.lines or (self._screen.height if self._in_place else PLAIN_LINES),
            footer=footer() if callable(footer) else footer,
        )

    @contextmanager
    def _drawing(self) -> Iterator[Callable[[RenderableType], None]]:
        """Give what draws a frame: in place on a terminal, one below the other elsewhere."""
        if not self._in_place:
            yield self._print
            return
        with Live(console=self._screen, screen=True, auto_refresh=False) as live:
            yield lambda frame: live.update(frame, refresh=True)

    def _print(self, frame: RenderableType) -> None:
        if self._is_printed:
            self._screen.print()
        self._screen.print(frame)
        self._is_printed = True


def _console() -> Console:
    """Return standard output; what its encoding has not becomes a question mark."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console(highlight=False)
