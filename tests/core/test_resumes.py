"""Positions from which phones may resume at a node that has just begun to follow."""

from __future__ import annotations

import pytest

from gateway.core.element import ChangeSet
from gateway.core.ledger import Delta, Ledger
from gateway.domain.model import Position
from tests.core.test_ledger import ONE, TWO, recorded


@pytest.mark.parametrize(("tombstones", "lost"), [(1024, ["a"]), (1, ["a", "c"])])
def test_after_a_reset_is_known_what_was_removed_last(tombstones: int, lost: list[str]) -> None:
    owner = recorded("a", "b", "c", "me:1", tombstones=tombstones)
    for key in lost:
        owner.record(key, None)
    removed_at = owner.position.seq
    for key in ("me:2", "session:2", "session:1"):
        owner.record(key, ONE)
    owner.record("me:2", None)
    ledger, head = Ledger(), owner.position.seq
    ledger.receive(owner.since(ledger.position))
    assert ledger.since(Position(1, removed_at), "me:1") == Delta(
        1, removed_at, head, reset=False, updates=()
    )
    assert ledger.since(Position(1, removed_at - 1), "me:1").reset
    assert ledger.since(Position(1, removed_at), "me:2").reset
    assert ledger.seen_upto("me:1") == owner.seen_upto("me:1") == removed_at


def test_a_phone_receives_the_same_as_shared_at_every_node() -> None:
    owner = recorded("a", "me:1", "b", "me:2")
    ledger = Ledger()
    ledger.receive(owner.since(ledger.position))
    assert (ledger.shared_seq, ledger.position.seq) == (3, 4)
    owner.record_all(ChangeSet([("a", ONE, TWO)]))
    owner.record("me:1", TWO)
    ledger.receive(owner.since(ledger.position))
    assert (ledger.shared_seq, ledger.position.seq) == (5, 6)
    ledger.receive(owner.since(Position(0, 0))._replace(floor=None, upto=7))
    owner.record("me:1", ONE)
    owner.record("me:2", TWO)
    ledger.receive(owner.since(Position(0, 0)))
    assert (ledger.shared_seq, ledger.position.seq) == (7, 8), "it never falls in one epoch"
