"""How does the Python load generator run a load, phase by phase?

A process of its own, ``python -m bench.load.soft``, with the options and the answer of ``wsload``: phones
connect, get ready, settle; a publisher warms the server up; then everything is counted.
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

from bench.load.generator import CONNECT_WITHIN_S
from bench.load.soft_phone import Phone, Publisher, Tally
from bench.load.soft_wire import handshake
from bench.load.soft_words import Templates, parser
from bench.programs import process_cpu_s, process_rss_bytes
from bench.stats import quantile
from bench.tls import trusting

TICK_S = 0.001


class Soft:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        lines = Path(options.lines).read_bytes().splitlines() if options.lines else []
        templates = Templates(options.groups, options.size, lines)
        self.tally = Tally(options, templates)
        self.phones: list[Phone] = []
        self.sent_all = self.sent = self.stalls = 0
        self._options = options
        self._templates = templates
        self._host, _, path = options.url.partition("/")
        self._path = "/" + path
        self._tls = trusting() if options.tls else None
        # other source addresses each time: ports that wait for their end are not met
        self._first_source = 2 + (os.getpid() & 1023) * 64

    async def run(self) -> dict[str, Any]:
        """Go through all phases; returns the answer."""
        options, tally, loop = self._options, self.tally, asyncio.get_running_loop()
        fresh, began = process_rss_bytes(options.pid), loop.time()
        connect_s = await self._connect(loop, began)
        all_ready_s = await self._until_ready(loop, began)
        async with self._publishing() as send:
            await asyncio.sleep(options.settle)
            idle, stalling = process_rss_bytes(options.pid), self.phones[: options.slow]
            for phone in stalling:
                phone.stall()
            async with asyncio.TaskGroup() as tasks:
                publishing = tasks.create_task(self._publish(send, loop))
                await asyncio.sleep(options.warmup)
                before_s, start = process_cpu_s(options.pid), loop.time()
                frames, size, tally.measuring = tally.frames, tally.bytes, True
                await asyncio.sleep(options.duration)
                tally.measuring, secs = False, loop.time() - start
                used_s = process_cpu_s(options.pid) - before_s
                end, frames, size = process_rss_bytes(options.pid), tally.frames - frames, tally.bytes - size
                publishing.cancel()
            await asyncio.sleep(options.drain)
        if options.save is not None:
            self._save(Path(options.save))
        memory = {"rss0_mb": fresh / 1e6, "rss_idle_mb": idle / 1e6, "rss_end_mb": end / 1e6}
        us = 1e6 * used_s / tally.delivered if tally.delivered else 0.0
        told = self._answer(secs) | {
            "connect_s": connect_s,
            "srv": {"cpu_s": used_s, "us_per_deliv": us} | memory,
        }
        told |= {"frames_s": frames / secs, "MB_s": size / secs / 1e6}
        if "ready" in told:
            told["ready"]["all_s"] = all_ready_s
        return told

    # ---- phases ----

    async def _connect(self, loop: asyncio.AbstractEventLoop, began: float) -> float:
        room = asyncio.Semaphore(self._options.inflight)
        gap_s = 1 / self._options.rate if self._options.rate else 0.0
        within_s = CONNECT_WITHIN_S + gap_s * self._options.phones
        async with asyncio.timeout(within_s), asyncio.TaskGroup() as tasks:
            for number in range(self._options.phones):
                await asyncio.sleep(max(0.0, began + number * gap_s - loop.time()))
                await room.acquire()
                tasks.create_task(self._open(loop, number)).add_done_callback(lambda _: room.release())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await self.tally.all_settled.wait()
        return loop.time() - began

    async def _open(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        options = self._options
        headers = [self._templates.of_phone(text, number) for text in options.header]
        upgrade = handshake(self._host, self._path, options.subproto, headers)
        phone = Phone(number, upgrade, self.tally)
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
            self.tally.settle(is_open=False)

    async def _until_ready(self, loop: asyncio.AbstractEventLoop, began: float) -> float:
        tally, options = self.tally, self._options
        if options.ready is None:
            return 0.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.ready_s):
                await tally.all_ready.wait()
        return loop.time() - began

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
            apart = Tally(
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
        if options.pub_window is not None:
            await self._publish_window(send, loop)
            return
        due = loop.time()
        while options.pub_rate:
            while due <= loop.time():
                self._publish_one(send)
                due += 1 / options.pub_rate
            await asyncio.sleep(max(0.0, min(TICK_S, due - loop.time())))

    async def _publish_window(
        self, send: Callable[[int, bytes], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        tally, options = self.tally, self._options
        each = max(1, tally.opened - options.slow) / options.groups
        base, sent, moved_at = tally.delivered_all, 0, loop.time()
        while True:
            had = int((tally.delivered_all - base) / each)
            while sent < had + options.pub_window:
                self._publish_one(send)
                sent, moved_at = sent + 1, loop.time()
            if loop.time() - moved_at > 1.0:  # something was conflated or lost: begin anew
                self.stalls += 1
                base, sent, moved_at = tally.delivered_all, 0, loop.time()
            await asyncio.sleep(0)

    def _publish_one(self, send: Callable[[int, bytes], None]) -> None:
        options = self._options
        opcode = 2 if options.pub_bin else 1
        send(opcode, self._templates.of_publish(options.pub, self.sent_all, time.time_ns()))
        self.sent_all += 1
        self.sent += self.tally.measuring

    # ---- what is told ----

    def _save(self, file: Path) -> None:
        file.write_text("".join(f"{phone.stream}\t{phone.upto}\n" for phone in self.phones), "ascii")

    def _answer(self, secs: float) -> dict[str, Any]:
        tally, options = self.tally, self._options
        delays = sorted(tally.delays_ns)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
        told: dict[str, Any] = {
            "n": options.phones,
            "opened": tally.opened,
            "failed": tally.failed,
            "closed": tally.closed,
            "secs": secs,
            "deliv": tally.delivered,
            "deliv_s": tally.delivered / secs,
            "deliv_total": tally.delivered_all,
            "lat_us": {name: quantile(delays, share) / 1e3 for name, share in shares.items()},
            "pub": {"sent": self.sent, "total": self.sent_all, "stalls": self.stalls},
            "closes": dict(tally.closes),
            "pongs_sent": tally.pongs,
        }
        if options.ready is not None:
            ready = sorted(tally.ready_s)
            told["ready"] = {"n": len(ready), "counts": tally.counts}
            told["ready"] |= {
                f"{name}_ms": 1e3 * quantile(ready, shares[name]) for name in ("p50", "p99", "max")
            }
        return told


def _nowhere(opcode: int, payload: bytes) -> None:
    """Publish nothing: nobody asked for it."""


async def play(options: argparse.Namespace) -> int:
    """Run a load, and print the answer."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    soft = Soft(options)
    print(json.dumps(await soft.run()))
    return 0 if soft.tally.opened else 1


if __name__ == "__main__":
    sys.exit(uvloop.run(play(parser().parse_args())))
