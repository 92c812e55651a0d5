"""How does a demonstration keep processes of its own, that others may kill?"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.runtime.ports import Clock

ENDED_WITHIN_S: Final = 10.0
"""How long a process that was asked to end may take, before it is killed."""


class Child:
    """A process that can be started again after its end, and that ends when this process does.

    It has a session of its own, so that Ctrl-C in the terminal reaches its parent only.

    Args:
        name: As people call it.
        command: The program and its arguments.
        log: The file to which it writes what it says.
        environ: Its variables; None: those of this process.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.name: Final = name
        self.log: Final = log
        self._command = (*_leash(), *command)
        self._environ = dict(os.environ if environ is None else environ)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start it, unless it runs."""
        if self.pid is not None:
            return
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                start_new_session=True,
            )

    def ask(self) -> None:
        """Ask it to end, by SIGTERM."""
        self._send(signal.SIGTERM)

    async def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        self._send(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def end(self, clock: Clock) -> None:
        """Ask it to end, and again, in a hurry; kill it when it does not."""
        self.ask()
        self.ask()
        if self._process is not None:
            with suppress(TimeoutError):
                async with clock.timeout(ENDED_WITHIN_S):
                    await self._process.wait()
        await self.kill()

    def _send(self, number: signal.Signals) -> None:
        if self.pid is not None and self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


def free_port() -> int:
    """Return a port of the loopback that nobody listens to now."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def _leash() -> tuple[str, ...]:
    """Let a process end with the one that started it, however that one ends."""
    return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
