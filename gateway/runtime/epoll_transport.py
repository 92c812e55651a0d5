"""Transports in clear text that cost no more than their descriptor.

An event loop's transport takes some 1.3 KB. Here all connections wait behind one descriptor, and
each is an object of a few words that keeps the promises of :class:`asyncio.Transport`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from gateway.runtime.spawn import log_fault

EVENTS_AT_ONCE: Final = 32
"""After so many connections the other tasks have a turn, whatever thousands of phones send at once."""
SLICE_S: Final = 0.005
"""After so long, too: a frame of 16 KB may take 10 ms to read."""
READ_BYTES: Final = 64 * 1024
RESERVED_FILES: Final = 64
"""Descriptors that no connection of a client takes: whatever comes, the ops listener, the admin listener and
the bus find one. Where a process may open few files, a quarter of them."""
_HAS_EPOLL: Final = hasattr(select, "epoll")
_IN: Final = 0x01
_OUT: Final = 0x04
"""EPOLLIN and EPOLLOUT: the names are not there on every system."""
_NOBODY: Final = asyncio.Protocol()
"""Is called when a transport that was let go has ended."""

_LOG: Final = logging.getLogger(__name__)


def is_reserved(fd: int) -> bool:
    """Return whether so many descriptors are open that a client's connection must not keep *fd*.

    The kernel gives the lowest that is free: when a high one is given, all below it are taken.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most != resource.RLIM_INFINITY and fd >= most - min(RESERVED_FILES, most // 4)


class Wires:
    """The connections in clear text of one event loop.

    Invariant: the loop and the kernel hold something for it only while there are connections.

    Args:
        ready: Called when some connections are ready; it calls :meth:`serve` when it serves them. None:
            they are served at once.
        now: Monotonic seconds, to bound the work of one turn; without it the number alone does.
    """

    def __init__(
        self, ready: Callable[[], None] | None = None, now: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._now = now
        self.full_reads = 0
        """How many reads took all that one read may take: more is likely to wait."""
        self._ready = ready
        self._is_watched = False
        self._wires: list[Wire | None] = []
        """By descriptor: the kernel gives the lowest ones that are free."""
        self._open = 0
        self.view: Final = memoryview(bytearray(READ_BYTES if _HAS_EPOLL else 0))
        """Where each read goes first."""
        self.buffers: Final = (self.view,)
        self._loop: asyncio.AbstractEventLoop
        self._epoll: select.epoll

    def __len__(self) -> int:
        return self._open

    def take(self, transport: asyncio.Transport) -> asyncio.Transport:
        """Return what carries the connection of *transport* from now on, with the same promises.

        That is *transport* itself where it has to be: through TLS, while something waits to be
        sent, and where the system has no epoll or no descriptor to spare.
        """
        raw = transport.get_extra_info("socket")
        must_stay = transport.get_extra_info("sslcontext") is not None or transport.is_closing()
        if not _HAS_EPOLL or raw is None or must_stay or transport.get_write_buffer_size():
            return transport
        try:
            fd = os.dup(raw.fileno())
        except OSError:
            return transport
        if is_reserved(fd):
            os.close(fd)
            return transport
        try:
            wire = self._wire(fd)
        except OSError:
            os.close(fd)
            return transport
        transport.set_protocol(_NOBODY)
        transport.abort()  # closes its own descriptor; nothing is shut down
        return wire

    def _wire(self, fd: int) -> Wire:
        is_first = not self._open
        if is_first:
            self._loop = asyncio.get_running_loop()
            self._epoll = select.epoll()
            self._is_watched = False
        self._open += 1
        if is_first:
            self.watch_all()
        self._wires += [None] * (fd + 1 - len(self._wires))
        wire = self._wires[fd] = Wire(self, fd)
        return wire

    def watch_all(self) -> None:
        """Have the loop call when some connections are ready."""
        if self._open and not self._is_watched:
            self._is_watched = True
            self._loop.add_reader(self._epoll.fileno(), self._ready or self.serve)

    def rest(self) -> None:
        """Have the loop not call, until :meth:`watch_all`."""
        if self._open and self._is_watched:
            self._is_watched = False
            self._loop.remove_reader(self._epoll.fileno())

    def serve(self) -> int:
        """Serve some of those that are ready; the others are the next time, as the kernel takes turns.

        Returns how many there were: :data:`EVENTS_AT_ONCE` when there may be more.
        """
        if not self._open:
            return 0
        found, until = self._epoll.poll(0, EVENTS_AT_ONCE), self._now() + SLICE_S
        for fd, events in found:
            wire = self._wires[fd]
            if wire is not None:
                try:
                    wire.happened(events)
                except Exception as fault:  # noqa: BLE001 - one connection's fault ends one connection
                    log_fault(_LOG, "connection_failed", fault)
                    wire.abort()
                if self._now() > until:
                    return EVENTS_AT_ONCE
        return len(found)

    # ---- for wires ----

    def watch(self, fd: int, before: int, events: int) -> None:
        """Wait for other *events* of *fd* than *before*; 0 is for none, not even for its end."""
        if not before:
            self._epoll.register(fd, events)
        elif events:
            self._epoll.modify(fd, events)
        else:
            self._epoll.unregister(fd)

    def soon(self, wire: Wire) -> None:
        """Have *wire* leave in a turn of its own."""
        self._loop.call_soon(wire.leave)

    def forget(self, fd: int) -> None:
        """Let go of a connection, and with the last one of the loop."""
        os.close(fd)
        self._wires[fd] = None
        self._open -= 1
        if not self._open:
            if self._is_watched:
                self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()


class Wire(asyncio.Transport):
    """One connection, for its protocol; it is full as soon as the kernel does not take all.

    Args:
        wires: All of its kind.
        fd: The descriptor, which is its own.
    """

    __slots__ = ("_events", "_fd", "_is_closing", "_is_ending", "_protocol", "_unsent", "_wires")

    def __init__(self, wires: Wires, fd: int) -> None:
        self._wires = wires
        self._fd = fd
        self._events = 0
        self._is_closing = False
        self._is_ending = False
        self._protocol: asyncio.Protocol = _NOBODY
        self._unsent: bytearray | None = None

    # ---- asyncio.Transport ----

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio has it
        """Return itself for a ``socket``: it has the descriptor."""
        return self if name == "socket" else default

    def fileno(self) -> int:
        """Return the descriptor; -1 when it is closed."""
        return self._fd

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Report what happens to *protocol* from now on."""
        assert isinstance(protocol, asyncio.Protocol)  # noqa: S101 - there is no other kind here
        self._protocol = protocol

    def get_protocol(self) -> asyncio.Protocol:
        """Return the protocol that gets the events."""
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: it is full when anything waits, and not when nothing does."""

    def get_write_buffer_size(self) -> int:
        """Return what the kernel has not taken."""
        return len(self._unsent or b"")

    def pause_reading(self) -> None:
        """Read nothing until :meth:`resume_reading`."""
        self._watch(self._events & ~_IN)

    def resume_reading(self) -> None:
        """Read what comes."""
        if not self._is_closing:
            self._watch(self._events | _IN)

    def is_closing(self) -> bool:
        """Return whether it is closed, or will be once all has left."""
        return self._is_closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data* after all that waits; when something waits then, the protocol pauses."""
        if self._is_closing or not data:
            return
        if self._unsent is not None:
            self._unsent += data
            return
        sent_bytes = self._sent(data)
        if sent_bytes is not None and sent_bytes < len(data):
            self._unsent = bytearray(memoryview(data)[sent_bytes:])
            self._watch(self._events | _OUT)
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Report that it can."""
        return True

    def write_eof(self) -> None:
        """Let the peer see that nothing more comes, once all has left."""
        self._is_ending = True
        if self._unsent is None and not self._is_closing:
            self._shut()

    def close(self) -> None:
        """End the connection once all has left."""
        if not self._is_closing:
            self._is_closing = True
            self._watch(self._events & ~_IN)
            if self._unsent is None:
                self._wires.soon(self)

    def abort(self) -> None:
        """End the connection now, whatever waits."""
        is_leaving = self._is_closing and self._unsent is None
        self._is_closing, self._unsent = True, None
        self._watch(0)
        if not is_leaving:
            self._wires.soon(self)

    # ---- for its kind ----

    def happened(self, events: int) -> None:
        """Handle an event of the kernel; the next read or write meets an error."""
        if events & ~_OUT and self._events & _IN:
            wires = self._wires
            try:
                size = os.readv(self._fd, wires.buffers)
            except (BlockingIOError, InterruptedError):
                size = -1
            except OSError:
                self.abort()
                return
            if size > 0:
                wires.full_reads += size == READ_BYTES
                self._protocol.data_received(bytes(wires.view[:size]))
            elif not size:
                self._at_end()
        if events & ~_IN and self._unsent is not None:
            self._pour(self._unsent)

    def leave(self) -> None:
        """Close the descriptor, and report it."""
        fd, self._fd = self._fd, -1
        self._wires.forget(fd)
        protocol, self._protocol = self._protocol, _NOBODY
        protocol.connection_lost(None)

    # ---- inner ----

    def _at_end(self) -> None:
        if not self._protocol.eof_received():
            self.close()
        else:
            self._watch(self._events & ~_IN)

    def _pour(self, unsent: bytearray) -> None:
        sent_bytes = self._sent(unsent)
        if sent_bytes is None:
            return
        del unsent[:sent_bytes]
        if unsent:
            return
        self._unsent = None
        self._watch(self._events & ~_OUT)
        if self._is_closing:
            self._wires.soon(self)
            return
        if self._is_ending:
            self._shut()
        self._protocol.resume_writing()

    def _sent(self, data: bytes | bytearray | memoryview) -> int | None:
        """Return how much of *data* the kernel has taken; None: the connection is broken, and ends."""
        try:
            return os.write(self._fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.abort()
            return None

    def _shut(self) -> None:
        raw = socket.socket(fileno=self._fd)
        try:
            with suppress(OSError):  # the peer has left
                raw.shutdown(socket.SHUT_WR)
        finally:
            raw.detach()

    def _watch(self, events: int) -> None:
        if events != self._events:
            self._wires.watch(self._fd, self._events, events)
            self._events = events
