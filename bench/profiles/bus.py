"""CPU time per message on a node's bus, and the delay that Redis adds between two nodes.

Run with ``python -m bench.profiles.bus``. The Redis server and the other node are separate processes.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import random
import statistics
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.machine import LOAD_CORE, SERVER_CORE, free_port
from bench.programs import BenchError, running
from bench.redis_server import program
from gateway.app.adapters import open_bus
from gateway.app.config.settings import BusSection, SecretsSection
from gateway.app.process import run_loop
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import BusChannel, Envelope, Inbox, Probe
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import Cluster

HERE: Final = Inbox(NodeId("here"))
THERE: Final = Inbox(NodeId("there"))
NOBODY: Final = Inbox(NodeId("nobody"))
BURST: Final = 100
"""Messages published in one turn of the loop."""
ECHO: Final = 1 << 40
"""The first number of probes that the other node sends back."""
KEY: Final = base64.b64encode(b"k" * 32).decode()


class Received:
    """Counter of received probes, with waits for a count or a number."""

    def __init__(self) -> None:
        self.count = 0
        self.last = -1
        self._came = asyncio.Event()

    def __call__(self, envelope: Envelope) -> None:
        """Count *envelope*."""
        if isinstance(envelope, Probe):
            self.count += 1
            self.last = envelope.number
            self._came.set()

    async def reaches(self, count: int) -> None:
        """Wait until *count* probes have arrived."""
        while self.count < count:
            self._came.clear()
            await self._came.wait()

    async def answers(self, number: int) -> None:
        """Wait until the last probe is *number*."""
        while self.last != number:
            self._came.clear()
            await self._came.wait()


async def publish(cluster: Cluster, channel: BusChannel, messages: int) -> None:
    """Publish *messages* in bursts, each after the previous one is published."""
    for start in range(0, messages, BURST):
        await asyncio.gather(
            *(cluster.bus.publish(channel, Probe(start + number)) for number in range(BURST))
        )


async def serve(cluster: Cluster) -> None:
    """Run the other node: return echo probes, and send as many probes as requested."""
    tasks: set[asyncio.Task[object]] = set()

    def receive(envelope: Envelope) -> None:
        if not isinstance(envelope, Probe):
            return
        if envelope.number >= ECHO:
            task: asyncio.Task[object] = asyncio.create_task(cluster.bus.publish(HERE, envelope))
        else:
            task = asyncio.create_task(publish(cluster, HERE, envelope.number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await cluster.bus.subscribe(THERE, receive)
    await asyncio.Event().wait()


async def measure(cluster: Cluster, messages: int) -> None:
    """Measure this node and print the figures."""
    received = Received()
    await cluster.bus.subscribe(HERE, received)
    number = ECHO
    while not received.count:
        number += 1
        with suppress(GatewayError):
            await cluster.bus.publish(THERE, Probe(number))
        await asyncio.sleep(0.1)
    published, heard = list[float](), list[float]()
    for _ in range(5):
        began = time.process_time()
        await publish(cluster, NOBODY, messages)
        published.append((time.process_time() - began) / messages * 1e6)
        began, before = time.process_time(), received.count
        await cluster.bus.publish(THERE, Probe(messages))
        await received.reaches(before + messages)
        heard.append((time.process_time() - began) / messages * 1e6)
    delays = list[float]()
    for number in range(ECHO + 1_000_000, ECHO + 1_000_000 + 2_000):
        began = time.perf_counter()
        await cluster.bus.publish(THERE, Probe(number))
        await received.answers(number)
        delays.append((time.perf_counter() - began) * 1e6)
        await asyncio.sleep(0.001)
    cuts = statistics.quantiles(delays, n=100)
    print(f"published    {min(published):.1f} µs of CPU per message")
    print(f"received     {min(heard):.1f} µs of CPU per message")
    print(f"round trip   {cuts[49]:.0f} µs at the median, {cuts[98]:.0f} µs at p99")


async def _node(url: str, messages: int | None) -> None:
    secrets = SecretsSection.model_validate({"sealing_keys": [f"k:{KEY}"], "pseudonym_key": KEY})
    async with open_bus(
        BusSection(url=url), secrets, SystemClock(), jitter=random.random, draw=os.urandom
    ) as cluster:
        await (serve(cluster) if messages is None else measure(cluster, messages))


async def _main(messages: int) -> None:
    redis = program()
    if redis is None:
        raise BenchError("there is no redis-server and no valkey-server on this machine")
    os.sched_setaffinity(0, {SERVER_CORE})
    port = free_port()
    url = f"redis://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        logs = Path(stack.enter_context(TemporaryDirectory()))
        words = (redis, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(logs))
        server = await stack.enter_async_context(running("redis", words, LOAD_CORE, logs))
        await server.until_listening(port)
        other = (sys.executable, "-m", "bench.profiles.bus", "--serve", url)
        await stack.enter_async_context(running("other", other, LOAD_CORE, logs))
        await _node(url, messages)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--serve", metavar="URL")
    options = parser.parse_args()
    run_loop(_main(options.messages) if options.serve is None else _node(options.serve, None))
