"""Child processes of a demonstration: start, end and restart."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.app.cli.demo import ChildProcess
from tests.doubles.clock import ManualClock
from tests.doubles.servers import until

WAITS = "import signal, sys; print('up', flush=True); signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"


def child(folder: Path, program: str, **environ: str) -> ChildProcess:
    return ChildProcess("c", (sys.executable, "-c", program), folder / "c.log", environ or None)


async def up(child: ChildProcess, times: int = 1) -> None:
    """Return when *child* has said for the *times*-th time that it is up."""

    async def has_said() -> bool:
        return child.log.read_text("utf-8").count("up") == times

    await until(has_said, "the process did not come up")


async def alive(child: ChildProcess) -> bool:
    return child.pid is not None


async def test_what_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    process, clock = child(tmp_path, STUBBORN), ManualClock()
    await process.start()
    await up(process)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(process.end(clock))
        await clock.advance(9.9)
        assert await alive(process)
        await clock.advance(0.2)
    assert not await alive(process)
