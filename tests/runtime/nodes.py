"""Several nodes of one process on one bus, and one OSCC-E Server, under a manual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

from gateway.core.link import Linger
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, NodeId, SessionSecret, UserId
from gateway.domain.upstream import About, Feature, LinkClosed
from gateway.protocol.envelopes import BusChannel, Envelope
from gateway.runtime.node import NodeSettings
from gateway.runtime.ports import Grant, SiteParts
from gateway.runtime.user_state import UserState
from tests.doubles.clock import ManualClock
from tests.doubles.fake_link import FakeLink
from tests.doubles.fake_upstream import FakeUpstream
from tests.doubles.lossy_bus import Trouble
from tests.runtime.scene import FakePhone, Scene, people, user

T = TypeVar("T", bound=Envelope)
APPLIED, UNCHANGED = {"status": "applied"}, {"status": "unchanged"}
STEP_S = 0.25
MET_S = 5.0
"""Until each node knows of the others, and takes its part of the log-ons."""


class Opening(NamedTuple):
    """One link that a node opened."""

    node: int
    key: int
    token: int
    instead_of: str | None
    """The holder of the link whose place it took."""


class Way:
    """One node's way to the OSCC-E Server, which can be shut.

    Args:
        node: The node's number.
        upstream: The server.
        openings: Where every link is noted that is opened.
    """

    def __init__(self, node: int, upstream: FakeUpstream, openings: list[Opening]) -> None:
        self.is_shut = False
        self._node = node
        self._upstream = upstream
        self._openings = openings

    async def about(self) -> About:
        if self.is_shut:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "the OSCC-E Server is not reached")
        return await self._upstream.about()

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> FakeLink:
        if self.is_shut:
            raise LinkClosed("unavailable")
        before = self._upstream.user_links.get(user)
        link = await self._upstream.open(user, secret, token=token, holder=holder)
        instead_of = None if before is None else before.link.holder
        self._openings.append(Opening(self._node, user.key, token, instead_of))
        return link

    def shut(self) -> None:
        """Let the node reach the server no more: what it has open is lost."""
        self.is_shut = True
        for owner, user_link in list(self._upstream.user_links.items()):
            if user_link.link.holder == f"n{self._node}-1":
                self._upstream.drop(owner)

    def reopen(self) -> None:
        """Let the node reach the server again."""
        self.is_shut = False


class Nodes:
    """The nodes, by their numbers from 0, each with its way to the server."""

    def __init__(self, scenes: list[Scene], ways: list[Way], trouble: Trouble) -> None:
        self.scenes = scenes
        self.ways = ways
        self.trouble = trouble
        self.running: list[asyncio.Task[None]] = []
        self.clock: ManualClock = scenes[0].clock
        self.upstream = scenes[0].upstream
        self.openings: list[Opening] = []
        """Every link that was opened."""
        self.said: list[tuple[int, BusChannel, Envelope]] = []
        """Everything that a node sent to others, with the node."""

    def received(self, kind: type[T]) -> list[T]:
        """Return what nodes said of one kind."""
        return [envelope for _, _, envelope in self.said if isinstance(envelope, kind)]

    def counted(self, name: str, **labels: str) -> list[float]:
        """Return a metric's value at each node."""
        return [scene.counted(name, **labels) for scene in self.scenes]

    def link(self, key: int = 1) -> FakeLink:
        """Give the open link of a user."""
        return self.scenes[0].link(key)

    async def grant(self, key: int = 1) -> Grant:
        """Give the lease of a user."""
        grant = await self.trouble.store(0).leases.read(user(key))
        assert grant is not None
        return grant

    async def kill(self, at: int) -> None:
        """End a node's process: its connections are gone, nobody was notified, its lease stands."""
        self.trouble.kill(at)
        self.ways[at].shut()
        self.scenes[at].lines.clear()
        self.running[at].cancel()
        await self.clock.settle()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass on all nodes, and the phones answer their pings."""
        until = self.clock.now() + seconds
        while self.clock.now() < until:
            await self.clock.advance(min(STEP_S, until - self.clock.now()))
            for line in [line for scene in self.scenes for line in scene.lines]:
                if line.closed is None:
                    line.tick()
            await self.clock.settle()

    async def served(
        self,
        at: int,
        login: str = "anna",
        application: Application = Application.DASHBOARD,
        *,
        device: str = "d1",
        number: str | None = None,
        settled_s: float = 0.0,
        **hello: object,
    ) -> FakePhone:
        """Log on and say hello at a node, and let time pass, as :meth:`Scene.served` does."""
        phone = await self.scenes[at].phone(login, application, device=device, number=number)
        await phone.connect(**hello)
        await self.pass_time(settled_s)
        return phone

    async def result(
        self, phone: FakePhone, identity: str, key: str, *, within_s: float, **fields: object
    ) -> dict[str, object] | None:
        """Let a phone send a command, and time pass; return the result that it received."""
        phone.command(identity, key, **fields)
        await self.pass_time(within_s)
        return phone.result(identity)

    async def drain(self, at: int, *, settled_s: float) -> None:
        """Drain a node, and let time pass."""
        self.scenes[at].node.drain()
        await self.pass_time(settled_s)

    def home(self, at: int, key: int = 1) -> UserState:
        """Give a user's user state on a node."""
        return self.scenes[at].node.user_states[user(key)]

    def owners(self, key: int = 1) -> list[int]:
        """Return which nodes take themselves for the owner of a user."""
        homes = [scene.node.user_states.get(user(key)) for scene in self.scenes]
        return [at for at, home in enumerate(homes) if home is not None and home.owner is not None]

    def holder(self, key: int = 1) -> int | None:
        """Return which node has a user's link."""
        link = self.upstream.link(user(key))
        return None if link is None else int(link.holder[1])


@asynccontextmanager
async def open_nodes(
    nodes: int = 2, *, features: frozenset[Feature] = frozenset(Feature), linger: Linger | None = None
) -> AsyncIterator[Nodes]:
    """Run nodes that know of each other, with the people of :func:`tests.runtime.scene.scene`."""
    clock = ManualClock()
    trouble, upstream = Trouble(clock), FakeUpstream(clock, features=features)
    people(upstream)
    openings: list[Opening] = []
    ways = [Way(at, upstream, openings) for at in range(nodes)]
    scenes = [
        Scene(
            NodeSettings(NodeId(f"n{at}"), f"n{at}-1", linger=linger or Linger(), log_ons_per_s=200.0),
            (clock, upstream, SiteParts(ways[at], upstream)),
            trouble.cluster(at),
        )
        for at in range(nodes)
    ]
    made = Nodes(scenes, ways, trouble)
    made.openings = openings
    trouble.said = lambda node, channel, envelope: made.said.append((node, channel, envelope))
    async with asyncio.TaskGroup() as tasks:
        for scene in scenes:
            scene.tasks = tasks
            made.running.append(tasks.create_task(scene.node.run()))
        lateness = tasks.create_task(trouble.run())
        await clock.advance(MET_S)
        yield made
        for running in (*made.running, lateness):
            running.cancel()
