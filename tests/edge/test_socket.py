"""Socket: routes, deadlines, effects, and one end."""

from __future__ import annotations

import asyncio
import inspect
import logging
from dataclasses import replace

import pytest

from gateway.core.ledger import Health
from gateway.core.outbox import LADDER_S
from gateway.core.session import Live, Session
from gateway.domain.commands import ChangeRemoteNumber, Outcome, SetAgentRoutingState, Status
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Application, UserId
from gateway.edge.channel import ConnectionStats
from gateway.edge.credentials import Tokens
from gateway.edge.scheduler import TICK_S
from gateway.edge.socket import PhoneSocket
from gateway.protocol import frames
from gateway.protocol.codec import JSON, MSGPACK, Codec
from gateway.protocol.websocket import Message
from tests.edge.fake_node import FakeNode
from tests.edge.visits import HELLO, KEYS, Gateway, Phone, bearer, nonces, ticket_of

CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
UUID = "00000000-0000-4000-8000-00000000000{}"


def command(gateway: Gateway, number: int = 1) -> frames.CommandFrame:
    """Return a command that the fake node's session may give."""
    return frames.CommandFrame(
        id=f"c{number}",
        key=UUID.format(number),
        stream="1.x",
        expires_at_ms=gateway.clock.wall_ms() + 5_000,
        command=SetAgentRoutingState("5", "available"),
    )


def live_of(gateway: Gateway) -> Live:
    """Return what the session of the first phone serves."""
    socket = gateway.node.connections[0]
    assert socket.session.live is not None
    return socket.session.live


async def is_served(gateway: Gateway, phone: Phone) -> None:
    """Hold that a phone, beside which something went wrong, still receives changes."""
    await gateway.clock.advance(1)
    gateway.node.wait_for(6)
    await phone.hear_one(frames.Changes)


@CODECS
async def test_a_phone_is_welcomed_and_sees_what_changes(gateway: Gateway, codec: Codec) -> None:
    phone = await gateway.hello(gateway.token(), codec)
    welcome, changes, ping = await phone.hear_all("welcome", "changes", "ping")
    assert welcome.user == frames.UserView("7", "Ann")
    assert (changes.reset, set(changes.put)) == (True, {"site", "queue:1", "queue:2"})
    assert ping.upto == changes.upto
    await gateway.clock.advance(1)
    gateway.node.wait_for(4)
    assert (await phone.hear_one(frames.Changes)).patch == {"queue:1": {"contacts_waiting": 4}}


async def test_a_phone_has_no_turn_before_its_pace_allows_a_frame(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await gateway.served()
    turns: list[float] = []
    turn = PhoneSocket.turn

    def counted(socket: PhoneSocket, now: float) -> None:
        turns.append(now)
        turn(socket, now)

    monkeypatch.setattr(PhoneSocket, "turn", counted)
    await gateway.clock.advance(1)
    turns.clear()
    for waiting in range(1, 10):
        gateway.node.wait_for(waiting)
        await gateway.clock.advance(LADDER_S[0] / 10)
    assert len(turns) == 1
    await gateway.clock.advance(LADDER_S[0] / 10 + TICK_S)
    assert len(turns) == 2
    for waiting in (1, 9):
        assert (await phone.hear_one(frames.Changes)).patch == {"queue:1": {"contacts_waiting": waiting}}


async def test_a_ping_that_is_due_waits_for_no_pace(gateway: Gateway) -> None:
    phone = await gateway.served()
    await phone.say(frames.Pong("1"))
    await gateway.clock.settle()
    live = live_of(gateway)
    ping_at = live.heartbeat.next_at
    await gateway.clock.advance(ping_at - gateway.clock.now() - LADDER_S[0] / 2)
    gateway.node.wait_for(1)
    await gateway.clock.settle()
    gateway.clock.stand_still(ping_at - gateway.clock.now())
    gateway.node.wait_for(2)
    await gateway.clock.settle()
    assert live.heartbeat.next_at > ping_at
    await phone.hear_one(frames.Changes)
    await phone.hear_one(frames.Ping)


async def test_an_unasked_pong_is_answered_in_time_although_a_change_came_with_it(gateway: Gateway) -> None:
    phone = await gateway.served()
    await gateway.clock.advance(0.5)
    socket = gateway.node.connections[0]
    assert isinstance(socket, PhoneSocket)
    socket.event_received(Message(JSON.encode(frames.Pong()), text=True))
    gateway.node.wait_for(4)
    await phone.hear_all("changes")
    await gateway.clock.advance(0.6)
    await phone.hear_all("ping")


@pytest.mark.parametrize("code", [4200, 4109])
async def test_what_newer_values_replaced_is_counted_to_the_end(gateway: Gateway, code: int) -> None:
    phone = await gateway.served()
    for waiting in range(1, 4):
        gateway.node.wait_for(waiting)
    if code == 4200:
        gateway.node.connections[0].close(CloseCode.DRAINING, "draining")
    else:
        await gateway.clock.advance(11)
    assert (await phone.end())[1] == code
    assert gateway.sample("conflated_total") == 2
    assert [(life.close_code, life.conflated) for life in gateway.lives] == [(code, 2)]


async def test_without_a_hello_in_time_it_is_closed(gateway: Gateway) -> None:
    phone = await gateway.connect()
    await gateway.clock.advance(4.9)
    assert gateway.admission.unhelloed == 1
    await gateway.clock.advance(0.2)
    bye, code = await phone.end()
    assert (code, bye and bye.code, bye and bye.reconnect) == (4110, 4110, "after")
    await gateway.clock.settle()
    assert (gateway.admission.sockets, gateway.admission.unhelloed) == (0, 0)


async def test_a_hello_that_lies_unread_is_not_late(gateway: Gateway) -> None:
    phone = await gateway.connect()
    await gateway.clock.settle()
    (socket,) = gateway.parts.scheduler.sockets
    await phone.say(frames.Hello(HELLO.client, gateway.token()))
    socket.turn(gateway.clock.now() + 5.1)  # before the loop has read anything
    await phone.hear_all("welcome")


async def test_a_hello_may_lie_unread_for_a_bounded_time(gateway: Gateway) -> None:
    phone = await gateway.connect()
    await gateway.clock.settle()
    (socket,) = gateway.parts.scheduler.sockets
    await phone.say(frames.Hello(HELLO.client, gateway.token()))
    socket.turn(gateway.clock.now() + 31)
    socket.turn(gateway.clock.now() + 32)
    bye, code = await phone.end()
    assert (bye and bye.code, code) == (4110, 4110)


async def test_an_answer_to_a_ping_that_lies_unread_is_not_late(gateway: Gateway) -> None:
    phone = await gateway.served()
    (socket,) = gateway.parts.scheduler.sockets
    await phone.say(frames.Pong("1"))
    socket.turn(gateway.clock.now() + 10.1)  # before the loop has read anything
    await gateway.clock.settle()
    assert socket.session.live is not None


# ---- effects ----


async def test_topics_are_followed(gateway: Gateway) -> None:
    phone = await gateway.served()
    await phone.say(frames.Follow("f1", ("queue:1", "queue:77")))
    followed = (await phone.hear_all("followed"))[-1]
    assert followed.topics.granted == ("queue:1",)
    assert gateway.node.followed == [("queue:1",)]


@CODECS
async def test_a_command_gets_its_result(gateway: Gateway, codec: Codec) -> None:
    gateway.node.allow_agent(5)
    gateway.node.outcome = Outcome(Status.PENDING, version=3)
    phone = await gateway.served(codec)
    await phone.say(command(gateway))
    result = (await phone.hear_all("result"))[-1]
    assert result == frames.Result("c1", frames.OutcomeView("pending", version=3))
    assert gateway.node.calls[0].key == UUID.format(1)
    assert gateway.sample("commands_total", kind="agent.routing_state.set", status="pending") == 1
    assert gateway.sample("commands_in_flight") == 0


async def test_a_remote_number_goes_on_in_one_spelling_if_it_is_allowed(gateway: Gateway) -> None:
    phone = await gateway.served(ticket=ticket_of(gateway.clock, application=Application.REMOTE_ASSISTANT))
    for number, written in enumerate(("030 901820", "+43 1 58058")):
        asked = replace(command(gateway, number), command=ChangeRemoteNumber(written))
        await phone.say(asked)
    results = await phone.hear_all("result") + await phone.hear_all("result")
    statuses = {each.id: each.outcome.status for each in results if each.kind == "result"}
    assert statuses == {"c0": "applied", "c1": "rejected"}
    assert [call.command for call in gateway.node.calls] == [ChangeRemoteNumber("+4930901820")]


@pytest.mark.parametrize(
    ("error", "received"),
    [
        (ErrorCode.BUS_DOWN, "failed"),
        (ErrorCode.INTERNAL, "failed"),
        (ErrorCode.NOT_FOUND, "rejected"),
        (ErrorCode.VERSION_CONFLICT, "rejected"),
    ],
)
async def test_a_command_with_which_nothing_was_wrong_has_failed(
    gateway: Gateway, error: ErrorCode, received: str
) -> None:
    gateway.node.allow_agent(5)
    gateway.node.settles_commands = False
    phone = await gateway.served()
    await phone.say(command(gateway))
    await gateway.clock.advance(0.5)
    gateway.node.begun.pop()(Outcome(Status.REJECTED, GatewayError(error, "Why.")))
    kind = "agent.routing_state.set"
    assert gateway.sample("commands_total", kind=kind, status=received) == 1
    assert gateway.sample("command_seconds_sum", kind=kind) == pytest.approx(0.5)


async def test_commands_run_side_by_side_up_to_the_limit(gateway: Gateway) -> None:
    gateway.node.allow_agent(5)
    phone = await gateway.served()
    gateway.node.settles_commands = False
    for number in range(9):
        await phone.say(command(gateway, number))
    refused = (await phone.hear_all("result"))[-1]
    assert refused.outcome.error["code"] == "overloaded"
    assert (len(gateway.node.calls), gateway.sample("commands_in_flight")) == (8, 8)
    for settle in gateway.node.begun:
        settle(Outcome(Status.APPLIED))
        await phone.hear_all("result")
    assert gateway.sample("commands_in_flight") == 0


async def test_a_phone_that_leaves_takes_its_waiting_commands_along(gateway: Gateway) -> None:
    gateway.node.allow_agent(5)
    phone = await gateway.served()
    gateway.node.settles_commands = False
    await phone.say(command(gateway))
    await gateway.clock.settle()
    assert gateway.sample("commands_in_flight") == 1
    await gateway.leave(phone)
    assert (gateway.sample("commands_in_flight"), len(gateway.node.detached)) == (0, 1)
    assert gateway.node.begun == []


async def test_a_command_needs_no_task(gateway: Gateway) -> None:
    gateway.node.allow_agent(5)
    gateway.node.settles_commands, begun = False, gateway.node.begun
    phone = await gateway.served()
    for number in (1, 2, 2):
        await phone.say(command(gateway, number))
    await gateway.clock.settle()
    assert len(begun) == 3, "two commands with one id are not confused"
    assert socket_tasks() == 0
    assert gateway.sample("commands_in_flight") == 3
    begun.pop(0)(Outcome(Status.UNCHANGED))
    begun.pop(0)(Outcome(Status.APPLIED))
    results = await phone.hear_all("result") + await phone.hear_all("result")
    assert {each.id: each.outcome.status for each in results if each.kind == "result"} == {
        "c1": "unchanged",
        "c2": "applied",
    }
    assert gateway.sample("commands_in_flight") == 1
    assert gateway.sample("commands_total", kind="agent.routing_state.set", status="unchanged") == 1
    await gateway.leave(phone)
    assert begun == []
    assert gateway.sample("commands_in_flight") == 0


async def test_a_command_that_is_settled_at_once_is_counted_once(gateway: Gateway) -> None:
    gateway.node.allow_agent(5)
    phone = await gateway.served()
    await phone.say(command(gateway, 1))
    await phone.hear_all("result")
    assert gateway.sample("commands_total", kind="agent.routing_state.set", status="applied") == 1
    assert gateway.sample("commands_in_flight") == 0
    await gateway.leave(phone)
    assert gateway.sample("commands_in_flight") == 0


async def test_a_fault_in_beginning_a_command_ends_its_phone_and_is_counted_nowhere(gateway: Gateway) -> None:
    gateway.node.allow_agent(5)
    gateway.node.settles_commands = False
    phone, other = await gateway.served(), await gateway.served()
    gateway.node.fault = RuntimeError("a bug")
    await phone.say(command(gateway, 1))
    assert (await phone.hear_all("bye"))[-1].kind == "bye"
    await gateway.leave(phone)
    assert gateway.sample("commands_in_flight") == 0
    gateway.node.fault = None
    await other.say(command(gateway, 2))
    await gateway.clock.settle()
    assert gateway.sample("commands_in_flight") == 1


async def test_a_change_of_health_is_reported_at_once(gateway: Gateway) -> None:
    phone = await gateway.served()
    gateway.node.ledger.health = Health("stale", "live", gateway.clock.now() - 5)
    gateway.node.connections[0].wake()
    ping = await phone.hear_one(frames.Ping)
    assert (ping.upstream, ping.as_of_ms) == ("stale", gateway.clock.wall_ms() - 5_000)


async def test_the_exact_age_is_fetched_for_a_ping_alone(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, fetched = await gateway.served(), []

    def exact(user: UserId) -> Health:
        fetched.append(user)
        gateway.node.ledger.health = Health("live", "live", gateway.clock.now() - 1)
        return gateway.node.ledger.health

    monkeypatch.setattr(gateway.node, "health", exact)
    await phone.say(frames.Pong("1"))
    await phone.say(command(gateway))
    await phone.hear_all("result")
    assert fetched == []
    await gateway.clock.advance(live_of(gateway).heartbeat.next_at - gateway.clock.now())
    (ping,) = await phone.hear_all("ping")
    assert ping.server_time_ms - ping.as_of_ms == 1_000
    assert len(fetched) == 1


# ---- the end ----


@pytest.mark.parametrize("sign", ["ping", "pong"])
async def test_a_ping_or_pong_of_rfc_6455_shows_that_a_phone_lives(gateway: Gateway, sign: str) -> None:
    phone = await gateway.served()
    for _ in range(10):
        await gateway.clock.advance(9)
        await getattr(phone.ws, sign)(b"of the library")
        await gateway.clock.settle()
        assert gateway.node.connections[0].last_received_at == gateway.clock.now()
    assert not phone.ws.closed


async def test_the_node_may_close_it(gateway: Gateway) -> None:
    phone = await gateway.served()
    gateway.node.wait_for(3)
    gateway.node.connections[0].close(CloseCode.DRAINING, "draining", window_s=(1, 20))
    received = await phone.hear_all("bye")
    assert [frame.kind for frame in received][-1] == "bye"
    assert (received[-1].code, received[-1].min_s, received[-1].max_s) == (4200, 1, 20)
    assert (await phone.end())[1] == 4200


async def test_an_ended_session_is_closed_with_its_reason(gateway: Gateway) -> None:
    phone = await gateway.served()
    facts = gateway.node.facts(ticket_of(gateway.clock))
    gateway.node.connections[0].facts_changed(replace(facts, end=EndReason.BLOCKED, end_by="Eve"))
    bye, code = await phone.end()
    assert (code, bye and bye.reason, bye and bye.by) == (4008, "blocked", "Eve")


async def test_a_phone_says_bye(gateway: Gateway) -> None:
    phone = await gateway.served()
    await phone.say(frames.ClientBye())
    bye, code = await phone.end()
    assert (bye, code) == (None, 1000)
    await gateway.clock.settle()
    assert len(gateway.node.detached) == 1


async def test_whatever_ends_it_the_node_is_notified_once(gateway: Gateway) -> None:
    closed, broken, served = await gateway.connect(), await gateway.served(), await gateway.served()
    await closed.ws.close()
    transport = broken.ws._conn
    assert transport is not None
    transport.transport.abort()  # type: ignore[union-attr]  # it is open
    gateway.node.connections[1].close(CloseCode.REBALANCE, "rebalance")
    assert (await served.end())[1] == 4201
    await gateway.clock.settle()
    assert len(gateway.node.detached) == 3
    assert len(set(map(id, gateway.node.detached))) == 3
    assert gateway.admission.sockets == 0
    assert gateway.sample("closes_total", initiator="client", code="1000") == 1
    assert gateway.sample("closes_total", initiator="network", code="1006") == 1
    assert gateway.sample("closes_total", initiator="gateway", code="4201") == 1
    assert sorted((life.initiator, life.close_code, life.user is None) for life in gateway.lives) == [
        ("client", 1000, True),
        ("gateway", 4201, False),
        ("network", 1006, False),
    ]


async def test_an_end_that_is_cut_short_gives_the_place_back_once(gateway: Gateway) -> None:
    await gateway.served()
    [socket] = gateway.parts.scheduler.sockets
    socket.close(CloseCode.DRAINING, "draining")
    while socket_tasks() == 0:  # noqa: ASYNC110 - until its end has begun, and no longer
        await asyncio.sleep(0)
    socket.abandon()
    await gateway.clock.settle()
    assert (gateway.admission.sockets, gateway.parts.scheduler.sockets) == (0, {})


async def test_a_close_while_it_is_attached_ends_the_attach(gateway: Gateway) -> None:
    gateway.node.gate.clear()
    phone = await gateway.hello(gateway.token())
    await gateway.clock.settle()
    assert gateway.admission.opening == 1
    await phone.say(HELLO)
    assert (await phone.end())[1] == 4000
    gateway.node.gate.set()
    await gateway.clock.settle()
    assert (gateway.admission.opening, gateway.node.connections) == (0, [])
    assert len(gateway.node.detached) == 1


async def test_a_fault_of_ours_closes_one_socket_and_is_logged_without_its_text(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    other = await gateway.served()
    gateway.node.fault = RuntimeError("SECRET-VALUE")
    with caplog.at_level(logging.DEBUG):
        phone = await gateway.hello(gateway.token())
        bye, code = await phone.end()
    assert (code, bye and bye.reason) == (4100, "internal")
    (record,) = [one for one in caplog.records if one.getMessage() == "socket_failed"]
    assert vars(record)["error"] == "RuntimeError"
    assert "fake_node.py:" in vars(record)["place"]
    assert "SECRET-VALUE" not in caplog.text
    await is_served(gateway, other)


@pytest.mark.parametrize("step", ["detach", "release", "shared_frames_written", "take"])
async def test_whatever_fails_at_the_end_the_place_is_given_back_and_others_are_served(
    gateway: Gateway, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, other = await gateway.served(), await gateway.served()
    socket, _ = gateway.parts.scheduler.sockets
    owner = next(each for each in (Session, FakeNode, ConnectionStats) if hasattr(each, step))
    usual = getattr(owner, step)

    def fail(self: object, *args: object) -> object:
        if self is socket.session or self is socket.stats or socket in args:
            raise ZeroDivisionError
        return usual(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, fail)
        socket.close(CloseCode.DRAINING, "draining")
        await phone.end()
        await gateway.clock.settle()
    assert gateway.admission.sockets == 1
    assert list(gateway.parts.scheduler.sockets) != [socket]
    await is_served(gateway, other)


async def test_a_session_that_cannot_close_ends_alone(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, other = await gateway.served(), await gateway.served()
    socket, _ = gateway.parts.scheduler.sockets

    def fail(self: Session, *args: object, **kwargs: object) -> tuple[()]:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Session, "close", fail)
        socket.fail(RuntimeError())
        await phone.end()
        await gateway.clock.settle()
    assert gateway.admission.sockets == 1
    await is_served(gateway, other)


async def test_no_task_is_left_behind(gateway: Gateway) -> None:
    gateway.node.allow_agent(5)
    phones = [await gateway.served() for _ in range(2)]
    gateway.node.gate.clear()
    await phones[0].say(command(gateway))
    phones.append(await gateway.hello(gateway.token()))
    await gateway.clock.settle()
    assert socket_tasks() == 1, "an attach; nothing for a command, nor for a socket as such"
    for phone in phones:
        await gateway.leave(phone)
    assert socket_tasks() == 0


def socket_tasks() -> int:
    return sum("PhoneSocket._guarded " in repr(task.get_coro()) for task in asyncio.all_tasks())


# ---- serves phones with a valid token, and renews it ----


@pytest.mark.parametrize("token", ["nonsense", None])
async def test_a_token_that_does_not_open_is_4001(gateway: Gateway, token: str | None) -> None:
    phone = await gateway.hello(token)
    bye, code = await phone.end()
    assert (code, bye and bye.reason, bye and bye.reconnect) == (4001, "token_invalid", "never")
    assert gateway.node.connections == []


async def test_a_token_in_the_header_and_a_second_of_the_same_session_are_fine(gateway: Gateway) -> None:
    phone = await gateway.hello(None, headers=bearer(gateway.token()))
    assert isinstance(await phone.hear(), frames.Welcome)
    phone = await gateway.hello(gateway.token(), headers=bearer(gateway.token()))
    assert isinstance(await phone.hear(), frames.Welcome)


@pytest.mark.parametrize("other", [{"session": "public-9"}, {"key": 8}])
async def test_two_tokens_of_different_sessions_are_4001(gateway: Gateway, other: dict[str, object]) -> None:
    shown = gateway.token(ticket_of(gateway.clock, **other))  # type: ignore[arg-type]  # the parameters above
    phone = await gateway.hello(gateway.token(), headers=bearer(shown))
    assert (await phone.end())[1] == 4001


@pytest.mark.parametrize("application", list(Application))
async def test_whether_an_expired_token_is_the_end_of_its_session_says_the_server(
    gateway: Gateway, application: Application
) -> None:
    token = gateway.token(ticket_of(gateway.clock, application=application, expires_in_ms=1_000))
    gateway.clock.jump_wall(13 * 3_600_000)
    phone = await gateway.hello(token)
    await phone.hear_all("welcome", "changes", "ping")
    gateway.node.refusal = SessionRefused(CloseCode.SESSION_ENDED, "expired", window_s=(0, 30))
    phone = await gateway.hello(token)
    assert (await phone.end())[1] == 4300


async def test_a_token_expired_for_long_is_4001(gateway: Gateway) -> None:
    token = gateway.token(ticket_of(gateway.clock, expires_in_ms=1_000))
    gateway.clock.jump_wall(25 * 3_600_000)
    phone = await gateway.hello(token)
    assert (await phone.end())[1] == 4001


async def test_a_refused_attach_and_a_denied_session_are_closed_with_their_code(gateway: Gateway) -> None:
    gateway.node.refusal = SessionRefused(CloseCode.SESSION_ENDED, "expired", window_s=(0, 30))
    phone = await gateway.hello(gateway.token())
    bye, code = await phone.end()
    assert bye is not None
    assert (code, bye.reconnect, bye.min_s, bye.max_s) == (4300, "log_on", 0, 30)
    gateway.node.denials["public-1"] = SessionRefused(
        CloseCode.LOGGED_OFF, EndReason.LOGGED_OFF_BY_SUPERVISOR, by="Eve"
    )
    phone = await gateway.hello(gateway.token())
    bye, code = await phone.end()
    assert (code, bye and bye.reason, bye and bye.by) == (4005, "logged_off_by_supervisor", "Eve")


# ---- renewal ----


async def test_a_moved_end_of_life_renews_the_token(gateway: Gateway) -> None:
    phone = await gateway.served()
    gateway.node.expires_at_ms = gateway.clock.wall_ms() + 9_999_000
    gateway.node.connections[0].facts_changed(gateway.node.facts(ticket_of(gateway.clock)))
    renewed = await phone.hear_one(frames.Renewed)
    assert renewed.expires_at_ms == gateway.node.expires_at_ms
    renewed_ticket = replace(ticket_of(gateway.clock), expires_at_ms=renewed.expires_at_ms)
    assert gateway.ticket_in(renewed.token) == renewed_ticket
    gateway.node.connections[0].facts_changed(gateway.node.facts(ticket_of(gateway.clock)))
    gateway.node.wait_for(2)
    await gateway.clock.advance(1)
    assert isinstance(await phone.hear(), frames.Changes), "the same facts renew nothing"


async def test_a_life_that_moved_before_the_welcome_renews_after_it(gateway: Gateway) -> None:
    gateway.node.expires_at_ms = gateway.clock.wall_ms() + 9_999_000
    phone = await gateway.hello(gateway.token())
    received = await phone.hear_all("welcome", "renewed")
    assert received[0].session.expires_at_ms == received[-1].expires_at_ms


async def test_a_token_of_an_old_key_is_renewed(gateway: Gateway) -> None:
    old = Tokens(KEYS[1:], ("main",), nonces()).seal(ticket_of(gateway.clock))
    phone = await gateway.hello(old)
    renewed = (await phone.hear_all("welcome", "renewed"))[-1]
    opened = gateway.tokens.open(renewed.token, gateway.clock.wall_ms())
    assert getattr(opened, "stale", None) is False


# ---- coroutines of a phone are closed when nothing runs them ----


@pytest.mark.parametrize("has_ended", [True, False], ids=["nothing runs", "cancelled before"])
async def test_work_that_never_begins_is_closed(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *, has_ended: bool
) -> None:
    async def job() -> None:
        raise AssertionError

    await gateway.served()
    (socket,) = gateway.parts.scheduler.sockets
    never = job()
    with monkeypatch.context() as patch:
        if has_ended:
            patch.setattr(gateway.parts.scheduler, "_tasks", None)
        socket.start(never)
        socket.abandon()
    await gateway.clock.settle()
    assert inspect.getcoroutinestate(never) == inspect.CORO_CLOSED
