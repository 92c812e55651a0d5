"""Outgoing frames of one socket, also when it is slow, frozen or disturbed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.simulator.clock import Clock
from gateway.simulator.fields import Body
from gateway.simulator.link import Link


class SocketOutlet:
    """The way out of one WebSocket, written past aiohttp so that links share bytes.

    Invariant: frames leave whole and in order; at most *limit_bytes* wait, or the line is cut.
    """

    def __init__(
        self, transport: asyncio.Transport, clock: Clock, limit_bytes: int, say_close: Callable[[int], None]
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._say_close = say_close
        self._held: deque[tuple[float, bytes | int]] = deque()
        self._held_bytes = 0
        self._closed = False
        self.frozen_until_s = 0.0
        self.delay_s = 0.0
        self.cut_slow = False
        """Was it cut because too much waited?"""

    def send(self, frames: bytes) -> None:
        """Send whole frames; later while the line is frozen or delayed."""
        if not self._closed:
            self._leave(frames)

    def close(self, code: int) -> None:
        """Say good-bye after everything sent so far."""
        if not self._closed:
            self._leave(code)
            self._closed = True

    def abort(self) -> None:
        """Cut the line without a word."""
        self._closed = True
        self._held.clear()
        self._transport.abort()

    @property
    def waiting(self) -> bool:
        """Is anything held?"""
        return bool(self._held)

    def turn(self) -> None:
        """Let go what has waited long enough."""
        now_s = self._clock.transport_s()
        while self._held and max(self._held[0][0], self.frozen_until_s) <= now_s:
            _, item = self._held.popleft()
            if isinstance(item, bytes):
                self._held_bytes -= len(item)
            self._write(item)

    def _leave(self, item: bytes | int) -> None:
        now_s = self._clock.transport_s()
        if not self._held and self.delay_s <= 0 and self.frozen_until_s <= now_s:
            self._write(item)
            return
        self._held.append((now_s + self.delay_s, item))
        self._held_bytes += len(item) if isinstance(item, bytes) else 0
        if self._held_bytes > self._limit_bytes:
            self._cut()

    def _write(self, item: bytes | int) -> None:
        if isinstance(item, int):
            self._say_close(item)
            return
        if self._transport.is_closing():
            return
        self._transport.write(item)
        if self._transport.get_write_buffer_size() > self._limit_bytes:
            self._cut()

    def _cut(self) -> None:
        self.cut_slow = True
        self.abort()


@dataclass(slots=True)
class Line:
    """One open socket of one link."""

    link: Link
    outlet: SocketOutlet
    heard_s: float
    inbox: list[Body] = field(default_factory=list)
    """Requests read while the line is frozen."""
