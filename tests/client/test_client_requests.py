"""Requests of the client are answered once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.client import (
    ErrorCode,
    GatewayClient,
    GatewayError,
    Outcome,
    SetAgentRoutingState,
    Status,
    Unreachable,
    Wishes,
)
from gateway.client.dialogue import WAITING_MAX
from gateway.protocol import frames
from tests.client.subject import log_on
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import Phone, ScriptedGateway, created, welcome

COMMAND = SetAgentRoutingState("5", "unavailable", "3", "after_contact")
APPLIED = frames.OutcomeView("applied")


# ---- commands ----


async def test_a_command_gets_its_outcome(client: GatewayClient, peer: Phone, clock: ManualClock) -> None:
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.command(COMMAND, deadline_s=20))
        frame = await peer.receive(frames.CommandFrame)
        assert (frame.command, frame.stream, frame.retry) == (COMMAND, "1.a", False)
        assert frame.expires_at_ms == welcome().server_time_ms + 20_000
        await peer.send(frames.Result("other", frames.OutcomeView("rejected")))
        await peer.send(frames.Changes(5, 6), frames.Result(frame.id, APPLIED))
    assert asking.result() == Outcome(Status.APPLIED)


async def test_every_intended_action_has_its_own_key(client: GatewayClient, peer: Phone) -> None:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(client.command(COMMAND))
        both = [await peer.receive(frames.CommandFrame) for _ in range(2)]
        for frame in both:
            await peer.send(frames.Result(frame.id, APPLIED))
    assert len({frame.key for frame in both}) == len({frame.id for frame in both}) == 2


async def test_a_command_whose_connection_is_lost_is_sent_again_as_the_same(
    client: GatewayClient, peer: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.command(COMMAND))
        first = await peer.receive(frames.CommandFrame)
        peer.drop()
        await clock.advance(0.25)
        again = await gateway.phone()
        await again.receive(frames.Hello)
        await again.send(welcome(resumed=True), frames.Changes(5, 2, stream="9.a"))
        second = await again.receive(frames.CommandFrame)
        await again.send(frames.Result(second.id, frames.OutcomeView("unchanged")))
    assert second.retry
    assert (second.key, second.stream, second.expires_at_ms) == (first.key, "1.a", first.expires_at_ms)
    assert asking.result() == Outcome(Status.UNCHANGED)


async def test_without_a_result_by_its_deadline_the_outcome_is_unknown(
    client: GatewayClient, peer: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.command(COMMAND, deadline_s=3))
        await peer.receive(frames.CommandFrame)
        peer.drop()
        gateway.answer("GET", "/v1/realtime", 503)
        await clock.advance(2.9)
        assert not asking.done()
        await clock.advance(0.2)
        outcome = asking.result()
        assert outcome.status is Status.UNKNOWN
        assert outcome.error is not None
        assert outcome.error.code is ErrorCode.UPSTREAM_TIMEOUT
        gateway.answer("GET", "/v1/realtime", 101)
        await clock.advance(20)
        again = await gateway.phone()
        await again.resume()
        await clock.settle()
        assert again.silent


async def test_there_is_no_offline_queue(client: GatewayClient, peer: Phone, clock: ManualClock) -> None:
    peer.drop()
    await clock.settle()
    outcome = await client.command(COMMAND)
    assert outcome.status is Status.REJECTED
    assert isinstance(outcome.error, Unreachable)


async def test_the_end_makes_a_waiting_command_unknown(client: GatewayClient, peer: Phone) -> None:
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.command(COMMAND))
        await peer.receive(frames.CommandFrame)
        await peer.bye(4005, "logged_off")
    outcome = asking.result()
    assert outcome.status is Status.UNKNOWN
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.OWNER_LOST


async def test_a_rejected_command_says_why(client: GatewayClient, peer: Phone) -> None:
    error = {"code": "reason_required", "message": "Say why."}
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.command(COMMAND))
        frame = await peer.receive(frames.CommandFrame)
        await peer.send(frames.Result(frame.id, frames.OutcomeView("rejected", error)))
    outcome = asking.result()
    assert outcome.error is not None
    assert (outcome.status, outcome.error.code) == (Status.REJECTED, ErrorCode.REASON_REQUIRED)


async def test_commands_that_wait_are_bounded(client: GatewayClient, peer: Phone, clock: ManualClock) -> None:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(WAITING_MAX):
            tasks.create_task(client.command(COMMAND, deadline_s=1))
        await clock.settle()
        outcome = await client.command(COMMAND)
        await clock.advance(1.1)
    assert outcome.error is not None
    assert (outcome.status, outcome.error.code) == (Status.REJECTED, ErrorCode.OVERLOADED)


# ---- what to see ----


async def test_follow_replaces_the_topics_and_they_hold_for_the_next_connection(
    client: GatewayClient, peer: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    granted = frames.GrantedTopics(("queue:1",), (frames.RefusedTopic("queue:9", "not_found"),))
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.follow(["queue:1", "queue:9"]))
        frame = await peer.receive(frames.Follow)
        assert frame.topics == ("queue:1", "queue:9")
        await peer.send(frames.Followed(frame.id, granted))
    assert asking.result() == granted
    peer.drop()
    await clock.advance(0.25)
    assert (await (await gateway.phone()).receive(frames.Hello)).topics == ("queue:1", "queue:9")


async def test_follow_without_a_connection_is_answered_by_the_next(
    client: GatewayClient, peer: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    peer.drop()
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.follow(["agents"]))
        await clock.advance(0.25)
        again = await gateway.phone()
        assert (await again.receive(frames.Hello)).topics == ("agents",)
        await again.send(welcome(granted=("agents",)), frames.Changes(0, 1, stream="1.b", reset=True))
    assert asking.result().granted == ("agents",)


async def test_refused_topics_do_not_stay(
    client: GatewayClient, peer: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    with pytest.raises(GatewayError):
        await client.follow(["queues"] * 65)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(_follow_refused(client))
        frame = await peer.receive(frames.Follow)
        await peer.send(frames.ErrorFrame("bad_request", "No.", id=frame.id))
    assert asking.result() is ErrorCode.BAD_REQUEST
    peer.drop()
    await clock.advance(0.25)
    assert (await (await gateway.phone()).receive(frames.Hello)).topics is None


async def _follow_refused(client: GatewayClient) -> ErrorCode:
    with pytest.raises(GatewayError) as refused:
        await client.follow(["queues"])
    return refused.value.code


async def test_pace_holds_now_and_for_the_next_connection(
    client: GatewayClient, peer: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    await client.pace(5.0)
    assert await peer.receive(frames.Pace) == frames.Pace(5.0)
    peer.drop()
    await clock.settle()
    await client.pace(6.0)
    await clock.advance(0.25)
    assert (await (await gateway.phone()).receive(frames.Hello)).pace_s == 6.0
    with pytest.raises(GatewayError):
        await client.pace(61.0)


async def test_wishes_go_with_the_first_hello(gateway: ScriptedGateway, clock: ManualClock) -> None:
    gateway.answer("POST", "/v1/sessions", 201, created())
    wishes = Wishes(frames.ClientInfo("board", "1", "linux"), ("queues",), 2.0, 15.0)
    async with GatewayClient(gateway.address, wishes=wishes, clock=clock) as client:
        await log_on(client)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.connect())
            hello = await (await gateway.phone()).serve()
    assert (hello.client.app, hello.topics, hello.pace_s, hello.ping_s) == ("board", ("queues",), 2.0, 15.0)
