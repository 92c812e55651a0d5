"""Does a session see its scope, as far as it follows it, and nothing else?"""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.core.view import RefCounter, View, facts_key, me_key, view_of
from gateway.domain.model import ALWAYS, Scope
from tests.core.samples import SCOPE

GROUND = ALWAYS | {"me:h"}


def seen(*topics: str, scope: Scope = SCOPE) -> set[str]:
    return set(view_of("h", scope, topics).keys - GROUND)


@pytest.mark.parametrize(
    ("topic", "keys"),
    [
        ("agents", {"agent:5", "agent:6"}),
        ("queues", {"queue:1", "queue:2"}),
        ("groups", {"group:3"}),
        ("aggregates", set()),
        ("queue:2", {"queue:2"}),
        ("me", set()),
        ("site", set()),
        ("catalogue:skills", set()),
    ],
)
def test_a_topic_shows_what_is_in_scope(topic: str, keys: set[str]) -> None:
    view = view_of("h", SCOPE, (topic,))
    assert view.keys == GROUND | keys
    assert (view.granted, view.refused) == ((topic,), ())


@pytest.mark.parametrize(
    "topic",
    ["queue:9", "agent:1", "agent:05", "nonsense", "", "me:other", "session:h", "session:other", "queue:"],
)
def test_what_is_foreign_is_refused_like_what_does_not_exist(topic: str) -> None:
    view = view_of("h", SCOPE, (topic, "agents"))
    assert view.keys == GROUND | {"agent:5", "agent:6"}
    assert (view.granted, view.refused) == (("agents",), (topic,))


def test_one_who_follows_nothing_sees_himself_and_the_site() -> None:
    assert seen() == set()
    assert view_of("h", SCOPE, ()).keys == GROUND


def test_a_topic_named_twice_is_one() -> None:
    assert view_of("h", SCOPE, ("agents", "agents", "x", "x")).granted == ("agents",)
    assert view_of("h", SCOPE, ("agents", "agents", "x", "x")).refused == ("x",)


def test_an_empty_scope_shows_nothing_of_it() -> None:
    assert seen("agents", "queues", "agent:5", scope=Scope()) == set()


def test_the_mark_tells_views_apart_and_the_same_view_again() -> None:
    marks = [
        view_of("h", SCOPE, ("agents", "queues")).mark,
        view_of("i", SCOPE, ("agents", "queues")).mark,
        view_of("h", Scope(agents=frozenset({5})), ("agents", "queues")).mark,
        view_of("h", Scope(queues=frozenset({5})), ("agents", "queues")).mark,
        view_of("h", SCOPE, ("agents",)).mark,
        view_of("h", SCOPE, ()).mark,
    ]
    assert len(set(marks)) == len(marks)
    assert view_of("h", SCOPE, ("queues", "agents", "queue:9")).mark == marks[0]


def test_me_is_seen_by_its_own_session_under_one_name() -> None:
    assert view_of("h", SCOPE, ()).keys.isdisjoint({me_key("other"), facts_key("h"), "me"})
    assert View.wire_key(me_key("h")) == "me"
    assert View.wire_key("queue:5") == "queue:5"


# ---- Are equal values one object, counted, and is it told when the set of them changes? ----


def test_equal_values_are_the_object_that_came_first() -> None:
    bag = RefCounter[Scope]()
    first = Scope(agents=frozenset({5}))
    assert bag.add(first) is first
    assert bag.add(Scope(agents=frozenset({5}))) is first
    assert list(bag) == [first]


def test_a_value_is_there_for_as_long_as_somebody_holds_it() -> None:
    bag = RefCounter[str]()
    for value in ("a", "a", "b"):
        bag.add(value)
    bag.drop("a")
    assert list(bag) == ["a", "b"]
    bag.drop("a")
    assert list(bag) == ["b"]
    with pytest.raises(KeyError):
        bag.drop("a")


def test_it_changes_when_a_value_comes_first_or_goes_last_and_at_no_other_time() -> None:
    bag = RefCounter[str]()
    seen = [bag.changes]
    for act in (bag.add, bag.add, bag.drop, bag.drop):
        act("a")
        seen.append(bag.changes)
    assert [later != before for before, later in pairwise(seen)] == [
        True,
        False,
        False,
        True,
    ]
