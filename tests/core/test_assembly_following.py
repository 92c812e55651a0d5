"""Does a link take over what another made of the same reading, and only when it knew the same?"""

from __future__ import annotations

import pytest

from gateway.core.assembly import Assembly
from gateway.core.told import PASTS_MOST, Tellings
from gateway.domain.link_requests import Listen
from gateway.domain.model import Kind
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


def test_what_one_link_told_is_news_for_another_that_knew_the_same() -> None:
    tellings = Tellings()
    links = [known(ALL_AGENTS, tellings=tellings) for _ in range(2)]
    directory = [part(Kind.AGENT, number, DIRECTORY) for number in (5, 6)]
    first, now = reading(5, available(5), available(6), whole=True), reading(10, available(5))
    for link in links:
        link.directory(directory)
        link.read(first)
    one, other = (link.follow(now) for link in links)
    assert one is not None
    assert one is other
    assert [told.address for told in one.changed] == [AGENT]
    assert [realtime(link) is now.parts[0] for link in links] == [True, True]


def test_a_link_that_knew_otherwise_has_news_of_its_own() -> None:
    tellings = Tellings()
    links = [known(ALL_AGENTS, tellings=tellings) for _ in range(6)]
    now = reading(10, available(5))
    for link in links:
        link.read(reading(5, available(5), whole=True))
    news = [link.follow(now) for link in links]
    assert len({id(each) for each in news}) == 6
    assert [realtime(link) is now.parts[0] for link in links] == [True] * 6
    assert len(tellings.news(now)) == PASTS_MOST


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
    assembly = known(ALL_AGENTS)
    now = available()
    assembly.read(reading(10, now, whole=True))
    assert assembly.follow(other) is None
    assert realtime(assembly) is now
    assert assembly.late == 0


def test_nothing_is_followed_before_the_whole_set() -> None:
    assembly = known(ALL_AGENTS)
    assert assembly.follow(reading(10, available())) is None
    refused = known()
    refused.refused(1, ALL_AGENTS)
    assert refused.follow(reading(10, available())) is None


def test_it_has_told_what_queries_that_are_complete_cover() -> None:
    assembly = Assembly()
    some, few = (Listen(Kind.AGENT, REALTIME, frozenset(numbers)) for numbers in ({5, 6}, {5}))
    assembly.listening(1, some)
    assert not assembly.has_told([few])
    assembly.read(Reading(1, Kind.AGENT, REALTIME, 1_000, True, ()))
    assert assembly.has_told([few, some])
    assert not assembly.has_told([ALL_AGENTS])
    assert not assembly.has_told([few, Listen(Kind.AGENT, CUMULATIVE, frozenset({5}))])
    assembly.refused(-1, ALL_AGENTS)
    assert assembly.has_told([ALL_AGENTS, few]), "what cannot be had is not waited for"
