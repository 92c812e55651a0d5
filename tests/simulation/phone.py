"""A user with a phone: the actions of the user, and the data that they see.

The user logs on, connects to any node that accepts the phone, sends commands, repeats unanswered ones, loses
the connection silently, roams, logs off, and comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final, Protocol
from zlib import crc32

from gateway.core.session import Close
from gateway.domain.errors import CloseCode, Verdict, verdict
from gateway.domain.model import Application, Device, Ticket
from gateway.domain.upstream import LogOn
from tests.simulation.line import Frame, Line

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


class Place(Protocol):
    """The surroundings of users."""

    dice: Random

    def is_admitted(self, epoch: int) -> bool:
        """Return whether OSCC-E ever admitted a link with that token."""
        ...

    def knows_better(self, phone: Phone) -> bool:
        """Return whether the phone's node can have seen that there was a higher epoch."""
        ...

    def now(self) -> float:
        """Return the time."""
        ...

    def wall_ms(self) -> int:
        """Return ms since 1970."""
        ...

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Call *act* after a while."""
        ...

    def dial(self, ticket: Ticket, far: Phone) -> Line | None:
        """Return a connection to a node that accepts phones; None without one."""
        ...

    async def log_on(self, credentials: LogOn) -> Ticket | None:
        """Log on at a node."""
        ...

    async def log_off(self, ticket: Ticket) -> None:
        """Log off at a node."""
        ...

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* in the background."""
        ...

    def received(self, phone: Phone, order: Order, frame_id: str, status: str, code: str) -> None:
        """Record a result."""
        ...

    def dated(self, phone: Phone, as_of: float) -> None:
        """Record the instant until which a phone's data was reported as correct, by :meth:`now`."""
        ...

    def broken(self, law: str, what: str) -> None:
        """Record a broken law."""
        ...


class Phone:
    """One phone and its user.

    Args:
        place: The surroundings.
        login: The user's name.
        device: The phone's id.
        application: The app.
    """

    def __init__(self, place: Place, login: str, device: str, application: Application) -> None:
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
        self._place = place
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
            self._place.begin(self._try())

    async def _try(self) -> None:
        try:
            if self.ticket is None:
                self.epoch = 0
                self.ticket = await self._place.log_on(self._credentials())
        finally:
            self._is_trying = False
        if not self.wants or self.line is not None:
            return
        line = None if self.ticket is None else self._place.dial(self.ticket, self)
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
        self._place.later(self._place.dice.choice(AGAIN_S), self.go)

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
        """Disconnect the phone."""
        self.wants = False
        line = self._forget_line()
        if line is not None:
            line.hang_up()

    def come(self) -> None:
        """Connect the phone again."""
        self.wants = True
        self.go()

    def log_off(self) -> Ticket | None:
        """End the session, and disconnect the phone; return the ticket, which is invalid now."""
        ticket, self.ticket = self.ticket, None
        self.wants = False
        self.stream = ""
        if ticket is not None:
            self._place.begin(self._place.log_off(ticket))
        if self.line is not None:
            self._place.later(SEEN_OFF_S, partial(self._hang_up, self.line))
        return ticket

    def _hang_up(self, line: Line) -> None:
        """Close a connection that the node has not closed: it may not have received the log-off."""
        if line is self.line:
            self._forget_line()
            line.hang_up()
            self.go()

    def command(self, state: str) -> None:
        """Send a command for another state of the agent."""
        if self.line is None or not self.is_served or self.application is not Application.DASHBOARD:
            return
        self._numbers += 1
        key = f"00000000-0000-4000-8000-{crc32(self.name.encode()) % 10**6:06d}{self._numbers:06d}"
        given_ms = self._place.wall_ms() + self.ahead_ms
        order = Order(key, state, self.stream, given_ms + DEADLINE_MS, self._place.now(), self.connections)
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

    def hear(self, line: Line, frame: Frame) -> None:
        """Receive a frame."""
        if line is not self.line:
            return
        match frame["kind"]:
            case "welcome":
                self.is_served = True
                self.ahead_ms = frame["server_time_ms"] - self._place.wall_ms()
                for order in list(self.orders.values()):
                    if not order.is_answered and self._place.dice.random() < _RETRIES:
                        self._place.later(0, partial(self._send, order, retry=True))
            case "changes":
                self._changes(frame)
            case "ping":
                self.upstream, self.bus = frame["upstream"], frame["bus"]
                self._seq = frame["upto"]
                self._date(frame)
                self._place.later(0, lambda: self._pong(line, frame["nonce"]))
            case "result":
                self._result(frame)

    def _date(self, ping: Frame) -> None:
        self.ahead_ms = ping["server_time_ms"] - self._place.wall_ms()
        if ping["as_of_ms"] is None:
            return
        age_ms = ping["server_time_ms"] - ping["as_of_ms"]
        if age_ms < 0:
            self._place.broken("no data is of the future", f"{self.name}: {-age_ms / 1000:.3f} s")
        self._dated = as_of = self._place.now() - age_ms / 1000
        self._place.later(TOGETHER_S, partial(self._check_date, as_of))

    def _check_date(self, as_of: float) -> None:
        """Check a reported age, unless a new one came: the state follows at the phone's pace."""
        if as_of == self._dated and self.is_served:
            self._place.dated(self, as_of)

    def _pong(self, line: Line, nonce: str) -> None:
        if line.is_received:
            line.send(kind="pong", nonce=nonce)

    def _changes(self, frame: Frame) -> None:
        if "stream" in frame:
            self.stream = frame["stream"]
            # 0 belongs to no owner: the data stays until the next one is read
            epoch = int(self.stream.partition(".")[0]) or self.epoch
            if epoch < self.epoch and self._place.is_admitted(self.epoch) and self._place.knows_better(self):
                self._place.broken("epochs never go back", f"{self.name}: {epoch} after {self.epoch}")
            self.epoch = max(self.epoch, epoch) if self._place.is_admitted(self.epoch) else epoch
        if frame.get("reset"):
            self.shown = {}
        for key in frame.get("gone", ()):
            self.shown.pop(key, None)
        self.shown |= frame.get("put", {})
        for key, fields in frame.get("patch", {}).items():
            if key not in self.shown:
                self._place.broken("patches fit", f"{self.name}: {key}")
                continue
            self.shown[key] = {k: v for k, v in {**self.shown[key], **fields}.items() if v is not None}
        self._seq = frame["upto"]
        if self._has_seen and QUEUE not in self.shown and not frame.get("more"):
            self._place.broken("nobody is shown less than before", self.name)
        self._has_seen = self._has_seen or QUEUE in self.shown

    def _result(self, frame: Frame) -> None:
        for order in self.orders.values():
            if frame["id"] in order.frames:
                order.frames[frame["id"]] += 1
                order.is_answered = True
                outcome = frame["outcome"]
                code = outcome.get("error", {}).get("code", "")
                order.outcomes.append((outcome["status"], code))
                self._place.received(self, order, frame["id"], outcome["status"], code)

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
                    self._place.broken("nobody is turned away", f"{self.name}: {closed.code} {closed.reason}")
                # a user who sees that they were logged off logs on again
                self.ticket, self.stream = None, ""
                self._again()

    def _forget_line(self) -> Line | None:
        line, self.line = self.line, None
        self.is_served = False
        self.upstream = self.bus = "down"
        self._dated = None
        return line
