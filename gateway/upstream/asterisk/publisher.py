"""Publisher: sends each link the changes of the view that its sessions may see.

A part is made once and shared by all links. Links with the same scope and the same query share one
reading. No I/O; ``now_ms`` is an argument.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from gateway.domain.commands import Directory, Listen
from gateway.domain.model import Application, Kind, Scope
from gateway.domain.resources import FunctionState
from gateway.domain.upstream import (
    CatalogueChanged,
    FunctionChanged,
    FunctionName,
    LinkEvent,
    ObjectChanged,
    Part,
    Reading,
    ScopeChanged,
    Source,
)
from gateway.upstream.asterisk.link import AsteriskLink, LinkedSession
from gateway.upstream.asterisk.people import PARAMETERS, AsteriskView, Person, agent_number
from gateway.upstream.asterisk.state import Queues

AT_ONCE: Final = 32
QUEUES_AT_ONCE: Final = 4
"""Agents and queues that are composed in one turn of the loop: some 5 ms."""
EVERYTHING: Final = "*"
_SOURCES: Final = (Source.DIRECTORY, Source.REALTIME, Source.CUMULATIVE, Source.CONFIGURATION)
_FIXED: Final = {
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
"""Queries for all that a user may see have the same number on every link, so links share readings."""
_FIRST_OWN: Final = 100
"""Queries for single resources are numbered from here on, by each link."""
_OFFERED: Final[tuple[FunctionName, ...]] = ("realtime", "historical", "routing", "administration", "voice")

KeyT = TypeVar("KeyT", int, str)
Changes = dict[tuple[Kind, Source], dict[int, Part | None]]


class Publisher:
    """The links of one site, and what they were sent.

    Args:
        queues: The state.
        view: Turns it into parts.
    """

    def __init__(self, queues: Queues, view: AsteriskView) -> None:
        self.links: dict[int, AsteriskLink] = {}
        """By the key of the user: each has one link at most."""
        self._queues = queues
        self._view = view
        self._is_up = False
        self._offers_remote = False
        self._shape = -1
        self._agents: dict[int, None] = {}
        self._names: dict[str, None] = {}
        self._scopes: dict[tuple[str, Application], Scope] = {}
        self._scope_of_all: Scope | None = None
        self._own: dict[int, Part] = {}
        """Agent → its realtime part as its own link carries it."""
        self._due: list[tuple[int, int]] = []
        """When a post-processing ends → of which agent, as a heap."""
        self._planned: dict[int, int] = {}
        """Agent → its newest entry of the heap."""
        self._numbers = _FIRST_OWN

    # ---- changes ----

    @property
    def waiting(self) -> int:
        """How many events wait on the link with the most."""
        return max((link.waiting for link in self.links.values()), default=0)

    @property
    def has_more(self) -> bool:
        """Whether something changed that no link was sent yet."""
        queues = self._queues
        return bool(self._agents or self._names or queues.changed_interfaces or queues.changed_queues)

    def touch(self, agents: Iterable[int] = (), queues: Iterable[str] = ()) -> None:
        """Have these composed again."""
        self._agents.update(dict.fromkeys(agents))
        self._names.update(dict.fromkeys(queues))

    def publish(self, now_ms: int, most: int = AT_ONCE, most_queues: int = QUEUES_AT_ONCE) -> None:
        """Send links what changed, of at most so many agents and queues; see :attr:`has_more`."""
        self._collect(now_ms)
        changes: Changes = {}
        for agent in _take(self._agents, most):
            self._compose(changes, Kind.AGENT, agent, self._view.agent_parts(agent, now_ms))
            self._plan(agent, now_ms)
        for name in _take(self._names, most_queues):
            number = self._view.queue_number(name)
            self._compose(changes, Kind.QUEUE, number, self._view.queue_parts(name, now_ms))
        if changes:
            self._deliver(changes, now_ms)
        if self._view.take_learned():
            for link in self.links.values():
                link.push(CatalogueChanged())

    def publish_agents(self, agents: Iterable[int], now_ms: int) -> None:
        """Send links what changed of these agents and their queues, before anything else."""
        self._collect(now_ms)
        wanted = list(agents)
        names = {one.queue for agent in wanted for one in self._view.memberships(agent)}
        others, rest = self._agents, self._names
        self._agents = dict.fromkeys(wanted)
        self._names = dict.fromkeys(names)
        self.publish(now_ms, len(wanted), len(names))
        for agent in wanted:
            others.pop(agent, None)
        for name in names:
            rest.pop(name, None)
        self._agents, self._names = others | self._agents, rest | self._names

    def next_due_ms(self) -> int | None:
        """Return when the next post-processing ends."""
        return self._due[0][0] if self._due else None

    def due(self, now_ms: int) -> None:
        """Have agents composed again whose post-processing is over, and their queues."""
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

    def _compose(self, changes: Changes, kind: Kind, number: int, parts: tuple[Part | None, ...]) -> None:
        for source, part in zip(_SOURCES, parts, strict=True):
            held = self._view.parts[kind, source]
            before = held.get(number)
            if part is None:
                if before is not None:
                    del held[number]
                    changes.setdefault((kind, source), {})[number] = None
            elif before is None or before.value != part.value or self._own_differs(part):
                held[number] = part
                changes.setdefault((kind, source), {})[number] = part
            if source is Source.REALTIME and kind is Kind.AGENT:
                self._note_own(number, part)

    def _note_own(self, number: int, part: Part | None) -> None:
        if part is None:
            self._own.pop(number, None)
        elif self._view.facts.get(number) is not None:
            self._own[number] = self._view.own_part(part)
        else:
            self._own.pop(number, None)

    def _own_differs(self, part: Part) -> bool:
        """Return whether what only the agent's own link carries has changed."""
        if part.source is not Source.REALTIME or part.kind is not Kind.AGENT:
            return False
        before = self._own.get(part.number)
        if before is None:
            return self._view.facts.get(part.number) is not None
        own = self._view.own_part(part)
        return before.value != own.value or before.remote_number != own.remote_number

    # ---- delivery ----

    def _deliver(self, changes: Changes, now_ms: int) -> None:
        """Send each link what it may see of *changes*; links that ask and see the same share the events."""
        made: dict[tuple[Scope, tuple[int, ...]], list[LinkEvent]] = {}
        agents = changes.get((Kind.AGENT, Source.REALTIME), {}).keys()
        for link in list(self.links.values()):
            if link.asks_alone or not agents.isdisjoint(link.own_agents):
                events = self._events(link, changes, now_ms)
            else:
                asked = link.scope, link.asked
                events = made.get(asked) or made.setdefault(asked, self._events(link, changes, now_ms))
            for event in events:
                link.push(event)

    def _events(self, link: AsteriskLink, changes: Changes, now_ms: int) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        for (kind, source), parts in changes.items():
            seen = parts.keys() & link.scope.of(kind)
            if not seen:
                continue
            if source is Source.DIRECTORY:
                if (None, source) in link.by_kind:
                    events += [ObjectChanged(kind, number, parts[number]) for number in sorted(seen)]
                continue
            listened = None if source is Source.CONFIGURATION else kind
            for query in link.by_kind.get((listened, source), ()):
                numbers = link.queries[query].numbers
                wanted = seen if numbers is None else seen & numbers
                there = tuple(
                    self._for(link, part) for number in sorted(wanted) if (part := parts[number]) is not None
                )
                # a resource that is gone is removed by the directory; an agent may also just log off
                removed = tuple(sorted(number for number in wanted if parts[number] is None))
                if there or (removed and source is Source.REALTIME):
                    events.append(Reading(query, listened, source, now_ms, False, there, removed))
        return events

    # ---- queries ----

    def listen(self, link: AsteriskLink, listen: Listen) -> int:
        """Begin a query; its number. :meth:`whole` follows."""
        if listen.numbers is None:
            query = _FIXED[listen.kind, listen.source]
        else:
            self._numbers += 1
            query = self._numbers
        link.queries[query] = listen
        link.note_queries()
        return query

    def whole(self, link: AsteriskLink, query: int, now_ms: int) -> None:
        """Send the whole set of a query."""
        listen = link.queries[query]
        if listen.source is Source.DIRECTORY:
            return
        if listen.kind is not None:
            kinds = [listen.kind] if listen.kind in {Kind.AGENT, Kind.QUEUE} else []
        else:
            kinds = [Kind.AGENT, Kind.QUEUE]
        parts: list[Part] = []
        for kind in kinds:
            held, seen = self._view.parts[kind, listen.source], link.scope.of(kind)
            wanted = seen if listen.numbers is None else seen & listen.numbers
            parts += [self._for(link, held[number]) for number in sorted(wanted) if number in held]
        link.push(Reading(query, listen.kind, listen.source, now_ms, True, tuple(parts)))

    def _for(self, link: AsteriskLink, part: Part) -> Part:
        if part.number in link.own_agents and part.source is Source.REALTIME and part.kind is Kind.AGENT:
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

    def scope_of(self, person: Person, application: Application) -> Scope:
        """Return what a person may see with an application."""
        key = person.login, application
        scope = self._scopes.get(key)
        if scope is None:
            scope = self._scopes[key] = self._make_scope(person, application)
        return scope

    def _make_scope(self, person: Person, application: Application) -> Scope:
        if application is Application.DASHBOARD and EVERYTHING in person.sees:
            if self._scope_of_all is None:
                agents = {agent_number(one) for one in self._view.people.by_login.values() if one.agent}
                self._scope_of_all = self._scope(self._queues.queues, agents | set(self._view.interfaces))
            return self._scope_of_all
        if application is Application.DASHBOARD:
            names = {name for name in person.sees if name in self._queues.queues}
            return self._scope(names, self._agents_of(names))
        own = agent_number(person)
        held = {one.queue for one in self._view.memberships(own)}
        return self._scope({one for one in (*person.queues, *held) if one in self._queues.queues}, {own})

    def _agents_of(self, names: set[str]) -> set[int]:
        """Return the members of queues, and who joins them with the Remote Assistant."""
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

    def _reshape(self, now_ms: int) -> None:
        """Send links what they may see since queues and memberships have changed."""
        self._scopes.clear()
        self._scope_of_all = None
        for link in list(self.links.values()):
            self.rescope(link, now_ms)

    def rescope(self, link: AsteriskLink, now_ms: int) -> None:
        """Send a link what its sessions may see now, if that is something else than before."""
        changed: list[LinkedSession] = []
        before = link.scope
        for attachment in link.attached.values():
            person = self._view.people.by_login.get(attachment.session.login)
            if person is None:
                continue
            scope = self.scope_of(person, attachment.session.application)
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
        """Return what an Asterisk's functions are now; those it lacks are never sent."""
        state = FunctionState.UP if self._is_up else FunctionState.DOWN
        for name in _OFFERED:
            yield FunctionChanged(name, state)
        if self._offers_remote:
            yield FunctionChanged("remote_agent", state)

    def set_up(self, *, is_up: bool, offers_remote: bool, now_ms: int) -> None:
        """Record that Asterisk is reached, or is away; when it is back, links are sent whole sets."""
        self._is_up, self._offers_remote = is_up, offers_remote
        for link in list(self.links.values()):
            for event in self.functions():
                link.push(event)
            if is_up:
                for query in list(link.queries):
                    self.whole(link, query, now_ms)


def _take(waiting: dict[KeyT, None], most: int) -> list[KeyT]:
    taken = list(waiting)[:most]
    for one in taken:
        del waiting[one]
    return taken
