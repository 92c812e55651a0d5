"""A user's sessions at an Asterisk site, the link that carries the user's view, and its commands.

Sessions are kept in AstDB and survive a restart of gateway and Asterisk. The key of a session is a hash of
its secret; neither secret nor number stands in it. Commands are AMI actions, each with the state by which its
effect is recognised.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote, unquote

from gateway.domain.commands import (
    AttachSession,
    Execute,
    LinkAnswer,
    LinkRequest,
    Listen,
    SetAgentRoutingState,
    SetRoutingState,
    SetSkills,
    SkillChange,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import (
    WORD_CHARS,
    Application,
    Device,
    Kind,
    Right,
    Scope,
    SessionId,
    SessionSecret,
    UserId,
    readable,
)
from gateway.domain.upstream import LinkClosed, LinkEvent, LinkReplaced, Reading, Source
from gateway.runtime.event_loop import TaskGroup, resolve
from gateway.runtime.ports import OnAnswer, OnReadings
from gateway.upstream.asterisk.people import AsteriskView, Rules, skills_version
from gateway.upstream.asterisk.state import Membership, Queues, is_same_reason

SESSIONS: Final = "oscc-session"
NUMBERS: Final = "oscc-number"
UNTIL: Final = "oscc-until"
"""AstDB families: sessions by hash, remote numbers and signs of life by login."""
OF_PERSON: Final = 32
"""Sessions that one person may have; a further one replaces the oldest."""
_VERSION: Final = "1"
_APPLICATIONS: Final = {"d": Application.DASHBOARD, "r": Application.REMOTE_ASSISTANT}
_LETTERS: Final = {application: letter for letter, application in _APPLICATIONS.items()}
_QUOTED: Final = 120
"""Bytes of a quoted text of the device: keeps a line within Asterisk's limit."""


@dataclass(frozen=True, slots=True)
class AsteriskSession:
    """One session. *key*: the hash of its secret."""

    key: str
    login: str
    id: SessionId
    application: Application
    device: Device
    since_ms: int
    expires_ms: int

    @property
    def is_assistant(self) -> bool:
        """Whether it belongs to a Remote Assistant."""
        return self.application is Application.REMOTE_ASSISTANT

    def line(self) -> str:
        """Return the session as a value for AstDB."""
        words = (
            _VERSION,
            self.login,
            self.id,
            _LETTERS[self.application],
            _quoted(self.device.id),
            _quoted(self.device.name),
            str(self.since_ms),
            str(self.expires_ms),
        )
        return "|".join(words)


def parse(key: str, line: str) -> AsteriskSession | None:
    """Return the session of a value in AstDB; None when it is not a session of the gateway."""
    words = line.split("|")
    if len(words) != 8 or words[0] != _VERSION or words[3] not in _APPLICATIONS:
        return None
    if not (words[6].isdecimal() and words[7].isdecimal()):
        return None
    device = Device(readable(unquote(words[4]), WORD_CHARS), readable(unquote(words[5]), WORD_CHARS))
    return AsteriskSession(
        key, words[1], SessionId(words[2]), _APPLICATIONS[words[3]], device, int(words[6]), int(words[7])
    )


def key_of_secret(secret: SessionSecret) -> str:
    """Return the hash under which a session is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()[:40]


def _quoted(text: str) -> str:
    short = readable(text, WORD_CHARS)
    while len(quote(short, safe="")) > _QUOTED:
        short = short[:-1]
    return quote(short, safe="")


class AsteriskSessions:
    """The sessions that this node has read or opened."""

    def __init__(self) -> None:
        self._by_key: dict[str, AsteriskSession] = {}
        self._of: dict[str, dict[str, AsteriskSession]] = {}

    def __iter__(self) -> Iterator[AsteriskSession]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: str, now_ms: int) -> AsteriskSession | None:
        """Return a session that has not expired."""
        session = self._by_key.get(key)
        return None if session is None or session.expires_ms <= now_ms else session

    def of(self, login: str) -> list[AsteriskSession]:
        """Return the sessions of a person, the oldest first."""
        return sorted(self._of.get(login, {}).values(), key=lambda one: (one.since_ms, one.key))

    def assistant_of(self, login: str) -> AsteriskSession | None:
        """Return the Remote Assistant of a person, of which there is at most one."""
        return next((one for one in reversed(self.of(login)) if one.is_assistant), None)

    def put(self, session: AsteriskSession) -> None:
        """Add or replace one."""
        self._by_key[session.key] = session
        self._of.setdefault(session.login, {})[session.key] = session

    def drop(self, key: str) -> AsteriskSession | None:
        """Remove and return one."""
        session = self._by_key.pop(key, None)
        if session is not None:
            held = self._of[session.login]
            del held[key]
            if not held:
                del self._of[session.login]
        return session

    def replace(self, sessions: Iterable[AsteriskSession]) -> list[AsteriskSession]:
        """Replace all sessions; return those that are gone."""
        fresh = {session.key: session for session in sessions}
        gone = [session for key, session in self._by_key.items() if key not in fresh]
        for session in gone:
            self.drop(session.key)
        for session in fresh.values():
            self.put(session)
        return gone


EVENTS: Final = 10_000
"""Waiting events of a link; one more ends the link, which is opened again with whole sets."""
FIXED_QUERIES: Final = {
    (kind, source): number
    for number, (kind, source) in enumerate(
        [
            (None, Source.DIRECTORY),
            (None, Source.CONFIGURATION),
            *((kind, source) for kind in Kind for source in (Source.REALTIME, Source.CUMULATIVE)),
        ],
        start=1,
    )
}
"""Queries for all resources in scope have the same number on every link, so links share readings."""
QUERY_STEP: Final = len(FIXED_QUERIES) + 1
"""Distance of a repeated query's number, unique on its link. Single resources have multiples of it."""
UNDER_WAY: Final = 64
"""Requests of one user without an answer; one more is ``busy``."""


class Server(Protocol):
    """The part of the server that a link needs; it avoids a cycle between the two modules."""

    @property
    def last_received_at(self) -> float:
        """When Asterisk's last message was received; the present time while Asterisk is known to be away."""

    def serve(self, link: AsteriskLink, request: LinkRequest) -> LinkAnswer:
        """Answer a request that needs no Asterisk."""

    async def find(self, secret: SessionSecret) -> None:
        """Read a session that another node has opened, if it is not stored here."""

    async def execute(self, link: AsteriskLink, request: Execute) -> LinkAnswer:
        """Have a command executed; its effect is pushed to the link before this returns."""

    def link_closed(self, link: AsteriskLink) -> None:
        """Remove a closed link."""

    def queries_changed(self) -> None:
        """Record that the queries or the scope of a link changed."""


class Dated(NamedTuple):
    """An event without data: the state of Asterisk was known until *at*."""

    event: LinkEvent
    at: float


@dataclass(slots=True, eq=False)
class LinkedSession:
    """A session on a link."""

    alias: int
    session: AsteriskSession
    rights: frozenset[Right]
    scope: Scope


class AsteriskLink:
    """One open link; the port's contract is :class:`gateway.runtime.ports.Link`.

    Invariant: ``Opened`` comes first. Events are received in the order in which they were pushed. An answer
    comes after the events that were pushed before it.
    """

    def __init__(self, server: Server, user: UserId) -> None:
        self.user: Final = user
        self.attached: dict[int, LinkedSession] = {}
        self.scope = Scope()
        """The union of the scopes of its sessions."""
        self.own_agents: frozenset[int] = frozenset()
        self.queries: dict[int, Listen] = {}
        self.next_queries: dict[int, int] = {}
        """The first number of a query for all of a kind → its number when it is requested again."""
        self.by_kind: dict[tuple[Kind | None, Source], tuple[int, ...]] = {}
        """Subscription → its queries."""
        self.asked: tuple[int, ...] = ()
        """The queries: links with equal ones are alike, unless one *asks_alone*."""
        self.asks_alone = False
        """Whether a query is for single resources."""
        self._server = server
        self._inbox: deque[LinkEvent | Dated | Callable[[], None]] = deque()
        self._dated_at: float | None = None
        """When the last received event is dated, if it is."""
        self._came = asyncio.Event()
        self.on_readings: OnReadings | None = None
        """Takes readings at once: only while :meth:`receive` waits, and no event waits for it."""
        self._pending: set[asyncio.Future[LinkAnswer]] = set()
        self._is_closed = False

    @property
    def last_received_at(self) -> float:
        """When the last message of Asterisk was received, as of the last received event."""
        return self._server.last_received_at if self._dated_at is None else self._dated_at

    @property
    def has_message(self) -> bool:
        """Whether :meth:`receive` would return at once."""
        return bool(self._inbox)

    @property
    def waits_since(self) -> None:
        """See :attr:`gateway.runtime.ports.Link.waits_since`: events are made when they are read."""

    @property
    def waiting(self) -> int:
        """Number of waiting events."""
        return len(self._inbox)

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it."""
        return not self._is_closed

    def arrival(self, on_readings: OnReadings) -> None:
        """Have :meth:`receive` wait itself."""

    async def receive(self, on_readings: OnReadings | None = None) -> LinkEvent | None:
        """Return the next event; None for an answer.

        Readings that arrive during the wait are given to *on_readings*.

        Raises:
            LinkClosed: ``lost``.
        """
        self._dated_at = None
        while not self._inbox:
            if self._is_closed:
                raise LinkClosed("lost")
            self._came.clear()
            self.on_readings = on_readings
            try:
                await self._came.wait()
            finally:
                self.on_readings = None
        first = self._inbox.popleft()
        if isinstance(first, Dated):
            self._dated_at = first.at
            return first.event
        if callable(first):
            first()
            return None
        return first

    def send(self, request: LinkRequest, answered: OnAnswer) -> Callable[[], object] | None:
        """Send nothing: most requests take several actions."""
        del request, answered
        return None

    async def request(self, request: LinkRequest) -> LinkAnswer:
        """Have *request* served; return when :meth:`receive` has read its answer.

        Raises:
            GatewayError: It was refused, or Asterisk did not answer.
            LinkClosed: The link ended before the answer came.
        """
        if self._is_closed:
            raise LinkClosed("lost", is_unsent=True)
        if len(self._pending) >= UNDER_WAY:
            raise GatewayError(ErrorCode.BUSY, "Too many requests of this user are under way.")
        if isinstance(request, AttachSession):
            await self._server.find(request.secret)
            if self._is_closed:
                raise LinkClosed("lost")
        answer: asyncio.Future[LinkAnswer] = asyncio.get_running_loop().create_future()
        self._pending.add(answer)
        try:
            if not isinstance(request, Execute):
                self._serve(request, answer)
                return await answer
            async with TaskGroup() as tasks:
                executing = tasks.create_task(self._execute(request, answer))
                await asyncio.wait((answer,))
                executing.cancel()  # the link ended, but the sent action may still be executed
            return answer.result()
        finally:
            self._pending.discard(answer)
            del answer  # the traceback of its exception holds this frame

    def _serve(self, request: LinkRequest, answer: asyncio.Future[LinkAnswer]) -> None:
        try:
            served = self._server.serve(self, request)
        except GatewayError as error:
            self._put(partial(_fail, answer, error))
        else:
            self._put(partial(resolve, answer, served))

    async def _execute(self, request: Execute, answer: asyncio.Future[LinkAnswer]) -> None:
        try:
            served = await self._server.execute(self, request)
        except GatewayError as error:
            self._put(partial(_fail, answer, error))
        else:
            self._put(partial(resolve, answer, served))

    async def close(self) -> None:
        """Close it. Requests under way end with :class:`LinkClosed`. It may be closed twice."""
        self._inbox.clear()
        self.end()

    # ---- of the server ----

    def push(self, event: LinkEvent) -> None:
        """Give *event* to the receiver; too many waiting events end the link."""
        if isinstance(event, Reading):
            self.push_all((), (event,))
        else:
            self.push_all((event,), ())

    def push_all(self, events: Sequence[LinkEvent | Dated], readings: Sequence[Reading]) -> None:
        """Give *events* and then *readings* to the receiver; see :meth:`push`."""
        if self.on_readings is not None and not events:
            if readings:
                self.on_readings(readings)
            return
        for event in (*events, *readings):
            if len(self._inbox) >= EVENTS:
                self._inbox.clear()
                self.end()
                return
            self._put(event)

    def replaced(self, token: int) -> None:
        """Report that another link has replaced this one, and end."""
        self.push(LinkReplaced(token))
        self.end()

    def end(self) -> None:
        """End it; events pushed before are still received."""
        if not self._is_closed:
            self._is_closed, self.on_readings = True, None
            self._server.link_closed(self)
        for pending in self._pending:
            _fail(pending, LinkClosed("lost"))
        self._came.set()

    def note_sessions(self, own_agents: frozenset[int]) -> None:
        """Record that sessions, or their scopes, have changed."""
        scopes = [one.scope for one in self.attached.values()]
        if len(scopes) == 1:
            self.scope = scopes[0]
        else:
            agents = frozenset[int]().union(*(scope.agents for scope in scopes))
            queues = frozenset[int]().union(*(scope.queues for scope in scopes))
            self.scope = Scope(agents, queues)
        self.own_agents = own_agents
        self._server.queries_changed()

    def note_queries(self) -> None:
        """Record that the queries have changed."""
        found: dict[tuple[Kind | None, Source], tuple[int, ...]] = {}
        for query, listen in self.queries.items():
            at = listen.kind, listen.source
            found[at] = (*found.get(at, ()), query)
        self.by_kind = found
        self.asked = tuple(sorted(self.queries))
        self.asks_alone = any(listen.numbers is not None for listen in self.queries.values())
        self._server.queries_changed()

    def _put(self, one: LinkEvent | Dated | Callable[[], None]) -> None:
        if not self._is_closed:
            self.on_readings = None
            self._inbox.append(one)
            self._came.set()


def _fail(answer: asyncio.Future[LinkAnswer], error: GatewayError | LinkClosed) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # its caller may be gone: then it is no task's fault


class Step(NamedTuple):
    """One action, and the test of the state that shows its effect."""

    action: str
    fields: Mapping[str, str]
    is_seen: Callable[[Queues], bool]


def pause(view: AsteriskView, agent: int, command: SetRoutingState | SetAgentRoutingState) -> list[Step]:
    """Return the steps to a routing state; none when it is the present one.

    Raises:
        GatewayError: ``not_logged_on``, ``reason_unknown``, ``reason_required``, ``reason_wrong_kind``.
    """
    members = view.memberships(agent)
    if not members:
        raise GatewayError(ErrorCode.NOT_LOGGED_ON, "The agent is not logged on to any queue.")
    paused, reason = command.state != "available", _reason(view, command)
    steps: list[Step] = []
    for interface in sorted({one.interface for one in members}):
        own = [one for one in members if one.interface == interface]
        if all(_is(one, paused=paused, reason=reason) for one in own):
            continue
        fields = {"Interface": interface, "Paused": "true" if paused else "false"}
        if paused and reason:
            fields["Reason"] = reason
        steps.append(Step("QueuePause", fields, _all_are(interface, paused=paused, reason=reason)))
    return steps


def _reason(view: AsteriskView, command: SetRoutingState | SetAgentRoutingState) -> str:
    if command.state == "available":
        return ""
    if command.reason_id is None:
        if command.state == "work":
            raise GatewayError(ErrorCode.REASON_REQUIRED, "This state needs a reason.")
        return ""
    found = view.reason(command.reason_id)
    if found is None:
        raise GatewayError(ErrorCode.REASON_UNKNOWN, "There is no such reason.")
    text, kind = found
    if kind != command.state:
        raise GatewayError(ErrorCode.REASON_WRONG_KIND, "The reason does not belong to this state.")
    return text


def _is(member: Membership, *, paused: bool, reason: str) -> bool:
    return member.paused == paused and (not paused or is_same_reason(member.reason, reason))


def _all_are(interface: str, *, paused: bool, reason: str) -> Callable[[Queues], bool]:
    def is_seen(queues: Queues) -> bool:
        held = queues.memberships.get(interface, {}).values()
        return all(_is(one, paused=paused, reason=reason) for one in held)

    return is_seen


def leave_all(members: list[Membership]) -> list[Step]:
    """Return the steps that remove an agent from all queues.

    Raises:
        GatewayError: ``not_logged_on``, or ``upstream_rejected`` when queues.conf contains a membership.
    """
    if not members:
        raise GatewayError(ErrorCode.NOT_LOGGED_ON, "The agent is not logged on to any queue.")
    steps = [leave(one) for one in members]
    _refuse_static(steps, members)
    return steps


def leave(member: Membership) -> Step:
    """Return the step that ends one membership."""
    queue, interface = member.queue, member.interface
    fields = {"Queue": queue, "Interface": interface}
    return Step("QueueRemove", fields, lambda queues: queue not in queues.memberships.get(interface, {}))


def join(queue: str, interface: str, name: str, rules: Rules, **more: str) -> Step:
    """Return the step that makes an interface a member of a queue."""
    fields = {"Queue": queue, "Interface": interface, "MemberName": name, **more}
    if "Wrapuptime" not in fields and rules.wrap_up_s.get(queue):
        fields["Wrapuptime"] = str(rules.wrap_up_s[queue])
    return Step("QueueAdd", fields, lambda queues: queue in queues.memberships.get(interface, {}))


def missed_reasons(queues: Queues, steps: Sequence[Step]) -> list[Step]:
    """Return the steps that set the reasons which older versions ignore in ``QueueAdd``."""
    missed: list[Step] = []
    for step in steps:
        fields = step.fields
        if step.action != "QueueAdd" or fields.get("Paused") != "true" or not fields.get("Reason"):
            continue
        queue, interface, reason = fields["Queue"], fields["Interface"], fields["Reason"]
        member = queues.memberships.get(interface, {}).get(queue)
        if member is None or not member.paused or is_same_reason(member.reason, reason):
            continue
        sent = {"Queue": queue, "Interface": interface, "Paused": "true", "Reason": reason}
        missed.append(
            Step("QueuePause", sent, _has(queue, interface, partial(_is, paused=True, reason=reason)))
        )
    return missed


def rejoin(view: AsteriskView, agent: int, rules: Rules, wrap_up_s: int) -> list[Step]:
    """Return the steps to another wrap-up time: leave and join, with all other values unchanged."""
    steps: list[Step] = []
    for member in view.memberships(agent):
        if not member.dynamic or view.wrap_up_of(member) == wrap_up_s:
            continue
        more = {
            "Penalty": str(member.penalty),
            "Paused": "true" if member.paused else "false",
            "Wrapuptime": str(wrap_up_s),
        }
        if member.reason:
            more["Reason"] = member.reason
        fields = {"Queue": member.queue, "Interface": member.interface}
        # no wait for the state between the two: both are sent in one write
        steps.append(Step("QueueRemove", fields, lambda _: True))
        added = join(member.queue, member.interface, member.name, rules, **more)
        wraps_up = _has(member.queue, member.interface, lambda one: one.wrapup_s == wrap_up_s, if_gone=False)
        steps.append(added._replace(is_seen=wraps_up))
    return steps


def skills(view: AsteriskView, agent: int, command: SetSkills, rules: Rules, queues: Queues) -> list[Step]:
    """Return the steps that change an agent's memberships.

    Raises:
        GatewayError: ``version_conflict``, ``skill_unknown``, ``not_logged_on``, ``upstream_rejected``.
    """
    members = view.memberships(agent)
    if skills_version(members) != command.if_version:
        raise GatewayError(ErrorCode.VERSION_CONFLICT, "It was changed meanwhile.")
    names = {str(view.queue_number(name)): name for name in queues.queues}
    steps: list[Step] = []
    for change in command.changes:
        name = names.get(change.skill_id)
        if name is None:
            raise GatewayError(ErrorCode.SKILL_UNKNOWN, "There is no such skill.", skill_id=change.skill_id)
        steps += _skill(view, agent, members, name, change, rules)
    if command.mode == "replace":
        kept = {names[change.skill_id] for change in command.changes}
        steps += [leave(one) for one in members if one.queue not in kept]
    _refuse_static(steps, members)
    return steps


def _skill(
    view: AsteriskView, agent: int, members: list[Membership], name: str, change: SkillChange, rules: Rules
) -> list[Step]:
    held = [one for one in members if one.queue == name]
    if change.level is None:
        return [leave(one) for one in held]
    penalty = max(0, rules.penalty_max - change.level)
    if not held:
        interface = next(iter(view.interfaces.get(agent, ())), None)
        if interface is None:
            raise GatewayError(ErrorCode.NOT_LOGGED_ON, "The agent is not logged on to any queue.")
        person = view.people.by_interface.get(interface)
        called = person.name if person is not None else members[0].name
        paused = change.active is False or all(one.paused for one in members)
        more = {"Penalty": str(penalty), "Paused": "true" if paused else "false"}
        if paused and change.active is not False and members[0].reason:
            more["Reason"] = members[0].reason
        return [join(name, interface, called, rules, **more)]
    return [step for one in held for step in _changed(one, penalty, change.active)]


def _changed(member: Membership, penalty: int, active: bool | None) -> list[Step]:
    steps: list[Step] = []
    queue, interface = member.queue, member.interface
    if member.penalty != penalty:
        fields = {"Interface": interface, "Penalty": str(penalty), "Queue": queue}
        steps.append(Step("QueuePenalty", fields, _has(queue, interface, lambda one: one.penalty == penalty)))
    if active is not None and member.paused == active:
        fields = {"Interface": interface, "Paused": "false" if active else "true", "Queue": queue}
        steps.append(Step("QueuePause", fields, _has(queue, interface, lambda one: one.paused != active)))
    return steps


def _has(
    queue: str, interface: str, holds: Callable[[Membership], bool], *, if_gone: bool = True
) -> Callable[[Queues], bool]:
    """Return the test of one membership; *if_gone*: its result when the membership has ended."""

    def is_seen(queues: Queues) -> bool:
        member = queues.memberships.get(interface, {}).get(queue)
        return if_gone if member is None else holds(member)

    return is_seen


def _refuse_static(steps: list[Step], members: list[Membership]) -> None:
    static = {(one.queue, one.interface) for one in members if not one.dynamic}
    for step in steps:
        if step.action == "QueueRemove" and (step.fields["Queue"], step.fields["Interface"]) in static:
            raise GatewayError(
                ErrorCode.UPSTREAM_REJECTED,
                "A membership that stands in queues.conf cannot be ended.",
                upstream_code="NotDynamic",
            )
