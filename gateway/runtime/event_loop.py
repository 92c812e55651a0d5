"""The event loop of a node: background tasks, transports in clear text, and the turns of links.

Tasks: their faults are logged, and nothing is kept in memory after their end.

Transports: an event loop's transport takes some 1.3 KB. Here all connections wait behind one descriptor, and
each is a small object that keeps the contract of :class:`asyncio.Transport`.

Turns: data of links is received first and processed later. Receiving only stores the newest unread reading of
each key, which costs little. Processing readings costs much, and has its own budget. So a flood on links does
not delay phones, timers and leases. Readings that cannot be processed in time are replaced by newer ones. A
user's data is not processed before the only phone may be sent changes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import resource
import select
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath
from traceback import clear_frames
from types import TracebackType
from typing import Any, Final, ParamSpec, Protocol, TypeVar
from weakref import WeakMethod

import gateway
from gateway.runtime.ports import Clock, Tasks

P = ParamSpec("P")
T = TypeVar("T")


def spawn(tasks: Tasks | None, work: Coroutine[None, None, None]) -> bool:
    """Run *work* in *tasks*.

    Returns:
        False, and nothing runs, when there is no group or it is shutting down.
    """
    if tasks is not None:
        try:
            tasks.create_task(work)
        except RuntimeError:  # its life is ending
            pass
        else:
            return True
    work.close()
    return False


class TaskGroup(asyncio.TaskGroup):
    """A task group that is freed when it is over, also when it was cancelled or has failed.

    A frame of :class:`asyncio.TaskGroup` holds the error that it raised, and the traceback of this error
    holds the frame. This cycle would keep the group, its task, and all that the frames of the task hold.
    """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the tasks."""
        try:
            await super().__aexit__(kind, error, trace)
        except BaseException as raised:
            forget_frames(raised)
            raise
        finally:
            vars(self).pop("_parent_task", None)  # it holds its last error, whose traceback holds this group
            del error, trace


def resolve(waiting: asyncio.Future[T], result: T) -> None:
    """Set the result of a future; do nothing if it has one, or if nobody waits for it now."""
    if not waiting.done():
        waiting.set_result(result)


class LeanEvent:
    """An :class:`asyncio.Event` without the queue of waiters, of 600 bytes, while no task waits."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake all waiting tasks."""
        self._is_set = True
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            resolve(waiter, None)

    def clear(self) -> None:
        """Reset it: each wait from now on lasts until it is set again."""
        self._is_set = False

    def wait(self) -> asyncio.Future[None]:
        """Return what is done once it is set, for one task: a coroutine would take twice the memory."""
        waiter = asyncio.get_running_loop().create_future()
        if self._is_set:
            waiter.set_result(None)
            return waiter
        waiters = self._waiters = self._waiters or []
        if len(waiters).bit_count() == 1:  # seldom, so at most half of them are of tasks that wait no more
            waiters[:] = [each for each in waiters if not each.done()]
        waiters.append(waiter)
        return waiter


def raise_if_cancelled() -> None:
    """Continue a cancellation that a task group has swallowed; call it after ``except*``.

    Before Python 3.13 an :class:`asyncio.TaskGroup` whose body failed raises only that failure, also when the
    task was cancelled while it waited for its children.

    Raises:
        asyncio.CancelledError: The task is to end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def weakly(method: Callable[P, None]) -> Callable[P, None]:
    """Return a caller of the bound *method* that does not keep its object in memory."""
    held = WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        found = held()
        if found is not None:
            found(*args, **kwargs)

    return call


def forget_frames(error: BaseException) -> None:
    """Clear the frames in the traceback of *error*, which was handled, and of all errors in its group.

    They would keep what they hold until garbage is collected, see :class:`TaskGroup`.
    """
    clear_frames(error.__traceback__)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            forget_frames(each)


FRAMES_MAX: Final = 24
"""Innermost frames that are logged; a longer list is a recursion."""
_PACKAGE: Final = Path(gateway.__file__).parent
_OTHERS_PARTS: Final = 3
"""Parts of the path of a file outside the package that are logged."""


def first_of(fault: BaseException) -> BaseException:
    """Return the fault itself, or the first one of a group."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def frames(fault: BaseException) -> str | None:
    """Return where *fault* was raised: ``file:line:function``, the innermost first, joined by `` < ``.

    All frames inside the package are listed, and the innermost one wherever it is. None: it was not raised.
    """
    found = list(traceback.walk_tb(fault.__traceback__))
    shown = []
    for place, (frame, line) in enumerate(reversed(found)):
        code = frame.f_code
        path = PurePath(code.co_filename)
        if path.is_relative_to(_PACKAGE):
            shown.append(f"{path.relative_to(_PACKAGE.parent)}:{line}:{code.co_name}")
        elif place == 0:
            shown.append(f"{'/'.join(path.parts[-_OTHERS_PARTS:]).lstrip('/')}:{line}:{code.co_name}")
    return " < ".join(shown[:FRAMES_MAX]) or None


def log_fault(log: logging.Logger, event: str, fault: BaseException) -> None:
    """Log *event* as an error, with the type of *fault* (of a group: of the first one) and its frames."""
    fault = first_of(fault)
    log.error(event, extra={"error": type(fault).__name__, "place": frames(fault)})


EVENTS_AT_ONCE: Final = 32
"""Connections that are served before other tasks have a turn, however many phones send at once."""
EVENTS_SLICE_S: Final = 0.005
"""Time after which other tasks have a turn, too: a frame of 16 KB may take 10 ms to read."""
READ_BYTES: Final = 64 * 1024
RESERVED_FILES: Final = 64
"""Descriptors, at most a quarter of all, that no client takes: operators' listeners and the bus find one."""
_HAS_EPOLL: Final = hasattr(select, "epoll")
_IN: Final = 0x01
_OUT: Final = 0x04
"""EPOLLIN and EPOLLOUT, which not every system has as names."""
_NOBODY: Final = asyncio.Protocol()
"""Called when a released transport has ended."""
_LOG: Final = logging.getLogger(__name__)

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Continues while the machine is suspended, where the system has such a clock: then leases have expired."""


class SystemClock:
    """The Clock port on the machine's own clocks.

    Most methods are the library's own functions, because they are called with each update.
    """

    __slots__ = ()

    now = staticmethod(partial(time.clock_gettime, _STEADY))
    """Return monotonic seconds. Never goes back."""
    sleep = staticmethod(partial(asyncio.sleep))
    """Return after so many seconds of :meth:`now` have passed."""
    timeout = staticmethod(partial(asyncio.timeout))
    """Bound the block: :class:`TimeoutError` when so many seconds passed inside it."""

    def call_later(self, seconds: float, act: Callable[[], None]) -> Callable[[], None]:
        """Call *act* after so many seconds, unless the returned function is called."""
        return asyncio.get_running_loop().call_later(seconds, act).cancel

    def wall_ms(self) -> int:
        """Return ms since 1970 UTC. May jump."""
        return time.time_ns() // 1_000_000  # noqa: TID251 - this is the clock adapter


def is_reserved(fd: int) -> bool:
    """Return whether so many descriptors are open that a client's connection must not keep *fd*.

    The kernel returns the lowest free descriptor, so a high one shows that all below it are taken.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most != resource.RLIM_INFINITY and fd >= most - min(RESERVED_FILES, most // 4)


class EpollTransports:
    """The connections in clear text of one event loop.

    Invariant: the event loop watches a descriptor for them only while there are connections.

    All connections wait in one epoll. It is the only entry of a second epoll, which the loop watches: so one
    cheap request stops or continues the calls of the loop. To add an epoll to another takes 0.1 ms with 1,000
    connections, since the kernel looks at each.

    Args:
        ready: Called when connections are ready, to call :meth:`serve`; None: they are served at once.
        now: Monotonic seconds, to bound the work of one turn; without it only the number bounds it.
    """

    def __init__(
        self, ready: Callable[[], None] | None = None, now: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._now = now
        self.full_reads = 0
        """Number of reads that filled the buffer: more data probably waits."""
        self.served = 0
        """Number of times that a connection was served."""
        self._ready = ready
        self.is_watched = False
        """Whether the loop calls when some connections are ready."""
        self._transports: list[EpollTransport | None] = []
        """By descriptor: the kernel returns the lowest free one."""
        self._open = 0
        self.view: Final = memoryview(bytearray(READ_BYTES if _HAS_EPOLL else 0))
        """The buffer of each read."""
        self.buffers: Final = (self.view,)
        self._loop: asyncio.AbstractEventLoop
        self._epoll: select.epoll
        self._gate: select.epoll

    def __len__(self) -> int:
        return self._open

    def take(self, transport: asyncio.Transport) -> asyncio.Transport:
        """Return the transport that carries the connection from now on.

        It is *transport* itself if that has TLS or unsent data, or if the system has no epoll or no free
        descriptor.
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
            own = self._add(fd)
        except OSError:
            os.close(fd)
            return transport
        transport.set_protocol(_NOBODY)
        transport.abort()  # it closes its own descriptor; nothing is shut down
        return own

    def _add(self, fd: int) -> EpollTransport:
        if not self._open:
            self._begin()
        self._open += 1
        self._transports += [None] * (fd + 1 - len(self._transports))
        transport = self._transports[fd] = EpollTransport(self, fd)
        return transport

    def _begin(self) -> None:
        """Wait for the first connection."""
        self._loop = asyncio.get_running_loop()
        self._epoll, self._gate = select.epoll(), select.epoll()
        self._gate.register(self._epoll.fileno(), _IN)
        self._loop.add_reader(self._gate.fileno(), self._ready or self.serve)
        self.is_watched = True

    def _end(self) -> None:
        """Release the loop after the last connection."""
        self._loop.remove_reader(self._gate.fileno())
        self._gate.close()
        self._epoll.close()
        self.is_watched = False

    def watch_all(self) -> None:
        """Let the loop call when some connections are ready."""
        if self._open and not self.is_watched:
            self.is_watched = True
            self._gate.modify(self._epoll.fileno(), _IN)

    def rest(self) -> None:
        """Stop the calls of the loop until :meth:`watch_all`."""
        if self.is_watched:
            self.is_watched = False
            self._gate.modify(self._epoll.fileno(), 0)

    def serve(self) -> int:
        """Serve some of the ready connections; the kernel returns the others next time.

        Returns their number: :data:`EVENTS_AT_ONCE` when there may be more.
        """
        if not self._open:
            return 0
        found, until = self._epoll.poll(0, EVENTS_AT_ONCE), self._now() + EVENTS_SLICE_S
        for fd, events in found:
            transport = self._transports[fd]
            if transport is not None:
                try:
                    self.served += 1
                    transport.handle_events(events)
                except Exception as fault:  # noqa: BLE001 - one connection's fault ends one connection
                    log_fault(_LOG, "connection_failed", fault)
                    transport.abort()
                if self._now() > until:
                    return EVENTS_AT_ONCE
        return len(found)

    # ---- for transports ----

    def watch(self, fd: int, before: int, events: int) -> None:
        """Wait for other *events* of *fd* than *before*; 0 is for none, not even for its end."""
        if not before:
            self._epoll.register(fd, events)
        elif events:
            self._epoll.modify(fd, events)
        else:
            self._epoll.unregister(fd)

    def close_soon(self, transport: EpollTransport) -> None:
        """Finish the close of *transport* in a turn of its own."""
        self._loop.call_soon(transport.finish_close)

    def release(self, fd: int) -> None:
        """Release a connection, and with the last one the loop."""
        os.close(fd)
        self._transports[fd] = None
        self._open -= 1
        if not self._open:
            self._end()


class EpollTransport(asyncio.Transport):
    """One connection, for its protocol; it is full as soon as the kernel does not accept everything."""

    __slots__ = ("_events", "_fd", "_is_closing", "_is_ending", "_protocol", "_transports", "_unsent")

    def __init__(self, transports: EpollTransports, fd: int) -> None:
        self._transports = transports
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
        """Report events to *protocol* from now on."""
        assert isinstance(protocol, asyncio.Protocol)  # noqa: S101 - there is no other kind here
        self._protocol = protocol

    def get_protocol(self) -> asyncio.Protocol:
        """Return the protocol that gets the events."""
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: it is full when data waits, and not otherwise."""

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the kernel has not accepted."""
        return len(self._unsent or b"")

    def pause_reading(self) -> None:
        """Read nothing until :meth:`resume_reading`."""
        self._watch(self._events & ~_IN)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._is_closing:
            self._watch(self._events | _IN)

    def is_closing(self) -> bool:
        """Return whether it is closed, or will be once all data is sent."""
        return self._is_closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data* after all waiting data; when data waits then, the protocol pauses."""
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
        """End the sending direction once all data is sent."""
        self._is_ending = True
        if self._unsent is None and not self._is_closing:
            self._end_sending()

    def close(self) -> None:
        """End the connection once all data is sent."""
        if not self._is_closing:
            self._is_closing = True
            self._watch(self._events & ~_IN)
            if self._unsent is None:
                self._transports.close_soon(self)

    def abort(self) -> None:
        """End the connection now, with its waiting data."""
        is_leaving = self._is_closing and self._unsent is None
        self._is_closing, self._unsent = True, None
        self._watch(0)
        if not is_leaving:
            self._transports.close_soon(self)

    # ---- for its kind ----

    def handle_events(self, events: int) -> None:
        """Handle an event of the kernel; the next read or write finds an error."""
        if events & ~_OUT and self._events & _IN:
            transports = self._transports
            try:
                size = os.readv(self._fd, transports.buffers)
            except (BlockingIOError, InterruptedError):
                size = -1
            except OSError:
                self.abort()
                return
            if size > 0:
                transports.full_reads += size == READ_BYTES
                self._protocol.data_received(bytes(transports.view[:size]))
            elif not size:
                self._handle_eof()
        if events & ~_IN and self._unsent is not None:
            self._write_unsent(self._unsent)

    def finish_close(self) -> None:
        """Close the descriptor, and report it."""
        fd, self._fd = self._fd, -1
        self._transports.release(fd)
        protocol, self._protocol = self._protocol, _NOBODY
        protocol.connection_lost(None)

    # ---- inner ----

    def _handle_eof(self) -> None:
        if not self._protocol.eof_received():
            self.close()
        else:
            self._watch(self._events & ~_IN)

    def _write_unsent(self, unsent: bytearray) -> None:
        sent_bytes = self._sent(unsent)
        if sent_bytes is None:
            return
        del unsent[:sent_bytes]
        if unsent:
            return
        self._unsent = None
        self._watch(self._events & ~_OUT)
        if self._is_closing:
            self._transports.close_soon(self)
            return
        if self._is_ending:
            self._end_sending()
        self._protocol.resume_writing()

    def _sent(self, data: bytes | bytearray | memoryview) -> int | None:
        """Return how much of *data* the kernel has accepted; None: the connection is broken, and ends."""
        try:
            return os.write(self._fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.abort()
            return None

    def _end_sending(self) -> None:
        raw = socket.socket(fileno=self._fd)
        try:
            with suppress(OSError):  # the peer has left
                raw.shutdown(socket.SHUT_WR)
        finally:
            raw.detach()

    def _watch(self, events: int) -> None:
        if events != self._events:
            self._transports.watch(self._fd, self._events, events)
            self._events = events


READ_BUDGET_S: Final = 0.004
"""Time for reading links in one turn."""
PROCESS_BUDGET_S: Final = 0.006
"""Time for processing their data in one turn."""
REST_S: Final = 0.002
"""Pause after a turn that left no work: waking up for each message costs more than reading it."""
BUSY_RESTS: Final = 2
"""Pauses after a turn of :data:`BUSY_LINKS` links that left no work: more updates share the next turn."""
BUSY_LINKS: Final = range(4, EVENTS_AT_ONCE)
"""With fewer links a longer pause saves little; with more links many updates share each turn in any case."""
HELD_MAX_S: Final = 0.1
"""How long data waits at most because the only phone may not be sent anything yet."""
BEHIND_S: Final = 1.0
"""The node is overloaded when no turn has finished all work for so long."""


class ScheduledLink(Protocol):
    """A link with received data that is not processed."""

    is_due: bool
    """Whether :meth:`LinkScheduler.schedule` was called since the last :meth:`process_received`."""
    held_at: float | None
    """When data came that waits by :meth:`LinkScheduler.schedule_at`, or for its reader; None: none does."""

    def process_received(self) -> None:
        """Process all received data. Never blocks; may ask for another turn."""

    def abort(self) -> None:
        """End the link at once."""


class Phones(Protocol):
    """The phones, which are written to after links were processed."""

    is_held: bool
    """Whether to wake nothing, since :meth:`release` follows in this turn of the loop if data comes."""

    def release(self) -> None:
        """Write the due frames of phones whose changes came while they were held."""


class Rounds:
    """Upper bound of the time that an item of a queue has waited, from the number of served items.

    Args:
        now: Monotonic seconds, here and below.
    """

    def __init__(self, now: float) -> None:
        self.served_by = now
        """All that waited before this instant was served."""
        self._began_at = now
        self._left = 0

    def served(self, count: int, waiting: int, now: float) -> None:
        """Record that *count* were served, and *waiting* still wait at most; 0: certainly none."""
        self._left -= count
        if not waiting or self._left <= 0:
            self.served_by = self._began_at if waiting else now
            self._began_at, self._left = now, waiting


class LinkScheduler:
    """Receives data of all links of a node, and lets them process it, within budgets.

    Invariants: a turn lasts as long as its budgets plus one step. Links take turns at both, first in first
    out. A link that requests processing gets it in this turn, or in one of the next before all later
    requests.

    Args:
        rest_s: Pause after a turn that left no work. 0: links are served when they are ready.
    """

    def __init__(self, clock: Clock, *, rest_s: float = 0.0) -> None:
        self.transports: Final = EpollTransports(self._wake, clock.now)
        """Transports of links in clear text."""
        self.phones: Phones | None = None
        """The phones, which are written to at the end of each turn instead of in a turn of their own."""
        self.skipped = 0
        """Number of readings that were replaced by newer ones before they were processed."""
        self._rest_s = rest_s
        self.due: Final[deque[ScheduledLink]] = deque()
        self.is_planned = False
        """Whether a turn is under way or planned."""
        self.began_at = -math.inf
        """When the last turn began."""
        self._held: dict[int, dict[ScheduledLink, None]] = {}
        """Tick → links that process their data then."""
        self.now: Final = clock.now
        self._processed_last_turn = 0
        """Number of links that processed data in the last turn."""
        self._unprocessed = 0
        """Number of links that wait since links were last read."""
        self._behind_since: float | None = None
        self._kept_up_at = clock.now()
        """When the last turn began that finished all work. Rounds are counted from then on, while work is
        left.
        """
        self._read = self._processed = Rounds(self._kept_up_at)

    def schedule(self, link: ScheduledLink) -> None:
        """Let *link* process its data soon. Many calls before it count as one."""
        if link.is_due:
            return
        link.is_due = True
        self.due.append(link)
        if not self.is_planned:
            self.plan_turn()

    def schedule_at(self, link: ScheduledLink, until: float) -> None:
        """Let *link* process its data at *until*, with all that comes before; earlier, if it wants."""
        now = self.now()
        if until <= now:
            self.schedule(link)
            return
        link.held_at = now
        tick = math.ceil(min(until, now + HELD_MAX_S) / REST_S + 0.5)  # loops wake up to 1 ms early
        if tick not in self._held:
            self._held[tick] = {}
            asyncio.get_running_loop().call_later(tick * REST_S - now, self._end_delays, tick)
        self._held[tick][link] = None

    def _end_delays(self, tick: int) -> None:
        """Let the links that were held until *tick* process their data."""
        for link in self._held.pop(tick):
            if link.held_at is not None:
                self.schedule(link)

    @property
    def behind_s(self) -> float:
        """How long no turn has finished all work; 0 when the last one did."""
        return 0.0 if self._behind_since is None else self.now() - self._behind_since

    @property
    def is_overloaded(self) -> bool:
        """Whether the node has not kept up for :data:`BEHIND_S`."""
        return self.behind_s >= BEHIND_S

    @property
    def unread_s(self) -> float:
        """How long messages may have waited here, at most; 0 when the last turn left no work."""
        if self._behind_since is None:
            return 0.0
        return self.now() - self._processed.served_by

    def _wake(self) -> None:
        """Take a turn now: some link is ready, and no turn is planned."""
        if not self.is_planned:
            self._turn()

    def _turn(self) -> None:
        transports, phones = self.transports, self.phones
        began = self.began_at = self.now()
        full_reads, served = transports.full_reads, transports.served
        self.is_planned = True
        if transports.is_watched:
            transports.rest()
        ready = wanted = 1
        if phones is not None:
            phones.is_held = True
        try:
            is_all_read = False
            if self._unprocessed <= self._processed_last_turn:  # otherwise they fill this turn
                ready = transports.serve()
                is_all_read = ready < EVENTS_AT_ONCE or self._read_more(began)
                self._unprocessed = len(self.due)
            wanted = len(self.due)
            processed = self._processed_last_turn = self._process_due(wanted)
            self._unprocessed -= processed
        finally:
            if phones is not None:
                phones.is_held = False
                if ready or wanted:
                    phones.release()
        if is_all_read and not self.due:
            self._behind_since, self._kept_up_at = None, began
        else:
            self._record_backlog(
                began, transports.served - served, 0 if is_all_read else len(transports), processed
            )
        if self._behind_since is not None or transports.full_reads != full_reads:
            self.plan_turn()
        else:
            self._rest(wanted, is_idle=not (ready or wanted))

    def _read_more(self, began: float) -> bool:
        """Read further links that are ready; return whether there are no more."""
        while self.now() - began <= READ_BUDGET_S:
            if self.transports.serve() < EVENTS_AT_ONCE:
                return True
        return False

    def _process_due(self, most: int) -> int:
        """Let *most* links process, if time allows; return how many. One that asks again has a later turn."""
        clock_now = self.now
        began = clock_now()
        for count in range(1, most + 1):
            link = self.due.popleft()
            link.is_due = False
            try:
                link.process_received()
            except Exception as fault:  # noqa: BLE001 - one link's fault ends one link
                log_fault(_LOG, "digest_failed", fault)
                link.abort()
            if clock_now() - began > PROCESS_BUDGET_S:
                return count
        return most

    def _record_backlog(self, began: float, read: int, unread: int, processed: int) -> None:
        """Record how many links a turn that left work has read, may have left unread, and let process."""
        if self._behind_since is None:
            self._behind_since = self.now()
            self._read, self._processed = Rounds(self._kept_up_at), Rounds(self._kept_up_at)
        self._read.served(read, unread, began)
        # a link that is processed was read earlier, and what it received had waited since the reading before
        self._processed.served(processed, len(self.due), self._read.served_by)

    def _rest(self, links: int, *, is_idle: bool) -> None:
        if self._rest_s and not is_idle:
            rest_s = self._rest_s * (BUSY_RESTS if links in BUSY_LINKS else 1)
            asyncio.get_running_loop().call_later(rest_s, self._turn)
        else:
            self.is_planned = False
            self.transports.watch_all()

    def plan_turn(self) -> None:
        """Take a turn soon."""
        self.is_planned = True
        asyncio.get_running_loop().call_soon(self._turn)
