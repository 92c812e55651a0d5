"""Implementations of the upstream ports for the contract suites."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_bytes
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol, TypeVar

import pytest

from gateway.domain.commands import Command, Execute
from gateway.domain.errors import EndReason
from gateway.domain.model import Application, Device, Kind, Scope
from gateway.domain.resources import Agent
from gateway.domain.upstream import LinkClosed, LinkEvent, LoggedOn, LogOn, Part, Reading, Source
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import Authority, Clock, Link, Upstream
from gateway.simulator import Simulator, SimulatorSettings
from gateway.upstream.asterisk import AsteriskServer, AsteriskSettings
from gateway.upstream.asterisk.ami import AmiAddress
from gateway.upstream.oscce import OsccServer
from tests.doubles.clock import ManualClock
from tests.doubles.fake_ami import FakeAsterisk, quick_hash
from tests.doubles.fake_upstream import FakeUpstream

EventT = TypeVar("EventT", bound=LinkEvent)
TABLET = Device("tablet-1", "Tablet")
PHONE = Device("phone-1", "Phone")


class Server(Upstream, Authority, Protocol):
    """Both doors of one server."""


class Site(NamedTuple):
    """A server with an agent who may use both applications."""

    server: Server
    clock: Clock
    user_name: str
    password: str
    remote_number: str
    skew_ms: int = 0
    """How far the server's clock is ahead of the gateway's."""
    unsure_ms: int = 0
    """How far two instants may be apart that are one at the server, after their translation."""
    versions: tuple[str, str] = ("V2R1", "V8R2")
    """What the server says of itself."""

    async def dashboard(self, device: Device = TABLET) -> LoggedOn:
        credentials = LogOn(Application.DASHBOARD, self.user_name, self.password, device)
        return await self.server.log_on(credentials)

    async def assistant(self, device: Device = PHONE, *, takeover: bool = False) -> LoggedOn:
        credentials = LogOn(
            Application.REMOTE_ASSISTANT, self.user_name, self.password, device, self.remote_number, takeover
        )
        return await self.server.log_on(credentials)

    def execute(self, alias: int, command: Command, *, key: str = "k-1", ttl_ms: int = 10_000) -> Execute:
        return Execute(alias, command, key, self.clock.wall_ms() + self.skew_ms + ttl_ms)

    async def link(self, session: LoggedOn, *, token: int = 1, holder: str = "a") -> Link:
        return await self.server.open(session.user.id, session.secret, token=token, holder=holder)


@asynccontextmanager
async def fake() -> AsyncIterator[Site]:
    """The double."""
    clock = ManualClock()
    server = FakeUpstream(clock)
    scope = Scope(agents=frozenset({7, 8}), queues=frozenset({3}))
    server.add_user(7, "ana", "right", scope=scope, own_agent=7)
    server.put(Part(Kind.AGENT, 7, Source.DIRECTORY, Agent(display_name="Ana Agent")))
    yield Site(server, clock, "ana", "right", "+49891234")


@dataclass(slots=True)
class Received:
    """Everything that a link brought, in order."""

    events: list[LinkEvent] = field(default_factory=list)
    closed: LinkClosed | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def first(self, kind: type[EventT], *, after: int = 0) -> EventT:
        """Wait for the first event of *kind* from position *after* on."""
        while True:
            for event in self.events[after:]:
                if isinstance(event, kind):
                    return event
            assert self.closed is None, f"the link closed before any {kind.__name__}"
            self.came.clear()
            await self.came.wait()

    async def end(self) -> LinkClosed:
        """Wait for the end."""
        while self.closed is None:
            self.came.clear()
            await self.came.wait()
        return self.closed


@asynccontextmanager
async def hearing(link: Link) -> AsyncIterator[Received]:
    """Receive beside the block, as an owner does, and close the link after it."""
    received = Received()

    def note(event: LinkEvent) -> None:
        received.events.append(event)
        received.came.set()

    def note_all(readings: Sequence[Reading]) -> None:
        for reading in readings:
            note(reading)

    async def receive() -> None:
        try:
            while True:
                event = await link.receive(note_all)
                if event is not None:
                    note(event)
        except LinkClosed as closed:
            received.closed = closed
            received.came.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(receive())
        try:
            yield received
        finally:
            await link.close()


@asynccontextmanager
async def simulated(skew_ms: int = 0) -> AsyncIterator[Site]:
    """The real adapter, before a simulated contact centre in which nothing happens by itself."""
    settings = SimulatorSettings(agents=10, queues=2, users=1, warm_up_s=0, start_paused=True, on_change=True)
    clock = SystemClock()
    async with Simulator(settings) as simulator, OsccServer("main", simulator.url, clock) as server:
        simulator.center.skew_ms = skew_ms
        # a `Date` has whole seconds, and each answer has its own
        unsure_ms = 1_500 if skew_ms else 0
        # the tenth agent leads his team: he may use both applications
        yield Site(server, clock, "agent10", settings.password, "+49301234567", skew_ms, unsure_ms)


@asynccontextmanager
async def asterisk() -> AsyncIterator[Site]:
    """The adapter for an Asterisk, before a small one in this process."""
    clock = SystemClock()
    fake = FakeAsterisk(lambda: clock.wall_ms() / 1000)
    fake.add_queue("sales")
    fake.add_queue("support")
    await fake.start()
    with TemporaryDirectory() as folder:
        people = Path(folder) / "people.toml"
        people.write_text(PEOPLE, "utf-8")
        settings = AsteriskSettings(
            AmiAddress("127.0.0.1", fake.port, "oscc", "secret"), people, is_alone=True
        )
        async with AsteriskServer("main", settings, clock, jitter=lambda: 0.5, draw=token_bytes) as server:
            await server.reached()
            yield Site(server, clock, "ana", "right", "+49301234567", versions=("AMI 13.0.0", fake.version))
    await fake.stop()


PEOPLE = f"""
[[people]]
login = "ana"
name = "Ana Agent"
password = "{quick_hash("right")}"
supervisor = true
agent = true
queues = ["sales", "support"]
sees = ["*"]
"""


@asynccontextmanager
async def live() -> AsyncIterator[Site]:
    """The adapter before the real Asterisk of the environment: see ``make asterisk``."""
    clock = SystemClock()
    host, _, port = os.environ["ASTERISK"].partition(":")
    user = os.environ.get("ASTERISK_USER", "oscc-gateway")
    address = AmiAddress(host, int(port or 5038), user, os.environ.get("ASTERISK_SECRET", ""))
    with TemporaryDirectory() as folder:
        people = Path(folder) / "people.toml"
        people.write_text("people = []", "utf-8")
        settings = AsteriskSettings(address, people, is_alone=True)
        async with AsteriskServer("main", settings, clock, jitter=lambda: 0.5, draw=token_bytes) as server:
            assert await server.reached(), server.monitor.last_failure
            monitor = server.monitor
            assert len(monitor.queues.queues) >= 2, "it needs two queues"
            own = ", ".join(f'"{name}"' for name in sorted(monitor.queues.queues)[:2])
            people.write_text(PEOPLE.replace('"sales", "support"', own), "utf-8")
            await monitor.reload_people()
            try:
                versions = f"AMI {monitor.ami_version}", monitor.version
                yield Site(server, clock, "ana", "right", "+49301234567", versions=versions)
            finally:
                await clean(server)


async def clean(server: AsteriskServer) -> None:
    """Leave nothing of a test in an Asterisk."""
    for session in server.accounts.sessions.of("ana"):
        await server.accounts.end(session, EndReason.LOGGED_OFF, None)


SITES = [
    *([pytest.param(live, id="live")] if os.environ.get("ASTERISK") else []),
    pytest.param(asterisk, id="asterisk"),
    pytest.param(fake, id="double"),
    pytest.param(simulated, id="adapter"),
    pytest.param(partial(simulated, 150_000), id="adapter-ahead"),
    pytest.param(partial(simulated, -3_600_000), id="adapter-behind"),
]
"""Every implementation of the ports."""
