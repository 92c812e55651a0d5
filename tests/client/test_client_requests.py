"""Requests of the client are answered once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.client import (
    ErrorCode,
    GatewayClient,
    GatewayError,
    SetAgentRoutingState,
    Status,
)
from gateway.client.dialogue import WAITING_MAX
from gateway.protocol import frames
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import Phone, ScriptedGateway

COMMAND = SetAgentRoutingState("5", "unavailable", "3", "after_contact")


# ---- commands ----


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
