"""Who is on this node, and who serves each of them?"""

from __future__ import annotations

import dataclasses

import pytest

from gateway.core.registry import RegistryLimits
from gateway.domain.commands import Call, SetAgentRoutingState
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, SessionRefused
from gateway.domain.model import Application, Kind, NodeId, Scope, SessionId, UserId
from gateway.domain.resources import Agent, Queue
from gateway.domain.upstream import Part, Source
from gateway.runtime.node import NodeSettings
from tests.runtime.scene import PhoneLine, Scene, scene, user

ASSISTANT = Application.REMOTE_ASSISTANT


def _code(phone: PhoneLine) -> int | None:
    return None if phone.closed is None else phone.closed.code


def _stranger(
    at: Scene, phone: PhoneLine, *, user: UserId | None = None, session: SessionId | None = None
) -> PhoneLine:
    """Give a phone with another ticket."""
    ticket = phone.ticket
    changed = dataclasses.replace(ticket, user=user or ticket.user, session=session or ticket.session)
    return PhoneLine(at, changed)


async def test_a_phone_sees_its_contact_centre_and_each_change() -> None:
    async with scene() as at:
        phone = await at.served()
        kinds = [frame["kind"] for frame in phone.frames]
        assert kinds[:3] == ["welcome", "changes", "ping"]
        assert phone.shown["queue:5"]["contacts_waiting"] == 3
        assert phone.shown["agent:7"]["routing_state"] == "available"
        assert phone.shown["agent:8"]["routing_state"] == "logged_off"
        assert phone.shown["me"]["display_name"] == "Anna"
        at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=4)))
        await at.clock.advance(1)
        phone.take()
        assert phone.shown["queue:5"]["contacts_waiting"] == 4
        assert phone.frames[-1]["patch"] == {"queue:5": {"contacts_waiting": 4}}


async def test_a_phone_resumes_where_it_was() -> None:
    async with scene() as at:
        phone = await at.served()
        phone.bye()
        await at.clock.settle()
        at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=4)))
        await at.clock.settle()
        again = await at.again(phone, position=phone.position)
        assert again.of_kind("welcome")[0]["resumed"]
        assert set(again.of_kind("changes")[0]["put"]) == {"queue:5"}


# ---- who makes way ----


async def test_the_next_connection_of_a_session_replaces_the_last_which_leaves_it_alone() -> None:
    async with scene() as at:
        old = await at.served()
        new = await at.again(old)
        assert _code(old) == CloseCode.REPLACED
        old.leave()
        at.node.detach(old)
        await at.clock.settle()
        assert at.owner().feed.connections == {new.ticket.handle: new}
        assert at.upstream.session(new.ticket.secret).present
        at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=4)))
        await at.pass_time(1)
        assert new.shown["queue:5"]["contacts_waiting"] == 4


async def test_a_replaced_connection_that_goes_late_does_not_detach_its_successor() -> None:
    async with scene() as at:
        old = await at.served()
        old.leave, leave = lambda: None, old.leave  # type: ignore[method-assign]  # slow to go
        new = await at.again(old)
        leave()
        await at.clock.settle()
        assert at.upstream.session(new.ticket.secret).present
        assert at.owner().feed.connections == {new.ticket.handle: new}


async def test_a_sixth_device_is_refused_and_a_silent_one_makes_way() -> None:
    async with scene() as at:
        phones = [await at.served(device=f"d{number}") for number in range(5)]
        sixth = await at.served(device="d5")
        assert _code(sixth) == CloseCode.TOO_MANY_DEVICES
        assert [_code(phone) for phone in phones] == [None] * 5
        await at.clock.advance(601)
        for phone in phones[1:]:
            at.node.touch(phone)
        late = await at.served(device="d6")
        assert [_code(phone) for phone in phones] == [CloseCode.REPLACED, None, None, None, None]
        assert _code(late) is None


async def test_a_full_node_refuses() -> None:
    settings = NodeSettings(NodeId("n1"), "n1-1", limits=RegistryLimits(connections=1))
    async with scene(settings) as at:
        await at.served()
        assert _code(await at.served("bert", ASSISTANT, number="1234")) == CloseCode.OVER_CAPACITY
        assert set(at.node.user_states) == {user(1)}


async def test_a_site_that_is_gone_is_refused() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        foreign = _stranger(at, phone, user=UserId("gone", 1))
        at.upstream.people[UserId("gone", 1)] = at.upstream.people[user(1)]
        foreign.hello()
        await at.clock.settle()
        assert _code(foreign) == CloseCode.TOKEN_INVALID
        assert not at.node.user_states


# ---- ends ----


async def test_what_a_session_sees_is_told_for_the_export() -> None:
    async with scene() as at:
        wide = await at.served()
        assert {"queue:5", "agent:7", "agent:8", "me", "site"} <= at.node.seen_by(wide.ticket).keys()
        at.upstream.people[user(7)].scopes[Application.DASHBOARD] = Scope(agents=frozenset({7, 8}))
        wide, narrow = await at.served("bert", device="d2"), await at.served("bert", ASSISTANT, number="1234")
        assert {"agent:7", "agent:8"} <= at.node.seen_by(wide.ticket).keys()
        assert "agent:8" not in at.node.seen_by(narrow.ticket)
        narrow.leave()
        assert at.node.seen_by(narrow.ticket) == {}
        assert at.node.seen_by(_stranger(at, wide, user=user(2)).ticket) == {}


async def test_what_is_exported_names_no_group_or_queue_outside_the_scope() -> None:
    async with scene() as at:
        at.upstream.put(
            Part(Kind.AGENT, 7, Source.DIRECTORY, Agent(group_ids=("4", "9"), queue_ids=("5", "6"))),
            Part(Kind.AGENT, 8, Source.DIRECTORY, Agent(queue_ids=("6",))),
        )
        phone = await at.served()
        agents = [at.node.seen_by(phone.ticket)[key] for key in ("agent:7", "agent:8")]
        assert [(each.group_ids, each.queue_ids) for each in agents if isinstance(each, Agent)] == [
            ((), ("5",)),
            ((), ()),
        ]


async def test_health_of_nobody_is_down() -> None:
    async with scene() as at:
        health = at.node.health(user(9))
        assert (health.upstream, health.bus, health.as_of) == ("down", "live", None)


async def test_a_connection_that_is_not_here_changes_nothing() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        at.node.follow(phone, ("agents",))
        at.node.touch(phone)
        at.node.detach(phone)
        assert not at.node.user_states


async def test_after_its_life_a_node_takes_nobody() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
    with pytest.raises(SessionRefused) as refused:
        await at.node.attach(phone, phone.ticket, None)
    assert refused.value.code is CloseCode.DRAINING


async def test_a_command_of_a_connection_that_is_gone_is_refused() -> None:
    async with scene() as at:
        phone = await at.served()
        phone.leave()
        command = SetAgentRoutingState("7", "work")
        call = Call("k", phone.ticket.handle, command, None, retry=False, deadline_ms=at.clock.wall_ms() + 9)
        outcome = await at.node.invoke(phone, call)
        assert outcome.error is not None
        assert outcome.error.code is ErrorCode.UPSTREAM_UNAVAILABLE


async def test_a_phone_that_left_while_it_was_judged_takes_no_seat() -> None:
    async with scene() as at:
        old = await at.served()
        at.upstream.end_session(at.upstream.session(old.ticket.secret), EndReason.EXPIRED)
        await at.pass_time(1)
        served = await at.served()
        link = at.link()
        link.mute()
        again = await at.again(old)
        again.leave()
        link.unmute()
        await at.clock.settle()
        assert (served.closed, at.node.connections) == (None, 1)


async def test_while_it_is_overloaded_a_node_lets_newcomers_in_slowly() -> None:
    async with scene() as at:
        gate, is_overloaded = at.node._queues["main"], True
        usual = gate.log_ons_per_s
        at.node.is_overloaded = lambda: is_overloaded
        await at.clock.advance(1.0)
        assert gate.log_ons_per_s == pytest.approx(usual / 10)
        is_overloaded = False
        await at.clock.advance(1.0)
        assert gate.log_ons_per_s == usual
