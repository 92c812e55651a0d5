"""One connection of the Python load generator."""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from bench.load.soft_wire import ACCEPT, CLOSE, PING, PONG, Frames, masked

if TYPE_CHECKING:
    from bench.load.soft_words import Templates

_NONCE = re.compile(rb'"nonce":"([^"]{1,64})"')
_STREAM = re.compile(rb'"stream":"([^"]{1,39})"')
_UPTO = re.compile(rb'"upto":([0-9]+)')
_HEAD_BYTES = 300


class LoadCounters:
    """Counters of all connections of a run.

    Args:
        options: The options of the command line.
        templates: The templates of the phones' messages.
    """

    def __init__(self, options: argparse.Namespace, templates: Templates) -> None:
        self.options = options
        self.templates = templates
        self.measuring = False
        self.opened = self.failed = self.closed = 0
        self._awaited = options.phones
        self.all_settled, self.all_ready = asyncio.Event(), asyncio.Event()
        self.delivered_all = self.delivered = self.frames = self.bytes = 0
        self.delays_ns: list[int] = []
        self.ready_s: list[float] = []
        self.counts = [0] * len(options.count)
        self.closes: Counter[str] = Counter()
        self.pongs = 0
        self.stamp = None if options.stamp is None else options.stamp.encode()
        self.texts = [text.encode() for text in options.count]
        self.ready_text = None if options.ready is None else options.ready.encode()

    def await_phones(self, phones: int) -> None:
        """Set the number of phones to wait for."""
        self._awaited = phones
        self.all_settled.clear()
        self.all_ready.clear()

    def settle(self, *, is_open: bool) -> None:
        """Count a connection that opened, or failed to open."""
        self.opened += is_open
        self.failed += not is_open
        self.look()

    def look(self) -> None:
        """Set the events: all connections are settled, and all open ones are in sync."""
        if self.opened + self.failed + self.closed >= self._awaited:
            self.all_settled.set()
            if len(self.ready_s) >= self.opened:
                self.all_ready.set()

    def received(self, payload: bytes) -> None:
        """Count the updates in one message, and their delays."""
        if self.stamp is None:
            self.delivered_all += 1
            self.delivered += self.measuring
            return
        now = time.time_ns()
        at = payload.find(self.stamp)
        while at >= 0:
            start = at + len(self.stamp)
            self.delivered_all += 1
            if self.measuring:
                self.delivered += 1
                self.delays_ns.append(now - _number(payload, start))
            at = payload.find(self.stamp, start)


def _number(payload: bytes, start: int) -> int:
    """Return the number at *start*, of 19 digits as ns since 1970 have; 0 for anything else."""
    digits = payload[start : start + 19]
    return int(digits) if digits.isdigit() else 0


class Phone(asyncio.Protocol):
    """One connection: it does the handshake, sends its messages and counts received ones."""

    def __init__(self, number: int, upgrade: bytes, counters: LoadCounters) -> None:
        self.stream, self.upto = "", 0
        self.is_open = False
        self.is_ready = False
        self._number = number
        self._upgrade = upgrade
        self._counters = counters
        self._frames = Frames()
        self._answer = b""
        self._transport: asyncio.Transport | None = None
        self._began = time.perf_counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        # uvloop's transports have no class of asyncio's
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._upgrade)

    def data_received(self, data: bytes) -> None:
        """Process received bytes."""
        counters = self._counters
        if not self.is_open:
            self._answer += data
            head, found, data = self._answer.partition(b"\r\n\r\n")
            if not found:
                return
            self._shaken(head)
            if not self.is_open:
                return
        counters.bytes += len(data)
        for opcode, payload in self._frames.feed(data):
            counters.frames += 1
            if opcode >= CLOSE:
                self._control(opcode, payload)
            else:
                self._message(payload)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that was lost, or failed to open."""
        counters = self._counters
        if self.is_open:
            self.is_open = False
            counters.opened -= 1
            counters.closed += 1
            counters.closes["eof" if exc is None else "rst"] += 1
        elif self._upgrade:
            self._upgrade = b""
            counters.settle(is_open=False)

    def stall(self) -> None:
        """Stop reading."""
        if self._transport is not None:
            self._transport.pause_reading()

    def cut(self) -> None:
        """Abort the connection, without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, opcode: int, payload: bytes) -> None:
        """Send a message."""
        if self._transport is not None:
            self._transport.write(masked(opcode, payload))

    # ---- inside ----

    def _shaken(self, head: bytes) -> None:
        counters, self._answer = self._counters, b""
        if not head.startswith(b"HTTP/1.1 101") or ACCEPT not in head:
            self.cut()
            return
        self.is_open, self._upgrade = True, b""
        counters.settle(is_open=True)
        for opcode, template in counters.options.sends:
            self.send(opcode, counters.templates.of_phone(template, self._number))

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING and self._counters.options.reply_ping:
            self.send(PONG, payload)
        elif opcode == CLOSE:
            self._counters.closes[str(int.from_bytes(payload[:2], "big"))] += 1
            self.send(CLOSE, payload[:2])
            self.cut()

    def _message(self, payload: bytes) -> None:
        counters = self._counters
        options = counters.options
        if options.pong and len(payload) < 400 and b'"kind":"ping"' in payload:
            self._pong(payload)
        if options.save is not None:
            self._note(payload[:_HEAD_BYTES])
        if options.reply_text is not None:
            asked, _, answer = options.reply_text.partition("=")
            if payload == asked.encode():
                self.send(1, answer.encode())
                return
        if counters.ready_text is not None and not self.is_ready:
            self._not_ready_yet(payload, counters.ready_text)
        counters.received(payload)

    def _pong(self, payload: bytes) -> None:
        if found := _NONCE.search(payload):
            self.send(1, b'{"kind":"pong","nonce":"%b"}' % found[1])
            self._counters.pongs += 1

    def _note(self, head: bytes) -> None:
        if found := _STREAM.search(head):
            self.stream = found[1].decode()
        if found := _UPTO.search(head):
            self.upto = int(found[1])

    def _not_ready_yet(self, payload: bytes, ready: bytes) -> None:
        counters = self._counters
        for place, text in enumerate(counters.texts):
            counters.counts[place] += text in payload
        if ready in payload and b'"more":true' not in payload:
            self.is_ready = True
            counters.ready_s.append(time.perf_counter() - self._began)
            counters.look()


class Publisher(asyncio.Protocol):
    """Plain TCP connection of the publisher."""

    def __init__(self) -> None:
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = transport

    def send(self, _: int, payload: bytes) -> None:
        """Send *payload* as it is."""
        self._transport.write(payload)
