"""Listeners: how an application gets an address, and how it gives the address up.

The listening sockets are read here, since a connection has to be counted when it is accepted: asyncio and
aiohttp report one that speaks TLS only after its handshake.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from gateway.app.living import alive
from gateway.edge.callers import WAITING, Callers
from gateway.edge.runner import DoorRunner
from gateway.runtime.epoll_transport import is_reserved
from gateway.runtime.faults import log_fault
from gateway.runtime.spawn import spawn

BACKLOG: Final = 4_096
"""Handshakes that the kernel holds while the loop is busy: after another node's end many come at once."""
FEW: Final = 256
"""Connections of a listener whose application does not say how many it bears."""
ACCEPTS_AT_ONCE: Final = 64
"""After so many connections everybody else has a turn."""
REST_S: Final = 1.0
"""How long nothing is accepted when the system has no descriptor or memory left."""
HANDSHAKE_S: Final = 10.0
"""Within this time a handshake of TLS is done."""
GOODBYE_S: Final = 3_600.0
"""How long the end of TLS may take, with all that waits to be sent: the library's 30 s would cut a long
answer off. Who takes nothing meanwhile is let go by the runner."""

_LOG: Final = logging.getLogger(__name__)


class CannotListen(Exception):  # noqa: N818 - names what happened
    """An address is not to be had. The message is a sentence for operators."""


class Listener:
    """An application at an address. Made by :func:`listening`."""

    def __init__(self, acceptor: _Acceptor, *, tls: bool) -> None:
        self._acceptor = acceptor
        host, port = acceptor.address
        self.port: Final = port
        self.url: Final = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def refuse(self) -> None:
        """Take no new connections; those that there are stay."""
        self._acceptor.close()


class _Arrival:
    """A connection that was accepted, until its protocol has it: as a caller that can be sent away."""

    def __init__(self, raw: socket.socket, address: object) -> None:
        self.raw: Final = raw
        self.task: asyncio.Task[None] | None = None
        """In which its handshake is done."""
        self.is_aborted = False
        self._address = address

    def get_extra_info(self, name: str) -> object:
        """Return where it comes from for a ``peername``, as :class:`asyncio.BaseTransport` does."""
        return self._address if name == "peername" else None

    def abort(self) -> None:
        """End the connection now."""
        self.is_aborted = True
        if self.task is None:
            self.raw.close()
        else:
            self.task.cancel()


class _Acceptor:
    """Accepts connections, counts each from its first moment, and leads it through its handshake of TLS.

    Args:
        server: Makes the protocol of each connection.
        callers: Bounds how many connections wait.
        tls: None for clear text.
        keeps_reserve: Whether it leaves the last descriptors of the process to others.
    """

    def __init__(
        self, server: web.Server, callers: Callers, tls: ssl.SSLContext | None, *, keeps_reserve: bool
    ) -> None:
        self._server = server
        self._callers = callers
        self._tls = tls
        self._keeps_reserve = keeps_reserve
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._rests: dict[socket.socket, asyncio.TimerHandle] = {}
        self._tasks: asyncio.TaskGroup | None = None
        """Those of connections that have no protocol yet: at most as many as callers may wait."""

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, or does first."""
        host, port = self._listening[0].getsockname()[:2]
        return str(host), int(port)

    async def open(self, host: str, port: int) -> None:
        """Listen from now on, at each address that *host* has; :meth:`run` accepts.

        Raises:
            OSError: An address is not to be had.
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
        """Accept nothing more."""
        for rest in self._rests.values():
            rest.cancel()
        self._rests.clear()
        for raw in self._listening:
            self._loop.remove_reader(raw)
            raw.close()
        self._listening.clear()

    async def run(self) -> None:
        """Accept connections and lead them through their handshakes until cancelled; those are cut then."""
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
                self._callers.make_way()
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
        self._callers.came(handler, arrival)
        if not arrival.is_aborted and not spawn(self._tasks, self._begin(handler, arrival)):
            self._callers.left(handler)
            raw.close()

    async def _begin(self, handler: web.RequestHandler, arrival: _Arrival) -> None:
        """Have *handler* serve the connection, after its handshake."""
        arrival.task, has_begun = asyncio.current_task(), False
        try:
            if not arrival.is_aborted:
                await self._shake_hands(handler, arrival.raw)
                has_begun = True
        except OSError:
            pass  # that a handshake fails is the caller's affair
        except Exception as fault:  # noqa: BLE001 - one connection's fault ends one connection
            log_fault(_LOG, "connection_failed", fault)
        finally:
            if not has_begun:
                self._callers.left(handler)
                arrival.raw.close()

    async def _shake_hands(self, handler: web.RequestHandler, raw: socket.socket) -> None:
        await self._loop.connect_accepted_socket(
            lambda: handler,
            raw,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_S,
            ssl_shutdown_timeout=None if self._tls is None else GOODBYE_S,
        )


def why(error: OSError) -> str:
    """Return why an address is not to be had, without the library's own words."""
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
) -> AsyncIterator[Listener]:
    """Serve *app* while the block lasts.

    Args:
        name: The listener's, for operators.
        app: What is served.
        host: Where; each address that the name has.
        port: 0 for any.
        tls: None for clear text.
        keeps_reserve: Whether the last descriptors of the process are left to other listeners.

    Raises:
        CannotListen: The address is taken, or not of this machine, or the port is not for us.
    """
    callers = app.get(WAITING, Callers(FEW, FEW))
    runner = DoorRunner(app, callers)
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - setup() has made it
    acceptor = _Acceptor(runner.server, callers, tls, keeps_reserve=keeps_reserve)
    try:
        try:
            await acceptor.open(host, port)
        except OSError as error:
            raise CannotListen(f"The {name} listener cannot have {host} port {port}: {why(error)}.") from None
        async with alive(acceptor.run()):
            try:
                yield Listener(acceptor, tls=tls is not None)
            finally:
                acceptor.close()
    finally:
        await runner.cleanup()
