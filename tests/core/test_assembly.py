"""Assembly: the current state of a link, whatever comes late, twice or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.assembly import Assembly, Composer
from gateway.core.element import BEHIND_MS, OPEN_STEPS, STEPS_MOST, UNREADABLE, Element, ReadingStep
from gateway.core.link import MOST, PARTS_MOST, PendingReadings, Query
from gateway.domain.commands import Listen
from gateway.domain.model import Kind, Scope, key_of
from gateway.domain.resources import Agent, Queue, RoutingState
from gateway.domain.upstream import Part, PartValue, Reading, Source
from tests.core.samples import part

AGENT, QUEUE = (Kind.AGENT, 5), (Kind.QUEUE, 1)
REALTIME, CUMULATIVE = Source.REALTIME, Source.CUMULATIVE
CONFIGURATION, DIRECTORY = Source.CONFIGURATION, Source.DIRECTORY
ALL_AGENTS = Listen(Kind.AGENT, REALTIME, None)


def reading(
    time_ms: int,
    *parts: Part,
    query: int = 1,
    whole: bool = False,
    removed: tuple[int, ...] = (),
    source: Source = REALTIME,
    kind: Kind | None = Kind.AGENT,
) -> Reading:
    return Reading(query, kind, source, time_ms, whole, parts, removed)


def available(number: int = 5) -> Part:
    return part(Kind.AGENT, number, REALTIME, Agent(routing_state=RoutingState.AVAILABLE))


def known(*listens: Listen, composer: Composer | None = None) -> Assembly:
    """Return an assembly that knows agents 5 and 6 and queue 1, with queries 1 and up."""
    assembly = Assembly(composer)
    for query, listen in enumerate(listens, start=1):
        assembly.listening(query, listen)
    assembly.directory(
        [part(Kind.AGENT, 5, DIRECTORY), part(Kind.AGENT, 6, DIRECTORY), part(*QUEUE, DIRECTORY)]
    )
    return assembly


def realtime(assembly: Assembly, number: int = 5) -> PartValue | None:
    found = assembly.parts((Kind.AGENT, number))
    assert found is not None
    return found.realtime


# ---- what is a resource ----


def test_the_other_sources_are_beside_it() -> None:
    configuration = Listen(None, CONFIGURATION, None)
    assembly = known(ALL_AGENTS, Listen(Kind.AGENT, CUMULATIVE, None), configuration)
    now, day, skills = available(), part(*AGENT, CUMULATIVE), part(*AGENT, CONFIGURATION)
    assembly.read(reading(10, now, whole=True))
    assembly.read(reading(10, day, query=2, whole=True, source=CUMULATIVE))
    assembly.read(reading(10, skills, query=3, whole=True, source=CONFIGURATION, kind=None))
    found = assembly.parts(AGENT)
    assert found is not None
    assert (found.realtime, found.cumulative, found.configuration) == (now.value, day.value, skills.value)
    assert assembly.received(AGENT).cumulative is day.value
    assert assembly.read(reading(20, query=3, whole=True, source=CONFIGURATION, kind=None)) == {AGENT}
    assert assembly.received(AGENT).configuration is None


# ---- queries ----


def test_directory_objects_stay_and_unknown_queries_say_nothing() -> None:
    assembly = known(Listen(None, DIRECTORY, None))
    assembly.stopped(1)
    assert assembly.received(AGENT).directory is not None
    assembly = known(ALL_AGENTS)
    assert assembly.read(reading(10, available(), query=9, whole=True)) == set()
    assert assembly.stopped(9) == set()
    assert not assembly.settled
    assert known(Listen(None, DIRECTORY, None)).settled


# ---- what is late ----


def test_data_of_a_late_query_is_left_out_until_it_arrives() -> None:
    assembly = known(ALL_AGENTS)
    assert assembly.awaits(1)
    assert assembly.do_without(1) == {AGENT, (Kind.AGENT, 6)}
    assert (assembly.settled, assembly.awaits(1)) == (True, False)
    assert (assembly.lacks(1), assembly.lacks_realtime) == (True, True)
    assert realtime(assembly) is UNREADABLE
    assert assembly.read(reading(10, now := available(), whole=True)) == {AGENT, (Kind.AGENT, 6)}
    assert (assembly.lacks(1), assembly.lacks_realtime) == (False, False)
    assert realtime(assembly) is now.value
    assert realtime(assembly, 6) is None


def test_only_late_queries_that_run_are_done_without() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(10, available(), whole=True))
    assert assembly.do_without(1) == assembly.do_without(2) == set()
    assert not assembly.lacks_realtime
    assembly = known(ALL_AGENTS, Listen(Kind.AGENT, CUMULATIVE, None))
    assembly.do_without(2)
    assert not assembly.lacks_realtime
    assembly.do_without(1)
    assembly.stopped(1)
    assert not assembly.lacks_realtime
    assert assembly.runs(2)
    assert not assembly.runs(1)


# ---- one query of a link ----


FIVE = Listen(Kind.AGENT, REALTIME, frozenset({5}))


def test_a_complete_query_has_delivered_what_it_covers() -> None:
    assert Query(ALL_AGENTS, complete=True).has_delivered(FIVE)
    assert not Query(ALL_AGENTS).has_delivered(FIVE)
    assert not Query(FIVE, complete=True).has_delivered(ALL_AGENTS)
    assert not Query(ALL_AGENTS, complete=True).has_delivered(Listen(Kind.AGENT, CUMULATIVE, None))
    assembly = Assembly()
    some, few = (Listen(Kind.AGENT, REALTIME, frozenset(numbers)) for numbers in ({5, 6}, {5}))
    assembly.listening(1, some)
    assert not assembly.has_delivered([few])
    assembly.read(Reading(1, Kind.AGENT, REALTIME, 1_000, True, ()))
    assert assembly.has_delivered([few, some])
    assert not assembly.has_delivered([ALL_AGENTS])
    assert not assembly.has_delivered([few, Listen(Kind.AGENT, CUMULATIVE, frozenset({5}))])
    assembly.refused(-1, ALL_AGENTS)
    assert assembly.has_delivered([ALL_AGENTS, few]), "what cannot be had is not waited for"


# ---- when a resource was last read, also where the part of another link is held ----


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
            element = self.composer.element(parts, self.shown.get(key), 0)
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
            number for number in NUMBERS if link.assembly.received((Kind.QUEUE, number)).realtime is not None
        }
        assert (link.assembly.late, held) == (link.late, link.present)


# ---- a link reuses what another one made of the same reading ----


SEEN = Scope(agents=frozenset({5, 6}), queues=frozenset({1}))
WORK = part(*AGENT, REALTIME, Agent(routing_state=RoutingState.WORK))


class Link:
    """An assembly whose agents are shown, as a mirror does it."""

    def __init__(self, composer: Composer, *, scope: Scope = SEEN) -> None:
        self.composer = composer
        self.assembly = known(ALL_AGENTS, composer=composer)
        self.assembly.directory([part(Kind.AGENT, number, DIRECTORY) for number in (5, 6)])
        self.scope = scope
        self.shown: dict[str, Element] = {}

    def read(self, whole: Reading) -> None:
        for address in self.assembly.read(whole):
            parts = self.assembly.parts(address)
            assert parts is not None
            element = self.composer.element(parts, None, 0)
            self.assembly.show(address, parts, element)
            self.shown[key_of(*address)] = element

    def follow(self, now: Reading, offset_ms: int = 0) -> ReadingStep | None:
        step = self.assembly.follow(now, self.shown, offset_ms, self.scope)
        if step is not None:
            self.shown.update(step.changes.elements)
        return step


def whole() -> Reading:
    return reading(5, available(5), available(6), whole=True)


def links_of_one_node(count: int, *, share: bool = False) -> list[Link]:
    """Return links that have received the whole set; they *share* what they received, if asked."""
    composer = Composer()
    links = [Link(composer) for _ in range(count)]
    for link in links:
        link.read(whole())
        if share:
            link.assembly.share_tables()
    return links


def test_what_one_link_reported_is_a_step_for_another_that_stood_at_the_same_place() -> None:
    links = links_of_one_node(2)
    now = reading(10, WORK)
    one, other = (link.follow(now) for link in links)
    assert one is not None
    assert one is other
    assert list(one.changes.elements) == ["agent:5"]
    assert (set(one.changed), one.numbers) == ({5}, [5])
    assert [realtime(link.assembly) is WORK.value for link in links] == [True, True]
    assert links[0].shown["agent:5"] is links[1].shown["agent:5"]


def test_a_link_that_stood_elsewhere_takes_a_step_of_its_own() -> None:
    composer = Composer()
    links = [Link(composer) for _ in range(6)]
    now = reading(20, WORK)
    for number, link in enumerate(links):
        link.read(whole())
        received = Agent(routing_state=RoutingState.AVAILABLE, reason_id=str(number))
        link.follow(reading(10, part(*AGENT, REALTIME, received)))
    steps = [link.follow(now) for link in links]
    assert len({id(step) for step in steps}) == 6
    assert {link.shown["agent:5"] for link in links} == {links[0].shown["agent:5"]}, "then all show the same"
    assert now.steps is not None
    assert len(now.steps) == STEPS_MOST


def test_a_link_behind_takes_the_elements_that_others_showed_after_the_same_reading() -> None:
    ahead, behind = links_of_one_node(2)
    behind.follow(reading(8, part(*AGENT, REALTIME, Agent(reason_id="1"))))
    several = reading(10, WORK, part(Kind.AGENT, 6, REALTIME, Agent(routing_state=RoutingState.WORK)))
    assert ahead.follow(several) is not None
    shown = dict(ahead.shown)
    for number in (5, 6):
        assert ahead.follow(reading(20, available(number))) is not None
    newest = dict(ahead.composer.newest)
    assert behind.follow(several) is not None
    assert behind.shown == shown, "the newest elements are of later readings"
    assert ahead.composer.newest == newest, "those who open now hold these"


def dated(time_ms: int, reason: str, *, whole: bool = False) -> Reading:
    """Return a reading of both agents whose parts know their time."""
    agent = Agent(reason_id=reason)
    some = [Part(Kind.AGENT, number, REALTIME, agent, None, time_ms) for number in (5, 6)]
    return reading(time_ms, *some, whole=whole)


@pytest.mark.parametrize(("later_ms", "is_kept"), [(2_000, True), (BEHIND_MS, False)])
def test_links_that_are_behind_come_to_the_elements_of_one_that_opened(later_ms: int, is_kept: bool) -> None:
    composer, start_ms = Composer(), 1_000
    links = [Link(composer) for _ in range(2)]
    for link in links:
        link.read(dated(start_ms, "0", whole=True))
    opened = Link(composer)
    opened.read(dated(start_ms + later_ms, "2", whole=True))
    for news in (dated(start_ms, "1"), dated(start_ms + later_ms, "2")):
        for link in links:
            assert link.follow(news) is not None
        is_newest = composer.newest["agent:5"] is opened.shown["agent:5"]
        assert is_newest is is_kept, "unless the server's clock was set back"
    for link in links:
        assert all((link.shown[key] is element) is is_kept for key, element in opened.shown.items())


def test_no_more_steps_hold_tables_when_most_links_are_far_behind_one() -> None:
    ahead, *others = links_of_one_node(3, share=True)
    news = [
        reading(10 + number, part(*AGENT, REALTIME, Agent(reason_id=str(number))))
        for number in range(2 * OPEN_STEPS)
    ]
    for links_at_once in ([ahead], others):
        for now in news:
            steps = [link.follow(now) for link in links_at_once]
            assert steps[0] is steps[-1] is not None
    made = [step for now in news for step in now.steps or () if isinstance(step, ReadingStep)]
    assert len(made) == len(news), "all links took the same steps"
    assert [not step.sent_tables._known for step in made] == [True] * OPEN_STEPS + [False] * OPEN_STEPS


def show_the_parts_of_another_link(link: Link) -> None:
    parts = link.assembly.received(AGENT)
    link.assembly.show(AGENT, parts, Element(None, replace(parts, realtime_ms=7)))


@pytest.mark.parametrize(
    "change",
    [
        lambda link: link.assembly.keep(Scope(frozenset({6}))),
        lambda link: link.assembly.read(reading(10, WORK, whole=True)),
        lambda link: link.assembly.object(AGENT, None),
        lambda link: link.assembly.stopped(1),
        lambda link: link.follow(reading(10, WORK)),
        show_the_parts_of_another_link,
    ],
    ids=["keep", "read", "object", "stopped", "follow", "show"],
)
def test_a_link_that_shares_what_it_received_changes_only_its_own(change: Callable[[Link], object]) -> None:
    one, *others = links = links_of_one_node(3, share=True)
    before = [one.assembly.received((Kind.AGENT, number)) for number in (5, 6)]
    for link in links:
        assert all(link.assembly.received((Kind.AGENT, each)) is before[each - 5] for each in (5, 6))
    change(one)
    assert one.assembly.received(AGENT) is not before[0]
    for link in others:
        assert [link.assembly.received((Kind.AGENT, number)) for number in (5, 6)] == before


def test_one_part_for_one_link_is_no_reason_to_change_a_table_that_it_shares() -> None:
    links = links_of_one_node(2, share=True)
    now = reading(10, WORK)
    now.steps = None
    assert links[0].assembly.follow_one(now, links[0].shown, 0, None) is None
    assert links[0].follow(now) is not None
    assert [realtime(link.assembly) is WORK.value for link in links] == [True, False]


def test_what_is_outside_the_scope_or_before_the_whole_set_has_to_be_read() -> None:
    link = Link(Composer(), scope=Scope(agents=frozenset({6})))
    link.read(whole())
    assert link.follow(reading(10, WORK)) is None
    assert realtime(link.assembly) is not WORK.value
    assert Link(Composer()).follow(reading(10, available())) is None
    refused = known()
    refused.refused(1, ALL_AGENTS)
    assert refused.follow(reading(10, available()), {}, 0, SEEN) is None


@pytest.mark.parametrize(
    "other",
    [
        reading(20, available(), whole=True),
        reading(20, removed=(5,)),
        reading(9, available()),
        reading(20, available(), available()),
        reading(20, available(), query=9),
        reading(20, part(Kind.QUEUE, 1, REALTIME), kind=Kind.QUEUE),
        reading(20, part(*AGENT, CONFIGURATION), source=CONFIGURATION),
        reading(20, part(*AGENT, CONFIGURATION), source=CONFIGURATION, kind=None),
    ],
    ids=["whole", "removed", "late", "twice", "unknown", "unread", "configuration", "of many kinds"],
)
def test_whatever_says_more_than_what_is_has_to_be_read(other: Reading) -> None:
    link, now = Link(Composer()), available()
    link.read(reading(10, now, whole=True))
    assert link.follow(other) is None
    assert realtime(link.assembly) is now.value
    assert link.assembly.late == 0


def test_links_after_another_share_steps_although_they_show_its_elements() -> None:
    composer = Composer()
    first = Link(composer)
    first.read(whole())
    shown = first.shown
    del first
    second, third = Link(composer), Link(composer)
    for link in second, third:
        for address in link.assembly.read(whole()):
            parts, before = link.assembly.parts(address), shown[key_of(*address)]
            assert parts is not None
            assert composer.element(parts, before, 0) is before
            link.assembly.show(address, parts, before)
        link.shown = shown.copy()
    now = reading(10, WORK)
    assert second.follow(now) is third.follow(now)


def test_a_link_that_takes_the_parts_of_another_one_knows_when_its_own_were_read() -> None:
    links = links_of_one_node(2)
    for link, time_ms in zip(links, (10, 20), strict=True):
        work = Agent(routing_state=RoutingState.WORK, routing_state_since_ms=100_000 + time_ms)
        now = Part(Kind.AGENT, 5, REALTIME, work, time_ms=time_ms)
        assert link.follow(reading(time_ms, now)) is not None
    one, other = (link.assembly for link in links)
    assert other.received(AGENT) is one.received(AGENT)
    between = Part(Kind.AGENT, 5, REALTIME, Agent(routing_state=RoutingState.AVAILABLE), time_ms=15)
    for assembly in (one, other):
        assembly.read(reading(15, between))
    assert (one.late, other.late) == (0, 1)
    assert [realtime(assembly) is between.value for assembly in (one, other)] == [True, False]


def test_elements_of_links_that_are_gone_are_forgotten() -> None:
    composer = Composer()
    one, other = Link(composer), Link(composer)
    one.read(whole())
    other.read(whole())
    key = key_of(*AGENT)
    element = composer.newest.get(key)
    del one
    assert composer.newest.get(key) is element is not None
    del other
    assert composer.newest.get(key) is None


# ---- readings that arrive before their query is known ----


def test_early_readings_are_those_of_the_query_and_kept_only_while_one_is_unknown() -> None:
    early = PendingReadings()
    early.expect(True)
    early.keep(first := reading(10, available(), whole=True))
    early.keep(reading(11, available(), query=2))
    early.keep(second := reading(12, available()))
    assert early.take(1, ALL_AGENTS) == [first, second]
    early = PendingReadings()
    early.expect(True)
    early.keep(reading(10, available(), source=CUMULATIVE))
    assert early.take(1, ALL_AGENTS) == []
    early = PendingReadings()
    early.expect(True)
    early.keep(reading(10, available()))
    early.expect(False)
    assert not early.is_watching
    assert early.take(1, ALL_AGENTS) == []
    assert early.take_unnamed() == ()


def test_queries_that_no_answer_names_are_found_by_their_readings() -> None:
    early = PendingReadings()
    early.expect(True)
    early.keep(reading(10, available()))
    early.keep(reading(10, available(), query=2))
    assert len(early.take(1, ALL_AGENTS)) == 1
    early.missed()
    early.expect(False)
    assert early.take_unnamed() == (2,)
    assert early.is_watching
    for number in range(3, MOST + 9):
        early.keep(reading(12, available(), query=number))
    assert len(early.take_unnamed()) == MOST
    assert early.take_unnamed() == ()
    # a server may give a query the number of one that has ended, whose last readings came late
    early = PendingReadings()
    early.missed()
    for number in (1, 2):
        early.keep(reading(10, available(), query=number))
    early.take(1, ALL_AGENTS)
    assert early.take_unnamed() == (2,)


def test_the_newest_early_readings_are_kept_and_no_more() -> None:
    early = PendingReadings()
    early.expect(True)
    for time_ms in range(MOST + 1):
        early.keep(reading(time_ms, available()))
    assert [each.time_ms for each in early.take(1, ALL_AGENTS)] == list(range(1, MOST + 1))
    early = PendingReadings()
    early.expect(True)
    part = available()
    for time_ms in range(3):
        early.keep(reading(time_ms, *[part] * PARTS_MOST))
    assert [each.time_ms for each in early.take(1, ALL_AGENTS)] == [1, 2]
