"""How does whoever supervises the process learn that it is ready, alive, reloading or about to end?

The protocol of sd_notify(3): a datagram of ``KEY=value`` lines to the Unix socket that NOTIFY_SOCKET
names. Without that variable nobody asks, and nothing is said.
"""

from __future__ import annotations

import os
import signal
import socket
from asyncio import get_running_loop
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from gateway.runtime.ports import Clock

BEATS: Final = 3
"""Signs of life within the time that the watchdog allows: one may be late, and one be lost."""
LOOKS: Final = 2
"""Looks until a reload is done: the one under way when it was asked for may have begun before."""
_US: Final = 1_000_000


class Supervisor:
    """Tells systemd how the process fares.

    Invariant: telling never waits and never fails; a datagram that cannot be delivered is dropped.

    Args:
        environ: Variables of the process.
        pid: Of the process.
        clock: Time.
    """

    def __init__(self, environ: Mapping[str, str], pid: int, clock: Clock) -> None:
        self._address: Final = _address(environ.get("NOTIFY_SOCKET", ""))
        self._clock: Final = clock
        self._looks_due = 0
        self.watchdog_s: Final = _watchdog_s(environ, pid) if self._address is not None else None
        """Without a sign of life for so long the process is killed; None: nobody watches."""

    @property
    def is_there(self) -> bool:
        """Whether somebody asks."""
        return self._address is not None

    def ready(self) -> None:
        """Tell that phones are served."""
        self._tell("READY=1", "STATUS=Serves phones.")

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._tell("STOPPING=1", "STATUS=Sends its phones away.")

    async def run(self) -> None:
        """Give signs of life until cancelled, from the loop that serves: one that hangs gives none."""
        while self.watchdog_s is not None:
            self._tell("WATCHDOG=1")
            await self._clock.sleep(self.watchdog_s / BEATS)

    @contextmanager
    def reloads(self, look: Callable[[], None]) -> Iterator[None]:
        """Let SIGHUP have *look* ask for a look at the files, while the block lasts."""

        def ask() -> None:
            self._looks_due = LOOKS
            # systemd compares it with the instant at which it sent the signal: CLOCK_MONOTONIC, as now() is
            self._tell("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.now() * _US)}")
            look()

        loop = get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, ask)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    def looked(
        self, cry: Callable[[], Coroutine[None, None, None]], look: Callable[[], None]
    ) -> Callable[[], Coroutine[None, None, None]]:
        """Return *cry*, which follows each look, so that it also tells when a reload is done."""

        async def tell() -> None:
            await cry()
            if self._looks_due:
                self._looks_due -= 1
                if self._looks_due:
                    look()
                else:
                    self.ready()

        return tell

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door,
        ):
            door.setblocking(False)
            door.sendto("\n".join(lines).encode("ascii"), self._address)


def _address(text: str) -> bytes | None:
    """Return the socket's address: a path, or after ``@`` a name in the abstract namespace."""
    if text.startswith("@"):
        return b"\0" + os.fsencode(text[1:])
    return os.fsencode(text) if text.startswith("/") else None


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return what the watchdog allows, when it is this process that it watches (sd_watchdog_enabled(3))."""
    told_us, whom = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
    if not told_us.isdecimal() or int(told_us) == 0 or whom != str(pid):
        return None
    return int(told_us) / _US
