"""Memory of a session: what it shares with others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.element import Element
from gateway.core.session import State
from gateway.core.view import facts_key
from tests.core.test_session import FACTS, led


@pytest.mark.parametrize("expires_at_ms", [FACTS.expires_at_ms, FACTS.expires_at_ms + 1])
def test_facts_are_those_of_the_ledger_where_it_says_the_same(expires_at_ms: int) -> None:
    line = led(State.ATTACHING)
    held = replace(FACTS, expires_at_ms=expires_at_ms)
    line.ledger.record(facts_key(FACTS.handle), Element(held))
    line.accept()
    assert line.session.live is not None
    assert line.session.live.facts is (held if held == FACTS else FACTS)
