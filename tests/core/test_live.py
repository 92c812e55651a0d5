"""Live session: topics, commands, health and end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.element import Element
from gateway.core.ledger import Health, Ledger
from gateway.core.rate_limits import SessionLimits
from gateway.core.session import AcceptSession, Answered, Effects, Invoke, Live, Resumed, outcome_view
from gateway.domain.commands import Call, Outcome, SetAgentRoutingState, Status
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Scope
from gateway.domain.resources import Queue
from gateway.protocol import frames
from gateway.protocol.codec import JSON
from gateway.protocol.frames import OutcomeView
from tests.core.samples import KEY, LIVE, NOW, WALL_MS, decoded, facts_of, ticket_of

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
def test_who_asks_for_nothing_gets_what_his_application_is_for(
    application: Application, granted: list[str]
) -> None:
    assert Phone(application).take()[0]["topics"]["granted"] == granted


# ---- topics and pace ----


def toggled(queues: int, seconds: int, phone: Phone) -> tuple[int, int]:
    """Follow all queues and none by turns, 20 times a second; return resets' worth of keys, and refusals."""
    phone.live.learned(replace(phone.facts, scope=Scope(queues=frozenset(range(1, queues + 1)))))
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


def test_topics_that_are_toggled_are_paced_like_a_resync() -> None:
    whole_views, refused = toggled(1_000, 15, served(topics=()))
    assert whole_views <= 10 + 15 / 5
    assert refused > 100


def test_who_looks_from_queue_to_queue_is_not_paced() -> None:
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
    phone.live.learned(facts_of(phone.ticket, rights=()))
    (effect,) = phone.command(retry=True)
    assert isinstance(effect, Invoke)
    assert effect.call.deadline_ms < WALL_MS - 30_000, "nobody executes it any more"
    phone.live.settled("c1", outcome)
    (result,) = [each for each in phone.take() if each["kind"] == "result"]
    assert (result["outcome"]["status"], result["outcome"].get("error", {}).get("code")) == (status, code)


@pytest.mark.parametrize("topics", [("queues",), ("agents",)])
def test_another_right_begins_a_stream_whatever_is_followed(topics: tuple[str, ...]) -> None:
    phone, bare = served(), served()
    bare.live.learned(facts_of(phone.ticket, rights=()))
    for each in (phone, bare):
        each.serve(frames.Follow("f1", topics))
    assert phone.live.outbox.stream != bare.live.outbox.stream
    bare.live.learned(phone.facts)
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


TICKET = ticket_of()


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
