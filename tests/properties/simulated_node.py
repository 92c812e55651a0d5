"""Participants of the state rules, and what each phone shows after each frame.

One node, the simulated server behind it, and phones that hold no socket. Phones keep their mirror
from frames alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final, NamedTuple, TypeVar, cast

from hypothesis.stateful import RuleBasedStateMachine

from gateway.bus.memory import MemoryLeases
from gateway.domain.commands import NumberAct, OrderAct
from gateway.domain.model import Application, NodeId, Ticket
from gateway.protocol.codec import JSON
from gateway.protocol.frames import Changes, Ping
from gateway.runtime.node import Node, NodeSettings
from gateway.runtime.ports import Authority, SiteParts, Upstream
from gateway.simulator import Simulator, SimulatorSettings
from tests.doubles.alone import alone
from tests.doubles.clock import CentreClock, ManualClock
from tests.properties.agent_model import AgentModel
from tests.properties.phone import Phone
from tests.properties.socketless import ServerAccess
from tests.runtime.scene import FakePhone, Scene

CENTRE: Final = SimulatorSettings(
    agents=2,
    queues=2,
    groups=2,
    users=2,
    all_see_everything=True,
    warm_up_s=0,
    password="secret",
    idle_timeout_s=3600,
)
NOISE_MS: Final = 2_000
"""By so much may an instant that is shown be off: it does not follow jitter."""
STEP_S: Final = 5.0
"""Pings are answered at least so often."""

Value = dict[str, Any]
"""A resource as a phone holds it: what is None is left out."""


class Received(NamedTuple):
    """A result, and what its phone showed when it came."""

    outcome: dict[str, Any]
    shown: dict[str, Value]


class WatchedLine(FakePhone):
    """A connection whose frames are followed one by one by a client of the page alone."""

    def __init__(self, at: Scene, ticket: Ticket) -> None:
        self.phone = Phone()
        self.received: dict[str, Received] = {}
        self.changes = 0
        """How many `changes` came."""
        self._followed = 0
        super().__init__(at, ticket)

    def wake(self) -> None:
        """Leave it to the node's scene to let the line write: what comes together leaves together."""

    def take(self) -> None:
        """Take what leaves now, and have the client follow it."""
        super().take()
        fresh, self._followed = self.frames[self._followed :], len(self.frames)
        for frame in fresh:
            if frame["kind"] in {"changes", "ping"}:
                self._follow(JSON.decode_gateway(json.dumps(frame).encode()))
            elif frame["kind"] == "result":
                assert frame["id"] not in self.received, "a command gets one result"
                self.received[frame["id"]] = Received(frame["outcome"], deepcopy(self.phone.shown))

    def _follow(self, frame: object) -> None:
        assert isinstance(frame, Changes | Ping)
        self.changes += isinstance(frame, Changes)
        self.phone.take(frame)
        for key, value in self.phone.shown.items():
            if key.startswith("agent:"):
                check_invariants(value)


class SimulatedNode(Scene):
    """One node before a simulated server whose clock is another one's."""

    def __init__(self, skew_ms: int) -> None:
        self.clock = ManualClock()
        self.server = Simulator(CENTRE, CentreClock(self.clock))
        self.server.center.pause()
        self.server.center.skew_ms = skew_ms
        self.access = self.new_access()
        self.leases = MemoryLeases(self.clock)
        self.lines: list[FakePhone] = []
        self.audited: list[NumberAct | OrderAct] = []
        self.node = Node(
            NodeSettings(NodeId("n1"), "n1-1"),
            {"main": SiteParts(cast("Upstream", self.access), cast("Authority", self.access))},
            alone(self.clock, self.leases),
            self.clock,
            lambda: 0.5,
            self.audited.append,
        )

    def new_access(self) -> ServerAccess:
        return ServerAccess("main", self.server, self.clock)

    @property
    def watched(self) -> list[WatchedLine]:
        return [line for line in self.lines if isinstance(line, WatchedLine) and line.closed is None]

    async def come(self, login: str, *, number: str | None = None) -> WatchedLine:
        """Log on and say hello; give the phone once it is served. With a *number* it is an agent's."""
        remote = number is not None
        application = Application.REMOTE_ASSISTANT if remote else Application.DASHBOARD
        first = await self.phone(login, application, number=number)
        self.lines.remove(first)
        line = WatchedLine(self, first.ticket)
        line.hello()
        await self.settle()
        return line

    async def happens(self, act: Callable[[], object]) -> None:
        """Let something happen at the server, and be sent."""
        act()
        self.server.board.flush_ended()
        self.server.board.publish()
        await self.settle()

    async def settle(self) -> None:
        """Return when all that follows has happened, and the phones have it."""
        await self.clock.settle()
        for line in self.watched:
            line.take()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and the phones answer their pings."""
        until = self.clock.now() + seconds
        while self.clock.now() < until:
            await self.clock.advance(min(STEP_S, until - self.clock.now()))
            self.server.board.turn(self.server.clock.now_ms())
            self.server.board.publish()
            await self.clock.settle()
            for line in self.watched:
                line.tick()


AnyNode = TypeVar("AnyNode", bound=SimulatedNode)


class NodeMachine(RuleBasedStateMachine):
    """A state machine with a node, which is there from :meth:`open_node` until :meth:`close_node`."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.life: asyncio.Task[None] | None = None

    def open_node(self, make: Callable[[], AnyNode]) -> AnyNode:
        """Run a new node; return it."""

        async def live(ready: asyncio.Future[AnyNode]) -> None:
            made = make()
            async with asyncio.TaskGroup() as tasks:
                made.tasks = tasks
                tasks.create_task(made.node.run())
                await made.clock.settle()
                ready.set_result(made)
                await asyncio.Event().wait()

        async def opened() -> AnyNode:
            ready: asyncio.Future[AnyNode] = asyncio.get_running_loop().create_future()
            self.life = asyncio.create_task(live(ready))  # noqa: TID251 - lives until the node is closed
            return await ready

        return self.runner.run(opened())

    def close_node(self) -> None:
        """End the node."""
        if self.life is not None:
            self.life.cancel()
            self.runner.run(asyncio.wait([self.life]))
        self.runner.close()


# ---- what a phone should show ----


def check_invariants(agent: Value) -> None:
    """Hold a shown agent to what is always true of one."""
    state = agent.get("routing_state")
    assert state in {"logged_off", "available", "unavailable", "work", "unknown"}, "not a routing state"
    if state == "logged_off":
        assert agent.get("handling", []) == [], "logged off with a contact"
        assert "pending_routing_state" not in agent, "logged off with something pending"
        assert "post_processing" not in agent, "logged off in post-processing"
        assert "on" not in agent.get("media", {}).values(), "logged off with a medium on"
        assert not agent.get("logged_on_remotely", False), "logged off, but remote"


def check_agent(shown: Value, model: AgentModel, now_ms: int, *, own: bool) -> None:
    assert _plain(shown) == _expected(model, now_ms)
    for name, instant in _instants(model).items():
        assert abs(_instants_of(shown).get(name, 0) - instant) <= NOISE_MS, name
    if own:
        assert shown["auto_post_processing"] == {"on": model.auto_on, "duration_s": model.auto_s}
    else:
        assert "auto_post_processing" not in shown


def _expected(model: AgentModel, now_ms: int) -> Value:
    post, pending = model.post, model.pending
    handling = [(each.id, each.state, each.queue) for each in model.contacts]
    if post is not None:
        handling.append((post.contact.id, "post_processing", post.contact.queue))
    return {
        "routing_state": model.state if model.logged_on else "logged_off",
        "reason_id": model.reason,
        "pending_routing_state": None if pending is None else pending.state,
        "pending_by": None if pending is None else pending.by,
        "handling": sorted(handling),
        "post_processing": None
        if post is None
        else (post.ends_ms < post.limit_ms, None if pending is None else pending.state),
        "allowed_actions": model.actions(now_ms),
        "logged_on_remotely": model.remote,
        "app_present": model.app_present if model.remote else None,
        "voice": model.logged_on,
    }


def _plain(shown: Value) -> Value:
    post = shown.get("post_processing")
    return {
        "routing_state": shown.get("routing_state"),
        "reason_id": shown.get("reason_id"),
        "pending_routing_state": shown.get("pending_routing_state"),
        "pending_by": shown.get("pending_by"),
        "handling": sorted(
            (each["contact_id"], each["state"], each.get("queue_id")) for each in shown.get("handling", [])
        ),
        "post_processing": None if post is None else (post["extendable"], post.get("next_state")),
        "allowed_actions": set(shown.get("allowed_actions", [])),
        "logged_on_remotely": shown.get("logged_on_remotely", False),
        "app_present": shown.get("app_present"),
        "voice": shown.get("media", {}).get("voice") == "on",
    }


def _instants(model: AgentModel) -> dict[str, int]:
    """Name each instant that the model knows. When a server's user left it does not tell."""
    if not model.logged_on:
        return {}
    found = {"state": model.since_ms} | {each.id: each.since_ms for each in model.contacts}
    if model.post is not None:
        found |= {"post": model.post.since_ms, "end": model.post.ends_ms}
    return found


def _instants_of(shown: Value) -> dict[str, int]:
    found = {"state": shown.get("routing_state_since_ms", 0)}
    found |= {each["contact_id"]: each["since_ms"] for each in shown.get("handling", [])}
    post = shown.get("post_processing")
    return found if post is None else found | {"post": post["since_ms"], "end": post["ends_at_ms"]}
