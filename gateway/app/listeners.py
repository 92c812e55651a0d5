"""Listeners: TCP with or without TLS, the admin Unix socket, and a listener in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import stat
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from aiohttp import web

from gateway.app.config.settings import AdminSection, socket_path
from gateway.app.process import background_tasks
from gateway.edge.limits import PENDING_CONNECTIONS, WAIT_MAX_S, PendingConnections
from gateway.edge.server import ListenerRunner
from gateway.runtime.event_loop import is_reserved, log_fault, spawn
from gateway.runtime.ports import Clock

BACKLOG: Final = 4_096
"""Handshakes that the kernel queues while the loop is busy: after another node's end many come at once."""
DEFAULT_CONNECTIONS: Final = 256
"""Limit of connections for a listener whose application has none."""
ACCEPTS_AT_ONCE: Final = 64
"""Accepted connections after which the other tasks have a turn."""
REST_S: Final = 1.0
"""Pause in accepting when the system has no descriptor or memory left."""
TLS_HANDSHAKE_S: Final = 10.0
"""Time limit of a TLS handshake."""
TLS_SHUTDOWN_S: Final = 3_600.0
"""Time limit for the end of TLS, with all waiting data: the library's 30 s would cut off a long answer. The
runner closes a connection whose client accepts nothing during this time.
"""

_LOG: Final = logging.getLogger(__name__)


class CannotListen(Exception):  # noqa: N818 - names what happened
    """An address cannot be used. The message is a sentence for operators."""


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
        """The task of its handshake."""
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
        server: Makes the protocol of each connection.
        callers: Bounds how many connections wait.
        tls: None for clear text.
        keeps_reserve: Whether it leaves the last descriptors of the process to others.
    """

    def __init__(
        self,
        server: web.Server,
        callers: PendingConnections,
        tls: ssl.SSLContext | None,
        *,
        keeps_reserve: bool,
    ) -> None:
        self._server = server
        self._callers = callers
        self._tls = tls
        self._keeps_reserve = keeps_reserve
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._rests: dict[socket.socket, asyncio.TimerHandle] = {}
        self._tasks: asyncio.TaskGroup | None = None
        """Tasks of connections without a protocol; at most as many as callers may wait."""

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
                return
            except OSError as fault:
                log_fault(_LOG, "accept_failed", fault)
                self._rest(listening)
                return
            if self._keeps_reserve and is_reserved(raw.fileno()):
                raw.close()
                self._callers.close_oldest()
            else:
                self._take_in(raw, address)

    def _rest(self, listening: socket.socket) -> None:
        self._loop.remove_reader(listening)
        self._rests[listening] = self._loop.call_later(REST_S, self._go_on, listening)

    def _go_on(self, listening: socket.socket) -> None:
        del self._rests[listening]
        self._loop.add_reader(listening, self._accept, listening)

    def _take_in(self, raw: socket.socket, address: object) -> None:
        raw.setblocking(False)
        handler, arrival = self._server(), _Arrival(raw, address)
        self._callers.opened(handler, arrival)
        if not arrival.is_aborted and not spawn(self._tasks, self._begin(handler, arrival)):
            self._callers.closed(handler)
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
                self._callers.closed(handler)
                arrival.raw.close()

    async def _may_shake_hands(self, handler: web.RequestHandler) -> bool:
        """Wait for the turn of a TLS handshake; False: its address does too many."""
        wait_s = 0.0 if self._tls is None else self._callers.handshake_wait_s(handler, self._loop.time())
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
    """Serve *app* while the block lasts.

    Args:
        name: The listener's name for operators.
        app: The application.
        host: The host; each address of its name is used.
        port: The port; 0 for any.
        tls: None for clear text.
        keeps_reserve: Whether the last descriptors of the process are left to other listeners.

    Raises:
        CannotListen: The address is taken or not of this machine, or the port is not allowed.
    """
    callers = app.get(PENDING_CONNECTIONS, PendingConnections(DEFAULT_CONNECTIONS, DEFAULT_CONNECTIONS))
    runner = ListenerRunner(app, callers)
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - setup() has made it
    acceptor = _Acceptor(runner.server, callers, tls, keeps_reserve=keeps_reserve)
    try:
        try:
            await acceptor.open(host, port)
        except OSError as error:
            raise CannotListen(
                f"The {name} listener cannot listen at {host} port {port}: {os_error_text(error)}."
            ) from None
        async with background_tasks(acceptor.run()):
            try:
                yield BoundListener(acceptor, tls=tls is not None)
            finally:
                acceptor.close()
    finally:
        await runner.cleanup()


# ---- admin listener ----


_OWNER_ONLY = 0o177


@asynccontextmanager
async def admin_listening(admin: AdminSection, app: web.Application) -> AsyncIterator[str]:
    """Serve *app* at the address of *admin* while the block lasts; yield the address.

    Raises:
        CannotListen: The address cannot be used.
    """
    path = socket_path(admin.host)
    if path is None:
        async with listening("admin", app, admin.host, admin.port) as listener:
            yield listener.url
        return
    runner = ListenerRunner(app, PendingConnections(DEFAULT_CONNECTIONS, DEFAULT_CONNECTIONS))
    await runner.setup()
    try:
        own = await _open_socket(runner, path)
        try:
            yield f"unix:{path}"
        finally:
            _remove_socket(path, own)
    finally:
        await runner.cleanup()


def _remove_socket(path: Path, inode: int | None = None) -> None:
    """Remove a socket that an earlier process left, or the one with *inode*; other files stay."""
    with suppress(FileNotFoundError):
        there = path.lstat()
        if stat.S_ISSOCK(there.st_mode) and inode in {None, there.st_ino}:
            path.unlink()


async def _open_socket(runner: web.AppRunner, path: Path) -> int:
    """Listen at a socket that only the process's user may open, from its first moment; return its inode.

    Raises:
        CannotListen: It cannot be used.
    """
    before = os.umask(_OWNER_ONLY)
    try:
        _remove_socket(path)
        await web.UnixSite(runner, path).start()
        return _inode(path)
    except OSError as error:
        raise CannotListen(f"The admin listener cannot listen at {path}: {os_error_text(error)}.") from None
    finally:
        os.umask(before)


def _inode(path: Path) -> int:
    return path.lstat().st_ino


# ---- side thread ----


LOOP_ANSWER_S: Final = 5.0
"""How long to wait for the loop that serves phones: half of Prometheus' timeout."""

T = TypeVar("T")


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
        CannotListen: See :func:`gateway.app.listeners.listening`.
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
