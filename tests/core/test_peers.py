"""Peers: nodes that no longer receive."""

from __future__ import annotations

import math

from gateway.core.follower import Peers
from gateway.domain.model import NodeId

A, B = NodeId("a"), NodeId("b")


def peers(*nodes: NodeId) -> Peers:
    made = Peers()
    made.follow(nodes or (A,))
    return made


def ask(asker: Peers, now: float, receivers: int = 1) -> int:
    number = asker.asking(A, now)
    asker.received(A, number, receivers, now)
    return number


def test_numbers_grow_over_all_nodes_from_where_they_begin() -> None:
    asker = Peers(40)
    asker.follow((A, B))
    assert [asker.asking(node, 0.0) for node in (A, B, A, NodeId("stranger"))] == [41, 42, 43, 44]


def test_nobody_followed_is_nobody_to_ask() -> None:
    asker = Peers()
    assert asker.due(0.0) == ()
    assert asker.due_at == math.inf
    assert asker.unreachable(0.0) == frozenset()


def test_three_seconds_without_an_answer_are_deaf() -> None:
    asker = peers()
    first = ask(asker, 0.0)
    ask(asker, 1.0)
    assert asker.unreachable(2.875) == frozenset()
    assert asker.unreachable(3.0) == frozenset({A})
    asker.answered(A, first, 3.25)
    assert asker.unreachable(3.25) == frozenset(), "it lives, if slowly"
    assert asker.unreachable(6.125) == frozenset()
    assert asker.unreachable(6.25) == frozenset({A})
