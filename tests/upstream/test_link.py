"""A link keeps order, bounds and deadlines, whatever the server does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType

from gateway.app.adapters import Tracing, measured_sites
from gateway.app.metrics import SiteReach
from gateway.domain.commands import (
    Alive,
    AttachSession,
    DetachSession,
    Directory,
    Executed,
    KeepAlive,
    LinkRequest,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    StopListening,
)
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Kind, SessionSecret
from gateway.domain.upstream import (
    Attached,
    CatalogueChanged,
    LinkClosed,
    LinkReplaced,
    ObjectChanged,
    Reading,
    SessionEnded,
    Source,
)
from gateway.telemetry import Telemetry
from gateway.upstream.oscce.link import MOST_IN_FLIGHT, OsccLink
from gateway.upstream.oscce.socket import WAITING_CHARS_MAX, LinkSocket
from tests.doubles.tasks import beside, during
from tests.upstream.samples import LINK_OPENED, SESSION, TIME_MS, USER_REALTIME, event
from tests.upstream.scripted_server import Scene, code_seen, ended, execute, link_of, outcome, scene

AGENTS = Listen(Kind.AGENT, Source.REALTIME, None)


@pytest.fixture
async def at() -> AsyncIterator[Scene]:
    async with scene() as made:
        yield made


@pytest.fixture
async def link(at: Scene) -> OsccLink:
    return await at.open()


@asynccontextmanager
async def stays_open(at: Scene, link: OsccLink) -> AsyncIterator[asyncio.TaskGroup]:
    """Receive beside the block, through which the link stays open; yields a group for requests."""
    async with asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(ended(link))
        await at.clock.settle()
        yield tasks
        assert not receiving.done()
        await link.close()


# ---- opening ----


@pytest.mark.parametrize(
    "greeting",
    [
        event("UserRealtime", USER_REALTIME),
        json.dumps(LINK_OPENED | {"User": {"Key": 8}}).encode(),
        b'{"Type":"LinkOpened"}',
    ],
)
async def test_what_does_not_open_the_users_link_closes_it_and_is_received_by_nobody(
    at: Scene, greeting: bytes
) -> None:
    at.server.greeting = greeting
    arrived: list[object] = []
    assert await _end(await at.dial(), arrived) == "lost"
    assert arrived == []
    assert await code_seen(at) == 1002


async def test_a_server_that_does_not_open_the_link_is_not_waited_for(at: Scene) -> None:
    at.server.greeting = b'{"Type":"Weather"}'
    link = await at.dial()
    assert await link.receive() is None
    async with beside(ended(link)) as waiting:
        await at.clock.advance(9.9)
        assert not waiting.done()
        await at.clock.advance(0.2)
    assert waiting.result() == "lost"


# ---- order ----


async def test_an_effect_is_received_before_its_answer_is_settled(at: Scene, link: OsccLink) -> None:
    seen: list[str] = []

    async def ask() -> None:
        assert await link.request(execute()) == Executed("applied")
        seen.append("answer")

    async with beside(ask()):
        request = await at.server.hear()
        await at.server.say(event("UserRealtime", USER_REALTIME))
        await at.server.reply(request["RequestID"], State="Applied")
        await at.clock.settle()
        assert isinstance(await link.receive(), Reading)
        await at.clock.settle()
        seen.append("effect")
        assert await link.receive() is None
    assert seen == ["effect", "answer"]


@pytest.mark.parametrize("effect", ["small", "several", "large", "unreadable at a glance"])
async def test_an_answer_to_a_command_comes_behind_any_kind_of_effect(at: Scene, effect: str) -> None:
    count, further = {"small": (1, {}), "several": (20, {}), "large": (500, {})}.get(effect, (1, {"Odd": 1}))
    elements = [USER_REALTIME | {"UserKey": key} for key in range(1, count + 1)]
    text = event("UserRealtime", *elements)
    if further:
        text = json.dumps(further | json.loads(text)).encode()
    link = await at.open()
    seen: list[object] = []

    async def read() -> None:
        while True:
            if (said := await link.receive(seen.extend)) is not None:
                seen.append(said)

    async with during(read()):
        await at.clock.settle()
        link.send(execute(), seen.append)
        request = await at.server.hear()
        await at.server.say(text)
        await at.server.reply(request["RequestID"], State="Applied")
        await at.server.say(event("UserRealtime", USER_REALTIME))
        while len(seen) < 3:
            await at.clock.settle()
    assert [type(each) for each in seen] == [Reading, Executed, Reading]


@pytest.mark.parametrize(
    ("said", "is_over"),
    [({"Error": 5, "ErrorName": "NotFound"}, False), ({"Error": "x"}, False), (None, True)],
)
async def test_a_command_is_answered_once_also_with_a_refusal_or_the_end_of_the_link(
    at: Scene, said: dict[str, object] | None, link: OsccLink, *, is_over: bool
) -> None:
    seen: list[object] = []
    async with beside(ended(link) if is_over else link.receive(seen.extend)) as receiving:
        await at.clock.settle()
        link.send(execute(), seen.append)
        request = await at.server.hear()
        if said is not None:
            await at.server.reply(request["RequestID"], **said)
        else:
            await link.close()
        await at.clock.settle()
        receiving.cancel()
    assert [type(each) for each in seen] == [LinkClosed if is_over else GatewayError]
    await link.close()
    assert len(seen) == 1


async def test_an_answer_is_passed_on_also_if_its_command_is_withdrawn_before_by_what_it_caused(
    at: Scene, link: OsccLink
) -> None:
    withdraws: list[Callable[[], object]] = []
    seen: list[object] = []

    def hear(_: Sequence[Reading]) -> None:
        seen.extend(withdraw() for withdraw in withdraws)

    async with during(link.receive(hear)):
        await at.clock.settle()
        withdraw = link.send(execute(), seen.append)
        assert withdraw is not None
        withdraws.append(withdraw)
        await at.server.respond(State="Applied")
        await at.clock.settle()
    assert [type(each) for each in seen[:2]] == [type(None), Executed], "there was an answer by then"


async def test_a_command_that_is_not_waited_for_any_more_is_not_answered(at: Scene, link: OsccLink) -> None:
    seen: list[object] = []
    waits = [link.send(execute(), seen.append) for _ in range(MOST_IN_FLIGHT + 1)]
    assert waits.pop() is None
    for withdraw in waits:
        assert withdraw is not None
        withdraw()
    assert link.send(execute(), seen.append) is not None
    await link.close()
    assert len(seen) == 1
    assert link.send(execute(), seen.append) is None


async def test_a_keep_alive_takes_no_task_and_is_waited_for_until_the_next_one(at: Scene) -> None:
    link = await at.open()
    seen: list[object] = []
    async with beside(link.receive(seen.extend)) as receiving:
        await at.clock.settle()
        running = asyncio.all_tasks()
        for _ in range(MOST_IN_FLIGHT + 1):
            assert link.send(KeepAlive(), seen.append) is not None, "the one before it is forgotten"
        assert asyncio.all_tasks() == running
        numbers = [(await at.server.hear())["RequestID"] for _ in range(MOST_IN_FLIGHT + 1)]
        await at.clock.advance(3)
        await at.server.reply(numbers[-1], Time=TIME_MS + 3_000)
        await at.clock.settle()
        assert seen == [Alive(TIME_MS + 3_000)]
        assert link.last_received_at == at.clock.now()
        await at.server.reply(numbers[0], Time=TIME_MS + 3_000)
        await at.clock.settle()
        assert await receiving is None, "it is a message, and nobody's answer"
    assert len(seen) == 1


@pytest.mark.parametrize("late_ms", [2_500, 1_500])
async def test_a_keep_alive_shows_that_the_clock_of_the_server_was_set_back(
    at: Scene, link: OsccLink, late_ms: int
) -> None:
    seen: list[object] = []

    async def receive() -> None:
        try:
            await link.receive(seen.extend)
        except LinkClosed:
            seen.append("over")

    async with during(receive()) as receiving:
        await at.clock.settle()
        await at.clock.advance(10)
        link.send(KeepAlive(), lambda answer: seen.append(type(answer)))
        await at.server.respond(Time=TIME_MS + 10_000 - late_ms)
        while not seen:
            await at.clock.settle()
        if late_ms > 2_000:
            await receiving
    assert seen == ([LinkClosed, "over"] if late_ms > 2_000 else [Alive])


async def _answer_keep_alive(at: Scene, link: OsccLink, ahead_ms: int = 0) -> None:
    await at.clock.advance(10)
    link.send(KeepAlive(), lambda _: None)
    await at.server.respond(Time=TIME_MS + 10_000 + ahead_ms)
    await at.clock.settle()


@pytest.mark.parametrize("ahead_ms", [3_600_000, 2_500, 1_500])
async def test_an_event_from_the_future_shows_that_the_clock_of_the_server_was_set(
    at: Scene, link: OsccLink, ahead_ms: int
) -> None:
    """Its values would hide all later ones for as long as it is ahead."""
    arrived: list[object] = []
    async with beside(_end(link, arrived)):
        await at.clock.settle()
        await _answer_keep_alive(at, link)
        await at.server.say(event("UserRealtime", USER_REALTIME, Time=TIME_MS + 10_000))
        await at.server.say(event("UserRealtime", USER_REALTIME, Time=TIME_MS + 10_000 + ahead_ms))
        await at.clock.settle()
        if ahead_ms < 2_000:
            await link.close()
    assert len(arrived) == (2 if ahead_ms < 2_000 else 1)
    assert await code_seen(at) == 1000


@pytest.mark.parametrize("is_set", [True, False], ids=["set back", "long on its way"])
async def test_an_event_from_the_past_has_the_server_asked_for_its_time_at_once(
    at: Scene, link: OsccLink, is_set: bool
) -> None:
    """Values before a step back would hide all later ones until the next regular answer."""

    async def say_event(behind_ms: int) -> None:
        await at.server.say(event("UserRealtime", USER_REALTIME, Time=TIME_MS + 10_000 - behind_ms))
        await at.clock.settle()

    async with beside(ended(link)) as receiving:
        await at.clock.settle()
        await _answer_keep_alive(at, link)
        await say_event(1_900)
        assert not at.server.received
        await say_event(5_000)
        asked = await at.server.respond(Time=TIME_MS + 10_000 - 5_000 * is_set)
        assert asked["Method"] == "KeepAlive"
        await at.clock.settle()
        if not is_set:
            await say_event(6_900)
            assert not at.server.received, "such events are not later than before"
            await link.close()
    assert receiving.result() == "lost"
    assert await code_seen(at) == 1000


async def test_an_event_that_came_behind_a_flood_of_pings_is_not_from_the_future(at: Scene) -> None:
    """What comes while reading pauses counts as having come at the pause, which is too early."""
    link = await at.open()
    await _answer_keep_alive(at, link)
    await link.receive()
    for _ in range(WAITING_CHARS_MAX // 100):
        await link_of(at).ping()
    await at.clock.settle()
    await at.clock.advance(3)
    await at.server.say(event("UserRealtime", USER_REALTIME, Time=TIME_MS + 13_000))
    while (said := await link.receive()) is None:
        pass
    assert isinstance(said, Reading)
    assert link.last_received_at < at.clock.now() - 2, "its age is not too low"


async def test_a_server_may_date_events_by_a_clock_that_is_always_ahead(at: Scene, link: OsccLink) -> None:
    arrived: list[object] = []
    async with beside(_end(link, arrived)) as receiving:
        await at.clock.settle()
        for number in range(3):
            time_ms = TIME_MS + 60_000 + 10_000 * number
            await at.server.say(event("UserRealtime", USER_REALTIME, Time=time_ms))
            await at.clock.settle()
            if number == 0:
                await _answer_keep_alive(at, link)
            else:
                await at.clock.advance(10)
        await link.close()
    assert receiving.result() == "lost"
    assert len(arrived) == 3


async def test_a_clock_that_was_set_forward_before_the_first_keep_alive_is_seen(at: Scene) -> None:
    link = await at.open()
    async with beside(ended(link)) as receiving:
        await _answer_keep_alive(at, link, ahead_ms=3_000)
    assert receiving.result() == "lost"
    assert await code_seen(at) == 1000


async def test_readings_are_received_without_waking_anybody_and_in_their_order_among_all_that_comes(
    at: Scene, link: OsccLink
) -> None:
    arrived: list[object] = []
    async with beside(link.receive(arrived.extend)) as receiving:
        await at.clock.settle()
        await at.clock.advance(3)
        await at.server.say(event("UserRealtime", USER_REALTIME))
        await at.clock.settle()
        await at.server.say(event("UserRealtime", USER_REALTIME))
        await at.clock.settle()
        assert [type(each) for each in arrived] == [Reading, Reading]
        assert not receiving.done()
        assert link.last_received_at == at.clock.now()
        await at.server.say({"Type": "SessionEnded", "Session": 2, "Reason": "Expired"})
        await at.server.say(event("UserRealtime", USER_REALTIME))
        await at.clock.settle()
    assert receiving.result() == SessionEnded(2, EndReason.EXPIRED, None)
    assert len(arrived) == 2
    async with during(link.receive(arrived.extend)) as receiving:
        await at.clock.settle()
        assert isinstance(arrived[2], Reading)


async def _end(link: OsccLink, arrived: list[object]) -> str:
    with pytest.raises(LinkClosed) as closed:
        await link.receive(arrived.extend)
    return closed.value.reason


async def test_events_of_one_message_come_one_by_one(at: Scene, link: OsccLink) -> None:
    removed = {"ObjectType": "User", "Key": 7, "Change": "Removed"}
    await at.server.say(event("Administration", removed, {"ObjectType": "Skill"}, removed | {"Key": 8}))
    assert await link.receive() == ObjectChanged(Kind.AGENT, 7, None)
    assert await link.receive() == CatalogueChanged()
    assert await link.receive() == ObjectChanged(Kind.AGENT, 8, None)


async def test_foreign_messages_and_answers_to_nobody_are_no_events(at: Scene, link: OsccLink) -> None:
    await at.server.say({"Type": "Greeting", "Text": "hello"})
    await at.server.reply(99)
    assert await link.receive() is None
    assert await link.receive() is None


# ---- requests ----


async def ask(at: Scene, link: OsccLink, request: LinkRequest, **answer: Any) -> Any:  # noqa: ANN401 - JSON
    """Ask while the server answers *answer*; returns what was written and what came of it."""
    async with beside(outcome(link, request)) as asking:
        written = await at.server.respond(**answer)
        while not asking.done():
            await link.receive()
            await at.clock.settle()
    return written, asking.result()


async def test_a_refusal_has_the_code_of_clients(at: Scene, link: OsccLink) -> None:
    _, code = await ask(at, link, execute(), Error=21, ErrorName="ReasonRequired")
    assert code is ErrorCode.REASON_REQUIRED


async def test_a_request_key_goes_only_to_servers_that_know_it(at: Scene) -> None:
    written, _ = await ask(at, await at.open(), execute(), State="Applied")
    assert written["RequestKey"] == "k-1"
    at.server.answers["GET about"] = (200, {"ExtensionsVersion": "V2R1", "ContactCenterVersion": "V8R2"})
    await at.clock.advance(60)
    written, _ = await ask(at, await at.open(), execute(), State="Applied")
    assert "RequestKey" not in written


async def test_the_own_agent_of_a_session_is_known_while_it_is_attached(at: Scene, link: OsccLink) -> None:
    session = SESSION | {"Session": 3, "OwnUserKey": 9}
    _, attached = await ask(at, link, AttachSession(SessionSecret("s")), **session)
    assert isinstance(attached, Attached)
    written, _ = await ask(at, link, execute(alias=3), State="Applied")
    assert written["UserKey"] == 9
    await ask(at, link, DetachSession(3))
    assert await outcome(link, execute(alias=3)) is ErrorCode.NOT_LOGGED_ON
    await at.server.say({"Type": "SessionEnded", "Session": 2, "Reason": "Expired"})
    assert await link.receive() == SessionEnded(2, EndReason.EXPIRED, None)
    assert await outcome(link, execute(alias=2)) is ErrorCode.NOT_LOGGED_ON


@pytest.mark.parametrize(
    ("request_", "most_s"),
    [(KeepAlive(), 5), (AttachSession(SessionSecret("s")), 60), (AGENTS, 60), (QueryDirectory(), 60)],
    ids=lambda each: type(each).__name__,
)
async def test_an_answer_may_take_five_seconds_and_one_with_content_a_minute(
    at: Scene, link: OsccLink, request_: LinkRequest, most_s: float
) -> None:
    async with beside(outcome(link, request_)) as asking:
        await at.clock.advance(most_s - 0.1)
        assert not asking.done()
        await at.clock.advance(0.2)
    assert asking.result() is ErrorCode.UPSTREAM_UNAVAILABLE


async def test_a_commands_answer_may_take_as_long_as_its_deadline(at: Scene, link: OsccLink) -> None:
    async with beside(outcome(link, execute())) as asking:
        await at.clock.advance(59)
        assert not asking.done()
        await at.server.respond(State="Applied")
        await link.receive()
    assert asking.result() == Executed("applied")


async def test_a_command_nobody_waits_for_any_more_takes_no_place(at: Scene, link: OsccLink) -> None:
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(link.request(execute())) for _ in range(MOST_IN_FLIGHT)]
        await at.clock.settle()
        assert await outcome(link, KeepAlive()) is ErrorCode.BUSY
        for each in asking:
            each.cancel()
    at.server.received.clear()
    _, answer = await ask(at, link, KeepAlive(), Time=TIME_MS)
    assert answer == Alive(TIME_MS)


async def test_a_query_that_is_reported_when_nobody_waits_for_it_any_more_is_stopped(at: Scene) -> None:
    link = await at.open()
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(outcome(link, AGENTS))
        await at.clock.advance(61)
        await asking
        for _ in ("the answer", "the same once more"):
            await at.server.reply(1, QueryID=5)
            assert await link.receive() is None
        assert (await at.server.hear())["Method"] == "ListenForEvents"
        alive = tasks.create_task(outcome(link, KeepAlive()))
        stop = await at.server.hear()
        assert (stop["Method"], stop["QueryID"]) == ("StopListeningForEvents", 5)
        assert (await at.server.hear())["Method"] == "KeepAlive"
        await link.close()
    assert alive.result() == "lost"


async def test_a_query_that_was_withdrawn_is_stopped_when_it_is_reported(at: Scene, link: OsccLink) -> None:
    seen: list[object] = []
    withdraw = link.send(AGENTS, seen.append)
    assert withdraw is not None
    withdraw()
    await at.server.reply(1, QueryID=5)
    assert await link.receive() is None
    async with beside(outcome(link, KeepAlive())):
        heard = [await at.server.hear() for _ in range(3)]
        await link.close()
    assert [each["Method"] for each in heard] == ["ListenForEvents", "StopListeningForEvents", "KeepAlive"]
    assert seen == []


async def test_requests_without_a_task_are_settled_in_the_call_that_reads_and_return_no_message(
    at: Scene, link: OsccLink
) -> None:
    seen: list[object] = []
    async with during(link.receive(seen.extend)) as receiving:
        await at.clock.settle()
        for request in (AGENTS, QueryDirectory()):
            assert link.send(request, seen.append) is not None
        await at.server.respond(QueryID=5)
        await at.server.say(event("UserRealtime", USER_REALTIME))
        await at.server.respond(Error=19)
        while len(seen) < 3:
            await at.clock.settle()
        assert not receiving.done()
    assert [type(each) for each in seen] == [Listening, Reading, GatewayError]


async def test_a_refusal_that_nobody_waits_for_any_more_stops_nothing(at: Scene, link: OsccLink) -> None:
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(outcome(link, AGENTS))
        await at.clock.advance(61)
        await asking
        await at.server.reply(1, Error=61, ErrorName="Busy")
        assert await link.receive() is None
        assert (await at.server.hear())["Method"] == "ListenForEvents"
        tasks.create_task(outcome(link, KeepAlive()))
        assert (await at.server.hear())["Method"] == "KeepAlive"
        await link.close()


# ---- what cannot be read ----


MESSAGE_BYTES = 8 * 2**20


@pytest.mark.parametrize(
    ("message", "kind", "code"),
    [
        (b"{", WSMsgType.TEXT, 1002),
        (event("UserRealtime", {"NoKey": 1}), WSMsgType.TEXT, 1002),
        (b'{"Type":"Response","RequestID":"x","Error":0}', WSMsgType.TEXT, 1002),
        (b'{"Type":"Notice"}', WSMsgType.BINARY, 1002),
        (b'{"Type":"Notice","Text":"\xff"}', WSMsgType.TEXT, 1007),
        (b" " * (MESSAGE_BYTES + 1), WSMsgType.TEXT, 1009),
    ],
)
async def test_what_cannot_be_read_closes_the_link(
    at: Scene, message: bytes, kind: WSMsgType, code: int, link: OsccLink
) -> None:
    async with beside(outcome(link, KeepAlive())) as asking:
        await at.server.hear()
        await link_of(at).send_frame(message, kind)
        assert await ended(link) == "lost"
    assert asking.result() == "lost"
    assert await code_seen(at) == code


async def test_a_message_may_have_eight_mebibytes(at: Scene, link: OsccLink) -> None:
    head = b'{"Type":"Greeting","Text":"'
    await at.server.say(head + b"x" * (MESSAGE_BYTES - len(head) - 2) + b'"}')
    assert await link.receive() is None


# ---- an answer that cannot be read fails its request, and never closes the link ----


async def test_an_answer_to_an_attach_that_cannot_be_read_concerns_only_its_session(
    at: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = Telemetry()
    measured_sites({"main": at.adapter}, telemetry, Tracing(), {"main": SiteReach()}, {})
    link = await at.open()
    async with stays_open(at, link) as tasks:
        for number in range(3):
            asked = tasks.create_task(outcome(link, AttachSession(SessionSecret("canary"))))
            await at.server.respond(Session="canary", ID=number)
            assert await asked is ErrorCode.UPSTREAM_UNAVAILABLE
        asked = tasks.create_task(outcome(link, AttachSession(SessionSecret("good"))))
        await at.server.respond(**SESSION)
        assert isinstance(await asked, Attached)
    (logged,) = (vars(each) for each in caplog.records if each.message == "link_message_unreadable")
    assert logged["fault"] == "an answer cannot be read", "a field that the log of a node shows"
    assert "canary" not in str(logged)
    failures = "oscc_gateway_upstream_failures_total"
    assert telemetry.registry.get_sample_value(failures, {"cause": "unreadable"}) == 3


@pytest.mark.parametrize("by", ["send", "request"])
@pytest.mark.parametrize(
    ("request_", "waits_s"),
    [
        (AGENTS, [10, 20, 40, 80, 160, 300, 300]),
        (QueryDirectory(), [10, 20, 30, 30]),
    ],
)
async def test_data_whose_answer_cannot_be_read_is_requested_later_and_later_on_the_same_link(
    at: Scene, link: OsccLink, request_: LinkRequest, waits_s: list[int], by: str
) -> None:
    seen: list[object] = []

    def ask() -> None:
        if by == "request":
            tasks.create_task(outcome(link, request_)).add_done_callback(
                lambda done: seen.append(done.result())
            )
            return
        try:
            link.send(request_, lambda sent: seen.append(getattr(sent, "code", sent)))
        except GatewayError as error:
            seen.append(error.code)

    async with stays_open(at, link) as tasks:
        for wait_s in waits_s:
            ask()
            await at.server.respond(QueryID="odd", Objects={"User": 5})
            await at.clock.advance(wait_s - 1)
            ask()  # is refused without a message
            await at.clock.advance(1)
            assert seen == [ErrorCode.UPSTREAM_UNAVAILABLE] * 2
            seen.clear()
        ask()
        await at.server.respond(QueryID=7, Objects={})
        await at.clock.settle()
        assert isinstance(seen.pop(), Listening | Directory)
        ask()
        await at.server.respond(QueryID=8, Objects={})  # at once again


@pytest.mark.parametrize("request_", [Presence(1, True), StopListening(3), DetachSession(2), KeepAlive()])
async def test_no_answer_that_cannot_be_read_closes_the_link(
    at: Scene, link: OsccLink, request_: LinkRequest
) -> None:
    async with stays_open(at, link) as tasks:
        for _ in range(2):
            asked = tasks.create_task(outcome(link, request_))
            await at.server.respond(Error="canary")
            assert await asked is ErrorCode.UPSTREAM_UNAVAILABLE


async def test_a_late_answer_that_cannot_be_read_does_not_close_the_link(at: Scene, link: OsccLink) -> None:
    async with stays_open(at, link):
        withdraw = link.send(AGENTS, lambda _: None)
        assert withdraw is not None
        await at.clock.settle()
        withdraw()
        await at.server.respond(QueryID="odd")
        await at.clock.settle()


@pytest.mark.parametrize("answer", [{}, {"State": 5}, {"Error": "x"}, {"State": "Odd"}])
async def test_an_answer_to_a_command_that_cannot_be_read_leaves_the_link_open(
    at: Scene, link: OsccLink, answer: dict[str, object]
) -> None:
    seen: list[object] = []
    async with stays_open(at, link) as tasks:
        link.send(execute(), seen.append)
        await at.server.respond(**answer)
        await at.clock.settle()
        waited_for = tasks.create_task(outcome(link, execute()))
        await at.server.respond(**answer)
        assert await waited_for is ErrorCode.UPSTREAM_TIMEOUT
    assert [each.code for each in seen if isinstance(each, GatewayError)] == [ErrorCode.UPSTREAM_TIMEOUT]


# ---- hearing ----


async def test_every_message_and_ping_is_received_and_silence_is_not(at: Scene, link: OsccLink) -> None:
    opened_at = link.last_received_at
    await at.clock.advance(7)
    await link_of(at).ping(b"are you there")
    assert await link.receive() is None
    assert link.last_received_at == opened_at + 7
    assert await at.server.hear() == {"Type": "PONG", "Payload": "are you there"}
    async with beside(ended(link)) as waiting:
        await at.clock.advance(600)
        assert not waiting.done()
        assert link.last_received_at == opened_at + 7
        await link.close()


def _dated(link: OsccLink) -> tuple[float | None, float | None]:
    """Return when its last message came, and the oldest that waits."""
    return link.last_received_at, link.waits_since


async def test_a_message_that_waits_for_its_reader_counts_from_when_it_came(
    at: Scene, link: OsccLink
) -> None:
    came_at = at.clock.now()
    await at.server.say({"Type": "SessionEnded", "Session": 2, "Reason": "Expired"})
    await at.server.say(event("UserRealtime", USER_REALTIME))
    await at.clock.settle()
    await at.clock.advance(3)
    assert link.waits_since == came_at
    assert isinstance(await link.receive(), SessionEnded)
    assert _dated(link) == (came_at, came_at)
    assert isinstance(await link.receive(), Reading)
    assert _dated(link) == (came_at, None)


async def test_a_large_message_and_all_behind_it_wait_while_it_is_read(at: Scene, link: OsccLink) -> None:
    came_at = at.clock.now()
    elements = [USER_REALTIME | {"UserKey": key} for key in range(1, 200)]
    await at.server.say(event("UserRealtime", *elements, Complete=True))
    await at.clock.settle()
    await at.clock.advance(3)
    async with beside(link.receive()) as reading:
        await asyncio.sleep(0)
        assert not reading.done()
        await at.server.say({"Type": "SessionEnded", "Session": 2, "Reason": "Expired"})
        assert link.waits_since == came_at
        await at.clock.settle()
    assert isinstance(reading.result(), Reading)
    assert link.last_received_at == came_at
    assert isinstance(await link.receive(), SessionEnded)
    assert _dated(link) == (came_at + 3, None)


# ---- the end ----


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4409])
async def test_the_server_closes(at: Scene, code: int, link: OsccLink) -> None:
    await link_of(at).close(code=code)
    assert await ended(link) == "lost"
    assert await outcome(link, KeepAlive()) == "lost"


async def test_the_connection_breaks(at: Scene, link: OsccLink) -> None:
    transport = link_of(at)._req.transport  # type: ignore[union-attr] # a plug is pulled
    assert transport is not None
    async with beside(outcome(link, KeepAlive())) as asking:
        await at.clock.settle()
        transport.abort()
        assert await ended(link) == "lost"
    assert asking.result() == "lost"


async def test_a_replaced_link_says_so_and_nothing_more(at: Scene, link: OsccLink) -> None:
    await at.server.say({"Type": "LinkReplaced", "Token": 77})
    await at.server.say(event("UserRealtime", USER_REALTIME))
    assert await link.receive() == LinkReplaced(77)
    with pytest.raises(LinkClosed) as closed:
        await link.request(execute())
    assert (closed.value.reason, closed.value.is_unsent) == ("lost", True)
    with pytest.raises(LinkClosed):
        await link.receive()
    assert at.server.received == type(at.server.received)()


async def test_a_server_that_does_not_answer_the_closing_holds_nobody_up(at: Scene, link: OsccLink) -> None:
    link_of(at)._req.transport.pause_reading()  # type: ignore[union-attr] # deaf from now on
    async with beside(link.close()) as closing:
        await at.clock.settle()
        assert not closing.done()
        await at.clock.advance(1)
    assert closing.done()


@pytest.mark.parametrize("by", ["request", "pong"])
async def test_a_connection_that_can_no_longer_be_written_to_is_lost(
    at: Scene, link: OsccLink, by: str
) -> None:
    if by == "pong":
        await link_of(at).ping()
        await at.clock.settle()
    assert isinstance(link._socket, LinkSocket)
    link._socket.abort()
    if by == "request":
        assert await outcome(link, KeepAlive()) == "lost"
    assert await ended(link) == "lost"
    assert await outcome(link, KeepAlive()) == "lost"
