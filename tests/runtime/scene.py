"""A node, an OSCC-E Server in memory and phones that hold no socket, under a manual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.bus.memory import MemoryLeases
from gateway.core.effects import Attach, Close, Effects, Health, Invoke, SessionLimits
from gateway.core.session import Session
from gateway.domain.errors import CloseCode, SessionRefused
from gateway.domain.model import Application, Device, Kind, NodeId, Scope, Ticket, UserId
from gateway.domain.resources import Agent, Queue, RoutingState
from gateway.domain.upstream import LogOn, Part, Source
from gateway.protocol.codec import JSON
from gateway.protocol.envelopes import SessionFacts
from gateway.runtime.node import Node, NodeSettings, Site
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream

CLIENT = {"app": "test", "version": "1", "platform": "none"}


class PhoneLine:
    """A connection without a socket: runs a session against a node, and keeps what it was sent."""

    def __init__(self, scene: Scene, ticket: Ticket, jitter: float = 0.5) -> None:
        self.scene = scene
        self.ticket = ticket
        self.session = Session(JSON, SessionLimits(), scene.clock.now(), jitter)
        self.frames: list[dict[str, Any]] = []
        self.closed: Close | None = None

    @property
    def device(self) -> Device:
        return self.ticket.device

    def wake(self) -> None:
        self.take()

    def learned(self, facts: SessionFacts) -> None:
        self.run(self.session.learned(facts))

    def close(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> None:
        self.run(self.session.close(code, reason, by=by, window_s=window_s))

    def send(self, **frame: Any) -> None:
        """Let the phone send a frame."""
        clock = self.scene.clock
        self.run(self.session.receive(json.dumps(frame).encode(), clock.now(), clock.wall_ms()))

    def hello(self, **fields: Any) -> None:
        self.send(kind="hello", token="sealed", client=CLIENT, **fields)

    def leave(self) -> None:
        self.session.release()
        self.scene.node.detach(self)

    def run(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Attach(token=None):
                    self.scene.node.follow(self, effect.topics or ())
                case Attach():
                    self.scene.tasks.create_task(self._attach(effect.topics))
                case Invoke():
                    self.scene.tasks.create_task(self._invoke(effect))
                case Close():
                    self.closed = effect
                    self.take()
                    self.leave()
        self.take()

    async def _attach(self, topics: tuple[str, ...] | None) -> None:
        clock = self.scene.clock
        try:
            attachment = await self.scene.node.attach(self, self.ticket, topics)
        except SessionRefused as refused:
            self.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)
            return
        self.run(
            self.session.attached(
                self.ticket, attachment.facts, attachment.ledger, clock.now(), clock.wall_ms()
            )
        )

    async def _invoke(self, effect: Invoke) -> None:
        outcome = await self.scene.node.invoke(self, effect.call)
        self.run(self.session.settled(effect.id, outcome))

    def take(self) -> None:
        clock = self.scene.clock
        health: Health = self.scene.node.health(self.ticket.user)
        taken = self.session.take(clock.now(), clock.wall_ms(), health)
        self.frames += [json.loads(frame) for frame in taken]

    # ---- what it shows ----

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["kind"] == kind]

    @property
    def shown(self) -> dict[str, dict[str, Any]]:
        """What the phone shows after all its frames."""
        shown: dict[str, dict[str, Any]] = {}
        for frame in self.of_kind("changes"):
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

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.upstream = FakeUpstream(self.clock)
        self.leases = MemoryLeases(self.clock)
        self.node = Node(
            NodeSettings(NodeId("n1"), "n1-1"),
            {"main": Site(self.upstream, self.upstream)},
            self.leases,
            self.clock,
            lambda: 0.5,
        )
        self.tasks: asyncio.TaskGroup

    async def phone(
        self,
        login: str,
        application: Application = Application.DASHBOARD,
        *,
        device: str = "d1",
        number: str | None = None,
    ) -> PhoneLine:
        """Log on, and give the phone that did."""
        credentials = LogOn(application, login, "secret", Device(device, "Phone"), number)
        logged_on = await self.node.account.log_on("main", credentials)
        ticket = Ticket(
            user=logged_on.user.id,
            display_name=logged_on.user.display_name,
            application=application,
            secret=logged_on.secret,
            session=logged_on.session,
            device=credentials.device,
            notices=(),
            issued_at_ms=self.clock.wall_ms(),
            expires_at_ms=logged_on.expires_at_ms,
            idle_timeout_s=logged_on.idle_timeout_s,
        )
        return PhoneLine(self, ticket)

    def again(self, phone: PhoneLine) -> PhoneLine:
        """Give the next connection of the same session."""
        return PhoneLine(self, phone.ticket)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """Run a node with one supervisor (1) over two agents (7, 8) and a queue (5)."""
    made = Scene()
    made.upstream.add_user(1, "anna", scope=Scope(agents=frozenset({7, 8}), queues=frozenset({5})))
    made.upstream.add_user(7, "bert", own_agent=7)
    made.upstream.put(
        Part(Kind.AGENT, 7, Source.DIRECTORY, Agent(display_name="Bert")),
        Part(Kind.AGENT, 8, Source.DIRECTORY, Agent(display_name="Cora")),
        Part(Kind.QUEUE, 5, Source.DIRECTORY, Queue(name="Billing")),
        Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=3)),
        Part(Kind.AGENT, 7, Source.REALTIME, Agent(routing_state=RoutingState.AVAILABLE)),
    )
    async with asyncio.TaskGroup() as tasks:
        made.tasks = tasks
        running = tasks.create_task(made.node.run())
        await made.clock.settle()
        yield made
        running.cancel()


def user(key: int) -> UserId:
    return UserId("main", key)
