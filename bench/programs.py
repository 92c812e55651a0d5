"""Processes of a benchmark: started on a core, measured, and always ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from bench.machine import pinned

STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 10.0
LINE_BYTES = 1 << 24
"""The longest line that a program may write."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """Failure of a run. The text is a sentence for people."""


class Program:
    """Running process, made by :func:`running`."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    def cpu_s(self) -> float:
        """Return the CPU time of the process and its children, from the scheduler's nanoseconds."""
        return process_cpu_s(self.pid)

    def rss_bytes(self) -> int:
        """Return the resident memory of the process and its children."""
        return process_rss_bytes(self.pid)

    def tail(self) -> str:
        """Return the end of the process's log."""
        return self._log.read_text("utf-8", errors="replace")[-2000:] if self._log.exists() else ""

    async def until(self, holds: Callable[[], bool], within_s: float = STARTS_WITHIN_S) -> None:
        """Wait until *holds* returns True.

        Raises:
            BenchError: The process ended first, or *within_s* seconds passed.
        """
        try:
            async with asyncio.timeout(within_s):
                while not holds():
                    if not self.runs:
                        raise BenchError(f"{self.name} ended: {self.tail()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise BenchError(f"{self.name} is not ready: {self.tail()}") from None

    async def until_listening(self, port: int) -> None:
        """Wait until a socket listens at *port* of the loopback."""
        await self.until(lambda: is_listening(port))


@asynccontextmanager
async def running(
    name: str, command: tuple[str, ...], core: int, folder: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Run *command* while the block lasts; its output goes to a file in *folder*."""
    log = folder / f"{name}.log"
    with opened(log) as file:
        process = await asyncio.create_subprocess_exec(
            *pinned(core),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            start_new_session=True,
        )
        try:
            yield Program(name, process, log)
        finally:
            await end(process)


def opened(file: Path) -> IO[bytes]:
    """Open *file* for writing, creating its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.open("wb")


async def output(
    name: str,
    command: tuple[str, ...],
    core: int,
    within_s: float,
    heard: Callable[[bytes], Awaitable[None]] | None = None,
) -> bytes:
    """Run *command* to its end; returns what it wrote to standard output.

    Args:
        name: Its name in errors.
        command: Its argument vector.
        core: The core on which it runs.
        within_s: How long it may take.
        heard: Called with each line as it arrives.

    Raises:
        BenchError: It did not end in time, or wrote nothing.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *pinned(core), *command, stdout=pipe, stderr=pipe, limit=LINE_BYTES, start_new_session=True
    )
    try:
        async with asyncio.timeout(within_s):
            told, trouble = await _heard(process, heard)
    except TimeoutError:
        raise BenchError(f"{name} did not end within {within_s:.0f} s") from None
    finally:
        await end(process)
    if not told:
        raise BenchError(f"{name} said nothing: {trouble.decode('utf-8', 'replace')[-1000:]}")
    return told


async def _heard(process: Process, heard: Callable[[bytes], Awaitable[None]] | None) -> tuple[bytes, bytes]:
    if heard is None:
        return await process.communicate()
    assert process.stdout is not None, "it was started with pipes"
    assert process.stderr is not None, "it was started with pipes"
    lines = []
    async with asyncio.TaskGroup() as tasks:
        trouble = tasks.create_task(process.stderr.read())
        async for line in process.stdout:
            lines.append(line)
            await heard(line)
    await process.wait()
    return b"".join(lines), trouble.result()


async def end(process: Process) -> None:
    """End a process and its group by SIGTERM, then by SIGKILL."""
    for number in (15, 9):
        if process.returncode is not None and number == 15:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDS_WITHIN_S):
                await process.wait()
                return


def process_cpu_s(pid: int | None) -> float:
    """Return the CPU time of a process and its children; 0 when *pid* is None."""
    return 0.0 if pid is None else sum(_cpu_ns(each) for each in _family(pid)) / 1e9


def process_rss_bytes(pid: int | None) -> int:
    """Return the resident memory of a process and its children; 0 when *pid* is None."""
    return 0 if pid is None else sum(_rss_bytes(each) for each in _family(pid))


def is_listening(port: int) -> bool:
    """Return whether a socket (IPv4) listens at *port*."""
    wanted = f":{port:04X} 00000000:0000 0A"
    return any(wanted in line for line in Path("/proc/net/tcp").read_text("ascii").splitlines())


def _family(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text("ascii").split():
                found += _family(int(child))
    return found


def _cpu_ns(pid: int) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text("ascii").split()[0])
    return total


def _rss_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
