"""One phone on the SDK that roams over the nodes, and its record.

Breaks, `bye` frames, the age of its view.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.client import (
    Application,
    Connected,
    Credentials,
    DeviceBody,
    Ended,
    Event,
    GatewayClient,
    GatewayError,
    HealthChanged,
    Outcome,
    Reconnecting,
    SetAgentRoutingState,
    SetRoutingState,
    Wishes,
)
from gateway.domain.commands import OwnTargetState, TargetState
from gateway.runtime.event_loop import SystemClock
from tests.cluster.caching import CACHING
from tests.cluster.centre import BEACON, Beacon
from tests.doubles.machine import waited_s
from tests.doubles.tasks import during

PING_S = 10.0
FRESH_S = 2.0
"""Highest age of a view that is shown as live: a reading, a pace step, an interval of the beacon."""
COUNTED_S = 1.0
"""From which age of a view on it is determined how long programs waited for a core meanwhile."""
CHOOSES_S = 0.05
"""How long before it connects a phone is given its address."""
LOG_ON_PATIENCE_S = 300.0


CLOCK = SystemClock()


class RoamingClient(GatewayClient):
    """The SDK with an address that may change; the next connection uses the new one."""

    def move(self, address: str) -> None:
        """Set the load balancer's address for the next connection."""
        self._realtime._services = replace(self._realtime._services, address=address)
        self._account._api._address = address

    def cut(self) -> None:
        """Break the connection like a dead network, without a close frame."""
        live = self._realtime._live
        raw = None if live is None else live[0]._socket.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                # a reset instead of a close (SO_LINGER of no seconds), as when a network dies
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raw.shutdown(socket.SHUT_RDWR)

    @property
    def address(self) -> str:
        return self._realtime._services.address


@dataclass
class Seen:
    """The record of one phone."""

    breaks: Counter[str] = field(default_factory=Counter)
    """Connections that ended, by reason, except those that the phone itself broke."""
    roamed: int = 0
    resumed: int = 0
    reset: int = 0
    log_ons: int = 0
    connected_at: float | None = None
    """When it was connected last, in the loop's time; None while it is not."""
    ended: Ended | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    """Statuses of its commands, and codes of errors after a colon."""
    beacons: list[tuple[float, int]] = field(default_factory=list)
    """When it saw which number."""
    lie_s: float = 0.0
    """The age of the oldest view that it showed as live."""
    lie_run_s: float = 0.0
    """The same without the time in which programs waited for a core meanwhile; of views over a second old."""
    lie: str = ""
    """Its events, as text."""
    dated_s: float = 0.0
    """Greatest excess of a view's reported instant over the one at which it ceased to be true."""


class Phone:
    """One device of one user.

    Args:
        user: The user's name; agents have the Remote Assistant, others the Dashboard.
        device: The device's id.
        password: The user's.
        pick: Returns the load balancer's address for a connection.
        chance: Random numbers of this phone.
    """

    def __init__(
        self, user: str, device: str, password: str, pick: Callable[[], str], chance: random.Random
    ) -> None:
        self.user, self.device = user, device
        self.seen = Seen()
        self._tls: ssl.SSLContext | None = None
        self.number: str | None = None
        """The number at which a Remote Assistant takes calls."""
        self._password = password
        self._pick = pick
        self._chance = chance
        self._roaming = False
        self._leaving: asyncio.Task[None] | None = None
        self.beacon: Beacon | None = None
        """Shows how old its view is."""
        self.says_live = False
        """Whether it shows its view as current, with link and bus live: as an app that asks its SDK at each
        event.
        """
        self.client: RoamingClient
        self.arrived = asyncio.Event()
        """Set when it was in sync for the first time."""

    @property
    def name(self) -> str:
        return f"{self.user}/{self.device}"

    @property
    def application(self) -> Application:
        return Application.DASHBOARD if self.number is None else Application.REMOTE_ASSISTANT

    async def live(self, gate: asyncio.Semaphore) -> None:
        """Log on and stay connected until the session ends or the task is cancelled."""
        wishes = Wishes(ping_s=PING_S)
        made = RoamingClient(
            self._pick(),
            wishes=wishes,
            credentials=self._stored,
            chance=self._chance.random,
            ssl=self._tls,
            codec=CACHING,
        )
        async with made as client:
            self.client = client
            client.mirror.listen(self._saw)
            async with gate, asyncio.timeout(LOG_ON_PATIENCE_S):
                await self._log_on(client)
            async with during(self._note(client.events())):
                self.seen.ended = await client.run()
                if self._leaving is not None:
                    await asyncio.wait([self._leaving])

    def enter_by(self, url: str, tls: ssl.SSLContext) -> None:
        """Use a proxy's address from now on, and trust its certificate."""
        self._pick, self._tls = (lambda: url), tls

    def roam(self) -> None:
        """Break the network; after that is noticed, connect again."""
        if self.seen.connected_at is not None:
            self._roaming = True
            self.client.cut()

    def log_off(self) -> asyncio.Task[None]:
        """Begin to log off; the task is done when that is confirmed."""
        self._leaving = asyncio.create_task(self.client.log_off())
        return self._leaving

    async def command(self, agents: list[int]) -> Outcome:
        """Request another state of some agent; return the outcome."""
        reasons = self.client.mirror.get("catalogue:reasons", {}).get("reasons", ())
        states: tuple[TargetState, ...] = ("available", "unavailable", "work")
        state = self._chance.choice(states)
        fitting = [
            each["reason_id"]
            for each in (reasons if isinstance(reasons, list | tuple) else ())
            if state in (each.get("required_for") or ())
        ]
        command = SetAgentRoutingState(
            agent_id=str(self._chance.choice(agents)),
            state=state,
            reason_id=fitting[0] if fitting else None,
            when="after_contact",
        )
        outcome = await self.client.command(command)
        code = "" if outcome.error is None else f":{outcome.error.code.value}"
        self.seen.outcomes[f"{outcome.status.value}{code}"] += 1
        return outcome

    async def own_state(self, state: OwnTargetState) -> Outcome:
        """Request another state of the agent of this Remote Assistant."""
        outcome = await self.client.command(SetRoutingState(state=state))
        self.seen.outcomes[outcome.status.value] += 1
        return outcome

    # ---- how old what it shows is ----

    def age_s(self, now: float, lit: list[float]) -> float:
        """Return the age of its view: the time since the oldest beacon that it has not seen."""
        unseen = self._unseen
        return max(0.0, now - lit[unseen]) if unseen < len(lit) else 0.0

    @property
    def _unseen(self) -> int:
        """The number of the oldest beacon that it has not seen."""
        return self.seen.beacons[-1][1] + 1 if self.seen.beacons else 0

    def blind_s(self, since: float, now: float, lit: list[float]) -> float:
        """Return the highest age of its view since *since*."""
        worst = self.age_s(now, lit)
        for (_, before), (at, _) in zip([(0.0, -1), *self.seen.beacons], self.seen.beacons, strict=False):
            if at >= since and before + 1 < len(lit):
                worst = max(worst, at - max(lit[before + 1], 0.0))
        return worst

    def fresh_again(self, since: float, begun: list[float]) -> float | None:
        """Return when it saw a beacon that was begun at *since* or later; None when it has not yet."""
        return next((at for at, number in self.seen.beacons if begun[number] >= since), None)

    def look(self, now: float, lit: list[float], waited: list[float]) -> None:
        """Record how old its view is, and is said to be.

        *waited*: for how long programs waited for a core since each of *lit*.
        """
        self.seen.dated_s = max(self.seen.dated_s, self._dated_s(now, lit, waited))
        self._note_age()

    def _note_age(self) -> None:
        """Record the age of a view that is shown as live; call before it changes."""
        beacon, seen = self.beacon, self.seen
        if beacon is None or not self.says_live:
            return
        now = asyncio.get_running_loop().time()
        age_s = self.age_s(now, beacon.lit)
        if age_s > max(seen.lie_run_s, COUNTED_S):
            seen.lie_run_s = max(seen.lie_run_s, age_s - waited_s() + beacon.waited_s[self._unseen])
        if age_s > seen.lie_s:
            seen.lie_s = age_s
            connected_s = None if seen.connected_at is None else round(now - seen.connected_at, 1)
            as_of_ms = None if self.client.health is None else self.client.health.as_of_ms
            said_s = None if as_of_ms is None else round((CLOCK.wall_ms() - as_of_ms) / 1000, 1)
            seen.lie = (
                f"{self.name} {age_s:.1f} s old at {CLOCK.wall_ms() / 1000:.1f}, said to be {said_s} s old, "
                f"connected for {connected_s} s"
            )

    def _dated_s(self, now: float, lit: list[float], waited: list[float]) -> float:
        """Return by how much its view is reported as newer than it is; nodes and phones share one clock."""
        health, unseen = self.client.health, self._unseen
        if health is None or health.as_of_ms is None or unseen >= len(lit):
            return 0.0
        return now + (health.as_of_ms - CLOCK.wall_ms()) / 1000 - lit[unseen] - waited[unseen]

    # ---- inner ----

    async def _stored(self) -> Credentials:
        self.seen.log_ons += 1
        return Credentials(self.user, self._password, self.number)

    async def _log_on(self, client: RoamingClient) -> None:
        while True:
            try:
                await client.log_on(
                    site="main",
                    application=self.application,
                    user_name=self.user,
                    password=self._password,
                    remote_number=self.number,
                    device=DeviceBody(self.device, "canary-of-a-phone", "test", "1.0"),
                )
            except GatewayError as refused:
                if refused.status < 500 and refused.retry_after_s is None:
                    raise
                await asyncio.sleep((refused.retry_after_s or 0.5) + self._chance.random())
                client.move(self._pick())
            else:
                return

    async def _note(self, events: AsyncIterator[Event]) -> None:
        now = asyncio.get_running_loop().time
        async for event in events:
            match event:
                case Connected():
                    self.seen.connected_at = now()
                    self.seen.resumed += event.resumed
                    self.seen.reset += not event.resumed
                    self.arrived.set()
                case Reconnecting():
                    self._lost(event)
                case Ended():
                    self.seen.connected_at = None
                case HealthChanged() | _:
                    pass
            self._show()

    def _show(self) -> None:
        """Show whether the view is current, as the SDK says."""
        health = self.client.health
        says_live = self.client.is_current and health is not None and health.bus == "live"
        if says_live is not self.says_live:
            self._note_age()
            self.says_live = says_live

    def _lost(self, event: Reconnecting) -> None:
        if self.seen.connected_at is not None:
            if self._roaming:
                self.seen.roamed += 1
                self.client.network_changed()
            else:
                self.seen.breaks[event.reason] += 1
        self._roaming = False
        self.seen.connected_at = None
        self.client.move(self._pick())
        if event.in_s > CHOOSES_S:
            # a load balancer chooses a node when the connection comes, not when the last one ended
            later = asyncio.get_running_loop().call_later
            later(event.in_s - CHOOSES_S, lambda: self.client.move(self._pick()))

    def _saw(self, key: str, _before: object, after: Mapping[str, Any] | None) -> None:
        if after is None or not key.startswith(("queue:", "agent:")):
            return
        name = str(after.get("name") or after.get("display_name"))  # at an Asterisk an agent's name changes
        if name.startswith(BEACON):
            number = int(name[len(BEACON) :])
            if not self.seen.beacons or number > self.seen.beacons[-1][1]:
                self._note_age()
                self.seen.beacons.append((asyncio.get_running_loop().time(), number))
