"""Latency of commands from a phone to the result, at a rate or as fast as possible.

Run as a separate process: ``python -m bench.load.commander PORT HELLOS PHONES FIRST_AGENT AGENTS RATE WINDOW
SECONDS PID``, where PID is the server's. Phone n commands AGENTS agents, from FIRST_AGENT + n × AGENTS. With
a RATE, the phones in turn send that many commands per second, whether or not results return; with RATE 0,
each phone has WINDOW commands under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import uvloop

from bench.programs import process_cpu_s
from bench.stats import quantile

WARMUP_S = 1.0
EXPIRES_MS = 10_000
READY_WITHIN_S = 30.0


class Arguments(NamedTuple):
    """Arguments of the command line."""

    port: int
    hellos: Path
    phones: int
    first_agent: int
    agents: int
    rate: float
    window: int
    seconds: float
    pid: int

    @classmethod
    def read(cls, words: list[str]) -> Arguments:
        """Read the command line."""
        port, phones, first_agent, agents, window = (int(words[place]) for place in (0, 2, 3, 4, 6))
        rate, seconds = float(words[5]), float(words[7])
        return cls(port, Path(words[1]), phones, first_agent, agents, rate, window, seconds, int(words[8]))


class Phone:
    """Phone that sends commands."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse[bool], first_agent: int, agents: int, counts: Counts
    ) -> None:
        self.ready = asyncio.Event()
        self.room = asyncio.Semaphore(0)
        self._socket = socket
        self._agents = itertools.cycle(range(first_agent, first_agent + agents))
        self._states = itertools.cycle(["unavailable"] * agents + ["available"] * agents)
        self._numbers = itertools.count()
        self._counts = counts
        self._sent: dict[str, float] = {}
        self._stream = ""

    async def command(self) -> None:
        """Send the next command."""
        number = str(next(self._numbers))
        fields = {"agent_id": str(next(self._agents)), "state": next(self._states), "when": "now"}
        frame = {
            "kind": "command",
            "id": number,
            "key": str(uuid.uuid4()),
            "stream": self._stream,
            "expires_at_ms": time.time_ns() // 1_000_000 + EXPIRES_MS,
            "command": {"kind": "agent.routing_state.set", **fields},
        }
        self._sent[number] = time.perf_counter()
        await self._socket.send_str(json.dumps(frame))

    async def read(self) -> None:
        """Process frames until the connection ends."""
        async for message in self._socket:
            frame: dict[str, Any] = json.loads(message.data)
            self._stream = frame.get("stream", self._stream)
            match frame["kind"]:
                case "result":
                    self._counts.take(time.perf_counter() - self._sent.pop(frame["id"]), frame["outcome"])
                    self.room.release()
                case "ping":
                    await self._socket.send_str(json.dumps({"kind": "pong", "nonce": frame["nonce"]}))
                case "changes" if not frame.get("more"):
                    self.ready.set()

    async def flood(self, window: int) -> None:
        """Send commands until cancelled, with *window* under way."""
        for _ in range(window):
            self.room.release()
        while True:
            await self.room.acquire()
            await self.command()


class Counts:
    """Results that arrived while *measuring* was set."""

    def __init__(self) -> None:
        self.measuring = False
        self.times_s: list[float] = []
        self.statuses: Counter[str] = Counter()

    def take(self, took_s: float, outcome: dict[str, Any]) -> None:
        """Count a result."""
        if self.measuring:
            self.times_s.append(took_s)
            self.statuses[outcome["status"]] += 1


async def play(arguments: Arguments) -> dict[str, Any]:
    """Connect the phones, send commands, and return the figures."""
    counts = Counts()
    lines = arguments.hellos.read_text("ascii").splitlines()[: arguments.phones]
    async with _phones(arguments, lines, counts) as phones, asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(phone.read()) for phone in phones]
        async with asyncio.timeout(READY_WITHIN_S):
            for phone in phones:
                await phone.ready.wait()
        if arguments.rate:
            running.append(tasks.create_task(_at_a_rate(phones, arguments.rate)))
        else:
            running += [tasks.create_task(phone.flood(arguments.window)) for phone in phones]
        await asyncio.sleep(WARMUP_S)
        counts.measuring, began, before_s = True, time.perf_counter(), process_cpu_s(arguments.pid)
        await asyncio.sleep(arguments.seconds)
        counts.measuring, took_s = False, time.perf_counter() - began
        used_s = process_cpu_s(arguments.pid) - before_s
        for task in running:
            task.cancel()
    return answer(counts, took_s) | {"server_cpu_s": used_s}


def answer(counts: Counts, took_s: float) -> dict[str, Any]:
    """Return the figures, in ms and per second."""
    times = sorted(counts.times_s)
    return {
        "done": len(times),
        "per_s": len(times) / took_s,
        "p50_ms": 1e3 * quantile(times, 0.5),
        "p99_ms": 1e3 * quantile(times, 0.99),
        "p999_ms": 1e3 * quantile(times, 0.999),
        "secs": took_s,
        "statuses": dict(counts.statuses),
    }


@contextlib.asynccontextmanager
async def _phones(arguments: Arguments, lines: list[str], counts: Counts) -> AsyncIterator[list[Phone]]:
    url = f"http://127.0.0.1:{arguments.port}/v1/realtime"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        phones = []
        for number, line in enumerate(lines):
            socket = await http.ws_connect(url, protocols=("oscc.v1.json",), max_msg_size=0)
            await socket.send_str(line)
            phones.append(
                Phone(socket, arguments.first_agent + number * arguments.agents, arguments.agents, counts)
            )
        yield phones


async def _at_a_rate(phones: list[Phone], rate: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    for phone in itertools.cycle(phones):
        due += 1 / rate
        if (wait_s := due - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        await phone.command()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(play(Arguments.read(sys.argv[1:])))))
