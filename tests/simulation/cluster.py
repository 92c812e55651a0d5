"""The cluster of a simulation with its users and their phones, and the record of its laws."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final, NamedTuple, TypeVar
from zlib import crc32

from gateway.core.session import Close
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, Verdict, verdict
from gateway.domain.model import Application, Device, SessionSecret, Ticket
from gateway.domain.upstream import LogOn
from tests.doubles.connection import Frame
from tests.doubles.tickets import ticket_of
from tests.simulation.centre import LOGINS, SimCentre
from tests.simulation.line import Line, PhoneEnd
from tests.simulation.loop import OUTSIDE, NodeClock, VirtualClock, VirtualLoop
from tests.simulation.nodes import Process
from tests.simulation.sorts import GENTLE
from tests.simulation.store import NetworkFaults, Server

CLIENT: Final = {"app": "test", "version": "1", "platform": "none"}
QUEUE: Final = "queue:5"
DEADLINE_MS: Final = 10_000
SEEN_OFF_S: Final = 0.25
"""Time within which a node closes the phone of a logged-off user."""
TOGETHER_S: Final = 0.3
"""Time within which a ping and the state that it describes arrive: state is sent 20 times a second."""
AGAIN_S: Final = (0.2, 0.5, 1.0, 2.0)
_RETRIES: Final = 0.7


@dataclass(slots=True)
class Order:
    """A command of a user."""

    key: str
    state: str
    stream: str
    deadline_ms: int
    """By the gateway's clock."""
    given_at: float
    connection: int
    """The number of the phone's connection on which it was sent first."""
    frames: dict[str, int] = field(default_factory=dict)
    """Number of results of each of its frames."""
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    """(status, code of the error) of each result."""
    is_answered: bool = False


class Phone:
    """One phone and its user.

    Args:
        cluster: The surroundings.
        login: The user's name.
        device: The phone's id.
        application: The app.
    """

    def __init__(self, cluster: SimulatedCluster, login: str, device: str, application: Application) -> None:
        self.login = login
        self.name = f"{login}/{device}"
        self.application = application
        self.wants = True
        """Whether the phone should be connected."""
        self.ticket: Ticket | None = None
        self.line: Line | None = None
        self.orders: dict[str, Order] = {}
        self.shown: dict[str, Frame] = {}
        self.upstream = "down"
        self.bus = "down"
        self.is_served = False
        self.connections = 0
        """Number of its connections."""
        self.unlinked_since: float | None = None
        """Since when its user has had no link while the phone is served."""
        self.unserved_since: float | None = None
        """Since when the phone should be served and is not."""
        self.stream = ""
        self.epoch = 0
        """The highest epoch that it received."""
        self._dated: float | None = None
        """As of when the shown data was correct by the last ping, as an instant of the place."""
        self.ahead_ms = 0
        """How far the gateway's clock is ahead, by its last message: deadlines are by that clock."""
        self._cluster = cluster
        self._device = device
        self._seq = 0
        self._numbers = 0
        self._is_trying = False
        self._has_seen = False
        """Whether this connection has received the queue."""

    # ---- what he does ----

    def go(self) -> None:
        """Stay connected to any node."""
        if self.wants and self.line is None and not self._is_trying:
            self._is_trying = True
            self._cluster.begin(self._try())

    async def _try(self) -> None:
        try:
            if self.ticket is None:
                self.epoch = 0
                self.ticket = await self._cluster.log_on(self._credentials())
        finally:
            self._is_trying = False
        if not self.wants or self.line is not None:
            return
        line = None if self.ticket is None else self._cluster.dial(self.ticket, self)
        if line is None:
            self._again()
            return
        self.line = line
        self.connections += 1
        self.is_served = False
        self.unlinked_since = None
        self._has_seen = False
        hello = {"position": {"stream": self.stream, "seq": self._seq}} if self.stream else {}
        line.send(kind="hello", token="sealed", client=CLIENT, **hello)

    def _credentials(self) -> LogOn:
        number = "+49301111111" if self.application is Application.REMOTE_ASSISTANT else None
        device = Device(self._device, "Phone")
        return LogOn(self.application, self.login, "secret", device, number, takeover=True)

    def _again(self) -> None:
        self._cluster.later(self._cluster.rng.choice(AGAIN_S), self.go)

    def vanish(self) -> Line | None:
        """Break the network silently; the node still has the connection. Then come back."""
        line = self._forget_line()
        if line is not None:
            line.is_received = False
        self._again()
        return line

    def roam(self) -> None:
        """Close the connection, and open another at once."""
        line = self._forget_line()
        if line is not None:
            line.send(kind="bye")
            line.hang_up()
        self.go()

    def leave(self) -> None:
        self.wants = False
        line = self._forget_line()
        if line is not None:
            line.hang_up()

    def come(self) -> None:
        self.wants = True
        self.go()

    def log_off(self) -> Ticket | None:
        """End the session, and disconnect the phone; return the ticket, which is invalid now."""
        ticket, self.ticket = self.ticket, None
        self.wants = False
        self.stream = ""
        if ticket is not None:
            self._cluster.begin(self._cluster.log_off(ticket))
        if self.line is not None:
            self._cluster.later(SEEN_OFF_S, partial(self._hang_up, self.line))
        return ticket

    def _hang_up(self, line: Line) -> None:
        """Close a connection that the node has not closed: it may not have received the log-off."""
        if line is self.line:
            self._forget_line()
            line.hang_up()
            self.go()

    def command(self, state: str) -> None:
        if self.line is None or not self.is_served or self.application is not Application.DASHBOARD:
            return
        self._numbers += 1
        key = f"00000000-0000-4000-8000-{crc32(self.name.encode()) % 10**6:06d}{self._numbers:06d}"
        given_ms = self._cluster.wall_ms() + self.ahead_ms
        order = Order(key, state, self.stream, given_ms + DEADLINE_MS, self._cluster.now(), self.connections)
        self.orders[key] = order
        self._send(order, retry=False)

    def _send(self, order: Order, *, retry: bool) -> None:
        if self.line is None:
            return
        self._numbers += 1
        frame_id = f"f{self._numbers}"
        order.frames[frame_id] = 0
        wanted = {"kind": "agent.routing_state.set", "agent_id": "7", "state": order.state, "when": "now"}
        extra = {"retry": True} if retry else {}
        self.line.send(
            kind="command",
            id=frame_id,
            key=order.key,
            stream=order.stream,
            expires_at_ms=order.deadline_ms,
            command=wanted,
            **extra,
        )

    # ---- what he sees ----

    def received(self, line: Line, frame: Frame) -> None:
        if line is not self.line:
            return
        match frame["kind"]:
            case "welcome":
                self.is_served = True
                self.ahead_ms = frame["server_time_ms"] - self._cluster.wall_ms()
                for order in list(self.orders.values()):
                    if not order.is_answered and self._cluster.rng.random() < _RETRIES:
                        self._cluster.later(0, partial(self._send, order, retry=True))
            case "changes":
                self._changes(frame)
            case "ping":
                self.upstream, self.bus = frame["upstream"], frame["bus"]
                self._seq = frame["upto"]
                self._date(frame)
                self._cluster.later(0, lambda: self._pong(line, frame["nonce"]))
            case "result":
                self._result(frame)

    def _date(self, ping: Frame) -> None:
        self.ahead_ms = ping["server_time_ms"] - self._cluster.wall_ms()
        if ping["as_of_ms"] is None:
            return
        age_ms = ping["server_time_ms"] - ping["as_of_ms"]
        if age_ms < 0:
            self._cluster.broken("no data is of the future", f"{self.name}: {-age_ms / 1000:.3f} s")
        self._dated = as_of = self._cluster.now() - age_ms / 1000
        self._cluster.later(TOGETHER_S, partial(self._check_date, as_of))

    def _check_date(self, as_of: float) -> None:
        """Check a reported age, unless a new one came: the state follows at the phone's pace."""
        if as_of == self._dated and self.is_served:
            self._cluster.dated(self, as_of)

    def _pong(self, line: Line, nonce: str) -> None:
        if line.is_received:
            line.send(kind="pong", nonce=nonce)

    def _changes(self, frame: Frame) -> None:
        if "stream" in frame:
            self.stream = frame["stream"]
            # 0 belongs to no owner: the data stays until the next one is read
            epoch = int(self.stream.partition(".")[0]) or self.epoch
            if (
                epoch < self.epoch
                and self._cluster.is_admitted(self.epoch)
                and self._cluster.knows_better(self)
            ):
                self._cluster.broken("epochs never go back", f"{self.name}: {epoch} after {self.epoch}")
            self.epoch = max(self.epoch, epoch) if self._cluster.is_admitted(self.epoch) else epoch
        if frame.get("reset"):
            self.shown = {}
        for key in frame.get("gone", ()):
            self.shown.pop(key, None)
        self.shown |= frame.get("put", {})
        for key, fields in frame.get("patch", {}).items():
            if key not in self.shown:
                self._cluster.broken("patches fit", f"{self.name}: {key}")
                continue
            self.shown[key] = {k: v for k, v in {**self.shown[key], **fields}.items() if v is not None}
        self._seq = frame["upto"]
        if self._has_seen and QUEUE not in self.shown and not frame.get("more"):
            self._cluster.broken("nobody is shown less than before", self.name)
        self._has_seen = self._has_seen or QUEUE in self.shown

    def _result(self, frame: Frame) -> None:
        for order in self.orders.values():
            if frame["id"] in order.frames:
                order.frames[frame["id"]] += 1
                order.is_answered = True
                outcome = frame["outcome"]
                code = outcome.get("error", {}).get("code", "")
                order.outcomes.append((outcome["status"], code))
                self._cluster.received(self, order, frame["id"], outcome["status"], code)

    def lost(self, line: Line, closed: Close | None) -> None:
        """Record that the connection is gone."""
        if line is not self.line:
            return
        self._forget_line()
        if closed is None:
            self._again()
            return
        match verdict(closed.code):
            case Verdict.BACK_OFF | Verdict.WINDOW:
                self._again()
            case Verdict.LOG_ON:
                self.ticket, self.stream = None, ""
                self._again()
            case Verdict.STOP:
                if closed.code not in {CloseCode.REPLACED, CloseCode.LOGGED_OFF}:
                    self._cluster.broken(
                        "nobody is turned away", f"{self.name}: {closed.code} {closed.reason}"
                    )
                # a user who sees that they were logged off logs on again
                self.ticket, self.stream = None, ""
                self._again()

    def _forget_line(self) -> Line | None:
        line, self.line = self.line, None
        self.is_served = False
        self.upstream = self.bus = "down"
        self._dated = None
        return line


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


class SimulatedCluster:
    """One cluster, its Redis, its OSCC-E Server and its users.

    Args:
        setup: The setup.
        event_names: The sorts of events that will happen.
        loop: Its time.
        tasks: Where everything runs.
    """

    def __init__(
        self, setup: Setup, event_names: frozenset[str], loop: VirtualLoop, tasks: asyncio.TaskGroup
    ) -> None:
        self.setup = setup
        self.event_names = event_names
        self.rng = Random(setup.seed)
        self.clock = VirtualClock(loop)
        self.centre = SimCentre(self.clock, fences=setup.fences)
        self.server = Server(self.clock)
        self.network = NetworkFaults(Random(setup.seed + 1))
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
        self._clock_rng = Random(setup.seed + 2)
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
        self._is_over = True
        for phone in self.phones:
            phone.wants = False
        for process in self.processes:
            process.kill(silently=False)

    # ---- what phones need of it ----

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
        return self._loop.time()

    def wall_ms(self) -> int:
        return self.clock.wall_ms()

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Call *act* after a while, if the simulation is not over."""
        if not self._is_over:
            self._loop.call_later(seconds, act, context=OUTSIDE)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.create_task(work, context=OUTSIDE.copy())

    def dial(self, ticket: Ticket, phone: Phone) -> Line | None:
        process = self.any()
        if process is None:
            return None
        self.note(f"{phone.name} -> {process.holder}")
        return self.connect(process, ticket, phone)

    def connect(self, process: Process, ticket: Ticket, phone: PhoneEnd) -> Line:
        jitter = self.rng.random()
        line = Line(process.node, process.clock, process.host, self._tasks, ticket, phone, jitter)
        process.lines.append(line)
        return line

    async def log_on(self, credentials: LogOn) -> Ticket | None:
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
        process = self.any()
        if process is not None:
            asked = LogOff(self.now(), process.holder, ticket.secret)
            await self._at(process, process.node.account.log_off(ticket))
            self.logged_off[ticket.handle] = asked

    async def _at(self, process: Process, asked: Coroutine[Any, Any, T]) -> T:
        """Return a node's answer: the node works on it while it is not stopped."""
        return await self._loop.create_task(asked, context=process.host.context.copy())

    def received(self, phone: Phone, order: Order, frame_id: str, status: str, code: str) -> None:
        self.note(f"{phone.name} {order.key[-6:]} {status} {code}")
        if order.frames[frame_id] > 1:
            self.broken("a command gets one result", order.key)
        executed = self.centre.executed[order.key]
        if status in {"applied", "pending", "unchanged"} and not executed:
            self.broken("what is applied was executed", f"{phone.name} {order.key} {status}")
        # a repetition at the next owner may be too early, and a command may cross the offer of its user
        is_sure = len(order.frames) == 1 and code != "owner_lost"
        if status == "unknown" and is_sure and self.event_names <= GENTLE:
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
        self.broken_laws.append(Broken(law, what, self.now() - self.began_at))

    def note(self, what: str) -> None:
        self.log.append(f"{self.now() - self.began_at:7.3f} {what}")

    # ---- faults ----

    def calm(self) -> None:
        while self._faults:
            self.mend(next(iter(self._faults)))

    def tick(self) -> None:
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
        return self._lives

    def trouble(self) -> None:
        self.bus_troubled_at = self.now()

    # ---- inner ----

    def _process(self, name: str) -> Process:
        self._lives += 1
        if name not in self._clocks:
            self._clocks[name] = self._machine_clock()
        clock = self._clocks[name]
        return Process(name, self._lives, clock, self._loop, self.server, self.network, self.centre, self.rng)

    def _machine_clock(self) -> NodeClock:
        if not self.setup.skewed:
            return NodeClock(self.clock)
        rng = self._clock_rng
        zero = rng.choice((0.0, 10_000.0, 5_000_000.0))
        return NodeClock(self.clock, zero=zero, rate=rng.choice(_RATES), ahead_s=rng.choice(_SET))

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
        return self.rng.choice(ready) if ready else None
