"""Assembly: when a resource was last read, also where the part of another link is held."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.element import Composer, Element
from gateway.domain.commands import Listen
from gateway.domain.model import Kind, Scope, key_of
from gateway.domain.resources import Queue
from gateway.domain.upstream import Part, Reading, Source
from tests.core.assemblies import known, reading
from tests.core.samples import part

NUMBERS = (1, 2, 3)
SCOPE = Scope(agents=frozenset(), queues=frozenset(NUMBERS))
WINDOW = 60_000
QUERIES = 2
"""Queries for the same resources, as while one replaces another: their whole sets are not in order."""


class TimedLink:
    """A link with a record of when each queue was last read."""

    def __init__(self, composer: Composer) -> None:
        self.composer = composer
        self.assembly = known(*[Listen(Kind.QUEUE, Source.REALTIME, None)] * QUERIES, composer=composer)
        self.assembly.directory([part(Kind.QUEUE, number, Source.DIRECTORY) for number in NUMBERS])
        self.shown: dict[str, Element] = {}
        self.last_ms: dict[int, int] = {}
        self.present: set[int] = set()
        self.whole_ms = dict.fromkeys(range(1, QUERIES + 1), -1)
        self.late = 0

    def read(self, one: Reading) -> None:
        self._record(one)
        step = self.assembly.follow(one, self.shown, 0, SCOPE)
        if step is not None:
            self.shown.update(step.changes.elements)
            return
        for address in self.assembly.read(one):
            parts, key = self.assembly.parts(address), key_of(*address)
            if parts is None:
                self.shown.pop(key, None)
                continue
            place = self.assembly.shown(address)
            element = self.composer.element(parts, self.shown.get(key), 0, place)
            self.assembly.show(address, parts, element)
            self.shown[key] = element

    def _record(self, one: Reading) -> None:
        if one.time_ms < self.whole_ms[one.query]:
            self.late += len(one.parts) + len(one.removed)
            return
        now = [each.number for each in one.parts]
        gone = [*one.removed]
        for number in now:
            self._take(number, one.time_ms, is_present=True)
        if one.complete:
            self.whole_ms[one.query] = one.time_ms
            gone += [number for number in sorted(self.present) if number not in now]
        for number in gone:
            self._take(number, one.time_ms, is_present=False)

    def _take(self, number: int, time_ms: int, *, is_present: bool) -> None:
        if time_ms < self.last_ms.get(number, 0):
            self.late += 1
            return
        self.last_ms[number] = time_ms
        if is_present:
            self.present.add(number)
        else:
            self.present.discard(number)


def queue(number: int, time_ms: int, oldest_ms: int, contacts: int) -> Part:
    value = Queue(contacts_waiting=contacts, oldest_since_ms=WINDOW + oldest_ms)
    return Part(Kind.QUEUE, number, Source.REALTIME, value, None, time_ms)


@st.composite
def readings(draw: st.DrawFn) -> tuple[tuple[int, ...], Reading]:
    """Return the links that receive a reading, and the reading."""
    time_ms, whole = draw(st.integers(1, 12)), draw(st.booleans())
    numbers = draw(st.sets(st.sampled_from(NUMBERS)))
    oldest, contacts = st.integers(0, 2), st.integers(0, 1)
    parts = [queue(number, time_ms, draw(oldest), draw(contacts)) for number in sorted(numbers)]
    removed = () if whole else tuple(sorted(draw(st.sets(st.sampled_from(NUMBERS), max_size=1)) - numbers))
    links = draw(st.sampled_from([(0,), (1,), (0, 1)]))
    query = draw(st.integers(1, QUERIES))
    return links, reading(time_ms, *parts, query=query, whole=whole, removed=removed, kind=Kind.QUEUE)


@given(st.lists(readings(), max_size=12))
def test_an_element_is_late_if_its_resource_was_read_later_whatever_part_is_held(
    received: list[tuple[tuple[int, ...], Reading]],
) -> None:
    composer = Composer()
    links = [TimedLink(composer), TimedLink(composer)]
    for to, one in received:
        for at in to:
            links[at].read(one)
    for link in links:
        held = {
            number
            for number in NUMBERS
            if link.assembly.part((Kind.QUEUE, number), Source.REALTIME) is not None
        }
        assert (link.assembly.late, held) == (link.late, link.present)
