"""What is shared between users is what each of their own links delivered, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.compose import Composer, Parts, compose
from gateway.core.element import Element, Interner, Pool
from gateway.domain.model import Kind
from gateway.domain.resources import Agent, Queue, RoutingState
from gateway.domain.steady import steady
from gateway.domain.upstream import Part, Source
from gateway.protocol.codec import JSON
from tests.properties.seeded import SeededBug

AGENTS = st.builds(
    Agent,
    display_name=st.sampled_from(["a", "b"]),
    routing_state=st.sampled_from([RoutingState.WORK, RoutingState.AVAILABLE]),
    routing_state_since_ms=st.sampled_from([None, 0, 1_500, 9_000]),
)
VALUES = st.lists(st.tuples(st.integers(1, 2), AGENTS), min_size=1, max_size=6)
STEPS = st.lists(
    st.tuples(
        st.integers(0, 5), st.sampled_from([0, 500]), st.booleans(), st.sampled_from([0.0, 0.5, 3.0, 9.0])
    ),
    min_size=1,
    max_size=30,
)


def parts_of(number: int, value: Agent) -> Parts:
    directory = Part(Kind.AGENT, number, Source.DIRECTORY, Agent(display_name=value.display_name))
    return Parts(directory, Part(Kind.AGENT, number, Source.REALTIME, value), None, None, True, None)


@given(values=VALUES, steps=STEPS)
def test_whoever_shares_an_element_would_have_made_the_same(
    values: list[tuple[int, Agent]], steps: list[tuple[int, int, bool, float]]
) -> None:
    """Whatever was made for others before: the value is that of one's own parts, but for jitter."""
    composer, now = Composer(), 0.0
    told = [parts_of(*value) for value in values]
    held: dict[int, Element] = {}
    for index, offset_ms, follows, pause_s in steps:
        now += pause_s
        parts = told[index % len(told)]
        number = parts.directory.number
        before = held.get(number) if follows else None
        element = composer.element(parts, before, offset_ms, now)
        said = compose(parts, offset_ms)
        assert isinstance(element.value, Agent)
        assert element.value == steady(element.value, said), "it differs by more than jitter"
        if before is not None:
            assert isinstance(before.value, Agent)
            assert element.value == steady(before.value, said)
        held[number] = element


@given(values=VALUES, steps=STEPS)
def test_the_same_parts_after_the_same_element_are_one_element(
    values: list[tuple[int, Agent]], steps: list[tuple[int, int, bool, float]]
) -> None:
    composer = Composer()
    told = [parts_of(*value) for value in values]
    made: dict[tuple[int, int, object], Element] = {}
    last: dict[int, object] = {}
    for index, offset_ms, _, _ in steps:
        parts, number = index % len(told), told[index % len(told)].directory.number
        element = composer.element(told[parts], None, offset_ms, 0.0)
        assert made.setdefault((parts, offset_ms, last.get(number)), element) is element
        last[number] = repr(element.value)


@given(gets=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])), max_size=40))
def test_a_pool_gives_each_key_its_own_and_forgets_in_time(gets: list[tuple[int, float]]) -> None:
    pool, now = Pool[int, list[int]](period_s=2.0), 0.0
    used: dict[int, tuple[float, list[int]]] = {}
    for key, pause_s in gets:
        now += pause_s
        found = pool.get(key, lambda key=key: [key], now)  # type: ignore[misc]  # bound in this turn
        assert found == [key]
        at, before = used.get(key, (-9.0, []))
        if now - at < 2.0 and before:
            assert found is before, "forgotten too soon"
        if now - at >= 4.0 and before:
            assert found is not before, "kept too long"
        used[key] = (now, found)
    assert pool.hits + pool.misses == len(gets)


QUEUES = st.builds(
    Queue, name=st.sampled_from([None, "a", "b"]), contacts_waiting=st.sampled_from([None, 0, 1])
)


@given(given=st.lists(st.tuples(st.sampled_from(["queue:1", "queue:2"]), QUEUES), max_size=20))
def test_one_element_stands_for_equal_values_of_one_key_only(given: list[tuple[str, Queue]]) -> None:
    interner = Interner()
    held = [(key, value, interner.intern(key, Element(value), JSON)) for key, value in given]
    for key, value, element in held:
        assert element.value == value
        for other_key, other_value, other in held:
            assert (element is other) == ((key, value) == (other_key, other_value))


SEEDED = [
    SeededBug(
        "elements are shared whatever was held before",
        "core/compose.py",
        "made = said if value is said.value else",
        "made = said if True else",
        "test_whoever_shares_an_element_would_have_made_the_same",
        quick=True,
    ),
    SeededBug(
        "elements are shared over clocks that differ",
        "core/compose.py",
        "self.made.get((parts, offset_ms),",
        "self.made.get((parts, 0),",
        "test_whoever_shares_an_element_would_have_made_the_same",
    ),
    SeededBug(
        "nothing is shared",
        "core/compose.py",
        "        return self._interner.intern(key, Element(value), JSON)\n",
        "        self.made = Pool()\n        return Element(value)\n",
        "test_the_same_parts_after_the_same_element_are_one_element",
    ),
    SeededBug(
        "a pool forgets what is in use",
        "core/element.py",
        "        self._young[key] = found\n        return found",
        "        return found",
        "test_a_pool_gives_each_key_its_own_and_forgets_in_time",
    ),
    SeededBug(
        "a pool never forgets",
        "core/element.py",
        "self._old = self._young if fresh else {}",
        "self._old |= self._young",
        "test_a_pool_gives_each_key_its_own_and_forgets_in_time",
    ),
    SeededBug(
        "equal values of any key are one",
        "core/element.py",
        "self._elements.setdefault((key, element.fragment(codec)), element)",
        'self._elements.setdefault(("", element.fragment(codec)), element)',
        "test_one_element_stands_for_equal_values_of_one_key_only",
    ),
    SeededBug(
        "a pool that is rarely asked remembers longer",
        "core/element.py",
        "self._turned_at = self._turned_at + self._period_s if fresh else now",
        "self._turned_at = now",
        "test_a_pool_gives_each_key_its_own_and_forgets_in_time",
    ),
]
