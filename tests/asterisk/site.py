"""A small Asterisk and the adapter before it, on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from tempfile import TemporaryDirectory

from gateway.domain.commands import Command, Execute, Listen, Listening
from gateway.domain.model import Application, Device, Kind
from gateway.domain.resources import Agent
from gateway.domain.upstream import LoggedOn, LogOn, Opened, Part, Reading, Source
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import Clock
from gateway.upstream.asterisk import AsteriskServer, AsteriskSettings
from gateway.upstream.asterisk.ami import AmiAddress
from gateway.upstream.asterisk.link import AsteriskLink
from gateway.upstream.asterisk.monitor import Timing
from gateway.upstream.asterisk.people import Rules
from tests.contracts.upstream_sites import Received, hearing
from tests.doubles.fake_ami import FakeAsterisk, quick_hash

PASSWORD = "canary-of-a-password"
HASHED = quick_hash(PASSWORD)
NUMBER = "+4930555019871"
PEOPLE = f"""
[[people]]
login = "ana"
name = "Ana Agent"
password = "{HASHED}"
agent = true
queues = ["sales", "support"]

[[people]]
login = "bea"
name = "Bea Boss"
password = "{HASHED}"
supervisor = true
sees = ["*"]

[[people]]
login = "cem"
name = "Cem Desk"
password = "{HASHED}"
supervisor = true
interfaces = ["Local/2005@desk/n"]
sees = ["sales"]
"""


@dataclass
class Place:
    """The two, and how to use them."""

    fake: FakeAsterisk
    server: AsteriskServer
    clock: Clock
    people: Path

    async def log_on(self, login: str, application: Application, device: str = "d1") -> LoggedOn:
        number = NUMBER if application is Application.REMOTE_ASSISTANT else None
        return await self.server.log_on(LogOn(application, login, PASSWORD, Device(device, device), number))

    async def boss(self) -> LoggedOn:
        return await self.log_on("bea", Application.DASHBOARD)

    async def assistant(self, device: str = "phone") -> LoggedOn:
        return await self.log_on("ana", Application.REMOTE_ASSISTANT, device)

    @asynccontextmanager
    async def linked(self, session: LoggedOn) -> AsyncIterator[Ear]:
        """Open a link, listen to everything and receive beside the block."""
        link = await self.server.open(session.user.id, session.secret, token=1, holder="a")
        async with hearing(link) as received:
            ear = Ear(link, received, (await received.first(Opened)).attached.alias, self.clock)
            for kind in (Kind.AGENT, Kind.QUEUE):
                for source in (Source.REALTIME, Source.CUMULATIVE):
                    await link.request(Listen(kind, source, None))
            await link.request(Listen(None, Source.CONFIGURATION, None))
            listening = await link.request(Listen(None, Source.DIRECTORY, None))
            assert isinstance(listening, Listening)
            yield ear


@dataclass
class Ear:
    """An open link that listens to everything, and what it received."""

    link: AsteriskLink
    received: Received
    alias: int
    clock: Clock
    keys: int = 0

    def shown(self, kind: Kind, source: Source) -> dict[int, Part]:
        """Return what the link has sent of a kind, by number."""
        found: dict[int, Part] = {}
        for event in self.received.events:
            if isinstance(event, Reading) and event.source is source and event.kind in {kind, None}:
                if event.complete:
                    found.clear()
                found |= {part.number: part for part in event.parts if part.kind is kind}
                for number in event.removed:
                    found.pop(number, None)
        return found

    def agent(self, number: int) -> Agent | None:
        """Return the agent as the link has sent it, if it has."""
        part = self.shown(Kind.AGENT, Source.REALTIME).get(number)
        return part.value if part is not None and isinstance(part.value, Agent) else None

    def shown_agent(self, number: int) -> Agent:
        """Return the agent as the link has sent it, which it must have."""
        agent = self.agent(number)
        assert agent is not None
        return agent

    async def until(self, holds: object) -> None:
        """Return when *holds* does, looked at after each event."""
        assert callable(holds)
        while not holds():
            self.received.came.clear()
            await self.received.came.wait()

    async def command(
        self, command: Command, *, key: str | None = None, expires_in_ms: int = 10_000
    ) -> object:
        self.keys += 1
        not_after_ms = self.clock.wall_ms() + expires_in_ms
        return await self.link.request(Execute(self.alias, command, key or f"k{self.keys}", not_after_ms))


@asynccontextmanager
async def place(
    *,
    clock: Clock | None = None,
    rules: Rules | None = None,
    is_alone: bool = True,
    look_s: float = 30.0,
    figures_s: float = 5.0,
    idle_s: int = 900,
) -> AsyncIterator[Place]:
    """Open a place with two queues and a member at a desk."""
    clock = clock or SystemClock()
    fake = FakeAsterisk(lambda: clock.wall_ms() / 1000)
    fake.add_queue("sales")
    fake.add_queue("support")
    fake.add_static("sales", "Local/2005@desk/n", "Cem at his desk", penalty=1)
    await fake.start()
    with TemporaryDirectory() as folder:
        people = Path(folder) / "people.toml"
        people.write_text(PEOPLE, "utf-8")
        settings = AsteriskSettings(
            AmiAddress("127.0.0.1", fake.port, "oscc", "secret"),
            people,
            rules=rules or Rules(unavailable_reasons=("Lunch",), work_reasons=("Paperwork",)),
            timing=Timing(look_s, figures_s),
            idle_timeout_s=idle_s,
            is_alone=is_alone,
        )
        async with AsteriskServer("main", settings, clock, jitter=lambda: 0.0, draw=token_bytes) as server:
            assert await server.reached()
            yield Place(fake, server, clock, people)
    await fake.stop()
