"""Assembly: the current state of a link, whatever comes late, twice or not at all."""

from __future__ import annotations

from gateway.core.link import Query
from gateway.domain.commands import Listen
from gateway.domain.model import Kind
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
    assert (found.realtime, found.cumulative, found.configuration) == (now, day, skills)
    assert assembly.part(AGENT, CUMULATIVE) is day
    assert assembly.read(reading(20, query=3, whole=True, source=CONFIGURATION, kind=None)) == {AGENT}
    assert assembly.part(AGENT, CONFIGURATION) is None


# ---- time ----


def test_who_is_reported_gone_twice_left_the_first_time() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(5, available(5), whole=True))
    for time_ms in (10, 20):
        assembly.read(reading(time_ms, removed=(5, 6)))
    left = [assembly.parts((Kind.AGENT, number)) for number in (5, 6)]
    assert [parts and parts.absent_since_ms for parts in left] == [10, None]
    assert assembly.read(reading(19, available(5))) == set()
    assert assembly.late == 1


def test_the_same_part_again_is_no_change_but_newer() -> None:
    assembly = known(ALL_AGENTS)
    now = available()
    assembly.read(reading(10, now, whole=True))
    assert assembly.read(reading(20, now)) == set()
    assert assembly.read(reading(15, available())) == set()
    assert assembly.late == 1


# ---- queries ----


def test_directory_objects_stay_when_their_changes_are_listened_to_no_more() -> None:
    assembly = known(Listen(None, DIRECTORY, None))
    assembly.stopped(1)
    assert assembly.part(AGENT, DIRECTORY) is not None


def test_unknown_queries_say_nothing() -> None:
    assembly = known(ALL_AGENTS)
    assert assembly.read(reading(10, available(), query=9, whole=True)) == set()
    assert assembly.stopped(9) == set()
    assert not assembly.settled


def test_changes_of_the_directory_have_no_first_reading() -> None:
    assert known(Listen(None, DIRECTORY, None)).settled


# ---- the directory and the scope ----


def test_an_object_that_was_removed_is_gone_and_leaves_nothing_new() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(10, available(), whole=True))
    assert assembly.object(AGENT, None) == {AGENT}
    assert assembly.parts(AGENT) is None
    assembly.object((Kind.AGENT, 99), None)
    assert (Kind.AGENT, 99) not in assembly.addresses()


# ---- what is late ----


def test_data_of_a_late_query_is_left_out_until_it_arrives() -> None:
    assembly = known(ALL_AGENTS)
    assert assembly.awaits(1)
    assert assembly.do_without(1) == {AGENT, (Kind.AGENT, 6)}
    assert (assembly.settled, assembly.awaits(1)) == (True, False)
    assert (assembly.lacks(1), assembly.lacks_realtime) == (True, True)
    found = assembly.parts(AGENT)
    assert found is not None
    assert (found.realtime, found.readable) == (None, False)
    assert assembly.read(reading(10, now := available(), whole=True)) == {AGENT, (Kind.AGENT, 6)}
    assert (assembly.lacks(1), assembly.lacks_realtime) == (False, False)
    assert realtime(assembly) is now
    found = assembly.parts((Kind.AGENT, 6))
    assert found is not None
    assert found.readable


def test_what_was_sent_or_is_unknown_is_not_done_without() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(10, available(), whole=True))
    assert assembly.do_without(1) == assembly.do_without(2) == set()
    assert not assembly.lacks_realtime


def test_a_late_query_that_is_stopped_is_missed_no_more() -> None:
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


def test_a_wider_query_has_the_data_of_a_narrower_one() -> None:
    assert Query(ALL_AGENTS, complete=True).has_delivered(FIVE)
    assert not Query(ALL_AGENTS).has_delivered(FIVE)
    assert not Query(FIVE, complete=True).has_delivered(ALL_AGENTS)
    assert not Query(ALL_AGENTS, complete=True).has_delivered(Listen(Kind.AGENT, CUMULATIVE, None))
