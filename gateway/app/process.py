"""The process: its command line, background tasks, stop signals, systemd, garbage collection, core dumps."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import platform
import resource
import shutil
import signal
import socket
import sys
from asyncio import get_running_loop
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

from gateway.runtime.ports import Clock

T = TypeVar("T")


def run_loop(main: Coroutine[None, None, T]) -> T:
    """Run *main*, on uvloop where CPython is on Linux: TLS costs 41 KB a phone there, and 296 KB without."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def raise_file_limit() -> None:
    """Allow as many open files as this process may: each phone and each link is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if platform.python_implementation() != "CPython" or sys.platform != "linux":
        return None
    import uvloop  # noqa: PLC0415 - there is none on other platforms

    return uvloop.new_event_loop


# ---- background tasks ----


@asynccontextmanager
async def background_tasks(*lives: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run *lives* while the block lasts. The block's own error leaves it as it is, not in a group."""
    own: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        living = [tasks.create_task(life) for life in lives]
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again outside the group
            own = error
        finally:
            for task in living:
                task.cancel()
    if own is not None:
        raise own


# ---- stop request ----


_LOG: Final = logging.getLogger("gateway.app")
"""Not structlog's: commands that configure no logging stop by signals too, and must not write lines."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether the end was asked for, and whether it was in a hurry."""

    def __init__(self) -> None:
        self.asked: Final = asyncio.Event()
        self.hurried: Final = asyncio.Event()
        self._is_signalled = False

    def ask(self) -> None:
        """Ask for the end, as a signal does; asked so again, it comes fast."""
        if self._is_signalled:
            self.hurried.set()
        self._is_signalled = True
        self.asked.set()

    def ask_gently(self) -> None:
        """Ask for the end in no hurry, however often.

        It is not counted: draining a node, then stopping its service or deleting its pod, means no hurry.
        """
        self.asked.set()

    async def wait(self, clock: Clock, seconds: float | None = None) -> None:
        """Return when the end is asked for, or when *seconds* have passed."""
        if seconds is None:
            await self.asked.wait()
            return
        with suppress(TimeoutError):
            async with clock.timeout(seconds):
                await self.asked.wait()

    def _hear(self, number: signal.Signals) -> None:
        if not self.hurried.is_set():
            event = "stop_hurried" if self._is_signalled else "stop_requested"
            _LOG.info(event, extra={"signal": number.name})
        self.ask()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT ask, while the block lasts."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._hear, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)


# ---- systemd ----


WATCHDOG_BEATS: Final = 3
"""Signs of life within the time that the watchdog allows: one may be late, and one be lost."""
RELOAD_STEPS: Final = 2
"""Looks until a reload is done: the one under way when it was asked for may have begun before."""
_US: Final = 1_000_000


class SystemdNotifier:
    """Reports the state of the process to systemd.

    Invariant: a report never waits and never fails; a datagram that cannot be delivered is dropped.

    Args:
        environ: Variables of the process.
        pid: Of the process.
        clock: Time.
    """

    def __init__(self, environ: Mapping[str, str], pid: int, clock: Clock) -> None:
        self._address: Final = _notify_address(environ.get("NOTIFY_SOCKET", ""))
        self._clock: Final = clock
        self._looks_due = 0
        self.watchdog_s: Final = _watchdog_s(environ, pid) if self._address is not None else None
        """Without a report for so long the process is killed; None: systemd does not watch."""

    @property
    def is_there(self) -> bool:
        """Whether systemd wants reports."""
        return self._address is not None

    def ready(self) -> None:
        """Report that phones are served."""
        self._tell("READY=1", "STATUS=Serves phones.")

    def stopping(self) -> None:
        """Report that the end has begun."""
        self._tell("STOPPING=1", "STATUS=Sends its phones away.")

    async def run(self) -> None:
        """Give signs of life until cancelled, from the loop that serves: one that hangs gives none."""
        while self.watchdog_s is not None:
            self._tell("WATCHDOG=1")
            await self._clock.sleep(self.watchdog_s / WATCHDOG_BEATS)

    @contextmanager
    def reloads(self, look: Callable[[], None]) -> Iterator[None]:
        """Let SIGHUP have *look* ask for a look at the files, while the block lasts."""

        def ask() -> None:
            self._looks_due = RELOAD_STEPS
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
        """Return *cry*, a callback after each look, so that it also reports when a reload is done."""

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


def _notify_address(text: str) -> bytes | None:
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


# ---- garbage collection ----


GC_THRESHOLDS: Final = (50_000, 20, 100)
"""New containers before a look at the youngest; looks before one at the older ones. A phone is some fifty
objects that live long: with Python's own numbers a storm of them is looked through over and over."""


GC_EVERY_S: Final = 2.0
"""How often what is there is set aside, so that a look goes through what came since then only."""
GC_YOUNG_S: Final = (2.0, 64.0)
"""How far looks through what came lately are apart: at least while they find something, at most while not."""
GC_FULL_S: Final = (60.0, 960.0)
"""How far looks through everything are apart, in the same way. 1,000 users are one of 0.1 to 0.3 s."""
GC_FOUND: Final = 1_000
"""A look that finds fewer dead objects has found nothing: what is gone leaves memory without it."""
GC_SHARE: Final = 0.003
"""Which part of the time looks may take: the more phones there are, the more seldom they are."""
GC_IDLE_S: Final = 0.001
"""A turn of the loop that takes no longer finds it idle."""
GC_LOOKS: Final = 100
GC_LOOK_S: Final = 0.1
"""How often, and how far apart, an idle moment is looked for; then it is done nevertheless."""
POOLS_TURN_S: Final = 2.0
"""How often pools forget what is too old."""


class Pool(Protocol):
    """Remembers what was read lately."""

    def turn(self, now: float) -> None:
        """Forget what is too old."""
        ...


async def forget_by_time(pools: Collection[Pool], clock: Clock) -> None:
    """Have *pools* forget what is too old, also when nothing comes that would have them do so; never ends."""
    while True:
        await clock.sleep(POOLS_TURN_S)
        for pool in pools:
            pool.turn(clock.now())


class _Looks:
    """When the next of some looks for garbage is due."""

    def __init__(self, apart_s: tuple[float, float], now: float) -> None:
        self._least_s, self._most_s = apart_s
        self._wait_s = self._least_s
        self.due_at = now + self._wait_s

    def looked(self, began: float, now: float, found: int) -> None:
        """Record a look from *began* to *now* that *found* dead objects; without any the next is later."""
        self._wait_s = self._least_s if found >= GC_FOUND else min(2 * self._wait_s, self._most_s)
        self.due_at = now + max(self._wait_s, (now - began) / GC_SHARE)


async def collect_when_idle(clock: Clock) -> None:
    """Collect garbage of any age when the loop is idle; never ends.

    Objects leave memory by reference counting alone. Errors and libraries may leave cycles, and Python's own
    collector looks for old ones only after very many new objects. The whole process waits during a look:
    some 0.3 s for each million of objects. So a look goes through what came lately, seldom through
    everything, and both become rare while they find nothing.
    """
    young, full = _Looks(GC_YOUNG_S, clock.now()), _Looks(GC_FULL_S, clock.now())
    try:
        while True:
            await clock.sleep(GC_EVERY_S)
            now = clock.now()
            looks = full if now >= full.due_at else young if now >= young.due_at else None
            if looks is not None:
                await _idle_moment(clock)
                began = clock.now()
                if looks is full:
                    gc.unfreeze()
                found = gc.collect()
                looks.looked(began, clock.now(), found)
            gc.freeze()
    finally:
        gc.unfreeze()


async def _idle_moment(clock: Clock) -> None:
    """Return when a turn of the loop took no time, or after a while."""
    for _ in range(GC_LOOKS):
        began = clock.now()
        await clock.sleep(0)
        if clock.now() - began <= GC_IDLE_S:
            return
        await clock.sleep(GC_LOOK_S)


@contextmanager
def tuned_gc(clock: Clock, paused: Callable[[float], None]) -> Iterator[None]:
    """Look for garbage seldom while the block lasts, and never through what was there before it.

    Args:
        clock: Measures.
        paused: Called with the seconds that each look took.
    """
    began = clock.now()

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = clock.now()
        else:
            paused(clock.now() - began)

    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.callbacks.append(note)
    try:
        yield
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*before)
        gc.unfreeze()


# ---- core dumps ----


_PR_SET_DUMPABLE: Final = 4
_NOT_DUMPABLE: Final = 0


def disable_core_dumps() -> bool:
    """Have no core dump written of this process; returns whether the kernel knows how to refuse it wholly."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, _NOT_DUMPABLE, 0, 0, 0) == 0)


PROGRAM: Final = "oscc-gateway"


class Command(NamedTuple):
    """One command. *run* returns the exit code."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    examples: str


def program_name() -> str:
    """Return what to type for this program here: its name where the shell finds it, else its path."""
    own = Path(sys.argv[0])
    if shutil.which(PROGRAM) is not None or own.name != PROGRAM:
        return PROGRAM
    path = os.path.relpath(own)
    if path.startswith(".."):
        return str(own.absolute())
    return path if os.sep in path else f"./{path}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return *rows* below their *headings*, a line each; what no terminal should obey is not in it."""
    lines = [headings, *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "".join(f"{'  '.join(map(str.ljust, line, widths)).rstrip()}\n" for line in lines)


def _shown(cell: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in cell)


# ---- shared options ----


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``; without it all settings come from the environment."""
    parser.add_argument(
        "--config",
        "-c",
        type=Path,
        metavar="FILE",
        help="the TOML file; OSCC_GATEWAY__SECTION__KEY variables override it",
    )
