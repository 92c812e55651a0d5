"""A node, an OSCC-E Server in memory and phones that hold no socket, under a manual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from gateway.bus.memory import MemoryLeases
from gateway.core.rate_limits import AdmissionQueue
from gateway.core.session import Close
from gateway.core.view import Member
from gateway.domain.commands import NumberAct, OrderAct
from gateway.domain.errors import CloseCode
from gateway.domain.model import Application, Device, Kind, NodeId, Scope, Ticket, UserId
from gateway.domain.resources import Agent, Queue, RoutingState
from gateway.domain.upstream import LogOn, Part, Source
from gateway.protocol.envelopes import SessionFacts
from gateway.runtime.link_session import OwnerServices
from gateway.runtime.node import Node, NodeSettings
from gateway.runtime.ports import Cluster, Grant, SiteParts
from gateway.runtime.user_state import Owner
from gateway.telemetry import RuntimeCounters, Telemetry
from tests.doubles.alone import alone
from tests.doubles.clock import ManualClock
from tests.doubles.connection import Frame, SocketlessConnection
from tests.doubles.fake_link import FakeLink
from tests.doubles.fake_upstream import FakeUpstream
from tests.doubles.tickets import ticket_of

T = TypeVar("T")
CLIENT = {"app": "test", "version": "1", "platform": "none"}


class FakePhone(SocketlessConnection):
    """A phone's connection that keeps what it was sent."""

    def __init__(self, scene: Scene, ticket: Ticket, jitter: float = 0.5) -> None:
        super().__init__(scene.node, scene.clock, ticket, jitter)
        self.scene = scene
        self.frames: list[Frame] = []
        self.faults: list[Exception] = []
        self.woken = 0
        self._answered = 0
        self.facts: list[SessionFacts] = []
        """What it received of its session after it was attached."""
        scene.lines.append(self)

    def start(self, work: Coroutine[None, None, None]) -> None:
        self.scene.tasks.create_task(work)

    def deliver(self, frame: Frame) -> None:
        self.frames.append(frame)

    def wake(self) -> None:
        self.woken += 1
        super().wake()

    def facts_changed(self, facts: SessionFacts) -> None:
        self.facts.append(facts)
        super().facts_changed(facts)

    def fail(self, fault: Exception) -> None:
        self.faults.append(fault)
        if not self.is_gone:
            self.run(self.session.close(CloseCode.INTERNAL, "internal"))

    def leave(self) -> None:
        """End the connection, for either side."""
        self.is_gone = True
        self.session.release()
        self.leave_commands()
        vars(self).pop("commands", None)
        self.scene.node.detach(self)

    def send(self, **frame: object) -> None:
        """Let the phone send a frame."""
        self.receive(json.dumps(frame).encode())

    def hello(self, **fields: object) -> None:
        self.send(kind="hello", token="sealed", client=CLIENT, **fields)

    def bye(self) -> None:
        """Let the phone go to the background."""
        self.send(kind="bye")

    def command(self, identity: str, key: str, **fields: object) -> None:
        """Let the phone send a command: by default, that agent 7 be unavailable."""
        wanted = {"kind": "agent.routing_state.set", "agent_id": "7", "state": "unavailable", "when": "now"}
        frame = {
            "stream": fields.pop("stream", self.stream),
            "expires_at_ms": fields.pop("expires_at_ms", self.server_ms() + 10_000),
            "command": fields.pop("command", wanted),
            **fields,
        }
        self.send(kind="command", id=identity, key=f"00000000-0000-4000-8000-{key:0>12}", **frame)

    async def send_command(self, identity: str, key: str, **fields: object) -> tuple[str, str | None] | None:
        """Send a command, and let all happen that takes no time; return its outcome."""
        self.command(identity, key, **fields)
        await self.scene.clock.settle()
        return self.outcome(identity)

    async def connect(self, **hello: object) -> None:
        """Say hello, and let all happen that takes no time."""
        self.hello(**hello)
        await self.scene.clock.settle()

    def server_ms(self) -> int:
        """Return the time by the clock that the newest `welcome` or `ping` has shown."""
        clock, live = self.scene.clock, self.session.live
        wall_ms = clock.wall_ms()
        return wall_ms if live is None else live.outbox.ledger.dated_ms(clock.now(), wall_ms)

    def tick(self) -> None:
        """Let time be looked at, and answer the pings that came."""
        super().tick()
        fresh, self._answered = self.frames[self._answered :], len(self.frames)
        nonces = [frame["nonce"] for frame in fresh if frame["kind"] == "ping"]
        if self.closed is None and nonces:
            self.send(kind="pong", nonce=nonces[-1])

    # ---- what it shows ----

    @property
    def stream(self) -> str:
        """The stream in force."""
        return next((f["stream"] for f in reversed(self.of_kind("changes")) if "stream" in f), "0.none")

    @property
    def position(self) -> dict[str, Any]:
        """What it holds, for its next hello."""
        said = [frame for frame in self.frames if frame["kind"] in {"changes", "ping"}]
        return {"stream": self.stream, "seq": said[-1]["upto"]}

    @property
    def waiting(self) -> int:
        """How many contacts it shows as waiting in the queue."""
        contacts: int = self.shown["queue:5"]["contacts_waiting"]
        return contacts

    @property
    def health(self) -> str:
        """How fresh the data is, as it was sent last."""
        return str(self.of_kind("ping")[-1]["upstream"])

    @property
    def ended(self) -> Close:
        """How it was closed."""
        assert self.closed is not None, "it is open"
        return self.closed

    @property
    def code(self) -> int | None:
        """With which code it was closed; None while it is open."""
        return None if self.closed is None else self.closed.code

    @property
    def ending(self) -> tuple[int, str] | None:
        """How it was closed, as (code, reason)."""
        return None if self.closed is None else (int(self.closed.code), str(self.closed.reason))

    def outcome(self, identity: str = "1") -> tuple[str, str | None] | None:
        """The outcome that it received of a command, as (status, code of the error)."""
        received = self.result(identity)
        return None if received is None else (received["status"], received.get("error", {}).get("code"))

    def result(self, identity: str) -> dict[str, Any] | None:
        """The result that it received of a command."""
        found = [frame["outcome"] for frame in self.of_kind("result") if frame["id"] == identity]
        assert len(found) <= 1, "a command gets one result"
        return found[0] if found else None

    def error(self, identity: str) -> dict[str, Any]:
        """The error in the result that it received of a command."""
        received = self.result(identity)
        assert received is not None
        error: dict[str, Any] = received["error"]
        return error

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["kind"] == kind]

    @property
    def shown(self) -> dict[str, dict[str, Any]]:
        """What the phone shows after all its frames."""
        return shown_after(self.frames)


def shown_after(frames: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what a phone shows after *frames*."""
    shown: dict[str, dict[str, Any]] = {}
    for frame in frames:
        if frame["kind"] != "changes":
            continue
        if frame.get("reset"):
            shown = {}
        for key in frame.get("gone", []):
            shown.pop(key, None)
        shown |= frame.get("put", {})
        for key, fields in frame.get("patch", {}).items():
            shown[key] = {k: v for k, v in {**shown[key], **fields}.items() if v is not None}
    return shown


class Scene:
    """One node and one site."""

    def __init__(
        self,
        settings: NodeSettings,
        outside: tuple[ManualClock, FakeUpstream, SiteParts] | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        self.clock = ManualClock() if outside is None else outside[0]
        self.upstream = FakeUpstream(self.clock) if outside is None else outside[1]
        self.leases = MemoryLeases(self.clock)
        self.lines: list[FakePhone] = []
        self.audited: list[NumberAct | OrderAct] = []
        self.telemetry = Telemetry()
        self.cluster = cluster or alone(self.clock, self.leases)
        self.node = Node(
            settings,
            {"main": SiteParts(self.upstream, self.upstream) if outside is None else outside[2]},
            self.cluster,
            self.clock,
            lambda: 0.5,
            self.audited.append,
            RuntimeCounters(self.telemetry),
        )
        self.tasks: asyncio.TaskGroup

    async def phone(
        self,
        login: str,
        application: Application = Application.DASHBOARD,
        *,
        device: str = "d1",
        number: str | None = None,
        takeover: bool = False,
    ) -> FakePhone:
        """Log on, and give the phone that did."""
        credentials = LogOn(application, login, "secret", Device(device, "Phone"), number, takeover)
        logged_on = await self.node.account.log_on("main", credentials)
        ticket = ticket_of(logged_on, credentials, self.clock.wall_ms())
        return FakePhone(self, ticket)

    async def served(
        self,
        login: str = "anna",
        application: Application = Application.DASHBOARD,
        *,
        device: str = "d1",
        number: str | None = None,
        settled_s: float = 0.0,
        **hello: object,
    ) -> FakePhone:
        """Log on, say hello, let time pass; give the phone, served unless the scene makes it wait."""
        phone = await self.phone(login, application, device=device, number=number)
        await phone.connect(**hello)
        await self.pass_time(settled_s)
        return phone

    async def again(self, phone: FakePhone, **hello: object) -> FakePhone:
        """Give the next connection of the same session, after its hello."""
        line = FakePhone(self, phone.ticket)
        await line.connect(**hello)
        return line

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and the phones answer their pings."""
        until = self.clock.now() + seconds
        while self.clock.now() < until:
            await self.clock.advance(min(1.0, until - self.clock.now()))
            for line in self.lines:
                if line.closed is None:
                    line.tick()
            await self.clock.settle()

    async def starve(self, seconds: float) -> None:
        """Let time pass while each turn of the node's loop takes a second and more; the phones answer."""
        until = self.clock.now() + seconds
        while self.clock.now() < until:
            self.clock.stand_still(1.0)
            await self.pass_time(0.1)

    def counted(self, name: str, **labels: str) -> float:
        """Give a metric's value by its name without prefix; 0 when it has not moved."""
        return self.telemetry.registry.get_sample_value(f"oscc_gateway_{name}", labels) or 0.0

    @property
    def admission_queue(self) -> AdmissionQueue:
        """The queue before the site."""
        return self.node._queues["main"]

    @property
    def services(self) -> OwnerServices:
        """What the node's users share at the site."""
        return self.node._services_of["main"]

    def owner(self, key: int = 1) -> Owner:
        """Give the owner of a user."""
        owner = self.node.user_states[user(key)].owner
        assert owner is not None
        return owner

    def link(self, key: int = 1) -> FakeLink:
        """Give the open link of a user."""
        link = self.upstream.link(user(key))
        assert link is not None
        return link

    def member(self, phone: FakePhone) -> Member:
        """Give what the owner here has of a phone's session."""
        member = self.owner(phone.ticket.user.key).user_sessions.by_handle.get(phone.ticket.handle)
        assert member is not None
        return member

    async def grant(self, key: int = 1) -> Grant:
        """Give the lease of a user."""
        grant = await self.leases.read(user(key))
        assert grant is not None
        return grant

    def asked(self, kind: type[T]) -> list[T]:
        """Give what was asked on links of one kind, in order."""
        return [request for _, request in self.upstream.requests if isinstance(request, kind)]

    @property
    def queries(self) -> int:
        """Number of queries that run on the first user's link."""
        return len(self.upstream.user_links[user(1)].queries)


@asynccontextmanager
async def scene(settings: NodeSettings | None = None) -> AsyncIterator[Scene]:
    """Run a node with one supervisor (1) over two agents (7, 8) and a queue (5), and an agent (7)."""
    made = Scene(settings or NodeSettings(NodeId("n1"), "n1-1"))
    people(made.upstream)
    async with asyncio.TaskGroup() as tasks:
        made.tasks = tasks
        running = tasks.create_task(made.node.run())
        await made.clock.settle()
        yield made
        running.cancel()


def user(key: int) -> UserId:
    return UserId("main", key)


def replace_method(patch: pytest.MonkeyPatch, one: object, name: str, do: Callable[..., object]) -> None:
    """Have *do* called in place of a method of one object, whose class has slots."""
    usual = getattr(type(one), name)

    def call(self: object, *args: object, **kwargs: object) -> object:
        return do(*args, **kwargs) if self is one else usual(self, *args, **kwargs)

    patch.setattr(type(one), name, call)


def people(upstream: FakeUpstream) -> None:
    """Make the people and things of the scene known."""
    upstream.add_user(1, "anna", scope=Scope(agents=frozenset({7, 8}), queues=frozenset({5})))
    upstream.add_user(7, "bert", own_agent=7)
    upstream.put(
        Part(Kind.AGENT, 7, Source.DIRECTORY, Agent(display_name="Bert")),
        Part(Kind.AGENT, 8, Source.DIRECTORY, Agent(display_name="Cora")),
        Part(Kind.QUEUE, 5, Source.DIRECTORY, Queue(name="Billing")),
        Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=3)),
        Part(Kind.AGENT, 7, Source.REALTIME, Agent(routing_state=RoutingState.AVAILABLE)),
    )
