"""The gateway's own programs as processes: started, killed, frozen, with their output in files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp

from tests.doubles.forked import ForkedProcess, preload
from tests.doubles.machine import Watch

preload("gateway.app.cli")

STARTS_WITHIN_S = 30.0
ENDS_WITHIN_S = 100.0
LOOK_S = 0.05


class Launch(NamedTuple):
    """How a program is started: its module, the words before its command, and the folder of its code."""

    words: tuple[str, ...] = ("gateway",)
    folder: Path | None = None
    """The folder of other code."""
    is_forked: bool = True
    """False: like an operator, with a new interpreter."""


PRESENT: Final = Launch()
"""The program of this version."""
AS_INSTALLED: Final = Launch(is_forked=False)
"""The same with a new interpreter, where the process before it serves matters."""


async def _started(folder: Path | None, words: tuple[str, ...], log: Path) -> Process:
    """Start a program, of the code in *folder* if there is one; its output is added to *log*."""
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if folder is not None:
        environ["PYTHONPATH"] = str(folder)
    leash = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *(*leash, sys.executable, "-m", *words),
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            cwd=folder,
            env=environ,
        )


class Program:
    """``python -m gateway …``. It ends with the test that started it, however the test ends."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        self.launch = PRESENT
        self._arguments = arguments
        self._process: Process | ForkedProcess | None = None

    async def start(self) -> None:
        """Start it; its output is added to the log."""
        assert self._process is None, "it runs"
        words = (*self.launch.words, *self._arguments)
        if self.launch.is_forked and self.launch.folder is None:
            self._process = ForkedProcess(words[0], words[1:], self.log, os.environ)
        else:
            self._process = await _started(self.launch.folder, words, self.log)

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def written(self) -> str:
        """Return its whole output, of all its lives."""
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop it at any point; its connections stay."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue."""
        self.send(signal.SIGCONT)

    async def kill9(self) -> None:
        """End it at once, also when it is frozen or has ended."""
        if self._process is not None:
            self.send(signal.SIGKILL)
            await self.ended()

    async def term(self, within_s: float = ENDS_WITHIN_S) -> int:
        """Send SIGTERM; return its exit code."""
        self.send(signal.SIGTERM)
        async with asyncio.timeout(within_s):
            return await self.ended()

    async def ended(self) -> int:
        """Return its exit code once it has ended."""
        assert self._process is not None
        code = await self._process.wait()
        self._process = None
        return code

    async def until_written(self, pattern: str) -> re.Match[str]:
        """Return the first match in its output; it must keep running until then."""
        async with asyncio.timeout(STARTS_WITHIN_S):
            while (found := re.search(pattern, self.written())) is None:
                assert self.runs, f"it ended: {self.written()[-2000:]}"
                await asyncio.sleep(LOOK_S)
            return found


class Node(Program):
    """A node of the gateway, at the same addresses in all its lives."""

    def __init__(
        self,
        name: str,
        folder: Path,
        ports: Mapping[str, int],
        http: aiohttp.ClientSession,
        launch: Launch = PRESENT,
    ) -> None:
        super().__init__(folder / f"{name}.log", "serve", "--config", str(folder / f"{name}.toml"))
        self.name = name
        self.launch = launch
        self.ports = ports
        self.base = f"http://127.0.0.1:{ports['client']}"
        self.ops = f"http://127.0.0.1:{ports['ops']}"
        self._http = http

    async def restart(self) -> None:
        """Start it again, after killing it if it runs; return when it is ready."""
        await self.kill9()
        await self.start()
        await self.until_ready()

    async def until_ready(self) -> None:
        """Return when it is ready for phones."""
        watch = Watch()
        while not await self.ready():
            assert self.runs, f"{self.name} ended: {self.written()[-2000:]}"
            assert watch.run_s() < STARTS_WITHIN_S, f"{self.name} is not ready: {self.written()[-2000:]}"
            await asyncio.sleep(LOOK_S)

    async def ready(self) -> bool:
        """Return whether it reports that it is ready for phones."""
        try:
            async with (
                asyncio.timeout(1),
                self._http.get(f"{self.ops}/readyz") as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, OSError):  # a timeout is an OSError, too
            return False

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with *labels*; 0 for a metric without any."""
        async with asyncio.timeout(5), self._http.get(f"{self.ops}/metrics") as answer:
            text = await answer.text()
        found = re.findall(rf"^oscc_gateway_{name}(?:{{([^}}]*)}})? (\S+)$", text, re.MULTILINE)
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(value) for has, value in found if all(each in has for each in wanted))
