"""The simulator: listeners, event loop and start."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - the one place where the seed of the settings becomes a generator
import secrets
import ssl
import sys
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.simulator.about import about_of
from gateway.simulator.accounts import open_accounts
from gateway.simulator.administration import Administration
from gateway.simulator.changes import Changes
from gateway.simulator.clock import Clock, ManualClock, RealClock
from gateway.simulator.commands import Commands
from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.control import ControlDoor
from gateway.simulator.counters import midnight_before
from gateway.simulator.faults import Faults
from gateway.simulator.first_responses import FirstResponses
from gateway.simulator.life import Life, pace_for
from gateway.simulator.link_socket import LinkDoor
from gateway.simulator.population import populate
from gateway.simulator.requests import Requests
from gateway.simulator.sessions import Sessions
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.switchboard import Switchboard
from gateway.simulator.tls import self_signed, server_context
from gateway.simulator.web import BODY_LIMIT_BYTES, WebDoor, refusals

TURN_S = 0.05
"""How often time is let pass; on-change readings are made as often."""


class Simulator:
    """A whole OSCC-E Server in this process: ``async with Simulator(settings) as sim``.

    With a :class:`ManualClock` everything stands still until ``await sim.clock.advance(seconds)``.
    Invariant: all tasks are over when the block is left.
    """

    def __init__(self, settings: SimulatorSettings | None = None, clock: Clock | None = None) -> None:
        self.settings = settings = settings or SimulatorSettings()
        self.clock: Clock = clock or RealClock(settings.scale)
        rng = random.Random(settings.seed)
        began_ms = self.clock.now_ms() - round(settings.warm_up_s * 1000)
        directory = populate(settings, rng, midnight_before(began_ms, settings.locale_zone))
        self.center = ContactCenter(directory, began_ms, settings.locale_zone)
        self.life = Life(self.center, rng, pace_for(self.center, settings.events_per_s))
        self.about = about_of(settings)
        self.accounts = open_accounts(settings, directory)
        self.sessions = Sessions(self.center, self.accounts, settings, lambda: secrets.token_urlsafe(24))
        self.board = Switchboard(
            settings, self.center, self.accounts, self.sessions, lambda: secrets.token_hex(6)
        )
        self.links = self.board.links
        self.administration = Administration(self.board)
        commands = Commands(settings, self.about, self.center, self.sessions, self.administration.changed)
        first_responses = FirstResponses()
        self.faults = Faults(self.board, self.about, self.clock, first_responses)
        self.requests = Requests(self.board, commands, first_responses, self.faults.check_request)
        self.url = self.control_url = ""
        self._read_at_s = self.clock.transport_s()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the listeners and let time pass from now on."""
        settings = self.settings
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            self.doors = LinkDoor(
                self.board, self.requests, self.clock, tasks, self.faults, settings.link_buffer_bytes
            )
            self._warm_up()
            if settings.start_paused:
                self.center.pause()
            self.turn()
            context = server_context(*self_signed(settings.host)) if settings.tls else None
            web_door = WebDoor(self.board, self.about, self.faults, self.clock)
            routes = [*web_door.routes(), web.get("/oscce/v1/link", self.doors.serve)]
            app = _application(routes, web_door.troubles)
            app.on_response_prepare.append(web_door.date)
            port = await self._listen(stack, app, settings.host, settings.port, context)
            self.url = f"{'https' if settings.tls else 'http'}://{settings.host}:{port}"
            control = _application(ControlDoor(self).routes())
            port = await self._listen(stack, control, "127.0.0.1", settings.control_port, None)
            self.control_url = f"http://127.0.0.1:{port}"
            if isinstance(self.clock, ManualClock):
                self.clock.watch(self.turn)
            else:
                ticker = tasks.create_task(self._tick())
                stack.callback(ticker.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut all lines and close the listeners."""
        for line in list(self.doors.lines.values()):
            line.outlet.abort()
        await self._stack.aclose()

    def pause(self) -> None:
        """Let nothing happen by itself any more, and tell what has changed until now."""
        self.center.pause()
        self.board.publish()

    def resume(self) -> None:
        """Let life go on."""
        self.center.resume()

    def turn(self) -> None:
        """Let time pass until now, and read what changed when a reading is due."""
        self.board.turn(self.clock.now_ms())
        self.doors.turn()
        now_s = self.clock.transport_s()
        elapsed_s = now_s - self._read_at_s
        if self.settings.on_change or elapsed_s >= self.settings.interval_s:
            self._read_at_s = now_s
            rate = self.settings.events_per_s
            if rate is not None and self.center.paused_ms is None:
                self.life.stir(round(rate * elapsed_s))
            self.board.publish()

    def _warm_up(self) -> None:
        """Begin to live, and live through the past that the centre has when it opens."""
        self.life.begin()
        self.center.advance(self.clock.now_ms())
        self.center.changes = Changes()  # nobody has listened yet

    async def _tick(self) -> None:
        while True:
            await self.clock.sleep(TURN_S)
            self.turn()

    async def _listen(
        self,
        stack: AsyncExitStack,
        app: web.Application,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
    ) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, host, port, ssl_context=context, backlog=4096)
        await site.start()
        return int(runner.addresses[0][1])


def _application(routes: list[web.RouteDef], *middlewares: Middleware) -> web.Application:
    app = web.Application(middlewares=[*middlewares, refusals], client_max_size=BODY_LIMIT_BYTES)
    app.add_routes(routes)
    return app


async def run(settings: SimulatorSettings) -> None:
    """Be an OSCC-E Server until cancelled; says where it listens and who may log on."""
    async with Simulator(settings) as simulator:
        sys.stdout.write(introduction(simulator))
        sys.stdout.flush()
        await asyncio.Event().wait()


def introduction(simulator: Simulator) -> str:
    """Return what a person who starts it wants to know."""
    settings = simulator.settings
    return (
        f"OSCC-E Server (simulated) at {simulator.url}\n"
        f"control door at {simulator.control_url}/simulator/v1/\n"
        f"{settings.agents} agents, {settings.queues} queues, {settings.group_count} groups\n"
        f"Dashboard: supervisor1 … supervisor{settings.users}, password {settings.password}\n"
        f"Remote Assistant: agent1 … agent{settings.agents}, password {settings.password}, "
        f"number e.g. +49 30 1234567\n"
    )
