"""Events and faults of a simulated cluster.

Every method without an underscore is an event, named in schedules. :meth:`tests.simulation.world.World.calm`
ends all faults at the latest. Spans are tenths of a second.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from gateway.core.session import Close
from gateway.domain.errors import GatewayError
from gateway.domain.model import Application, Device, Ticket, UserId
from gateway.domain.upstream import LogOn
from tests.doubles.connection import Frame
from tests.simulation.line import Line
from tests.simulation.nodes import Process
from tests.simulation.store import Server
from tests.simulation.world import CLIENT, TICK_S, Phone, World

FOR_EVER: Final = 120
_GRACE_S: Final = 25.0
"""How long a drained node may continue."""


class Happenings:
    """Events of a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    # ---- people ----

    def guess(self) -> None:
        """Try wrong passwords of one name at all nodes at the same instant, from two addresses."""

        async def guess(process: Process, address: str) -> None:
            credentials = LogOn(Application.DASHBOARD, "anna", "wrong", Device("", ""))
            with suppress(GatewayError):
                await process.node.account.log_on("main", credentials, address)

        for process in self._world.processes:
            for number in range(8):
                self._world.begin(guess(process, f"192.0.2.{number % 2}"))

    def count(self) -> None:
        self._world.centre.count()

    def command(self, which: int, state: int) -> None:
        self._phone(which).command(("unavailable", "available")[state % 2])

    def roam(self, which: int) -> None:
        self._phone(which).roam()

    def vanish(self, which: int) -> None:
        """Break a phone's network, and connect it to another node."""
        self._phone(which).vanish()

    def leave(self, which: int, tenths: int) -> None:
        phone = self._phone(which)
        phone.leave()
        self._world.later(tenths / 10, phone.come)

    def abandon(self, which: int) -> None:
        """Break a phone's network for good."""
        phone = self._phone(which)
        phone.wants = False
        phone.vanish()

    def log_off_for(self, which: int, tenths: int) -> None:
        phone = self._phone(which)
        phone.log_off()
        self._world.later(tenths / 10, phone.come)

    def haunt(self, which: int, tenths: int) -> None:
        """Log a user off, and show an old copy of the token afterwards."""
        phone = self._phone(which)
        ticket = phone.log_off()
        if ticket is not None:
            self._world.later(tenths / 10, lambda: self._show(ticket))
        self._world.later(30.0, phone.come)

    def _show(self, ticket: Ticket) -> None:
        process = self._world.any()
        if process is not None:
            line = self._world.connect(process, ticket, _Ghost(self._world, ticket, process.holder))
            line.send(kind="hello", token="sealed", client=CLIENT)

    # ---- nodes ----

    def kill(self, which: int, tenths: int, silently: int) -> None:
        """Kill a node; it starts again later, or not at all. One stays alive."""
        process = self._process_at(which)
        if sum(each.is_alive for each in self._world.processes) > 1 and process.is_alive:
            self._world.trouble()
            self._world.buried(process)
            process.kill(silently=bool(silently))
            if tenths < FOR_EVER:
                self._world.start_again(process, tenths / 10)

    def drain(self, which: int, tenths: int) -> None:
        """Drain a node and stop it; it starts again later. One stays."""
        process = self._process_at(which)
        if sum(each.is_ready for each in self._world.processes) > 1 and process.is_ready:
            process.drain()
            self._world.begin(self._stop(process, tenths / 10))

    async def _stop(self, process: Process, seconds: float) -> None:
        """Stop when the users are given away, and not before *seconds*."""
        await asyncio.sleep(seconds)
        for _ in range(round(_GRACE_S / TICK_S)):
            if process.is_alive and process.node.user_states:
                await asyncio.sleep(TICK_S)
        if process.is_alive:
            self._world.trouble()
            await process.stop()
            self._world.start_again(process, 1.0)

    def pause(self, which: int, tenths: int) -> None:
        """Stop a node for a while, as by SIGSTOP; it continues with all work that was due."""
        process = self._process_at(which)
        if process.is_alive:
            self._world.mend(f"pause {process.name}")
            process.host.stop()
            self._world.fault(f"pause {process.name}", tenths, process.host.go_on)

    def set_clock(self, which: int, ahead: int) -> None:
        self._process_at(which).clock.ahead_s += ahead

    # ---- Redis ----

    def flush(self) -> None:
        """FLUSHALL."""
        self._world.trouble()
        self._world.server.forget()

    def step(self, seconds: int) -> None:
        """Set Redis' clock forward or back.

        A step back makes leases last longer: without fencing no node takes a user before that time is over.
        """
        self._world.trouble()
        self._world.server.wall.ahead_s += seconds if self._world.setup.fences else max(seconds, -8)

    def freeze(self, tenths: int) -> None:
        self._world.mend("redis")
        server = self._world.server
        server.is_frozen = True
        self._world.fault("redis", tenths, server.thaw)

    def refuse(self, tenths: int) -> None:
        """Let Redis refuse writes, as without memory or replicas; messages pass."""
        self._world.mend("redis")
        server = self._world.server
        server.refuses = "NOREPLICAS"

        def take() -> None:
            server.refuses = None

        self._world.fault("redis", tenths, take)

    def redis_down(self, tenths: int) -> None:
        """End Redis; an empty one starts later."""
        self._lose_redis()
        self._world.fault("redis", tenths, lambda: self._serve(Server(self._world.clock)))

    def fail_over(self, tenths: int) -> None:
        """End Redis; its replica, which lacks the last moments, takes its place."""
        self._world.trouble()
        replica = self._world.server.copy()

        def fall() -> None:
            self._lose_redis()
            self._world.fault("redis", 10, lambda: self._serve(replica))

        self._world.fault("redis", tenths, fall)

    def split(self, mask: int, tenths: int) -> None:
        """Promote a replica, while some nodes still use the demoted primary."""
        self._world.mend("redis")
        new = self._world.server.copy()
        self._world.server = new
        for at, process in enumerate(self._world.processes):
            if not mask >> at & 1:
                process.bus.turn_to(new)
        self._world.fault("redis", tenths, lambda: self._serve(new))

    def _lose_redis(self) -> None:
        self._world.mend("redis")
        for process in self._world.processes:
            process.bus.lose()

    def _serve(self, server: Server) -> None:
        self._world.server = server
        for process in self._world.processes:
            process.bus.turn_to(server)

    def cut_bus(self, which: int, tenths: int) -> None:
        door = self._process_at(which).bus
        door.cut()
        self._world.fault(f"cut {which}", tenths, door.mend)

    def storm(self, kind: int, tenths: int) -> None:
        """Lose, double or delay messages."""
        weather = self._world.weather
        weather.loss = 0.2 if kind & 1 else 0.0
        weather.doubling = 0.2 if kind & 2 else 0.0
        weather.slow = bool(kind & 4)

        def clear() -> None:
            weather.loss = weather.doubling = 0.0
            weather.slow = False

        self._world.fault("storm", tenths, clear)

    # ---- OSCC-E ----

    def drop_link(self, which: int) -> None:
        user = self._user(which)
        if user in self._world.centre.user_links:
            self._world.centre.drop(user)

    def restart_centre(self) -> None:
        """Restart OSCC-E, which loses all sessions."""
        self._world.centre.restart()
        self._world.later(1.0, self._world.centre.log_agents_on)

    def centre_down(self, tenths: int) -> None:
        """Let OSCC-E answer no request, with all links gone."""
        self._world.centre.unreachable = True
        for process in self._world.processes:
            process.site.drop()

        def up() -> None:
            self._world.centre.unreachable = False

        self._world.fault("centre down", tenths, up)

    def site(self, which: int, kind: int, tenths: int) -> None:
        """Let one node reach OSCC-E badly or not at all."""
        door = self._process_at(which).site
        match kind % 5:
            case 0:
                door.shut()
            case 1:
                door.is_deaf = True
            case 2:
                door.is_slow = True
            case 3:
                door.loses_answers = True
            case _:
                door.swallow()
        self._world.fault(f"site {which}", tenths, door.mend)

    # ---- inner ----

    def _process_at(self, which: int) -> Process:
        return self._world.processes[which % len(self._world.processes)]

    def _phone(self, which: int) -> Phone:
        return self._world.phones[which % len(self._world.phones)]

    def _user(self, which: int) -> UserId:
        ticket = self._phone(which).ticket
        return UserId("main", 0) if ticket is None else ticket.user


class _Ghost:
    """An old copy of a token, which must not be served.

    Args:
        world: The world.
        ticket: The content of the token.
        holder: The process to which it is shown.
    """

    def __init__(self, world: World, ticket: Ticket, holder: str) -> None:
        self._world = world
        self._ticket = ticket
        self._holder = holder

    def hear(self, line: Line, frame: Frame) -> None:
        if frame["kind"] != "welcome" or self._ticket.handle not in self._world.logged_off:
            return
        ended = self._world.logged_off[self._ticket.handle]
        if self._holder == ended.holder or self._world.bus_troubled_at < ended.at - 1.0:
            self._world.broken("who logged off is not served", f"{self._ticket.handle} at {self._holder}")

    def lost(self, line: Line, closed: Close | None) -> None:
        """Ignore the end of the connection."""
