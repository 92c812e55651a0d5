"""Session: from hello to close."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.element import Element
from gateway.core.ledger import Health, Ledger
from gateway.core.rate_limits import SessionLimits
from gateway.core.session import (
    TRANSITIONS,
    AcceptSession,
    Close,
    Effects,
    Session,
    State,
)
from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import CloseCode
from gateway.domain.model import Scope
from gateway.domain.resources import Queue
from gateway.protocol import frames
from gateway.protocol.codec import JSON
from gateway.protocol.frames import ErrorFrame
from tests.core.samples import LIVE, WALL_MS, command, decoded, facts_of, frame, hello, ticket_of

TICKET = ticket_of()
FACTS = facts_of(TICKET)


class Line:
    """One connection and its user's mirror."""

    def __init__(self) -> None:
        self.now = 100.0
        self.session = Session(JSON, SessionLimits(), self.now, 0.5)
        self.ledger = Ledger(1)
        self.ledger.record("queue:1", Element(Queue(contacts_waiting=1)))

    def send(self, data: bytes) -> Effects:
        return self.session.receive(data, self.now, WALL_MS)

    def accept(self) -> Effects:
        return self.session.attached(TICKET, FACTS, self.ledger, self.now, WALL_MS)

    def take(self, health: Health = LIVE) -> list[dict[str, Any]]:
        return decoded(self.session.take(self.now, WALL_MS, health))


def led(state: State) -> Line:
    line = Line()
    if state is not State.HELLO:
        line.send(hello())
    if state in (State.LIVE, State.CLOSING):
        line.accept()
        line.take()
    if state is State.CLOSING:
        line.session.close(CloseCode.DRAINING, "leaving")
        line.take()
    line.now += 10
    return line


EVENTS: dict[str, Callable[[Line], Effects]] = {
    "hello": lambda line: line.send(hello()),
    "attached": lambda line: line.accept(),
    "close": lambda line: line.session.close(CloseCode.DRAINING, "leaving"),
}


# ---- the table ----


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", State)
def test_the_table_is_what_happens(state: State, event: str) -> None:
    line = led(state)
    EVENTS[event](line)
    two_hellos = event == "hello" and state in (State.ATTACHING, State.LIVE)
    expected = State.CLOSING if two_hellos else TRANSITIONS.get((state, event), state)
    assert line.session.state is expected


# ---- hello ----


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"\xff",
            frame("nonsense"),
            frame("hello"),
            frame("resync"),
            frame("follow", id="1"),
        ),
        frame("pace", every_s=1),
        command(),
        hello(padding="x" * 8_200),
        hello(ping_s=5),
    ],
)
def test_before_hello_anything_else_closes(data: bytes) -> None:
    line = Line()
    (effect,) = line.send(data)
    assert isinstance(effect, Close)
    assert effect.code == 4000
    (bye,) = line.take()
    assert (bye["kind"], bye["code"], bye["reconnect"]) == ("bye", 4000, "never")


def test_a_hello_of_the_full_size_is_read() -> None:
    room = 8_192 - len(hello(padding=""))
    assert len(hello(padding="x" * room)) == 8_192
    assert len(Line().send(hello(padding="x" * room))) == 1


# ---- the end ----


def test_what_is_left_leaves_before_the_bye_and_nothing_after_it() -> None:
    line = led(State.LIVE)
    line.session.post(ErrorFrame("busy", "x"))
    line.ledger.record("queue:1", Element(Queue(contacts_waiting=2)))
    window_s = (1.0, 5.0)
    line.session.close(CloseCode.REBALANCE, "another node", by="operator", window_s=window_s)
    assert line.session.due_at(line.now, LIVE) == line.now
    error, bye = line.take()
    assert error["kind"] == "error"
    assert bye == {
        "kind": "bye",
        "code": 4201,
        "reason": "another node",
        "reconnect": "after",
        "by": "operator",
        "min_s": 1.0,
        "max_s": 5.0,
    }
    line.ledger.record("queue:1", Element(Queue(contacts_waiting=3)))
    assert line.take(Health("down", "down", None)) == []
    assert line.session.due_at(line.now, LIVE) is None
    assert not line.ledger.readers


def test_the_state_of_a_last_result_leaves_within_the_scope_of_then() -> None:
    line = led(State.LIVE)
    line.send(command())
    line.ledger.record("queue:1", Element(Queue(contacts_waiting=2)))
    line.session.settled("c1", Outcome(Status.APPLIED))
    line.session.close(CloseCode.DRAINING, "leaving")
    assert line.session.learned(facts_of(TICKET, Scope())) == ()
    changes, result, bye = line.take()
    assert (changes["gone"], "patch" in changes) == (["queue:1"], False)
    assert [result["kind"], bye["kind"]] == ["result", "bye"]


def test_a_connection_that_is_gone_reads_no_more() -> None:
    line = led(State.LIVE)
    line.session.release()
    line.session.release()
    assert not line.ledger.readers
    assert line.session.state is State.CLOSING
    assert line.send(frame("resync")) == ()
    line.session.flushed(drained=False)
    assert line.take() == []


def test_no_refusal_repeats_what_came() -> None:
    line = led(State.LIVE)
    for data in (frame("canary"), json.dumps({"kind": "follow", "topics": {"canary": 1}}).encode()):
        line.send(data)
    assert "canary" not in json.dumps(line.take())


# ---- effects and limits ----


def test_a_token_on_its_way_shows_nowhere() -> None:
    assert "canary" not in repr(AcceptSession("canary", ()))


def test_the_defaults_are_the_protocols() -> None:
    limits = SessionLimits()
    assert (limits.hello_s, limits.hello_bytes) == (5.0, 8_192)
    assert (limits.frame_bytes_in, limits.frame_bytes_out) == (16_384, 262_144)
    assert (limits.frames_per_s, limits.frames_burst, limits.dropped_max) == (20.0, 40, 200)
    assert (limits.errors_per_s, limits.topics, limits.devices) == (4, 64, 5)
    assert (limits.command_ahead_s, limits.resync_s) == (60.0, 5.0)
    assert (limits.ping_s, limits.pong_s) == (25.0, 10.0)


def test_phones_are_sent_the_limits_that_are_obeyed() -> None:
    values = {field.name: index + 1 for index, field in enumerate(dataclasses.fields(SessionLimits))}
    received = dataclasses.asdict(dataclasses.replace(SessionLimits(), **values).frame())
    assert received == {name: values[name] for name in received}
    assert received.keys() == {field.name for field in dataclasses.fields(frames.Limits)}
