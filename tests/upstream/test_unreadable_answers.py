"""An answer that cannot be read fails its request, and never closes the link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.app.adapters import Tracing, measured_sites
from gateway.app.metrics import SiteReach
from gateway.domain.commands import (
    AttachSession,
    DetachSession,
    Directory,
    KeepAlive,
    LinkRequest,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    StopListening,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Kind, SessionSecret
from gateway.domain.upstream import Attached, Source
from gateway.telemetry import Telemetry
from tests.upstream.samples import SESSION
from tests.upstream.scripted_server import Scene, ended, execute, outcome, scene


@pytest.fixture
async def at() -> AsyncIterator[Scene]:
    async with scene() as made:
        yield made


async def test_an_answer_to_an_attach_that_cannot_be_read_concerns_only_its_session(
    at: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = Telemetry()
    measured_sites({"main": at.adapter}, telemetry, Tracing(), {"main": SiteReach()}, {})
    link = await at.open()
    async with asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(ended(link))
        for number in range(3):
            asked = tasks.create_task(outcome(link, AttachSession(SessionSecret("canary"))))
            await at.server.respond(Session="canary", ID=number)
            assert await asked is ErrorCode.UPSTREAM_UNAVAILABLE
        asked = tasks.create_task(outcome(link, AttachSession(SessionSecret("good"))))
        await at.server.respond(**SESSION)
        assert isinstance(await asked, Attached)
        assert not receiving.done()
        await link.close()
    (logged,) = (vars(each) for each in caplog.records if each.message == "link_message_unreadable")
    assert logged["fault"] == "an answer cannot be read", "a field that the log of a node shows"
    assert "canary" not in str(logged)
    failures = "oscc_gateway_upstream_failures_total"
    assert telemetry.registry.get_sample_value(failures, {"cause": "unreadable"}) == 3


@pytest.mark.parametrize("by", ["send", "request"])
@pytest.mark.parametrize(
    ("request_", "waits_s"),
    [
        (Listen(Kind.AGENT, Source.REALTIME, None), [10, 20, 40, 80, 160, 300, 300]),
        (QueryDirectory(), [10, 20, 30, 30]),
    ],
)
async def test_data_whose_answer_cannot_be_read_is_requested_later_and_later_on_the_same_link(
    at: Scene, request_: LinkRequest, waits_s: list[int], by: str
) -> None:
    link, seen = await at.open(), list[object]()

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

    async with asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(ended(link))
        await at.clock.settle()
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
        assert not receiving.done()
        await link.close()


@pytest.mark.parametrize("request_", [Presence(1, True), StopListening(3), DetachSession(2), KeepAlive()])
async def test_no_answer_that_cannot_be_read_closes_the_link(at: Scene, request_: LinkRequest) -> None:
    link = await at.open()
    async with asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(ended(link))
        for _ in range(2):
            asked = tasks.create_task(outcome(link, request_))
            await at.server.respond(Error="canary")
            assert await asked is ErrorCode.UPSTREAM_UNAVAILABLE
        assert not receiving.done()
        await link.close()


async def test_a_late_answer_that_cannot_be_read_does_not_close_the_link(at: Scene) -> None:
    link = await at.open()
    async with asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(ended(link))
        withdraw = link.send(Listen(Kind.AGENT, Source.REALTIME, None), lambda _: None)
        assert withdraw is not None
        await at.clock.settle()
        withdraw()
        await at.server.respond(QueryID="odd")
        await at.clock.settle()
        assert not receiving.done()
        await link.close()


@pytest.mark.parametrize("answer", [{}, {"State": 5}, {"Error": "x"}, {"State": "Odd"}])
async def test_an_answer_to_a_command_that_cannot_be_read_leaves_the_link_open(
    at: Scene, answer: dict[str, object]
) -> None:
    link = await at.open()
    seen: list[object] = []
    async with asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(ended(link))
        await at.clock.settle()
        link.send(execute(), seen.append)
        await at.server.respond(**answer)
        await at.clock.settle()
        waited_for = tasks.create_task(outcome(link, execute()))
        await at.server.respond(**answer)
        assert await waited_for is ErrorCode.UPSTREAM_TIMEOUT
        assert not receiving.done()
        await link.close()
    assert [each.code for each in seen if isinstance(each, GatewayError)] == [ErrorCode.UPSTREAM_TIMEOUT]
