"""Gates between a node and its OSCC-E Server, and what rivals who pass them agree about."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from gateway.domain.commands import Execute, LinkAnswer, LinkRequest
from gateway.domain.model import Application, SessionSecret, UserId
from gateway.domain.upstream import LinkEvent
from gateway.runtime.ports import OnAnswer, OnReadings
from tests.doubles.fake_link import FakeLink
from tests.runtime.scene import FakePhone, Scene, user

T = TypeVar("T")
NUMBER, OTHER_NUMBER = "+49301111111", "+49302222222"
ASSISTANT = Application.REMOTE_ASSISTANT


class Gate:
    """Gate: open, it lets every caller pass; shut, callers wait in order until it is open again."""

    def __init__(self) -> None:
        self._is_shut = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many are kept."""
        return sum(not each.done() for each in self._waiting)

    def shut(self) -> None:
        self._is_shut = True

    def open(self) -> None:
        self._is_shut = False
        self.give_up()

    def give_up(self) -> None:
        """Let all waiting callers pass, and no later ones."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def passed(self) -> None:
        if self._is_shut:
            self._waiting.append(asyncio.get_running_loop().create_future())
            await self._waiting[-1]


class SlowLink:
    """A link whose requests wait at a gate before the server reads them."""

    def __init__(self, link: FakeLink, gate: Gate) -> None:
        self._link = link
        self._gate = gate

    @property
    def last_received_at(self) -> float:
        return self._link.last_received_at

    @property
    def has_message(self) -> bool:
        return self._link.has_message

    @property
    def waits_since(self) -> float | None:
        return self._link.waits_since

    def arrival(self, on_readings: OnReadings) -> asyncio.Future[None] | None:
        """See :meth:`gateway.runtime.ports.Link.arrival`."""
        return self._link.arrival(on_readings)

    async def receive(self, on_readings: OnReadings | None = None) -> LinkEvent | None:
        return await self._link.receive(on_readings)

    def send(self, request: LinkRequest, answered: OnAnswer) -> Callable[[], object] | None:
        return None

    async def request(self, request: LinkRequest) -> LinkAnswer:
        await self._gate.passed()
        return await self._link.request(request)

    async def close(self) -> None:
        await self._link.close()
        self._gate.give_up()


class Gates:
    """The gates on the ways to the OSCC-E Server and back.

    Args:
        at: Where nobody has a link yet.
        patch: Undoes it all.
    """

    def __init__(self, at: Scene, patch: pytest.MonkeyPatch) -> None:
        self._at = at
        self._requests: dict[int, Gate] = {}
        self.asks, self.answers = Gate(), Gate()
        """What is asked about log-ons, and what is answered."""
        opens, upstream = at.upstream.open, at.upstream

        async def open_(of: UserId, secret: SessionSecret, *, token: int, holder: str) -> SlowLink:
            link = await opens(of, secret, token=token, holder=holder)
            return SlowLink(link, self.requests(of.key))

        patch.setattr(upstream, "open", open_)
        for name in ("log_on", "log_off", "keep_alive", "end"):
            patch.setattr(upstream, name, self._held(getattr(upstream, name)))

    def requests(self, key: int) -> Gate:
        """The way of what is asked on a user's link."""
        return self._requests.setdefault(key, Gate())

    def hold(self, what: str, key: int) -> None:
        """Hold the ``request`` or the ``answer`` on a user's link, or ``nothing``."""
        if what == "request":
            self.requests(key).shut()
        elif what == "answer":
            self._at.link(key).mute()

    async def release(self, key: int) -> None:
        """Let everything on a user's link arrive."""
        self.requests(key).open()
        await self.deliver(key)

    async def deliver(self, key: int) -> None:
        """Let what the server says on a user's link arrive."""
        link = self._at.upstream.link(user(key))
        if link is not None:
            link.unmute()
        await self._at.clock.settle()

    def _held(self, act: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def held(*asked: object) -> T:
            await self.asks.passed()
            try:
                return await act(*asked)
            finally:
                await self.answers.passed()

        return held


# ---- what they do ----


def set_state(state: str, agent: int | None = None, **more: object) -> dict[str, object]:
    """Return a supervisor's command about *agent*, or an agent's about himself."""
    own = {"kind": "routing_state.set"}
    another = {"kind": "agent.routing_state.set", "agent_id": str(agent)}
    return (own if agent is None else another) | {"state": state, "when": "now"} | more


def change_number(number: str) -> dict[str, object]:
    return {"kind": "remote_number.change", "number": number}


async def agent_phone(at: Scene, *, number: str = NUMBER, device: str = "d1") -> FakePhone:
    """Give the served phone of the agent (7)."""
    return await at.served("bert", ASSISTANT, number=number, device=device)


def begin(at: Scene, work: Awaitable[T]) -> asyncio.Task[T]:
    """Let *work* go on beside what follows."""

    async def done() -> T:
        return await work

    return at.tasks.create_task(done())


# ---- what came of it ----


def executed(at: Scene) -> list[str]:
    """Return the last digits of the keys of the commands that the server read, in that order."""
    return [asked.key[-1] for asked in at.asked(Execute)]
