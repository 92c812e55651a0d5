"""Steady instants: small differences between clocks are ignored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.element import steady
from gateway.domain.resources import Agent, Aggregate, Group, Handling, PostProcessing, Queue, RoutingState

TALKING = Handling("c1", "voice", "talking", 1_000, False, "1")
AVAILABLE = Agent(routing_state=RoutingState.AVAILABLE, routing_state_since_ms=1_000)


def test_what_keeps_no_instant_is_itself() -> None:
    after = replace(AVAILABLE, display_name="b")
    assert steady(AVAILABLE, after) is after


@pytest.mark.parametrize(
    ("by_ms", "moves"), [(0, False), (2_000, False), (-2_000, False), (2_001, True), (-2_001, True)]
)
@pytest.mark.parametrize(
    ("value", "field"),
    [
        (AVAILABLE, "routing_state_since_ms"),
        (Agent(app_absent_since_ms=1), "app_absent_since_ms"),
        (Agent(day_start_ms=1), "day_start_ms"),
        (Queue(oldest_since_ms=1), "oldest_since_ms"),
        (Queue(window_start_ms=1), "window_start_ms"),
        (Aggregate(oldest_since_ms=1), "oldest_since_ms"),
    ],
    ids=lambda of: of if isinstance(of, str) else "",
)
def test_an_instant_that_jitters_stays(
    value: Agent | Queue | Aggregate, field: str, by_ms: int, moves: bool
) -> None:
    dated: Callable[..., Any] = replace
    before, after = dated(value, **{field: 10_000}), dated(value, **{field: 10_000 + by_ms})
    assert steady(before, after) == (after if moves else before)


def test_the_instants_inside_stay_too() -> None:
    post = PostProcessing(since_ms=1_000, ends_at_ms=5_000)
    before = Agent(handling=(TALKING,), post_processing=post)
    jittered = Agent(
        handling=(replace(TALKING, since_ms=2_500),),
        post_processing=PostProcessing(since_ms=0, ends_at_ms=6_000),
    )
    assert steady(before, jittered) == before


def test_a_new_state_has_its_own_instant_however_near() -> None:
    after = replace(AVAILABLE, routing_state=RoutingState.WORK, routing_state_since_ms=1_500)
    assert steady(AVAILABLE, after) == after
    held = replace(TALKING, state="holding", since_ms=1_500)
    other = replace(TALKING, contact_id="c2", since_ms=1_500)
    for contact in (held, other):
        assert steady(Agent(handling=(TALKING,)), Agent(handling=(contact,))) == Agent(handling=(contact,))


def test_an_instant_that_becomes_known_or_unknown_changes() -> None:
    known, unknown = Queue(oldest_since_ms=1_000), Queue()
    assert steady(known, unknown) == unknown
    assert steady(unknown, known) == known


def test_what_has_no_instants_is_as_it_is() -> None:
    assert steady(Group(name="a"), Group(name="b")) == Group(name="b")
    assert steady(Queue(), Agent(routing_state_since_ms=1)) == Agent(routing_state_since_ms=1)
