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
from gateway.core.rate_limits import FrameVerdict, RateViolations, SessionLimits
from gateway.core.session import (
    TRANSITIONS,
    AcceptSession,
    Answered,
    Close,
    Effects,
    Heartbeat,
    Invoke,
    Live,
    Resumed,
    Session,
    State,
    full_after,
    outcome_view,
)
from gateway.core.view import facts_key
from gateway.domain.commands import Call, Outcome, SetAgentRoutingState, Status
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError
from gateway.domain.model import LONG_AGO, Application, Scope
from gateway.domain.resources import Queue
from gateway.protocol import frames
from gateway.protocol.codec import JSON
from gateway.protocol.frames import ErrorFrame, OutcomeView
from tests.core.samples import KEY, LIVE, NOW, WALL_MS, command, decoded, facts_of, frame, hello, ticket_of

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


@pytest.mark.parametrize("data", [b"", frame("resync"), hello(padding="x" * 8_200), hello(ping_s=5)])
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
    assert line.session.facts_changed(facts_of(TICKET, Scope())) == ()
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


def test_limits_are_the_protocols_and_phones_are_sent_those_that_are_obeyed() -> None:
    limits = SessionLimits()
    assert (limits.hello_s, limits.hello_bytes) == (5.0, 8_192)
    assert (limits.frame_bytes_in, limits.frame_bytes_out) == (16_384, 262_144)
    assert (limits.frames_per_s, limits.frames_burst, limits.dropped_max) == (20.0, 40, 200)
    assert (limits.errors_per_s, limits.topics, limits.devices) == (4, 64, 5)
    assert (limits.command_ahead_s, limits.resync_s) == (60.0, 5.0)
    assert (limits.ping_s, limits.pong_s) == (25.0, 10.0)
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


def test_after_an_end_from_oscc_e_every_command_has_a_result_and_the_phone_keeps_its_view() -> None:
    line = led(State.LIVE)
    line.send(command())
    line.ledger.record("queue:1", None)
    line.session.facts_changed(facts_of(TICKET, end=EndReason.TAKEN_OVER))
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


def test_a_slow_phone_climbs_a_ladder_and_descends_after_three_good_flushes() -> None:
    climbed = [(pace.level, pace.interval_s) for pace in map(slow, (0, 1, 2, 3, 9))]
    assert climbed == [(0, 0.05), (1, 0.25), (2, 1.0), (3, 5.0), (3, 5.0)]
    pace = slow(3)
    levels = []
    for drained in (True, True, False, *[True] * 15):
        pace.flushed(drained=drained)
        levels.append(pace.level)
    assert levels == [3, 3, 3, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("level", "every_s", "interval_s"), [(0, 2.0, 2.0), (3, 2.0, 5.0), (1, 0.0, 0.25)])
def test_never_faster_than_a_phone_asked_nor_can(level: int, every_s: float, interval_s: float) -> None:
    assert slow(level, every_s).interval_s == interval_s


# ---- rate violations ----


def test_a_frame_pays_for_each_whole_kib_and_no_more_than_a_burst() -> None:
    limits = SessionLimits()

    def served(size_bytes: int, seconds: int, limits: SessionLimits = limits) -> int:
        """Return how many of so large frames are served when 20 come each second."""
        full_at, count = LONG_AGO, 0
        for number in range(20 * seconds):
            after = full_after(full_at, number / 20, limits, size_bytes)
            full_at, count = (full_at, count) if after is None else (after, count + 1)
        return count

    assert served(1_023, 100) == 2_000
    assert served(16 * 1024, 100) == 119, "two at once, then one for each 17 of the rate"
    assert served(16 * 1024, 100, SessionLimits(frames_burst=1)) == 2_000


def test_errors_a_second_apart_close_nothing_and_four_within_one_do() -> None:
    record, limits = RateViolations(), SessionLimits(errors_per_s=4)
    assert {record.error(n * 0.375, limits) for n in range(50)} == {FrameVerdict.DROP_AND_REPORT}
    assert record.error(49 * 0.375 + 0.1, limits) is FrameVerdict.CLOSE


# ---- a session that is served: topics, commands, health and end ----


CLIENT = frames.ClientInfo("test", "1", "none")
DOWN = Health("down", "live", NOW)


class Phone:
    """A served session, and the frames that it was sent."""

    def __init__(
        self,
        application: Application = Application.DASHBOARD,
        limits: SessionLimits = SessionLimits(),  # noqa: B008 - frozen
        /,
        **hello: object,
    ) -> None:
        self.ledger = Ledger(1)
        self.ledger.record("queue:1", Element(Queue(contacts_waiting=1)))
        self.ticket = ticket_of(application)
        self.facts = facts_of(self.ticket)
        self.now = 100.0
        asked = replace(frames.Hello(CLIENT), **hello)  # type: ignore[arg-type]  # fields of a hello
        self.live = Live(self.facts, self.ledger, JSON, asked, limits, self.now, jitter=0.5)
        self.noted = self.live.welcome(self.ticket, asked, self.now, WALL_MS)

    def take(self, health: Health = LIVE) -> list[dict[str, Any]]:
        return decoded(self.live.take(self.now, WALL_MS, health))

    def serve(self, frame: frames.Serviceable) -> Effects:
        return self.live.serve(frame, self.now, WALL_MS)

    def command(self, frame_id: str = "c1", **fields: object) -> Effects:
        asked = SetAgentRoutingState("5", "available")
        frame = frames.CommandFrame(frame_id, KEY.upper(), "1.x", WALL_MS + 5_000, asked)
        return self.serve(replace(frame, **fields))  # type: ignore[arg-type]  # fields of a command


def served(**hello: object) -> Phone:
    """Return a phone that is in sync and has answered its first ping."""
    phone = Phone(Application.DASHBOARD, **hello)
    phone.take()
    phone.live.heartbeat.received()
    phone.now += 10
    return phone


# ---- the beginning ----


def test_what_a_position_is_worth_is_reported() -> None:
    stream = Phone().live.outbox.stream
    assert Phone(position=frames.StreamPosition(stream, 1)).noted == (Resumed("in_sync"),)
    assert Phone(position=frames.StreamPosition(stream, 0)).noted == (Resumed("since"),)
    assert Phone(position=frames.StreamPosition(stream, 9)).noted == (Resumed("reset"),)
    assert Phone(position=frames.StreamPosition("1.other", 1)).noted == (Resumed("foreign"),)


def test_how_long_a_ping_was_under_way_is_reported() -> None:
    phone = served()
    phone.now += 30
    (ping,) = phone.take()
    assert phone.live.pong(ping["nonce"], phone.now + 0.25) == (Answered(0.25),)
    assert phone.live.pong(ping["nonce"], phone.now + 0.5) == ()


@pytest.mark.parametrize(
    ("application", "granted"),
    [
        (Application.DASHBOARD, ["agents", "queues", "groups", "aggregates"]),
        (Application.REMOTE_ASSISTANT, ["agents", "queues"]),
    ],
)
def test_who_asks_for_nothing_gets_the_usual_topics(application: Application, granted: list[str]) -> None:
    assert Phone(application).take()[0]["topics"]["granted"] == granted


# ---- topics and pace ----


def toggled(queues: int, seconds: int, phone: Phone) -> tuple[int, int]:
    """Follow all queues and none by turns, 20 times a second; return resets' worth of keys, and refusals."""
    phone.live.facts_changed(replace(phone.facts, scope=Scope(queues=frozenset(range(1, queues + 1)))))
    for number in range(1, queues + 1):
        phone.ledger.record(f"queue:{number}", Element(Queue(contacts_waiting=1)))
    phone.take()
    sent = refused = 0
    for number in range(20 * seconds):
        phone.now += 0.05
        phone.serve(frames.Follow(f"f{number}", () if number % 2 else ("queues",)))
        received = phone.take()
        sent += sum(len(frame.get("put", ())) for frame in received)
        refused += sum(frame.get("code") == "rate_limited" for frame in received)
    return sent // queues, refused


def test_topics_that_are_toggled_are_paced_and_looking_from_queue_to_queue_is_not() -> None:
    whole_views, refused = toggled(1_000, 15, served(topics=()))
    assert whole_views <= 10 + 15 / 5
    assert refused > 100
    whole_views, refused = toggled(5, 15, served(topics=()))
    assert (whole_views, refused) == (150, 0)


def test_a_refused_change_of_topics_says_when_and_changes_nothing() -> None:
    phone = served(topics=())
    toggled(1_000, 1, phone)
    view = phone.live.outbox.view
    assert phone.serve(frames.Follow("late", ("queues",))) == ()
    (error,) = phone.take()
    assert (error["kind"], error["code"], error["id"]) == ("error", "rate_limited", "late")
    assert phone.live.outbox.view is view
    assert phone.serve(frames.Follow("less", ())) != (), "nothing has to be sent for less"
    phone.take()
    phone.now += error["retry_after_s"]
    assert phone.serve(frames.Follow("again", ("queues",))) == (AcceptSession(None, ("queues",)),)


# ---- commands ----


def test_a_command_is_handed_on_with_its_key_and_deadline() -> None:
    phone = served()
    call = Call(KEY, phone.facts.handle, SetAgentRoutingState("5", "available"), 1, False, WALL_MS + 5_000)
    assert phone.command() == (Invoke("c1", call),)


@pytest.mark.parametrize(
    ("stream", "epoch"), [("17.ab", 17), ("17", 17), ("", None), ("x.1", None), ("-1.x", None), ("٣.x", None)]
)
def test_the_epoch_in_force_is_read_from_the_stream(stream: str, epoch: int | None) -> None:
    (effect,) = served().command(stream=stream, retry=True)
    assert isinstance(effect, Invoke)
    assert (effect.call.stream_epoch, effect.call.retry) == (epoch, True)


def test_a_burst_of_commands_that_is_allowed_makes_no_phone_slow() -> None:
    phone = Phone(Application.DASHBOARD, SessionLimits(frames_burst=1_000))
    phone.take()
    refused = {f"c{number}": phone.command(f"c{number}", expires_at_ms=WALL_MS) for number in range(1_000)}
    assert set(refused.values()) == {()}
    assert [frame["id"] for frame in phone.take() if frame["kind"] == "result"] == list(refused)


def test_a_command_that_comes_again_late_is_looked_up_and_may_have_expired() -> None:
    (effect,) = served().command(expires_at_ms=WALL_MS - 5_000, retry=True)
    assert isinstance(effect, Invoke)
    assert (effect.call.deadline_ms, effect.call.retry) == (WALL_MS - 5_000, True)
    phone = served()
    phone.command(retry=True)
    phone.live.settled("c1", _EXPIRED)
    (result,) = [each for each in phone.take() if each["kind"] == "result"]
    assert result["outcome"]["error"]["code"] == "expired"


_EXPIRED = Outcome(Status.REJECTED, GatewayError(ErrorCode.EXPIRED, "Too late."))


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (Outcome(Status.APPLIED), "applied", None),
        (_EXPIRED, "rejected", "forbidden"),
        (Outcome(Status.UNKNOWN, GatewayError(ErrorCode.OTHER_EPOCH, "")), "unknown", "other_epoch"),
    ],
)
def test_a_command_that_became_impossible_is_only_looked_up_when_it_comes_again(
    outcome: Outcome, status: str, code: str | None
) -> None:
    phone = served()
    phone.live.facts_changed(facts_of(phone.ticket, rights=()))
    (effect,) = phone.command(retry=True)
    assert isinstance(effect, Invoke)
    assert effect.call.deadline_ms < WALL_MS - 30_000, "nobody executes it any more"
    phone.live.settled("c1", outcome)
    (result,) = [each for each in phone.take() if each["kind"] == "result"]
    assert (result["outcome"]["status"], result["outcome"].get("error", {}).get("code")) == (status, code)


@pytest.mark.parametrize("topics", [("queues",), ("agents",)])
def test_another_right_begins_a_stream_whatever_is_followed(topics: tuple[str, ...]) -> None:
    phone, bare = served(), served()
    bare.live.facts_changed(facts_of(phone.ticket, rights=()))
    for each in (phone, bare):
        each.serve(frames.Follow("f1", topics))
    assert phone.live.outbox.stream != bare.live.outbox.stream
    bare.live.facts_changed(phone.facts)
    assert phone.live.outbox.stream == bare.live.outbox.stream


# ---- health ----


def test_a_ping_leaves_when_it_is_time_and_when_health_changes() -> None:
    phone = served()
    assert phone.live.due_at(phone.now, LIVE) == 125.0
    assert phone.take() == []
    assert phone.live.due_at(phone.now, DOWN) == phone.now
    (ping,) = phone.take(DOWN)
    assert (ping["upstream"], ping["as_of_ms"], ping["server_time_ms"]) == ("down", WALL_MS - 10_000, WALL_MS)
    assert phone.take(DOWN) == []
    phone.live.heartbeat.received()
    phone.now = 135.0
    assert [frame["kind"] for frame in phone.take(DOWN)] == ["ping"]


def test_the_state_leaves_before_it_is_said_that_the_link_is_live() -> None:
    phone = served(pace_s=30.0)
    phone.take(DOWN)
    phone.ledger.came_at = phone.now
    phone.ledger.record("queue:1", Element(Queue(contacts_waiting=2)))
    assert phone.take(DOWN) == []
    assert [frame["kind"] for frame in phone.take(LIVE)] == ["changes", "ping"]


def test_data_is_as_old_as_the_oldest_change_that_waits() -> None:
    phone = served(pace_s=60.0)
    phone.now = phone.ledger.came_at = 123.0
    phone.ledger.record("queue:1", Element(Queue(contacts_waiting=2)))
    phone.now = 125.0
    (ping,) = phone.take(replace(LIVE, as_of=125.0))
    assert (ping["kind"], ping["as_of_ms"]) == ("ping", WALL_MS - 2_000)
    phone = served(pace_s=60.0)
    phone.ledger.health = replace(LIVE, as_of=110.0)
    phone.now = phone.ledger.came_at = 123.0
    phone.ledger.came_late(phone.now)
    phone.ledger.record("queue:1", Element(Queue(contacts_waiting=2)))
    for more in range(20):  # what is kept of them is bounded
        phone.ledger.health = replace(LIVE, as_of=110.5 + more / 10)
        phone.ledger.came_late(123.5 + more / 10)
    phone.now = 125.0
    (ping,) = phone.take(replace(LIVE, as_of=125.0))
    assert (ping["kind"], ping["as_of_ms"]) == ("ping", WALL_MS - 15_000)


# ---- an owner whose wall clock differs ----


@pytest.mark.parametrize("ahead_ms", [30_000, -30_000])
def test_a_phone_goes_by_the_clock_of_the_values_it_is_shown(ahead_ms: int) -> None:
    phone = Phone()
    phone.ledger.clock_ms = WALL_MS + ahead_ms - 1000 * phone.now
    phone.live.welcome(phone.ticket, frames.Hello(CLIENT), phone.now, WALL_MS)
    received = phone.take(Health("live", "live", NOW - 2))
    (welcome,) = [each for each in received if each["kind"] == "welcome"][1:]
    assert welcome["server_time_ms"] == WALL_MS + ahead_ms
    phone.live.heartbeat.received()
    phone.now += 60
    (ping,) = [each for each in phone.take(Health("down", "live", phone.now - 2)) if each["kind"] == "ping"]
    assert ping["server_time_ms"] == WALL_MS + ahead_ms + 60_000
    assert ping["server_time_ms"] - ping["as_of_ms"] == 2_000, "an age is an age"


@pytest.mark.parametrize("ahead_ms", [30_000, -30_000])
def test_a_deadline_of_such_a_phone_is_one_of_this_nodes_clock_inside(ahead_ms: int) -> None:
    phone = served()
    phone.ledger.clock_ms = WALL_MS + ahead_ms - 1000 * phone.now
    (effect,) = phone.command(expires_at_ms=WALL_MS + ahead_ms + 5_000)
    assert isinstance(effect, Invoke)
    assert effect.call.deadline_ms == WALL_MS + 5_000
    phone.command("c2", expires_at_ms=WALL_MS + ahead_ms - 1)
    (result,) = [each for each in phone.take() if each["kind"] == "result"]
    assert result["outcome"]["error"]["code"] == "expired"


@pytest.mark.parametrize("by_ms", [3_600_000, -3_600_000])
def test_a_wall_clock_that_is_set_changes_no_time_before_the_values_are_dated_by_it(by_ms: int) -> None:
    phone = Phone()
    phone.ledger.clock_ms = WALL_MS - 1000 * phone.now
    phone.live.welcome(phone.ticket, frames.Hello(CLIENT), phone.now, WALL_MS + by_ms)
    phone.take(Health("live", "live", NOW - 2))
    phone.live.heartbeat.received()
    phone.now += 60
    (ping,) = [each for each in phone.take(Health("live", "live", phone.now)) if each["kind"] == "ping"]
    assert ping["server_time_ms"] == WALL_MS + 60_000
    phone.live.heartbeat.received()
    phone.ledger.record("queue:1", Element(Queue(contacts_waiting=2, oldest_since_ms=WALL_MS + by_ms)))
    phone.ledger.clock_ms += by_ms
    changes, ping = phone.take(Health("live", "live", phone.now))
    assert changes["kind"] == "changes", "the values come first"
    assert (ping["kind"], ping["server_time_ms"]) == ("ping", WALL_MS + 60_000 + by_ms)
    assert phone.take(Health("live", "live", phone.now)) == []


# ---- facts and outcomes as docs/protocol.md says ----


def test_an_error_is_reported_with_its_details() -> None:
    error = GatewayError(ErrorCode.RATE_LIMITED, "Too fast.", retry_after_s=1.41, limit=3)
    received = {"code": "rate_limited", "message": "Too fast.", "limit": 3, "retry_after_s": 1.5}
    assert error.members == received
    assert outcome_view(Outcome(Status.REJECTED, error)) == OutcomeView("rejected", received, None)


def test_a_welcome_says_who_one_is_and_what_one_may() -> None:
    limits = replace(SessionLimits(), frames_burst=7)
    phone = Phone(Application.DASHBOARD, limits, topics=("agents", "queue:9"), ping_s=20.0, pace_s=1.0)
    welcome = phone.take()[0]
    session = {"id": "s1", "application": "dashboard", "expires_at_ms": phone.facts.expires_at_ms}
    assert welcome["session"] == session
    assert welcome["user"] == {"user_id": "7", "display_name": "Ann Archer"}
    assert (welcome["rights"], welcome["application"]) == (list(phone.facts.rights), "dashboard")
    assert welcome["topics"]["granted"] == ["agents"]
    assert (welcome["resumed"], welcome["server_time_ms"]) == (False, WALL_MS)
    assert (welcome["ping_s"], welcome["pace_s"], welcome["limits"]["frames_burst"]) == (20.0, 1.0, 7)
    assert "secret of" not in repr(welcome)
    assert phone.facts.handle not in repr(welcome)
