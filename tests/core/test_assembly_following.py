"""Assembly: a link reuses what another one made of the same reading."""

from __future__ import annotations

import pytest

from gateway.core.assembly import PASTS_MOST, Assembly
from gateway.core.element import Composer, Element, ReadingStep
from gateway.domain.commands import Listen
from gateway.domain.model import Kind, Scope, key_of
from gateway.domain.resources import Agent, RoutingState
from gateway.domain.upstream import Reading
from tests.core.assemblies import (
    AGENT,
    ALL_AGENTS,
    CONFIGURATION,
    CUMULATIVE,
    DIRECTORY,
    REALTIME,
    available,
    known,
    reading,
    realtime,
)
from tests.core.samples import part

SCOPE = Scope(agents=frozenset({5, 6}), queues=frozenset({1}))
WORK = part(*AGENT, REALTIME, Agent(routing_state=RoutingState.WORK))


class Link:
    """An assembly whose agents are shown, as a mirror does it."""

    def __init__(self, composer: Composer, *, scope: Scope = SCOPE) -> None:
        self.composer = composer
        self.assembly = known(ALL_AGENTS, composer=composer)
        self.assembly.directory([part(Kind.AGENT, number, DIRECTORY) for number in (5, 6)])
        self.scope = scope
        self.shown: dict[str, Element] = {}

    def read(self, whole: Reading) -> None:
        for address in self.assembly.read(whole):
            parts = self.assembly.parts(address)
            assert parts is not None
            element = self.composer.element(parts, None, 0, self.assembly.shown(address))
            self.assembly.show(address, parts, element)
            self.shown[key_of(*address)] = element

    def follow(self, now: Reading, offset_ms: int = 0) -> ReadingStep | None:
        step = self.assembly.follow(now, self.shown, offset_ms, self.scope)
        if step is not None:
            self.shown.update(step.changes.elements)
        return step


def whole() -> Reading:
    return reading(5, available(5), available(6), whole=True)


def test_what_one_link_reported_is_a_step_for_another_that_stood_at_the_same_place() -> None:
    composer = Composer()
    links = [Link(composer) for _ in range(2)]
    for link in links:
        link.read(whole())
    now = reading(10, WORK)
    one, other = (link.follow(now) for link in links)
    assert one is not None
    assert one is other
    assert list(one.changes.elements) == ["agent:5"]
    assert (set(one.changed), one.numbers) == ({5}, [5])
    assert [realtime(link.assembly) is WORK for link in links] == [True, True]
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
    assert len(now.steps) == PASTS_MOST


def test_what_is_outside_the_scope_has_to_be_read() -> None:
    link = Link(Composer(), scope=Scope(agents=frozenset({6})))
    link.read(whole())
    assert link.follow(reading(10, WORK)) is None
    assert realtime(link.assembly) is not WORK


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
    assert realtime(link.assembly) is now
    assert link.assembly.late == 0


def test_nothing_is_followed_before_the_whole_set() -> None:
    assert Link(Composer()).follow(reading(10, available())) is None
    refused = known()
    refused.refused(1, ALL_AGENTS)
    assert refused.follow(reading(10, available()), {}, 0, SCOPE) is None


def test_it_has_reported_what_queries_that_are_complete_cover() -> None:
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


def test_a_link_after_another_shares_places_with_later_ones_although_it_shows_the_same_elements() -> None:
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
            place = link.assembly.shown(address)
            assert composer.element(parts, before, 0, place) is before
            link.assembly.show(address, parts, before)
        link.shown = shown.copy()
    assert second.assembly.shown(AGENT) is third.assembly.shown(AGENT) is composer.shown(AGENT)
    now = reading(10, WORK)
    assert second.follow(now) is third.follow(now)


def test_places_of_links_that_are_gone_are_forgotten_with_their_elements() -> None:
    composer = Composer()
    one, other = Link(composer), Link(composer)
    one.read(whole())
    other.read(whole())
    place = composer.shown(AGENT)
    del one
    assert composer.shown(AGENT) is place
    assert place.element is not None
    del other
    assert composer.shown(AGENT) is not place
    assert place.element is None
