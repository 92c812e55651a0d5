"""Are the newest elements of keys kept, and which of the keys are gone?"""

from __future__ import annotations

import pytest

from gateway.core.element import Element
from gateway.core.ledger import Update, VersionedMap
from gateway.domain.resources import Queue

ONE, TWO = (Element(Queue(contacts_waiting=waiting)) for waiting in (1, 2))


def newest(*updates: Update, tombstones: int = 2) -> VersionedMap:
    made = VersionedMap(tombstones)
    for update in updates:
        made.store(update)
    return made


def test_what_is_newer_is_told_and_what_is_gone_with_it() -> None:
    found = newest(Update("a", 1, ONE), Update("b", 2, ONE), Update("a", 3, None))
    assert found.elements == {"b": ONE}
    assert found.updates() == [Update("b", 2, ONE)]
    assert found.after(1) == [Update("b", 2, ONE), Update("a", 3, None)]
    assert found.after(3) == []


@pytest.mark.parametrize(
    ("key", "update"),
    [("a", Update("a", 3, None)), ("b", Update("b", 2, ONE)), ("c", None)],
    ids=["gone", "there", "unknown"],
)
def test_each_key_has_one_newest(key: str, update: Update | None) -> None:
    found = newest(Update("a", 1, ONE), Update("b", 2, ONE), Update("a", 3, None))
    assert found.newest(key) == update


def test_several_are_stored_as_one_after_the_other() -> None:
    at_once, singly = newest(Update("b", 4, None)), newest(Update("b", 4, None))
    at_once.store_all({"a": ONE, "b": TWO}, 4)
    for at, (key, element) in enumerate([("a", ONE), ("b", TWO)], start=5):
        singly.store(Update(key, at, element))
    assert at_once.after(0) == singly.after(0) == [Update("a", 5, ONE), Update("b", 6, TWO)]


def test_after_what_was_removed_last_nothing_is_unknown() -> None:
    found = newest(tombstones=1)
    assert found.removed_upto() == 0
    found.store(Update("a", 3, None))
    assert (found.removed_upto(), found.floor) == (3, 0)
    found.store(Update("b", 5, None))
    assert (found.removed_upto(), found.floor) == (5, 3)
    found.store(Update("b", 6, ONE))
    assert found.removed_upto() == 3
    found.forget_gone(9)
    assert (found.removed_upto(), found.after(0)) == (9, [Update("b", 6, ONE)])


def test_all_that_is_there_is_numbered_anew() -> None:
    found = newest(Update("a", 7, ONE), Update("b", 9, TWO), Update("a", 12, TWO))
    assert found.renumber(1) == 3
    assert sorted(found.after(0)) == sorted([Update("a", 2, TWO), Update("b", 3, TWO)])
