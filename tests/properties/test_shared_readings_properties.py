"""However many links share what they receive, each sends what it would send alone.

Three links of one node receive some of the same readings, some others and some late, in any order.
Each has a twin that shares nothing and takes no shortcut; both must agree after every step. Links with equal
tables share those, too, at any time.
"""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.assembly import Assembly, Composer
from gateway.core.element import Address, Element, Parts, compose, differ_by_jitter, part_of, steady
from gateway.core.ledger import Ledger
from gateway.domain.commands import Listen
from gateway.domain.model import Kind, Scope, key_of
from gateway.domain.resources import Agent, RoutingState
from gateway.domain.upstream import Part, Reading, Source

NUMBERS = (1, 2)
ADDRESSES: list[Address] = [(Kind.AGENT, number) for number in NUMBERS]
STATES = (RoutingState.AVAILABLE, RoutingState.WORK)
REALTIME = {
    (number, variant): Part(
        Kind.AGENT,
        number,
        Source.REALTIME,
        Agent(routing_state=STATES[variant % 2], routing_state_since_ms=variant * 700),
    )
    for number in NUMBERS
    for variant in range(4)
}
DAY = {
    (number, variant): Part(Kind.AGENT, number, Source.CUMULATIVE, Agent(handled_today=variant))
    for number in NUMBERS
    for variant in range(4)
}
KNOWN = {
    (number, variant): Part(Kind.AGENT, number, Source.DIRECTORY, Agent(display_name=f"{number}.{variant}"))
    for number in NUMBERS
    for variant in range(2)
}
LISTENS = {
    1: Listen(Kind.AGENT, Source.REALTIME, None),
    2: Listen(Kind.AGENT, Source.CUMULATIVE, None),
    3: Listen(Kind.AGENT, Source.REALTIME, frozenset({1})),
}


class Link:
    """A link that shares, and its twin that does not."""

    def __init__(self, composer: Composer, offset_ms: int) -> None:
        self.composer = composer
        self.offset_ms = offset_ms
        self.shared = Assembly(composer)
        self.alone = Assembly()
        self.ledger = Ledger(1)
        self.shown_alone: dict[Address, Element | None] = dict.fromkeys(ADDRESSES)

    def read(self, reading: Reading) -> None:
        ledger = self.ledger
        self.shared.is_unshown = not ledger.elements
        step = self.shared.follow(reading, ledger.elements, self.offset_ms, SCOPE, ledger.versions.shared)
        changed: set[Address] = set()
        if step is None:
            changed = self.shared.read(reading)
        else:
            ledger.record_all(step.changes, step.shown_tables)
        self.look(changed, self.alone.read(reading))

    def listen(self, query: int, *, refused: bool) -> None:
        self.look(self.shared.stopped(query), self.alone.stopped(query))
        listen = LISTENS[query]
        if refused:
            self.look(self.shared.refused(query, listen), self.alone.refused(query, listen))
        else:
            self.shared.listening(query, listen)
            self.alone.listening(query, listen)

    def meet(self) -> None:
        """Share tables with links whose tables are equal."""
        links = self.shared.share_tables()
        if links > 1:
            self.ledger.share_table(self.composer.shown_tables, links)

    def look(self, changed: set[Address], changed_alone: set[Address]) -> None:
        for address in changed:
            parts, element, key = self.shared.parts(address), None, key_of(*address)
            if parts is not None:
                element = self.composer.element(parts, self.ledger.get(key), self.offset_ms)
                self.shared.show(address, parts, element)
            self.ledger.record(key, element)
        for address in changed_alone:
            parts, before = self.alone.parts(address), self.shown_alone[address]
            alone = None if parts is None else Composer().element(parts, before, self.offset_ms)
            self.shown_alone[address] = alone

    def check(self) -> None:
        assert self.shared.late == self.alone.late
        assert self.shared.settled == self.alone.settled
        for address in ADDRESSES:
            parts = self.alone.parts(address)
            assert near(self.shared.parts(address), parts)
            shown = self.ledger.get(key_of(*address)), self.shown_alone[address]
            assert (shown[0] is None) == (shown[1] is None)
            for each in shown:
                if each is not None and parts is not None:
                    assert isinstance(each.value, Agent)
                    said = compose(parts, self.offset_ms)
                    assert each.value == steady(each.value, said), "it differs by more than jitter"


def near(shared: Parts | None, alone: Parts | None) -> bool:
    """Return whether the same sources sent the same, but for instants that jitter."""
    if shared is None or alone is None:
        return shared is alone
    for source in Source:
        mine, expected = part_of(shared, source), part_of(alone, source)
        if mine is None or expected is None:
            if mine is not expected:
                return False
        elif not differ_by_jitter(mine, expected):
            return False
    return shared.remote_number == alone.remote_number


SCOPE = Scope(agents=frozenset(NUMBERS))
LINKS = st.integers(0, 2)
TIMES = st.integers(0, 4)
VARIANTS = st.sampled_from([-1, -1, 0, 1, 2, 3])
SOME = st.tuples(VARIANTS, VARIANTS)
"""Which variant of either agent; -1 for none."""
READ = st.tuples(st.just("read"), LINKS, st.sampled_from([1, 1, 1, 2, 3]), TIMES, st.integers(0, 4), SOME)
MEET = ("meet",)
STEPS = st.lists(
    st.one_of(
        READ,
        READ,
        READ,
        st.tuples(st.just("everybody"), st.sampled_from([1, 2]), TIMES, SOME),
        st.just(MEET),
        st.tuples(st.just("stop"), LINKS, st.sampled_from([1, 2, 3])),
        st.tuples(st.just("listen"), LINKS, st.sampled_from([1, 2, 3]), st.booleans()),
        st.tuples(st.just("gain"), LINKS, st.sampled_from(NUMBERS)),
        st.tuples(st.just("object"), LINKS, st.sampled_from(NUMBERS), st.integers(-1, 1)),
    ),
    min_size=5,
    max_size=40,
)


Known = dict[tuple[int, int, int, tuple[int, int]], Reading]


def reading_of(known: Known, query: int, time: int, how: int, some: tuple[int, int]) -> Reading:
    """Return a reading, the same for the same bytes.

    *how*: 0 is a whole set, 1 removes whom it does not name, 3 sends twice.
    """
    bytes_of_it = (query, time, how, some)
    if bytes_of_it in known:
        return known[bytes_of_it]
    source = LISTENS[query].source
    pool = DAY if source is Source.CUMULATIVE else REALTIME
    named = dict(zip(NUMBERS, some, strict=True))
    parts = tuple(pool[number, variant] for number, variant in named.items() if variant >= 0)
    if how == 3:
        parts += tuple(pool[part.number, 3 - part.number] for part in parts)
    gone = tuple(number for number, variant in named.items() if variant < 0) if how == 1 else ()
    made = known[bytes_of_it] = Reading(query, Kind.AGENT, source, time * 1_000, how == 0, parts, gone)
    return made


def take(links: list[Link], known: Known, step: tuple) -> None:
    match step:
        case ("read", index, query, time, how, some):
            links[index].read(reading_of(known, query, time, how, some))
        case ("everybody", query, time, some):
            for link in links:
                link.read(reading_of(known, query, time, 2, some))
        case ("stop", index, query):
            link = links[index]
            link.look(link.shared.stopped(query), link.alone.stopped(query))
        case ("listen", index, query, refused):
            links[index].listen(query, refused=refused)
        case ("gain", index, number):
            links[index].shared.gained(frozenset({number}))
            links[index].alone.gained(frozenset({number}))
        case ("object", index, number, variant):
            link, address = links[index], (Kind.AGENT, number)
            part = KNOWN.get((number, variant))
            link.look(link.shared.object(address, part), link.alone.object(address, part))


@given(first=st.lists(st.tuples(st.sampled_from([1, 1, 3]), SOME), min_size=3, max_size=3), steps=STEPS)
def test_a_link_among_others_says_what_it_would_say_alone(
    first: list[tuple[int, tuple[int, int]]], steps: list[tuple]
) -> None:
    composer = Composer()
    links, known = [Link(composer, offset_ms) for offset_ms in (0, 0, 5_000)], Known()
    for index, (realtime, some) in enumerate(first):
        for number in NUMBERS:
            take(links, known, ("object", index, number, 0))
        for query in (realtime, 2):
            take(links, known, ("listen", index, query, False))
            take(links, known, ("read", index, query, 0, 0, some))
    for step in [MEET, *steps]:
        if step == MEET:
            for link in links:
                link.meet()
        take(links, known, step)
        for link in links:
            link.check()


def opened(some: tuple[int, int]) -> tuple[list[Link], Known]:
    """Return three links that have read the same whole sets."""
    composer = Composer()
    links, known = [Link(composer, 0) for _ in range(3)], Known()
    begin: list[tuple] = [("object", number, 0) for number in NUMBERS]
    begin += [each for query in (1, 2) for each in (("listen", query, False), ("read", query, 0, 0, some))]
    for index, (verb, *rest) in product(range(3), begin):
        take(links, known, (verb, index, *rest))
    return links, known


BOTH = st.tuples(st.integers(0, 3), st.integers(-1, 3))
TOGETHER = st.lists(
    st.one_of(
        *[st.tuples(st.just("everybody"), st.sampled_from([1, 1, 2]), BOTH)] * 12,
        st.just(MEET),
        READ,
        st.tuples(st.just("object"), LINKS, st.sampled_from(NUMBERS), st.integers(-1, 1)),
        st.tuples(st.just("listen"), LINKS, st.sampled_from([1, 2]), st.booleans()),
    ),
    min_size=10,
    max_size=40,
)


@given(some=BOTH, steps=TOGETHER)
def test_links_that_share_tables_say_what_they_would_say_alone(
    some: tuple[int, int], steps: list[tuple]
) -> None:
    links, known = opened(some)
    for at, step in enumerate([MEET, *steps]):
        if step == MEET:
            for link in links:
                link.meet()
        verb, *rest = step
        take(links, known, (verb, rest[0], 4 + at, rest[1]) if verb == "everybody" else step)
        for link in links:
            link.check()


BEHIND = st.lists(
    st.one_of(
        *[st.tuples(st.just("send"), st.sampled_from([1, 1, 2]), BOTH)] * 4,
        *[st.tuples(st.just("take"), LINKS, st.integers(1, 4))] * 8,
        st.tuples(st.just("skip"), LINKS),
        st.just(MEET),
        READ,
    ),
    min_size=10,
    max_size=60,
)


class Waiting:
    """Links with the readings that each has not taken yet."""

    def __init__(self, links: list[Link]) -> None:
        self.links = links
        self.waiting: list[list[tuple]] = [[] for _ in links]

    def act(self, step: tuple, time: int) -> list[tuple]:
        """Take *step*; return what happens on links now."""
        match step:
            case ("send", query, both):
                for index, each in enumerate(self.waiting):
                    each.append(("read", index, query, time, 2, both))
            case ("take", index, count):
                now, self.waiting[index] = self.waiting[index][:count], self.waiting[index][count:]
                return now
            case ("skip", index):
                del self.waiting[index][:1]
            case ("meet",):
                for link in self.links:
                    link.meet()
            case _:
                return [step]
        return []


@given(some=BOTH, steps=BEHIND)
def test_links_that_are_behind_others_say_what_they_would_say_alone(
    some: tuple[int, int], steps: list[tuple]
) -> None:
    links, known = opened(some)
    waiting = Waiting(links)
    for at, step in enumerate([MEET, *steps]):
        for each in waiting.act(step, 4 + at):
            take(links, known, each)
        for link in links:
            link.check()
