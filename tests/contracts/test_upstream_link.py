"""Contract of the port Link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from gateway.domain.commands import (
    Alive,
    AttachSession,
    DetachSession,
    Directory,
    Executed,
    KeepAlive,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    SetAgentRoutingState,
    SetRoutingState,
    StopListening,
)
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, Right, SessionSecret
from gateway.domain.resources import Agent, RoutingState
from gateway.domain.upstream import Attached, LinkClosed, Opened, Reading, SessionEnded, Source
from gateway.runtime.ports import Link
from tests.contracts.upstream_sites import SITES, Received, Site, hearing
from tests.doubles.kept import kept
from tests.doubles.refusals import refused_with


@pytest.fixture(params=SITES)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with request.param() as made:
        yield made


class Heard(NamedTuple):
    """A link that receives beside the test, and the session that opened it."""

    link: Link
    arrived: Received
    attached: Attached


@pytest.fixture
async def assistant(site: Site) -> AsyncIterator[Heard]:
    link = await site.link(await site.assistant())
    async with kept(hearing(link)) as arrived:
        yield Heard(link, arrived, (await arrived.first(Opened)).attached)


# ---- Link ----


async def test_listening_answers_then_brings_the_whole_set(site: Site) -> None:
    link = await site.link(await site.assistant())
    async with hearing(link) as arrived:
        answer = await link.request(Listen(Kind.AGENT, Source.REALTIME, None))
        assert isinstance(answer, Listening)
        reading = await arrived.first(Reading)
    assert (reading.query, reading.complete) == (answer.query, True)
    assert (reading.kind, reading.source) == (Kind.AGENT, Source.REALTIME)
    (own,) = reading.parts
    assert isinstance(own.value, Agent)
    assert own.value.routing_state is RoutingState.UNAVAILABLE
    assert own.remote_number == site.remote_number


async def test_configuration_covers_all_kinds(site: Site) -> None:
    link = await site.link(await site.dashboard())
    async with hearing(link) as arrived:
        await link.request(Listen(None, Source.CONFIGURATION, None))
        reading = await arrived.first(Reading)
    assert (reading.kind, reading.source, reading.complete) == (None, Source.CONFIGURATION, True)


async def test_a_query_that_is_asked_again_is_another_one(site: Site, assistant: Heard) -> None:
    """What ends the first must not end the second."""
    link, arrived, attached = assistant
    first = await link.request(Listen(Kind.AGENT, Source.REALTIME, None))
    second = await link.request(Listen(Kind.AGENT, Source.REALTIME, None))
    assert isinstance(first, Listening)
    assert isinstance(second, Listening)
    assert first.query != second.query
    await link.request(StopListening(first.query))
    received = len(arrived.events)
    await link.request(site.execute(attached.alias, SetRoutingState("available")))
    readings = [event for event in arrived.events[received:] if isinstance(event, Reading)]
    assert {event.query for event in readings} == {second.query}


async def test_the_directory_shows_the_own_agent(assistant: Heard) -> None:
    directory = await assistant.link.request(QueryDirectory())
    assert isinstance(directory, Directory)
    shown = {(part.kind, part.number, part.source) for part in directory.parts}
    assert (Kind.AGENT, assistant.attached.own_agent, Source.DIRECTORY) in shown


async def test_a_further_session_is_attached_and_detached(site: Site) -> None:
    first, second = await site.dashboard(), await site.assistant()
    link = await site.link(first)
    async with hearing(link):
        attached = await link.request(AttachSession(second.secret))
        assert isinstance(attached, Attached)
        assert (attached.session, attached.application) == (second.session, Application.REMOTE_ASSISTANT)
        assert Right.OWN_ROUTING_STATE in attached.rights
        assert await link.request(Presence(attached.alias, present=True)) is None
        listed = await site.server.sessions(first.secret)
        assert all(info.attached for info in listed)
        assert await link.request(DetachSession(attached.alias)) is None
        listed = await site.server.sessions(first.secret)
        assert {info.session: info.attached for info in listed} == {
            first.session: True,
            second.session: False,
        }


async def test_attaching_an_unknown_session_leaves_the_link_open(site: Site) -> None:
    link = await site.link(await site.dashboard())
    async with hearing(link):
        with refused_with(ErrorCode.SESSION_ENDED):
            await link.request(AttachSession(SessionSecret("no-such-session")))
        alive = await link.request(KeepAlive())
        assert alive is None or isinstance(alive, Alive), "an adapter may have no clock of its server"


async def test_a_session_that_ends_is_reported_with_its_reason(site: Site) -> None:
    first, second = await site.dashboard(), await site.assistant()
    link = await site.link(first)
    async with hearing(link) as arrived:
        attached = await link.request(AttachSession(second.secret))
        assert isinstance(attached, Attached)
        await site.server.log_off(second.secret)
        ended = await arrived.first(SessionEnded)
    assert (ended.alias, ended.reason) == (attached.alias, EndReason.LOGGED_OFF)


async def test_a_command_is_shown_as_state_before_it_is_answered(site: Site, assistant: Heard) -> None:
    link, arrived, attached = assistant
    await link.request(Listen(Kind.AGENT, Source.REALTIME, None))
    await arrived.first(Reading)
    received = len(arrived.events)
    answer = await link.request(site.execute(attached.alias, SetRoutingState("available")))
    assert answer == Executed("applied")
    states = [
        part.value.routing_state
        for event in arrived.events[received:]
        if isinstance(event, Reading)
        for part in event.parts
        if isinstance(part.value, Agent)
    ]
    assert RoutingState.AVAILABLE in states


async def test_the_present_state_asked_for_changes_nothing(site: Site, assistant: Heard) -> None:
    link, arrived, attached = assistant
    await link.request(Listen(Kind.AGENT, Source.REALTIME, None))
    await link.request(site.execute(attached.alias, SetRoutingState("available"), key="k-1"))
    received = len(arrived.events)
    answer = await link.request(site.execute(attached.alias, SetRoutingState("available"), key="k-2"))
    assert answer == Executed("unchanged")
    assert [event for event in arrived.events[received:] if isinstance(event, Reading)] == []


async def test_a_repeated_key_gets_the_first_answer(site: Site, assistant: Heard) -> None:
    link, _, attached = assistant
    command = site.execute(attached.alias, SetRoutingState("available"))
    assert await link.request(command) == Executed("applied")
    assert await link.request(command) == Executed("applied")


async def test_a_late_command_is_not_executed(site: Site, assistant: Heard) -> None:
    link, _, attached = assistant
    with refused_with(ErrorCode.EXPIRED):
        await link.request(site.execute(attached.alias, SetRoutingState("available"), ttl_ms=-60_000))


async def test_an_agent_changes_nobody_else(site: Site, assistant: Heard) -> None:
    link, _, attached = assistant
    another = SetAgentRoutingState(str((attached.own_agent or 0) + 1), "work")
    with pytest.raises(GatewayError) as refused:
        await link.request(site.execute(attached.alias, another))
    assert refused.value.code in {ErrorCode.FORBIDDEN, ErrorCode.NOT_FOUND}


async def test_closing_ends_all_waits_and_may_be_repeated(site: Site) -> None:
    link = await site.link(await site.dashboard())
    assert isinstance(await link.receive(), Opened)

    async def ask() -> LinkClosed | None:
        try:
            await link.request(KeepAlive())
        except LinkClosed as closed:
            return closed
        return None

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask())
        await asyncio.sleep(0)
        await link.close()
    assert isinstance(asking.result(), LinkClosed)
    await link.close()
    with pytest.raises(LinkClosed):
        await link.receive()
    with pytest.raises(LinkClosed) as closed:
        await link.request(KeepAlive())
    assert closed.value.is_unsent


async def test_hearing_is_dated(site: Site) -> None:
    link = await site.link(await site.dashboard())
    await link.receive()
    assert 0 <= site.clock.now() - link.last_received_at < 60
    await link.close()
