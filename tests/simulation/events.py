"""Events and faults of a simulated cluster.

Every method without an underscore is an event, named in schedules. The end of a schedule ends all faults.
Spans are tenths of a second.
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
from tests.simulation.cluster import CLIENT, TICK_S, Phone, SimulatedCluster
from tests.simulation.line import Line
from tests.simulation.nodes import Process
from tests.simulation.store import Server

FOR_EVER: Final = 120
_GRACE_S: Final = 25.0
"""How long a drained node may continue."""


class Events:
    """Events of a simulated cluster."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster

    # ---- people ----

    def guess(self) -> None:
        """Try wrong passwords of one name at all nodes at the same instant, from two addresses."""

        async def guess(process: Process, address: str) -> None:
            credentials = LogOn(Application.DASHBOARD, "anna", "wrong", Device("", ""))
            with suppress(GatewayError):
                await process.node.account.log_on("main", credentials, address)

        for process in self._cluster.processes:
            for number in range(8):
                self._cluster.begin(guess(process, f"192.0.2.{number % 2}"))

    def count(self) -> None:
        self._cluster.centre.count()

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
        self._cluster.later(tenths / 10, phone.come)

    def abandon(self, which: int) -> None:
        """Break a phone's network for good."""
        phone = self._phone(which)
        phone.wants = False
        phone.vanish()

    def log_off_for(self, which: int, tenths: int) -> None:
        phone = self._phone(which)
        phone.log_off()
        self._cluster.later(tenths / 10, phone.come)

    def haunt(self, which: int, tenths: int) -> None:
        """Log a user off, and show an old copy of the token afterwards."""
        phone = self._phone(which)
        ticket = phone.log_off()
        if ticket is not None:
            self._cluster.later(tenths / 10, lambda: self._show(ticket))
        self._cluster.later(30.0, phone.come)

    def _show(self, ticket: Ticket) -> None:
        process = self._cluster.any()
        if process is not None:
            line = self._cluster.connect(process, ticket, _Ghost(self._cluster, ticket, process.holder))
            line.send(kind="hello", token="sealed", client=CLIENT)

    # ---- nodes ----

    def kill(self, which: int, tenths: int, silently: int) -> None:
        """Kill a node; it starts again later, or not at all. One stays alive."""
        process = self._process_at(which)
        if sum(each.is_alive for each in self._cluster.processes) > 1 and process.is_alive:
            self._cluster.trouble()
            self._cluster.buried(process)
            process.kill(silently=bool(silently))
            if tenths < FOR_EVER:
                self._cluster.start_again(process, tenths / 10)

    def drain(self, which: int, tenths: int) -> None:
        """Drain a node and stop it; it starts again later. One stays."""
        process = self._process_at(which)
        if sum(each.is_ready for each in self._cluster.processes) > 1 and process.is_ready:
            process.drain()
            self._cluster.begin(self._stop(process, tenths / 10))

    async def _stop(self, process: Process, seconds: float) -> None:
        """Stop when the users are given away, and not before *seconds*."""
        await asyncio.sleep(seconds)
        for _ in range(round(_GRACE_S / TICK_S)):
            if process.is_alive and process.node.user_states:
                await asyncio.sleep(TICK_S)
        if process.is_alive:
            self._cluster.trouble()
            await process.stop()
            self._cluster.start_again(process, 1.0)

    def pause(self, which: int, tenths: int) -> None:
        """Stop a node for a while, as by SIGSTOP; it continues with all work that was due."""
        process = self._process_at(which)
        if process.is_alive:
            self._cluster.mend(f"pause {process.name}")
            process.host.stop()
            self._cluster.fault(f"pause {process.name}", tenths, process.host.go_on)

    def set_clock(self, which: int, ahead: int) -> None:
        self._process_at(which).clock.ahead_s += ahead

    # ---- Redis ----

    def flush(self) -> None:
        """FLUSHALL."""
        self._cluster.trouble()
        self._cluster.server.forget()

    def step(self, seconds: int) -> None:
        """Set Redis' clock forward or back.

        A step back makes leases last longer: without fencing no node takes a user before that time is over.
        """
        self._cluster.trouble()
        self._cluster.server.wall.ahead_s += seconds if self._cluster.setup.fences else max(seconds, -8)

    def freeze(self, tenths: int) -> None:
        self._cluster.mend("redis")
        server = self._cluster.server
        server.is_frozen = True
        self._cluster.fault("redis", tenths, server.thaw)

    def refuse(self, tenths: int) -> None:
        """Let Redis refuse writes, as without memory or replicas; messages pass."""
        self._cluster.mend("redis")
        server = self._cluster.server
        server.refuses = "NOREPLICAS"

        def take() -> None:
            server.refuses = None

        self._cluster.fault("redis", tenths, take)

    def redis_down(self, tenths: int) -> None:
        """End Redis; an empty one starts later."""
        self._lose_redis()
        self._cluster.fault("redis", tenths, lambda: self._serve(Server(self._cluster.clock)))

    def fail_over(self, tenths: int) -> None:
        """End Redis; its replica, which lacks the last moments, takes its place."""
        self._cluster.trouble()
        replica = self._cluster.server.copy()

        def fall() -> None:
            self._lose_redis()
            self._cluster.fault("redis", 10, lambda: self._serve(replica))

        self._cluster.fault("redis", tenths, fall)

    def split(self, mask: int, tenths: int) -> None:
        """Promote a replica, while some nodes still use the demoted primary."""
        self._cluster.mend("redis")
        new = self._cluster.server.copy()
        self._cluster.server = new
        for at, process in enumerate(self._cluster.processes):
            if not mask >> at & 1:
                process.bus.turn_to(new)
        self._cluster.fault("redis", tenths, lambda: self._serve(new))

    def _lose_redis(self) -> None:
        self._cluster.mend("redis")
        for process in self._cluster.processes:
            process.bus.lose()

    def _serve(self, server: Server) -> None:
        self._cluster.server = server
        for process in self._cluster.processes:
            process.bus.turn_to(server)

    def cut_bus(self, which: int, tenths: int) -> None:
        bus = self._process_at(which).bus
        bus.cut()
        self._cluster.fault(f"cut {which}", tenths, bus.mend)

    def storm(self, kind: int, tenths: int) -> None:
        """Lose, double or delay messages."""
        network = self._cluster.network
        network.loss = 0.2 if kind & 1 else 0.0
        network.doubling = 0.2 if kind & 2 else 0.0
        network.slow = bool(kind & 4)

        def clear() -> None:
            network.loss = network.doubling = 0.0
            network.slow = False

        self._cluster.fault("storm", tenths, clear)

    # ---- OSCC-E ----

    def drop_link(self, which: int) -> None:
        user = self._user(which)
        if user in self._cluster.centre.user_links:
            self._cluster.centre.drop(user)

    def restart_centre(self) -> None:
        """Restart OSCC-E, which loses all sessions."""
        self._cluster.centre.restart()
        self._cluster.later(1.0, self._cluster.centre.log_agents_on)

    def centre_down(self, tenths: int) -> None:
        """Let OSCC-E answer no request, with all links gone."""
        self._cluster.centre.unreachable = True
        for process in self._cluster.processes:
            process.site.drop()

        def up() -> None:
            self._cluster.centre.unreachable = False

        self._cluster.fault("centre down", tenths, up)

    def site(self, which: int, kind: int, tenths: int) -> None:
        """Let one node reach OSCC-E badly or not at all."""
        site = self._process_at(which).site
        match kind % 5:
            case 0:
                site.shut()
            case 1:
                site.is_deaf = True
            case 2:
                site.is_slow = True
            case 3:
                site.loses_answers = True
            case _:
                site.swallow()
        self._cluster.fault(f"site {which}", tenths, site.mend)

    # ---- inner ----

    def _process_at(self, which: int) -> Process:
        return self._cluster.processes[which % len(self._cluster.processes)]

    def _phone(self, which: int) -> Phone:
        return self._cluster.phones[which % len(self._cluster.phones)]

    def _user(self, which: int) -> UserId:
        ticket = self._phone(which).ticket
        return UserId("main", 0) if ticket is None else ticket.user


class _Ghost:
    """An old copy of a token, which must not be served.

    Args:
        cluster: The cluster.
        ticket: The content of the token.
        holder: The process to which it is shown.
    """

    def __init__(self, cluster: SimulatedCluster, ticket: Ticket, holder: str) -> None:
        self._cluster = cluster
        self._ticket = ticket
        self._holder = holder

    def received(self, line: Line, frame: Frame) -> None:
        if frame["kind"] != "welcome" or self._ticket.handle not in self._cluster.logged_off:
            return
        ended = self._cluster.logged_off[self._ticket.handle]
        if self._holder == ended.holder or self._cluster.bus_troubled_at < ended.at - 1.0:
            self._cluster.broken("who logged off is not served", f"{self._ticket.handle} at {self._holder}")

    def lost(self, line: Line, closed: Close | None) -> None:
        """Ignore the end of the connection."""
