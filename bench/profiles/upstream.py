"""Cost of an element from a link's bytes to the mirror, on the first link and on later ones.

Many links of one node receive the same bytes. The gateway's code between the WebSocket and the ledger is
real; the sockets are queues in memory. Run with ``python -m bench.profiles.upstream --help``.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from bench.profiles.centre import Centre
from bench.profiles.supervisor import Supervisor
from gateway.app.process import run_loop
from gateway.core.assembly import Composer
from gateway.domain.model import UserId
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.mirror import SharedOffsets
from gateway.telemetry import RuntimeCounters
from gateway.upstream.oscce.http import Deadlines
from gateway.upstream.oscce.link import OsccLink, Terms
from gateway.upstream.oscce.readings import Kept, Readings
from gateway.upstream.oscce.socket import Incoming, LinkSocket, SocketReader

SETTLING = 6
"""Readings before the measurement, until all one-time costs are over."""


class CentreClock(SystemClock):
    """Clock of the centre, which advances with its readings."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._centre.now_ms / 1_000

    def wall_ms(self) -> int:
        """Return ms since 1970 UTC."""
        return self._centre.now_ms


class Socket:
    """WebSocket as a link needs it; the server sends through :meth:`tell`."""

    def __init__(self, centre: Centre, user: int) -> None:
        self._centre = centre
        self._user = user
        self._told: deque[str] = deque([centre.opened(user)])
        self._queries: dict[str, int] = {}
        self._waiting: asyncio.Future[None] | None = None
        self._idle = asyncio.Event()
        self.served_s = 0.0
        """CPU seconds of the server's end, which the figures exclude."""

    @property
    def has_message(self) -> bool:
        """Whether a message waits to be received."""
        return bool(self._told)

    @property
    def came_at(self) -> float:
        """When the newest message came, by the centre's clock."""
        return self._centre.now_ms / 1_000

    def arrival(self, reader: SocketReader) -> None:
        """Have :meth:`receive` wait itself."""

    async def receive(self, reader: SocketReader | None = None) -> Incoming:
        """Return the next message that *reader* leaves."""
        while True:
            while not self._told:
                self._idle.set()
                self._waiting = asyncio.get_running_loop().create_future()
                await self._waiting
            text = self._told.popleft()
            unread: list[Kept] = [text.encode()]
            if reader is not None:
                reader.take_readings(unread)
            if unread:
                return text

    def send_now(self, text: str) -> bool:
        """Send nothing: requests take their turn."""
        del text
        return False

    send_soon = send_now

    async def send(self, text: str) -> None:
        """Receive a request, and send the answers."""
        began = time.process_time()
        request = json.loads(text)
        if request["Method"] == "ListenForEvents":
            self._queries[request["EventType"]] = request["RequestID"]
        self.deliver(self._centre.answer(self._user, request))
        self.served_s += time.process_time() - began

    def events(self, changed: dict[str, list[int]]) -> list[str]:
        """Return one event for each event type."""
        make_event = self._centre.event
        return [
            make_event(self._queries[event_type], event_type, keys) for event_type, keys in changed.items()
        ]

    async def close(self, code: int) -> None:
        """Do nothing: there is no connection."""

    def deliver(self, texts: list[str]) -> None:
        """Send to the link."""
        self._told.extend(texts)
        self._idle.clear()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def received(self) -> None:
        """Wait until the link has received all messages."""
        await self._idle.wait()


def _nothing() -> None:
    """Do nothing."""


class Site:
    """All links of a node, with measurements of each.

    Args:
        links: Number of links.
        apart: Whether each link's first readings have their own time, as when users log on one by one.
    """

    def __init__(self, centre: Centre, links: int, *, apart: bool) -> None:
        self._centre = centre
        self._links = links
        self._apart = apart
        self.pool = Readings()
        self.supervisors: list[tuple[Supervisor, Socket]] = []
        self.running: list[asyncio.Task[None]] = []
        self._composer, self._offsets, self._counters = Composer(), SharedOffsets(), RuntimeCounters()
        self._clock = CentreClock(centre)

    def _link(self, user: int, socket: Socket) -> OsccLink:
        terms = Terms(
            self.pool,
            self._clock,
            keys=False,
            deadlines=Deadlines(open_s=60.0, request_s=60.0),
            left=_nothing,
        )
        return OsccLink(cast("LinkSocket", socket), UserId("main", user), terms)

    async def connect(self, tasks: asyncio.TaskGroup) -> list[float]:
        """Open every link; returns how long each took until it was live, in seconds."""
        took = []
        for user in range(self._links):
            if self._apart:
                self._centre.now_ms += 7
            began = time.process_time()
            socket = Socket(self._centre, user)
            link = self._link(user, socket)
            one = Supervisor(user, link, self._clock, self._composer, self._offsets, self._counters, tasks)
            self.running.append(tasks.create_task(one.run()))
            await one.live.wait()
            await socket.received()
            took.append(time.process_time() - began - socket.served_s)
            self.supervisors.append((one, socket))
        return took

    async def read(self) -> tuple[int, list[float]]:
        """Send one reading on every link; returns its elements and the CPU seconds of each link."""
        users, queues = self._centre.step()
        changed = {"UserRealtime": users, "QueueRealtime": queues}
        took = []
        for _, socket in self.supervisors:
            texts = socket.events(changed)
            began = time.process_time()
            socket.deliver(texts)
            await socket.received()
            took.append(time.process_time() - began)
        return len(users) + len(queues), took


def _rss() -> int:
    """Return the resident memory of the process, in bytes."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


def _show(name: str, took: list[list[float]], elements: int) -> None:
    """Print µs per element: medians over readings, of the first link and of the others' mean."""
    first = statistics.median(one[0] for one in took)
    others = [statistics.fmean(one[1:]) for one in took if len(one) > 1]
    further = statistics.median(others) if others else float("nan")
    print(f"{name:<12} {elements:>6} elements  first link {first / elements * 1e6:7.2f} µs each,", end="")
    print(f"  further links {further / elements * 1e6:7.3f} µs each")


async def measure(options: argparse.Namespace) -> None:
    """Run the profile and print the figures."""
    centre = Centre(options.agents, options.queues)
    site = Site(centre, options.links, apart=options.apart)
    gc.collect()
    before = _rss()
    if options.trace:
        tracemalloc.start(8)
    async with asyncio.TaskGroup() as tasks:
        with _profiled(options.profile if options.connect else None):
            took = await site.connect(tasks)
        _show("whole sets", [took], 3 * (options.agents + options.queues))
        gc.collect()
        gc.freeze()
        for _ in range(SETTLING):
            await site.read()
        with _profiled(None if options.connect else options.profile):
            readings = [await site.read() for _ in range(options.readings)]
        _show("readings", [took for _, took in readings], readings[0][0])
        gc.collect()
        per_link = (_rss() - before) / options.links / 1024
        print(f"memory       {_rss() / 2**20:6.0f} MiB in all, {per_link:.1f} KiB per link")
        if options.trace:
            _show_memory(options.links)
        for task in site.running:
            task.cancel()


@contextmanager
def _profiled(path: str | None) -> Iterator[None]:
    """Write a profile of the block to *path*; does nothing when *path* is None."""
    if path is None:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    profile.dump_stats(path)


def _show_memory(links: int) -> None:
    """Print the lines that hold the most memory, per link."""
    for held in tracemalloc.take_snapshot().statistics("lineno")[:25]:
        frame = held.traceback[0]
        print(f"{held.size / links / 1024:9.2f} KiB {held.count / links:9.1f} blocks  {frame}")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--links", type=int, default=50)
    parser.add_argument("--agents", type=int, default=1_500)
    parser.add_argument("--queues", type=int, default=100)
    parser.add_argument(
        "--readings", type=int, default=20, help="readings to send, one per second of the centre's time"
    )
    parser.add_argument(
        "--apart", action="store_true", help="give the whole sets of each link an instant of their own"
    )
    parser.add_argument("--profile", metavar="FILE", help="write the profile of the readings to FILE")
    parser.add_argument("--connect", action="store_true", help="profile the whole sets, not the readings")
    parser.add_argument("--trace", action="store_true", help="show which lines hold memory; slow")
    run_loop(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
