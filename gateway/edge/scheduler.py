"""Scheduler of socket turns: one task serves all sockets of a node; and the writer of fan-out groups.

It serves ready sockets one after the other, and sockets whose time has come. A connection has neither a task
nor a timer of its own.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import os
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, Generic, Protocol, TypeVar

from gateway.core.fanout_group import FanoutGroup, GroupMember, Sink
from gateway.core.rate_limits import TurnShare
from gateway.domain.model import NO_ITEMS
from gateway.edge.channel import packed
from gateway.runtime.event_loop import LeanEvent, log_fault
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry

TICK_S: Final = 0.005
"""Length of a tick of the timer wheel. Times are rounded up: no turn is early, and a pace is late by at most
one tick and one turn of the event loop."""
NEAR_S: Final = 1.0
"""A time further away is a deadline, a nearer one a pace. Each socket waits for at most one of each kind."""
FAR_TICKS: Final = 20
"""Deadlines are rounded up to a multiple of this number of ticks (0.1 s), so that many sockets share one."""
SLICE_S: Final = 0.002
"""Other tasks run after this much work: a message to 10,000 phones takes about 40 ms."""
RELEASE_S: Final = 0.006
"""Time for writing to phones in the turn of the loop in which links were processed: as long as for links."""
NEVER: Final = 1 << 62
"""A tick that is never reached."""
_WAIT_MIN_S: Final = 0.001
"""Shortest wait. Event loops wake up to 1 ms early; a shorter wait would make them spin."""
_ROUNDING: Final = 1e-6


class Schedulable(Protocol):
    """An object that the scheduler gives turns."""

    is_ready: bool
    near_tick: int
    far_tick: int

    def turn(self, now: float) -> None:
        """Do what is due at *now*. Called at least once after :meth:`Scheduler.ready`. Never blocks."""

    def fail(self, fault: Exception) -> None:
        """Handle the exception that ended its turn."""


class SchedulableSocket(Schedulable, Protocol):
    """A socket, as the scheduler sees it."""

    def abandon(self) -> None:
        """End at once, because the process ends."""


_LOG: Final = logging.getLogger(__name__)

S = TypeVar("S", bound=SchedulableSocket)


class Scheduler(Generic[S]):
    """Scheduler of the sockets of a node.

    Invariants: a socket that is ready has its turn before anything that becomes ready later. A socket that
    asks for a time has a turn at most one tick, and one turn of the event loop, after it.
    """

    def __init__(self, clock: Clock) -> None:
        self.sockets: Final[dict[S, None]] = {}
        """The open sockets, with and without a `hello`."""
        self.clock: Final = clock
        self.waiting: list[Schedulable] = []
        """What is ready, in order."""
        self._wheel: dict[int, dict[Schedulable, None]] = {}
        self._ticks: list[int] = []
        self._wake = LeanEvent()
        self.ring: Final = self._wake.set
        """Wake the task."""
        self._planned = NEVER
        self._tasks: asyncio.TaskGroup | None = None
        self.is_held = False
        """Whether :meth:`ready` wakes nothing, because :meth:`release` follows in this turn of the loop."""
        self._is_serving = False
        """Whether the task is giving turns to some that were ready."""
        self._share = TurnShare(SLICE_S)
        self._is_behind = False
        """Whether sockets wait for which :meth:`release` had no time. The task serves them before others."""

    # ---- for links: gateway.runtime.event_loop.Phones ----

    def release(self) -> None:
        """Give turns to the ready sockets for :data:`RELEASE_S`; the task serves the rest.

        The task serves all of them if it is giving turns now, or if sockets wait from an earlier call.
        """
        if not self.waiting:
            return
        if self._is_serving or self._is_behind or self._tasks is None:
            self._wake.set()
            return
        batch, self.waiting = self.waiting, []
        clock_now = self.clock.now
        now = began = clock_now()
        for at, served in enumerate(batch):
            served.is_ready = False
            try:
                served.turn(now)
            except Exception as fault:  # noqa: BLE001 - a fault of one socket ends that socket only
                served.fail(fault)
            now = clock_now()
            if now - began > RELEASE_S:
                self.waiting = [*batch[at + 1 :], *self.waiting]
                self._is_behind = bool(self.waiting)
                break
        if self.waiting:
            self._wake.set()

    # ---- for sockets ----

    def ready(self, served: Schedulable) -> None:
        """Give *served* a turn soon. Several calls before the turn count as one."""
        if not served.is_ready:
            served.is_ready = True
            self.waiting.append(served)
            if not self.is_held:
                self._wake.set()

    def at(self, served: Schedulable, when: float) -> None:
        """Give *served* a turn at *when*. It may have earlier turns, too, in which nothing is due."""
        tick = math.ceil(when / TICK_S - _ROUNDING)
        if when - self.clock.now() < NEAR_S:
            before, served.near_tick = served.near_tick, min(tick, served.near_tick)
        else:
            tick = -(-tick // FAR_TICKS) * FAR_TICKS
            before, served.far_tick = served.far_tick, min(tick, served.far_tick)
        if tick >= before:
            return
        if before not in {NEVER, served.near_tick, served.far_tick}:
            del self._wheel[before][served]
        waiting = self._wheel.get(tick)
        if waiting is not None:
            waiting[served] = None
            return
        self._wheel[tick] = {served: None}
        heapq.heappush(self._ticks, tick)
        if tick < self._planned:
            self._wake.set()

    def forget(self, served: Schedulable) -> None:
        """Drop the turns that *served* asked for, because it has ended."""
        for tick in (served.near_tick, served.far_tick):
            self._wheel.get(tick, {}).pop(served, None)
        served.near_tick = served.far_tick = NEVER

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        """Run *work*, which must not raise. Return None, and run nothing, when the scheduler has ended."""
        if self._tasks is not None:
            with suppress(RuntimeError):  # asyncio.TaskGroup.create_task: its life is ending
                return self._tasks.create_task(work)
        work.close()
        return None

    # ---- life ----

    async def run(self) -> None:
        """Give turns until cancelled, then end all sockets at once."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                while True:
                    await self._rest()
                    self._call(self.clock.now())
                    await self._serve()
        finally:
            self._tasks = None
            for socket in list(self.sockets):
                self._abandon(socket)

    def _abandon(self, socket: S) -> None:
        try:
            socket.abandon()
        except Exception as fault:  # noqa: BLE001 - the other sockets must end, too
            log_fault(_LOG, "socket_not_ended", fault)

    async def _rest(self) -> None:
        """Wait until something is ready or due; other tasks run before in any case."""
        self._wake.clear()
        self._planned = self._ticks[0] if self._ticks else NEVER
        wait_s = math.inf if self._planned == NEVER else self._planned * TICK_S - self.clock.now()
        if self.waiting or wait_s <= 0:
            await self.clock.sleep(0)
        elif wait_s == math.inf:
            await self._wake.wait()
        else:
            await self._wait(wait_s)
        self._planned = NEVER

    async def _wait(self, seconds: float) -> None:
        """Wait until something is ready, at most for *seconds*."""
        cancel = self.clock.call_later(max(seconds, _WAIT_MIN_S), self.ring)
        try:
            await self._wake.wait()
        finally:
            cancel()

    def _call(self, now: float) -> None:
        """Mark the sockets that are due at *now* as ready."""
        while self._ticks and self._ticks[0] * TICK_S <= now + _ROUNDING:
            tick = heapq.heappop(self._ticks)
            for served in self._wheel.pop(tick):
                if served.near_tick == tick:
                    served.near_tick = NEVER
                if served.far_tick == tick:
                    served.far_tick = NEVER
                if not served.is_ready:
                    served.is_ready = True
                    self.waiting.append(served)

    async def _serve(self) -> None:
        """Give a turn to all sockets that are ready now, in slices."""
        batch, self.waiting = self.waiting, []
        self._is_serving, self._is_behind = True, False
        try:
            clock_now = self.clock.now
            now = began = clock_now()
            for served in batch:
                served.is_ready = False
                try:
                    served.turn(now)
                except Exception as fault:  # noqa: BLE001 - a fault of one socket ends that socket only
                    served.fail(fault)
                now = clock_now()
                if now - began > self._share.time_s:
                    await self.clock.sleep(0)
                    began = self.clock.now()
                    self._share.others_took(began - now)
                    now = began
        finally:
            self._is_serving = False


PHONES_PER_TURN: Final = 100
"""Phones for each of which a frame is made in one turn of the event loop, outside their own turns."""
PhoneT = TypeVar("PhoneT")


async def in_turns(phones: Collection[PhoneT], act: Callable[[PhoneT], None], clock: Clock) -> None:
    """Call *act* with each of *phones*, for example to renew its token; other tasks run in between."""
    for number, phone in enumerate(list(phones), 1):
        act(phone)
        if number % PHONES_PER_TURN == 0:
            await clock.sleep(0)


# ---- fan-out ----


class FanoutWriter:
    """Writer of the frames that all members of a fan-out group share.

    Members may join and leave while it writes.
    """

    __slots__ = ("_fanout_group", "_scheduler", "_telemetry", "far_tick", "is_ready", "near_tick")

    def __init__(self, fanout_group: FanoutGroup, scheduler: Scheduler[Any], telemetry: Telemetry) -> None:
        self.is_ready = False
        self.near_tick = self.far_tick = NEVER
        self._fanout_group = fanout_group
        self._scheduler = scheduler
        self._telemetry = telemetry

    def turn(self, now: float) -> None:
        """Write what is due, or ask for a turn when it will be."""
        fanout_group = self._fanout_group
        news = fanout_group.take_news(now)
        if news is None:
            self._write_all(now)
        elif isinstance(news, float):
            self._scheduler.at(self, news)
        else:
            frame = news.frame
            head = fanout_group.codec.heads[len(frame)]
            own, fanout_group.own_frames = fanout_group.own_frames, NO_ITEMS
            own = {member: head + each for member, each in own.items()} if own else own
            self._write(head + frame, 1, len(frame), news.elements, news.since, now, own)

    def _write_all(self, now: float) -> None:
        """Write whatever is due. A large state takes several turns."""
        fanout_group = self._fanout_group
        due_at = fanout_group.due_at(now)
        if due_at is None or not fanout_group.members:
            return
        if not fanout_group.prepare():
            self._scheduler.ready(self)
            return
        waits = fanout_group.waits
        frames = fanout_group.take(now)
        if frames:
            self._write(packed(frames, fanout_group.codec), len(frames), sum(map(len, frames)), *waits, now)

    def _write(
        self,
        data: bytes,
        frames: int,
        frame_bytes: int,
        elements: int,
        since: float,
        now: float,
        own: Mapping[GroupMember, bytes] = NO_ITEMS,
    ) -> None:
        """Write *data* to every member: *frames* of *frame_bytes*, with *elements* that waited since *since*.

        Some members have data of their *own*, of the same size. For most phones that is one system call and
        nothing else.
        """
        fanout_group = self._fanout_group
        members = tuple(fanout_group.members)  # they may leave while they are written to
        phones, size_bytes, write = len(members), len(data), os.write
        # counted before it is written: a member that leaves in between gets it, too
        fanout_group.frames += frames
        fanout_group.frame_bytes += frame_bytes
        for member in members:
            if (sink := member.sink) is None:
                continue
            channel = sink.channel
            fd, sent = channel.open_fd, own.get(member, data) if own else data
            try:
                sent_bytes = write(fd, sent) if fd >= 0 else 0
            except OSError:  # full or lost: the transport detects which
                sent_bytes = 0
            if sent_bytes != size_bytes:
                self._write_rest(sink, sent[sent_bytes:])
        fanout_group.unite(now)
        came_at, under_way_s = fanout_group.ledger.came_at, fanout_group.ledger.under_way_s
        self._telemetry.update_times.sent(
            frames, frame_bytes, elements, since, came_at, under_way_s, now, phones
        )

    def _write_rest(self, sink: Sink, data: bytes) -> None:
        """Write what the kernel has not accepted at once."""
        try:
            sink.channel.put(data)
        except Exception as fault:  # noqa: BLE001 - a fault of one socket ends that socket only
            sink.fail(fault)

    def fail(self, fault: Exception) -> None:
        """Handle a failed turn: each member gets a full snapshot of its own, or fails alone."""
        log_fault(_LOG, "shared_frame_failed", fault)
        for member in list(self._fanout_group.members):
            member.reset()
            if member.sink is not None:
                member.sink.wake()


def fanout_writer_of(
    fanout_group: FanoutGroup, scheduler: Scheduler[Any], telemetry: Telemetry
) -> FanoutWriter:
    """Return the writer of *fanout_group*, the only one at any time."""
    if not isinstance(fanout_group.writer, FanoutWriter):
        fanout_group.writer = FanoutWriter(fanout_group, scheduler, telemetry)
    return fanout_group.writer
