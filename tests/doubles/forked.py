"""Programs as processes that share their imports: each is forked from a process that has imported them.

Importing the gateway takes a second of a core, and a cluster has three nodes and a simulator. A forked
process is in all other respects a process of its own: it is killed, frozen and awaited by its id.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_SERVER: Final = multiprocessing.get_context("forkserver")
_PR_SET_PDEATHSIG: Final = 1


def preload(*modules: str) -> None:
    """Share these modules with programs that are forked from now on; call it before the first fork."""
    _SERVER.set_forkserver_preload([*modules])


class ForkedProcess:
    """``python -m MODULE ARGUMENTS``, its output added to a file; used like a process of asyncio.

    It is killed when its parent process ends, however the parent ends.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], output: Path, environ: Mapping[str, str]
    ) -> None:
        self._process = _SERVER.Process(
            target=_become, args=(module, [*arguments], str(output), dict(environ), str(Path.cwd()))
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: Final[int] = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code; negative: the signal that ended it; None: it runs."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def join(self, within_s: float) -> int | None:
        """Return its exit code once it has ended; kill it, and return None, when that takes too long."""
        self._process.join(within_s)
        if self.returncode is None:
            self._process.kill()
            self._process.join()
            return None
        return self.returncode

    async def wait(self) -> int:
        """Return its exit code once it has ended."""
        loop, sentinel = asyncio.get_running_loop(), self._process.sentinel
        if self.returncode is None:
            ended = asyncio.Event()
            loop.add_reader(sentinel, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(sentinel)
        self._process.join()
        assert self.returncode is not None
        return self.returncode


def _become(module: str, arguments: list[str], output: str, environ: dict[str, str], folder: str) -> None:
    """Run a module like ``python -m``, in a process that was just forked."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    kept = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(kept, stream.fileno())
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr] # a text stream of a process
    os.close(kept)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
