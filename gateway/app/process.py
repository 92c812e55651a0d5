"""The process: background tasks, signals, systemd, garbage collection, core dumps, and listeners."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import platform
import resource
import signal
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Final, TypeVar

from aiohttp import web

from gateway.edge.limits import PENDING_CONNECTIONS, WAIT_MAX_S, PendingConnections
from gateway.edge.server import ListenerRunner
from gateway.runtime.event_loop import is_reserved, log_fault, spawn
from gateway.runtime.ports import Clock

T = TypeVar("T")


class CommandFailed(Exception):  # noqa: N818 - names what happened
    """A command cannot be done. The message is a sentence for its user; the exit code is 1."""


def run_loop(main: Coroutine[None, None, T]) -> T:
    """Run *main*, on uvloop with CPython on Linux: a TLS connection takes 41 KB there, and 296 KB without."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


SPARE_FILES: Final = 200
"""Descriptors besides phones and links: listeners, Redis, HTTP to the sites, logs."""


def files_needed(connections: int) -> int:
    """Return how many descriptors a node with that many phones needs: each phone and each link is one."""
    return connections * 2 + SPARE_FILES


def raise_file_limit() -> int:
    """Raise the limit of open files to the maximum of this process. Returns it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return file_limit()


def file_limit() -> int:
    """Return how many files this process may open."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if most == resource.RLIM_INFINITY else most


def keep_standard_descriptors() -> None:
    """Open the null device where a standard stream is closed, so that no socket gets its descriptor.

    uvloop ends the process by SIGABRT when it closes such a socket.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(descriptor)


_STANDARD_ERROR: Final = 2


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if platform.python_implementation() != "CPython" or sys.platform != "linux":
        return None
    import uvloop  # noqa: PLC0415 - there is none on other platforms

    return uvloop.new_event_loop


# ---- background tasks ----


@asynccontextmanager
async def background_tasks(*coroutines: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run *coroutines* while the block lasts. An error of the block is raised as it is, not in a group."""
    own: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(coroutine) for coroutine in coroutines]
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again outside the group
            own = error
        finally:
            for task in running:
                task.cancel()
    if own is not None:
        raise own


# ---- stop request ----


_LOG: Final = logging.getLogger("gateway.app")
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def signal_handlers(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Call the handler of each signal that comes while the block lasts."""
    loop = asyncio.get_running_loop()
    for number, act in handlers.items():
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


async def wait_for(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Return when *event* is set, or when *seconds* have passed."""
    with suppress(TimeoutError):
        async with clock.timeout(seconds):
            await event.wait()


class StopRequest:
    """Whether the end was requested, and whether it is hurried."""

    def __init__(self) -> None:
        self.asked: Final = asyncio.Event()
        self.hurried: Final = asyncio.Event()
        self._is_signalled = False

    def ask(self) -> None:
        """Request the end, as a signal does; a second request hurries it."""
        if self._is_signalled:
            self.hurried.set()
        self._is_signalled = True
        self.asked.set()

    def ask_without_hurry(self) -> None:
        """Request the end without hurry, any number of times.

        It is not counted as a signal: after an operator's drain, the stop of the service or the deletion of
        the pod does not hurry it.
        """
        self.asked.set()

    async def wait(self, clock: Clock, seconds: float | None = None) -> None:
        """Return when the end is requested, or when *seconds* have passed."""
        if seconds is None:
            await self.asked.wait()
            return
        await wait_for(self.asked, seconds, clock)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self.hurried.is_set():
            event = "stop_hurried" if self._is_signalled else "stop_requested"
            _LOG.info(event, extra={"signal": number.name})
        self.ask()

    def on_signals(self) -> AbstractContextManager[None]:
        """Let SIGTERM and SIGINT request the end while the block lasts."""
        return signal_handlers({number: partial(self._on_signal, number) for number in SIGNALS})


# ---- systemd ----


WATCHDOG_BEATS: Final = 3
"""Signs of life within the watchdog's time: one may be late, and one may be lost."""
RELOAD_STEPS: Final = 2
"""Readings until a reload is done: the one under way at the request may have begun before it."""
_US: Final = 1_000_000


class SystemdNotifier:
    """Reports the state of the process to systemd.

    Invariant: a report never waits and never fails; a datagram that cannot be delivered is dropped.
    """

    def __init__(self, environ: Mapping[str, str], pid: int, clock: Clock) -> None:
        self._address: Final = _notify_address(environ.get("NOTIFY_SOCKET", ""))
        self._clock: Final = clock
        self._readings_due = 0
        self.watchdog_s: Final = _watchdog_s(environ, pid) if self._address is not None else None
        """Time without a report after which systemd kills the process; None: systemd does not watch it."""

    @property
    def is_there(self) -> bool:
        """Whether systemd expects reports."""
        return self._address is not None

    def ready(self) -> None:
        """Report that phones are served."""
        self._notify("READY=1", "STATUS=Serves phones.")

    def stopping(self) -> None:
        """Report that the end has begun."""
        self._notify("STOPPING=1", "STATUS=Sends its phones away.")

    async def run(self) -> None:
        """Send signs of life until cancelled, from the loop that serves phones: a stuck loop sends none."""
        while self.watchdog_s is not None:
            self._notify("WATCHDOG=1")
            await self._clock.sleep(self.watchdog_s / WATCHDOG_BEATS)

    def reload_began(self) -> None:
        """Report that a reload was requested."""
        self._readings_due = RELOAD_STEPS
        # systemd compares it with the instant at which it sent the signal: CLOCK_MONOTONIC, as now() is
        self._notify("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.now() * _US)}")

    def files_read(self) -> bool:
        """Report the end of a reload, if there is one; return whether it needs a further reading."""
        if not self._readings_due:
            return False
        self._readings_due -= 1
        if not self._readings_due:
            self.ready()
        return self._readings_due > 0

    def _notify(self, *lines: str) -> None:
        if self._address is None:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode("ascii"), self._address)


def _notify_address(text: str) -> bytes | None:
    """Return the socket's address: a path, or after ``@`` a name in the abstract namespace."""
    if text.startswith("@"):
        return b"\0" + os.fsencode(text[1:])
    return os.fsencode(text) if text.startswith("/") else None


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the watchdog's time, if it watches this process (sd_watchdog_enabled(3))."""
    given_us, whom = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
    if not given_us.isdecimal() or int(given_us) == 0 or whom != str(pid):
        return None
    return int(given_us) / _US


# ---- garbage collection ----


GC_THRESHOLDS: Final = (50_000, 5, 400)
"""New containers before a collection of the youngest generation, and collections before one of the older. A
phone is some fifty objects that live long: with Python's own numbers a storm of phones is scanned again
and again. The second number bounds the objects of one collection, and so its pause.
"""


GC_EVERY_S: Final = 2.0
"""Interval in which present objects are frozen, so that a collection scans only newer ones."""
GC_YOUNG_S: Final = (2.0, 64.0)
"""Interval of collections of new objects: the least while they find garbage, the most while they do not."""
GC_FULL_S: Final = (60.0, 960.0)
"""Interval of full collections, in the same way. With 1,000 users one takes 0.1 to 0.3 s."""
GC_FOUND: Final = 1_000
"""A collection that finds fewer dead objects has found nothing: objects are normally freed without it."""
GC_SHARE: Final = 0.003
"""Share of the time that collections may take: with more phones they become rarer."""
GC_IDLE_S: Final = 0.001
"""A turn of the loop that takes no longer finds the loop idle."""
GC_IDLE_CHECKS: Final = 100
GC_IDLE_CHECK_S: Final = 0.1
"""Number and interval of the tests for an idle moment; then the collection runs in any case."""


_C_LIBRARY: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


class _CollectionTimes:
    """The time of the next collection of one kind."""

    def __init__(self, apart_s: tuple[float, float], now: float) -> None:
        self._least_s, self._most_s = apart_s
        self._wait_s = self._least_s
        self.due_at = now + self._wait_s

    def collected(self, began: float, now: float, found: int) -> None:
        """Record a collection from *began* to *now* that *found* dead objects.

        Without any, the next one is later.
        """
        self._wait_s = self._least_s if found >= GC_FOUND else min(2 * self._wait_s, self._most_s)
        self.due_at = now + max(self._wait_s, (now - began) / GC_SHARE)


async def collect_when_idle(clock: Clock) -> None:
    """Collect garbage of any age when the loop is idle; never ends.

    Objects are normally freed by reference counting alone. Errors and libraries may leave cycles, and
    Python's own collector collects old ones only after very many new objects. The whole process waits during
    a collection, some 0.3 s for each million of objects. So most collections scan new objects only, few scan
    all, and both become rare while they find nothing.
    """
    young, full = _CollectionTimes(GC_YOUNG_S, clock.now()), _CollectionTimes(GC_FULL_S, clock.now())
    try:
        while True:
            await clock.sleep(GC_EVERY_S)
            now = clock.now()
            times = full if now >= full.due_at else young if now >= young.due_at else None
            if times is not None:
                await _idle_moment(clock)
                began = clock.now()
                if times is full:
                    gc.unfreeze()
                found = gc.collect()
                return_free_memory()
                times.collected(began, clock.now(), found)
            gc.freeze()
    finally:
        gc.unfreeze()


def return_free_memory() -> None:
    """Return free pages between used ones to the system, where the C library can.

    Links that open at once need much memory for a moment, and it is freed in pieces.
    """
    if _C_LIBRARY is not None and hasattr(_C_LIBRARY, "malloc_trim"):
        _C_LIBRARY.malloc_trim(0)


async def _idle_moment(clock: Clock) -> None:
    """Return when a turn of the loop took no time, or after a bounded time."""
    for _ in range(GC_IDLE_CHECKS):
        began = clock.now()
        await clock.sleep(0)
        if clock.now() - began <= GC_IDLE_S:
            return
        await clock.sleep(GC_IDLE_CHECK_S)


@contextmanager
def tuned_gc(clock: Clock, paused: Callable[[float], None]) -> Iterator[None]:
    """Collect garbage rarely while the block lasts, and never scan objects from before it.

    *paused* is called with the seconds of each collection.
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
    """Forbid core dumps of this process; return whether the kernel supports it completely."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, _NOT_DUMPABLE, 0, 0, 0) == 0)


# ---- listeners ----


BACKLOG: Final = 4_096
"""Handshakes that the kernel queues while the loop is busy: after another node's end many come at once."""
DEFAULT_CONNECTIONS: Final = 256
"""Limit of connections for a listener whose application has none."""
ACCEPTS_AT_ONCE: Final = 64
"""Accepted connections after which the other tasks have a turn."""
REST_S: Final = 1.0
"""Pause in accepting when the system has no descriptor or memory left."""
RESERVE_REST_S: Final = 0.05
"""The same when only the reserve of descriptors is left: new connections wait in the kernel."""
TLS_HANDSHAKE_S: Final = 10.0
"""Time limit of a TLS handshake."""
TLS_SHUTDOWN_S: Final = 3_600.0
"""Time limit for the end of TLS, with all waiting data: the library's 30 s would cut off a long answer. The
runner closes a connection whose client accepts nothing during this time.
"""


class CannotListen(CommandFailed):
    """An address cannot be used."""


class BoundListener:
    """An application at an address. Made by :func:`listening`."""

    def __init__(self, acceptor: _Acceptor, *, tls: bool) -> None:
        self._acceptor = acceptor
        host, port = acceptor.address
        self.port: Final = port
        self.url: Final = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def refuse(self) -> None:
        """Refuse new connections; present ones stay."""
        self._acceptor.close()


class _Arrival:
    """An accepted connection until its protocol has it: the runner can close it."""

    def __init__(self, raw: socket.socket, address: object) -> None:
        self.raw: Final = raw
        self.task: asyncio.Task[None] | None = None
        self.is_aborted = False
        self._address = address

    def get_extra_info(self, name: str) -> object:
        """Return the address of the peer for a ``peername``, as :class:`asyncio.BaseTransport` does."""
        return self._address if name == "peername" else None

    def abort(self) -> None:
        """End the connection now."""
        self.is_aborted = True
        if self.task is None:
            self.raw.close()
        else:
            self.task.cancel()


class _Acceptor:
    """Accepts connections, counts each from its first moment, and does its TLS handshake.

    Args:
        pending: Bounds how many connections wait.
        keeps_reserve: Whether it leaves the last descriptors of the process to others.
    """

    def __init__(
        self,
        server: web.Server,
        pending: PendingConnections,
        tls: ssl.SSLContext | None,
        *,
        keeps_reserve: bool,
    ) -> None:
        self._server = server
        self._pending = pending
        self._tls = tls
        self._keeps_reserve = keeps_reserve
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._rests: dict[socket.socket, asyncio.TimerHandle] = {}
        self._is_short = False
        self._tasks: asyncio.TaskGroup | None = None
        """Tasks of connections without a protocol; at most as many as connections may wait."""

    @property
    def address(self) -> tuple[str, int]:
        """The first address at which it listens."""
        host, port = self._listening[0].getsockname()[:2]
        return str(host), int(port)

    async def open(self, host: str, port: int) -> None:
        """Listen from now on at each address of *host*; :meth:`run` accepts.

        Raises:
            OSError: An address cannot be used.
        """
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, address in dict.fromkeys((each[0], each[4]) for each in found):
                raw = socket.create_server(address, family=family, backlog=BACKLOG)
                self._listening.append(raw)
                raw.setblocking(False)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Accept no further connections."""
        for rest in self._rests.values():
            rest.cancel()
        self._rests.clear()
        for raw in self._listening:
            self._loop.remove_reader(raw)
            raw.close()
        self._listening.clear()

    async def run(self) -> None:
        """Accept connections and do their handshakes until cancelled, which ends open handshakes."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for raw in self._listening:
                    self._loop.add_reader(raw, self._accept, raw)
                await asyncio.Event().wait()
        finally:
            self._tasks = None

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                raw, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._is_short = False
                return
            except OSError as fault:
                log_fault(_LOG, "accept_failed", fault)
                self._rest(listening, REST_S)
                return
            if self._keeps_reserve and is_reserved(raw.fileno()):
                raw.close()
                self._pending.close_oldest()
                if not self._is_short:
                    _LOG.warning("file_limit_reached", extra={"files": file_limit()})
                self._is_short = True
                self._rest(listening, RESERVE_REST_S)
                return
            self._take_in(raw, address)

    def _rest(self, listening: socket.socket, rest_s: float) -> None:
        self._loop.remove_reader(listening)
        self._rests[listening] = self._loop.call_later(rest_s, self._go_on, listening)

    def _go_on(self, listening: socket.socket) -> None:
        del self._rests[listening]
        self._loop.add_reader(listening, self._accept, listening)

    def _take_in(self, raw: socket.socket, address: object) -> None:
        raw.setblocking(False)
        handler, arrival = self._server(), _Arrival(raw, address)
        self._pending.opened(handler, arrival)
        if not arrival.is_aborted and not spawn(self._tasks, self._begin(handler, arrival)):
            self._pending.closed(handler)
            raw.close()

    async def _begin(self, handler: web.RequestHandler, arrival: _Arrival) -> None:
        """Have *handler* serve the connection after its handshake."""
        arrival.task, has_begun = asyncio.current_task(), False
        try:
            if not arrival.is_aborted and await self._may_shake_hands(handler):
                await self._shake_hands(handler, arrival.raw)
                has_begun = True
        except OSError:
            pass  # a failed handshake is the client's fault
        except Exception as fault:  # noqa: BLE001 - one connection's fault ends one connection
            log_fault(_LOG, "connection_failed", fault)
        finally:
            if not has_begun:
                self._pending.closed(handler)
                arrival.raw.close()

    async def _may_shake_hands(self, handler: web.RequestHandler) -> bool:
        """Wait for the turn of a TLS handshake; False: its address does too many."""
        wait_s = 0.0 if self._tls is None else self._pending.handshake_wait_s(handler, self._loop.time())
        if wait_s > 0:
            await asyncio.sleep(min(wait_s, WAIT_MAX_S))
        return wait_s <= WAIT_MAX_S

    async def _shake_hands(self, handler: web.RequestHandler, raw: socket.socket) -> None:
        await self._loop.connect_accepted_socket(
            lambda: handler,
            raw,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else TLS_HANDSHAKE_S,
            ssl_shutdown_timeout=None if self._tls is None else TLS_SHUTDOWN_S,
        )


def os_error_text(error: OSError) -> str:
    """Return why an address cannot be used, without the library's own words."""
    number = error.errno or 0
    return os.strerror(number).lower() if number > 0 else "there is no such address"


@asynccontextmanager
async def listening(
    name: str,
    app: web.Application,
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    *,
    keeps_reserve: bool = False,
) -> AsyncIterator[BoundListener]:
    """Serve *app* at each address of *host* while the block lasts; *name* is the listener's for operators.

    *port* 0: any. *tls* None: clear text. *keeps_reserve*: the last descriptors of the process are left to
    other listeners.

    Raises:
        CannotListen: The address is taken or not of this machine, or the port is not allowed.
    """
    pending = app.get(PENDING_CONNECTIONS, PendingConnections(DEFAULT_CONNECTIONS, DEFAULT_CONNECTIONS))
    runner = ListenerRunner(app, pending)
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - setup() has made it
    acceptor = _Acceptor(runner.server, pending, tls, keeps_reserve=keeps_reserve)
    try:
        try:
            await acceptor.open(host, port)
        except OSError as error:
            raise CannotListen(
                f"The {name} listener cannot listen at {host} port {port}: {os_error_text(error)}."
            ) from error
        async with background_tasks(acceptor.run()):
            try:
                yield BoundListener(acceptor, tls=tls is not None)
            finally:
                acceptor.close()
    finally:
        await runner.cleanup()


# ---- side thread ----


LOOP_ANSWER_S: Final = 5.0
"""How long to wait for the loop that serves phones: half of Prometheus' timeout."""


def on_this_loop(act: Callable[[], T], clock: Clock) -> Callable[[], Coroutine[None, None, T]]:
    """Return a function that runs *act* in the present loop, from any other loop.

    It raises :class:`TimeoutError` when this loop has no time for it within :data:`LOOP_ANSWER_S`.
    """
    loop = asyncio.get_running_loop()

    async def do() -> T:
        return act()

    async def ask() -> T:
        async with clock.timeout(LOOP_ANSWER_S):
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(do(), loop))

    return ask


@asynccontextmanager
async def listening_in_thread(
    name: str, app: web.Application, host: str, port: int
) -> AsyncIterator[BoundListener]:
    """Serve *app* in its own thread while the block lasts.

    Raises:
        CannotListen: See :func:`listening`.
    """
    opened: Future[tuple[BoundListener, Callable[[], object]]] = Future()
    ended: Future[None] = Future()

    async def serve() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        async with listening(name, app, host, port) as listener:
            opened.set_result((listener, lambda: loop.call_soon_threadsafe(over.set)))
            await over.wait()

    def live() -> None:
        try:
            asyncio.run(serve())
        except Exception as error:  # noqa: BLE001 - reported to the waiter in the other thread
            (ended if opened.done() else opened).set_exception(error)
        else:
            ended.set_result(None)

    threading.Thread(target=live, name=name, daemon=True).start()
    listener, close = await asyncio.wrap_future(opened)
    try:
        yield listener
    finally:
        close()
        await asyncio.wrap_future(ended)
