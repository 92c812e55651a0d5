"""Which nodes do not listen any more?"""

from __future__ import annotations

import math

from gateway.core.bus_health import Peers
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


def test_each_is_asked_at_once_and_then_every_second() -> None:
    both = peers(A, B)
    assert both.due(5.0) == (A, B)
    assert both.due_at == -math.inf
    both.asking(A, 5.0)
    assert both.due(5.0) == (B,)
    both.asking(B, 5.5)
    assert both.due(5.875) == ()
    assert both.due_at == 6.0
    assert both.due(6.0) == (A,)
    assert both.due(6.5) == (A, B)


def test_a_question_for_another_reason_will_do() -> None:
    asker = peers()
    asker.asking(A, 0.0)
    asker.asking(A, 0.75)
    assert asker.due(1.625) == ()
    assert asker.due_at == 1.75


def test_numbers_grow_over_all_nodes_from_where_they_begin() -> None:
    asker = Peers(40)
    asker.follow((A, B))
    assert [asker.asking(node, 0.0) for node in (A, B, A, NodeId("stranger"))] == [41, 42, 43, 44]


def test_nobody_followed_is_nobody_to_ask() -> None:
    asker = Peers()
    assert asker.due(0.0) == ()
    assert asker.due_at == math.inf
    assert asker.deaf(0.0) == frozenset()


def test_who_answers_is_not_deaf() -> None:
    asker = peers()
    for second in range(10):
        asker.answered(A, ask(asker, float(second)), second + 0.5)
        assert asker.deaf(second + 0.5) == frozenset()
    assert asker.deaf(1000.0) == frozenset(), "nothing was asked since"


def test_three_seconds_without_an_answer_are_deaf() -> None:
    asker = peers()
    first = ask(asker, 0.0)
    ask(asker, 1.0)
    assert asker.deaf(2.875) == frozenset()
    assert asker.deaf(3.0) == frozenset({A})
    asker.answered(A, first, 3.25)
    assert asker.deaf(3.25) == frozenset(), "it lives, if slowly"
    assert asker.deaf(6.125) == frozenset()
    assert asker.deaf(6.25) == frozenset({A})


def test_an_answer_settles_what_was_asked_before() -> None:
    asker = peers()
    ask(asker, 0.0)
    ask(asker, 1.0)
    asker.answered(A, ask(asker, 2.0), 2.5)
    assert asker.deaf(60.0) == frozenset()


def test_a_question_that_nobody_is_known_to_have_received_is_not_waited_for() -> None:
    asker = peers()
    asker.asking(A, 0.0)
    assert asker.deaf(60.0) == frozenset()


def test_two_questions_that_nobody_received_are_deaf_if_a_second_apart() -> None:
    asker = peers()
    ask(asker, 0.0, receivers=0)
    assert asker.deaf(60.0) == frozenset()
    ask(asker, 0.875, receivers=0)
    assert asker.deaf(0.875) == frozenset()
    ask(asker, 1.0, receivers=0)
    assert asker.deaf(1.0) == frozenset({A})
    ask(asker, 2.0, receivers=1)
    assert asker.deaf(2.0) == frozenset()


def test_a_success_between_two_that_nobody_received_counts() -> None:
    asker = peers()
    first = ask(asker, 0.0, receivers=0)
    ask(asker, 0.5, receivers=1)
    ask(asker, 1.0, receivers=0)
    assert asker.deaf(1.0) == frozenset()
    asker.answered(A, first + 1, 1.25)
    ask(asker, 2.0, receivers=0)
    assert asker.deaf(2.0) == frozenset()
    ask(asker, 3.0, receivers=0)
    assert asker.deaf(3.0) == frozenset({A})


def test_an_answer_may_come_before_it_is_known_that_somebody_received_the_question() -> None:
    asker = peers()
    number = asker.asking(A, 0.0)
    asker.answered(A, number, 0.25)
    asker.received(A, number, 1, 0.5)
    assert asker.deaf(60.0) == frozenset()


def test_what_is_known_of_a_later_question_is_newer() -> None:
    asker = peers()
    first, second = asker.asking(A, 0.0), asker.asking(A, 0.25)
    asker.received(A, second, 0, 0.5)
    asker.received(A, first, 1, 0.75)
    ask(asker, 1.5, receivers=0)
    assert asker.deaf(1.5) == frozenset({A})


def test_an_answer_that_comes_twice_or_to_nothing_shows_nothing() -> None:
    asker = peers()
    number = ask(asker, 0.0)
    asker.answered(A, number, 0.5)
    ask(asker, 1.0)
    asker.answered(A, number, 2.0)
    asker.answered(A, number + 2, 2.0)
    asker.answered(B, number + 1, 2.0)
    assert asker.deaf(4.0) == frozenset({A})


def test_who_is_followed_no_more_is_forgotten_and_begins_anew() -> None:
    asker = peers(A, B)
    number = ask(asker, 0.0)
    late = asker.asking(A, 0.0)
    asker.follow((B,))
    assert asker.deaf(60.0) == frozenset()
    asker.answered(A, number, 1.0)
    asker.received(A, late, 1, 1.0)
    asker.follow((A, B))
    asker.received(A, late, 1, 2.0)
    assert asker.deaf(60.0) == frozenset()
    assert asker.due(60.0) == (A, B)
    assert len(asker) == 2


def test_following_on_keeps_what_is_known() -> None:
    asker = peers()
    ask(asker, 0.0)
    asker.follow((A, B))
    assert asker.deaf(3.0) == frozenset({A})
