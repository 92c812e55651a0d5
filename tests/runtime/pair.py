"""One node's exchange, and another node of which there is only a bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import Asks, Attach, Envelope, Inbox, Since
from gateway.runtime.cluster import Exchange
from gateway.runtime.event_loop import resolve
from tests.core.samples import ticket_of
from tests.doubles.clock import ManualClock
from tests.doubles.lossy_bus import Trouble

HERE, THERE = NodeId("here"), NodeId("there")
FIRST = 100


class Listener:
    """Records what it receives."""

    def __init__(self) -> None:
        self.messages: list[Envelope] = []
        self.recoveries: list[int] = []

    def received(self, envelope: Envelope) -> None:
        self.messages.append(envelope)

    def recovered(self, recovery: int) -> None:
        self.recoveries.append(recovery)


class Asker:
    """Follows one user."""

    def __init__(self) -> None:
        self.received: list[str] = []

    def __call__(self, denied_by: str | None) -> None:
        self.received.append("answered" if denied_by is None else f"not mine, says {denied_by}")


class Pair:
    """An exchange, and the bus of another node that answers as a test says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.trouble = Trouble(self.clock)
        self.bus = self.trouble.cluster(0).bus
        self.there = self.trouble.cluster(1).bus
        self.exchange = Exchange(HERE, self.bus, self.clock, FIRST)
        self.listener = Listener()
        self.inbox: list[Envelope] = []
        self.running: asyncio.Task[None]

    async def listen_there(self) -> None:
        await self.there.subscribe(Inbox(THERE), self.inbox.append)

    async def say(self, envelope: Envelope) -> None:
        """Let the other node say something to this one."""
        await self.there.publish(Inbox(HERE), envelope)
        await self.clock.settle()

    def ask(self) -> asyncio.Future[object]:
        """Ask the other node something; the future gets its answer, or why there is none."""
        waiting: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.exchange.request(THERE, attach, 4.0, partial(resolve, waiting))
        return waiting

    @property
    def health(self) -> str:
        """What phones would be shown of the bus."""
        return self.exchange.machine.health

    @property
    def state(self) -> str:
        return self.exchange.machine.state

    def asked(self) -> list[Asks]:
        return [one for one in self.inbox if isinstance(one, Asks)]


@asynccontextmanager
async def pair(*, listens: bool = True) -> AsyncIterator[Pair]:
    made = Pair()
    async with asyncio.TaskGroup() as tasks:
        if listens:
            await made.listen_there()
        made.running = tasks.create_task(made.exchange.run(made.listener.received, made.listener.recovered))
        await made.clock.settle()
        yield made
        made.running.cancel()


def attach(number: int) -> Envelope:
    return Attach(HERE, number, ticket_of(), ())


def since(key: int) -> Since:
    return Since(UserId("main", key), 1, 2)
