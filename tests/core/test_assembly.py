"""Does an assembly know what a link says now, whatever comes late, twice or not at all?"""

from __future__ import annotations

import pytest

from gateway.core.assembly import Assembly
from gateway.core.link import Query
from gateway.domain.commands import Listen
from gateway.domain.model import Kind, Scope
from gateway.domain.resources import Queue
from tests.core.assemblies import (
    AGENT,
    ALL_AGENTS,
    CONFIGURATION,
    CUMULATIVE,
    DIRECTORY,
    QUEUE,
    REALTIME,
    available,
    known,
    reading,
    realtime,
)
from tests.core.samples import part

# ---- what is a resource ----


def test_nothing_is_a_resource_before_its_directory_object() -> None:
    assembly = Assembly()
    assembly.listening(1, ALL_AGENTS)
    now = available()
    assert assembly.read(reading(10, now, whole=True)) == {AGENT}
    assert assembly.parts(AGENT) is None
    directory = part(*AGENT, DIRECTORY)
    assert assembly.object(AGENT, directory) == {AGENT}
    found = assembly.parts(AGENT)
    assert found is not None
    assert (found.directory, found.realtime, found.readable) == (directory, now, True)


def test_nothing_is_a_resource_before_the_first_whole_set() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(10, available()))
    assert assembly.parts(AGENT) is None
    assert not assembly.settled
    assert assembly.read(reading(11, available(), whole=True)) == {AGENT, (Kind.AGENT, 6)}
    assert assembly.parts(AGENT) is not None
    assert assembly.settled


def test_a_user_absent_from_the_whole_set_is_there_without_realtime() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(10, available(5), whole=True))
    found = assembly.parts((Kind.AGENT, 6))
    assert found is not None
    assert (found.realtime, found.readable, found.absent_since_ms) == (None, True, None)
    assembly.read(reading(20, whole=True))
    gone = assembly.parts(AGENT)
    assert gone is not None
    assert (gone.realtime, gone.absent_since_ms) == (None, 20)


def test_other_kinds_absent_from_the_whole_set_are_gone() -> None:
    assembly = known(Listen(Kind.QUEUE, REALTIME, None))
    assembly.read(reading(10, part(*QUEUE, REALTIME), whole=True, kind=Kind.QUEUE))
    assert assembly.parts(QUEUE) is not None
    assert assembly.read(reading(20, whole=True, kind=Kind.QUEUE)) == {QUEUE}
    assert assembly.parts(QUEUE) is None


def test_what_cannot_be_read_is_shown_without_it() -> None:
    assembly = known()
    listen = Listen(Kind.QUEUE, REALTIME, None)
    assert assembly.refused(-1, listen) == {QUEUE}
    found = assembly.parts(QUEUE)
    assert found is not None
    assert (found.realtime, found.readable) == (None, False)
    assert assembly.settled


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


@pytest.mark.parametrize(("time_ms", "taken"), [(9, False), (10, True), (11, True)])
def test_an_element_older_than_the_held_one_is_ignored_and_counted(time_ms: int, taken: bool) -> None:
    assembly = known(ALL_AGENTS)
    first, second = available(), available()
    assembly.read(reading(5, whole=True))
    assembly.read(reading(10, first))
    assert assembly.read(reading(time_ms, second)) == ({AGENT} if taken else set())
    assert realtime(assembly) is (second if taken else first)
    assert assembly.late == (0 if taken else 1)


def test_a_removal_that_is_late_is_ignored() -> None:
    assembly = known(ALL_AGENTS)
    now = available()
    assembly.read(reading(5, whole=True))
    assembly.read(reading(10, now))
    assert assembly.read(reading(9, removed=(5,))) == set()
    assert realtime(assembly) is now
    assert assembly.read(reading(10, removed=(5,))) == {AGENT}
    assert realtime(assembly) is None


def test_who_is_told_twice_to_be_gone_left_the_first_time() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(5, available(5), whole=True))
    for time_ms in (10, 20):
        assembly.read(reading(time_ms, removed=(5, 6)))
    left = [assembly.parts((Kind.AGENT, number)) for number in (5, 6)]
    assert [parts and parts.absent_since_ms for parts in left] == [10, None]
    assert assembly.read(reading(19, available(5))) == set()
    assert assembly.late == 1


def test_what_is_older_than_the_whole_set_that_lacked_it_is_late() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(10, whole=True))
    assert assembly.read(reading(9, available(5), available(6), removed=(7,))) == set()
    assert realtime(assembly) is None
    assert assembly.late == 3


def test_an_element_is_compared_with_those_of_its_source_only() -> None:
    assembly = known(ALL_AGENTS, Listen(Kind.AGENT, CUMULATIVE, None))
    assembly.read(reading(10, available(), whole=True))
    day = part(*AGENT, CUMULATIVE)
    assert assembly.read(reading(1, day, query=2, whole=True, source=CUMULATIVE)) >= {AGENT}
    assert assembly.part(AGENT, CUMULATIVE) is day
    assert assembly.late == 0


def test_the_same_part_again_is_no_change_but_newer() -> None:
    assembly = known(ALL_AGENTS)
    now = available()
    assembly.read(reading(10, now, whole=True))
    assert assembly.read(reading(20, now)) == set()
    assert assembly.read(reading(15, available())) == set()
    assert assembly.late == 1


# ---- queries ----


def test_a_query_covers_what_it_asked_for() -> None:
    assembly = known(Listen(Kind.AGENT, REALTIME, frozenset({5})))
    assembly.read(reading(10, available(5), whole=True))
    assert assembly.parts(AGENT) is not None
    assert assembly.parts((Kind.AGENT, 6)) is None
    assert assembly.parts(QUEUE) is None


def test_a_whole_set_speaks_for_its_query_alone() -> None:
    assembly = known(ALL_AGENTS, Listen(Kind.AGENT, REALTIME, frozenset({6})))
    now = available(5)
    assembly.read(reading(10, now, available(6), whole=True))
    assert assembly.read(reading(20, query=2, whole=True)) == {(Kind.AGENT, 6)}
    assert realtime(assembly) is now


def test_what_no_query_covers_any_more_is_forgotten() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(10, available(), whole=True))
    assert assembly.stopped(1) == {AGENT, (Kind.AGENT, 6)}
    assert assembly.parts(AGENT) is None
    assert assembly.part(AGENT, REALTIME) is None
    assembly.refused(-1, ALL_AGENTS)
    found = assembly.parts(AGENT)
    assert found is not None
    assert found.realtime is None


def test_what_another_query_covers_stays() -> None:
    assembly = known(ALL_AGENTS, Listen(Kind.AGENT, REALTIME, frozenset({5})))
    now = available()
    assembly.read(reading(10, now, available(6), whole=True))
    assembly.read(reading(10, now, query=2, whole=True))
    assembly.stopped(1)
    assert realtime(assembly) is now
    assert assembly.parts((Kind.AGENT, 6)) is None
    assert assembly.part((Kind.AGENT, 6), REALTIME) is None


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


def test_an_object_absent_from_the_directory_is_gone() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(10, available(), whole=True))
    changed = assembly.directory([part(Kind.AGENT, 6, DIRECTORY)])
    assert changed == {AGENT, (Kind.AGENT, 6), QUEUE}
    assert assembly.parts(AGENT) is None
    assert assembly.parts((Kind.AGENT, 6)) is not None


def test_an_object_that_was_removed_is_gone_and_leaves_nothing_new() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(10, available(), whole=True))
    assert assembly.object(AGENT, None) == {AGENT}
    assert assembly.parts(AGENT) is None
    assembly.object((Kind.AGENT, 99), None)
    assert (Kind.AGENT, 99) not in assembly.addresses()


def test_what_nobody_may_see_any_more_is_forgotten() -> None:
    assembly = known(ALL_AGENTS)
    assembly.read(reading(10, available(), whole=True))
    assert assembly.keep(Scope(agents=frozenset({6}))) == {AGENT, QUEUE}
    assert assembly.addresses() == {(Kind.AGENT, 6)}
    assert assembly.part(AGENT, REALTIME) is None


def test_a_queue_carries_what_its_part_carries() -> None:
    assembly = known(Listen(Kind.QUEUE, REALTIME, frozenset({1})))
    now = part(*QUEUE, REALTIME, Queue(contacts_waiting=3))
    assembly.read(reading(10, now, whole=True, kind=Kind.QUEUE))
    found = assembly.parts(QUEUE)
    assert found is not None
    assert found.realtime is now


# ---- what is late ----


def test_what_a_late_query_would_tell_is_done_without_until_it_tells() -> None:
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


def test_what_was_told_or_is_unknown_is_not_done_without() -> None:
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


# ---- What does one query of a link tell, and how far has it come? ----


FIVE = Listen(Kind.AGENT, REALTIME, frozenset({5}))


def test_a_query_covers_what_it_was_asked_for() -> None:
    assert Query(ALL_AGENTS).covers(Kind.AGENT, 7)
    assert not Query(ALL_AGENTS).covers(Kind.QUEUE, 7)
    assert Query(FIVE).covers(Kind.AGENT, 5)
    assert not Query(FIVE).covers(Kind.AGENT, 7)
    assert Query(Listen(None, CONFIGURATION, None)).covers(Kind.GROUP, 7)


def test_a_query_tells_all_only_once_it_was_told() -> None:
    states = [Query(ALL_AGENTS), Query(ALL_AGENTS, complete=True), Query(ALL_AGENTS, True, refused=True)]
    assert [query.is_told for query in states] == [False, True, False]
    assert [query.covers_all for query in states] == [False, True, False]
    assert not Query(FIVE, complete=True).covers_all


def test_a_wider_query_tells_what_a_narrower_one_would() -> None:
    assert Query(ALL_AGENTS, complete=True).tells(FIVE)
    assert not Query(ALL_AGENTS).tells(FIVE)
    assert not Query(FIVE, complete=True).tells(ALL_AGENTS)
    assert not Query(ALL_AGENTS, complete=True).tells(Listen(Kind.AGENT, CUMULATIVE, None))
