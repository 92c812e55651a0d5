"""Python load generator: it runs a load phase by phase.

Run as a separate process, ``python -m bench.load.soft``, with the options and answers of ``wsload``. Phones
connect, get in sync and settle; a publisher warms the server up; then updates are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench.load.generator import CONNECT_WITHIN_S, DRAINS_WITHIN_S, Span
from bench.load.soft_phone import LoadCounters, Phone, Publisher
from bench.load.soft_wire import handshake
from bench.load.soft_words import Templates, parser
from bench.programs import process_cpu_s, process_rss_bytes
from bench.stats import quantile
from bench.tls import trusting

TICK_S = 0.001
QUIET_S = 0.2
"""Silence after which no update is under way."""


class SoftGenerator:
    """One run of the load generator."""

    def __init__(self, options: argparse.Namespace) -> None:
        lines = Path(options.lines).read_bytes().splitlines() if options.lines else []
        templates = Templates(options.groups, options.size, lines)
        self.counters = LoadCounters(options, templates)
        self.phones: list[Phone] = []
        self.sent_all = self.sent = self.stalls = 0
        self._numbered = self._started = 0
        self._connect_s = self._all_ready_s = 0.0
        self._memory = {"rss0_mb": process_rss_bytes(options.pid) / 1e6}
        self._per_s: float | None = None
        self._window: int | None = None
        self._began = asyncio.get_running_loop().time()
        self._options = options
        self._templates = templates
        self._host, _, path = options.url.partition("/")
        self._path = "/" + path
        self._tls = trusting() if options.tls else None
        # other source addresses in each run, so that ports in TIME_WAIT are not reused
        self._first_source = 2 + (os.getpid() & 1023) * 64

    async def run(self) -> AsyncIterator[dict[str, Any]]:
        """Run all spans; yields the answer of each and, with ``--span``, a line when it begins."""
        options, before_per_s = self._options, 0.0
        one = Span(options.phones, options.pub_rate, options.pub_window, options.warmup, options.duration)
        spans = options.span or [one]
        await self._come(spans[0].phones)
        async with self._publishing() as send:
            for number, span in enumerate(spans):
                await self._come(span.phones)
                if options.span:
                    yield {"begins": number}
                self._renew(span, before_per_s)
                figures = await self._span(span, send)
                before_per_s = self.sent / figures["secs"]
                yield figures | {"n": span.phones, "connect_s": self._connect_s}
        if options.save is not None:
            self._save(Path(options.save))

    async def _come(self, phones: int) -> None:
        """Connect phones until there are *phones* of them."""
        if phones > self._started:
            self._connect_s += await self._connect(phones)
            self._all_ready_s = await self._until_ready()
            await asyncio.sleep(self._options.settle)
            self._memory["rss_idle_mb"] = process_rss_bytes(self._options.pid) / 1e6

    async def _span(self, span: Span, send: Callable[[int, bytes], None]) -> dict[str, Any]:
        options, counters, loop = self._options, self.counters, asyncio.get_running_loop()
        for phone in self.phones[: options.slow]:
            phone.stall()
        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(self._publish(send, loop))
            await asyncio.sleep(span.warmup_s)
            before_s, start = process_cpu_s(options.pid), loop.time()
            frames, size, counters.measuring = counters.frames, counters.bytes, True
            await asyncio.sleep(span.duration_s)
            counters.measuring, secs = False, loop.time() - start
            used_s = process_cpu_s(options.pid) - before_s
            end, frames, size = (
                process_rss_bytes(options.pid),
                counters.frames - frames,
                counters.bytes - size,
            )
            publishing.cancel()
        await self._drain()
        us = 1e6 * used_s / counters.delivered if counters.delivered else 0.0
        server = {"cpu_s": used_s, "us_per_deliv": us, "rss_end_mb": end / 1e6} | self._memory
        return self._answer(secs) | {"srv": server, "frames_s": frames / secs, "MB_s": size / secs / 1e6}

    def _renew(self, span: Span, before_per_s: float) -> None:
        """Reset the counters for a new span."""
        self._per_s = -span.per_s * before_per_s if span.per_s and span.per_s < 0 else span.per_s
        self._window = span.window
        self._templates.elements = span.size
        self._numbered += self.sent_all
        self.sent_all = self.sent = self.stalls = 0
        self.counters.delivered = self.counters.delivered_all = 0
        self.counters.delays_ns = []

    async def _drain(self) -> None:
        """Wait for updates under way, for a limited time."""
        await asyncio.sleep(self._options.drain)
        for _ in range(int(DRAINS_WITHIN_S / QUIET_S)):
            seen = self.counters.delivered_all
            await asyncio.sleep(QUIET_S)
            if self.counters.delivered_all == seen:
                return

    # ---- phases ----

    async def _connect(self, phones: int) -> float:
        loop = asyncio.get_running_loop()
        room, began, first = asyncio.Semaphore(self._options.inflight), loop.time(), self._started
        gap_s = 1 / self._options.rate if self._options.rate else 0.0
        within_s = CONNECT_WITHIN_S + gap_s * phones
        self._started = phones
        self.counters.await_phones(phones)
        async with asyncio.timeout(within_s), asyncio.TaskGroup() as tasks:
            for number in range(first, phones):
                await asyncio.sleep(max(0.0, began + (number - first) * gap_s - loop.time()))
                await room.acquire()
                tasks.create_task(self._open(loop, number)).add_done_callback(lambda _: room.release())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await self.counters.all_settled.wait()
        return loop.time() - began

    async def _open(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        options = self._options
        headers = [self._templates.of_phone(text, number) for text in options.header]
        upgrade = handshake(self._host, self._path, options.subproto, headers)
        phone = Phone(number, upgrade, self.counters)
        self.phones.append(phone)
        host, port = self._host.split(":")
        door = socket.socket()
        door.setblocking(False)
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options.rcvbuf:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.rcvbuf)
        source = self._first_source + number // options.per_src
        door.bind((f"127.0.{source // 256 % 256}.{source % 256}", 0))
        try:
            await loop.sock_connect(door, (host, int(port)))
            name = host if self._tls else None
            await loop.create_connection(lambda: phone, sock=door, ssl=self._tls, server_hostname=name)
        except OSError:
            self.counters.settle(is_open=False)

    async def _until_ready(self) -> float:
        counters, options = self.counters, self._options
        if options.ready is None:
            return 0.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.ready_s):
                await counters.all_ready.wait()
        return asyncio.get_running_loop().time() - self._began

    @asynccontextmanager
    async def _publishing(self) -> AsyncIterator[Callable[[int, bytes], None]]:
        options, loop = self._options, asyncio.get_running_loop()
        if options.pub_tcp is not None:
            host, port = options.pub_tcp.split(":")
            transport, publisher = await loop.create_connection(Publisher, host, int(port))
            yield publisher.send
            transport.close()
        elif options.pub is not None:
            host, port = self._host.split(":")
            upgrade = handshake(self._host, self._path, options.subproto, [])
            apart = LoadCounters(
                argparse.Namespace(**{**vars(options), "sends": options.pub_sends}), self._templates
            )
            phone = Phone(options.phones, upgrade, apart)
            await loop.create_connection(lambda: phone, host, int(port))
            yield phone.send
            phone.cut()
        else:
            yield _nowhere

    async def _publish(self, send: Callable[[int, bytes], None], loop: asyncio.AbstractEventLoop) -> None:
        options = self._options
        if options.pub is None:
            return
        if self._window:
            await self._publish_window(send, loop, self._window)
            return
        due = loop.time()
        while self._per_s:
            while due <= loop.time():
                self._publish_one(send)
                due += 1 / self._per_s
            await asyncio.sleep(max(0.0, min(TICK_S, due - loop.time())))

    async def _publish_window(
        self, send: Callable[[int, bytes], None], loop: asyncio.AbstractEventLoop, window: int
    ) -> None:
        counters, options = self.counters, self._options
        each = max(1, counters.opened - options.slow) / options.groups
        base, sent, moved_at = counters.delivered_all, 0, loop.time()
        while True:
            had = int((counters.delivered_all - base) / each)
            while sent < had + window:
                self._publish_one(send)
                sent, moved_at = sent + 1, loop.time()
            if loop.time() - moved_at > 1.0:  # an update was conflated or lost: restart the window
                self.stalls += 1
                base, sent, moved_at = counters.delivered_all, 0, loop.time()
            await asyncio.sleep(0)

    def _publish_one(self, send: Callable[[int, bytes], None]) -> None:
        options = self._options
        opcode = 2 if options.pub_bin else 1
        send(opcode, self._templates.of_publish(options.pub, self._numbered + self.sent_all, time.time_ns()))
        self.sent_all += 1
        self.sent += self.counters.measuring

    # ---- answers ----

    def _save(self, file: Path) -> None:
        file.write_text("".join(f"{phone.stream}\t{phone.upto}\n" for phone in self.phones), "ascii")

    def _answer(self, secs: float) -> dict[str, Any]:
        counters, options = self.counters, self._options
        delays = sorted(counters.delays_ns)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
        figures: dict[str, Any] = {
            "opened": counters.opened,
            "failed": counters.failed,
            "closed": counters.closed,
            "secs": secs,
            "deliv": counters.delivered,
            "deliv_s": counters.delivered / secs,
            "deliv_total": counters.delivered_all,
            "lat_us": {name: quantile(delays, share) / 1e3 for name, share in shares.items()},
            "pub": {"sent": self.sent, "total": self.sent_all, "stalls": self.stalls},
            "closes": dict(counters.closes),
            "pongs_sent": counters.pongs,
        }
        if options.ready is not None:
            ready = sorted(counters.ready_s)
            figures["ready"] = {"n": len(ready), "counts": counters.counts, "all_s": self._all_ready_s}
            figures["ready"] |= {
                f"{name}_ms": 1e3 * quantile(ready, shares[name]) for name in ("p50", "p99", "max")
            }
        return figures


def _nowhere(opcode: int, payload: bytes) -> None:
    """Publish nothing: this load has no publisher."""


async def play(options: argparse.Namespace) -> int:
    """Run a load and print the answers; returns the exit code."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    soft = SoftGenerator(options)
    async for figures in soft.run():
        print(json.dumps(figures), flush=True)
    return 0 if soft.counters.opened else 1


if __name__ == "__main__":
    sys.exit(uvloop.run(play(parser().parse_args())))
