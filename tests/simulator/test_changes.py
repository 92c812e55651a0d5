"""Is what changed noted once?"""

from __future__ import annotations

from gateway.simulator.model import Changes, Kind


def test_a_key_changed_twice_stands_once() -> None:
    changes = Changes()
    changes.add(Kind.USER, (1, 2))
    changes.add(Kind.USER, (2,))
    assert (len(changes), list(changes)) == (2, [Kind.USER])


def test_nothing_is_false_and_the_own_view_counts_as_user() -> None:
    changes = Changes()
    assert not changes
    changes.own.add(1)
    assert (len(changes), list(changes)) == (1, [Kind.USER])


def test_what_was_told_waits_no_more() -> None:
    one, other = Changes(), Changes()
    one.add(Kind.QUEUE, (5, 6))
    one.own |= {7, 8}
    other.add(Kind.QUEUE, (5,))
    other.own.add(7)
    one.told(other)
    assert (one.keys[Kind.QUEUE], one.own) == ({6}, {8})
