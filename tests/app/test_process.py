"""The process: systemd, task groups, core dumps."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.app.process import WATCHDOG_BEATS, SystemdNotifier, background_tasks
from gateway.app.reload import Reloader, reload_on_hangup
from tests.app.processes import running
from tests.app.samples import ANY_PORT, SECRET, write
from tests.doubles.clock import ManualClock
from tests.doubles.servers import until
from tests.doubles.tasks import during

PID = 4711


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """Be systemd at *address* while the block lasts."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        door.settimeout(60)
        yield door


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"@oscc-gateway-{tmp_path}" if request.param == "abstract" else str(tmp_path / "notify")


def arrived(door: socket.socket) -> list[list[str]]:
    """Return the datagrams that have come, each as its lines."""
    door.setblocking(False)
    found = []
    while True:
        try:
            found.append(door.recv(4096).decode().splitlines())
        except BlockingIOError:
            return found


def supervisor(address: str, clock: ManualClock | None = None, **environ: str) -> SystemdNotifier:
    return SystemdNotifier({"NOTIFY_SOCKET": address, **environ}, PID, clock or ManualClock())


def test_ready_and_stopping_are_reported(address: str) -> None:
    with listening(address) as door:
        received = supervisor(address)
        received.ready()
        received.stopping()
        assert received.is_there
        assert arrived(door) == [
            ["READY=1", "STATUS=Serves phones."],
            ["STOPPING=1", "STATUS=Sends its phones away."],
        ]


async def test_signs_of_life_come_from_the_loop_and_in_time(address: str) -> None:
    clock = ManualClock()
    with listening(address) as door:
        received = supervisor(address, clock, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(PID))
        assert received.watchdog_s == 30
        async with during(received.run()):
            await clock.settle()
            assert arrived(door) == [["WATCHDOG=1"]]
            await clock.advance(30 / WATCHDOG_BEATS * 2)
            assert arrived(door) == [["WATCHDOG=1"]] * 2
            await clock.advance(30 / WATCHDOG_BEATS - 1)
            assert arrived(door) == []


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(PID + 1)},
    ],
)
async def test_nobody_watches_unless_this_process_is_meant(environ: dict[str, str], address: str) -> None:
    with listening(address) as door:
        received = supervisor(address, None, **environ)
        assert received.watchdog_s is None
        await received.run()
        assert arrived(door) == []


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative/path"])
def test_without_a_socket_nobody_asks(address: str) -> None:
    received = SystemdNotifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}, PID, ManualClock())
    received.ready()
    assert not received.is_there
    assert received.watchdog_s is None


def test_a_socket_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    supervisor(str(tmp_path / "gone")).ready()
    with listening(str(tmp_path / "full")) as door:
        for _ in range(2_000):
            supervisor(str(tmp_path / "full")).ready()
        assert 0 < len(arrived(door)) < 2_000


def test_a_reload_is_done_when_a_look_that_began_after_it_is(tmp_path: Path) -> None:
    address, clock = str(tmp_path / "notify"), ManualClock(now=5)
    with listening(address) as door:
        received = supervisor(address, clock)
        assert (received.files_read(), arrived(door)) == (False, [])
        received.reload_began()
        assert arrived(door) == [["RELOADING=1", "MONOTONIC_USEC=5000000"]]
        assert (received.files_read(), arrived(door)) == (True, []), "it may have begun before the signal"
        assert (received.files_read(), arrived(door)) == (False, [["READY=1", "STATUS=Serves phones."]])
        assert (received.files_read(), arrived(door)) == (False, [])


async def test_a_hangup_is_reported_until_the_files_are_read(tmp_path: Path) -> None:
    address, clock = str(tmp_path / "notify"), ManualClock(now=5)
    reloading, lines = Reloader((), (), clock), list[list[str]]()

    async def nothing() -> None: ...

    async def is_done() -> bool:
        lines.extend(arrived(door))
        return len(lines) == 2

    with (
        listening(address) as door,
        reload_on_hangup(reloading, nothing, supervisor(address, clock), is_any=False) as report,
    ):
        async with during(reloading.run(report)):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(is_done, "the reload is not reported")
    assert lines == [["RELOADING=1", "MONOTONIC_USEC=5000000"], ["READY=1", "STATUS=Serves phones."]]


def test_a_node_logs_its_whole_life(tmp_path: Path) -> None:
    path, address = write(tmp_path, SECRET), str(tmp_path / "notify")
    environ = {**ANY_PORT, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    with listening(address) as door, running("serve", "--config", str(path), environ=environ) as process:
        received = received_until(door, "READY=1")
        client = json.loads(process.until('"listener": "client"'))
        assert client["port"] > 0
        received += received_until(door, "WATCHDOG=1")
        process.hang_up()
        reloaded = received_until(door, "RELOADING=1") + received_until(door, "READY=1")
        ended = process.end(signal.SIGTERM)
        received += [lines[0] for lines in arrived(door)]
    assert reloaded[-1] == "READY=1"
    assert ended.code == 0
    assert received.count("STOPPING=1") == 1
    assert set(received[received.index("STOPPING=1") + 1 :]) <= {"WATCHDOG=1"}


def received_until(door: socket.socket, line: str) -> list[str]:
    """Return the first received lines, up to *line*."""
    received: list[str] = []
    while line not in received:
        received.append(door.recv(4096).decode().splitlines()[0])
    return received


# ---- tasks beside a block end with it; every error is raised as what it is ----


class Life:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def run(self) -> None:
        self.seen.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            self.seen.append("ended")


async def test_lives_begin_and_end_with_the_block() -> None:
    life, other = Life(), Life()
    async with background_tasks(life.run(), other.run()):
        await asyncio.sleep(0)  # both begin
        assert life.seen == other.seen == ["began"]
    assert life.seen == other.seen == ["began", "ended"]


async def test_an_error_of_the_block_leaves_it_as_it_is() -> None:
    life = Life()

    async def block() -> None:
        async with background_tasks(life.run()):
            await asyncio.sleep(0)  # it begins
            raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        await block()
    assert life.seen == ["began", "ended"]


async def _fails() -> None:
    raise ValueError("life")


async def test_a_life_that_fails_ends_the_block() -> None:
    with pytest.raises(ExceptionGroup) as failed:
        async with background_tasks(_fails()):
            await asyncio.Event().wait()
    assert failed.group_contains(ValueError, match="life")


# ---- a process that crashes leaves no core dump ----


KEEPS = "from gateway.app.process import disable_core_dumps; assert disable_core_dumps()\n"
UNLIMITED = """\
import os, resource, signal
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
"""
ABORTS = "os.kill(os.getpid(), signal.SIGABRT)"
READS = """
import os
from pathlib import Path
os.listdir("/proc/self/fd")
Path("/proc/self/status").read_text() and Path("/proc/self/statm").read_text()
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")


def run(code: str, folder: Path) -> tuple[int, int]:
    """Return the exit code, and how many files are in *folder* then."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=False, timeout=30)
    return done.returncode, len(list(folder.iterdir()))


@linux
def test_a_process_that_aborts_writes_no_core(tmp_path: Path) -> None:
    assert run(UNLIMITED + KEEPS + ABORTS, tmp_path) == (-signal.SIGABRT, 0)


@linux
def test_without_it_a_core_is_written(tmp_path: Path) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text("utf-8").strip()
    if pattern.startswith(("|", "/")) or resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip(f"cores of this machine go elsewhere, or nowhere: {pattern}")
    assert run(UNLIMITED + ABORTS, tmp_path) == (-signal.SIGABRT, 1)


@linux
def test_it_still_reads_how_it_fares(tmp_path: Path) -> None:
    assert run(KEEPS + READS, tmp_path) == (0, 0)
