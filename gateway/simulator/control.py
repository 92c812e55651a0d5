"""Control port for tests and demonstrations.

JSON over HTTP under ``/simulator/v1/``, loopback only.

- ``GET routing``: user name → number, for each agent whose calls leave the house.
- ``GET truth``: ``Time``; every element by event type as it would be sent; ``Own``: remote agents as
  they see themselves, by key; ``Directory``: objects by kind.
- ``GET users``: log-ons to try: names, password, applications, rights, scope.
- ``GET links``: per user name ``Present``, ``MostAtOnce``, ``Opens``, ``Replacements``, ``Refusals``,
  ``Token``, ``LongestGap`` (ms without a link between two); live sessions; ``LogOns``; requests
  ``Executed`` by method; ``Keys`` of requests: ``Seen``, ``CameAgain``, ``ExecutedTwice``;
  ``PublishedChanges``; ``CutForSlowness``.
- ``POST pause``: nothing happens by itself any more; what changed until then is told first. Requests
  and deadlines go on. ``POST resume``. ``POST publish``: make a reading now.
- ``POST clock``: ``{"Advance": s}`` (manual clock only) or ``{"Step": s}``: the server's clock jumps;
  negative: back.
- ``POST act``: ``{"Act": name, …}``; ``User`` is a user name:
  ``GiveContact {UserKey, QueueKey?, Media?, State?}`` → ``CallID`` (ends only when told to),
  ``TurnContact {UserKey, CallID?, State}``, ``EndContact {UserKey, CallID?}``, ``Arrive {QueueKey}``,
  ``SetRoutingState {UserKey, RoutingState, ReasonKey?, When?, By?: Supervisor|System, ByName?}``,
  ``SetScope {User, Scope: {Users, Queues, Groups, Aggregates}}``, ``SetRights {User, Rights}``,
  ``Rename {Key, Name}``, ``Add {Kind, Name, …}`` → ``Key`` (Queue: ``Media?, SkillKey?``; User:
  ``FirstName, GroupKey, SkillKeys?``; Aggregate: ``QueueKeys``; Group; Skill; a reason kind:
  ``RequiredFor?``), ``Remove {Key}``, ``EndSession {User, ID?, Reason?, By?}``, ``Block {User, On?, By?}``.
- ``POST fault``: ``{"Fault": name, …}``; without ``User`` everybody:
  ``DropLinks {User?}``, ``Freeze {Seconds, User?}``, ``Delay {Seconds, User?}``,
  ``ExpireSessions {User?}``, ``RefuseLogOns {On}``, ``Restart``, ``Split {User?, Token?}``,
  ``Malformed {User?}``, ``Oversized {User?}``, ``UnknownEnum {UserKey, Value|null}``,
  ``DuplicateEvent {User?}``, ``LateEvent {User?}``, ``Function {Function, State}``,
  ``LinkFencing {On}``, ``Features {Features}``, ``Versions {Extensions?, ContactCenter?}``,
  ``Answer {Error, Times?}`` (of the next requests), ``Notice {Text, User?}``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.simulator import fields
from gateway.simulator.acts import Acts
from gateway.simulator.clock import ManualClock
from gateway.simulator.errors import Refused
from gateway.simulator.faults import Faults
from gateway.simulator.fields import Body
from gateway.simulator.functions import STATES
from gateway.simulator.model import Json
from gateway.simulator.truth import links, truth, users
from gateway.simulator.web import read_body

if TYPE_CHECKING:
    from gateway.simulator.server import Simulator

ROOT = "/simulator/v1"


class ControlDoor:
    """The routes under ``/simulator/v1/``."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._acts = Acts(simulator.center, simulator.accounts, simulator.administration)

    def routes(self) -> list[web.RouteDef]:
        """List the routes."""
        return [
            web.get(f"{ROOT}/routing", self._routing),
            web.get(f"{ROOT}/truth", self._truth),
            web.get(f"{ROOT}/users", self._users),
            web.get(f"{ROOT}/links", self._links),
            web.post(f"{ROOT}/pause", self._pause),
            web.post(f"{ROOT}/resume", self._resume),
            web.post(f"{ROOT}/publish", self._publish),
            web.post(f"{ROOT}/clock", self._clock),
            web.post(f"{ROOT}/act", self._act),
            web.post(f"{ROOT}/fault", self._fault),
        ]

    async def _routing(self, _request: web.Request) -> web.Response:
        return web.json_response(self._simulator.sessions.routing_table())

    async def _truth(self, _request: web.Request) -> web.Response:
        return web.json_response(truth(self._simulator))

    async def _users(self, _request: web.Request) -> web.Response:
        return web.json_response(users(self._simulator))

    async def _links(self, _request: web.Request) -> web.Response:
        return web.json_response(links(self._simulator))

    async def _pause(self, _request: web.Request) -> web.Response:
        self._simulator.pause()
        return web.json_response({"Time": self._simulator.center.wall_ms})

    async def _resume(self, _request: web.Request) -> web.Response:
        self._simulator.resume()
        return web.json_response({"Time": self._simulator.center.wall_ms})

    async def _publish(self, _request: web.Request) -> web.Response:
        self._simulator.board.publish()
        return web.json_response({"Time": self._simulator.center.wall_ms})

    async def _clock(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        if body.get("Advance") is not None:
            clock = self._simulator.clock
            if not isinstance(clock, ManualClock):
                raise Refused("Unsupported")
            await clock.advance(_seconds(body, "Advance"))
        else:
            self._simulator.center.skew_ms += round(_seconds(body, "Step") * 1000)
        return web.json_response({"Time": self._simulator.center.wall_ms})

    async def _act(self, request: web.Request) -> web.Response:
        return web.json_response(self._acts.act(await read_body(request)))

    async def _fault(self, request: web.Request) -> web.Response:
        return web.json_response(cause(self._simulator.faults, await read_body(request)))


def cause(faults: Faults, body: Body) -> Json:
    """Bring about one fault.

    Raises:
        Refused: ``BadRequest`` for an unknown fault or wrong fields, ``NotFound``.
    """
    user = fields.optional_text(body, "User")
    table: dict[str, Callable[[], object]] = {
        "DropLinks": lambda: faults.drop_links(user),
        "Freeze": lambda: faults.freeze(_seconds(body, "Seconds"), user),
        "Delay": lambda: faults.delay(_seconds(body, "Seconds"), user),
        "ExpireSessions": lambda: faults.expire_sessions(user),
        "RefuseLogOns": lambda: faults.set_refuse_log_ons(on=fields.flag(body, "On", default=True)),
        "Restart": faults.restart,
        "Split": lambda: faults.split(user, fields.optional_integer(body, "Token")),
        "Malformed": lambda: faults.malformed(user),
        "Oversized": lambda: faults.oversized(user),
        "UnknownEnum": lambda: faults.unknown_state(
            fields.integer(body, "UserKey"), fields.optional_text(body, "Value")
        ),
        "DuplicateEvent": lambda: faults.duplicate_event(user),
        "LateEvent": lambda: faults.late_event(user),
        "Function": lambda: faults.set_function(
            fields.text(body, "Function"), fields.one_of(body, "State", STATES)
        ),
        "LinkFencing": lambda: faults.link_fencing(on=fields.flag(body, "On")),
        "Features": lambda: faults.set_features(_texts(body, "Features")),
        "Versions": lambda: faults.set_versions(
            fields.optional_text(body, "Extensions"), fields.optional_text(body, "ContactCenter")
        ),
        "Answer": lambda: faults.answer(
            fields.text(body, "Error"), fields.integer({"Times": 1, **body}, "Times")
        ),
        "Notice": lambda: faults.notice(user, fields.text(body, "Text")),
    }
    fault = table.get(fields.text(body, "Fault"))
    if fault is None:
        raise Refused("BadRequest", Field="Fault", Values=sorted(table))
    result = fault()
    return {"Count": result} if isinstance(result, int) else {}


def _seconds(body: Body, name: str) -> float:
    value = body.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Refused("BadRequest", Field=name)
    return float(value)


def _texts(body: Body, name: str) -> set[str]:
    value = body.get(name)
    if not isinstance(value, list) or any(not isinstance(each, str) for each in value):
        raise Refused("BadRequest", Field=name)
    return set(value)
