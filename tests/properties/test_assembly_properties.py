"""However a link's readings come, an agent or queue is what the newest of them say, and nothing else.

Queries start, are refused and stop; readings come complete or not, late, doubled, with and without
users; directory objects come and go; the scope narrows. A naive model keeps every element that ever
came with its time and looks for the newest each time it is asked; the assembly, composed, must agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.core.assembly import Assembly, Composer
from gateway.core.element import Element, compose
from gateway.domain.commands import Listen
from gateway.domain.model import Kind, Scope
from gateway.domain.resources import Agent, Handling, Media, Queue, RoutingState, Switch
from gateway.domain.upstream import Part, Reading, Source

Address = tuple[Kind, int]
ADDRESSES: list[Address] = [*((Kind.AGENT, number) for number in (1, 2)), (Kind.QUEUE, 1), (Kind.QUEUE, 2)]
NUMBERS = st.frozensets(st.sampled_from([1, 2]), min_size=1)
STATES = st.sampled_from([RoutingState.AVAILABLE, RoutingState.UNAVAILABLE, RoutingState.WORK])
TIMES = st.integers(0, 12).map(lambda step: step * 1_500)
AGENTS = st.builds(
    Agent,
    routing_state=STATES,
    routing_state_since_ms=TIMES,
    pending_routing_state=st.none() | STATES,
    handling=st.lists(
        st.builds(Handling, st.sampled_from(["c1", "c2"]), state=st.just("talking"), since_ms=TIMES),
        max_size=1,
    ).map(tuple),
    media=st.builds(Media, voice=st.sampled_from(Switch)),
    logged_on_remotely=st.booleans(),
)
QUEUES = st.builds(Queue, contacts_waiting=st.integers(0, 2), oldest_since_ms=st.none() | TIMES)
STEADY_MS = 2_000


@dataclass(slots=True)
class Asked:
    """A query as the model remembers it."""

    kind: Kind
    numbers: frozenset[int] | None
    is_refused: bool = False
    whole_at_ms: int | None = None

    def covers(self, address: Address) -> bool:
        return address[0] is self.kind and (self.numbers is None or address[1] in self.numbers)


class Links(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.composer = Composer()
        self.assembly = Assembly(self.composer)
        self.now = 0.0
        self.queries: dict[int, Asked] = {}
        self.asked = 0
        self.directory: dict[Address, Part] = {}
        self.received: dict[Address, list[tuple[int, Part | None]]] = {}
        """All that counts of what was sent of a resource: its time, and the part or None for absent."""
        self.late = 0
        self.shown: dict[Address, Element] = {}
        self.dirty: set[Address] = set()

        self.unread: set[int] = set()
        """Agents that came into scope, that no whole set has named yet."""

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.whole_directory(set(ADDRESSES))
        for kind in (Kind.AGENT, Kind.QUEUE):
            self.ask(kind, None, refuse=1)
            self.read(index=self.asked - 1, time=0, whole=True, data=data)

    # ---- queries ----

    @rule(
        kind=st.sampled_from([Kind.AGENT, Kind.QUEUE]), numbers=st.none() | NUMBERS, refuse=st.integers(0, 4)
    )
    def ask(self, kind: Kind, numbers: frozenset[int] | None, refuse: int) -> None:
        if len(self.queries) == 3:
            return
        self.asked += 1
        listen = Listen(kind, Source.REALTIME, numbers)
        self.queries[self.asked] = Asked(kind, numbers, is_refused=refuse == 0)
        if refuse == 0:
            self.dirty |= self.assembly.refused(self.asked, listen)
        else:
            self.assembly.listening(self.asked, listen)

    @rule(index=st.integers(0, 2))
    def stop(self, index: int) -> None:
        if self.queries:
            query = sorted(self.queries)[index % len(self.queries)]
            gone = self.queries.pop(query)
            self.dirty |= self.assembly.stopped(query)
            for address in ADDRESSES:
                others = [asked for asked in self.covering(address) if not asked.is_refused]
                if gone.covers(address) and not others:
                    self.received.pop(address, None)

    # ---- readings ----

    @rule(index=st.integers(0, 2), time=st.integers(0, 6), whole=st.booleans(), data=st.data())
    def read(self, index: int, time: int, whole: bool, data: st.DataObject) -> None:
        living = sorted(query for query, asked in self.queries.items() if not asked.is_refused)
        if not living:
            return
        query = living[index % len(living)]
        asked = self.queries[query]
        inside = [address for address in ADDRESSES if asked.covers(address)]
        there = [address for address in inside if data.draw(st.booleans())]
        parts = tuple(self.part(address, data) for address in there)
        gone = tuple(a[1] for a in inside if a not in there and not whole and data.draw(st.booleans()))
        time_ms = 100_000 + time * 1_000
        self.note(asked, time_ms, whole, parts, gone)
        reading = Reading(query, asked.kind, Source.REALTIME, time_ms, whole, parts, gone)
        self.dirty |= self.assembly.read(reading)

    def note(
        self, asked: Asked, time_ms: int, whole: bool, parts: tuple[Part, ...], gone: tuple[int, ...]
    ) -> None:
        """Remember what a reading says, if it is not too old to say anything."""
        if asked.whole_at_ms is not None and time_ms < asked.whole_at_ms:
            self.late += len(parts) + len(gone)
            return
        said: dict[Address, Part | None] = {(part.kind, part.number): part for part in parts}
        said |= {(asked.kind, number): None for number in gone}
        if whole:
            asked.whole_at_ms = time_ms
            self.unread -= {number for number in self.unread if asked.covers((Kind.AGENT, number))}
            present = [address for address in self.received if self.newest(address)[1] is not None]
            said |= {a: None for a in present if asked.covers(a) and a not in said}
        for address, part in said.items():
            if address in self.received and time_ms < self.newest(address)[0]:
                self.late += 1
            else:
                self.received.setdefault(address, []).append((time_ms, part))

    def part(self, address: Address, data: st.DataObject) -> Part:
        values: dict[Kind, st.SearchStrategy[Agent | Queue]] = {Kind.AGENT: AGENTS, Kind.QUEUE: QUEUES}
        return Part(*address, Source.REALTIME, data.draw(values[address[0]]))

    # ---- the directory and the scope ----

    @rule(address=st.sampled_from(ADDRESSES), there=st.booleans())
    def object(self, address: Address, there: bool) -> None:
        part = self.known(address) if there else None
        if part is None:
            self.directory.pop(address, None)
        else:
            self.directory[address] = part
        self.dirty |= self.assembly.object(address, part)

    @rule(there=st.sets(st.sampled_from(ADDRESSES)))
    def whole_directory(self, there: set[Address]) -> None:
        self.directory = {address: self.known(address) for address in sorted(there)}
        self.dirty |= self.assembly.directory(self.directory.values())

    @rule(numbers=NUMBERS)
    def narrow(self, numbers: frozenset[int]) -> None:
        self.unread &= numbers
        self.dirty |= self.assembly.keep(Scope(agents=numbers, queues=numbers))
        for address in ADDRESSES:
            if address[1] not in numbers:
                self.received.pop(address, None)
                self.directory.pop(address, None)

    @rule(numbers=NUMBERS)
    def gain(self, numbers: frozenset[int]) -> None:
        new = frozenset(
            n for n in numbers if not {(Kind.AGENT, n)} & (self.directory.keys() | self.received.keys())
        )
        self.unread |= new
        self.assembly.gained(new)

    def known(self, address: Address) -> Part:
        name = f"{address[0]} {address[1]}"
        value = Agent(display_name=name) if address[0] is Kind.AGENT else Queue(name=name)
        return Part(*address, Source.DIRECTORY, value)

    # ---- what must be so ----

    @invariant()
    def what_is_late_is_counted(self) -> None:
        assert self.assembly.late == self.late

    @invariant()
    def it_is_settled_when_every_query_has_answered(self) -> None:
        answered = [asked.is_refused or asked.whole_at_ms is not None for asked in self.queries.values()]
        assert self.assembly.settled == all(answered)

    @invariant()
    def every_resource_is_what_was_sent_last(self) -> None:
        for address in ADDRESSES:
            parts = self.assembly.parts(address)
            expected = self.expected(address)
            assert (None if parts is None else compose(parts, 0)) == expected

    @invariant()
    def what_is_shown_moves_with_what_is_sent(self) -> None:
        """As the mirror does: only what was said to have changed is looked at again."""
        self.now += 0.1
        for address in self.dirty:
            parts = self.assembly.parts(address)
            before = self.shown.pop(address, None)
            if parts is not None:
                element = self.composer.element(parts, before, 0)
                self.shown[address] = element
                self.check_steady(before, self.shown[address])
        self.dirty = set()
        for address in ADDRESSES:
            expected, shown = self.expected(address), self.shown.get(address)
            assert (expected is None) == (shown is None), "shown though it is not there, or the reverse"
            if shown is not None and expected is not None:
                assert near(shown.value, expected), "not what was sent, but for jitter"

    def check_steady(self, before: Element | None, after: Element) -> None:
        if before is not None and before is not after:
            assert before.value != after.value, "a change that is none"

    @invariant()
    def who_is_logged_off_does_nothing(self) -> None:
        for element in self.shown.values():
            agent = element.value
            if isinstance(agent, Agent) and agent.routing_state is RoutingState.LOGGED_OFF:
                assert agent.handling == ()
                assert (agent.media, agent.pending_routing_state) == (None, None)
                assert agent.logged_on_remotely is False

    # ---- the model ----

    def covering(self, address: Address) -> list[Asked]:
        return [asked for asked in self.queries.values() if asked.covers(address)]

    def newest(self, address: Address) -> tuple[int, Part | None]:
        return self.received[address][-1]

    def expected(self, address: Address) -> Agent | Queue | None:
        covering = self.covering(address)
        answered = [asked for asked in covering if asked.is_refused or asked.whole_at_ms is not None]
        if address not in self.directory or not answered:
            return None
        received = self.received.get(address, [])
        part = received[-1][1] if received else None
        is_readable = any(not asked.is_refused for asked in answered)
        name = f"{address[0]} {address[1]}"
        if address[0] is Kind.QUEUE:
            if part is None:
                return None if is_readable else Queue(name=name)
            return replace(part.value, name=name) if isinstance(part.value, Queue) else None
        if part is not None and isinstance(part.value, Agent):
            return replace(part.value, display_name=name)
        if not is_readable:
            return Agent(display_name=name, routing_state=RoutingState.UNKNOWN)
        if address[1] in self.unread:
            return None
        return Agent(
            display_name=name,
            routing_state=RoutingState.LOGGED_OFF,
            routing_state_since_ms=left_at_ms(received),
            logged_on_remotely=False,
        )


def left_at_ms(received: list[tuple[int, Part | None]]) -> int | None:
    """Return when somebody who had been there was first reported as absent."""
    gone_at_ms: int | None = None
    for (_, before), (time_ms, after) in pairwise(received):
        if before is not None and after is None:
            gone_at_ms = time_ms
    return gone_at_ms


def near(shown: object, received: Agent | Queue) -> bool:
    """Return whether *shown* is *received* but for instants that moved by no more than two seconds."""
    match shown, received:
        case Agent(), Agent():
            instants = [(shown.routing_state_since_ms, received.routing_state_since_ms)]
            instants += [
                (a.since_ms, b.since_ms) for a, b in zip(shown.handling, received.handling, strict=False)
            ]
            return undated(shown) == undated(received) and all(_near(*pair) for pair in instants)
        case Queue(), Queue():
            same = replace(shown, oldest_since_ms=None) == replace(received, oldest_since_ms=None)
            return same and _near(shown.oldest_since_ms, received.oldest_since_ms)
        case _:
            return False


def undated(agent: Agent) -> Agent:
    handling = tuple(replace(contact, since_ms=None) for contact in agent.handling)
    return replace(agent, routing_state_since_ms=None, handling=handling)


def _near(one: int | None, other: int | None) -> bool:
    return one == other or (one is not None and other is not None and abs(one - other) <= STEADY_MS)


TestLinks = Links.TestCase
TestLinks.settings = settings(max_examples=max(70, settings().max_examples), stateful_step_count=40)
