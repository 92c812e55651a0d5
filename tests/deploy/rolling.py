"""Phones behind a proxy while nodes restart: what they show, and how long they are without a connection.

The phones are SDKs, so each does what the protocol asks of a client. Two things are measured:

- *Shown as live*: the age of a view that its phone shows as current, counted from the first change that is
  missing. It includes the time from the loss of a connection until the phone shows that, and from a new
  connection until its data is there. See :class:`tests.cluster.phones.Phone`.
- *Gaps*: from the end of a connection to the first data of the next. Each try to connect is timed. A `bye`
  announces when the phone comes back; the *overrun* is how much longer the gap lasts.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from unittest.mock import patch

import aiohttp

from bench.programs import process_cpu_s
from gateway.app.cli.demo import ChildProcess
from gateway.app.config.settings import LimitsSection
from gateway.app.process import tuned_gc
from gateway.client import Connected, Event, Reconnecting
from gateway.client.http import ClientConnection
from gateway.protocol.codec import Codec
from gateway.runtime.event_loop import SystemClock
from tests.cluster.cluster import Cluster, Size, cluster
from tests.cluster.crowd import Crowd
from tests.cluster.phones import Phone
from tests.cluster.stage import options_of
from tests.deploy.behind_proxy import Front, in_front
from tests.doubles.machine import waited_s
from tests.doubles.servers import redis_server

PARTS = ("window", "phone late", "tries", "upgrade", "first data")
TURN_EVERY_S = 0.1
LIE_MAX_S = 2.0
"""The age that a view shown as live may have, on nodes that get their cores."""
OVERRUN_MAX_S = 2.0
"""How much longer than announced a phone may be away, on nodes that get their cores."""


@dataclass
class Gap:
    """One phone without a connection; instants by the loop's clock."""

    phone: str
    lost_at: float
    reason: str
    waits_s: float
    """How long the phone waits before its first try."""
    announced_s: float
    """How long it has announced that it waits before its tries, in all."""
    waited_before_s: float
    """How long programs of the machine had waited for a core when it began."""
    tries: list[tuple[float, float]] = field(default_factory=list)
    """Begin and end of each try."""
    again: list[str] = field(default_factory=list)
    """Why it had to try again, each time."""
    back_at: float | None = None
    pressure_s: float = 0.0
    """How long programs waited for a core during it."""

    @property
    def whole_s(self) -> float:
        """From the end of the connection to the first data; infinite while the phone is not back."""
        return float("inf") if self.back_at is None else self.back_at - self.lost_at

    @property
    def overrun_s(self) -> float:
        """How much longer it lasts than announced."""
        return self.whole_s - self.announced_s

    def parts(self) -> dict[str, float]:
        """Return how long each part of it took; empty while the phone is not back."""
        if self.back_at is None or not self.tries:
            return {}
        (first, _), (last, opened) = self.tries[0], self.tries[-1]
        taken = (self.waits_s, first - self.lost_at - self.waits_s, last - first, opened - last)
        return dict(zip(PARTS, (*taken, self.back_at - opened), strict=True))


class Gaps:
    """All gaps of a crowd."""

    def __init__(self, phones: Sequence[Phone]) -> None:
        self.all: list[Gap] = []
        self._open: dict[str, Gap] = {}
        self._early: dict[str, list[tuple[float, float]]] = {}
        """Tries that began before the loss was read: on a busy machine a reader is later than its phone."""
        self._phones = {phone.client._http: phone for phone in phones}
        self._turns_s: list[float] = []
        """Turns of the loop that all phones share: each step of each phone waits for one."""
        self._collections_s: list[float] = []
        """Collections of garbage, for which all phones stand still."""

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Record gaps while the block lasts. Garbage is collected as rarely as in a node."""
        opened = patch.object(ClientConnection, "open", self._timed(ClientConnection.open))
        with opened, tuned_gc(SystemClock(), self._collections_s.append):
            async with asyncio.TaskGroup() as tasks:
                readers = [tasks.create_task(self._read(phone)) for phone in self._phones.values()]
                readers.append(tasks.create_task(self._measure_turns()))
                try:
                    yield
                finally:
                    for reader in readers:
                        reader.cancel()

    def _timed(self, really: Callable[..., object]) -> Callable[..., object]:
        now = asyncio.get_running_loop().time

        async def opened(
            session: aiohttp.ClientSession, address: str, codec: Codec, clock: SystemClock
        ) -> object:
            began, phone = now(), self._phones[session].name
            gap = self._open.get(phone)
            try:
                return await really(session, address, codec, clock)  # type: ignore[misc]  # a coroutine
            finally:
                gap = gap or self._open.get(phone)
                tries = self._early.setdefault(phone, []) if gap is None else gap.tries
                tries.append((began, now()))

        return opened

    async def _measure_turns(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(TURN_EVERY_S)
            began = now()
            await asyncio.sleep(0)
            self._turns_s.append(now() - began)

    async def _read(self, phone: Phone) -> None:
        now = asyncio.get_running_loop().time
        async for event in phone.client.events():
            self._record(phone.name, event, now())

    def _record(self, phone: str, event: Event, now: float) -> None:
        gap = self._open.get(phone)
        match event:
            case Reconnecting(in_s, reason) if gap is None:
                tries = self._early.pop(phone, [])
                self._open[phone] = gap = Gap(phone, now, reason, in_s, in_s, waited_s(), tries)
                self.all.append(gap)
            case Reconnecting(in_s, reason) if gap is not None:
                gap.again.append(reason)
                gap.announced_s += in_s
            case Connected() if gap is not None:
                gap.back_at, gap.pressure_s = now, waited_s() - gap.waited_before_s
                del self._open[phone]
            case Connected():
                self._early.pop(phone, None)
            case _:
                pass

    @property
    def reasons(self) -> Counter[str]:
        """Why connections ended, with the reasons of further tries."""
        return Counter(reason for gap in self.all for reason in (gap.reason, *gap.again))

    @property
    def overruns(self) -> list[Gap]:
        """Gaps that last too much longer than announced, without the time in which programs had no core."""
        return [gap for gap in self.all if gap.overrun_s - gap.pressure_s > OVERRUN_MAX_S]

    def report(self) -> str:
        """Return the percentiles of what was shown as live, and of the gaps and their parts."""
        parts = [gap.parts() for gap in self.all]
        lies_s = [phone.seen.lie_s for phone in self._phones.values()]
        lines = [_line("shown as live", lies_s), _line("gap", [gap.whole_s for gap in self.all])]
        lines += [_line(f"- {name}", [part[name] for part in parts if part]) for name in PARTS]
        lines.append(_line("overrun", [gap.overrun_s for gap in self.all]))
        lines.append(_line("phones' turn", self._turns_s))
        lines.append(_line("- collection", self._collections_s))
        lied = sum(lie_s > LIE_MAX_S for lie_s in lies_s)
        late = sum(gap.overrun_s > OVERRUN_MAX_S for gap in self.all)
        lines.append(f"over {LIE_MAX_S:.0f} s old and shown as live: {lied} phones")
        lines.append(f"over {OVERRUN_MAX_S:.0f} s longer away than announced: {late} phones")
        oldest = sorted((phone.seen.lie_s, phone.seen.lie) for phone in self._phones.values())[-3:]
        return "\n".join([*lines, f"ended by {dict(self.reasons)}", *(lie for _, lie in reversed(oldest))])


def _line(name: str, values: Sequence[float]) -> str:
    ordered = sorted(values) or [0.0]
    p50, p99, most = (ordered[min(len(ordered) - 1, int(part * len(ordered)))] for part in (0.5, 0.99, 1))
    return f"{name:13} p50 {p50:6.2f} s, p99 {p99:6.2f} s, longest {most:6.2f} s ({len(values)})"


@dataclass
class Rolled:
    """A cluster behind a proxy, and its phones."""

    cluster: Cluster
    crowd: Crowd
    gaps: Gaps
    since: float
    others: Mapping[str, int]
    """Processes besides nodes and phones: name → id."""

    async def cpu_shares(self, seconds: float) -> str:
        """Return which part of a core each program takes, as text, while no node restarts."""
        pids = {**self.others, **{node.name: node.pid for node in self.cluster.nodes}}

        def used() -> dict[str, float]:
            return {"phones": process_time(), **{name: process_cpu_s(pid) for name, pid in pids.items()}}

        clock, before = SystemClock(), used()
        began = clock.now()
        await asyncio.sleep(seconds)
        took_s = clock.now() - began
        parts = {name: (after - before[name]) / took_s for name, after in used().items()}
        each = ", ".join(f"{name} {part:.0%}" for name, part in parts.items())
        return f"CPU without a restart, of a core: {each}, all {sum(parts.values()):.0%}"


@asynccontextmanager
async def behind(
    folder: Path, size: Size, proxy: Callable[[Front], ChildProcess], limits: LimitsSection
) -> AsyncIterator[Rolled]:
    """Run phones of *size* behind *proxy*; when the block begins, each has been in sync."""
    budget_per_s = limits.log_ons_per_s
    options = options_of(size)
    proxies: list[ChildProcess] = []

    def kept(front: Front) -> ChildProcess:
        proxies.append(proxy(front))
        return proxies[-1]

    async with redis_server() as redis, aiohttp.ClientSession() as http:
        nodes = cluster(
            folder,
            nodes=size.nodes,
            redis=redis,
            centre=options,
            limits=limits.model_dump(include={"log_ons_per_s", "drain_notice_s", "drain_s"}),
            behind_proxy=True,
        )
        async with (
            nodes as running,
            in_front(folder, http, [each.ports for each in running.nodes], kept) as front,
        ):
            crowd = await Crowd.of(running, size)
            for phone in crowd.phones:
                phone.enter_by(front.url, front.tls)
            async with crowd:
                await crowd.arrive(within_s=60 + 6 * len(crowd.phones) / budget_per_s)
                since = await crowd.reset_counts()
                gaps = Gaps(crowd.phones)
                others = {"contact centre": running.centre.pid, "Redis": redis.pid}
                others |= {each.name: each.pid for each in proxies if each.pid is not None}
                async with gaps.watched():
                    yield Rolled(running, crowd, gaps, since, others)
