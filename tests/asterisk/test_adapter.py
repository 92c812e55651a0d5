"""What phones see of an Asterisk and what their commands do there, on real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_bytes

import pytest

from gateway.domain.commands import (
    AttachSession,
    ChangeRemoteNumber,
    Command,
    Executed,
    Presence,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetRoutingState,
    SetSkills,
    SkillChange,
)
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, SessionSecret
from gateway.domain.resources import Agent, FunctionState, PostProcessing, Queue, RoutingState
from gateway.domain.upstream import (
    Attached,
    FunctionChanged,
    ObjectChanged,
    Reading,
    SessionEnded,
    Source,
    trouble_of,
)
from gateway.simulator.ami_session import RIGHTS as ACTIONS
from gateway.upstream.asterisk import AsteriskServer
from gateway.upstream.asterisk.people import PeopleFile, Rules, number_of, read_people
from gateway.upstream.asterisk.state import UNLISTED_MOST
from tests.asterisk.site import NUMBER, PASSWORD, Ear, Place, place
from tests.contracts.upstream_sites import hearing
from tests.doubles.clock import ManualClock
from tests.doubles.refusals import refused_with

pytestmark = pytest.mark.timeout(60)

REMOTE = "Local/ana@oscc-remote/n"
DESK = "Local/2005@desk/n"
ANA, CEM = number_of("person", "ana"), number_of("person", "cem")
SALES = number_of("queue", "sales")
LUNCH, PAPERWORK = (str(number_of("reason", text)) for text in ("Lunch", "Paperwork"))


def queue(ear: Ear, number: int = SALES) -> Queue:
    value = ear.shown(Kind.QUEUE, Source.REALTIME)[number].value
    assert isinstance(value, Queue)
    return value


async def test_a_supervisor_sees_queues_and_agents(ear: Ear) -> None:
    cem = ear.shown_agent(CEM)
    assert (cem.routing_state, cem.handling) == (RoutingState.AVAILABLE, ())
    assert (queue(ear).contacts_waiting, queue(ear).agents_available) == (0, 1)
    assert queue(ear).service_level_pct is None
    assert queue(ear).estimated_wait_s is None


async def test_a_supervisor_of_one_queue_sees_no_other(at: Place) -> None:
    at.fake.add_static("support", "Local/2009@desk/n", "Somebody")
    async with at.linked(await at.log_on("cem", Application.DASHBOARD)) as ear:
        assert set(ear.shown(Kind.QUEUE, Source.REALTIME)) == {SALES}
        assert set(ear.shown(Kind.AGENT, Source.REALTIME)) == {CEM}


async def test_a_call_is_shown_from_ringing_to_its_end_and_nothing_of_the_caller(at: Place, ear: Ear) -> None:
    def phases() -> list[str]:
        shown = ear.agent(CEM)
        return [] if shown is None else [one.state for one in shown.handling]

    caller = at.fake.join("sales", "+49891234567")
    await ear.until(lambda: queue(ear).contacts_waiting == 1)
    assert queue(ear).oldest_since_ms is not None
    at.fake.ring("sales", caller, DESK)
    await ear.until(lambda: phases() == ["ringing"])
    at.fake.answer("sales", caller, DESK)
    await ear.until(lambda: phases() == ["talking"] and queue(ear).contacts_waiting == 0)
    at.fake.forgets_caller = True
    at.fake.complete("sales", caller, DESK)
    await ear.until(lambda: phases() == [])
    assert "89123" not in repr(ear.received.events)
    assert "Dear Caller" not in repr(ear.received.events)


async def test_wrap_up_ends_by_time_alone() -> None:
    clock, never = ManualClock(), 1e6
    rules = Rules(wrap_up_s={"sales": 10})
    async with (
        place(clock=clock, rules=rules, look_s=never, figures_s=never) as at,
        at.linked(await at.boss()) as ear,
    ):

        def shown() -> tuple[PostProcessing | None, int | None, int | None]:
            cem, sales = ear.agent(CEM), queue(ear)
            assert cem is not None
            assert cem.routing_state is RoutingState.AVAILABLE
            states = [one.state for one in cem.handling]
            assert states == ([] if cem.post_processing is None else ["post_processing"])
            return cem.post_processing, sales.agents_post_processing, sales.agents_available

        caller = at.fake.join("sales")
        at.fake.ring("sales", caller, DESK)
        at.fake.answer("sales", caller, DESK)
        ended_ms = clock.wall_ms()
        at.fake.complete("sales", caller, DESK)
        await clock.advance(1)
        asked = len(at.fake.received)
        assert shown() == (PostProcessing(ended_ms, ended_ms + 10_000, extendable=False), 1, 0)
        await clock.advance(8.9)
        assert shown()[1:] == (1, 0)
        await clock.advance(0.3)
        assert shown() == (None, 0, 1)
        assert len(at.fake.received) == asked, "nothing was asked meanwhile"


@pytest.mark.parametrize("by_ms", [3_600_000, -3_600_000])
async def test_a_machine_whose_clock_is_set_dates_nothing_otherwise(by_ms: int) -> None:
    clock, never = ManualClock(), 1e6
    async with (
        place(clock=clock, look_s=never, figures_s=never) as at,
        at.linked(await at.boss()) as ear,
    ):
        began_ms = clock.wall_ms()
        clock.jump_wall(by_ms)
        caller = at.fake.join("sales")
        at.fake.ring("sales", caller, DESK)
        await clock.advance(2)
        at.fake.answer("sales", caller, DESK)
        await clock.advance(1)
        cem = ear.shown_agent(CEM)
        (contact,) = cem.handling
        assert contact.state == "talking"
        assert began_ms <= (contact.since_ms or 0) <= clock.wall_ms() - by_ms
        times_ms = [event.time_ms for event in ear.received.events if isinstance(event, Reading)]
        assert times_ms == sorted(times_ms), "an earlier one would be ignored"
        assert times_ms[-1] <= clock.wall_ms() - by_ms
        refused = await ear.command(SetAgentRoutingState(str(CEM), "available"), expires_in_ms=10_000 - by_ms)
        assert refused == Executed("unchanged"), "a deadline is one of that clock, too"


async def test_an_agent_begins_paused_and_becomes_available(at: Place) -> None:
    async with at.linked(await at.assistant()) as ear:
        await ear.until(lambda: ear.agent(ANA))
        first = ear.shown_agent(ANA)
        assert (first.routing_state, first.logged_on_remotely) == (RoutingState.UNAVAILABLE, True)
        assert ear.shown(Kind.AGENT, Source.REALTIME)[ANA].remote_number == NUMBER
        assert await ear.command(SetRoutingState("available")) == Executed("applied")
        assert ear.shown_agent(ANA).routing_state is RoutingState.AVAILABLE
        assert not at.fake.queues["sales"].members[REMOTE].paused


async def test_the_number_is_shown_to_nobody_else(at: Place) -> None:
    await at.assistant()
    async with at.linked(await at.boss()) as ear:
        await ear.until(lambda: ear.agent(ANA))
        assert NUMBER not in repr(ear.received.events)
        assert ear.shown(Kind.AGENT, Source.REALTIME)[ANA].remote_number is None


async def test_a_supervisor_pauses_with_a_reason_and_state_comes_before_the_answer(ear: Ear) -> None:
    before = len(ear.received.events)
    answer = await ear.command(SetAgentRoutingState(str(CEM), "unavailable", LUNCH))
    assert answer == Executed("applied")
    assert len(ear.received.events) > before
    paused = ear.shown_agent(CEM)
    assert (paused.routing_state, paused.reason_id) == (RoutingState.UNAVAILABLE, LUNCH)
    assert await ear.command(SetAgentRoutingState(str(CEM), "unavailable", LUNCH)) == Executed("unchanged")
    await ear.command(SetAgentRoutingState(str(CEM), "work", PAPERWORK))
    assert ear.shown_agent(CEM).routing_state is RoutingState.WORK
    assert queue(ear).agents_work == 1


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (SetAgentRoutingState(str(CEM), "unavailable", PAPERWORK), ErrorCode.REASON_WRONG_KIND),
        (SetAgentRoutingState(str(CEM), "unavailable", "1"), ErrorCode.REASON_UNKNOWN),
        (SetAgentRoutingState(str(CEM), "work"), ErrorCode.REASON_REQUIRED),
        (SetAgentRoutingState("1", "available"), ErrorCode.NOT_FOUND),
        (SetAgentRoutingState(str(ANA), "available"), ErrorCode.CANNOT_LOG_ON_FOR_ANOTHER),
        (SetAgentRoutingState(str(CEM), "logged_off"), ErrorCode.UPSTREAM_REJECTED),
        (SetSkills(str(CEM), (), "patch", 1), ErrorCode.VERSION_CONFLICT),
        (SetRoutingState("available"), ErrorCode.FORBIDDEN),
        (ChangeRemoteNumber(NUMBER), ErrorCode.FORBIDDEN),
        (SetAutoPostProcessing(True, 10), ErrorCode.FORBIDDEN),
    ],
)
async def test_what_cannot_be_done_is_refused_with_its_code(
    at: Place, ear: Ear, command: Command, code: ErrorCode
) -> None:
    sent = len(at.fake.received)
    with refused_with(code):
        await ear.command(command)
    done = {one["Action"] for one in at.fake.received[sent:]}
    assert done.isdisjoint({"QueuePause", "QueueAdd", "QueueRemove", "QueuePenalty", "DBPut"})


async def test_skills_are_penalties(at: Place, ear: Ear) -> None:
    part = ear.shown(Kind.AGENT, Source.CONFIGURATION)[CEM]
    assert isinstance(part.value, Agent)
    assert [(skill.skill_id, skill.level) for skill in part.value.skills] == [(str(SALES), 9)]
    version = part.value.version or 0
    support = str(number_of("queue", "support"))
    changes = (SkillChange(str(SALES), 4), SkillChange(support, 10))
    answer = await ear.command(SetSkills(str(CEM), changes, "patch", version))
    assert isinstance(answer, Executed)
    assert answer.state == "applied"
    assert at.fake.queues["sales"].members[DESK].penalty == 6
    assert at.fake.queues["support"].members[DESK].penalty == 0
    shown = ear.shown(Kind.AGENT, Source.CONFIGURATION)[CEM].value
    assert isinstance(shown, Agent)
    assert shown.version == answer.version != version


async def test_another_number_is_where_the_next_call_rings(at: Place) -> None:
    async with at.linked(await at.assistant()) as ear:
        assert at.fake.rings_at("ana") == NUMBER
        ana = ear.shown_agent(ANA)
        assert ana.allowed_actions is not None
        assert "change_remote_number" in ana.allowed_actions, "clients do not offer it otherwise"
        assert await ear.command(ChangeRemoteNumber("+498912345678")) == Executed("applied")
        assert at.fake.rings_at("ana") == "+498912345678"
        assert ear.shown(Kind.AGENT, Source.REALTIME)[ANA].remote_number == "+498912345678"


async def test_another_wrap_up_time_is_leaving_and_joining() -> None:
    async with place(rules=Rules(rejoins=True)) as at, at.linked(await at.assistant()) as ear:
        assert await ear.command(SetAutoPostProcessing(True, 25)) == Executed("applied")
        member = at.fake.queues["sales"].members[REMOTE]
        assert (member.wrap_up, member.paused) == (25, True)
        assert await ear.command(SetAutoPostProcessing(True, 25)) == Executed("unchanged")


async def test_a_log_off_leaves_nothing(at: Place) -> None:
    session = await at.assistant()
    async with at.linked(session) as ear:
        off = await at.server.log_off(session.secret)
        assert off.routing == "removed"
        ended = await ear.received.first(SessionEnded)
        assert ended.reason is EndReason.LOGGED_OFF
    assert REMOTE not in at.fake.queues["sales"].members
    assert [family for family, held in at.fake.db.items() if held] == []


async def test_a_supervisor_logs_a_remote_agent_off(at: Place) -> None:
    session = await at.assistant()
    async with at.linked(session) as remote, at.linked(await at.boss()) as ear:
        await ear.until(lambda: ear.agent(ANA))
        assert await ear.command(SetAgentRoutingState(str(ANA), "logged_off")) == Executed("applied")
        ended = await remote.received.first(SessionEnded)
        assert (ended.reason, ended.by) == (EndReason.LOGGED_OFF_BY_SUPERVISOR, "Bea Boss")
        assert ear.agent(ANA) is None
        day = ear.shown(Kind.AGENT, Source.CUMULATIVE)[ANA].value
        assert isinstance(day, Agent)
        assert (day.handled_today, day.day_start_ms) == (None, None)  # as a link that is opened now is shown
    assert at.fake.rings_at("ana") is None


async def test_a_slow_answer_moves_no_instant(at: Place) -> None:
    monitor = at.server.monitor
    at.fake.freeze()
    monitor.wants_reading = True
    await at.clock.sleep(1.2)
    at.fake.thaw()
    while monitor.wants_reading or monitor.under_way:
        await at.clock.sleep(0.02)
    assert monitor.view.offset_ms == 0


async def test_a_secret_stands_nowhere_in_asterisk_and_sessions_outlive_the_gateway(at: Place) -> None:
    session = await at.assistant()
    other = type(at.server)("main", at.server.settings, at.clock, jitter=lambda: 0.0, draw=bytes)
    async with other:
        assert await other.reached()
        (listed,) = await other.sessions(session.secret)
        assert listed.session == session.session
    assert session.secret not in repr(at.fake.db)
    assert PASSWORD not in repr(at.fake.received)


def states(ear: Ear) -> list[FunctionState]:
    """Return how the realtime function was said to be, one after the other."""
    changes = (one for one in ear.received.events if isinstance(one, FunctionChanged))
    return [one.state for one in changes if one.function == "realtime"]


async def test_an_asterisk_that_restarts_is_shown_as_away_and_read_again(at: Place, ear: Ear) -> None:
    await at.fake.stop(kill=True)
    await ear.until(lambda: states(ear)[-1] is FunctionState.DOWN)
    with refused_with(ErrorCode.UPSTREAM_UNAVAILABLE):
        await ear.command(SetAgentRoutingState(str(CEM), "unavailable", LUNCH))
    at.fake.add_static("sales", "Local/2006@desk/n", "Dan Desk")
    await at.fake.start()
    await ear.until(lambda: states(ear)[-1] is FunctionState.UP)
    dan = number_of("interface", "Local/2006@desk/n")
    await ear.until(lambda: ear.agent(dan))
    assert ear.link.is_open


async def test_a_call_that_ended_while_asterisk_was_away_is_gone_at_once(at: Place, ear: Ear) -> None:
    caller = at.fake.join("sales")
    at.fake.ring("sales", caller, DESK)
    at.fake.answer("sales", caller, DESK)
    await ear.until(lambda: [one.state for one in ear.shown_agent(CEM).handling] == ["talking"])
    await at.fake.stop(kill=True)
    await ear.until(lambda: states(ear)[-1] is FunctionState.DOWN)
    at.fake.complete("sales", caller, DESK)
    await at.fake.start()
    async with asyncio.timeout(5):  # a reading that does not show the call ends it much later
        await ear.until(lambda: not ear.shown_agent(CEM).handling)


async def test_an_asterisk_that_unloads_its_queues_is_shown_as_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async with place(figures_s=0.1) as at, at.linked(await at.boss()) as ear:
        await ear.until(lambda: ear.agent(CEM))
        with monkeypatch.context() as without:
            without.delitem(ACTIONS, "QueueStatus")
            await ear.until(lambda: states(ear)[-1] is FunctionState.DOWN)
            while at.server.monitor.last_failure != "rights":
                await at.clock.sleep(0.02)
        await ear.until(lambda: states(ear)[-1] is FunctionState.UP)
        assert ear.link.is_open


async def test_an_asterisk_that_falls_silent_is_shown_as_away_since_its_last_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.upstream.asterisk.ami.AMI_ANSWER_S", 0.3)
    async with place(figures_s=0.1) as at:
        session = await at.boss()
        link = await at.server.open(session.user.id, session.secret, token=1, holder="a")

        async def receive(state: FunctionState) -> None:
            while not (isinstance(event := await link.receive(), FunctionChanged) and event.state is state):
                pass

        at.fake.freeze()
        await receive(FunctionState.DOWN)
        assert at.clock.now() - link.last_received_at > 0.1, "the data was last known to be right then"
        at.fake.thaw()
        await receive(FunctionState.UP)
        await link.close()


async def test_what_was_sent_and_not_answered_is_unknown(at: Place, ear: Ear) -> None:
    at.fake.freeze()
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_code(ear, SetAgentRoutingState(str(CEM), "unavailable", LUNCH)))
        await asyncio.sleep(0)
        at.fake.cut()
    assert asked.result() is ErrorCode.UPSTREAM_TIMEOUT
    at.fake.thaw()


async def _code(ear: Ear, command: SetAgentRoutingState) -> ErrorCode | None:
    try:
        await ear.command(command)
    except GatewayError as error:
        return error.code
    return None


async def test_a_silent_reload_is_seen_at_the_next_whole_reading(at: Place, ear: Ear) -> None:
    at.fake.add_static("support", "Local/2007@desk/n", "Gil Desk")
    at.fake.remove_static("sales", DESK)
    at.fake.reload_at_console()
    gil = number_of("interface", "Local/2007@desk/n")
    await ear.until(lambda: ear.agent(gil) and not ear.agent(CEM))
    gained = [one.number for one in ear.received.events if isinstance(one, ObjectChanged) and one.part]
    assert gil in gained


async def test_readings_that_find_too_many_actions_under_way_wait_and_the_connection_stays() -> None:
    async with place(figures_s=0.1, look_s=0.3) as at:
        monitor = at.server.monitor
        refused: list[ErrorCode] = []

        async def ask() -> None:
            try:
                await monitor.action("Ping")
            except GatewayError as error:
                refused.append(error.code)

        at.fake.freeze()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(300):
                tasks.create_task(ask())
            await at.clock.sleep(1)
            at.fake.thaw()
        assert set(refused) == {ErrorCode.BUSY}
        assert 44 <= len(refused) < 50
        at.fake.add_queue("vip")
        while "vip" not in monitor.queues.queues:
            await at.clock.sleep(0.02)
        assert (monitor.connections, monitor.is_up) == (1, True)


async def test_a_queue_that_figures_show_first_has_its_members_at_once() -> None:
    async with place(figures_s=0.2) as at, at.linked(await at.boss()) as ear:
        at.fake.add_queue("vip")
        at.fake.add_static("vip", "Local/2007@desk/n", "Gil Desk")
        await ear.until(lambda: ear.agent(number_of("interface", "Local/2007@desk/n")))


async def test_events_of_queues_that_are_never_listed_cause_one_reading_each_until_the_next_regular_one() -> (
    None
):
    clock = ManualClock()
    async with place(clock=clock, look_s=60, figures_s=1e6) as at:
        queues = at.server.monitor.queues

        def readings() -> int:
            return sum(one["Action"] == "QueueStatus" for one in at.fake.received)

        async def events(*names: str, seconds: int) -> int:
            before = readings()
            for _ in range(2 * seconds):
                for session in at.fake.sessions:
                    for name in names:
                        session.event("QueueCallerAbandon", [("Queue", name), ("Uniqueid", "1")])
                await clock.advance(0.5)
            return readings() - before

        assert await events("hidden", "masked", seconds=40) <= 2
        assert await events("hidden", "masked", seconds=60) <= 3, "the regular one, and one for each again"
        assert await events(*(f"made-{number}" for number in range(500)), seconds=30) <= UNLISTED_MOST
        assert len(queues.unlisted) <= UNLISTED_MOST
        at.fake.add_queue("vip")
        await clock.advance(61)
        assert "vip" in queues.queues
        at.fake.remove_queue("vip")
        await clock.advance(61)
        at.fake.add_queue("vip")
        await events("vip", seconds=1)
        assert "vip" in queues.queues, "a listed queue that comes back is read at its first event"


async def test_a_phone_that_is_gone_too_long_is_logged_off() -> None:
    async with place(idle_s=1) as at, at.linked(await at.assistant()) as ear:
        await ear.link.request(Presence(ear.alias, present=True))
        await ear.link.request(Presence(ear.alias, present=False))
        ended = await ear.received.first(SessionEnded)
        assert ended.reason is EndReason.EXPIRED
        assert at.fake.rings_at("ana") is None
        assert REMOTE not in at.fake.queues["sales"].members


async def test_a_telephone_stops_ringing_when_no_node_moves_its_sign_of_life_on() -> None:
    clock = ManualClock()
    async with place(clock=clock) as at, at.linked(await at.assistant()):
        for _ in range(20):
            await clock.advance(10)
            ahead_s = int(at.fake.db["oscc-until"]["ana"]) - clock.wall_ms() // 1000
            assert 60 <= ahead_s <= 90
        moved = [one for one in at.fake.received if one.get("Family") == "oscc-until" and "Val" in one]
        assert len(moved) == 1 + 200 // 30, "at the log-on, then every 30 s"
        await at.server.close()
        assert at.fake.rings_at("ana") == NUMBER, "the node's end logs nobody off"
        await clock.advance(91)
        assert at.fake.rings_at("ana") is None


async def test_a_telephone_whose_session_was_deleted_by_hand_leaves_the_queues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.upstream.asterisk.accounts.MOVED_ON_S", 0.02)
    monkeypatch.setattr("gateway.upstream.asterisk.accounts.TEND_S", 0.01)
    async with place() as at:
        await at.assistant()
        at.fake.db.clear()
        while any(REMOTE in queue.members for queue in at.fake.queues.values()):
            await at.clock.sleep(0.01)


async def test_a_file_of_many_people_does_not_hold_the_loop(
    at: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def noted(path: Path, context: str) -> PeopleFile:
        threads.append(threading.current_thread())
        return read_people(path, context)

    monkeypatch.setattr("gateway.upstream.asterisk.monitor.read_people", noted)
    at.people.write_text(at.people.read_text("utf-8") + "\n", "utf-8")
    await at.server.monitor.reload_people()
    assert threading.main_thread() not in threads
    assert len(threads) == 1


async def test_why_an_asterisk_is_not_reached_is_distinguished(at: Place) -> None:
    await at.fake.stop()
    while at.server.monitor.last_failure != "refused":
        await at.clock.sleep(0.05)
    with pytest.raises(GatewayError) as refused:
        await at.boss()
    assert trouble_of(refused.value) == "refused"
    await at.fake.start()


# ---- Two nodes' adapters before one Asterisk: what each knows of what the other did ----


OTHER = "+498912345678"


@asynccontextmanager
async def two(*, idle_s: int = 900) -> AsyncIterator[tuple[Place, Place]]:
    """Yield two places with the same Asterisk: *here* and *there*."""
    async with place(is_alone=False, idle_s=idle_s) as here:
        made = type(here.server)(
            "main", here.server.settings, here.clock, jitter=lambda: 0.0, draw=token_bytes
        )
        async with made as server:
            assert await server.reached()
            yield here, Place(here.fake, server, here.clock, here.people)


async def test_a_number_that_was_changed_there_is_known_here_when_the_link_moves() -> None:
    async with two() as (here, there):
        session = await here.assistant()
        await there.server.accounts.read()
        async with here.linked(session) as ear:
            assert await ear.command(ChangeRemoteNumber(OTHER)) == Executed("applied")
        async with there.linked(session) as ear:
            assert ear.shown(Kind.AGENT, Source.REALTIME)[ANA].remote_number == OTHER
            # what was in effect before is another number now: it must be written again
            assert await ear.command(ChangeRemoteNumber(NUMBER)) == Executed("applied")
        assert here.fake.rings_at("ana") == NUMBER


async def test_an_agent_who_logs_on_there_is_shown_here_as_logged_on_remotely() -> None:
    async with two() as (here, there), here.linked(await here.boss()) as ear:
        await there.assistant()
        await ear.until(lambda: ear.agent(ANA))
        assert ear.shown_agent(ANA).logged_on_remotely


async def test_a_session_that_was_opened_there_joins_the_link_that_is_here() -> None:
    async with two() as (here, there):
        session = await here.assistant("one")
        async with here.linked(session) as ear:
            later = await there.assistant("one")
            joined = await ear.link.request(AttachSession(later.secret))
            assert isinstance(joined, Attached)
            assert joined.session == later.session


async def test_two_log_ons_of_one_remote_assistant_end_with_one() -> None:
    async with two() as (here, there):
        first = await here.assistant("one")
        line = here.fake.db["oscc-session"].copy()
        # the other node looked before the first was written: AstDB has no compare-and-set
        del here.fake.db["oscc-session"]
        second = await there.assistant("two")
        here.fake.db["oscc-session"] |= line
        async with here.linked(first) as ear:
            await here.server.accounts.read()
            ended = await ear.received.first(SessionEnded)
            assert ended.reason is EndReason.TAKEN_OVER
        await there.server.accounts.read()
        assert [one.session for one in await there.server.sessions(second.secret)] == [second.session]
        assert here.fake.rings_at("ana") == NUMBER
        assert REMOTE in here.fake.queues["sales"].members
        assert len(here.fake.db["oscc-session"]) == 1
        with refused_with(ErrorCode.SESSION_ENDED):
            await here.server.keep_alive(first.secret)


async def keep_alive_unknown(server: AsteriskServer, number: int) -> ErrorCode | None:
    try:
        await server.keep_alive(SessionSecret(f"unknown-{number}"))
    except GatewayError as error:
        return error.code
    return None


async def test_a_log_on_and_a_secret_that_is_not_known_read_no_list_of_sessions() -> None:
    async with two() as (here, there):
        session = await here.assistant()
        here.fake.received.clear()
        await there.boss()
        assert await keep_alive_unknown(there.server, 1) is ErrorCode.SESSION_ENDED
        assert await there.server.keep_alive(session.secret) > here.clock.wall_ms()
        assert readings(here) == 0
        assert sum(one["Action"] == "DBGet" for one in here.fake.received) <= 4


async def test_two_dashboards_of_one_device_end_with_one() -> None:
    async with two() as (here, there):
        first, first_by_ms = await here.boss(), here.clock.wall_ms()
        while here.clock.wall_ms() == first_by_ms:  # of two in one millisecond either may stay
            pass
        second = await there.boss()
        await here.server.accounts.read()
        assert [one.session for one in await here.server.sessions(second.secret)] == [second.session]
        with pytest.raises(GatewayError):
            await here.server.keep_alive(first.secret)


async def test_a_session_that_was_opened_while_others_are_looked_for_is_found() -> None:
    async with two() as (here, there), asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(keep_alive_unknown(there.server, number))
        session = await here.boss()
        assert await there.server.keep_alive(session.secret) > here.clock.wall_ms()


def readings(at: Place) -> int:
    """Return how often the sessions were read from AstDB."""
    return sum(
        one.get("Family") == "oscc-session" for one in at.fake.received if one["Action"] == "DBGetTree"
    )


async def test_only_the_node_with_the_link_counts_the_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.asterisk.accounts.TEND_S", 0.01)
    monkeypatch.setattr("gateway.upstream.asterisk.accounts.MOVED_ON_S", 0.02)
    async with two(idle_s=0) as (here, there):
        session = await here.assistant()
        await there.server.accounts.read()
        link = await there.server.open(session.user.id, session.secret, token=1, holder="a")
        async with hearing(link) as received:
            await received.first(SessionEnded)  # no device came; here nobody counted
        assert here.fake.rings_at("ana") is None
        again = await here.assistant()
        here.fake.received.clear()
        while readings(here) < 8:  # both nodes look again and again
            await here.clock.sleep(0.01)
        assert len(await there.server.sessions(again.secret)) == 1
        assert here.fake.rings_at("ana") == NUMBER
