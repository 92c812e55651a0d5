"""The adapter before a real Asterisk: run by ``make asterisk`` where there is one.

It needs two queues at least, an AMI account with ``write=agent,system``, and leaves nothing behind.
"""

from __future__ import annotations

import os

import pytest

from gateway.domain.commands import ChangeRemoteNumber, Executed, Listen, SetRoutingState
from gateway.domain.model import Kind
from gateway.domain.resources import Agent, RoutingState
from gateway.domain.upstream import Opened, Reading, Source
from gateway.upstream.asterisk import AsteriskServer
from tests.contracts.upstream_sites import Site, hearing, live

pytestmark = pytest.mark.skipif(not os.environ.get("ASTERISK"), reason="no Asterisk is named: make asterisk")


def states(events: list[object]) -> list[RoutingState | None]:
    """Return the routing states of the only agent that an assistant's link reports."""
    readings = (event for event in events if isinstance(event, Reading) and event.source is Source.REALTIME)
    values = (part.value for reading in readings for part in reading.parts)
    return [value.routing_state for value in values if isinstance(value, Agent)]


async def test_an_agent_logs_on_becomes_available_moves_and_leaves_live() -> None:
    async with live() as site:
        session = await site.assistant()
        server = site.server
        assert isinstance(server, AsteriskServer)
        async with hearing(await site.link(session)) as received:
            alias = (await received.first(Opened)).attached.alias
            link = server.monitor.publisher.links[session.user.id.key]
            await link.request(Listen(Kind.AGENT, Source.REALTIME, None))
            assert states(list(received.events)) == [RoutingState.UNAVAILABLE]
            asked = site.execute(alias, SetRoutingState("available"), key="1")
            assert await link.request(asked) == Executed("applied")
            assert states(list(received.events))[-1] is RoutingState.AVAILABLE
            moved = site.execute(alias, ChangeRemoteNumber("+493098765432"), key="2")
            assert await link.request(moved) == Executed("applied")
            assert (await server.log_off(session.secret)).routing == "removed"
        await _shows_nothing_left(site, server)


async def test_what_is_read_is_what_events_led_to_live() -> None:
    async with live() as site:
        server = site.server
        assert isinstance(server, AsteriskServer)
        await site.assistant()
        monitor = server.monitor
        before = {name: sorted(queue.members) for name, queue in monitor.queues.queues.items()}
        await monitor.read_queues()
        assert {name: sorted(queue.members) for name, queue in monitor.queues.queues.items()} == before


async def _shows_nothing_left(site: Site, server: AsteriskServer) -> None:
    await server.monitor.read_queues()
    held = [name for name in server.monitor.queues.memberships if name.startswith("Local/ana@")]
    assert held == []
    assert server.accounts.sessions.of(site.user_name) == []
