"""A whole simulator on real sockets, from the first log-on to the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import uvloop

from gateway.simulator import ManualClock, Simulator, SimulatorSettings
from gateway.simulator.server import introduction
from tests.simulator.client import SimulatorClient
from tests.simulator.peer import AGENT, QUIET


async def test_the_realtime_interval_batches_and_on_change_does_not() -> None:
    for on_change, expected in ((False, 0), (True, 1)):
        clock = ManualClock()
        settings = replace(QUIET, on_change=on_change, interval_s=1.0)
        async with Simulator(settings, clock) as simulator, SimulatorClient(simulator) as client:
            await client.log_on("agent1")
            await clock.advance(1)
            before = simulator.board.published_changes
            simulator.center.ask(simulator.center.directory.agents[AGENT], "Available", None, "Now", "Self")
            await clock.advance(0.25)
            assert (simulator.board.published_changes > before) == expected
            await clock.advance(1)
            assert simulator.board.published_changes > before


async def test_the_wished_number_of_changes_happens() -> None:
    clock = ManualClock()
    settings = SimulatorSettings(agents=50, queues=5, events_per_s=40, on_change=True)
    async with Simulator(settings, clock) as simulator:
        await clock.advance(60)
        before = simulator.board.published_changes
        await clock.advance(60)
        assert 0.8 * 2400 < simulator.board.published_changes - before < 1.5 * 2400
        simulator.pause()
        before = simulator.board.published_changes
        await clock.advance(200)
        quiet = simulator.board.published_changes
        await clock.advance(60)
        assert simulator.board.published_changes == quiet


@pytest.mark.parametrize("tls", [False, True])
def test_links_live_on_uvloop_too(tls: bool) -> None:
    async def live() -> str:
        async with (
            Simulator(replace(QUIET, tls=tls), ManualClock()) as simulator,
            SimulatorClient(simulator) as client,
        ):
            line = await client.link((await client.log_on())["SessionID"])
            return str((await line.greeting())["Type"])

    assert uvloop.run(live()) == "LinkOpened"


async def test_the_same_seed_makes_the_same_centre() -> None:
    truths = []
    for _ in range(2):
        clock = ManualClock()
        async with Simulator(SimulatorSettings(agents=30, queues=5), clock) as simulator:
            await clock.advance(300)
            truths.append([repr(agent) for agent in simulator.center.directory.agents.values()])
    assert truths[0] == truths[1]


async def test_a_centre_that_opens_has_a_past() -> None:
    async with Simulator(SimulatorSettings(start_paused=True), ManualClock()) as simulator:
        center = simulator.center
        agents, queues = center.directory.agents.values(), center.directory.queues.values()
        assert center.now_ms == simulator.clock.now_ms()
        assert {agent.state for agent in agents if agent.logged_on} == {"Available", "Unavailable", "Work"}
        assert not all(agent.logged_on for agent in agents)
        assert any(agent.post for agent in agents)
        assert {contact.state for agent in agents for contact in agent.contacts} >= {"Ringing", "Talking"}
        assert len({agent.since_ms for agent in agents}) > 100
        assert sum(len(queue.waiting) for queue in queues) > 0
        assert all(queue.counters.answered > 0 for queue in queues)
        assert any(queue.counters.within_threshold < queue.counters.answered for queue in queues)
        assert not center.changes


async def test_a_centre_without_a_past_has_just_opened() -> None:
    settings = SimulatorSettings(warm_up_s=0, start_paused=True)
    async with Simulator(settings, ManualClock()) as simulator:
        center = simulator.center
        assert {agent.since_ms for agent in center.directory.agents.values() if agent.logged_on} == {
            center.now_ms
        }
        assert not any(queue.counters.received for queue in center.directory.queues.values())


def test_the_introduction_names_doors_and_log_ons() -> None:
    simulator = Simulator(QUIET, ManualClock())
    simulator.url, simulator.control_url = "http://127.0.0.1:1", "http://127.0.0.1:2"
    text = introduction(simulator)
    assert "http://127.0.0.1:1" in text
    assert "supervisor1 … supervisor4, password demo" in text
