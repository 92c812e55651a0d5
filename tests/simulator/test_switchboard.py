"""Subscriptions of the simulator: order, and convergence on the truth."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.simulator.elements import render
from gateway.simulator.links import of_kind
from gateway.simulator.model import Kind, Scope, TargetState
from gateway.simulator.server import current_state, users
from tests.simulator.peer import AGENT, QUIET, Free, Peer, World, key_of

KINDS = [kind.value for kind in Kind]
BUSY = replace(QUIET, agents=40, queues=6, groups=3, seed=7)


def timeless(element: Free) -> Free:
    """An element without what differs by the instant of reading."""
    if isinstance(element, dict):
        return {k: timeless(v) for k, v in element.items() if not k.startswith(("TimeIn", "OldestContact"))}
    return [timeless(each) for each in element] if isinstance(element, list) else element


def expect_truth(world: World, peer: Peer, scope: Scope, own: int | None = None) -> None:
    for kind in Kind:
        truth = {
            key: timeless(json.loads(json.dumps(found)))
            for key in of_kind(scope, kind)
            if (found := render(world.sim.center, kind, key, own=key == own)) is not None
        }
        assert {key: timeless(value) for key, value in peer.state[kind.value].items()} == truth, kind


def test_a_link_replaced_before_it_was_open_receives_that_first(world: World) -> None:
    session = world.log_on()
    link = world.sim.board.admit(session, 1, "one")
    world.link(session, token=2)
    peer = Peer()
    world.sim.board.opened(link, peer)
    assert ([each["Type"] for each in peer.received], peer.closed) == (["LinkReplaced"], 4409)


def test_one_reading_is_the_same_bytes_for_all(world: World) -> None:
    world.sim.center.log_on(world.agent())
    peers = []
    for user in ("supervisor1", "supervisor2"):
        link, peer = world.open(user)
        world.listen(link, "UserRealtime")
        peer.raw.clear()
        peers.append(peer)
    world.sim.center.ask(world.agent(), "Available", None, "Now", "Self")
    world.pass_time(0.25)
    one, other = ([frame.split(b'"Elements":')[1] for frame in peer.raw] for peer in peers)
    assert one == other
    assert {each["Time"] for peer in peers for each in peer.received[-1:]} == {world.clock.now_ms()}


def test_a_query_that_begins_or_stops_counts_from_the_next_publication_on(world: World) -> None:
    world.sim.center.log_on(world.agent())
    link, peer = world.open()

    def published(state: TargetState) -> set[str]:
        peer.take()
        world.sim.center.ask(world.agent(), state, None, "Now", "Self")
        world.pass_time(0.25)
        return {each["EventType"] for each in peer.take()}

    query = world.ask(link, "ListenForEvents", EventType="UserRealtime", Keys="All")["QueryID"]
    assert published("Available") == {"UserRealtime"}
    world.listen(link, "GroupRealtime")
    assert published("Work") == {"UserRealtime", "GroupRealtime"}
    world.ask(link, "StopListeningForEvents", QueryID=query)
    assert published("Available") == {"GroupRealtime"}


@pytest.mark.parametrize("user", ["supervisor1", "supervisor3", "agent10"])
def test_folding_events_always_leads_to_the_truth(user: str) -> None:
    world = World(BUSY)
    world.sim.life.begin()
    link, peer = world.open(user)
    world.listen(link, *KINDS)
    world.sim.center.resume()
    own = world.sim.accounts.by_name[user].agent_key
    for minute in range(20):
        world.pass_time(30)
        world.sim.life.change_desks(15 * (minute % 2))
        world.sim.board.publish()
        if minute % 5 == 0:
            world.sim.administration.rename(60_001, f"Queue {minute}")
            world.sim.administration.add_queue(f"New {minute}", "Email", 90_001)
        expect_truth(world, peer, link.subscriptions.union(), own)
    assert len(peer.received) > 100


def test_a_function_that_is_down_holds_its_events_back_until_it_is_up(world: World) -> None:
    world.sim.center.log_on(world.agent())
    link, peer = world.open()
    world.listen(link, "UserRealtime")
    world.sim.faults.set_function("RealTime", "Down")
    peer.take()
    world.sim.center.ask(world.agent(), "Available", None, "Now", "Self")
    world.pass_time(2)
    assert peer.take() == []
    world.sim.faults.set_function("RealTime", "Up")
    world.pass_time(0.25)
    assert peer.state["UserRealtime"][AGENT]["RoutingState"] == "Available"


# ---- The truth is what links would receive ----


def test_it_is_what_a_link_of_the_first_supervisor_receives(world: World) -> None:
    world.log_on("agent1")
    link, peer = world.open()
    world.listen(link, *Kind)
    received = current_state(world.sim)
    for kind in Kind:
        elements = received[kind.value]
        assert isinstance(elements, list)
        assert {key_of(kind, each) for each in elements} == set(peer.state[kind])
    assert isinstance(received["Own"], dict)
    assert received["Own"][str(AGENT)]["Remote"]["RemoteNumber"] == "+49300000001"


def test_log_ons_to_try_work(world: World) -> None:
    found = users(world.sim)["Users"]
    assert isinstance(found, list)
    for each in found[:6]:
        world.log_on(each["UserName"], password=each["Password"])
    assert world.sim.sessions.log_ons == 6
