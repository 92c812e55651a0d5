"""The simulator: listeners, event loop, start, and the control routes of tests."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - the one place where the seed of the settings becomes a generator
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.simulator import fields
from gateway.simulator.administration import Acts, Administration
from gateway.simulator.commands import Commands
from gateway.simulator.contact_center import STATES, ContactCenter
from gateway.simulator.directory import DIRECTORY_KINDS, populate
from gateway.simulator.elements import render
from gateway.simulator.faults import MALFORMED, OVERSIZED_BYTES, Faults, notice
from gateway.simulator.fields import Body, Refused
from gateway.simulator.life import Life, pace_for
from gateway.simulator.links import Switchboard, of_kind, scope_json
from gateway.simulator.model import About, Changes, FirstResponses, Json, Kind, midnight_before
from gateway.simulator.requests import Requests
from gateway.simulator.sessions import Sessions, open_accounts
from gateway.simulator.settings import Clock, ManualClock, RealClock, SimulatorSettings
from gateway.simulator.web import (
    BODY_LIMIT_BYTES,
    LinkRoute,
    WebRoutes,
    read_body,
    refusals,
    self_signed,
    server_context,
)


def current_state(simulator: Simulator) -> Json:
    """Return every element as it would be sent, the directory, and the server's time.

    ``Own`` has, by user key, remote agents with the fields for their own session.
    """
    center = simulator.center
    scope = center.directory.everything()
    found: Json = {"Time": center.wall_ms}
    for kind in Kind:
        elements = (render(center, kind, key) for key in sorted(of_kind(scope, kind)))
        found[kind.value] = [element for element in elements if element is not None]
    found["Own"] = {
        str(agent.key): render(center, Kind.USER, agent.key, own=True)
        for agent in center.directory.agents.values()
        if agent.remote is not None
    }
    found["Directory"] = center.directory.query(DIRECTORY_KINDS, scope)
    return found


def users(simulator: Simulator) -> Json:
    """Return the log-ons."""
    return {
        "Users": [
            {
                "UserName": each.user_name,
                "Password": simulator.settings.password,
                "Key": each.key,
                "FirstName": each.first_name,
                "LastName": each.last_name,
                "Applications": each.applications,
                "Rights": each.dashboard_rights,
                "Scope": scope_json(each.scope),
                "AgentKey": each.agent_key,
                "Blocked": each.blocked,
            }
            for each in simulator.accounts.by_name.values()
        ]
    }


def links(simulator: Simulator) -> Json:
    """Return the counts of links and requests, and the live sessions without their secrets."""
    keys = simulator.requests.keys
    return {
        "Links": {
            name: {
                "Present": int(line.present is not None),
                "Opens": line.opens,
                "Replacements": line.replacements,
                "Refusals": line.refusals,
                "Token": line.token,
                "LongestGap": line.longest_gap_ms,
            }
            for name, line in simulator.links.counts().items()
        },
        "Sessions": [
            {
                "ID": each.public_id,
                "UserName": each.account.user_name,
                "Application": each.application,
                "Attached": each.link_id is not None,
                "Present": each.present,
            }
            for each in simulator.sessions
        ],
        "LogOns": simulator.sessions.log_ons,
        "LogOnAttempts": simulator.accounts.attempts,
        "Executed": simulator.requests.executed,
        "Keys": {"Seen": keys.keys, "CameAgain": keys.again, "ExecutedTwice": keys.twice},
        "PublishedChanges": simulator.board.published_changes,
        "CutForSlowness": simulator.link_route.cut_slow,
    }


def counts(simulator: Simulator) -> Json:
    """Return the log-ons so far. It is read at short intervals, so it has no entry for each user."""
    return {"LogOnAttempts": simulator.accounts.attempts}


ROOT = "/simulator/v1"
Handler = Callable[[web.Request], Awaitable[web.Response]]


def _answers(read: Callable[[], Mapping[str, object]]) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(read())

    return answer


class ControlRoutes:
    """The routes under ``/simulator/v1/``."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._acts = Acts(simulator.center, simulator.accounts, simulator.administration)

    def routes(self) -> list[web.RouteDef]:
        """List the routes."""
        sim = self._simulator
        return [
            web.get(f"{ROOT}/routing", _answers(sim.sessions.routing_table)),
            web.get(f"{ROOT}/truth", _answers(partial(current_state, sim))),
            web.get(f"{ROOT}/users", _answers(partial(users, sim))),
            web.get(f"{ROOT}/links", _answers(partial(links, sim))),
            web.get(f"{ROOT}/counts", _answers(partial(counts, sim))),
            web.post(f"{ROOT}/pause", self._timed(sim.pause)),
            web.post(f"{ROOT}/resume", self._timed(sim.resume)),
            web.post(f"{ROOT}/publish", self._timed(sim.board.publish)),
            web.post(f"{ROOT}/clock", self._clock),
            web.post(f"{ROOT}/act", self._act),
            web.post(f"{ROOT}/fault", self._fault),
        ]

    def _timed(self, act: Callable[[], None]) -> Handler:
        """Return the handler that does *act* and answers the server's time."""

        def do() -> Json:
            act()
            return {"Time": self._simulator.center.wall_ms}

        return _answers(do)

    async def _clock(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        if body.get("Advance") is not None:
            clock = self._simulator.clock
            if not isinstance(clock, ManualClock):
                raise Refused("Unsupported")
            await clock.advance(fields.number(body, "Advance"))
        else:
            self._simulator.center.skew_ms += round(fields.number(body, "Step") * 1000)
        return web.json_response({"Time": self._simulator.center.wall_ms})

    async def _act(self, request: web.Request) -> web.Response:
        return web.json_response(self._acts.act(await read_body(request)))

    async def _fault(self, request: web.Request) -> web.Response:
        return web.json_response(cause(self._simulator.faults, await read_body(request)))


def cause(faults: Faults, body: Body) -> Json:
    """Cause one fault.

    Raises:
        Refused: ``BadRequest`` for an unknown fault or wrong fields, ``NotFound``.
    """
    user = fields.optional_text(body, "User")
    table: dict[str, Callable[[], object]] = {
        "DropLinks": lambda: faults.drop_links(user),
        "Freeze": lambda: faults.freeze(fields.number(body, "Seconds"), user),
        "Delay": lambda: faults.delay(fields.number(body, "Seconds"), user),
        "ExpireSessions": lambda: faults.expire_sessions(user),
        "RefuseLogOns": lambda: faults.set_refuse_log_ons(on=fields.flag(body, "On", default=True)),
        "Restart": faults.restart,
        "Split": lambda: faults.split(user, fields.optional_integer(body, "Token")),
        "Malformed": lambda: faults.send(user, MALFORMED),
        "Oversized": lambda: faults.send(user, notice("x" * OVERSIZED_BYTES)),
        "UnknownEnum": lambda: faults.unknown_state(
            fields.integer(body, "UserKey"), fields.optional_text(body, "Value")
        ),
        "DuplicateEvent": lambda: faults.duplicate_event(user),
        "LateEvent": lambda: faults.late_event(user),
        "Function": lambda: faults.set_function(
            fields.text(body, "Function"), fields.one_of(body, "State", STATES)
        ),
        "LinkFencing": lambda: faults.link_fencing(on=fields.flag(body, "On")),
        "Features": lambda: faults.set_features(set(fields.texts(body, "Features"))),
        "Versions": lambda: faults.set_versions(
            fields.optional_text(body, "Extensions"), fields.optional_text(body, "ContactCenter")
        ),
        "Answer": lambda: faults.answer(
            fields.text(body, "Error"), fields.integer({"Times": 1, **body}, "Times")
        ),
        "Notice": lambda: faults.send(user, notice(fields.text(body, "Text"))),
    }
    fault = table.get(fields.text(body, "Fault"))
    if fault is None:
        raise Refused("BadRequest", Field="Fault", Values=sorted(table))
    result = fault()
    return {"Count": result} if isinstance(result, int) else {}


TURN_S = 0.05
"""Interval in which time is advanced; on-change readings are made as often."""


class Simulator:
    """A complete OSCC-E Server in this process: ``async with Simulator(settings) as sim``.

    With a :class:`ManualClock` nothing happens until ``await sim.clock.advance(seconds)``. Invariant: all
    tasks are over when the block is left.
    """

    def __init__(self, settings: SimulatorSettings | None = None, clock: Clock | None = None) -> None:
        self.settings = settings = settings or SimulatorSettings()
        self.clock: Clock = clock or RealClock(settings.scale)
        rng = random.Random(settings.seed)
        began_ms = self.clock.now_ms() - round(settings.warm_up_s * 1000)
        directory = populate(settings, rng, midnight_before(began_ms, settings.locale_zone))
        self.center = ContactCenter(directory, began_ms, settings.locale_zone)
        self.life = Life(self.center, rng, pace_for(self.center, settings.events_per_s))
        self.about = About(
            settings.extensions_version, settings.contact_center_version, set(settings.features)
        )
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
        """Open the listeners, and advance time from now on."""
        settings = self.settings
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            self.link_route = LinkRoute(
                self.board, self.requests, self.clock, tasks, self.faults, settings.link_buffer_bytes
            )
            self._warm_up()
            if settings.start_paused:
                self.center.pause()
            self.turn()
            context = server_context(*self_signed(settings.host)) if settings.tls else None
            web_routes = WebRoutes(self.board, self.about, self.faults, self.clock)
            routes = [*web_routes.routes(), web.get("/oscce/v1/link", self.link_route.serve)]
            app = _application(routes, web_routes.delays)
            app.on_response_prepare.append(web_routes.date)
            port = await self._listen(stack, app, settings.host, settings.port, context)
            self.url = f"{'https' if settings.tls else 'http'}://{settings.host}:{port}"
            control = _application(ControlRoutes(self).routes())
            port = await self._listen(stack, control, "127.0.0.1", settings.control_port, None)
            self.control_url = f"http://127.0.0.1:{port}"
            if isinstance(self.clock, ManualClock):
                self.clock.watch(self.turn)
            else:
                ticker = tasks.create_task(self._tick())
                stack.callback(ticker.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut all lines and close the listeners."""
        for line in list(self.link_route.lines.values()):
            line.outlet.abort()
        await self._stack.aclose()

    def pause(self) -> None:
        """Stop random events, and send the changes until now."""
        self.center.pause()
        self.board.publish()

    def resume(self) -> None:
        """Continue random events."""
        self.center.resume()

    def turn(self) -> None:
        """Advance time until now, and read the changes when a reading is due."""
        self.board.turn(self.clock.now_ms())
        self.link_route.turn()
        now_s = self.clock.transport_s()
        elapsed_s = now_s - self._read_at_s
        if self.settings.on_change or elapsed_s >= self.settings.interval_s:
            self._read_at_s = now_s
            rate = self.settings.events_per_s
            if rate is not None and self.center.paused_ms is None:
                self.life.change_desks(round(rate * elapsed_s))
            self.board.publish()

    def _warm_up(self) -> None:
        """Start random events, and simulate the centre's past."""
        self.life.begin()
        self.center.advance(self.clock.now_ms())
        self.center.changes = Changes()  # no link listens yet

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
        try:
            await site.start()
        except OSError as taken:
            raise OSError(taken.errno, taken.strerror, f"{host} port {port}") from taken
        return int(runner.addresses[0][1])


def _application(routes: list[web.RouteDef], *middlewares: Middleware) -> web.Application:
    app = web.Application(middlewares=[*middlewares, refusals], client_max_size=BODY_LIMIT_BYTES)
    app.add_routes(routes)
    return app


def introduction(simulator: Simulator) -> str:
    """Return the introduction for the user who starts it."""
    settings = simulator.settings
    return (
        f"OSCC-E Server (simulated) at {simulator.url}\n"
        f"control door at {simulator.control_url}/simulator/v1/\n"
        f"{settings.agents} agents, {settings.queues} queues, {settings.group_count} groups\n"
        f"Dashboard: supervisor1 … supervisor{settings.users}, password {settings.password}\n"
        f"Remote Assistant: agent1 … agent{settings.agents}, password {settings.password}, "
        f"number e.g. +49 30 1234567\n"
    )
