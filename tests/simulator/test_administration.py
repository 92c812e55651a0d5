"""Changes of directory, scopes and accounts are sent where they may be seen."""

from __future__ import annotations

import pytest

from gateway.simulator.fields import Refused
from tests.simulator.peer import AGENT, Message, Peer, World


def administration(peer: Peer) -> list[Message]:
    events = [each for each in peer.take() if each.get("EventType") == "Administration"]
    return [element for event in events for element in event["Elements"]]


def test_a_new_queue_grows_the_scopes_it_belongs_to() -> None:
    world = World()
    link, peer = world.open()
    world.listen(link, "QueueRealtime", "Administration", "Configuration")
    peer.take()
    key = world.sim.administration.add_queue("New", "Email", 90_001)
    elements = administration(peer)
    assert (elements[0]["ObjectType"], elements[1]["Key"]) == ("Session", key)
    assert key in peer.state["QueueRealtime"]
    assert key in peer.state["Configuration"]


def test_a_removed_object_is_reported_and_leaves_every_set() -> None:
    world = World()
    link, peer = world.open()
    world.listen(link, "QueueRealtime", "Administration")
    queues = world.sim.center.directory.queues
    queues[60_002].parameters["OverflowQueue"] = 60_001
    world.sim.center.arrive(queues[60_001])
    peer.take()
    world.sim.administration.remove(60_001)
    assert administration(peer)[0] == {"ObjectType": "Queue", "Key": 60_001, "Change": "Removed"}
    assert 60_001 not in peer.state["QueueRealtime"]
    assert queues[60_002].parameters["OverflowQueue"] is None


def test_a_dismissed_agent_is_logged_off_and_blocked() -> None:
    world = World()
    _, peer = world.open("agent1")
    world.sim.administration.remove(AGENT)
    assert peer.take()[0]["Reason"] == "Blocked"
    assert world.sim.sessions.routing_table() == {}
    with pytest.raises(Refused, match="AccountBlocked"):
        world.log_on("agent1")


def test_a_removed_group_leaves_its_members() -> None:
    world = World()
    members = world.sim.center.directory.members_of[70_001]
    world.sim.administration.remove(70_001)
    assert all(agent.group_keys == () for agent in members)


def test_a_scope_set_by_hand_does_not_follow_the_directory() -> None:
    world = World()
    account = world.sim.accounts.by_name["supervisor1"]
    scope = account.scope
    world.sim.administration.set_scope(account, scope)
    world.sim.administration.add_group("New")
    assert account.scope == scope


def test_new_skills_and_reasons_are_reported_to_all() -> None:
    world = World()
    link, peer = world.open("supervisor2")
    world.listen(link, "Administration")
    peer.take()
    world.sim.administration.add_skill("Juggling")
    world.sim.administration.add_reason("Nap", "UnavailableReason", ())
    assert [each["ObjectType"] for each in administration(peer)] == ["Skill", "UnavailableReason"]
