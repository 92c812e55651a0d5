"""The world of a simulation: its parts, and the record of its laws."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple, TypeVar

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, SessionSecret, Ticket
from gateway.domain.upstream import LogOn
from tests.doubles.tickets import ticket_of
from tests.simulation.centre import LOGINS, SimCentre
from tests.simulation.line import Far, Line
from tests.simulation.loop import OUTSIDE, NodeClock, VirtualClock, VirtualLoop
from tests.simulation.nodes import Process
from tests.simulation.phone import QUEUE, Order, Phone
from tests.simulation.sorts import GENTLE
from tests.simulation.store import Server, Weather

T = TypeVar("T")
TICK_S: Final = 0.5
_BUS: Final = ("redis", "cut", "storm")
"""Prefixes of the names of faults that concern the bus."""
DATED_S: Final = 1.0
"""How much earlier than the reported instant the shown data may have ceased to be correct."""
_RATES: Final = (1.0, 1.0, 1.0005, 0.9995, 1.005, 0.995)
"""NTP corrects 500 ppm (RFC 5905); a virtual machine's clock is worse."""
_SET: Final = (0.0, 0.0, 0.3, -0.3, 2.0, -2.0, 30.0, -30.0, 3600.0, -3600.0)
"""How far a wall clock is ahead that was never set, s."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The setup of a simulation."""

    seed: int
    nodes: int = 3
    supervisors: int = 1
    devices: int = 2
    assistant: bool = False
    fences: bool = True
    patient: bool = False
    """Whether it runs for a long time after the faults."""
    skewed: bool = False
    """Whether each node has its own clocks: wrongly set, too fast or too slow."""
    jostled: bool = False
    """Whether the timers of one instant run in an order by chance, not in that in which they were set."""


class LogOff(NamedTuple):
    """A request for a log-off, with its time and node; confirmed when it is answered."""

    at: float
    holder: str
    secret: SessionSecret


class Orphan(NamedTuple):
    """A session whose phone was served by a node when that ended."""

    phone: Phone
    ticket: Ticket
    at: float


@dataclass(frozen=True, slots=True)
class Broken:
    """A law that did not hold."""

    law: str
    what: str
    at: float


class World:
    """One cluster, its Redis, its OSCC-E Server and its users.

    Args:
        setup: The setup.
        happens: The sorts of events that will happen.
        loop: Its time.
        tasks: Where everything runs.
    """

    def __init__(
        self, setup: Setup, happens: frozenset[str], loop: VirtualLoop, tasks: asyncio.TaskGroup
    ) -> None:
        self.setup = setup
        self.happens = happens
        self.dice = Random(setup.seed)
        self.clock = VirtualClock(loop)
        self.centre = SimCentre(self.clock, fences=setup.fences)
        self.server = Server(self.clock)
        self.weather = Weather(Random(setup.seed + 1))
        self.broken_laws: list[Broken] = []
        self.log: list[str] = []
        """The history, for readers of a failure."""
        self.bus_troubled_at = -math.inf
        """When messages or data in Redis may have been lost last."""
        self.lossy_at = -math.inf
        """When messages were lost, doubled or delayed last."""
        self.swallowed_at = -math.inf
        self.logged_off: dict[str, LogOff] = {}
        """By the handles of the sessions."""
        self.orphans: dict[str, Orphan] = {}
        """By the handles of the sessions."""
        self.changed_at = -math.inf
        """When the last event that is not usual happened, or was still in effect."""
        self.began_at = loop.time()
        self._loop = loop
        self._tasks = tasks
        self._lives = 0
        self._clocks: dict[str, NodeClock] = {}
        self._clock_dice = Random(setup.seed + 2)
        self._is_over = False
        self._faults: dict[str, Callable[[], None]] = {}
        self.processes = [self._process(f"n{at}") for at in range(setup.nodes)]
        self.phones = [
            Phone(self, login, f"d{device}", Application.DASHBOARD)
            for login in LOGINS[: setup.supervisors]
            for device in range(setup.devices)
        ]
        if setup.assistant:
            self.phones.append(Phone(self, "bert", "d0", Application.REMOTE_ASSISTANT))

    def begin_life(self) -> None:
        """Start all nodes, and connect all phones."""
        for process in self.processes:
            process.begin(self._tasks, self._failed)
        for phone in self.phones:
            phone.go()

    def end(self) -> None:
        """End everything at once."""
        self._is_over = True
        for phone in self.phones:
            phone.wants = False
        for process in self.processes:
            process.kill(silently=False)

    # ---- Place ----

    def is_admitted(self, epoch: int) -> bool:
        """Return whether OSCC-E ever admitted a link with that token."""
        return epoch in self.centre.admitted

    def knows_better(self, phone: Phone) -> bool:
        """Return whether the phone's node can have seen that there was a higher epoch.

        Without fencing there is none. An owner who has lost its link without a sign of another owner serves
        its data, also to its followers, and reports it as stale. It cannot see that its link was replaced
        while the link carries nothing.
        """
        process = next((each for each in self.processes if phone.line in each.lines), None)
        if not self.setup.fences or process is None or phone.ticket is None:
            return False
        home = process.node.user_states.get(phone.ticket.user)
        if home is not None and home.follower is not None:
            by = home.follower.owner.holder
            process = next((each for each in self.processes if each.holder == by and each.is_alive), process)
            home = process.node.user_states.get(phone.ticket.user)
        owner = None if home is None else home.owner
        is_linked = owner is not None and owner.link is not None and process.site.swallowed is None
        return owner is None or is_linked or owner.lease.is_overtaken

    def now(self) -> float:
        """Return the time."""
        return self._loop.time()

    def wall_ms(self) -> int:
        """Return ms since 1970."""
        return self.clock.wall_ms()

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Call *act* after a while, if the world still exists."""
        if not self._is_over:
            self._loop.call_later(seconds, act, context=OUTSIDE)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* in the background."""
        self._tasks.create_task(work, context=OUTSIDE.copy())

    def dial(self, ticket: Ticket, far: Phone) -> Line | None:
        """Return a connection to a node that accepts phones."""
        process = self.any()
        if process is None:
            return None
        self.note(f"{far.name} -> {process.holder}")
        return self.connect(process, ticket, far)

    def connect(self, process: Process, ticket: Ticket, far: Far) -> Line:
        """Return a connection to a node."""
        jitter = self.dice.random()
        line = Line(process.node, process.clock, process.host, self._tasks, ticket, far, jitter)
        process.lines.append(line)
        return line

    async def log_on(self, credentials: LogOn) -> Ticket | None:
        """Log on at a node."""
        process = self.any()
        if process is None:
            return None
        try:
            received = await self._at(process, process.node.account.log_on("main", credentials))
        except GatewayError as error:
            if error.code not in {ErrorCode.UPSTREAM_UNAVAILABLE, ErrorCode.RATE_LIMITED}:
                self.broken("log-ons succeed", f"{credentials.user_name}: {error.code}")
            return None
        if not process.is_alive:
            return None
        return ticket_of(received, credentials, process.clock.wall_ms())

    async def log_off(self, ticket: Ticket) -> None:
        """Log off at a node."""
        process = self.any()
        if process is not None:
            asked = LogOff(self.now(), process.holder, ticket.secret)
            await self._at(process, process.node.account.log_off(ticket))
            self.logged_off[ticket.handle] = asked

    async def _at(self, process: Process, asked: Coroutine[Any, Any, T]) -> T:
        """Return a node's answer: the node works on it while it is not stopped."""
        return await self._loop.create_task(asked, context=process.host.context.copy())

    def received(self, phone: Phone, order: Order, frame_id: str, status: str, code: str) -> None:
        """Record a result."""
        self.note(f"{phone.name} {order.key[-6:]} {status} {code}")
        if order.frames[frame_id] > 1:
            self.broken("a command gets one result", order.key)
        executed = self.centre.executed[order.key]
        if status in {"applied", "pending", "unchanged"} and not executed:
            self.broken("what is applied was executed", f"{phone.name} {order.key} {status}")
        # a repetition at the next owner may be too early, and a command may cross the offer of its user
        is_sure = len(order.frames) == 1 and code != "owner_lost"
        if status == "unknown" and is_sure and self.happens <= GENTLE:
            self.broken("without a fault every outcome is known", f"{phone.name} {order.key} {code}")
        if status == "rejected" and executed:
            self.broken("what is rejected was not executed", f"{phone.name} {order.key} {code}")

    def dated(self, phone: Phone, as_of: float) -> None:
        """Compare the reported age of a phone's data with the truth."""
        value = phone.shown.get(QUEUE, {}).get("contacts_waiting")
        until = self.centre.waited_until.get(value) if isinstance(value, int) else None
        if until is not None and until < as_of - DATED_S:
            what = (
                f"{phone.name}: {value} until {until - self.began_at:.3f}, as of {as_of - self.began_at:.3f}"
            )
            self.broken("what is shown was true as of the instant that is shown", what)

    def broken(self, law: str, what: str) -> None:
        """Record a broken law."""
        self.broken_laws.append(Broken(law, what, self.now() - self.began_at))

    def note(self, what: str) -> None:
        """Record an event."""
        self.log.append(f"{self.now() - self.began_at:7.3f} {what}")

    # ---- faults ----

    def calm(self) -> None:
        """End all faults."""
        while self._faults:
            self.mend(next(iter(self._faults)))

    def tick(self) -> None:
        """Check the time."""
        now = self.now()
        if self._faults:
            self.changed_at = now
        if any(name.startswith((*_BUS, "pause")) for name in self._faults):
            self.trouble()
        if "storm" in self._faults:
            self.lossy_at = now
        if any(each.site.swallowed is not None or each.host.is_stopped for each in self.processes):
            self.swallowed_at = now
        for process in self.processes:
            if process.is_alive:
                process.tick()

    def fault(self, name: str, tenths: int, mend: Callable[[], None]) -> None:
        """Begin a fault, and end it after a while; an earlier one of that name ends before."""
        self.mend(name)

        def once() -> None:
            if self._faults.get(name) is once:
                del self._faults[name]
                self.note(f"mended: {name}")
                mend()

        self._faults[name] = once
        if name.startswith(_BUS):
            self.trouble()
        self.later(tenths / 10, once)

    def mend(self, name: str) -> None:
        """End the fault of that name."""
        before = self._faults.get(name)
        if before is not None:
            before()

    def buried(self, process: Process) -> None:
        """Record the users whom a node served that ends now."""
        for phone in self.phones:
            if phone.line in process.lines and phone.is_served and phone.ticket is not None:
                self.orphans[phone.ticket.handle] = Orphan(phone, phone.ticket, self.now())

    @property
    def lives(self) -> int:
        """Number of node lives that have begun."""
        return self._lives

    def trouble(self) -> None:
        """Record that messages, or data of Redis, may be lost."""
        self.bus_troubled_at = self.now()

    # ---- inner ----

    def _process(self, name: str) -> Process:
        self._lives += 1
        if name not in self._clocks:
            self._clocks[name] = self._machine_clock()
        clock = self._clocks[name]
        return Process(
            name, self._lives, clock, self._loop, self.server, self.weather, self.centre, self.dice
        )

    def _machine_clock(self) -> NodeClock:
        if not self.setup.skewed:
            return NodeClock(self.clock)
        dice = self._clock_dice
        zero = dice.choice((0.0, 10_000.0, 5_000_000.0))
        return NodeClock(self.clock, zero=zero, rate=dice.choice(_RATES), ahead_s=dice.choice(_SET))

    def start_again(self, process: Process, seconds: float) -> None:
        """Start an ended node again, after a while."""

        def start() -> None:
            if not self._is_over and process in self.processes:  # it may be killed while it stops
                again = self._process(process.name)
                self.processes[self.processes.index(process)] = again
                again.begin(self._tasks, self._failed)
                self.note(f"{again.holder} begins")

        if not process.is_alive:
            self.later(seconds, start)

    def _failed(self, fault: Exception) -> None:
        self.broken("nodes do not fail", repr(fault))

    def any(self) -> Process | None:
        """Return a node that accepts phones."""
        ready = [each for each in self.processes if each.is_ready]
        return self.dice.choice(ready) if ready else None
