"""Cost of one update from a link's bytes to the phones' frames, in one process.

Many users, each with their own link, resources and phones; with ``--shared`` all have the same resources. The
gateway's code between the link's transport and the phone's descriptor is real; both ends are test doubles.
The figures are CPU time of the thread and Python calls, which other programs on the machine do not change.
Run with ``python -m bench.profiles.path --help``.

Instructions and misses of the caches are exact, whatever else the machine does, when valgrind counts them::

    valgrind --tool=callgrind --instr-atstart=no --dump-before=time_thread_time --cache-sim=yes \
        --I1=32768,8,64 --D1=49152,12,64 --LL=2097152,16,64 \
        python -m bench.profiles.path --counted --users 300 --rounds 3

It writes a file before and after each round; with these options ``callgrind_annotate callgrind.out.*.10``, 12
and 14 show those of the measured rounds, of 300 updates each.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, Final, cast

from bench.profiles.supervisor import Supervisor
from gateway.app.process import run_loop
from gateway.core.assembly import Composer
from gateway.core.element import Element
from gateway.core.ledger import Health
from gateway.core.rate_limits import SessionLimits
from gateway.core.session import Session
from gateway.core.view import me_key
from gateway.domain.model import UserId
from gateway.domain.resources import Me
from gateway.edge.channel import Channel, ConnectionStats, StatsOutput
from gateway.edge.credentials import SessionCredentials
from gateway.edge.scheduler import Scheduler
from gateway.edge.socket import CommandRunner, PhoneSocket, SocketServices
from gateway.protocol import websocket
from gateway.protocol.codec import JSON
from gateway.runtime.event_loop import REST_S, LinkScheduler, SystemClock
from gateway.runtime.mirror import SharedOffsets
from gateway.runtime.node import Node
from gateway.telemetry import RuntimeCounters, Telemetry
from gateway.upstream.oscce.http import Deadlines
from gateway.upstream.oscce.link import OsccLink, Terms
from gateway.upstream.oscce.readings import Readings
from gateway.upstream.oscce.socket import MASK_BYTES, LinkSocket

SETTLING: Final = 3
"""Rounds before the measurement; a round is one update of every user."""
SILENT_S: Final = 3_600.0
"""How long a phone may be silent, as none answers a ping: longer than any run."""
PAD: Final = "x" * 256
_MESSAGE_BYTES: Final = 4 * 2**20
_LONG: Final = 126
"""A frame's length in the next 2 bytes."""


class CountedClock(SystemClock):
    """Clock that moves with each reading.

    While callgrind counts, everything takes a hundred times as long.
    """

    __slots__ = ()

    now = staticmethod(partial(next, count(1_000.0, 20e-6)))

    def wall_ms(self) -> int:
        """Return ms since 1970 UTC."""
        return 1_700_000_000_000 + int(self.now() * 1000)


class _Transport(asyncio.Transport):
    """Connection without a network, which discards written bytes."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as in asyncio
        return self if name == "socket" else default

    def fileno(self) -> int:
        return self._fd

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def abort(self) -> None:
        self.closed = True


class _Server(_Transport):
    """Server's end of one user's link: it answers requests and makes events."""

    def __init__(self, user: int, queues: int, clock: SystemClock, *, shared: bool) -> None:
        super().__init__(-1)
        self._now_ms = clock.wall_ms
        first = 0 if shared else user * queues
        self.keys = [first + each for each in range(1, queues + 1)]
        self.query = 0
        self.link: LinkSocket
        self._user = user

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Receive masked frames of the link, and schedule the answers."""
        if data[0] & 0x0F != websocket.TEXT:  # a close frame, as the link ends
            asyncio.get_running_loop().call_soon(self.link.connection_lost, None)
            return
        sent, at = bytes(data), 0
        while at < len(sent):
            size, start = sent[at + 1] & 0x7F, at + 2
            if size == _LONG:
                size, start = int.from_bytes(sent[start : start + 2], "big"), start + 2
            mask, at = sent[start : start + MASK_BYTES], start + MASK_BYTES + size
            request = json.loads(websocket.unmask(sent[start + MASK_BYTES : at], mask))
            for answer in self._answer(request):
                asyncio.get_running_loop().call_soon(self.send, answer)

    def send(self, text: str) -> None:
        """Send a message to the link."""
        self.link.data_received(_framed(text))

    def opened(self) -> str:
        """Return the first message of a link."""
        person = {"Key": self._user, "ID": f"s{self._user}", "FirstName": "Ada", "LastName": "L."}
        opened = {
            "Type": "LinkOpened",
            "LinkID": "1",
            "Time": self._now_ms(),
            "KeepAlive": 20,
            "User": person,
        }
        return _text(opened | {"Session": self._session()})

    def _session(self) -> dict[str, Any]:
        scope = {"Users": [], "Queues": self.keys, "Groups": [], "Aggregates": []}
        one = {"Session": 1, "ID": f"s-{self._user}", "Application": "Dashboard", "Rights": []}
        return one | {"Scope": scope}

    def _answer(self, request: dict[str, Any]) -> Iterator[str]:
        said = {"Type": "Response", "RequestID": request["RequestID"], "Error": 0}
        match request["Method"]:
            case "AttachSession":
                yield _text(said | self._session())
            case "QueryDirectory":
                named = [{"Key": key, "Name": f"Queue {key}", "Media": "Voice"} for key in self.keys]
                yield _text(said | {"Objects": {"Queue": named}})
            case "ListenForEvents":
                query, event_type = request["RequestID"], request["EventType"]
                yield _text(said | {"QueryID": query})
                if event_type == "QueueRealtime":
                    self.query = query
                if event_type != "Administration":
                    yield self._whole(query, event_type)
            case _:
                yield _text(said)

    def _whole(self, query: int, event_type: str) -> str:
        elements: list[dict[str, Any]] = []
        if event_type == "QueueRealtime":
            elements = [_queue(key, 0) for key in self.keys]
        elif event_type == "QueueCumulative":
            elements = [{"QueueKey": key, "WindowStart": 0, "Received": 7} for key in self.keys]
        event = {"Type": "Event", "QueryID": query, "EventType": event_type, "Time": self._now_ms()}
        return _text(event | {"Complete": True, "Elements": elements})

    def update(self, number: int, elements: int) -> bytes:
        """Return the frame of one event with *elements* queues."""
        first = number * elements
        changed = [self.keys[each % len(self.keys)] for each in range(first, first + elements)]
        event = {"Type": "Event", "QueryID": self.query, "EventType": "QueueRealtime", "Time": self._now_ms()}
        return _framed(
            _text(event | {"Complete": False, "Elements": [_queue(key, number) for key in changed]})
        )


def _queue(key: int, number: int) -> dict[str, Any]:
    return {
        "QueueKey": key,
        "Contacts": number % 50,
        "OldestContactWaitTime": None,
        "ServiceLevel": 87.5,
        "ServiceLevelThreshold": 20,
        "ServiceLevelFormula": f"S:{number},K:{key},{PAD}"[:256],
        "AbandonedRate": 2.5,
        "EstimatedWaitTime": 30,
        "LoggedOnUsers": 40,
        "AvailableUsers": 11,
        "HandlingUsers": 21,
        "PostProcessingUsers": 3,
        "UnavailableUsers": 4,
        "WorkUsers": 1,
        "Level": "Ok",
    }


def _framed(text: str) -> bytes:
    payload = text.encode()
    return websocket.head(websocket.TEXT, len(payload)) + payload


def _text(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


class _Node:
    """Node as a phone's socket needs it; all users are local."""

    def __init__(self) -> None:
        self.users: dict[UserId, Supervisor] = {}

    def health(self, user: UserId) -> Health:
        """Return the health of the user's data."""
        return self.users[user].feed.ledger.health

    def detach(self, _: PhoneSocket) -> None:
        """Do nothing when the phone disconnects."""


class ProfiledNode:
    """All users of a node: links, mirrors and phones."""

    def __init__(self, options: argparse.Namespace, clock: SystemClock | None = None) -> None:
        self.phones, self.elements, self._lags = options.phones, options.elements, options.lags
        self._pace_s, self._every_s, self._have_own = options.pace, options.every, options.own
        self._sent: list[bytes] = []
        self._is_shared = options.shared
        self.telemetry = Telemetry()
        self._counters = RuntimeCounters(self.telemetry)
        self.clock = clock or SystemClock()
        self.link_scheduler = LinkScheduler(self.clock, rest_s=REST_S if options.every else 0.0)
        self.scheduler: Scheduler[PhoneSocket] = Scheduler(self.clock)
        self.link_scheduler.phones = self.scheduler
        self.servers = [
            _Server(user, options.queues, self.clock, shared=options.shared)
            for user in range(1, options.users + 1)
        ]
        self.users: list[Supervisor] = []
        self._node = _Node()
        self._pool, self._composer = Readings(), Composer()
        self._offsets = SharedOffsets()
        self._null = os.open(os.devnull, os.O_WRONLY)
        self._numbers = count(1)

    async def open(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Open each user's link and phones."""
        running = [tasks.create_task(self.scheduler.run())]
        for user, server in enumerate(self.servers, 1):
            terms = Terms(
                self._pool,
                self.clock,
                keys=False,
                deadlines=Deadlines(open_s=60.0, request_s=60.0),
                left=lambda: None,
            )
            server.link = LinkSocket(server, _MESSAGE_BYTES, lambda *_: None, self.link_scheduler)
            one = Supervisor(
                user,
                OsccLink(server.link, UserId("main", user), terms),
                self.clock,
                self._composer,
                self._offsets,
                self._counters,
                tasks,
            )
            running.append(tasks.create_task(one.run()))
            server.send(server.opened())
            await one.live.wait()
            self.users.append(one)
            self._node.users[one.feed.user] = one
            for number in range(self.phones):
                self._phone(one, number)
        await asyncio.sleep(0.1)
        return running

    def _phone(self, one: Supervisor, number: int) -> None:
        """Serve a phone. All phones of a user have the session of the link, under different handles."""
        (member,) = one.user_sessions
        ticket, facts = member.ticket, replace(member.facts(), handle=f"{member.handle}-{number}")
        if self._have_own:
            one.feed.ledger.record(me_key(facts.handle), Element(Me(str(ticket.user.key), "Ada")))
        limits = SessionLimits(pace_min_s=self._pace_s, ping_s=SILENT_S, pong_s=SILENT_S)
        session = Session(JSON, limits, self.clock.now(), 0.5)
        channel = Channel(_Transport(self._null), JSON, message_bytes=16 * 1024)
        credentials = SimpleNamespace(verified=ticket, ticket=ticket)
        stats = ConnectionStats(
            StatsOutput(self.telemetry, lambda _: None),
            JSON,
            cast("Any", SimpleNamespace(packed=bytes(4))),
            self.clock.now(),
        )
        services = SocketServices(
            cast("Node", self._node), self.scheduler, cast("CommandRunner", None), lambda _: None
        )
        socket = PhoneSocket(session, channel, services, cast("SessionCredentials", credentials), stats)
        channel.begin()
        socket.begin(cast("Any", SimpleNamespace(on_evicted=lambda _: None, release=lambda: None)))
        hello: dict[str, Any] = {"kind": "hello", "token": "t", "topics": ["queues"]}
        hello |= {"client": {"app": "bench", "platform": "web", "version": "1"}}
        now, wall_ms = self.clock.now(), self.clock.wall_ms()
        session.receive(_text(hello).encode(), now, wall_ms)
        session.attached(ticket, facts, one.feed.ledger, now, wall_ms)
        if session.live is None:
            raise RuntimeError(f"no phone is served: {session.state}")
        session.live.outbox.sink = socket
        one.feed.connections[facts.handle] = socket
        one.feed.flush()
        socket.wake()

    def round(self) -> list[tuple[LinkSocket, bytes]]:
        """Return the next frame of each user's link."""
        number = next(self._numbers)
        if self._is_shared:
            self._sent = [*self._sent, self.servers[0].update(number, self.elements)][-self._lags :]
            newest = len(self._sent) - 1
            return [
                (server.link, self._sent[newest - at % self._lags])
                for at, server in enumerate(self.servers)
                if at % self._lags <= newest
            ]
        return [(server.link, server.update(number, self.elements)) for server in self.servers]

    async def pass_on(self, updates: list[tuple[LinkSocket, bytes]], at_once: int) -> float:
        """Deliver *updates*, *at_once* per turn of the loop; returns the thread's CPU seconds.

        With ``--every`` they come evenly within that time instead.
        """
        sent, before = 0, self.telemetry.updates.value
        began, began_at = time.thread_time(), self.clock.now()
        if self._every_s:
            for at, (link, data) in enumerate(updates):
                if self.clock.now() < began_at + at / len(updates) * self._every_s:
                    await asyncio.sleep(REST_S)
                link.data_received(data)
            return time.thread_time() - began
        for index in range(0, len(updates), at_once):
            some = updates[index : index + at_once]
            for link, data in some:
                link.data_received(data)
            sent += len(some) * self.elements * self.phones
            while self.telemetry.updates.value - before < sent:  # noqa: ASYNC110 - an event would be measured, too
                await asyncio.sleep(0)
        return time.thread_time() - began


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Count the calls of each Python function."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            where = frame.f_code.co_filename.rpartition("/gateway/")[2]
            calls[f"{where}:{frame.f_code.co_qualname}"] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def _calls(node: ProfiledNode, at_once: int, rounds: int) -> Counter[str]:
    """Return the number of calls of each Python function in *rounds* rounds."""
    updates = [node.round() for _ in range(rounds)]
    with counted_calls() as calls:
        for some in updates:
            await node.pass_on(some, at_once)
    return calls


async def measure(options: argparse.Namespace) -> None:
    """Run the profile and print the figures."""
    gc.set_threshold(50_000, 20, 100)
    node = ProfiledNode(options, CountedClock() if options.counted else None)
    gc.collect()
    before = _rss()
    if options.trace:
        tracemalloc.start(1)
    async with asyncio.TaskGroup() as tasks:
        running = await node.open(tasks)
        gc.collect()
        idle = _rss()
        if options.trace:
            _show_memory(options.users)
            tracemalloc.stop()
        if options.counted:
            count_instructions()
        if options.first:
            calls = await _calls(node, options.at_once, 1)
            print(f"first update of each user: {calls.total() / options.users / options.elements:.1f} calls")
            _show_calls(calls, options.users * options.elements, options.show)
        for _ in range(SETTLING + options.lags):
            await node.pass_on(node.round(), options.at_once)
        took = []
        for _ in range(options.rounds):
            updates = node.round()
            took.append(await node.pass_on(updates, options.at_once))
        loaded = _rss()
        calls = await _calls(node, options.at_once, 0 if options.counted else 2)
        updates_in_round = options.users * options.elements
        each = [seconds / updates_in_round * 1e6 for seconds in took]
        per_update = calls.total() / updates_in_round / 2
        print(
            f"CPU {min(each):.1f} µs best, {statistics.median(each):.1f} median, {per_update:.1f} calls; "
            f"RSS per user {(idle - before) / options.users / 1024:.1f} KB, "
            f"{(loaded - before) / options.users / 1024:.1f} after load"
        )
        _show_calls(calls, updates_in_round * 2, options.show)
        for task in running:
            task.cancel()


def count_instructions() -> None:
    """Have callgrind, in which this process runs, count from now on."""
    words = ("callgrind_control", "--instr=on", str(os.getpid()))
    subprocess.run(words, check=True)  # noqa: S603 - all words are this program's own


def _show_calls(calls: Counter[str], updates: int, most: int) -> None:
    """Print the functions with the most calls, per update."""
    for name, times in calls.most_common(most):
        print(f"{times / updates:8.2f}  {name}")


def _show_memory(users: int) -> None:
    """Print the files that hold the most memory, per user."""
    for held in tracemalloc.take_snapshot().statistics("filename")[:25]:
        name = held.traceback[0].filename
        print(f"{held.size / users / 1024:9.2f} KB {held.count / users:9.1f} blocks  {name}")


def arguments(text: str) -> argparse.ArgumentParser:
    """Return the parser of a profile's options, with *text* as its description."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--queues", type=int, default=20)
    parser.add_argument("--phones", type=int, default=1, help="phones of each user")
    parser.add_argument(
        "--shared", action="store_true", help="all users see the same queues, in equal events"
    )
    parser.add_argument("--lags", type=int, default=1, help="equal events that are under way at once")
    parser.add_argument("--elements", type=int, default=1, help="queues that change in one event")
    parser.add_argument("--rounds", type=int, default=40, help="updates of each user that are measured")
    parser.add_argument("--at-once", type=int, default=8, help="updates that come in one turn of the loop")
    parser.add_argument("--every", type=float, default=0.0, help="each user's updates come every so many s")
    parser.add_argument("--pace", type=float, default=0.0, help="least time between a phone's frames, s")
    parser.add_argument("--own", action="store_true", help="phones have own values, which came one by one")
    parser.add_argument("--first", action="store_true", help="show the calls of the first update, too")
    parser.add_argument(
        "--counted", action="store_true", help="under callgrind: count from the first update on"
    )
    parser.add_argument("--show", type=int, default=0, help="how many functions to list by calls")
    parser.add_argument("--trace", action="store_true", help="show which files hold memory; slow")
    return parser


def main() -> None:
    """Read the options and run."""
    with suppress(asyncio.CancelledError):
        run_loop(measure(arguments(__doc__ or "").parse_args()))


if __name__ == "__main__":
    main()
