"""What must be asked on a link, so that it carries what the user's sessions need and nothing else?"""

from __future__ import annotations

import pytest

from gateway.domain.commands import (
    AttachSession,
    DetachSession,
    Listen,
    Presence,
    QueryDirectory,
    StopListening,
)
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, Right, Scope
from gateway.domain.resources import FunctionState, Queue, Skill
from gateway.domain.upstream import Part, Source
from gateway.runtime.subscriptions import AGAIN_S, DIRECTORY
from tests.runtime.scene import PhoneLine, Scene, scene, user

WIDE = Scope(agents=frozenset({7, 8}), queues=frozenset({5}))
BUSY = GatewayError(ErrorCode.BUSY, "busy")
DOWN = GatewayError(ErrorCode.FUNCTION_UNAVAILABLE, "down", function="realtime")
ASSISTANT = Application.REMOTE_ASSISTANT


def _listens(at: Scene, key: int = 1) -> set[Listen]:
    return set(at.upstream.wires[user(key)].queries.values())


def _resources(phone: PhoneLine) -> set[str]:
    return {key for key in phone.shown if key.split(":")[0] in set(Kind)}


async def test_what_is_followed_is_listened_to_and_nothing_else() -> None:
    async with scene() as at:
        phone = await at.served(topics=["queues"])
        assert {listen.kind for listen in _listens(at)} == {None, Kind.QUEUE}
        phone.send(kind="follow", id="1", topics=["agent:7"])
        await at.pass_time(1)
        assert {(listen.kind, listen.numbers) for listen in _listens(at)} == {
            (None, None),
            (Kind.AGENT, frozenset({7})),
        }
        assert _resources(phone) == {"agent:7"}


async def test_the_directory_is_listened_to_before_anything_is_asked() -> None:
    async with scene() as at:
        await at.served()
        asked = [request for _, request in at.upstream.requests]
        assert asked[0] == DIRECTORY
        assert isinstance(asked[1], AttachSession)
        assert isinstance(asked[2], QueryDirectory)


async def test_a_scope_that_moved_before_the_directory_was_listened_to_is_noticed() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        at.upstream.refusals[Listen] = BUSY
        phone.hello()
        await at.clock.settle()
        at.upstream.set_scope(user(1), Application.DASHBOARD, Scope(queues=frozenset({5})), frozenset())
        assert phone.of_kind("welcome")[0]["rights"] != []
        del at.upstream.refusals[Listen]
        await at.pass_time(AGAIN_S + 2)
        assert _resources(phone) == {"queue:5"}
        assert phone.shown["me"]["rights"] == []


@pytest.mark.parametrize("code", [ErrorCode.SESSION_ENDED, ErrorCode.FORBIDDEN])
async def test_a_session_that_is_refused_is_told_while_others_live(code: ErrorCode) -> None:
    async with scene() as at:
        first, second = await at.served(), await at.phone("anna", device="d2")
        at.upstream.refusals[AttachSession] = GatewayError(code, "no")
        second.hello()
        await at.clock.settle()
        assert second.code == CloseCode.SESSION_ENDED
        assert (first.closed, first.health) == (None, "live")


async def test_what_was_refused_for_no_lasting_reason_is_asked_again() -> None:
    async with scene() as at:
        first, second = await at.served(), await at.phone("anna", device="d2")
        for kind in (AttachSession, Presence):
            at.upstream.refusals[kind] = BUSY
        second.hello()
        await at.clock.settle()
        assert not second.of_kind("welcome")
        at.upstream.refusals.clear()
        await at.pass_time(AGAIN_S + 1)
        assert second.of_kind("welcome")
        assert all(session.present for session in at.upstream.live.values())
        assert first.closed is None


async def test_nothing_is_shown_before_the_directory_is_known() -> None:
    async with scene() as at:
        phone = await at.served()
        at.upstream.refusals[QueryDirectory] = BUSY
        at.upstream.drop(user(1))
        await at.pass_time(2)
        assert phone.health == "stale"
        assert _resources(phone) == {"agent:7", "agent:8", "queue:5"}, "what is there is kept"
        at.upstream.refusals.clear()
        await at.pass_time(AGAIN_S + 1)
        assert phone.health == "live"


async def test_without_a_function_resources_are_shown_without_its_data_until_it_is_up() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        at.upstream.functions["realtime"] = FunctionState.DOWN
        at.upstream.refusals[Listen] = DOWN
        phone.hello()
        await at.clock.settle()
        assert phone.of_kind("welcome")
        assert phone.shown["agent:7"]["routing_state"] == "unknown"
        assert phone.shown["agent:7"]["display_name"] == "Bert"
        assert phone.shown["queue:5"] == {"name": "Billing"}
        asked = len(at.asked(Listen))
        await at.pass_time(30)
        assert len(at.asked(Listen)) == asked, "it says when it is up again"
        at.upstream.refusals.clear()
        at.upstream.set_function("realtime", FunctionState.UP)
        await at.pass_time(2)
        assert phone.shown["agent:7"]["routing_state"] == "available"
        assert phone.shown["queue:5"]["contacts_waiting"] == 3


async def test_nothing_flickers_when_a_wider_query_takes_the_place_of_a_narrow_one() -> None:
    async with scene() as at:
        phone = await at.served(topics=["queue:5"])
        told = len(phone.of_kind("changes"))
        phone.send(kind="follow", id="1", topics=["queues"])
        await at.pass_time(1)
        assert not any("queue:5" in frame.get("gone", []) for frame in phone.of_kind("changes")[told:])
        assert len(at.asked(StopListening)) == 2


async def test_presence_is_who_is_there() -> None:
    async with scene() as at:
        first = await at.served()
        second = await at.served(device="d2")
        sessions = [at.upstream.session(phone.ticket.secret) for phone in (first, second)]
        assert [session.present for session in sessions] == [True, True]
        second.leave()
        await at.clock.settle()
        assert [session.present for session in sessions] == [True, False]
        at.upstream.drop(user(1))
        await at.pass_time(1)
        assert [session.present for session in sessions] == [True, False]
        await at.again(second)
        assert [session.present for session in sessions] == [True, True]


async def test_a_session_let_go_is_detached_and_what_only_it_saw_is_forgotten() -> None:
    async with scene() as at:
        own = await at.served("bert", ASSISTANT, number="1234")
        at.upstream.people[user(7)].scopes[Application.DASHBOARD] = WIDE
        wide = await at.served("bert", device="d2")
        ledger = at.owner(7).feed.ledger
        assert ledger.get("agent:8") is not None
        at.owner(7).let_go(wide.ticket.handle)
        await at.clock.settle()
        assert len(at.asked(DetachSession)) == 1
        assert {key for key, _ in ledger.items() if key.startswith(("agent", "queue"))} == {"agent:7"}
        assert at.owner(7).mirror.assembly.addresses() == {(Kind.AGENT, 7)}
        assert own.closed is None


async def test_a_session_that_left_while_it_was_attached_is_taken_off_again() -> None:
    async with scene() as at:
        await at.served()
        second = await at.phone("anna", device="d2")
        link = at.link()
        link.mute()
        second.hello()
        await at.clock.settle()
        at.owner().let_go(second.ticket.handle)
        link.unmute()
        await at.clock.settle()
        assert len(at.upstream.wires[user(1)].sessions) == 1


async def test_catalogues_are_asked_for_again_when_they_change() -> None:
    async with scene() as at:
        phone = await at.served()
        at.upstream.set_catalogue(skills=(Skill("3", "French", 1, 100, None, None),))
        await at.pass_time(1)
        assert [skill["name"] for skill in phone.shown["catalogue:skills"]["skills"]] == ["French"]


async def test_a_hello_for_more_topics_waits_until_they_were_read() -> None:
    async with scene() as at:
        phone = await at.served(topics=["agents"])
        phone.leave()
        await at.clock.settle()
        at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=8)))
        again = await at.again(phone, topics=["queues"])
        assert [frame["kind"] for frame in again.frames][:2] == ["welcome", "changes"]
        assert again.of_kind("changes")[0]["put"]["queue:5"]["contacts_waiting"] == 8


async def test_rights_that_change_are_told_at_once() -> None:
    async with scene() as at:
        phone = await at.served()
        rights = frozenset({Right.SKILLS_WRITE})
        at.upstream.set_scope(user(1), Application.DASHBOARD, WIDE, rights)
        await at.pass_time(1)
        assert phone.shown["me"]["rights"] == ["skills_write"]
        assert phone.facts[-1].rights == (Right.SKILLS_WRITE,)


async def test_a_phone_that_comes_back_is_present_also_when_nobody_knows_whether_its_leaving_was_heard() -> (
    None
):
    async with scene() as at:
        phone = await at.served()
        link = at.link()
        link.mute()
        phone.leave()
        await at.pass_time(AGAIN_S + 0.5)
        assert [session.present for session in at.upstream.live.values()] == [False]
        again = await at.again(phone)
        link.unmute()
        await at.pass_time(AGAIN_S + 1)
        assert again.closed is None
        assert [session.present for session in at.upstream.live.values()] == [True]


async def test_many_that_come_at_once_are_all_attached_and_told_of_once() -> None:
    async with scene() as at:
        await at.served()
        phones = [await at.phone("anna", device=f"d{number}") for number in range(2, 5)]
        for phone in phones:
            phone.hello()
        await at.pass_time(1)
        assert all(phone.of_kind("welcome") for phone in phones)
        told = [request for request in at.asked(Presence) if request.present]
        assert len({request.alias for request in told}) == len(told) == 4


async def test_the_directory_is_asked_once_for_what_came_into_scope_and_was_not_told_of() -> None:
    async with scene() as at:
        phone = await at.served()
        wider = Scope(agents=frozenset({7, 8}), queues=frozenset({5, 6, 66}))
        at.upstream.parts[Source.REALTIME, Kind.QUEUE, 6] = Part(
            Kind.QUEUE, 6, Source.REALTIME, Queue(contacts_waiting=1)
        )
        asked = len(at.asked(QueryDirectory))
        at.upstream.set_scope(user(1), Application.DASHBOARD, wider)
        at.upstream.parts[Source.DIRECTORY, Kind.QUEUE, 6] = Part(
            Kind.QUEUE, 6, Source.DIRECTORY, Queue(name="Late")
        )
        await at.pass_time(10)
        assert phone.shown["queue:6"]["name"] == "Late"
        assert len(at.asked(QueryDirectory)) == asked + 1, "once, though nobody knows queue 66"


async def test_the_directory_is_not_asked_for_what_was_told_of() -> None:
    async with scene() as at:
        await at.served()
        at.upstream.put(Part(Kind.QUEUE, 6, Source.DIRECTORY, Queue(name="Told")))
        asked = len(at.asked(QueryDirectory))
        wider = Scope(agents=frozenset({7, 8}), queues=frozenset({5, 6}))
        at.upstream.set_scope(user(1), Application.DASHBOARD, wider)
        await at.pass_time(10)
        assert len(at.asked(QueryDirectory)) == asked
