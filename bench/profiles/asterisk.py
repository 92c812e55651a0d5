"""Cost of an Asterisk to a node: whole readings, events, commands, and links that open.

Run with ``python -m bench.profiles.asterisk``: 20 queues of 200 members each, and 200 users who see them all,
over real sockets to the simulator's small Asterisk in a separate process. With ``ASTERISK=host:port``,
``ASTERISK_USER`` and ``ASTERISK_SECRET`` it is a real one with 20 queues, to which the members are added.
Figures are CPU time of this process, not wall time; garbage is collected as in a node. ``--check`` exits with
1 when a figure is over its bound; ``--profile`` prints the functions that are called while events arrive.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import cProfile
import hashlib
import os
import pstats
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from secrets import token_bytes
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from gateway.app.process import collect_when_idle, tuned_gc
from gateway.domain.commands import Execute, Listen, SetAgentRoutingState, TargetState
from gateway.domain.model import Application, Device, Kind
from gateway.domain.upstream import LinkClosed, LoggedOn, LogOn, Reading, Source
from gateway.runtime.event_loop import SystemClock, TaskGroup
from gateway.simulator.ami import FakeAsterisk, Membership
from gateway.upstream.asterisk import AsteriskServer, AsteriskSettings
from gateway.upstream.asterisk.ami import AmiAddress
from gateway.upstream.asterisk.link import AsteriskLink

QUEUES: Final = 20
MEMBERS: Final = 200
USERS: Final = 200
LINKS: Final = 1_500
SECONDS: Final = 20
PER_S: Final = 45
COMMANDS: Final = 100
BOUNDS: Final = {
    "reading everything, ms": 150.0,
    "its longest slice, ms": 10.0,
    "longest slice at the first connection, ms": 10.0,
    f"{PER_S} events/s, {USERS} users, % of a core": 3.0,
    "a command until its result, p99, ms": 50.0,
    f"{LINKS} links open, s": 5.0,
}
"""Each figure and its upper bound (docs/asterisk.md, *Bounds*)."""
_CLOCK: Final = SystemClock()
_SOURCES: Final = (Source.REALTIME, Source.CUMULATIVE)


def interface(number: int) -> str:
    """Return the interface of a member."""
    return f"Local/bench{number}@oscc-remote/n"


class Slices(asyncio.SelectorEventLoop):
    """Event loop that measures the CPU time of its turns, in which a node serves nothing else."""

    _longest_ms: float | None = None

    def _run_once(self) -> None:
        began = None if self._longest_ms is None else time.thread_time()  # the call itself takes time, too
        super()._run_once()  # type: ignore[misc]  # missing in the stubs
        if began is not None and self._longest_ms is not None:
            self._longest_ms = max(self._longest_ms, 1000 * (time.thread_time() - began))

    def begin(self) -> None:
        """Start measuring."""
        self._longest_ms = 0.0

    def end(self) -> float:
        """Return the longest turn since :meth:`begin`, ms."""
        longest_ms, self._longest_ms = self._longest_ms, None
        return longest_ms or 0.0


# ---- the Asterisk and its driver, in other processes ----


async def be_small() -> None:
    """Run the simulator's small Asterisk until killed; prints its port."""
    fake = FakeAsterisk(lambda: _CLOCK.wall_ms() / 1000)
    for place in range(QUEUES):
        queue = fake.add_queue(f"q{place}")
        for number in range(MEMBERS):
            queue.members[interface(number)] = Membership(interface(number), f"Agent {number}")
    await fake.start()
    print(fake.port, flush=True)
    await asyncio.Event().wait()


class Where(NamedTuple):
    """Address of an Asterisk, and an account there."""

    host: str
    port: int
    user: str
    secret: str


def _actions(kind: str) -> Iterator[tuple[str, str]]:
    """Yield a driver's actions: ``add`` or ``remove`` all members, or ``pause`` them in turn."""
    for turn in range(SECONDS * PER_S if kind == "pause" else QUEUES):
        if kind == "pause":
            state = "true" if turn // MEMBERS % 2 == 0 else "false"
            yield "QueuePause", f"Interface: {interface(turn % MEMBERS)}|Paused: {state}|Queue: {{queues[0]}}"
            continue
        for number in range(MEMBERS):
            more = (
                f"|StateInterface: Custom:bench{number}|MemberName: Agent {number}" if kind == "add" else ""
            )
            yield f"Queue{kind.title()}", f"Interface: {interface(number)}|Queue: {{queues[{turn}]}}{more}"


def drive(where: Where, kind: str) -> None:
    """Send the actions of *kind*, pauses at their rate; answers are read and ignored."""
    with socket.create_connection((where.host, where.port)) as wire:
        said = wire.makefile("r", encoding="utf-8", newline="\r\n")

        def act(name: str, fields: str) -> None:
            lines = [f"Action: {name}", *fields.split("|")]
            wire.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

        act("Login", f"Username: {where.user}|Secret: {where.secret}|Events: off")
        act("QueueSummary", "ActionID: 1")
        queues: list[str] = []
        for line in said:
            if line.startswith("Queue: "):
                queues.append(line.removeprefix("Queue: ").strip())
            if line.startswith("Event: QueueSummaryComplete"):
                break
        print("begins", flush=True)
        began = _CLOCK.now()
        for number, (name, fields) in enumerate(_actions(kind)):
            if kind == "pause" and (ahead_s := began + number / PER_S - _CLOCK.now()) > 0:
                time.sleep(ahead_s)
            act(name, fields.format(queues=sorted(queues)))
            while said.readline() != "\r\n":
                pass
        wire.shutdown(socket.SHUT_WR)


async def _child(*words: str) -> tuple[asyncio.subprocess.Process, str]:
    """Start another process of this module; returns it with its first line of output."""
    module = (sys.executable, "-m", "bench.profiles.asterisk")
    child = await asyncio.create_subprocess_exec(*module, *words, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    return child, (await child.stdout.readline()).decode()


async def _drive(where: Where, kind: str) -> asyncio.subprocess.Process:
    """Start a driver."""
    child, _ = await _child("--drive", kind, where.host, str(where.port), where.user, where.secret)
    return child


async def _driven(where: Where, kind: str) -> None:
    assert await (await _drive(where, kind)).wait() == 0


@asynccontextmanager
async def an_asterisk() -> AsyncIterator[Where]:
    """Provide the environment's real Asterisk, with members added, or else a small one."""
    named = os.environ.get("ASTERISK")
    if named:
        host, _, port = named.partition(":")
        user = os.environ.get("ASTERISK_USER", "oscc-gateway")
        where = Where(host, int(port or 5038), user, os.environ["ASTERISK_SECRET"])
        await _driven(where, "add")
        try:
            yield where
        finally:
            await _driven(where, "remove")
        return
    child, port = await _child("--serve")
    try:
        yield Where("127.0.0.1", int(port), "oscc", "secret")
    finally:
        child.kill()
        await child.wait()


# ---- the node ----


def _people(count: int) -> str:
    """Return a people file; the check of its one password costs almost no CPU time."""
    key = hashlib.scrypt(b"right", salt=bytes(16), n=1024, r=1, p=1, dklen=32)
    hashed = f"scrypt$1024$1$1${base64.b64encode(bytes(16)).decode()}${base64.b64encode(key).decode()}"
    one = '[[people]]\nlogin = "user{0}"\nname = "User {0}"\npassword = "{1}"\n'
    one += 'supervisor = true\nsees = ["*"]\n'
    return "\n".join(one.format(number, hashed) for number in range(count))


@asynccontextmanager
async def a_node(where: Where, folder: Path) -> AsyncIterator[AsteriskServer]:
    """Run the adapter of an Asterisk; the block begins once it is connected."""
    (folder / "people.toml").write_text(_people(LINKS), "utf-8")
    settings = AsteriskSettings(AmiAddress(*where), folder / "people.toml", is_alone=True)
    async with AsteriskServer("main", settings, _CLOCK, jitter=lambda: 0.5, draw=token_bytes) as server:
        assert await server.reached(60), server.monitor.last_failure
        yield server


class Users:
    """Users with a Dashboard that shows everything; their readings are only counted."""

    def __init__(self, server: AsteriskServer, tasks: TaskGroup) -> None:
        self.links: list[AsteriskLink] = []
        self.sent = 0
        self._server = server
        self._tasks = tasks
        self._sessions: list[LoggedOn] = []

    async def log_on(self, count: int) -> None:
        """Open sessions until the first *count* users have one."""
        for number in range(len(self._sessions), count):
            device = Device(f"d{number}", "bench")
            who = LogOn(Application.DASHBOARD, f"user{number}", "right", device)
            self._sessions.append(await self._server.log_on(who))

    async def open(self, count: int) -> None:
        """Open links, with all queries, until the first *count* users have one."""
        for session in self._sessions[len(self.links) : count]:
            link = await self._server.open(session.user.id, session.secret, token=1, holder="bench")
            self.links.append(link)
            self._tasks.create_task(self._receive(link))
            for listen in (
                *(Listen(kind, source, None) for kind in (Kind.AGENT, Kind.QUEUE) for source in _SOURCES),
                *(Listen(None, source, None) for source in (Source.CONFIGURATION, Source.DIRECTORY)),
            ):
                await link.request(listen)

    async def _receive(self, link: AsteriskLink) -> None:
        with suppress(LinkClosed):
            while True:
                self.sent += await link.receive(self._count) is not None

    def _count(self, events: Sequence[Reading]) -> None:
        self.sent += len(events)

    async def log_off(self) -> None:
        """End all sessions."""
        for session in self._sessions:
            await self._server.log_off(session.secret)


async def measure(loop: Slices, *, profiled: bool) -> dict[str, float]:
    """Measure everything; returns the figures by name."""
    found: dict[str, float] = {}
    async with an_asterisk() as where, TaskGroup() as tasks:
        collecting = tasks.create_task(collect_when_idle(_CLOCK))
        with TemporaryDirectory() as folder:
            loop.begin()
            async with a_node(where, Path(folder)) as server:
                found["longest slice at the first connection, ms"] = loop.end()
                users = Users(server, tasks)
                try:
                    await users.log_on(USERS)
                    await users.open(USERS)
                    found |= await _reading(server, loop)
                    found |= await _events(users, where, profiled=profiled)
                    found |= await _commands(users, where)
                    await users.log_on(LINKS)
                    began = time.process_time()
                    await users.open(LINKS)
                    opened_s = (time.process_time() - began) * LINKS / (LINKS - USERS)
                    found[f"{LINKS} links open, s"] = opened_s
                finally:
                    await users.log_off()
        collecting.cancel()
    return found


async def _reading(server: AsteriskServer, loop: Slices) -> dict[str, float]:
    loop.begin()
    began = time.process_time()
    await server.monitor.read_queues()
    while server.monitor.publisher.has_more:  # noqa: ASYNC110 - each turn publishes a part
        await asyncio.sleep(0)
    took_ms = 1000 * (time.process_time() - began)
    return {"reading everything, ms": took_ms, "its longest slice, ms": loop.end()}


async def _events(users: Users, where: Where, *, profiled: bool) -> dict[str, float]:
    driver = await _drive(where, "pause")
    profile, before = cProfile.Profile(), users.sent
    if profiled:
        profile.enable()
    began, wall = time.process_time(), _CLOCK.now()
    assert await driver.wait() == 0
    profile.disable()
    wall_s, cpu_s = _CLOCK.now() - wall, time.process_time() - began
    print(f"# {users.sent - before} readings were sent in {wall_s:.1f} s")
    if profiled:
        stats = pstats.Stats(profile)
        total = stats.total_calls  # type: ignore[attr-defined]  # missing in the stubs
        print(f"# {total / (SECONDS * PER_S):.0f} calls for each event")
        stats.sort_stats("tottime").print_stats(40)
    return {f"{PER_S} events/s, {USERS} users, % of a core": 100 * cpu_s / wall_s}


async def _commands(users: Users, where: Where) -> dict[str, float]:
    """Measure commands while events arrive."""
    link, took, waited = users.links[0], list[float](), list[float]()
    alias = next(iter(link.attached))
    agents = sorted(link.scope.of(Kind.AGENT))
    driver = await _drive(where, "pause")
    for number in range(COMMANDS):
        state: TargetState = "unavailable" if number // len(agents) % 2 == 0 else "available"
        command = SetAgentRoutingState(str(agents[number % len(agents)]), state, None)
        await asyncio.sleep(0.1)
        began, wall = time.process_time(), _CLOCK.now()
        await link.request(Execute(alias, command, f"k{number}", _CLOCK.wall_ms() + 10_000))
        took.append(1000 * (time.process_time() - began))
        waited.append(1000 * (_CLOCK.now() - wall))
    assert await driver.wait() == 0
    return {"a command until its result, p99, ms": sorted(took)[-2]}


def main(arguments: list[str]) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.profiles.asterisk", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a figure is over its bound")
    parser.add_argument(
        "--profile", action="store_true", help="print the functions that are called while events arrive"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--drive", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        asyncio.run(be_small())
    elif options.drive:
        kind, host, port, user, secret = options.drive
        drive(Where(host, int(port), user, secret), kind)
    else:
        loop = Slices()
        with asyncio.Runner(loop_factory=lambda: loop) as runner, tuned_gc(_CLOCK, lambda _: None):
            found = runner.run(measure(loop, profiled=options.profile))
        for name, bound in BOUNDS.items():
            print(f"{name:50} {found[name]:8.2f}  (at most {bound:.0f})")
        return int(options.check and any(found[name] > bound for name, bound in BOUNDS.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
