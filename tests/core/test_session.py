"""Session: from hello to close, with its pings, its pace and its end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.element import Element
from gateway.core.ledger import Health, Ledger
from gateway.core.outbox import PaceLadder
from gateway.core.rate_limits import ANY_TIME, RateViolations, Ruling, SessionLimits
from gateway.core.session import (
    TRANSITIONS,
    AcceptSession,
    Close,
    Effects,
    Heartbeat,
    Session,
    State,
    full_after,
)
from gateway.core.view import facts_key
from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import Scope
from gateway.domain.resources import Queue
from gateway.protocol import frames
from gateway.protocol.codec import JSON
from gateway.protocol.frames import ErrorFrame
from tests.core.samples import LIVE, WALL_MS, command, decoded, facts_of, frame, hello, ticket_of
from tests.core.test_live import served

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


# ---- effects and limits ----


def test_neither_a_token_nor_a_refusal_shows_what_came() -> None:
    assert "canary" not in repr(AcceptSession("canary", ()))
    line = led(State.LIVE)
    for data in (frame("canary"), json.dumps({"kind": "follow", "topics": {"canary": 1}}).encode()):
        line.send(data)
    assert "canary" not in json.dumps(line.take())


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


# ---- commands without a result at the end of a session ----


LATE = Outcome(Status.APPLIED)
TOO_BIG = b" " * 16_385


@pytest.mark.parametrize("code", CloseCode)
def test_who_does_not_come_back_learns_that_his_commands_are_unknown(code: CloseCode) -> None:
    line = led(State.LIVE)
    for frame_id in ("c1", "c2"):
        line.send(command(frame_id))
    line.session.settled("c1", LATE)
    line.session.close(code, "x")
    assert line.session.settled("c2", LATE) == ()
    received = [(one.get("id"), one.get("outcome", {}).get("status")) for one in line.take()]
    comes_back = 4100 <= code < 4300 or code is CloseCode.REPLACED
    unknown = [] if comes_back else [("c2", "unknown")]
    assert received == [("c1", "applied"), *unknown, (None, None)]
    assert line.take() == []


@pytest.mark.parametrize(("leaves", "code"), [(frame("bye"), 1000), (TOO_BIG, 1009)])
def test_who_leaves_without_a_bye_of_ours_is_sent_nothing(leaves: bytes, code: int) -> None:
    line = led(State.LIVE)
    line.send(command())
    assert line.send(leaves) == (Close(code),)
    assert line.take() == []


def test_after_an_end_from_oscc_e_every_command_has_a_result_and_the_phone_keeps_its_view() -> None:
    line = led(State.LIVE)
    line.send(command())
    line.ledger.record("queue:1", None)
    line.session.learned(facts_of(TICKET, end=EndReason.TAKEN_OVER))
    result, bye = line.take()
    assert (result["outcome"]["error"]["code"], bye["code"]) == ("owner_lost", 4005)


def test_commands_of_one_name_are_counted_and_answered_each() -> None:
    phone = served()
    assert [len(phone.command("same")) for _ in range(9)] == [1] * 8 + [0]
    phone.take()
    phone.live.settled("same", Outcome(Status.APPLIED))
    assert [len(phone.command("same")) for _ in range(2)] == [1, 0]
    assert [result["outcome"]["status"] for result in phone.take()] == ["applied", "rejected"]
    phone.live.over()
    assert [result["outcome"]["status"] for result in phone.take()] == ["unknown"] * 8


# ---- breaches of the wire's rules, and blocked sockets ----


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


# ---- memory of a session ----


@pytest.mark.parametrize("expires_at_ms", [FACTS.expires_at_ms, FACTS.expires_at_ms + 1])
def test_facts_are_those_of_the_ledger_where_it_says_the_same(expires_at_ms: int) -> None:
    line = led(State.ATTACHING)
    held = replace(FACTS, expires_at_ms=expires_at_ms)
    line.ledger.record(facts_key(FACTS.handle), Element(held))
    line.accept()
    assert line.session.live is not None
    assert line.session.live.facts is (held if held == FACTS else FACTS)


# ---- heartbeat ----


def beating(jitter: float = 0.5) -> Heartbeat:
    return Heartbeat(100.0, every_s=20.0, pong_s=10.0, jitter=jitter)


@pytest.mark.parametrize(("jitter", "every_s"), [(0.0, 18.0), (0.5, 20.0), (0.999, 22.0)])
def test_pings_are_spread_by_a_tenth(jitter: float, every_s: float) -> None:
    heartbeat = beating(jitter)
    assert heartbeat.next_at == pytest.approx(100.0 + every_s, abs=0.01)
    assert not heartbeat.due(100.0 + every_s - 0.1)
    assert heartbeat.due(100.0 + every_s + 0.1)


def test_the_first_unanswered_ping_counts_and_none_that_has_not_left() -> None:
    heartbeat = beating()
    heartbeat.ping(120.0)
    heartbeat.ping(129.0)
    assert heartbeat.silent(130.0)
    heartbeat = beating()
    heartbeat.unsent(110.0)
    assert heartbeat.next_at == 120.0, "nothing was asked"
    heartbeat.ping(120.0)
    heartbeat.unsent(135.0)
    assert heartbeat.next_at == 140.0
    assert not heartbeat.silent(144.9)
    assert heartbeat.silent(145.0)
    heartbeat.received()
    heartbeat.unsent(146.0)
    assert not heartbeat.silent(1_000.0)


# ---- pongs ----


def test_how_long_the_newest_ping_was_under_way_is_reported_once() -> None:
    heartbeat = beating()
    first, newest = heartbeat.ping(120.0), heartbeat.ping(130.0)
    assert heartbeat.pong(first, 130.5) is None
    assert heartbeat.pong(newest, 130.75) == 0.75
    assert heartbeat.pong(newest, 131.0) is None
    assert heartbeat.pong(None, 131.0) is None


@pytest.mark.parametrize("nonce", [None, "", "1", "2"])
def test_a_pong_that_no_ping_asked_for_is_answered_by_one(nonce: str | None) -> None:
    heartbeat = beating()
    heartbeat.pong(heartbeat.ping(101.0), 102.0)
    heartbeat.received()
    heartbeat.pong(nonce, 110.0)
    assert heartbeat.due(110.0)


def test_unasked_pongs_are_answered_once_a_second_and_put_off_no_ping() -> None:
    heartbeat = beating()
    heartbeat.ping(120.0)
    for now in (120.1, 120.2, 120.9):
        heartbeat.pong(None, now)
        assert not heartbeat.due(now)
    assert heartbeat.due(121.0)
    heartbeat = Heartbeat(100.0, every_s=0.5, pong_s=10.0, jitter=0.5)
    heartbeat.ping(100.0)
    heartbeat.pong(None, 100.1)
    assert heartbeat.due(100.5)


# ---- pace ----


def slow(level: int, every_s: float = 0.0) -> PaceLadder:
    pace = PaceLadder(every_s)
    for _ in range(level):
        pace.flushed(drained=False)
    return pace


def test_a_change_leaves_at_once_or_after_the_interval_in_force() -> None:
    assert PaceLadder(5.0).due_at(100.0) == 100.0
    pace = PaceLadder()
    pace.sent(100.0)
    assert pace.due_at(100.01) == 100.05
    assert pace.due_at(103.0) == 103.0
    pace = PaceLadder(60.0)
    pace.sent(100.0)
    pace.request(0.0)
    assert pace.due_at(100.0) == 100.05


def test_a_slow_phone_climbs_a_ladder_that_has_an_end() -> None:
    climbed = [(pace.level, pace.interval_s) for pace in map(slow, (0, 1, 2, 3, 9))]
    assert climbed == [(0, 0.05), (1, 0.25), (2, 1.0), (3, 5.0), (3, 5.0)]


def test_three_good_flushes_in_a_row_descend_one_rung() -> None:
    pace = slow(3)
    levels = []
    for drained in (True, True, False, *[True] * 15):
        pace.flushed(drained=drained)
        levels.append(pace.level)
    assert levels == [3, 3, 3, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("level", "every_s", "interval_s"), [(0, 2.0, 2.0), (3, 2.0, 5.0), (1, 0.0, 0.25)])
def test_never_faster_than_the_phone_asked_nor_than_it_can(
    level: int, every_s: float, interval_s: float
) -> None:
    assert slow(level, every_s).interval_s == interval_s


# ---- rate violations ----


def test_a_frame_pays_for_each_whole_kib_and_no_more_than_a_burst() -> None:
    limits = SessionLimits()

    def served(size_bytes: int, seconds: int, limits: SessionLimits = limits) -> int:
        """Return how many of so large frames are served when 20 come each second."""
        full_at, count = ANY_TIME, 0
        for number in range(20 * seconds):
            after = full_after(full_at, number / 20, limits, size_bytes)
            full_at, count = (full_at, count) if after is None else (after, count + 1)
        return count

    assert served(1_023, 100) == 2_000
    assert served(16 * 1024, 100) == 119, "two at once, then one for each 17 of the rate"
    assert served(16 * 1024, 100, SessionLimits(frames_burst=1)) == 2_000


def test_errors_a_second_apart_close_nothing_and_four_within_one_do() -> None:
    record, limits = RateViolations(), SessionLimits(errors_per_s=4)
    assert {record.error(n * 0.375, limits) for n in range(50)} == {Ruling.DROP_AND_TELL}
    assert record.error(49 * 0.375 + 0.1, limits) is Ruling.CLOSE
