"""Monitor: keeps a node's AMI connection open, reads the whole state, follows events, and publishes changes.

Whole readings and events update the state. Its changes are published to the links in small portions. The
publisher sends each link the changes within the scope of its sessions. A part is made once and shared by all
links; links with the same scope and the same query share one reading. The publisher does no I/O; ``now_ms``
is an argument.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import ssl
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.domain.commands import Directory, Listen
from gateway.domain.errors import GatewayError
from gateway.domain.model import Kind, Scope
from gateway.domain.resources import FunctionState
from gateway.domain.upstream import (
    CatalogueChanged,
    FunctionChanged,
    FunctionName,
    ObjectChanged,
    Part,
    Reading,
    ScopeChanged,
    Source,
)
from gateway.runtime.event_loop import raise_if_cancelled
from gateway.runtime.ports import Clock
from gateway.upstream.asterisk.ami import (
    AmiAddress,
    AmiConnection,
    AmiMessage,
    LostError,
    OnRow,
    connect,
    decimal,
    is_recent,
    is_served,
    log_in,
    unavailable,
)
from gateway.upstream.asterisk.link import (
    FIXED_QUERIES,
    QUERY_STEP,
    AsteriskLink,
    Dated,
    LinkedSession,
    Step,
    missed_reasons,
)
from gateway.upstream.asterisk.people import (
    PARAMETERS,
    AsteriskView,
    PeopleError,
    PeopleFile,
    PersonScopes,
    Rules,
    read_people,
)
from gateway.upstream.asterisk.state import EventsCheck, Queues, take

AT_ONCE: Final = 32
QUEUES_AT_ONCE: Final = 4
"""Agents and queues that are composed in one turn of the loop: some 5 ms."""
_SOURCES: Final = (Source.DIRECTORY, Source.REALTIME, Source.CUMULATIVE, Source.CONFIGURATION)
_OFFERED: Final[tuple[FunctionName, ...]] = ("realtime", "historical", "routing", "administration", "voice")

_Changes = dict[tuple[Kind, Source], dict[int, Part | None]]
Delivery = tuple[list[ObjectChanged], list[Reading]]
LinkGroup = tuple[list[AsteriskLink], frozenset[int], frozenset[int]]
"""Links with the same scope and queries, and the agents and queues in that scope."""


class Publisher:
    """The links of one site, and the data that they were sent."""

    def __init__(self, queues: Queues, view: AsteriskView) -> None:
        self.links: dict[int, AsteriskLink] = {}
        """By the key of the user, which has one link at most."""
        self._groups: list[LinkGroup] | None = None
        """The links with equal queries and scopes; None after a change."""
        self._queues = queues
        self._view = view
        self._is_up = False
        self._offers_remote = False
        self._shape = -1
        self._agents: dict[int, None] = {}
        self._names: dict[str, None] = {}
        self.scopes = PersonScopes(view, queues)
        self._own: dict[int, Part] = {}
        """Agent → its realtime part for its own link."""
        self._due: list[tuple[int, int]] = []
        """End of a post-processing → its agent, as a heap."""
        self._planned: dict[int, int] = {}
        """Agent → its newest entry of the heap."""
        self._numbers = 0

    # ---- changes ----

    @property
    def waiting(self) -> int:
        """Number of waiting events on the link with the most."""
        return max((link.waiting for link in self.links.values()), default=0)

    @property
    def has_more(self) -> bool:
        """Whether there are changes that no link was sent yet."""
        queues = self._queues
        return bool(self._agents or self._names or queues.changed_interfaces or queues.changed_queues)

    def touch(self, agents: Iterable[int] = (), queues: Iterable[str] = ()) -> None:
        """Mark agents and queues to be composed again."""
        self._agents.update(dict.fromkeys(agents))
        self._names.update(dict.fromkeys(queues))

    def publish(self, now_ms: int, most: int = AT_ONCE, most_queues: int = QUEUES_AT_ONCE) -> None:
        """Send links the changes of a limited number of agents and queues; see :attr:`has_more`."""
        self._collect(now_ms)
        changes: _Changes = {}
        for agent in take(self._agents, most):
            self._compose(changes, Kind.AGENT, agent, self._view.agent_parts(agent, now_ms))
            self._plan(agent, now_ms)
        for name in take(self._names, most_queues):
            number = self._view.queue_number(name)
            self._compose(changes, Kind.QUEUE, number, self._view.queue_parts(name, now_ms))
        if changes:
            self._deliver(changes, now_ms)
        if self._view.take_learned():
            for link in self.links.values():
                link.push(CatalogueChanged())

    def publish_agents(self, agents: Iterable[int], now_ms: int) -> None:
        """Send links the changes of these agents and their queues, before all others."""
        self._collect(now_ms)
        wanted = dict.fromkeys(agents)
        names = dict.fromkeys(one.queue for agent in wanted for one in self._view.memberships(agent))
        others, rest = self._agents, self._names
        self._agents, self._names = dict(wanted), dict(names)
        self.publish(now_ms, len(wanted), len(names))
        self._agents = dict.fromkeys(one for one in others if one not in wanted) | self._agents
        self._names = dict.fromkeys(one for one in rest if one not in names) | self._names

    def due(self, now_ms: int) -> None:
        """Mark agents whose post-processing is over, and their queues."""
        while self._due and self._due[0][0] <= now_ms:
            ends_ms, agent = heapq.heappop(self._due)
            if self._planned.get(agent) == ends_ms:
                del self._planned[agent]
            self.touch((agent,), (one.queue for one in self._view.memberships(agent)))

    def _plan(self, agent: int, now_ms: int) -> None:
        ends_ms = self._view.wrap_up_ends(self._view.memberships(agent), now_ms)
        if ends_ms is not None and self._planned.get(agent) != ends_ms:
            self._planned[agent] = ends_ms
            heapq.heappush(self._due, (ends_ms, agent))

    def _collect(self, now_ms: int) -> None:
        queues = self._queues
        interfaces, queues.changed_interfaces = queues.changed_interfaces, set()
        names, queues.changed_queues = queues.changed_queues, set()
        self.touch((self._view.agent_of(one) for one in interfaces), names)
        if queues.shape != self._shape:
            self._shape = queues.shape
            self._view.index()
            self._reshape(now_ms)

    def _compose(self, changes: _Changes, kind: Kind, number: int, parts: tuple[Part | None, ...]) -> None:
        for source, part in zip(_SOURCES, parts, strict=True):
            held = self._view.parts[kind, source]
            before = held.get(number)
            if part is None:
                if before is not None:
                    del held[number]
                    changes.setdefault((kind, source), {})[number] = None
            elif part is not before and (
                before is None or before.value != part.value or self._own_differs(part)
            ):
                held[number] = part
                changes.setdefault((kind, source), {})[number] = part
            if source is Source.REALTIME and kind is Kind.AGENT:
                self._note_own(number, part)

    def _note_own(self, number: int, part: Part | None) -> None:
        if part is not None and self._view.facts.get(number) is not None:
            self._own[number] = self._view.own_part(part)
        else:
            self._own.pop(number, None)

    def _own_differs(self, part: Part) -> bool:
        """Return whether a value has changed that only the agent's own link gets."""
        if part.source is not Source.REALTIME or part.kind is not Kind.AGENT:
            return False
        before = self._own.get(part.number)
        if before is None:
            return self._view.facts.get(part.number) is not None
        own = self._view.own_part(part)
        return before.value != own.value or before.remote_number != own.remote_number

    # ---- delivery ----

    def _deliver(self, changes: _Changes, now_ms: int) -> None:
        """Send each link the *changes* in its scope; links that see the same of them share the events."""
        agents, queues = (
            frozenset[int]().union(*(parts for (kind, _), parts in changes.items() if kind is one))
            for one in (Kind.AGENT, Kind.QUEUE)
        )
        realtime = changes.get((Kind.AGENT, Source.REALTIME), ())
        own = {link for agent in realtime if (link := self.links.get(agent)) is not None and link.own_agents}
        made: dict[object, Delivery] = {}
        for links, agents_seen, queues_seen in self._grouped():
            first, seen = links[0], (agents_seen & agents, queues_seen & queues)
            if not any(seen):
                continue
            # shared by links with other scopes, too: all lone Remote Assistants see the same of a queue
            alike = first if first.asks_alone else (*seen, first.asked)
            delivery = made.get(alike)
            if delivery is None:
                delivery = made[alike] = self._events(first, changes, now_ms, frozenset())
            events, readings = delivery
            for link in links:
                if own and link in own:
                    link.push_all(*self._events(link, changes, now_ms, link.own_agents))
                elif link.on_readings is not None and readings and not events:  # it takes them in this turn
                    link.on_readings(readings)
                else:
                    link.push_all(events, readings)

    def regroup(self) -> None:
        """Group the links again: one was opened, closed, or has other queries or another scope."""
        self._groups = None

    def _grouped(self) -> list[LinkGroup]:
        if self._groups is None:
            found: dict[tuple[Scope, tuple[int, ...], int], list[AsteriskLink]] = {}
            for link in self.links.values():
                alone = id(link) if link.asks_alone else 0
                found.setdefault((link.scope, link.asked, alone), []).append(link)
            sets: dict[frozenset[int], frozenset[int]] = {}  # so that equal sets are one object
            self._groups = []
            for (scope, *_), links in found.items():
                agents, queues = (sets.setdefault(one, one) for one in (scope.agents, scope.queues))
                self._groups.append((links, agents, queues))
        return self._groups

    def _events(self, link: AsteriskLink, changes: _Changes, now_ms: int, own: frozenset[int]) -> Delivery:
        """Return the *changes* for a link: objects of the directory, then readings.

        *own*: the agents whose parts are those that only their own link carries.
        """
        objects: list[ObjectChanged] = []
        readings: list[Reading] = []
        for (kind, source), parts in changes.items():
            seen = parts.keys() & link.scope.of(kind)
            if not seen:
                continue
            if source is Source.DIRECTORY:
                if (None, source) in link.by_kind:
                    objects += [ObjectChanged(kind, number, parts[number]) for number in sorted(seen)]
                continue
            listened = None if source is Source.CONFIGURATION else kind
            for query in link.by_kind.get((listened, source), ()):
                numbers = link.queries[query].numbers
                wanted = seen if numbers is None else seen & numbers
                there = tuple(
                    self._for(own, part) for number in sorted(wanted) if (part := parts[number]) is not None
                )
                # the directory removes a resource that is gone; an agent may have only logged off
                removed = tuple(sorted(number for number in wanted if parts[number] is None))
                if there or (removed and source is Source.REALTIME):
                    readings.append(Reading(query, listened, source, now_ms, False, there, removed))
        return objects, readings

    # ---- queries ----

    def listen(self, link: AsteriskLink, listen: Listen) -> int:
        """Begin a query; return its number. :meth:`whole` follows."""
        if listen.numbers is None:
            first = FIXED_QUERIES[listen.kind, listen.source]
            query = link.next_queries.get(first, first)
            link.next_queries[first] = query + QUERY_STEP
        else:
            self._numbers += QUERY_STEP
            query = self._numbers
        link.queries[query] = listen
        link.note_queries()
        return query

    def whole(self, link: AsteriskLink, query: int, now_ms: int) -> None:
        """Send the whole set of a query."""
        listen = link.queries[query]
        if listen.source is Source.DIRECTORY:
            return
        kinds = [kind for kind in (Kind.AGENT, Kind.QUEUE) if listen.kind in {None, kind}]
        parts: list[Part] = []
        for kind in kinds:
            held, seen = self._view.parts[kind, listen.source], link.scope.of(kind)
            wanted = seen if listen.numbers is None else seen & listen.numbers
            parts += [self._for(link.own_agents, held[number]) for number in sorted(wanted) if number in held]
        link.push(Reading(query, listen.kind, listen.source, now_ms, True, tuple(parts)))

    def _for(self, own: frozenset[int], part: Part) -> Part:
        if part.number in own and part.source is Source.REALTIME and part.kind is Kind.AGENT:
            return self._own.get(part.number, part)
        return part

    def directory(self, link: AsteriskLink) -> Directory:
        """Return all directory objects of a link's scope, and the catalogues."""
        parts: list[Part] = []
        for kind in (Kind.AGENT, Kind.QUEUE):
            held = self._view.parts[kind, Source.DIRECTORY]
            parts += [held[number] for number in sorted(link.scope.of(kind)) if number in held]
        return Directory(tuple(parts), self._view.skills(), self._view.reasons(), PARAMETERS)

    # ---- scopes ----

    def _reshape(self, now_ms: int) -> None:
        """Send links their scopes after queues or memberships have changed."""
        self.scopes.forget()
        for link in list(self.links.values()):
            self.rescope(link, now_ms)

    def rescope(self, link: AsteriskLink, now_ms: int) -> None:
        """Send a link the scope of its sessions, if it has changed."""
        changed: list[LinkedSession] = []
        before = link.scope
        for attachment in link.attached.values():
            person = self._view.people.by_login.get(attachment.session.login)
            if person is None:
                continue
            scope = self.scopes.of(person, attachment.session.application)
            if scope is not attachment.scope and scope != attachment.scope:
                attachment.scope = scope
                changed.append(attachment)
        if not changed:
            return
        link.note_sessions(link.own_agents)
        for attachment in changed:
            link.push(ScopeChanged(attachment.alias, attachment.rights, attachment.scope))
        self.show_gained(link, before, now_ms)

    def show_gained(self, link: AsteriskLink, before: Scope, now_ms: int) -> None:
        """Send a link the objects that came into its scope, and then whole sets."""
        for kind in (Kind.AGENT, Kind.QUEUE):
            held = self._view.parts[kind, Source.DIRECTORY]
            for number in sorted(link.scope.of(kind) - before.of(kind)):
                if number in held:
                    link.push(ObjectChanged(kind, number, held[number]))
        if link.scope != before:
            for query in list(link.queries):
                self.whole(link, query, now_ms)

    # ---- functions ----

    def functions(self) -> Iterator[FunctionChanged]:
        """Return the present functions of an Asterisk; those it lacks are never sent."""
        state = FunctionState.UP if self._is_up else FunctionState.DOWN
        for name in _OFFERED:
            yield FunctionChanged(name, state)
        if self._offers_remote:
            yield FunctionChanged("remote_agent", state)

    def set_up(self, *, is_up: bool, offers_remote: bool, now_ms: int, known_at: float) -> None:
        """Record whether Asterisk was reached at *known_at*; when it is back, links are sent whole sets."""
        self._is_up, self._offers_remote = is_up, offers_remote
        for link in list(self.links.values()):
            link.push_all([Dated(event, known_at) for event in self.functions()], ())
            if is_up:
                for query in list(link.queries):
                    self.whole(link, query, now_ms)


_LOG: Final = logging.getLogger("gateway.asterisk")

EFFECT_S: Final = 2.0
"""How long to wait for the effect of an action after its answer; then the state is read."""
BACK_OFF_S: Final = (0.25, 4.0)
"""The shortest and the longest pause between attempts to connect: a node has only one connection."""
WRONG_SECRET_S: Final = 60.0
_LOG_IN_REFUSED: Final = frozenset({"wrong_secret", "login_in_use"})
TICK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals of readings, in seconds."""

    look_s: float = 30.0
    """Interval of whole readings: nothing else shows a reload of queues.conf."""
    figures_s: float = 5.0
    """Interval of readings of queues' figures, which also show that Asterisk answers."""


class Monitor:
    """One Asterisk, as this node sees it.

    Args:
        clock: The only time; its time of day never jumps.
    """

    def __init__(
        self,
        site: str,
        address: AmiAddress,
        people_file: Path,
        clock: Clock,
        *,
        rules: Rules,
        timing: Timing,
        jitter: Callable[[], float],
    ) -> None:
        self.queues: Final = Queues()
        self.view: Final = AsteriskView(self.queues, rules)
        self.publisher: Final = Publisher(self.queues, self.view)
        self.rules: Final = rules
        self.version = ""
        self.ami_version = ""
        self.commands: frozenset[str] = frozenset()
        """Actions that the AMI account may use."""
        self.last_failure = "starting"
        """Why Asterisk is not reached, as a token."""
        self.connections = 0
        """Number of connections that were opened and read whole."""
        self.wants_reading = False
        """Whether everything is to be read again soon."""
        self._site = site
        self._address = address
        self._people_file = people_file
        self._people_stamp: tuple[int, int] | None = None
        self._clock = clock
        self._timing = timing
        self._jitter = jitter
        self._connection: AmiConnection | None = None
        self._lost_at = clock.now()  # when the last message of the last connection was received
        self._changed = asyncio.Event()
        self._events = EventsCheck()
        """Whether this connection has received an event of a queue."""
        self._left_out, self._left_out_until = 0, clock.now()
        """Over-long messages of this connection, and the time after which the next one causes a reading."""

    # ---- what others see ----

    @property
    def is_up(self) -> bool:
        """Whether Asterisk is connected and was read completely."""
        return self._connection is not None and not self.last_failure

    @property
    def last_received_at(self) -> float:
        """When Asterisk's last message was received; the present time while Asterisk is known to be away."""
        return self._clock.now() if self._connection is None else self._connection.last_received_at

    @property
    def under_way(self) -> int:
        """Number of actions without an answer."""
        return 0 if self._connection is None else self._connection.under_way

    def time_ms(self) -> int:
        """Return the time by which all instants of this Asterisk are dated, ms since 1970 UTC."""
        return self._clock.wall_ms()

    def trust(self, tls: ssl.SSLContext) -> None:
        """Verify Asterisk with *tls* from the next connection on."""
        self._address = self._address._replace(tls=tls)

    async def reached(self, within_s: float) -> bool:
        """Wait until Asterisk is connected and read, or refuses the log-in; return whether it is."""
        try:
            async with self._clock.timeout(within_s):
                while self.last_failure:
                    if self.last_failure in _LOG_IN_REFUSED:
                        return False
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def may(self, *names: str) -> bool:
        """Return whether the account may use all of these actions."""
        return self.commands.issuperset(names)

    async def action(
        self, name: str, fields: Mapping[str, str] | None = None, row: OnRow | None = None
    ) -> AmiMessage:
        """Send an action and return its answer.

        Raises:
            GatewayError: ``upstream_unavailable`` while Asterisk is away, ``busy``, ``bad_request``.
            LostError: The connection ended; the action may have been executed.
        """
        if self._connection is None:
            raise unavailable(self.last_failure)
        return await self._connection.action(name, fields, row=row)

    async def see(self, steps: Sequence[Step], agents: Sequence[int]) -> None:
        """Return when the links have the effects of *steps*, which Asterisk has accepted.

        Raises:
            LostError: The connection ended.
        """
        await self._effects(steps)
        missed = missed_reasons(self.queues, steps)
        for step in missed:
            await self.action(step.action, step.fields)
        await self._effects(missed)
        self.publisher.publish_agents(agents, self._clock.wall_ms())

    async def _effects(self, steps: Sequence[Step]) -> None:
        """Wait until the state shows the effects of the steps; AMI answers before its events."""
        if all(step.is_seen(self.queues) for step in steps):
            return
        try:
            async with self._clock.timeout(EFFECT_S):
                while not all(step.is_seen(self.queues) for step in steps):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            await self.read_queues()
            if not self._events.come and all(step.is_seen(self.queues) for step in steps):
                _LOG.warning("asterisk_sends_no_events", extra={"site": self._site})
                self._events.come = True

    async def read_queues(self, *, with_members: bool = True, only: str | None = None) -> None:
        """Read the state: all of it, without members, or of one queue.

        Raises:
            GatewayError: ``upstream_unavailable``.
            LostError: The connection ended, or Asterisk refuses to be read: app_queue was unloaded.
        """
        fields: dict[str, str] = {} if only is None else {"Queue": only}
        if not with_members:
            fields["Member"] = "-"
        if self._connection is None:
            raise unavailable(self.last_failure)
        reading = self.queues.begin(with_members=with_members)
        try:
            answer = await self._connection.action(
                "QueueStatus",
                fields,
                row=lambda row: reading.row(row, self._clock.wall_ms()),
                end=lambda: reading.end(only),
            )
        finally:
            self.queues.abandon(reading)
        if only is None and answer.get("Response") == "Error":
            raise LostError("rights")
        if only is None and self._events.read(self.queues):
            _LOG.warning("asterisk_sends_no_events", extra={"site": self._site})

    # ---- life ----

    async def run(self, *beside: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep a connection open until cancelled; *beside* runs while it is up."""
        failures = 0
        while True:
            began = self._clock.now()
            try:
                await self._live(beside)
            except LostError as error:
                self._note_away(error.reason)
            if self._clock.now() - began > BACK_OFF_S[1]:
                failures = 0
            await self._clock.sleep(self._pause_s(failures))
            failures += 1

    def _pause_s(self, failures: int) -> float:
        if self.last_failure == "wrong_secret":
            return WRONG_SECRET_S
        first, most = BACK_OFF_S
        most = min(most, first * float(2 ** min(failures, 16)))
        return first + self._jitter() * (most - first)

    async def _live(self, beside: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        connection = await connect(self._address, self._clock, self._event, self._chunk)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(connection.read())
                await self._begin(connection)
                tasks.create_task(self._publish())
                for one in beside:
                    tasks.create_task(one())
                await self._watch()  # in the body: there a failed child leaves no cancellation request behind
        except* (LostError, GatewayError) as group:
            raise_if_cancelled()
            error = _first(group)
            raise LostError(error.reason if isinstance(error, LostError) else "protocol") from error
        finally:
            connection.drop()
            self._connection, self._lost_at = None, connection.last_received_at

    async def _begin(self, connection: AmiConnection) -> None:
        await log_in(connection, self._address)
        listed = await connection.action("ListCommands")
        self.commands = frozenset(listed) - {"Response", "ActionID"}
        if not self.may("QueueStatus", "ListCommands", "Ping"):
            raise LostError("rights")
        settings = await connection.action("CoreSettings")
        self.version = settings.get("AsteriskVersion", "")
        self.ami_version = connection.version
        if not is_recent(self.ami_version):
            _LOG.warning("asterisk_too_old", extra={"site": self._site, "ami": self.ami_version})
        await self._see_clock(connection)
        await self.look_at_people()
        self._connection = connection
        self._events, self.wants_reading, self._left_out = EventsCheck(), False, 0
        self.queues.forget_contacts()
        await self.read_queues()
        now_ms = self._clock.wall_ms()
        while self.publisher.has_more:
            self.publisher.publish(now_ms)
            await self._clock.sleep(0)
        self._note_up()

    def _note_up(self) -> None:
        self.last_failure = ""
        self.connections += 1
        _LOG.info(
            "asterisk_connected",
            extra={
                "site": self._site,
                "version": self.version,
                "queues": len(self.queues.queues),
                "interfaces": len(self.queues.memberships),
            },
        )
        self._say_up(is_up=True)

    def _note_away(self, reason: str) -> None:
        if self.last_failure != reason:
            _LOG.warning("asterisk_lost", extra={"site": self._site, "cause": reason})
        self.last_failure = reason
        self._say_up(is_up=False)

    def _say_up(self, *, is_up: bool) -> None:
        offers = self.may("DBPut", "QueueAdd")
        known_at, now_ms = self._clock.now() if is_up else self._lost_at, self._clock.wall_ms()
        self.publisher.set_up(is_up=is_up, offers_remote=offers, now_ms=now_ms, known_at=known_at)
        self._changed.set()

    async def _see_clock(self, connection: AmiConnection) -> None:
        """Measure the difference of Asterisk's clock; its instants are whole seconds."""
        before_ms = self._clock.wall_ms()
        pong = await connection.action("Ping")
        stamp_s = decimal(pong, "Timestamp")
        if stamp_s is not None:
            half_ms = (self._clock.wall_ms() - before_ms) / 2
            offset_ms = round(before_ms + half_ms - 1000 * stamp_s)
            # smaller differences are jitter, or the delay of the answer: the instants stay
            if abs(offset_ms - self.view.offset_ms) > 500 + half_ms:
                self.view.move_clock(offset_ms)

    async def look_at_people(self) -> None:
        """Read the people file again when it has changed; an invalid file changes nothing.

        It is read in a thread: 20,000 people take a second.
        """
        try:
            status = self._people_file.stat()
            stamp = status.st_mtime_ns, status.st_size
            if stamp == self._people_stamp:
                return
            people = await asyncio.to_thread(read_people, self._people_file, self.rules.remote_context)
        except (OSError, PeopleError) as error:
            _LOG.error("people_file_unusable", extra={"site": self._site, "error": type(error).__name__})
            return
        self._people_stamp = stamp
        self.use(people)

    def use(self, people: PeopleFile) -> None:
        """Replace the people."""
        before = self.view.people
        self.view.people = people
        self.queues.shape += 1
        self.publisher.touch({*before.by_number, *people.by_number, *self.view.interfaces}, ())
        self.publisher.touch((self.view.agent_of(one) for one in self.queues.memberships), ())

    async def _watch(self) -> None:
        """Read figures at short intervals, and the whole state at long ones."""
        whole_at = self._clock.now() + self._timing.look_s
        figures_at = self._clock.now() + self._timing.figures_s
        connection = self._connection
        while connection is not None:
            await self._clock.sleep(TICK_S)
            now = self._clock.now()
            if self.wants_reading or self.queues.unknown or now >= whole_at:
                is_regular, whole_at = now >= whole_at, now
                if await is_served(self._look(connection, is_regular=is_regular)):
                    whole_at, figures_at = now + self._timing.look_s, now + self._timing.figures_s
            elif now >= figures_at:
                if await is_served(self.read_queues(with_members=False)):
                    figures_at = now + self._timing.figures_s
            elif self.queues.refresh:
                name = self.queues.refresh.pop()
                if not await is_served(self.read_queues(with_members=False, only=name)):
                    self.queues.refresh.add(name)

    async def _look(self, connection: AmiConnection, *, is_regular: bool) -> None:
        """Read everything."""
        self.wants_reading = False
        self.queues.unknown.clear()
        if is_regular:
            self.queues.unlisted.clear()
        await self.look_at_people()
        await self._see_clock(connection)
        await self.read_queues()

    async def _publish(self) -> None:
        """Publish remaining changes, and changes by time alone."""
        while True:
            now_ms = self._clock.wall_ms()
            self.queues.due(now_ms)
            self.publisher.due(now_ms)
            self.publisher.publish(now_ms)
            await self._clock.sleep(0 if self.publisher.has_more else TICK_S)

    # ---- what comes ----

    def _event(self, event: AmiMessage) -> None:
        self.queues.event(event, self._clock.wall_ms())
        self._events.come = self._events.come or "Queue" in event
        # at the end of its start Asterisk has more queues than when it accepted the connection
        if event.get("Event") in {"Reload", "FullyBooted"}:
            self.wants_reading = True

    def _chunk(self) -> None:
        """Publish the changes of a piece of the stream; further ones wait for their turn."""
        self._changed.set()
        connection = self._connection
        if connection is None or self.last_failure:
            return
        if connection.framer.left_out > self._left_out:
            _LOG.warning(
                "asterisk_message_too_long", extra={"site": self._site, "count": connection.framer.left_out}
            )
            self._left_out = connection.framer.left_out
            # the long message may be part of a reading's answer: reading again at once would never end
            if self._clock.now() >= self._left_out_until:
                self._left_out_until, self.wants_reading = self._clock.now() + self._timing.look_s, True
        self.publisher.publish(self._clock.wall_ms())


def _first(group: BaseExceptionGroup[LostError | GatewayError]) -> BaseException:
    """Return the cause of a connection's end: that of reading, if it is among others."""
    found = [error for error in group.exceptions if isinstance(error, LostError)]
    return found[0] if found else group.exceptions[0]
