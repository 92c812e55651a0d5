"""Fan-out: write the frame that the phones of a fan-out group share to all of them."""

from __future__ import annotations

import logging
import os
from typing import Final, Protocol

from gateway.core.fanout_group import FanoutGroup, Sink
from gateway.edge.channel import packed
from gateway.edge.scheduler import NEVER, Schedulable
from gateway.protocol import websocket
from gateway.runtime.event_loop import log_fault
from gateway.telemetry import Telemetry

_LOG: Final = logging.getLogger(__name__)


class TurnScheduler(Protocol):
    """The part of :class:`gateway.edge.scheduler.Scheduler` that a fan-out writer needs."""

    def at(self, served: Schedulable, when: float) -> None:
        """Give *served* a turn at *when*."""
        ...

    def ready(self, served: Schedulable) -> None:
        """Give *served* a turn soon."""
        ...


class FanoutWriter:
    """Writer of the frames that all members of a fan-out group share.

    Members may join and leave while it writes.

    Args:
        fanout_group: The group.
        scheduler: Gives it turns.
        telemetry: Counts frames.
    """

    __slots__ = ("_fanout_group", "_scheduler", "_telemetry", "far_tick", "is_ready", "near_tick")

    def __init__(self, fanout_group: FanoutGroup, scheduler: TurnScheduler, telemetry: Telemetry) -> None:
        self.is_ready = False
        self.near_tick = self.far_tick = NEVER
        self._fanout_group = fanout_group
        self._scheduler = scheduler
        self._telemetry = telemetry

    def turn(self, now: float) -> None:
        """Write what is due, or ask for a turn when it will be."""
        news = self._fanout_group.take_news(now)
        if news is None:
            self._write_all(now)
        elif isinstance(news, float):
            self._scheduler.at(self, news)
        else:
            frame, elements, since, _ = news
            opcode = websocket.TEXT if self._fanout_group.codec.text else websocket.BINARY
            data = websocket.head(opcode, len(frame)) + frame
            self._write(data, 1, len(frame), elements, since, now)

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
        self, data: bytes, frames: int, frame_bytes: int, elements: int, since: float, now: float
    ) -> None:
        """Write *data* to every member: *frames* of *frame_bytes*, with *elements* that waited since *since*.

        For most phones that is one system call and nothing else.
        """
        fanout_group, telemetry = self._fanout_group, self._telemetry
        members = tuple(fanout_group.members)  # they may leave while they are written to
        phones, size_bytes, write = len(members), len(data), os.write
        # counted before it is written: a member that leaves in between gets it, too
        fanout_group.frames += frames
        fanout_group.frame_bytes += frame_bytes
        telemetry.frames.value += frames * phones
        telemetry.frame_bytes.value += frame_bytes * phones
        for member in members:
            if (sink := member.sink) is None:
                continue
            channel = sink.channel
            fd = channel.open_fd
            try:
                sent_bytes = write(fd, data) if fd >= 0 else 0
            except OSError:  # full or lost: the transport detects which
                sent_bytes = 0
            if sent_bytes != size_bytes:
                self._write_rest(sink, data[sent_bytes:])
        fanout_group.unite(now)
        telemetry.updates.value += elements * phones
        ledger = fanout_group.ledger
        telemetry.update_times.observe(since, ledger.came_at, ledger.under_way_s, now, phones)

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
    fanout_group: FanoutGroup, scheduler: TurnScheduler, telemetry: Telemetry
) -> FanoutWriter:
    """Return the writer of *fanout_group*, the only one at any time."""
    if not isinstance(fanout_group.writer, FanoutWriter):
        fanout_group.writer = FanoutWriter(fanout_group, scheduler, telemetry)
    return fanout_group.writer
