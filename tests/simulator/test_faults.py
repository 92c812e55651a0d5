"""Faults of the simulator: their effects, and recovery."""

from __future__ import annotations

import aiohttp
import pytest

from gateway.simulator.faults import MALFORMED, OVERSIZED_BYTES, notice
from gateway.simulator.fields import Refused
from tests.doubles.tasks import beside
from tests.simulator.client import SimulatorClient
from tests.simulator.peer import AGENT, Message, Peer, World


def events(peer: Peer) -> list[Message]:
    return [each for each in peer.take() if each["Type"] == "Event"]


def watched() -> tuple[World, Peer]:
    world = World()
    world.sim.center.log_on(world.agent())
    link, peer = world.open()
    world.listen(link, "UserRealtime")
    world.pass_time(0.25)
    peer.take()
    return world, peer


def change(world: World, target: str, key: int = AGENT) -> None:
    world.clock.step(1000)
    world.sim.board.turn(world.clock.now_ms())
    world.sim.center.ask(world.agent(key), target, None, "Now", "Self")  # type: ignore[arg-type] # a routing state
    world.sim.board.publish()


def test_a_duplicate_repeats_the_last_event() -> None:
    world, peer = watched()
    change(world, "Available")
    world.sim.faults.duplicate_event(None)
    one, two = events(peer)
    assert one == two


def test_a_late_event_comes_after_the_next_one() -> None:
    world, peer = watched()
    world.sim.center.log_on(world.agent(10_003))
    world.sim.board.publish()
    peer.take()
    world.sim.faults.late_event("supervisor1")
    change(world, "Available")
    assert events(peer) == []
    change(world, "Available", 10_003)
    new, late = events(peer)
    assert new["Time"] > late["Time"]
    assert [each["UserKey"] for each in late["Elements"]] == [AGENT]
    assert world.sim.board.of_user(100_001) is not None


def test_a_late_event_comes_with_the_next_reading_at_the_latest() -> None:
    world, peer = watched()
    world.sim.faults.late_event(None)
    change(world, "Available")
    world.pass_time(0.25)
    assert len(events(peer)) == 1


def test_a_log_off_is_never_late_or_twice() -> None:
    world, peer = watched()
    world.sim.faults.late_event(None)
    change(world, "LoggedOff")
    assert events(peer)[0]["Removed"] == [AGENT]
    world.sim.faults.duplicate_event(None)
    assert events(peer) == []


def test_an_unknown_state_is_said_until_it_is_taken_back() -> None:
    world, peer = watched()
    world.sim.faults.unknown_state(AGENT, "Levitating")
    world.pass_time(0.25)
    assert peer.state["UserRealtime"][AGENT]["RoutingState"] == "Levitating"
    world.sim.faults.unknown_state(AGENT, None)
    world.pass_time(0.25)
    assert peer.state["UserRealtime"][AGENT]["RoutingState"] == "Unavailable"
    with pytest.raises(Refused, match="NotFound"):
        world.sim.faults.unknown_state(4711, "x")


def test_a_split_outbids_the_holder() -> None:
    world, peer = watched()
    world.sim.faults.split("supervisor1", 50)
    assert (peer.take(), peer.closed) == ([{"Type": "LinkReplaced", "Token": 50}], 4409)
    with pytest.raises(Refused, match="LinkStale"):
        world.link(world.log_on(), token=50)
    world.link(world.log_on(), token=51)


def test_functions_are_reported_to_everybody_once() -> None:
    world, peer = watched()
    world.sim.faults.set_function("Voice", "Degraded")
    world.sim.faults.set_function("Voice", "Degraded")
    assert [each["State"] for each in peer.take()] == ["Degraded"]
    with pytest.raises(Refused, match="NotFound"):
        world.sim.faults.set_function("Gravity", "Down")


def test_without_fencing_links_replace_by_newest() -> None:
    world, _ = watched()
    world.sim.faults.link_fencing(on=False)
    assert "LinkFencing" not in world.sim.about.features
    world.link(world.log_on(), token=0, holder="")
    world.sim.faults.link_fencing(on=True)
    with pytest.raises(Refused, match="LinkStale"):
        world.link(world.log_on(), token=0)


async def test_malformed_and_oversized_messages_arrive(client: SimulatorClient) -> None:
    session = await client.log_on()
    line = await client.link(session["SessionID"])
    await line.greeting()
    client.sim.faults.send("supervisor1", MALFORMED)
    with pytest.raises(ValueError, match="Expecting"):
        await line.read()
    client.sim.faults.send(None, notice("x" * OVERSIZED_BYTES))
    message = await line.socket.receive(timeout=20)
    assert message.type is aiohttp.WSMsgType.ERROR


@pytest.mark.parametrize("fault", ["freeze", "delay"])
async def test_a_frozen_server_answers_nothing_until_it_thaws_and_a_slow_one_later(
    client: SimulatorClient, fault: str
) -> None:
    getattr(client.sim.faults, fault)(5, None)
    async with beside(client.call("GET", "about")) as asking:
        for _ in range(20):
            assert (await client.control("GET", "routing"))[0] == 200
        assert not asking.done()
        await client.clock.advance(5)
    assert asking.result()[0] == 200
