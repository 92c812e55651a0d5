"""Both sides of a recorded conversation.

Phones → the gateway's real connections, node and link → the simulated OSCC-E Server with all its
rules. Only the two networks are left out, and time passes by hand.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Final, cast
from unittest.mock import patch

from gateway.core.rate_limits import SessionLimits
from gateway.core.session import Session
from gateway.domain.commands import NumberAct, OrderAct
from gateway.domain.model import Application, Device, NodeId, Ticket
from gateway.domain.upstream import LogOn
from gateway.edge import limits
from gateway.edge.channel import (
    NO_FD,
    Channel,
    ChannelListener,
    ConnectionStats,
    ConnectionSummary,
    Disconnect,
    StatsOutput,
)
from gateway.edge.credentials import BearerAuth, CredentialServices, SessionCredentials, Tokens
from gateway.edge.policies import NoticesInForce, NumberPolicies, NumberPolicy
from gateway.edge.request_context import NO_ADDRESS, AdmissionLimits
from gateway.edge.scheduler import Scheduler
from gateway.edge.socket import CommandRunner, PhoneSocket, SocketServices
from gateway.protocol.codec import JSON
from gateway.protocol.websocket import Message
from gateway.runtime.node import Node, NodeSettings
from gateway.runtime.ports import Authority, SiteParts, Upstream
from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator.links import Link, Outlet
from gateway.simulator.model import Agent
from gateway.simulator.requests import Requests
from gateway.telemetry import Telemetry
from tests.core.samples import CLIENT
from tests.doubles.alone import alone
from tests.doubles.clock import CentreClock, ManualClock
from tests.doubles.tickets import ticket_of
from tests.edge.visits import KEYS, nonces
from tests.properties.socketless import ServerAccess
from tests.simulator.peer import texts
from tests.transcripts.abridged import Json, LinkEar, PhoneEar, wire
from tests.transcripts.recorder import Transcript


class Line:
    """What a :class:`gateway.edge.socket.PhoneSocket` needs of a channel; nothing waits in it."""

    codec: Final = JSON
    open_fd: Final = NO_FD
    unsent_bytes: Final = 0
    is_full: Final = False

    def __init__(self, phone: Handset) -> None:
        self._phone = phone
        self._listener: ChannelListener | None = None
        self._early: list[Message] = []

    def listen(self, listener: ChannelListener) -> None:
        """Tell who listens from now on."""
        self._listener = listener
        for message in self._early:
            listener.event_received(message)

    def say(self, message: Message) -> None:
        if self._listener is None:
            self._early.append(message)
        else:
            self._listener.event_received(message)

    def lose(self) -> None:
        if self._listener is not None:
            self._listener.disconnected(Disconnect("network", 1006))

    def put_frame(self, frame: bytes) -> None:
        self.write([frame])

    def put(self, data: bytes) -> None:
        """Bring WebSocket messages to the phone."""
        while data:
            size, start = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4], "big"), 4)
            self.write([data[start : start + size]])
            data = data[start + size :]

    def abort(self) -> None:
        """Do nothing: there is no connection."""

    def write(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._phone.hear(json.loads(frame))

    async def close(self, code: int, reason: str) -> None:
        """Tell the phone that it is over."""
        self._listener = None
        self._phone.closed(code)


class Handset:
    """One phone, and each of its connections in turn.

    Args:
        name: How it is called in the conversation.
        ticket: Whose it is.
        token: The same, sealed.
        journal: Where what it says and hears is written down.
    """

    def __init__(self, name: str, ticket: Ticket, token: str, journal: Stage) -> None:
        self.name = name
        self.ticket = ticket
        self.line = Line(self)
        self.position: Json = {"stream": "", "seq": 0}
        """What it holds, for its next hello."""
        self.outcomes: dict[str, Json] = {}
        """What became of each command, by the id of its frame."""
        self.last: Json = {}
        """The last command."""
        self._is_lost = False
        self._token = token
        self._journal = journal
        self._ear = PhoneEar()
        self._ids = 0
        self._health = ("live", "live")
        self._news: list[str] = []
        """The kinds of the frames that came since the last command, until its result."""

    # ---- what it says ----

    def hello(self, **fields: object) -> None:
        """Say who it is, on a new connection."""
        self.line = Line(self)
        self._is_lost = False
        self.say("hello", token=self._token, client=CLIENT, **fields)

    def say(self, kind: str, **fields: object) -> None:
        self._journal.write(f"{self.name} →", self._ear.received({"kind": kind, **fields}))
        self._send({"kind": kind, **fields})

    def lose(self) -> None:
        self._journal.write(f"{self.name} →", "loses the connection")
        self._is_lost = True
        self.line.lose()

    async def asks(
        self, command: str, *, expires_in_s: float = 10.0, then_s: float = 1.0, **fields: object
    ) -> None:
        """Command something with a new key.

        The state that it caused has come before its result; without any no state came. Then time passes.
        """
        self.last = {
            "key": f"00000000-0000-4000-8000-{self._journal.next_key():012}",
            "stream": self.position["stream"],
            "expires_at_ms": self._journal.wall_ms + round(expires_in_s * 1000),
            "command": {"kind": command, **fields},
        }
        outcome = await self._command({})
        if outcome:
            did_something = bool({"changes", "renewed"} & set(self._news))
            assert did_something is (outcome["status"] in {"applied", "pending"})
        await self._journal.passes(then_s)

    async def repeats(self, **fields: object) -> None:
        """Send the last command again, with its key: OSCC-E is not asked, and nothing changes."""
        requests = self._journal.requests
        await self.sends_again(**fields)
        assert self._journal.requests == requests
        assert "changes" not in self._news
        await self._journal.passes(1)

    async def sends_again(self, **fields: object) -> None:
        """Send the last command again, with its key, but for *fields*."""
        before = {} if "key" in fields else self.last
        self.last = {**self.last, **fields}
        await self._command(before)

    async def _command(self, before: Json) -> Json:
        self._ids += 1
        self._news = []
        frame_id = f"c{self._ids}"
        frame = {"id": frame_id, **self.last}
        self._journal.write(f"{self.name} →", f"command {wire(frame, before)}")
        self._send({"kind": "command", **frame})
        await self._journal.settle()
        return self.outcomes.get(frame_id, {})

    def _send(self, frame: Json) -> None:
        self.line.say(Message(json.dumps(frame).encode(), text=True))

    # ---- what it hears ----

    def hear(self, frame: Json) -> None:
        match frame["kind"]:
            case "ping":
                self._ping(frame)
                return
            case "changes":
                stream = frame.get("stream", self.position["stream"])
                self.position = {"stream": stream, "seq": frame["upto"]}
            case "renewed":
                self._token = frame["token"]
            case "result":
                assert frame["id"] not in self.outcomes, "a command gets one result"
                self.outcomes[frame["id"]] = frame["outcome"]
        if self._news[-1:] != ["result"]:
            self._news.append(frame["kind"])
        self._journal.write(f"{self.name} ←", self._ear.received(frame))

    def closed(self, code: int) -> None:
        """Note that the gateway closed; who lost the connection does not hear it."""
        if not self._is_lost:
            self._journal.write(f"{self.name} ←", f"close {code}")

    def _ping(self, frame: Json) -> None:
        """Answer a ping; it is written down when it is news."""
        self.position = {**self.position, "seq": frame["upto"]}
        health = (frame["upstream"], frame["bus"])
        if health != self._health:
            self._health = health
            self._journal.write(f"{self.name} ←", self._ear.received(frame))
        self._send({"kind": "pong", "nonce": frame["nonce"]})


class Recorded:
    """The server's requests, written down before they are executed.

    What a link says is written down from its first request on.
    """

    def __init__(self, requests: Requests, scribe: Stage) -> None:
        self._requests = requests
        self._scribe = scribe
        self.held: list[tuple[Link, Json]] = []
        """What is not executed yet."""

    def received(self, link: Link, body: Json) -> None:
        """Execute one request, now or later."""
        user = link.account.user_name
        if link.outlet is not None and not isinstance(link.outlet, RecordedOutlet):
            link.outlet = RecordedOutlet(link.outlet, user, self._scribe)
        if self._scribe.server_received(user, body, wire(body)):
            self._requests.received(link, body)
        else:
            self.held.append((link, body))

    def release(self) -> None:
        """Execute what was held."""
        held, self.held = self.held, []
        for link, body in held:
            self._requests.received(link, body)


class RecordedOutlet:
    """One link's way out."""

    def __init__(self, outlet: Outlet, user: str, scribe: Stage) -> None:
        self._outlet = outlet
        self._user = user
        self._scribe = scribe
        self._ear = LinkEar()

    def send(self, frames: bytes) -> None:
        """Send whole frames."""
        for text in texts(frames):
            message = json.loads(text)
            self._scribe.server_said(self._user, message, self._ear.received(message))
        self._outlet.send(frames)

    def close(self, code: int) -> None:
        """Say good-bye."""
        self._outlet.close(code)

    def abort(self) -> None:
        """Cut the line."""
        self._outlet.abort()


STEP_S: Final = 5.0
"""At least so often OSCC-E reads what has changed."""
CENTRE: Final = SimulatorSettings(
    agents=4, queues=4, groups=2, users=2, warm_up_s=0, password="secret", idle_timeout_s=3600
)
SUPERVISOR, COLLEAGUE, AGENT = "supervisor2", "supervisor1", "agent1"
PEOPLE: Final = {SUPERVISOR: "supervisor", COLLEAGUE: "colleague", AGENT: "agent", "agent2": "agent2"}
"""Who is called how: a supervisor of Team Berlin, one of everybody, and an agent of Team Berlin."""


class Numbered:
    """Stands in for :mod:`secrets` in the simulator: draws what never comes twice, in order."""

    def __init__(self) -> None:
        self._drawn = count(1)

    def token_urlsafe(self, _: int) -> str:
        """Draw a session's secret."""
        return f"{next(self._drawn):012}-secret"

    def token_hex(self, _: int) -> str:
        """Draw a link's id."""
        return f"{next(self._drawn):012x}"


class Stage:
    """A node, a server and phones.

    Invariant: the same acts make the same text.
    """

    def __init__(self, title: str) -> None:
        self.transcript = Transcript(title, width=22)
        self.clock = ManualClock()
        self.server = Simulator(CENTRE, CentreClock(self.clock))
        self.server.center.pause()
        self._recorded = Recorded(self.server.requests, self)
        self.server.requests = cast("Requests", self._recorded)
        self.access = ServerAccess("main", self.server, self.clock)
        self.notices = NoticesInForce()
        self.node = Node(
            NodeSettings(NodeId("n1"), "n1-1"),
            {"main": SiteParts(cast("Upstream", self.access), cast("Authority", self.access))},
            alone(self.clock),
            self.clock,
            lambda: 0.5,
            self._audit,
        )
        self.requests = 0
        """How many requests OSCC-E was sent, signs of life not counted."""
        self.is_slow = False
        """Whether requests wait for :meth:`answers`."""
        self._bearer = BearerAuth(
            Tokens(KEYS, ("main",), nonces()), self.node.denied, self.clock, grace_s=86_400.0
        )
        self._telemetry = Telemetry()
        self._keys = count(1)
        self._began = self.clock.now()
        self._is_hidden = self._are_links_hidden = False
        self._signs_of_life: set[tuple[str, int]] = set()
        self.scheduler: Scheduler[PhoneSocket] = Scheduler(self.clock)

    # ---- the journal ----

    @property
    def wall_ms(self) -> int:
        """The gateway's clock."""
        return self.clock.wall_ms()

    def next_key(self) -> int:
        """Give the next action's number."""
        return next(self._keys)

    def write(self, who: str, says: str) -> None:
        if not self._is_hidden:
            self.transcript.write(self.clock.now() - self._began, who, says)

    def note(self, received: str) -> None:
        """Say what the next lines show."""
        self.transcript.head(received)

    @contextmanager
    def hidden(self, *, phones: bool = True) -> Iterator[None]:
        """Write nothing down of links, nor of *phones*."""
        self._is_hidden, self._are_links_hidden = phones, True
        try:
            yield
        finally:
            self._is_hidden = self._are_links_hidden = False

    def server_received(self, user: str, request: Json, received: str) -> bool:
        """Note a request; returns whether it is executed now."""
        if request.get("Method") == "KeepAlive":
            self._signs_of_life.add((user, request["RequestID"]))
        else:
            self.requests += 1
            self._write_link(f"OSCC-E ← {PEOPLE[user]}", received)
        return not self.is_slow

    def server_said(self, user: str, message: Json, received: str) -> None:
        if (user, message.get("RequestID", 0)) in self._signs_of_life:
            self._signs_of_life.discard((user, message["RequestID"]))
        else:
            self._write_link(f"OSCC-E → {PEOPLE[user]}", received)

    def _write_link(self, who: str, says: str) -> None:
        if not self._are_links_hidden:
            self.write(who, says)

    def _audit(self, act: NumberAct | OrderAct) -> None:
        assert isinstance(act, NumberAct), "no operator is here"
        self.write("audit", f"{act.act} {act.number} {act.result}")

    # ---- phones ----

    async def comes(self, login: str, name: str, *, number: str | None = None, **hello: object) -> Handset:
        """Log on and say hello; give the phone once it is served. With a *number* it is an agent's."""
        application = Application.DASHBOARD if number is None else Application.REMOTE_ASSISTANT
        credentials = LogOn(application, login, "secret", Device(name, name), number)
        logged_on = await self.node.account.log_on("main", credentials)
        ticket = ticket_of(logged_on, credentials, self.wall_ms)
        phone = Handset(name, ticket, self._bearer.tokens.seal(ticket), self)
        with self.hidden():
            await self.connects(phone, **hello)
            await self.passes(1)
        self.write(name, f"is {ticket.display_name}, {application.value}")
        return phone

    async def connects(self, phone: Handset, **hello: object) -> None:
        """Open a connection, and say hello."""
        phone.hello(**hello)
        numbers = NumberPolicies({"main": NumberPolicy("DE")})
        commands = CommandRunner(numbers, self.notices, self.clock)
        socket = PhoneSocket(
            Session(JSON, SessionLimits(), self.clock.now(), 0.5),
            cast("Channel", phone.line),
            SocketServices(self.node, self.scheduler, commands, lambda _: None),
            SessionCredentials(CredentialServices(self._bearer, self.notices, self.clock), None, ("en",)),
            ConnectionStats(StatsOutput(self._telemetry, _forget), JSON, NO_ADDRESS, self.clock.now()),
        )
        socket.begin(limits.SocketAdmission(AdmissionLimits()).open_slot(NO_ADDRESS))
        await self.settle()

    # ---- the world ----

    async def settle(self) -> None:
        """Let everybody come to rest."""
        await self.clock.settle()

    async def passes(self, seconds: float) -> None:
        """Let time pass."""
        until = self.clock.now() + seconds
        while self.clock.now() < until:
            await self.clock.advance(min(STEP_S, until - self.clock.now()))
            await self._publish()

    async def happens(self, received: str, *acts: Callable[[], object]) -> None:
        """Let something happen at OSCC-E, and be sent to whom it concerns."""
        self.write("OSCC-E", received)
        for act in acts:
            act()
        await self._publish()

    async def _publish(self) -> None:
        board = self.server.board
        board.turn(self.server.clock.now_ms())
        board.publish()
        await self.settle()

    async def rings(self) -> Callable[[], None]:
        """Let a contact of queue 60001 be talked to by the agent; returns what ends it."""
        center = self.server.center
        contact = center.give(self.agent, center.directory.queues[60_001], None, "Talking")
        await self.happens("gives a contact of queue 60001 to agent 10001")
        return lambda: center.end(contact)

    async def answers(self) -> None:
        """Let OSCC-E execute what it was asked while it was slow."""
        self.is_slow = False
        self._recorded.release()
        await self.settle()

    def drops(self) -> None:
        """Let OSCC-E never read what it was asked while it was slow."""
        self.is_slow = False
        self._recorded.held.clear()

    async def reopens(self, user: int) -> None:
        """Cut a user's link and let it be opened again."""
        self.access.cut(user)
        self.access.unreachable.clear()
        await self.passes(5)

    def refuses_next(self, error: str) -> None:
        """Let OSCC-E refuse the next request for a reason that it keeps to itself."""
        self.server.faults.answer(error, 1)

    @property
    def agent(self) -> Agent:
        """The agent as OSCC-E knows him."""
        return self.server.center.directory.agents[10_001]


def _forget(_: ConnectionSummary) -> None:
    """Keep nothing of a connection that is over."""


@asynccontextmanager
async def stage(title: str) -> AsyncIterator[Stage]:
    """Run a node before a server; all is over when the block is left."""
    with patch("gateway.simulator.server.secrets", Numbered()):
        made = Stage(title)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(life) for life in (made.node.run(), made.scheduler.run())]
            await made.settle()
            yield made
            for life in reversed(running):
                life.cancel()
