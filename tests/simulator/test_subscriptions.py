"""Does a link get what its sessions may see, and only that?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.elements import Publication, Reading
from gateway.simulator.fields import Refused
from gateway.simulator.links import Subscriptions
from gateway.simulator.model import Changes, Kind, Scope
from tests.simulator.peer import World, key_of, messages

KEYS = st.frozensets(st.integers(10_001, 10_006))


@given(first=KEYS, second=KEYS, asked=st.none() | KEYS, changed=KEYS)
def test_no_key_outside_the_union_is_ever_told(
    first: frozenset[int], second: frozenset[int], asked: frozenset[int] | None, changed: frozenset[int]
) -> None:
    world = World()
    for agent in world.sim.center.directory.agents.values():
        world.sim.center.log_on(agent)
    subscriptions, reading = Subscriptions(), Reading(world.sim.center)
    sessions = [world.log_on("supervisor1", f"d{n}") for n in range(2)]
    for session, users in zip(sessions, (first, second), strict=True):
        session.scope = Scope(users)
        subscriptions.attach(session, None)
        subscriptions.rescope(reading)
    query = subscriptions.listen("UserRealtime", "All" if asked is None else asked)
    expected = (first | second) & (first | second if asked is None else asked)
    frame = subscriptions.whole(query, reading)
    assert frame is not None
    (complete,) = messages(frame)
    assert {key_of("UserRealtime", each) for each in complete["Elements"]} == expected
    changes = Changes()
    changes.add(Kind.USER, changed)
    frames = b"".join(subscriptions.changed(Publication(reading, changes), changes))
    told = [key_of("UserRealtime", each) for event in messages(frames) for each in event["Elements"]]
    assert told == sorted(expected & changed)


def test_without_sessions_sets_are_emptied_in_silence() -> None:
    world = World()
    link, _ = world.open()
    subscriptions, reading = link.subscriptions, Reading(world.sim.center)
    query = subscriptions.listen("QueueRealtime", "All")
    (session,) = subscriptions.sessions.values()
    subscriptions.sessions.clear()
    assert subscriptions.rescope(reading) == []
    assert query.visible == frozenset()
    subscriptions.attach(session, None)
    assert len(subscriptions.rescope(reading)) == 1
    assert subscriptions.rescope(reading) == []


@pytest.mark.parametrize("alias", [0, 2, None, "1"])
def test_only_attached_aliases_are_sessions(alias: object) -> None:
    world = World()
    link, _ = world.open()
    with pytest.raises(Refused, match="SessionUnknown"):
        link.subscriptions.session(alias)
