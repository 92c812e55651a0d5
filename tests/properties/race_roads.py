"""Connections between a node and its OSCC-E Server that a test may delay."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import SessionSecret
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn
from gateway.runtime.ports import Clock
from gateway.simulator import Simulator
from gateway.simulator.links import Link
from gateway.upstream.oscce.socket import Incoming
from tests.properties.socketless import CLOSED, Doors, ServerEnd
from tests.runtime.rivals import Gate

KEYS: Final = {"supervisor1": 100_001, "supervisor2": 100_002, "agent1": 10_001}
"""Who has a link, and as which user."""
Way = Literal["request", "answer"]


class Witness(Protocol):
    """Notes what the server reads and does."""

    def note(self) -> None:
        """Note how things are now."""
        ...

    def noted(self, key: str | None, read: Callable[[], None]) -> None:
        """Let the server read a request, of the command *key* if it is one."""
        ...


class HeldQueue(asyncio.Queue[Incoming]):
    """What a server says on one link, as far as the road to the gateway lets it pass.

    Args:
        gate: The road's.
        passed: Receives each text that the gateway receives.
    """

    def __init__(self, gate: Gate, passed: Callable[[str], None]) -> None:
        super().__init__()
        self._gate = gate
        self._passed = passed

    async def get(self) -> Incoming:
        item = await super().get()
        if item is not CLOSED:
            await self._gate.passed()
        if isinstance(item, str):
            self._passed(item)
        return item

    def put_nowait(self, item: Incoming) -> None:
        """Take a message in; the end of the link is held by nothing."""
        super().put_nowait(item)
        if item is CLOSED:
            self._gate.give_up()


class Road:
    """The two ways of one user's link."""

    def __init__(self) -> None:
        self.answers = Gate()
        self._is_held = False
        self._requests: list[Callable[[], None]] = []

    def hold(self, way: Way) -> None:
        if way == "answer":
            self.answers.shut()
        else:
            self._is_held = True

    def release(self) -> None:
        self._is_held = False
        self.answers.open()
        waiting, self._requests = self._requests, []
        for read in waiting:
            read()

    def carry(self, read: Callable[[], None]) -> None:
        """Have a request read, now or when it may pass."""
        if self._is_held:
            self._requests.append(read)
        else:
            read()


class HeldDoors(Doors):
    """The doors of the server, at the ends of roads that may be held."""

    def __init__(self, server: Simulator, clock: Clock, witness: Witness) -> None:
        super().__init__("main", server, clock)
        self._witness = witness
        self.roads = {key: Road() for key in KEYS.values()}
        self.asks, self.answers = Gate(), Gate()
        """What is asked at the log-on door, and what it answers."""
        self.is_broken = False
        """Whether nobody gets through to the log-on door."""
        self.asked: dict[str, str] = {}
        """Key → the state or number that was asked for."""
        self.sent: Counter[str] = Counter()
        """Key → how often it was sent."""
        self.delivered: set[str] = set()
        """Keys whose answers the gateway received."""

    def release(self) -> None:
        self.is_broken = False
        for gate in (self.asks, self.answers):
            gate.open()
        for road in self.roads.values():
            road.release()

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        await self._through()
        try:
            return await super().log_on(credentials)
        finally:
            self._witness.note()
            await self.answers.passed()

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        await self._through()
        try:
            return await super().log_off(secret)
        finally:
            self._witness.note()
            await self.answers.passed()

    async def _through(self) -> None:
        await self.asks.passed()
        if self.is_broken:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "The door is broken.")

    def _hear(self, link: Link, end: ServerEnd) -> Callable[[Any], None]:
        received, road = super()._hear(link, end), self.roads[link.account.key]
        keys: dict[int, str] = {}

        def passed(text: str) -> None:
            message = json.loads(text)
            if message["Type"] == "Response" and message["RequestID"] in keys:
                self.delivered.add(keys[message["RequestID"]])

        def carried(body: Any) -> None:  # noqa: ANN401 - JSON
            key = body.get("RequestKey")
            if key is not None:
                keys[body["RequestID"]] = key
                self.sent[key] += 1
                self.asked[key] = str(body.get("RoutingState", body.get("RemoteNumber")))
            road.carry(lambda: self._witness.noted(key, lambda: received(body)))

        end.to_gateway = HeldQueue(road.answers, passed)
        return carried
