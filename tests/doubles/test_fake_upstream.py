"""Does the double follow its script: scopes, own values, silence, breaks and restarts?"""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain.commands import Execute, Executed, KeepAlive, Listen, SetAgentRoutingState
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Application, Device, Kind, Scope
from gateway.domain.resources import Agent, AutoPostProcessing, Handling, Queue, RoutingState, Skill
from gateway.domain.upstream import (
    CatalogueChanged,
    FunctionChanged,
    LinkClosed,
    LinkEvent,
    LoggedOn,
    LogOn,
    ObjectChanged,
    Opened,
    Part,
    Reading,
    ScopeChanged,
    SessionEnded,
    Source,
)
from tests.doubles.clock import ManualClock
from tests.doubles.fake_link import FakeLink
from tests.doubles.fake_upstream import FakeUpstream

ANA = Part(Kind.AGENT, 7, Source.REALTIME, Agent(routing_state=RoutingState.AVAILABLE))
BEN = Part(
    Kind.AGENT,
    8,
    Source.REALTIME,
    Agent(routing_state=RoutingState.WORK, auto_post_processing=AutoPostProcessing(on=True)),
    "+4989555",
)
WHOLE = Scope(agents=frozenset({7, 8}))


class Scene:
    """A server, its clock and a supervisor's open link that listens to agents."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.server = FakeUpstream(self.clock)
        self.user = self.server.add_user(1, "sue", scope=WHOLE, own_agent=7)
        self.server.put(ANA)
        self.server.put(BEN)

    async def log_on(self) -> LoggedOn:
        device = Device("d", "Tablet")
        return await self.server.log_on(LogOn(Application.DASHBOARD, "sue", "secret", device))

    async def open(self, *listens: Listen) -> FakeLink:
        session = await self.log_on()
        link = await self.server.open(self.user, session.secret, token=1, holder="a")
        for listen in listens:
            asked = asyncio.Event()

            async def ask(listen: Listen = listen, asked: asyncio.Event = asked) -> None:
                await link.request(listen)
                asked.set()

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ask())
                while not asked.is_set():
                    await link.receive()
                    await asyncio.sleep(0)
        return link


async def told(link: FakeLink) -> list[LinkEvent]:
    """Take all that the link has to say now."""
    events: list[LinkEvent] = []
    while link.speaks:
        event = await link.receive()
        if event is not None:
            events.append(event)
    return events


AGENTS = Listen(Kind.AGENT, Source.REALTIME, None)
DIRECTORY = Listen(None, Source.DIRECTORY, None)


async def test_the_whole_set_hides_what_belongs_to_another() -> None:
    (reading,) = await told(await Scene().open(AGENTS))
    assert isinstance(reading, Reading)
    own, other = reading.parts
    assert own is ANA
    assert (other.number, other.remote_number) == (8, None)
    assert isinstance(other.value, Agent)
    assert other.value.auto_post_processing is None


async def test_one_part_is_the_same_object_on_all_links() -> None:
    scene = Scene()
    first = await scene.open(AGENTS)
    other = scene.server.add_user(2, "tom", scope=WHOLE)
    session = await scene.server.log_on(LogOn(Application.DASHBOARD, "tom", "secret", Device("e", "Phone")))
    second = await scene.server.open(other, session.secret, token=1, holder="a")
    scene.server.wires[other].queries[99] = AGENTS
    await told(first)
    await told(second)
    scene.server.put(BEN)
    (here,), (there,) = await told(first), await told(second)
    assert isinstance(here, Reading)
    assert isinstance(there, Reading)
    assert here.parts[0] is there.parts[0]


async def test_what_is_out_of_scope_is_not_told() -> None:
    scene = Scene()
    link = await scene.open(AGENTS)
    await told(link)
    scene.server.put(Part(Kind.AGENT, 9, Source.REALTIME, Agent()))
    scene.server.put(Part(Kind.QUEUE, 7, Source.REALTIME, Queue()))
    scene.server.remove(Kind.AGENT, 9, Source.REALTIME)
    assert await told(link) == []
    scene.server.remove(Kind.AGENT, 8, Source.REALTIME)
    (reading,) = await told(link)
    assert isinstance(reading, Reading)
    assert (reading.removed, reading.complete) == ((8,), False)


async def test_a_grown_scope_tells_objects_before_whole_sets() -> None:
    scene = Scene()
    queue = Part(Kind.QUEUE, 3, Source.DIRECTORY, Queue(name="Sales"))
    scene.server.put(queue)
    link = await scene.open(DIRECTORY, AGENTS)
    await told(link)
    grown = Scope(agents=frozenset({7}), queues=frozenset({3}))
    scene.server.set_scope(scene.user, Application.DASHBOARD, grown)
    changed, added, whole = await told(link)
    assert isinstance(changed, ScopeChanged)
    assert changed.scope == grown
    assert added == ObjectChanged(Kind.QUEUE, 3, queue)
    assert isinstance(whole, Reading)
    assert (whole.complete, [part.number for part in whole.parts]) == (True, [7])


async def test_catalogues_and_functions_are_told() -> None:
    scene = Scene()
    link = await scene.open(DIRECTORY)
    await told(link)
    scene.server.set_catalogue(skills=(Skill("1", "French"),))
    scene.server.set_function("voice", next(iter(scene.server.functions.values())))
    catalogue, function = await told(link)
    assert isinstance(catalogue, CatalogueChanged)
    assert isinstance(function, FunctionChanged)


async def test_a_muted_link_times_out_and_says_it_all_later() -> None:
    scene = Scene()
    link = await scene.open()
    await told(link)
    link.mute()

    async def ask() -> ErrorCode | None:
        try:
            await link.request(KeepAlive())
        except GatewayError as error:
            return error.code
        return None

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask())
        await scene.clock.advance(5)
    assert asking.result() is ErrorCode.UPSTREAM_UNAVAILABLE
    assert not link.speaks
    link.unmute()
    assert await link.receive() is None


async def test_a_dropped_link_loses_what_was_not_received() -> None:
    scene = Scene()
    link = await scene.open(AGENTS)
    scene.server.put(BEN)
    scene.server.drop(scene.user)
    with pytest.raises(LinkClosed):
        await link.receive()
    assert scene.server.link(scene.user) is None
    assert not link.open


async def test_a_restart_forgets_every_session() -> None:
    scene = Scene()
    session = await scene.log_on()
    scene.server.restart()
    with pytest.raises(LinkClosed) as refused:
        await scene.server.open(scene.user, session.secret, token=9, holder="a")
    assert refused.value.reason == "session_unknown"
    assert (Source.REALTIME, Kind.AGENT, 7) not in scene.server.parts


async def test_an_ended_session_is_told_and_the_last_one_closes_the_link() -> None:
    scene = Scene()
    link = await scene.open()
    await told(link)
    (session,) = scene.server.live.values()
    scene.server.end_session(session, EndReason.BLOCKED, by="admin")
    ended = await link.receive()
    assert isinstance(ended, SessionEnded)
    assert (ended.reason, ended.by) == (EndReason.BLOCKED, "admin")
    with pytest.raises(LinkClosed):
        await link.receive()


async def test_nobody_answers_while_unreachable() -> None:
    scene = Scene()
    scene.server.unreachable = True
    with pytest.raises(GatewayError) as refused:
        await scene.log_on()
    assert refused.value.code is ErrorCode.UPSTREAM_UNAVAILABLE


async def test_refusals_are_obeyed() -> None:
    scene = Scene()
    scene.server.log_on_refusals.append(GatewayError(ErrorCode.ACCOUNT_LOCKED, "locked", retry_after_s=60))
    with pytest.raises(GatewayError) as refused:
        await scene.log_on()
    assert refused.value.code is ErrorCode.ACCOUNT_LOCKED
    link = await scene.open()
    scene.server.refusals[KeepAlive] = GatewayError(ErrorCode.BUSY, "busy")
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(_refused(link))
        await scene.clock.settle()
        await told(link)
    assert asking.result() is ErrorCode.BUSY


async def _refused(link: FakeLink) -> ErrorCode | None:
    try:
        await link.request(KeepAlive())
    except GatewayError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("handling", "state", "when", "outcome"),
    [
        (False, "work", "now", Executed("applied")),
        (False, "available", "now", Executed("unchanged")),
        (True, "work", "now", Executed("pending")),
        (True, "logged_off", "after_contact", Executed("pending")),
        (True, "logged_off", "now", ErrorCode.NOT_ALLOWED_WHILE_HANDLING),
        (False, "logged_off", "now", Executed("applied")),
    ],
)
async def test_commands_obey_the_state_rules(
    handling: bool, state: str, when: str, outcome: Executed | ErrorCode
) -> None:
    scene = Scene()
    contacts = (Handling("c-1", "voice", "talking"),) if handling else ()
    scene.server.put(
        Part(Kind.AGENT, 7, Source.REALTIME, Agent(routing_state=RoutingState.AVAILABLE, handling=contacts))
    )
    link = await scene.open()
    opened = await link.receive()
    assert isinstance(opened, Opened)
    command = SetAgentRoutingState("7", state, None, when)  # type: ignore[arg-type] # parametrised
    request = Execute(opened.attached.alias, command, "k", scene.clock.wall_ms() + 1_000)
    if isinstance(outcome, ErrorCode):
        with pytest.raises(GatewayError) as refused:
            scene.server.serve(scene.server.wires[scene.user], request)
        assert refused.value.code is outcome
    else:
        assert scene.server.serve(scene.server.wires[scene.user], request) == outcome
