"""Session: breaches of the wire's rules, and blocked sockets."""

from __future__ import annotations

import pytest

from gateway.core.session import Close, State
from gateway.domain.errors import CloseCode
from tests.core.samples import hello
from tests.core.test_session import Line, led


@pytest.mark.parametrize("code", [1002, 1007, 1008, 1009])
@pytest.mark.parametrize("state", [State.HELLO, State.ATTACHING, State.LIVE])
def test_a_breach_of_the_websocket_closes_as_the_rfc_says_once_it_is_welcome(state: State, code: int) -> None:
    line = led(state)
    welcome = state is State.LIVE
    expected = code if welcome else CloseCode.PROTOCOL_ERROR
    assert line.session.violated(code, "why") == (Close(expected, "why"),)
    assert [(bye["code"], bye["reason"]) for bye in line.take()] == ([] if welcome else [(4000, "why")])
    assert line.session.violated(code, "again") == ()


def test_a_phone_answers_no_ping_that_it_has_not_got() -> None:
    line = Line()
    line.session.unsent(line.now)
    line.send(hello())
    line.accept()
    line.take()
    line.session.unsent(line.now + 30)
    assert line.session.tick(line.now + 39.9) == ()
    (effect,) = line.session.tick(line.now + 40)
    assert isinstance(effect, Close)
    assert effect.code == 4109
