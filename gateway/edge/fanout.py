"""How does one message reach all phones that are in step?"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from gateway.core.convoy import Convoy, Sink
from gateway.edge.channel import packed
from gateway.edge.pump import NEVER, Served
from gateway.edge.witness import wrote_news
from gateway.runtime.faults import log_fault
from gateway.telemetry import Telemetry

_LOG: Final = logging.getLogger(__name__)


class Runner(Protocol):
    """Who gives turns: see :class:`gateway.edge.pump.Pump`."""

    def at(self, served: Served, when: float) -> None:
        """Give *served* a turn at *when*."""
        ...


class Herald:
    """Writes what is due for all of a convoy, whoever joins and parts meanwhile.

    Args:
        convoy: For whom.
        pump: Gives it its turns.
        telemetry: Where frames are counted.
    """

    __slots__ = ("_convoy", "_pump", "_telemetry", "far_tick", "is_ready", "near_tick")

    def __init__(self, convoy: Convoy, pump: Runner, telemetry: Telemetry) -> None:
        self.is_ready = False
        self.near_tick = self.far_tick = NEVER
        self._convoy = convoy
        self._pump = pump
        self._telemetry = telemetry

    def turn(self, now: float) -> None:
        """Write what is due, or come back for what will be."""
        due_at = self._convoy.due_at(now)
        if due_at is None or not self._convoy.members:
            return
        if due_at > now:
            self._pump.at(self, due_at)
            return
        sinks = [member.sink for member in self._convoy.members]  # some part while they are written to
        names, since = self._convoy.waits
        frames = self._convoy.take(now)
        if frames:
            data = packed(frames, self._convoy.codec)
            self._count(frames, len(sinks))  # before it is written: who parts meanwhile is told it, too
            self._write(data, sinks)
            self._convoy.meet(now)
            self._telemetry.updates.inc(names * len(sinks))
            wrote_news(self._telemetry, self._convoy.ledger, since, now, len(sinks))

    def _write(self, data: bytes, sinks: list[Sink | None]) -> None:
        for sink in sinks:
            if sink is not None:
                try:
                    sink.channel.put(data)
                except Exception as fault:  # noqa: BLE001 - one socket's fault ends one socket
                    sink.fail(fault)

    def _count(self, frames: list[bytes], phones: int) -> None:
        size_bytes = sum(map(len, frames))
        self._convoy.frames += len(frames)
        self._convoy.frame_bytes += size_bytes
        self._telemetry.frames.inc(len(frames) * phones)
        self._telemetry.frame_bytes.inc(size_bytes * phones)

    def fail(self, fault: Exception) -> None:
        """Take in that they cannot be told together: let each be told all anew, and alone, or fail alone."""
        log_fault(_LOG, "shared_frame_failed", fault)
        for member in list(self._convoy.members):
            member.reset()
            if member.sink is not None:
                member.sink.wake()


def herald_of(convoy: Convoy, pump: Runner, telemetry: Telemetry) -> Herald:
    """Return who brings what is due for *convoy*: one at any time."""
    if not isinstance(convoy.herald, Herald):
        convoy.herald = Herald(convoy, pump, telemetry)
    return convoy.herald
