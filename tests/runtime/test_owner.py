"""Owner of a user: the one node that has a link for them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from dataclasses import replace

import pytest

from gateway.core.link import BEAT_S, Linger
from gateway.domain.commands import AttachSession, DetachSession, Listen, QueryDirectory
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError
from gateway.domain.model import Application, Device, NodeId, SessionSecret, UserId
from gateway.domain.resources import FunctionState
from gateway.domain.upstream import LinkClosed
from gateway.protocol.envelopes import Replaced
from gateway.runtime.link_session import UNREAD_S, UNREAD_STAYS_S
from gateway.runtime.node import NodeSettings
from gateway.runtime.ports import RECONNECT_WINDOW_S
from gateway.runtime.sessions import ATTACH_S, SESSION_RENEW_AGAIN_S
from tests.doubles.fake_link import FakeLink
from tests.doubles.fake_upstream import LIFE_MS
from tests.runtime.nodes import Nodes, open_nodes
from tests.runtime.scene import FakePhone, Scene, replace_method, scene, user

ASSISTANT = Application.REMOTE_ASSISTANT


def _down(at: Scene) -> None:
    at.upstream.unreachable = True
    at.upstream.drop(user(1))


# ---- attach ----


async def test_a_hello_while_oscc_e_is_down_waits_so_long_and_learns_when_to_come_back(at: Scene) -> None:
    phone = await at.phone("anna")
    at.upstream.unreachable = True
    phone.hello()
    closes = []
    for seconds in (ATTACH_S - 0.1, 0.2):
        await at.clock.advance(seconds)
        closes.append(phone.closed)
    assert closes[0] is None
    assert closes[1] is not None
    assert (closes[1].code, closes[1].window_s) == (CloseCode.INTERNAL, RECONNECT_WINDOW_S)
    assert phone.of_kind("welcome") == []


async def test_an_accepted_session_is_served_from_the_mirror_while_the_link_is_down(at: Scene) -> None:
    phone = await at.served()
    _down(at)
    phone.leave()
    await at.clock.settle()
    again = await at.again(phone)
    assert again.of_kind("welcome")
    assert again.health == "down"
    assert again.shown["queue:5"] == phone.shown["queue:5"]


async def test_a_session_not_accepted_in_this_epoch_is_not_served_from_the_mirror(at: Scene) -> None:
    phone, stranger = await at.served(), await at.phone("anna", device="d2")
    _down(at)
    stranger.hello()
    await at.clock.advance(1)
    assert stranger.of_kind("welcome") == []
    at.owner().epoch_began(at.owner().epoch + 1)
    phone.leave()
    again = await at.again(phone)
    assert again.of_kind("welcome") == []


async def test_readings_that_take_too_long_do_not_keep_an_accepted_session_out(at: Scene) -> None:
    phone = await at.phone("anna")
    at.upstream.refusals[QueryDirectory] = GatewayError(ErrorCode.BUSY, "busy")
    phone.hello()
    await at.clock.advance(ATTACH_S + 0.1)
    assert phone.of_kind("welcome")
    assert phone.health == "stale"
    assert phone.of_kind("ping")[-1]["as_of_ms"] is None, "there is no snapshot yet"


# ---- life ----


async def test_the_link_lingers_and_then_everything_is_given_up(at: Scene) -> None:
    phone = await at.served()
    link = at.link()
    phone.leave()
    states = []
    for seconds in (88, 4):
        await at.pass_time(seconds)
        states.append(link.open)
    assert states == [True, False]
    assert not at.node.user_states
    assert await at.leases.read(user(1)) is None
    assert phone.ticket.secret in at.upstream.live, "the session itself lives on"


async def test_sessions_that_lingered_are_detached_side_by_side_while_others_live() -> None:
    quick = NodeSettings(NodeId("n1"), "n1-1", linger=Linger(dashboard_s=5, remote_assistant_s=10))
    async with scene(quick) as at:
        phone, *gone = [await at.served(device=f"d{number}") for number in range(5)]
        for each in gone:
            each.leave()
        at.link().mute()
        await at.pass_time(7)
        assert len(at.asked(DetachSession)) == 4, "none waits for the answer about another"
        assert at.owner().user_sessions.by_handle.keys() == {phone.ticket.handle}
        at.link().unmute()
        again = await at.again(gone[0])
        assert again.of_kind("welcome")
        assert (phone.closed, phone.health) == (None, "live")


async def test_a_link_that_was_opened_by_a_session_that_left_meanwhile_serves_the_others(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener, other = await at.phone("anna"), await at.phone("anna", device="d2")
    opening = at.upstream.open

    async def slowly(user: UserId, secret: SessionSecret, *, token: int, holder: str) -> FakeLink:
        await at.clock.sleep(2)
        return await opening(user, secret, token=token, holder=holder)

    monkeypatch.setattr(at.upstream, "open", slowly)
    await opener.connect()
    other.hello()
    await at.clock.advance(1)
    at.owner().drop_session(opener.ticket.handle)
    await at.clock.advance(2)
    assert other.of_kind("welcome")
    sessions = at.upstream.user_links[user(1)].sessions.values()
    assert [session.secret for session in sessions] == [other.ticket.secret]


async def test_who_waits_is_answered_at_once_when_the_user_is_let_go(at: Scene) -> None:
    phone = await at.phone("anna")
    at.upstream.unreachable = True
    await phone.connect()
    at.owner().stop()
    await at.clock.settle()
    assert phone.code == CloseCode.INTERNAL


# ---- faults ----


async def test_a_fault_of_one_owner_is_his_alone_and_says_nothing_secret(
    at: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    phone, other = await at.served(), await at.served("bert", ASSISTANT, number="1234")
    waiting = await at.phone("anna", device="d2")
    link = at.link()
    link.mute()
    await waiting.connect()

    def fail(*_: object) -> None:
        raise ValueError("secret-0815")

    replace_method(monkeypatch, at.owner().mirror, "read_all", fail)
    with caplog.at_level(logging.DEBUG):
        at.upstream.set_waiting(9)
        link.unmute()
        await at.clock.settle()
    assert phone.code == CloseCode.INTERNAL
    assert waiting.code == CloseCode.INTERNAL
    assert other.closed is None
    assert user(1) not in at.node.user_states
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text
    (record,) = [one for one in caplog.records if one.getMessage() == "user_failed"]
    assert vars(record)["error"] == "ValueError"
    assert vars(record)["place"].startswith("tests/runtime/test_owner.py:")
    assert re.search(r" < gateway/runtime/link_session\.py:\d+:\w+", vars(record)["place"])
    assert await at.leases.read(user(1)) is None
    again = await at.again(phone)
    assert again.of_kind("welcome")


@pytest.mark.parametrize("of", ["owner", "link"])
async def test_a_task_that_fails_while_the_link_is_silent_ends_its_user(
    at: Scene, of: str, caplog: pytest.LogCaptureFixture
) -> None:
    phone = await at.served(settled_s=2)
    owner = at.owner()
    assert owner._link_session is not None
    assert owner.silence is not None

    async def fail() -> None:
        raise ValueError("secret-0815")

    (owner if of == "owner" else owner._link_session).create_task(fail())
    del owner
    await at.clock.settle()
    assert phone.code == CloseCode.INTERNAL
    assert user(1) not in at.node.user_states
    (record,) = [one for one in caplog.records if one.getMessage() == "user_failed"]
    assert vars(record)["error"] == "ValueError"
    assert await at.leases.read(user(1)) is None


async def test_a_lost_link_that_a_task_notices_first_is_opened_again(at: Scene) -> None:
    phone = await at.served()
    link, link_session = at.link(), at.owner()._link_session
    assert link_session is not None

    async def ask() -> None:
        raise ExceptionGroup("of several", [LinkClosed("lost")])

    link_session.create_task(ask())
    await at.pass_time(5)
    assert not link.open
    assert at.link().open
    assert phone.closed is None


async def test_a_user_whose_link_is_silent_has_no_task(at: Scene) -> None:
    phone = await at.served()
    before = asyncio.all_tasks()
    other = await at.served("bert", ASSISTANT, number="1234", settled_s=2)
    assert len(asyncio.all_tasks()) == len(before), "a phone has a task while it waits"
    at.upstream.set_waiting(9)
    await at.clock.settle()
    assert len(asyncio.all_tasks()) == len(before)
    assert phone.health == other.health == "live"


async def test_a_life_that_is_cancelled_gives_link_and_lease_up() -> None:
    at: Scene
    async with scene() as at:
        await at.served()
        link = at.link()
    assert not link.open
    assert await at.leases.read(user(1)) is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_without_realtime_data_what_is_shown_is_stale_and_as_old_as_it_is(at: Scene) -> None:
    phone = await at.served(settled_s=1)
    down_ms = at.clock.wall_ms()
    at.upstream.set_function("realtime", FunctionState.DOWN)
    await at.clock.settle()
    assert phone.health == "stale"
    await at.pass_time(30)
    assert phone.of_kind("ping")[-1]["as_of_ms"] == down_ms
    at.upstream.set_function("realtime", FunctionState.UP)
    await at.clock.settle()
    assert phone.health == "stale", "whole sets are asked for first"
    asked = len(at.asked(Listen))
    await at.pass_time(1)
    assert phone.health == "live"
    assert len(at.asked(Listen)) > asked
    assert phone.closed is None


async def test_another_function_that_is_down_leaves_the_data_live(at: Scene) -> None:
    phone = await at.served()
    at.upstream.set_function("administration", FunctionState.DOWN)
    await at.pass_time(1)
    assert phone.health == "live"


# ---- admission of sessions ----


async def devices(at: Nodes, *nodes: int) -> list[FakePhone]:
    """Give one served phone at each of the nodes, on a device of its own."""
    phones = []
    for number, node in enumerate(nodes):
        phones.append(await at.served(node, device=f"device {number}"))
        await at.pass_time(0.5)
    assert [phone.code for phone in phones] == [None] * len(nodes)
    return phones


# ---- who makes way ----


@pytest.mark.parametrize(("was_at", "comes_to"), [(0, 1), (1, 0), (1, 2)])
async def test_a_session_that_comes_to_another_node_closes_its_connection(was_at: int, comes_to: int) -> None:
    async with open_nodes(3) as at:
        before = (await devices(at, 0, 1))[was_at]
        moved = await at.scenes[comes_to].again(before)
        await at.clock.settle()
        assert before.code == CloseCode.REPLACED
        await at.pass_time(1)
        assert moved.code is None
        assert moved.of_kind("welcome")
        member = at.scenes[0].member(before)
        node = f"n{comes_to}" if comes_to else None
        assert (member.node, member.present) == (node, True), "the one that makes way is not missed"


async def test_a_device_that_logs_on_at_another_node_closes_its_open_connections(at: Nodes) -> None:
    near, far = await devices(at, 0, 1)
    fresh = await at.scenes[1].phone("anna", device="other")
    fresh.ticket = replace(fresh.ticket, device=Device("device 0", "Phone"))
    fresh.hello()
    await at.pass_time(1)
    assert (near.code, far.code, fresh.code) == (CloseCode.REPLACED, None, None)
    again = await at.scenes[0].phone("anna", device="another")
    again.ticket = replace(again.ticket, device=Device("device 0", "Phone"))
    again.hello()
    await at.pass_time(1)
    assert (fresh.code, far.code, again.code) == (CloseCode.REPLACED, None, None)


async def test_nobody_makes_way_for_a_session_that_is_refused(at: Nodes) -> None:
    near, _ = await devices(at, 0, 1)
    fresh = await at.scenes[1].phone("anna", device="other")
    at.upstream.live.pop(fresh.ticket.secret)
    fresh.ticket = replace(fresh.ticket, device=Device("device 0", "Phone"))
    fresh.hello()
    await at.pass_time(1)
    assert (near.code, fresh.code) == (None, CloseCode.SESSION_ENDED)


async def test_the_same_connection_that_is_presented_again_stays(at: Nodes) -> None:
    _, far = await devices(at, 0, 1)
    far.send(kind="follow", id="1", topics=["agents"])
    await at.pass_time(1)
    assert far.code is None
    assert not at.received(Replaced)


# ---- how many ----


async def test_five_devices_on_any_nodes_and_no_more() -> None:
    async with open_nodes(3) as at:
        phones = await devices(at, 0, 0, 1, 1, 2)
        for node in range(3):
            sixth = await at.served(node, device=f"sixth at {node}", settled_s=0.5)
            assert sixth.code == CloseCode.TOO_MANY_DEVICES
        assert [phone.code for phone in phones] == [None] * 5


async def test_a_caller_that_left_makes_room_and_who_moves_needs_none(at: Nodes) -> None:
    phones = await devices(at, 0, 1, 1, 1, 1)
    phones[3].bye()
    await at.clock.settle()
    sixth = await at.served(0, device="sixth", settled_s=0.5)
    assert sixth.code is None
    moved = await at.scenes[0].again(phones[4])
    await at.pass_time(0.5)
    assert moved.code is None
    assert moved.of_kind("welcome")


# ---- when ----


async def test_a_session_that_ends_while_it_waits_is_refused_as_it_ended(at: Nodes) -> None:
    await devices(at, 0, 1)
    link = at.link()
    fresh = await at.scenes[1].phone("anna", device="d3")
    link.mute()
    fresh.hello()
    await at.pass_time(1)
    at.scenes[0].owner().ended(at.scenes[0].member(fresh), EndReason.BLOCKED, "somebody")
    await at.clock.settle()
    assert (fresh.ended.code, fresh.ended.reason) == (CloseCode.ACCOUNT_BLOCKED, EndReason.BLOCKED)


async def test_a_session_that_waits_when_its_user_moves_waits_for_the_next_owner(at: Nodes) -> None:
    near, _ = await devices(at, 0, 1)
    link = at.link()
    fresh = await at.scenes[0].phone("anna", device="d3")
    link.mute()
    await fresh.connect()
    await at.drain(0, settled_s=3)
    assert at.owners() == [1]
    assert (near.code, fresh.code) == (None, None)
    assert fresh.of_kind("welcome")
    assert at.scenes[1].asked(AttachSession)


# ---- sessions with a phone ----


async def test_sessions_with_a_phone_are_renewed_when_a_third_of_their_life_is_left(at: Scene) -> None:
    phone, gone = await at.served(), await at.served(device="d2")
    gone.leave()
    phone.facts.clear()
    first_ms = phone.ticket.expires_at_ms
    at.clock.jump_wall(LIFE_MS * 2 // 3 - 60_000)
    await at.pass_time(30)
    assert phone.facts == []
    await at.pass_time(45)
    assert phone.facts[-1].expires_at_ms > first_ms
    assert at.upstream.session(gone.ticket.secret).expires_at_ms == first_ms
    assert len(phone.facts) == 1


async def test_a_short_life_is_renewed_in_time_though_the_first_try_fails(at: Scene) -> None:
    phone = await at.phone("anna")
    now_ms = at.clock.wall_ms()
    phone.ticket = replace(phone.ticket, issued_at_ms=now_ms, expires_at_ms=now_ms + 15_000)
    await phone.connect()
    at.upstream.unreachable = True
    await at.pass_time(11)
    at.upstream.unreachable = False
    phone.facts.clear()
    await at.pass_time(3)
    assert phone.facts[-1].expires_at_ms > now_ms + 15_000


class Hanging:
    """Renewals that are not answered, or only in the end: when each began, and how many are open."""

    def __init__(self, at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began: list[float] = []
        self.most = 0
        self._open = 0
        self._clock = at.clock
        self._answer = asyncio.Event()
        self._keep_alive = at.upstream.keep_alive
        monkeypatch.setattr(at.upstream, "keep_alive", self._hang)

    async def _hang(self, secret: SessionSecret) -> int:
        self.began.append(self._clock.now())
        self._open += 1
        self.most = max(self.most, self._open)
        try:
            await self._answer.wait()
            return await self._keep_alive(secret)
        finally:
            self._open -= 1

    def answer(self) -> None:
        """Let the server answer, what is open too."""
        self._answer.set()


async def _short_lived(at: Scene, life_s: int) -> FakePhone:
    """Give a phone that is served, and whose session lives so long from now on."""
    phone = await at.phone("anna")
    now_ms = at.clock.wall_ms()
    phone.ticket = replace(phone.ticket, issued_at_ms=now_ms, expires_at_ms=now_ms + life_s * 1000)
    await phone.connect()
    phone.facts.clear()
    return phone


@pytest.mark.parametrize("life_s", [15, 600])
async def test_hanging_renewals_are_tried_one_by_one(
    at: Scene, monkeypatch: pytest.MonkeyPatch, life_s: int
) -> None:
    began_at = at.clock.now()
    phone = await _short_lived(at, life_s)
    hanging = Hanging(at, monkeypatch)
    await at.pass_time(life_s)
    before = len(hanging.began)
    assert before >= 2, "the first one that hangs leaves time for another"
    assert hanging.began[-1] >= began_at + life_s * 0.9, "and so does the last but one"
    await at.pass_time(120)
    assert len(hanging.began) - before <= 4, "there is no haste any more"
    assert hanging.most == 1
    hanging.answer()
    await at.pass_time(SESSION_RENEW_AGAIN_S + 1)
    assert phone.facts[-1].expires_at_ms > at.clock.wall_ms()


async def test_a_session_that_lives_again_is_renewed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    async with scene() as at:
        await _short_lived(at, 2)

        async def renew(_: SessionSecret) -> int:
            asked.append(at.clock.now())
            return at.clock.wall_ms() + 2_000 if len(asked) > 1 else 0

        monkeypatch.setattr(at.upstream, "keep_alive", renew)
        at.clock.jump_wall(2_000)
        await at.pass_time(40)
        assert asked[1] - asked[0] >= 30
        assert asked[2] - asked[1] <= 3


async def test_a_renewal_of_a_slow_server_is_waited_for(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = await _short_lived(at, 15)
    hanging = Hanging(at, monkeypatch)
    await at.pass_time(12)
    hanging.answer()
    await at.clock.settle()
    assert len(hanging.began) == 1
    assert phone.facts[-1].expires_at_ms > at.clock.wall_ms() + 15_000


@pytest.mark.parametrize(("given_s", "tries"), [(None, 4), (9.0, 3), (300.0, 3)])
async def test_a_server_that_asks_to_wait_is_asked_less_often_while_there_is_time(
    monkeypatch: pytest.MonkeyPatch, given_s: float | None, tries: int
) -> None:
    asked: list[float] = []
    async with scene() as at:
        await _short_lived(at, 60)

        async def refuse(_: SessionSecret) -> int:
            asked.append(at.clock.now())
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "wait", retry_after_s=given_s)

        monkeypatch.setattr(at.upstream, "keep_alive", refuse)
        await at.pass_time(59)
        assert len(asked) == tries


@pytest.mark.parametrize("at_s", [1, 30])
async def test_a_session_is_renewed_in_time_though_the_wall_clock_was_set_back(at: Scene, at_s: int) -> None:
    phone = await _short_lived(at, 60)
    await at.pass_time(at_s)
    assert phone.facts == []
    at.clock.jump_wall(-3_600_000)
    await at.pass_time(39 - at_s)
    assert phone.facts == [], "as late as without the step"
    await at.pass_time(3)
    assert phone.facts[-1].expires_at_ms == pytest.approx(at.clock.wall_ms() + LIFE_MS, abs=3_000)


async def test_a_session_that_is_gone_when_it_is_renewed_twice_has_ended(at: Scene) -> None:
    phone, other = await at.served(), await at.served(device="d2")
    del at.upstream.live[phone.ticket.secret]
    at.clock.jump_wall(LIFE_MS * 2 // 3 + 1_000)
    await at.pass_time(2)
    assert [phone.code] == [None], "the link should tell why"
    await at.pass_time(SESSION_RENEW_AGAIN_S)
    assert phone.code == CloseCode.SESSION_ENDED
    assert other.code is None


async def test_a_session_that_is_on_no_link_has_ended_when_its_renewal_is_refused(at: Scene) -> None:
    phone = await at.served()
    at.upstream.refusals[AttachSession] = GatewayError(ErrorCode.BUSY, "busy")
    del at.upstream.live[phone.ticket.secret]
    at.owner().user_sessions.unlinked()
    at.clock.jump_wall(LIFE_MS * 2 // 3 + 1_000)
    await at.pass_time(2)
    assert phone.code == CloseCode.SESSION_ENDED


@pytest.mark.parametrize("first", ["link", "renewal"])
async def test_a_session_ends_with_the_links_reason_not_its_renewals(at: Scene, first: str) -> None:
    phone = await at.served()
    link = at.link()
    if first == "renewal":
        link.mute()
    at.upstream.end_session(at.upstream.session(phone.ticket.secret), EndReason.TAKEN_OVER, "Tablet")
    at.clock.jump_wall(LIFE_MS * 2 // 3 + 1_000)
    await at.pass_time(2)
    link.unmute()
    await at.clock.settle()
    assert (phone.ended.code, phone.ended.by) == (CloseCode.LOGGED_OFF, "Tablet")


async def test_a_hanging_renewal_delays_no_change_of_role(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await _short_lived(at, 60)
    hanging = Hanging(at, monkeypatch)
    await at.pass_time(45)
    assert hanging.began
    home = at.node.user_states[user(1)]
    home.stop()
    await at.clock.settle()
    assert home.over.is_set()
    assert await at.leases.read(user(1)) is None


async def test_data_of_a_silent_link_is_old_while_messages_may_wait_unread_in_this_process(at: Scene) -> None:
    phone = await at.served(settled_s=4)
    assert phone.health == "live", "a link that is silent for 4 s has nothing new"
    at.node.unread_s = lambda: 0.9
    await at.pass_time(2)
    assert phone.health == "live"
    at.node.unread_s = lambda: 5.0
    await at.pass_time(1)
    assert phone.health == "stale"
    await at.pass_time(UNREAD_STAYS_S)
    assert phone.health == "stale"
    at.upstream.set_waiting(9)
    await at.pass_time(1)
    assert (phone.health, phone.waiting) == ("live", 9)
    await at.pass_time(5)  # it brings a sign of life in between
    assert phone.health == "stale"
    at.node.unread_s = lambda: 0.0
    await at.pass_time(3)
    assert phone.health == "live"


@pytest.mark.parametrize("began_s", [0.0, 0.1, 0.25, 0.4])
async def test_a_phone_learns_that_data_may_be_old_before_it_is_2_s_old(at: Scene, began_s: float) -> None:
    phone = await at.served(settled_s=4 + began_s)
    stuck_at = at.clock.now()
    at.node.unread_s = lambda: at.clock.now() - stuck_at
    await at.clock.advance(UNREAD_S)
    assert phone.health == "live"
    await at.clock.advance(BEAT_S)
    assert phone.health == "stale"


async def test_a_node_at_the_limit_of_being_behind_does_not_change_state_at_each_beat(at: Scene) -> None:
    phone = await at.served(settled_s=4)
    pings = len(phone.of_kind("ping"))
    unread_s = itertools.cycle((1.1, 0.9))
    at.node.unread_s = lambda: next(unread_s)  # read once at each beat
    await at.clock.advance(20 * BEAT_S)
    assert [ping["upstream"] for ping in phone.of_kind("ping")[pings:]] == ["stale"]


async def test_a_message_to_a_busy_node_does_not_change_the_state_of_its_phones_twice(at: Scene) -> None:
    phone = await at.served()
    at.node.unread_s = lambda: 1.5
    at.upstream.transit_ms = 700
    pings, messages = len(phone.of_kind("ping")), 60
    for waiting in range(messages):
        at.upstream.set_waiting(waiting)
        await at.pass_time(0.5)
    states = [ping["upstream"] for ping in phone.of_kind("ping")[pings:]]
    assert states.count("stale") <= 1 + 0.5 * messages / UNREAD_STAYS_S, states
    at.node.unread_s = lambda: 0.0
    await at.pass_time(2)
    assert phone.health == "live", "no message waits any more"
