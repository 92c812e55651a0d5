"""Is each element read once, and shared?"""

from __future__ import annotations

from gateway.simulator.elements import Publication, Reading
from gateway.simulator.model import Changes, Kind
from tests.simulator.peer import AGENT, World, messages


def test_a_reading_holds_until_something_changes_or_time_passes() -> None:
    world = World()
    center = world.sim.center
    reading = Reading(center)
    assert reading.holds()
    center.mark_agent(world.agent())
    assert not reading.holds()
    reading = Reading(center)
    center.skew_ms += 1
    assert not reading.holds()
    reading = Reading(center)
    center.advance(center.now_ms + 1)
    assert not reading.holds()


def test_the_same_question_gets_the_very_same_bytes() -> None:
    world = World()
    world.sim.center.log_on(world.agent())
    reading, keys = Reading(world.sim.center), frozenset((AGENT,))
    assert reading.piece(Kind.USER, AGENT) is reading.piece(Kind.USER, AGENT)
    frame = reading.frame(1, Kind.USER, keys, None, complete=True)
    assert reading.frame(1, Kind.USER, keys, 10_002, complete=True) is frame
    assert reading.frame(1, Kind.USER, keys, AGENT, complete=True) is not frame


def test_who_is_in_no_set_is_removed_from_partial_events_only() -> None:
    world = World()
    reading, keys = Reading(world.sim.center), frozenset((AGENT,))
    (partial,) = messages(reading.frame(1, Kind.USER, keys, None, complete=False))
    (complete,) = messages(reading.frame(1, Kind.USER, keys, None, complete=True))
    (configuration,) = messages(
        reading.frame(1, Kind.CONFIGURATION, frozenset((4711,)), None, complete=False)
    )
    assert (partial["Elements"], partial["Removed"]) == ([], [AGENT])
    assert complete["Elements"] == []
    assert "Removed" not in complete
    assert "Removed" not in configuration


def test_a_publication_tells_what_changed_to_who_sees_it() -> None:
    world = World()
    changes = Changes()
    changes.add(Kind.USER, (AGENT,))
    changes.own.add(10_002)
    publication = Publication(Reading(world.sim.center), changes)
    users = frozenset((AGENT, 10_002))
    assert publication.frame(1, Kind.USER, frozenset((10_003,)), None) is None
    assert publication.frame(1, Kind.QUEUE, frozenset((60_001,)), None) is None
    everybody = publication.frame(1, Kind.USER, users, None)
    himself = publication.frame(1, Kind.USER, users, 10_002)
    assert everybody is not None
    assert himself is not None
    removed = [next(messages(frame))["Removed"] for frame in (everybody, himself)]
    assert removed == [[AGENT], [AGENT, 10_002]]
