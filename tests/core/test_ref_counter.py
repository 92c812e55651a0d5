"""Are equal values one object, counted, and is it told when the set of them changes?"""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.core.view import RefCounter
from gateway.domain.model import Scope


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
