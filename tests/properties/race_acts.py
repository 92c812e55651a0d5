"""Acts of people when commands and sessions race: strategies for ``test_races_properties.py``."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.properties.race_house import AGENT, OTHER_AGENT
from tests.properties.race_roads import KEYS

Act = tuple[Any, ...]
"""What is done, and with what."""
LOGIN = st.sampled_from([*KEYS, "agent1"])
SUPERVISOR = st.sampled_from(["supervisor1", "supervisor2"])
DEVICE = st.sampled_from(["d1", "d1", "d2"])
STATES = ("available", "unavailable")
SETTLES = st.sampled_from([True, True, False])
HELD = st.sampled_from(
    ["request", "answer", "request", "answer", "door asked", "door answers", "door broken"]
)
"""What may be held: the roads of a user, or the door where people log on and off."""
GIVE = st.tuples(st.just("give"), LOGIN, DEVICE, st.sampled_from(STATES), st.integers(0, 9))
AGAIN = st.tuples(st.just("again"), LOGIN, DEVICE, st.integers(1, 4), st.booleans())
RIGHTS = st.tuples(st.just("rights"), SUPERVISOR, st.booleans())
COMMANDS = st.lists(st.one_of(GIVE, GIVE, AGAIN), min_size=1, max_size=5)
ACTS = st.lists(
    st.one_of(
        GIVE,
        AGAIN,
        st.tuples(st.sampled_from(["log_on", "hello", "die", "log_off"]), LOGIN, DEVICE),
        st.tuples(st.just("link"), LOGIN),
        st.tuples(st.just("contact")),
        st.tuples(
            st.just("scope"), st.sampled_from([frozenset({AGENT, OTHER_AGENT}), frozenset({OTHER_AGENT})])
        ),
        RIGHTS,
        RIGHTS,
    ),
    min_size=1,
    max_size=4,
)
MEETS = st.sampled_from(["give", "log_on", "log_off", "hello"] * 2 + ["again", "die"])


class Meeting(NamedTuple):
    """What one user does first and then, and what is held meanwhile. *settles*: before the next thing."""

    first: str
    second: str
    login: str
    held: str
    settles: bool


MEETINGS = st.lists(st.builds(Meeting, MEETS, MEETS, LOGIN, HELD, SETTLES), min_size=1, max_size=3)
