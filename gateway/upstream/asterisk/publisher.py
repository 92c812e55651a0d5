"""Publisher: sends each link the changes within the scope of its sessions.

A part is made once and shared by all links; links with the same scope and the same query share one reading.
The publisher does no I/O; ``now_ms`` is an argument.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Final

from gateway.domain.commands import Directory, Listen
from gateway.domain.model import Application, Kind, Scope
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
from gateway.upstream.asterisk.link import FIXED_QUERIES, QUERY_STEP, AsteriskLink, Dated, LinkedSession
from gateway.upstream.asterisk.people import PARAMETERS, AsteriskView, Person, agent_number
from gateway.upstream.asterisk.state import Queues, take

EVERYTHING: Final = "*"
"""Stands for all queues and agents in what a person sees."""


class PersonScopes:
    """The scopes of people: each is made once, until queues or memberships change."""

    def __init__(self, view: AsteriskView, queues: Queues) -> None:
        self._view, self._queues = view, queues
        self._made: dict[tuple[str, Application], Scope] = {}
        self._all: Scope | None = None
        """The scope of those who see everything."""

    def forget(self) -> None:
        """Make all scopes again when they are needed."""
        self._made.clear()
        self._all = None

    def of(self, person: Person, application: Application) -> Scope:
        """Return the scope of a person with an application."""
        key = person.login, application
        scope = self._made.get(key)
        if scope is None:
            scope = self._made[key] = self._make_scope(person, application)
        return scope

    def _make_scope(self, person: Person, application: Application) -> Scope:
        if application is Application.DASHBOARD and EVERYTHING in person.sees:
            if self._all is None:
                agents = {agent_number(one) for one in self._view.people.by_login.values() if one.agent}
                self._all = self._scope(self._queues.queues, agents | set(self._view.interfaces))
            return self._all
        if application is Application.DASHBOARD:
            names = {name for name in person.sees if name in self._queues.queues}
            return self._scope(names, self._agents_of(names))
        own = agent_number(person)
        held = {one.queue for one in self._view.memberships(own)}
        return self._scope({one for one in (*person.queues, *held) if one in self._queues.queues}, {own})

    def _agents_of(self, names: set[str]) -> set[int]:
        """Return the members of queues, and the people who join them with the Remote Assistant."""
        agents = {
            self._view.agent_of(interface)
            for name in names
            for interface in self._queues.queues[name].members
        }
        remote = self._view.people.by_login.values()
        return agents | {
            agent_number(one) for one in remote if one.agent and not names.isdisjoint(one.queues)
        }

    def _scope(self, names: Iterable[str], agents: set[int]) -> Scope:
        return Scope(frozenset(agents), frozenset(self._view.queue_number(name) for name in names))


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

    def mark_due(self, now_ms: int) -> None:
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

    def send_whole_set(self, link: AsteriskLink, query: int, now_ms: int) -> None:
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
                self.send_whole_set(link, query, now_ms)

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
                    self.send_whole_set(link, query, now_ms)
