"""Asterisks that are older, say less, or allow less: each is served, or refused with a clear fault."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from gateway.domain.commands import (
    Executed,
    Listen,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetRoutingState,
    SetSkills,
    SkillChange,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Kind
from gateway.domain.resources import Agent, RoutingState
from gateway.domain.upstream import LinkClosed, Source
from gateway.runtime.event_loop import SystemClock
from gateway.upstream.asterisk.ami import (
    HEADERS,
    LINE_BYTES,
    MESSAGE_BYTES,
    ROWS,
    UNDER_WAY,
    UNENDED_BYTES,
    AmiAddress,
    AmiConnection,
    AmiMessage,
    Framer,
    LostError,
    connect,
    log_in,
)
from gateway.upstream.asterisk.link import EVENTS
from gateway.upstream.asterisk.monitor import EFFECT_S, Monitor
from gateway.upstream.asterisk.people import Rules, number_of
from gateway.upstream.asterisk.state import Queues, is_same_reason
from tests.app.certificates import both_ends
from tests.asterisk.site import NUMBER, Place, place
from tests.doubles.clock import ManualClock
from tests.doubles.fake_ami import FakeAsterisk
from tests.doubles.log_lines import capture_logs
from tests.doubles.refusals import refused_with
from tests.doubles.tasks import beside

pytestmark = pytest.mark.timeout(60)

DESK = "Local/2005@desk/n"
REMOTE = "Local/ana@oscc-remote/n"
ANA, CEM = number_of("person", "ana"), number_of("person", "cem")
LUNCH = str(number_of("reason", "Lunch"))
LOGGED_ON = str(number_of("reason", "Logged on"))


async def again(at: Place) -> None:
    """Have the connection made again."""
    before = at.server.monitor.connections
    at.fake.cut()
    while at.server.monitor.connections == before or not at.server.monitor.is_up:
        await at.clock.sleep(0.02)


async def test_lists_without_eventlist_are_read(at: Place) -> None:
    at.fake.lacks = frozenset({"EventList", "LoginTime", "LastPause", "Wrapuptime", "InCall"})
    at.fake.add_queue("late night: support")
    await again(at)
    async with at.linked(await at.boss()) as ear:
        await ear.until(lambda: ear.agent(CEM))
        assert number_of("queue", "late night: support") in ear.shown(Kind.QUEUE, Source.REALTIME)
        answer = await ear.command(SetAgentRoutingState(str(CEM), "unavailable", LUNCH))
        assert answer == Executed("applied")
    async with at.linked(await at.assistant()) as ear:
        assert await ear.command(SetRoutingState("available")) == Executed("applied")


async def test_an_agent_begins_and_joins_a_queue_in_a_pause_with_its_reason_where_queueadd_knows_none(
    at: Place,
) -> None:
    at.fake.not_in_queue_add = frozenset({"Reason"})
    at.fake.add_queue("late")
    await again(at)
    async with at.linked(await at.assistant()), at.linked(await at.boss()) as ear:
        await ear.until(lambda: ear.agent(ANA))
        assert ear.shown_agent(ANA).reason_id == LOGGED_ON
        held = [queue.members[REMOTE] for queue in at.fake.queues.values() if REMOTE in queue.members]
        assert [one.reason for one in held] == ["Logged on", "Logged on"]
        entry = ear.shown(Kind.AGENT, Source.CONFIGURATION)[ANA].value
        assert isinstance(entry, Agent)
        joined = SkillChange(str(number_of("queue", "late")), 10)
        await ear.command(SetSkills(str(ANA), (joined,), "patch", entry.version or 0))
        assert at.fake.queues["late"].members[REMOTE].reason == "Logged on"
        assert ear.shown_agent(ANA).reason_id == LOGGED_ON


async def test_a_wrap_up_time_that_queueadd_ignores_is_not_said_to_be_set() -> None:
    async with place(rules=Rules(rejoins=True)) as at:
        at.fake.not_in_queue_add = frozenset({"Wrapuptime"})
        async with at.linked(await at.assistant()) as ear:
            with refused_with(ErrorCode.UNSUPPORTED_BY_UPSTREAM):
                await ear.command(SetAutoPostProcessing(True, 25))
            assert REMOTE in at.fake.queues["sales"].members


async def test_an_old_version_is_said(at: Place) -> None:
    at.fake.ami = "2.10.6"
    with capture_logs() as logs:
        await again(at)
    assert [one["ami"] for one in logs if one["event"] == "asterisk_too_old"] == ["2.10.6"]
    assert (await at.server.about()).extensions_version == "AMI 2.10.6"


async def test_dashboards_need_no_right_to_write(at: Place) -> None:
    at.fake.accounts["oscc"].write = frozenset()
    await again(at)
    session = await at.boss()
    async with at.linked(session) as ear:
        await ear.until(lambda: ear.agent(CEM))
        assert await at.server.keep_alive(session.secret) > at.clock.wall_ms()
    offered = {feature.value for feature in (await at.server.about()).features}
    assert not offered & {"skills", "remote_agent"}
    with refused_with(ErrorCode.FUNCTION_UNAVAILABLE):
        await at.assistant()
    assert at.fake.db == {}
    await at.server.log_off(session.secret)
    with refused_with(ErrorCode.SESSION_ENDED):
        await at.server.keep_alive(session.secret)


async def test_a_right_that_is_taken_away_ends_no_session(at: Place) -> None:
    session = await at.boss()
    at.fake.accounts["oscc"].write = frozenset({"agent"})
    with pytest.raises(GatewayError):
        await at.server.accounts.read()
    assert len(await at.server.sessions(session.secret)) == 1


async def test_a_session_that_cannot_be_ended_for_lack_of_a_right_costs_no_connection() -> None:
    async with place(idle_s=1) as at:
        session = await at.assistant()
        async with at.linked(session):
            before = at.server.monitor.connections
            at.fake.accounts["oscc"].write -= {"agent"}
            with capture_logs() as logs:
                while not any(one["event"] == "session_not_ended" for one in logs):
                    await at.clock.sleep(0.02)
            assert at.server.monitor.is_up
            assert at.server.monitor.connections == before


async def test_a_message_that_is_always_too_long_is_not_read_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.upstream.asterisk.monitor.TICK_S", 0.005)

    def status(*, whole: bool) -> int:
        asked = [one for one in at.fake.received if one["Action"] == "QueueStatus"]
        return sum(("Member" not in one) == whole for one in asked)

    async with place(figures_s=0.1) as at:
        at.fake.add_static("support", "Local/2007@desk/n", "x" * MESSAGE_BYTES)
        await again(at)
        at.fake.received.clear()
        while status(whole=False) < 3:
            await at.clock.sleep(0.01)
            assert status(whole=True) <= 1


async def test_a_monitor_that_is_cancelled_while_its_connection_fails_ends() -> None:
    is_ending, may_end = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            is_ending.set()
            await may_end.wait()

    async with place() as at, asyncio.TaskGroup() as tasks:
        settings = at.server.settings
        monitor = Monitor(
            "main",
            settings.address,
            settings.people_file,
            at.clock,
            rules=settings.rules,
            timing=settings.timing,
            jitter=lambda: 0.0,
        )
        running = tasks.create_task(monitor.run(slow_to_end))
        assert await monitor.reached(10)
        await asyncio.sleep(0)
        at.fake.cut()
        await is_ending.wait()
        running.cancel()
        await asyncio.sleep(0)
        may_end.set()
        await asyncio.wait([running], timeout=10)
        is_over = running.cancelled()
        running.cancel()
    assert is_over


async def test_an_account_that_is_sent_no_events_is_said_and_its_commands_take_effect(at: Place) -> None:
    at.fake.accounts["oscc"].read = frozenset()
    await again(at)
    async with at.linked(await at.boss()) as ear:
        await ear.until(lambda: ear.agent(CEM))
        with capture_logs() as logs:
            answer = await ear.command(SetAgentRoutingState(str(CEM), "unavailable", LUNCH))
        assert answer == Executed("applied")
        assert ear.shown_agent(CEM).routing_state is RoutingState.UNAVAILABLE
    assert [one["event"] for one in logs].count("asterisk_sends_no_events") == 1


async def test_an_account_that_is_sent_no_events_is_said_without_a_command() -> None:
    async with place(figures_s=60.0) as at:
        at.fake.accounts["oscc"].read = frozenset()
        await again(at)
        with capture_logs() as logs:
            for number in range(4):
                at.fake.queues["sales"].completed += 1
                await at.server.monitor.read_queues(with_members=False)
                said = [one["event"] for one in logs].count("asterisk_sends_no_events")
                assert said == (number > 0), "one call may have begun before the connection"


async def test_calls_that_end_with_events_say_nothing() -> None:
    async with place(figures_s=60.0) as at:
        with capture_logs() as logs:
            at.fake.add_static("sales", "Local/2009@desk/n", "Late")
            at.fake.join("sales", "c-1")
            await at.server.monitor.read_queues()
            for _ in range(3):
                at.fake.queues["sales"].completed += 1
                await at.server.monitor.read_queues(with_members=False)
        assert logs == []


async def test_an_account_that_may_log_in_once_is_distinguished_from_a_wrong_secret(at: Place) -> None:
    at.fake.allows_many = False
    settings = at.server.settings
    other = type(at.server)("main", settings, at.clock, jitter=lambda: 0.0, draw=bytes)
    async with other:
        while other.monitor.last_failure == "starting":
            await at.clock.sleep(0.02)
        assert not other.monitor.is_up
        assert other.monitor.last_failure == "login_in_use"


async def test_a_session_that_is_ended_at_the_console_is_opened_again(at: Place) -> None:
    """`manager kick session`, or a Logoff: Goodbye, then the end of the connection."""
    for session in tuple(at.fake.sessions):
        await session.serve({"Action": "Logoff"})
    await at.clock.sleep(0.05)
    assert at.server.monitor.is_up
    await again(at)
    async with at.linked(await at.boss()) as ear:
        await ear.until(lambda: ear.agent(CEM))


async def test_a_dialplan_without_the_context_refuses_remote_agents(at: Place) -> None:
    at.fake.contexts.discard("oscc-remote")
    with capture_logs() as logs, refused_with(ErrorCode.FUNCTION_UNAVAILABLE):
        await at.assistant()
    assert "remote_context_unusable" in {one["event"] for one in logs}
    assert REMOTE not in at.fake.queues["sales"].members
    assert [family for family, held in at.fake.db.items() if held] == []
    assert NUMBER not in repr(logs)


async def test_a_long_reason_is_not_set_twice() -> None:
    long = "Ü" * 39 + "ber"  # 81 bytes; Asterisk keeps 79
    async with (
        place(rules=Rules(unavailable_reasons=(long,))) as at,
        at.linked(await at.boss()) as ear,
    ):
        await ear.until(lambda: ear.agent(CEM))
        command = SetAgentRoutingState(str(CEM), "unavailable", str(number_of("reason", long)))
        assert await ear.command(command) == Executed("applied")
        assert await ear.command(command) == Executed("unchanged")


def test_a_reason_that_was_cut_within_a_character_is_the_same() -> None:
    long = "a" * 78 + "ü"
    assert is_same_reason(long, long.encode()[:79].decode("utf-8", "replace"))
    assert not is_same_reason("Lunch", "Lunch break")


# ---- what versions leave out ----

ROW: AmiMessage = {
    "Event": "QueueMember", "Queue": "sales", "Name": "Cem", "Location": DESK, "Membership": "dynamic",
    "Penalty": "3", "CallsTaken": "4", "LastCall": "5", "LastPause": "6", "LoginTime": "7", "InCall": "0",
    "Status": "1", "Paused": "0", "PausedReason": "", "Wrapuptime": "9",
}  # fmt: skip


@pytest.fixture
def queues() -> Queues:
    made = Queues()
    one = made.begin(with_members=True)
    one.row({"Event": "QueueParams", "Queue": "sales"}, 0)
    one.row(ROW, 0)
    one.end()
    return made


@pytest.mark.parametrize("where", ["Interface", "Location"])
@pytest.mark.parametrize("why", ["PausedReason", "Reason"])
def test_an_event_with_few_fields_changes_only_what_it_says(queues: Queues, where: str, why: str) -> None:
    event = {"Event": "QueueMemberPause", "Queue": "sales", where: DESK, "Paused": "1", why: "Lunch"}
    queues.event(event, 1)
    member = queues.queues["sales"].members[DESK]
    assert (member.paused, member.reason) == (True, "Lunch")
    kept = member.name, member.penalty, member.calls_taken, member.login_s, member.status, member.wrapup_s
    assert kept == ("Cem", 3, 4, 7, 1, 9)
    assert member.dynamic


def test_a_row_with_few_fields_is_a_member(queues: Queues) -> None:
    one = queues.begin(with_members=True)
    one.row({"Event": "QueueParams", "Queue": "sales"}, 0)
    one.row({"Event": "QueueMember", "Queue": "sales", "Location": "SIP/7", "Paused": "1"}, 0)
    one.end()
    member = queues.queues["sales"].members["SIP/7"]
    assert (member.paused, member.status, member.reason, member.name) == (True, 0, "", "")


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("banner", ["1.1", "2.10.6", "5.0.2", "13.0.0"])
def test_any_banner_and_values_with_colons_and_line_feeds_are_read(banner: str, size: int) -> None:
    framer, read = Framer(), list[AmiMessage]()
    text = f"Asterisk Call Manager/{banner}\r\nEvent: X\r\nQueue: a: b\nc\r\nLong: {'y' * 5000}\r\n\r\n"
    for piece in pieces(text.encode(), size):
        read += framer.feed(piece)
    assert read == [{"Greeting": banner}, {"Event": "X", "Queue": "a: b\nc", "Long": "y" * 5000}]


async def test_an_actionid_that_nobody_gave_is_ignored() -> None:
    texts = [f"Event: X\r\nActionID: {number}\r\n\r\n" for number in ("9" * 5000, "²", "-1", "7")]
    texts += ["Event: QueueCallerJoin\r\n\r\n"]

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write("".join(["Asterisk Call Manager/13.0.0\r\n", *texts]).encode())
        writer.close()

    seen: list[AmiMessage] = []
    async with asyncio.timeout(10), await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = AmiAddress("127.0.0.1", port, "oscc", "secret")
        connection = await connect(address, SystemClock(), seen.append, lambda: None)
        with pytest.raises(LostError):
            await connection.read()
    assert [one["Event"] for one in seen] == ["QueueCallerJoin"]


# ---- bounds ----

PAGE = Path(__file__).parents[2] / "docs" / "asterisk.md"


def test_the_page_names_the_bounds() -> None:
    page = " ".join(PAGE.read_text("utf-8").split())
    bounds = (
        f"{LINE_BYTES:,} bytes; control characters are refused",
        f"{MESSAGE_BYTES // 1024} KiB, {HEADERS:,} lines; {UNENDED_BYTES // 2**20} MiB without its end",
        f"{ROWS:,} rows",
        f"{UNDER_WAY}; the next is `busy`",
        f"{EVENTS:,}; then the link",
    )
    for bound in bounds:
        assert bound in page


async def test_a_value_that_no_line_can_carry_is_refused_and_not_sent() -> None:
    longest = "x" * (LINE_BYTES - len("Val: "))
    async with place() as at:

        async def put(value: str) -> None:
            await at.server.monitor.action("DBPut", {"Family": "f", "Key": "k", "Val": value})

        await put(longest)
        for value in (f"{longest}x", "a\r\nAction: Logoff", "a\nb", "a\0b", "a\x7fb"):
            with refused_with(ErrorCode.BAD_REQUEST):
                await put(value)
        assert at.fake.db["f"]["k"] == longest


@pytest.mark.parametrize(
    ("raw", "left_out"),
    [
        (b"A: b\r\n" * (HEADERS - 1) + b"A: b", 0),
        (b"A: b\r\n" * HEADERS + b"A: b", 1),
        (b"A: ".ljust(MESSAGE_BYTES, b"x"), 0),
        (b"A: ".ljust(MESSAGE_BYTES + 1, b"x"), 1),
    ],
    ids=["lines", "a line more", "bytes", "a byte more"],
)
def test_a_message_beyond_its_bound_is_left_out_and_the_next_one_is_read(raw: bytes, left_out: int) -> None:
    framer = Framer()
    _, *read = framer.feed(b"Asterisk Call Manager/13.0.0\r\n" + raw + b"\r\n\r\nEvent: X\r\n\r\n")
    assert (len(read), framer.left_out) == (2 - left_out, left_out)
    assert read[-1] == {"Event": "X"}


LIST = b"Response: Success\r\nActionID: 1\r\nEventList: start\r\n\r\n"
ROW_OF_LIST = b"Event: Row\r\nActionID: 1\r\n\r\n"
FEW = 50


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"x" * UNENDED_BYTES, "closed"),
        (b"x" * (UNENDED_BYTES + 1), "protocol"),
        (LIST + ROW_OF_LIST * FEW, "closed"),
        (LIST + ROW_OF_LIST * (FEW + 1), "protocol"),
    ],
    ids=["bytes", "a byte more", "rows", "a row more"],
)
async def test_what_does_not_end_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, reason: str
) -> None:
    monkeypatch.setattr("gateway.upstream.asterisk.ami.ROWS", FEW)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Asterisk Call Manager/13.0.0\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    async with asyncio.timeout(10), await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address = AmiAddress("127.0.0.1", port, "oscc", "secret")
        connection = await connect(address, SystemClock(), lambda _: None, lambda: None)
        with pytest.raises(ExceptionGroup) as ended:
            await _ask(connection)
    lost = ended.value.exceptions[0]
    assert isinstance(lost, LostError)
    assert lost.reason == reason


async def _ask(connection: AmiConnection) -> None:
    async with beside(connection.read()):
        await connection.action("QueueStatus")


async def test_one_action_more_than_may_wait_is_busy() -> None:
    clock = ManualClock()
    async with place(clock=clock) as at, asyncio.TaskGroup() as tasks:
        await clock.settle()
        at.fake.freeze()
        ping = partial(at.server.monitor.action, "Ping")
        asked = [tasks.create_task(ping()) for _ in range(UNDER_WAY)]
        await clock.settle()
        with refused_with(ErrorCode.BUSY):
            await ping()
        at.fake.thaw()
    assert [one.result()["Ping"] for one in asked] == ["Pong"] * UNDER_WAY


async def test_a_link_that_is_not_read_ends_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.asterisk.link.EVENTS", FEW)
    clock = ManualClock()
    async with place(clock=clock) as at:
        boss, cem = await at.boss(), await at.log_on("cem", Application.DASHBOARD)
        async with at.linked(cem) as ear:
            link = await at.server.open(boss.user.id, boss.secret, token=1, holder="a")
            async with beside(link.request(Listen(Kind.AGENT, Source.REALTIME, None))) as asked:
                while await link.receive() is not None:
                    pass  # until the answer
            assert asked.done()
            most = 0
            for turn in range(2 * FEW):
                at.fake.set_paused(DESK, None if turn % 2 else "Lunch")
                await clock.settle()
                most = max(most, link.waiting)
            assert most == FEW
            with pytest.raises(LinkClosed):
                await link.receive()
            assert ear.shown_agent(CEM).routing_state is RoutingState.AVAILABLE


# ---- the connection ----


@asynccontextmanager
async def served(fake: FakeAsterisk, tls: ssl.SSLContext | None) -> AsyncIterator[AmiAddress]:
    """Have *fake* listen, by TLS if wanted; gives its address without trust in it."""
    fake.tls = tls
    await fake.start()
    try:
        yield AmiAddress("127.0.0.1", fake.port, "oscc", "secret")
    finally:
        await fake.stop()


async def logged_in(address: AmiAddress) -> str:
    """Connect and log in; returns what came of it: the version, or why there is none."""
    try:
        connection = await connect(address, SystemClock(), lambda _: None, lambda: None)
    except LostError as error:
        return error.reason
    with pytest.raises(ExceptionGroup) as ended:
        await _log_in(connection, address)
    (lost,) = ended.value.exceptions[:1]
    assert isinstance(lost, LostError)
    return connection.version or lost.reason


async def _log_in(connection: AmiConnection, address: AmiAddress) -> None:
    async with beside(connection.read()):
        await log_in(connection, address)
        connection.drop("done")


async def test_an_asterisk_behind_tls_is_trusted_or_not_and_clear_text_at_one_end_is_said(
    tmp_path: Path,
) -> None:
    server, client = both_ends(tmp_path)
    async with asyncio.timeout(30), served(FakeAsterisk(lambda: 0.0), server) as address:
        assert await logged_in(address._replace(tls=client)) == "13.0.0"
        assert await logged_in(address._replace(tls=ssl.create_default_context())) == "tls"
        assert await logged_in(address) in {"closed", "protocol"}
    async with asyncio.timeout(30), served(FakeAsterisk(lambda: 0.0), None) as address:
        assert await logged_in(address._replace(tls=client)) == "tls"


async def test_an_event_that_comes_before_its_answer_is_the_effect_all_the_same(at: Place) -> None:
    """Answers are written at once, events pass a queue of their own: any order may be seen."""
    at.fake.answers_last = True
    async with at.linked(await at.assistant()) as ear:
        began = at.clock.now()
        assert await ear.command(SetRoutingState("available")) == Executed("applied")
        assert ear.shown_agent(ANA).routing_state is RoutingState.AVAILABLE
        assert at.clock.now() - began < EFFECT_S
