"""Subscriptions match what is wanted, however late the server answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from gateway.core.link import DIRECTORY
from gateway.domain.commands import (
    AttachSession,
    DetachSession,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    StopListening,
)
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, Right, Scope
from gateway.domain.resources import FunctionState, Queue, Skill
from gateway.domain.upstream import LinkClosed, Part, Source
from gateway.runtime.ports import Link, OnAnswer
from gateway.runtime.subscriptions import (
    DATA_ANSWER_S,
    KEPT_S,
    MOST,
    PRESENCE_S,
    REFUSED_PAUSE_S,
    ROUND_S,
    SERVED_S,
    STOPPED_MOST,
    LinkSubscriptions,
    RequestsUnderWay,
)
from tests.doubles.clock import ManualClock
from tests.doubles.fake_link import PATIENCE_S
from tests.doubles.fake_upstream import KEEP_ALIVE_S
from tests.runtime.scene import FakePhone, Scene, user

LINE = 8
"""So many queries a supervisor's link has: of four kinds, of what is counted of two, and two more."""
DOWN = GatewayError(ErrorCode.FUNCTION_UNAVAILABLE, "down")


def _is_listen(request: LinkRequest) -> bool:
    return isinstance(request, Listen)


def _of(source: Source, kind: Kind | None = None) -> Callable[[LinkRequest], bool]:
    """Return whether a request listens to one kind and source."""
    return lambda asked: isinstance(asked, Listen) and asked.source is source and kind in (None, asked.kind)


def _asking(at: Scene) -> LinkSubscriptions:
    link_session = at.owner()._link_session
    assert link_session is not None
    assert link_session._asking is not None
    return link_session._asking


async def _answer_held(at: Scene) -> None:
    """Let the server answer what it has held, and let that be shown."""
    at.link().serve_held()
    await at.pass_time(1)


# ---- answers that come late ----


async def test_a_server_that_is_always_slow_is_asked_for_each_set_once_at_a_time(at: Scene) -> None:
    at.upstream.slow = _is_listen
    await at.served()
    link = at.link()
    asked: list[LinkRequest] = []

    def hold(request: LinkRequest) -> bool:
        asked.append(request)
        return _is_listen(request)

    link.holds = hold
    await at.pass_time(PATIENCE_S - 1)
    listens = [each for each in asked if _is_listen(each)]
    assert (len(listens), len(set(listens))) == (LINE - 1, LINE - 1)
    await at.pass_time(PATIENCE_S)
    assert max(asked.count(each) for each in listens) <= 2


async def test_a_presence_without_an_answer_is_sent_again_after_a_pause(at: Scene) -> None:
    await at.served()
    sent: list[LinkRequest] = []

    def hold(request: LinkRequest) -> bool:
        sent.extend([request] if isinstance(request, Presence) else [])
        return isinstance(request, Presence)

    at.link().holds = hold
    second = await at.served(device="d2")
    await at.pass_time(3 * (PRESENCE_S + REFUSED_PAUSE_S) - 1)
    assert 2 <= len(sent) <= 3
    at.link().serve_held()
    await at.pass_time(PRESENCE_S + REFUSED_PAUSE_S + 1)
    assert all(session.present for session in at.upstream.live.values())
    assert second.closed is None


async def test_a_phone_that_left_before_a_late_answer_about_its_presence_is_reported_as_gone(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at.served()
    at.link().holds = lambda request: isinstance(request, Presence)
    monkeypatch.setattr(RequestsUnderWay, "tick", lambda *_: None)  # a busy process does so late
    second = await at.served(device="d2")
    second.leave()
    await at.pass_time(ROUND_S + 0.5)
    await _answer_held(at)
    assert not at.upstream.session(second.ticket.secret).present


async def test_what_is_not_wanted_any_more_when_it_is_answered_is_stopped(at: Scene) -> None:
    phone = await at.served(topics=["agents"])
    queues = _of(Source.REALTIME, Kind.QUEUE)
    at.link().holds = queues
    phone.send(kind="follow", id="1", topics=["agents", "queues"])
    await at.pass_time(ROUND_S + 1)
    phone.send(kind="follow", id="2", topics=["agents"])
    await at.pass_time(1)
    await _answer_held(at)
    listens = at.upstream.user_links[user(1)].queries.values()
    assert not any(queues(listen) for listen in listens)
    assert "queue:5" not in phone.shown


async def test_a_query_whose_answer_cannot_be_read_is_stopped_when_its_readings_come(at: Scene) -> None:
    phone = await at.served(topics=["agents"])
    link, unread, queues = at.link(), list[object](), _of(Source.REALTIME, Kind.QUEUE)
    serve = link._serve

    def answer(request: LinkRequest) -> LinkAnswer:
        answer = serve(request)
        if queues(request) and not unread:
            unread.append(answer)
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "unreadable")
        return answer

    link._serve = answer
    phone.send(kind="follow", id="1", topics=["agents", "queues"])
    await at.pass_time(REFUSED_PAUSE_S + 2)
    assert (phone.waiting, phone.health) == (3, "live")
    listens = [listen for listen in at.upstream.user_links[user(1)].queries.values() if queues(listen)]
    assert len(listens) == 1
    (listening,) = unread
    assert isinstance(listening, Listening)
    assert at.asked(StopListening) == [StopListening(listening.query)]


async def test_while_a_query_is_replaced_no_change_is_missed(at: Scene) -> None:
    phone = await at.served(topics=["queues"])
    at.link().holds = _is_listen
    phone.send(kind="follow", id="1", topics=["queue:5"])
    await at.pass_time(1)
    at.upstream.set_waiting(9)
    await at.pass_time(1)
    assert phone.waiting == 9
    await _answer_held(at)
    assert len(at.asked(StopListening)) == 2
    at.upstream.set_waiting(8)
    await at.pass_time(1)
    assert phone.waiting == 8


async def test_data_of_a_query_that_is_being_stopped_is_not_shown_to_who_follows_again(at: Scene) -> None:
    phone = await at.served()
    at.link().holds = lambda request: isinstance(request, StopListening)
    phone.send(kind="follow", id="1", topics=["queues"])
    await at.pass_time(1)
    phone.send(kind="follow", id="2", topics=["agents", "queues"])
    await at.pass_time(1)
    assert "agent:7" not in phone.shown
    await _answer_held(at)
    assert phone.shown["agent:7"]["routing_state"] == "available"


async def test_a_late_directory_is_shown_and_asked_for_once(at: Scene) -> None:
    at.upstream.slow = lambda request: isinstance(request, QueryDirectory)
    phone = await at.served(settled_s=ROUND_S + 3)
    assert not phone.shown
    await _answer_held(at)
    assert (phone.health, phone.shown["agent:7"]["display_name"]) == ("live", "Bert")
    await at.pass_time(3 * REFUSED_PAUSE_S)
    assert len(at.asked(QueryDirectory)) == 1


async def test_a_directory_that_changed_while_it_was_asked_for_is_asked_for_again(at: Scene) -> None:
    at.upstream.slow = lambda request: isinstance(request, QueryDirectory)
    phone = await at.served(settled_s=ROUND_S + 1)
    at.upstream.set_catalogue()
    await at.pass_time(1)
    await _answer_held(at)
    assert (len(at.asked(QueryDirectory)), phone.health) == (2, "live")


# ---- what is never sent ----


async def test_realtime_data_that_is_not_reported_is_unknown_and_nothing_is_called_live(at: Scene) -> None:
    at.upstream.slow = _of(Source.REALTIME)
    phone = await at.served(settled_s=SERVED_S - 1)
    assert not phone.shown
    await at.pass_time(3)
    assert phone.of_kind("welcome")
    assert phone.shown["agent:7"]["routing_state"] == "unknown"
    assert phone.shown["queue:5"] == {"name": "Billing"}
    assert phone.health == "stale"
    await _answer_held(at)
    assert phone.shown["agent:7"]["routing_state"] == "available"
    assert (phone.waiting, phone.health) == (3, "live")
    at.link().holds = lambda _: False
    at.upstream.set_waiting(9)
    await at.pass_time(1)
    assert phone.waiting == 9


@pytest.mark.parametrize("source", [Source.CUMULATIVE, Source.CONFIGURATION])
async def test_a_first_reading_that_never_comes_is_done_without(at: Scene, source: Source) -> None:
    at.upstream.unsent = _of(source)
    phone = await at.served(settled_s=SERVED_S + 2)
    assert (phone.health, phone.waiting) == ("live", 3)
    again = await at.again(phone)
    assert again.of_kind("welcome"), "the next phone does not wait"
    assert at.queries == LINE


async def test_what_phones_show_is_kept_longer_when_a_new_link_is_slow(at: Scene) -> None:
    phone = await at.served()
    at.upstream.unsent = _of(Source.REALTIME)
    at.upstream.drop(user(1))
    await at.pass_time(KEPT_S - 5)
    assert (phone.health, phone.waiting) == ("stale", 3)
    await at.pass_time(10)
    assert (phone.health, phone.shown["queue:5"]) == ("stale", {"name": "Billing"})


async def _fall_silent(at: Scene) -> None:
    """Let the link be silent until all queries are asked again, and let time for that pass."""
    at.link().mute()
    await at.pass_time(KEEP_ALIVE_S + 3)
    at.link().unmute()
    await at.pass_time(SERVED_S + 3)


async def test_old_data_is_kept_and_shown_as_old_until_the_new_request_is_answered(at: Scene) -> None:
    phone = await at.served()
    at.upstream.unsent = _of(Source.REALTIME)
    await _fall_silent(at)
    assert (phone.health, phone.waiting) == ("stale", 3)
    assert phone.shown["agent:8"]["routing_state"] == "logged_off"
    at.upstream.unsent = lambda _: False
    _asking(at).listen_again()
    await at.pass_time(1)
    assert (phone.health, at.queries) == ("live", LINE)


@pytest.mark.parametrize("source", [Source.REALTIME, Source.CUMULATIVE])
async def test_what_is_not_followed_any_more_is_not_waited_for(at: Scene, source: Source) -> None:
    at.upstream.unsent = _of(source, Kind.QUEUE)
    phone = await at.served(settled_s=2)
    at.owner().follow(phone.ticket.handle, ("agents",))
    await at.pass_time(1)
    at.upstream.unsent = lambda _: False
    await at.pass_time(SERVED_S)
    assert phone.shown
    assert at.owner().mirror.live
    assert _asking(at).settled


async def test_what_is_late_is_done_without_also_after_a_doubt(at: Scene) -> None:
    at.upstream.slow = _of(Source.CUMULATIVE, Kind.QUEUE)
    phone = await at.served(settled_s=SERVED_S + 3)
    at.owner()._machine.changes_missed()
    at.owner().sessions_changed()
    await at.pass_time(1)
    await at.pass_time(SERVED_S + 2)
    assert phone.health == "live"


async def test_what_is_remembered_of_queries_that_were_stopped_is_bounded(at: Scene) -> None:
    await at.served()
    at.upstream.unsent = _of(Source.REALTIME)
    for _ in range(STOPPED_MOST // 4):
        await _fall_silent(at)
    assert at.queries == LINE
    assert len(_asking(at)._queries._stopped) <= STOPPED_MOST


async def test_a_first_reading_may_come_before_it_is_said_which_query_it_is(at: Scene) -> None:
    at.upstream.sends_first = True
    phone = await at.served()
    assert phone.of_kind("welcome")
    await at.pass_time(1)
    assert (phone.health, phone.waiting) == ("live", 3)


# ---- functions ----


async def test_what_is_refused_though_no_function_is_reported_down_is_asked_for_again(at: Scene) -> None:
    at.upstream.refusals[Listen] = DOWN
    phone = await at.served()
    assert phone.shown["agent:7"]["routing_state"] == "unknown"
    at.upstream.refusals.clear()
    await at.pass_time(REFUSED_PAUSE_S + 1)
    assert phone.shown["agent:7"]["routing_state"] == "available"


async def test_what_a_function_refuses_that_is_down_is_asked_for_when_it_is_up_again(at: Scene) -> None:
    at.upstream.functions["historical"] = FunctionState.DOWN
    refused = _of(Source.CUMULATIVE)
    at.upstream.refused = lambda request: DOWN if refused(request) else None
    phone = await at.served()
    asked = len(at.asked(Listen))
    await at.pass_time(3 * REFUSED_PAUSE_S)
    assert (len(at.asked(Listen)), phone.health) == (asked, "live")
    at.upstream.refused = lambda _: None
    at.upstream.set_function("historical", FunctionState.UP)
    await at.pass_time(1)
    assert len(at.asked(Listen)) == asked + 2
    assert at.queries == LINE


# ---- requests on a link ----


WIDE = Scope(agents=frozenset({7, 8}), queues=frozenset({5}))
BUSY = GatewayError(ErrorCode.BUSY, "busy")
REALTIME_DOWN = GatewayError(ErrorCode.FUNCTION_UNAVAILABLE, "down", function="realtime")
ASSISTANT = Application.REMOTE_ASSISTANT


def _listens(at: Scene, key: int = 1) -> set[Listen]:
    return set(at.upstream.user_links[user(key)].queries.values())


def _resources(phone: FakePhone) -> set[str]:
    return {key for key in phone.shown if key.split(":")[0] in set(Kind)}


async def test_what_is_followed_is_listened_to_and_nothing_else(at: Scene) -> None:
    phone = await at.served(topics=["queues"])
    assert {listen.kind for listen in _listens(at)} == {None, Kind.QUEUE}
    phone.send(kind="follow", id="1", topics=["agent:7"])
    await at.pass_time(1)
    assert {(listen.kind, listen.numbers) for listen in _listens(at)} == {
        (None, None),
        (Kind.AGENT, frozenset({7})),
    }
    assert _resources(phone) == {"agent:7"}


async def test_the_directory_is_listened_to_before_anything_is_asked(at: Scene) -> None:
    await at.served()
    asked = [request for _, request in at.upstream.requests]
    assert asked[0] == DIRECTORY
    assert isinstance(asked[1], AttachSession)
    assert isinstance(asked[2], QueryDirectory)


async def test_a_scope_that_moved_before_the_directory_was_listened_to_is_noticed(at: Scene) -> None:
    phone = await at.phone("anna")
    at.upstream.refusals[Listen] = BUSY
    await phone.connect()
    at.upstream.set_scope(user(1), Application.DASHBOARD, Scope(queues=frozenset({5})), frozenset())
    assert phone.of_kind("welcome")[0]["rights"] != []
    del at.upstream.refusals[Listen]
    await at.pass_time(REFUSED_PAUSE_S + 2)
    assert _resources(phone) == {"queue:5"}
    assert phone.shown["me"]["rights"] == []


@pytest.mark.parametrize("code", [ErrorCode.SESSION_ENDED, ErrorCode.FORBIDDEN])
async def test_a_session_that_is_refused_is_reported_while_others_live(at: Scene, code: ErrorCode) -> None:
    first, second = await at.served(), await at.phone("anna", device="d2")
    at.upstream.refusals[AttachSession] = GatewayError(code, "no")
    await second.connect()
    assert second.code == CloseCode.SESSION_ENDED
    assert (first.closed, first.health) == (None, "live")


async def test_what_was_refused_for_no_lasting_reason_is_asked_again(at: Scene) -> None:
    first, second = await at.served(), await at.phone("anna", device="d2")
    for kind in (AttachSession, Presence):
        at.upstream.refusals[kind] = BUSY
    await second.connect()
    assert not second.of_kind("welcome")
    at.upstream.refusals.clear()
    await at.pass_time(REFUSED_PAUSE_S + 1)
    assert second.of_kind("welcome")
    assert all(session.present for session in at.upstream.live.values())
    assert first.closed is None


async def test_nothing_is_shown_before_the_directory_is_known(at: Scene) -> None:
    phone = await at.served()
    at.upstream.refusals[QueryDirectory] = BUSY
    at.upstream.drop(user(1))
    await at.pass_time(2)
    assert phone.health == "stale"
    assert _resources(phone) == {"agent:7", "agent:8", "queue:5"}, "what is there is kept"
    at.upstream.refusals.clear()
    await at.pass_time(REFUSED_PAUSE_S + 1)
    assert phone.health == "live"


async def test_without_a_function_resources_are_shown_without_its_data_until_it_is_up(at: Scene) -> None:
    phone = await at.phone("anna")
    at.upstream.functions["realtime"] = FunctionState.DOWN
    at.upstream.refusals[Listen] = REALTIME_DOWN
    await phone.connect()
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
    assert phone.waiting == 3


async def test_nothing_flickers_when_a_wider_query_takes_the_place_of_a_narrow_one(at: Scene) -> None:
    phone = await at.served(topics=["queue:5"])
    received = len(phone.of_kind("changes"))
    phone.send(kind="follow", id="1", topics=["queues"])
    await at.pass_time(1)
    assert not any("queue:5" in frame.get("gone", []) for frame in phone.of_kind("changes")[received:])
    assert len(at.asked(StopListening)) == 2


async def test_presence_is_who_is_there(at: Scene) -> None:
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


async def test_a_session_let_go_is_detached_and_what_only_it_saw_is_forgotten(at: Scene) -> None:
    own = await at.served("bert", ASSISTANT, number="1234")
    at.upstream.people[user(7)].scopes[Application.DASHBOARD] = WIDE
    wide = await at.served("bert", device="d2")
    ledger = at.owner(7).feed.ledger
    assert ledger.get("agent:8") is not None
    at.owner(7).drop_session(wide.ticket.handle)
    await at.clock.settle()
    assert len(at.asked(DetachSession)) == 1
    assert {key for key, _ in ledger.items() if key.startswith(("agent", "queue"))} == {"agent:7"}
    assert at.owner(7).mirror.assembly.addresses() == {(Kind.AGENT, 7)}
    assert own.closed is None


async def test_a_session_that_left_while_it_was_attached_is_taken_off_again(at: Scene) -> None:
    await at.served()
    second = await at.phone("anna", device="d2")
    link = at.link()
    link.mute()
    await second.connect()
    at.owner().drop_session(second.ticket.handle)
    link.unmute()
    await at.clock.settle()
    assert len(at.upstream.user_links[user(1)].sessions) == 1


async def test_catalogues_and_rights_that_change_are_reported_at_once(at: Scene) -> None:
    phone = await at.served()
    at.upstream.set_catalogue(skills=(Skill("3", "French", 1, 100, None, None),))
    await at.pass_time(1)
    assert [skill["name"] for skill in phone.shown["catalogue:skills"]["skills"]] == ["French"]
    rights = frozenset({Right.SKILLS_WRITE})
    at.upstream.set_scope(user(1), Application.DASHBOARD, WIDE, rights)
    await at.pass_time(1)
    assert phone.shown["me"]["rights"] == ["skills_write"]
    assert phone.facts[-1].rights == (Right.SKILLS_WRITE,)


async def test_a_hello_for_more_topics_waits_until_they_were_read(at: Scene) -> None:
    phone = await at.served(topics=["agents"])
    phone.leave()
    await at.clock.settle()
    at.upstream.set_waiting(8)
    again = await at.again(phone, topics=["queues"])
    assert [frame["kind"] for frame in again.frames][:2] == ["welcome", "changes"]
    assert again.of_kind("changes")[0]["put"]["queue:5"]["contacts_waiting"] == 8


async def test_a_phone_that_comes_back_is_present_also_when_its_leaving_may_have_been_lost(at: Scene) -> None:
    phone = await at.served()
    link = at.link()
    link.mute()
    phone.leave()
    await at.pass_time(REFUSED_PAUSE_S + 0.5)
    assert [session.present for session in at.upstream.live.values()] == [False]
    again = await at.again(phone)
    link.unmute()
    await at.pass_time(REFUSED_PAUSE_S + 1)
    assert again.closed is None
    assert [session.present for session in at.upstream.live.values()] == [True]


async def test_the_directory_is_asked_once_for_what_came_into_scope_unreported(at: Scene) -> None:
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


async def test_the_directory_is_not_asked_for_what_was_reported(at: Scene) -> None:
    await at.served()
    at.upstream.put(Part(Kind.QUEUE, 6, Source.DIRECTORY, Queue(name="Told")))
    asked = len(at.asked(QueryDirectory))
    wider = Scope(agents=frozenset({7, 8}), queues=frozenset({5, 6}))
    at.upstream.set_scope(user(1), Application.DASHBOARD, wider)
    await at.pass_time(10)
    assert len(at.asked(QueryDirectory)) == asked


# ---- requests without an answer yet ----


ASKED = QueryDirectory()


class WaitingLink:
    """A link on which queries wait until they are answered, and its users."""

    def __init__(self, clock: ManualClock, tasks: asyncio.TaskGroup) -> None:
        self.clock = clock
        self.tasks = tasks
        self.asked: list[asyncio.Future[LinkAnswer]] = []
        self.taken: list[LinkAnswer | GatewayError] = []
        self.late = self.withdrawn = 0
        self.answers: list[OnAnswer] = []
        self.has_room = False
        """Whether a request can be sent without a task."""
        self.questions = RequestsUnderWay(cast("Link", self), clock, tasks, cast("LinkSubscriptions", self))

    def send(self, request: LinkRequest, answered: OnAnswer) -> Callable[[], object] | None:
        if not self.has_room:
            return None
        self.answers.append(answered)
        return self._withdraw

    def _withdraw(self) -> None:
        self.withdrawn += 1

    async def request(self, request: LinkRequest) -> LinkAnswer:
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]

    def ask(self, key: object) -> asyncio.Task[None]:
        return self.tasks.create_task(self.answer_to(key))

    async def answer_to(self, key: object) -> None:
        await self.questions.wait(self.questions.begin(key, ASKED, self.taken.append))

    def need(self) -> None:
        self.late += 1


@asynccontextmanager
async def waiting_link() -> AsyncIterator[WaitingLink]:
    async with asyncio.TaskGroup() as tasks:
        made = WaitingLink(ManualClock(), tasks)
        yield made
        for each in made.asked:
            if not each.done():
                each.set_result(None)


PLACES = {"WaitingLink": waiting_link}


async def test_the_same_is_not_asked_twice_at_a_time(at: WaitingLink) -> None:
    at.ask("a")
    await at.clock.settle()
    again = at.ask("a")
    await at.clock.settle()
    assert (again.done(), len(at.asked)) == (True, 1)


async def test_questions_under_way_are_bounded(at: WaitingLink) -> None:
    for number in range(MOST + 1):
        at.ask(number)
    await at.clock.settle()
    assert len(at.asked) == len(at.questions) == MOST
    codes: list[Any] = [each.code for each in at.taken if isinstance(each, GatewayError)]
    assert codes == [ErrorCode.UPSTREAM_UNAVAILABLE]


async def test_an_answer_is_taken_in_the_call_that_reads_it(at: WaitingLink) -> None:
    at.has_room = True
    asking = at.ask("a")
    await at.clock.settle()
    at.answers[0](None)
    assert (at.taken, len(at.questions), at.asked) == ([None], 0, [])
    await asking
    assert at.late == 0


async def test_an_answer_that_takes_a_minute_is_no_longer_waited_for(at: WaitingLink) -> None:
    at.has_room = True
    at.ask("a")
    await at.clock.settle()
    for seconds, taken in ((DATA_ANSWER_S - 1, 0), (2, 1)):
        await at.clock.advance(seconds)
        at.questions.tick(at.clock.now())
        assert (len(at.taken), at.withdrawn, at.late) == (taken, taken, taken)
    at.ask("a")
    await at.clock.settle()
    at.answers[1](None)
    assert len(at.taken) == 2


async def test_the_end_of_the_link_is_no_answer(at: WaitingLink) -> None:
    at.has_room = True
    at.ask("a")
    await at.clock.settle()
    at.answers[0](LinkClosed("lost"))
    assert (at.taken, len(at.questions)) == ([], 0)
    await at.clock.advance(ROUND_S)


async def test_when_the_link_is_gone_nothing_is_asked() -> None:
    clock, groups = ManualClock(), []
    async with asyncio.TaskGroup() as tasks:
        groups.append(tasks)
    at = WaitingLink(clock, groups[0])
    await at.answer_to("a")
    assert (at.taken, at.asked) == ([], [])
