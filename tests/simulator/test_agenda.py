"""Does everything happen in its turn?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.model import Agenda


@given(st.lists(st.integers(0, 50)))
def test_in_order_of_instants_then_of_planning(instants: list[int]) -> None:
    agenda, happened = Agenda(), list[tuple[int, int]]()
    for number, instant in enumerate(instants):
        agenda.plan(instant, lambda due, number=number: happened.append((due, number)))  # type: ignore[misc] # mypy cannot infer a lambda with a default
    while agenda.next_ms is not None:
        agenda.happen()
    assert happened == sorted((instant, number) for number, instant in enumerate(instants))
    assert len(agenda) == 0


def test_a_shift_puts_everything_off() -> None:
    agenda, happened = Agenda(), list[int]()
    agenda.plan(5, happened.append)
    agenda.shift(10)
    assert agenda.next_ms == 15
    assert agenda.happen() == 15
    assert happened == [15]
