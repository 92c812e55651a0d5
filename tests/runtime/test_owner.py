"""Who speaks for one user at his OSCC-E Server?"""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from gateway.core.link import Linger
from gateway.domain.commands import AttachSession, DetachSession, Listen, QueryDirectory
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, NodeId, SessionSecret, UserId
from gateway.domain.resources import FunctionState, Queue
from gateway.domain.upstream import Part, Source
from gateway.runtime.node import NodeSettings
from gateway.runtime.ports import RECONNECT_WINDOW_S
from gateway.runtime.sessions import ATTACH_S
from tests.doubles.fake_link import FakeLink
from tests.runtime.scene import Scene, scene, user

ASSISTANT = Application.REMOTE_ASSISTANT


def _down(at: Scene) -> None:
    at.upstream.unreachable = True
    at.upstream.drop(user(1))


# ---- attach ----


async def test_a_hello_while_oscc_e_is_down_waits_so_long_and_is_told_when_to_come_back() -> None:
    async with scene() as at:
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


async def test_a_hello_that_waits_is_served_as_soon_as_oscc_e_is_back() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        at.upstream.unreachable = True
        phone.hello()
        await at.clock.advance(2)
        at.upstream.unreachable = False
        await at.pass_time(5)
        assert phone.of_kind("welcome")
        assert (phone.health, phone.closed) == ("live", None)


async def test_a_session_accepted_in_this_epoch_is_served_from_the_mirror_while_the_link_is_down() -> None:
    async with scene() as at:
        phone = await at.served()
        _down(at)
        phone.leave()
        await at.clock.settle()
        again = await at.again(phone)
        assert again.of_kind("welcome")
        assert again.health == "down"
        assert again.shown["queue:5"] == phone.shown["queue:5"]


async def test_a_session_not_accepted_in_this_epoch_is_not_served_from_the_mirror() -> None:
    async with scene() as at:
        phone, stranger = await at.served(), await at.phone("anna", device="d2")
        _down(at)
        stranger.hello()
        await at.clock.advance(1)
        assert stranger.of_kind("welcome") == []
        at.owner().epoch_began(at.owner().epoch + 1)
        phone.leave()
        again = await at.again(phone)
        assert again.of_kind("welcome") == []


async def test_readings_that_take_too_long_do_not_keep_an_accepted_session_out() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        at.upstream.refusals[QueryDirectory] = GatewayError(ErrorCode.BUSY, "busy")
        phone.hello()
        await at.clock.advance(ATTACH_S + 0.1)
        assert phone.of_kind("welcome")
        assert phone.health == "stale"
        assert phone.of_kind("ping")[-1]["as_of_ms"] is None, "there is no snapshot yet"


async def test_as_of_is_the_receipt_of_the_last_message() -> None:
    async with scene() as at:
        phone = await at.served()
        await at.clock.advance(3)
        at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=9)))
        await at.clock.settle()
        heard_ms, heard_at = at.clock.wall_ms(), at.clock.now()
        await at.clock.advance(2)
        assert at.node.health(user(1)).as_of == heard_at
        _down(at)
        await at.clock.settle()
        assert phone.of_kind("ping")[-1]["as_of_ms"] == heard_ms


async def test_a_phone_that_leaves_while_it_waits_leaves_nothing_behind() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        at.upstream.unreachable = True
        phone.hello()
        await at.clock.settle()
        phone.leave()
        at.upstream.unreachable = False
        await at.pass_time(100)
        assert not at.node.user_states
        assert at.upstream.link(user(1)) is None


# ---- life ----


async def test_the_link_lingers_and_then_everything_is_given_up() -> None:
    async with scene() as at:
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


async def test_one_session_that_lingered_is_detached_while_others_live() -> None:
    quick = NodeSettings(NodeId("n1"), "n1-1", linger=Linger(dashboard_s=5, remote_assistant_s=10))
    async with scene(quick) as at:
        phone, gone = await at.served(), await at.served(device="d2")
        gone.leave()
        await at.pass_time(7)
        assert len(at.asked(DetachSession)) == 1
        assert gone.ticket.handle not in at.owner().user_sessions
        assert (phone.closed, phone.health) == (None, "live")
        again = await at.again(gone)
        assert again.of_kind("welcome")


async def test_a_link_that_opens_after_everybody_left_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        opened: list[FakeLink] = []
        opening = at.upstream.open

        async def slowly(user: UserId, secret: SessionSecret, *, token: int, holder: str) -> FakeLink:
            await at.clock.sleep(5)
            opened.append(await opening(user, secret, token=token, holder=holder))
            return opened[-1]

        monkeypatch.setattr(at.upstream, "open", slowly)
        phone.hello()
        await at.clock.advance(1)
        phone.leave()
        at.owner().stop()
        await at.clock.advance(10)
        assert [link.open for link in opened] == [False]
        assert not at.node.user_states


async def test_a_link_that_was_opened_by_a_session_that_left_meanwhile_serves_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene() as at:
        opener, other = await at.phone("anna"), await at.phone("anna", device="d2")
        opening = at.upstream.open

        async def slowly(user: UserId, secret: SessionSecret, *, token: int, holder: str) -> FakeLink:
            await at.clock.sleep(2)
            return await opening(user, secret, token=token, holder=holder)

        monkeypatch.setattr(at.upstream, "open", slowly)
        opener.hello()
        await at.clock.settle()
        other.hello()
        await at.clock.advance(1)
        at.owner().let_go(opener.ticket.handle)
        await at.clock.advance(2)
        assert other.of_kind("welcome")
        sessions = at.upstream.wires[user(1)].sessions.values()
        assert [session.secret for session in sessions] == [other.ticket.secret]


async def test_who_waits_is_told_at_once_when_the_user_is_let_go() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        at.upstream.unreachable = True
        phone.hello()
        await at.clock.settle()
        at.owner().stop()
        await at.clock.settle()
        assert phone.code == CloseCode.INTERNAL


async def test_a_new_epoch_has_every_session_accepted_again() -> None:
    async with scene() as at:
        await at.served()
        await at.served(device="d2")
        at.upstream.fences[user(1)] = (at.owner().epoch + 10**9, "rival")
        at.upstream.requests.clear()
        at.upstream.drop(user(1))
        await at.pass_time(2)
        assert len({request.secret for request in at.asked(AttachSession)}) == 2
        assert all(member.on_link for member in at.owner().user_sessions)


# ---- faults ----


async def test_a_fault_of_one_owner_is_his_alone_and_says_nothing_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene() as at:
        phone, other = await at.served(), await at.served("bert", ASSISTANT, number="1234")
        waiting = await at.phone("anna", device="d2")
        link = at.link()
        link.mute()
        waiting.hello()
        await at.clock.settle()

        def fail(*_: object) -> None:
            raise ValueError("secret-0815")

        monkeypatch.setattr(at.owner().mirror, "read_all", fail)
        with caplog.at_level(logging.DEBUG):
            at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=9)))
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


async def test_a_life_that_is_cancelled_gives_link_and_lease_up() -> None:
    at: Scene
    async with scene() as at:
        await at.served()
        link = at.link()
    assert not link.open
    assert await at.leases.read(user(1)) is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_while_the_server_has_no_realtime_data_what_is_shown_is_stale_and_as_old_as_it_is() -> None:
    async with scene() as at:
        phone = await at.served()
        await at.pass_time(1)
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


async def test_another_function_that_is_down_leaves_the_data_live() -> None:
    async with scene() as at:
        phone = await at.served()
        at.upstream.set_function("administration", FunctionState.DOWN)
        await at.pass_time(1)
        assert phone.health == "live"
