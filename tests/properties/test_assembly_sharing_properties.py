"""What is shared between users is what each of their own links delivered, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.compose import Composer, compose
from gateway.core.element import Element, Parts
from gateway.domain.model import Kind
from gateway.domain.resources import Agent, RoutingState, steady
from gateway.domain.upstream import Part, Source

AGENTS = st.builds(
    Agent,
    display_name=st.sampled_from(["a", "b"]),
    routing_state=st.sampled_from([RoutingState.WORK, RoutingState.AVAILABLE]),
    routing_state_since_ms=st.sampled_from([None, 0, 1_500, 9_000]),
)
VALUES = st.lists(st.tuples(st.integers(1, 2), AGENTS), min_size=1, max_size=6)
STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([0, 500, 5_000]), st.booleans()),
    min_size=1,
    max_size=30,
)


def parts_of(number: int, value: Agent) -> Parts:
    directory = Part(Kind.AGENT, number, Source.DIRECTORY, Agent(display_name=value.display_name))
    return Parts(directory, Part(Kind.AGENT, number, Source.REALTIME, value), None, None, True, None)


@given(values=VALUES, steps=STEPS)
def test_whoever_shares_an_element_would_have_made_the_same(
    values: list[tuple[int, Agent]], steps: list[tuple[int, int, bool]]
) -> None:
    """Whatever was made for others before: the value is that of one's own parts, but for jitter."""
    composer = Composer()
    places = [composer.shown((Kind.AGENT, number)) for number in (1, 2)]
    told = [parts_of(*value) for value in values]
    held: dict[int, Element] = {}
    for index, offset_ms, follows in steps:
        parts = told[index % len(told)]
        assert parts.directory is not None
        number = parts.directory.number
        before = held.get(number) if follows else None
        element = composer.element(parts, before, offset_ms)
        said = compose(parts, offset_ms)
        assert isinstance(element.value, Agent)
        assert element.value == steady(element.value, said), "it differs by more than jitter"
        if before is not None:
            assert isinstance(before.value, Agent)
            is_same = before.value == steady(before.value, said)
            assert (element is before) == is_same, "what stays keeps its instants"
        held[number] = element
        assert element in [place.element for place in places] or element is before


@given(values=VALUES, steps=STEPS)
def test_links_that_are_told_the_same_hold_one_element(
    values: list[tuple[int, Agent]], steps: list[tuple[int, int, bool]]
) -> None:
    """Whenever they came, and whatever their clocks say, as soon as something changes."""
    composer = Composer()
    places = [composer.shown((Kind.AGENT, number)) for number in (1, 2)]
    told = [parts_of(*value) for value in values]
    first: dict[int, Element] = {}
    second: dict[int, Element] = {}
    for index, offset_ms, joins in steps:
        parts = told[index % len(told)]
        assert parts.directory is not None
        number = parts.directory.number
        before = first.get(number)
        first[number] = composer.element(parts, before, 0)
        if joins or number in second:
            was = second.get(number)
            second[number] = composer.element(parts, was, min(offset_ms, 500))
            if first[number] is not before and second[number] is not was:
                assert second[number] is first[number] is places[number - 1].element
