"""Events that a test can cause in the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.simulator.administration import Acts
from gateway.simulator.fields import Refused
from tests.simulator.peer import AGENT, Free, World


def act(world: World, name: str, **fields: Free) -> Free:
    sim = world.sim
    return Acts(sim.center, sim.accounts, sim.administration).act({"Act": name, **fields})


def test_a_contact_is_given_turned_and_ended() -> None:
    world = World()
    world.sim.center.log_on(world.agent())
    call = act(world, "GiveContact", UserKey=AGENT, QueueKey=60_001, State="Ringing")["CallID"]
    (contact,) = world.agent().contacts
    assert (contact.call_id, contact.state, contact.answered_ms) == (call, "Ringing", None)
    act(world, "TurnContact", UserKey=AGENT, CallID=call, State="Talking")
    assert contact.answered_ms is not None
    act(world, "TurnContact", UserKey=AGENT, State="Holding")
    assert contact.state == "Holding"
    act(world, "EndContact", UserKey=AGENT, CallID=call)
    assert world.agent().contacts == []
    assert world.agent().counters.handled == 1


def test_contacts_arrive_and_agents_are_set() -> None:
    world = World()
    world.sim.center.log_on(world.agent())
    assert act(world, "Arrive", QueueKey=60_001)["CallID"]
    assert len(world.sim.center.directory.queues[60_001].waiting) == 1
    assert (
        act(world, "SetRoutingState", UserKey=AGENT, RoutingState="Work", ReasonKey=95_005)["State"]
        == "Applied"
    )
    act(world, "GiveContact", UserKey=AGENT)
    answer = act(world, "SetRoutingState", UserKey=AGENT, RoutingState="Available", By="System")
    assert (answer["State"], world.agent().pending.by) == ("Pending", "System")


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Queue", {"Media": "Email"}),
        ("Group", {}),
        ("Aggregate", {"QueueKeys": [60_001]}),
        ("Skill", {}),
        ("User", {"FirstName": "Eva", "GroupKey": 70_001, "SkillKeys": [90_001]}),
        ("WorkReason", {"RequiredFor": ["Work"]}),
    ],
)
def test_objects_are_added_renamed_and_removed(kind: str, more: dict[str, Any]) -> None:
    world = World()
    directory = world.sim.center.directory
    key = act(world, "Add", Kind=kind, Name="New", **more)["Key"]
    if kind == "WorkReason":
        assert directory.reasons[key].required_for == ("Work",)
        return
    act(world, "Rename", Key=key, Name="Newer")
    assert "Newer" in repr(directory.object_json(key))
    act(world, "Remove", Key=key)
    assert directory.kind_of(key) is None


@pytest.mark.parametrize(
    ("name", "fields", "error"),
    [
        ("Dance", {}, "BadRequest"),
        ("Add", {"Kind": "Moon", "Name": "x"}, "BadRequest"),
        ("SetRights", {"User": "supervisor1", "Rights": ["Fly"]}, "BadRequest"),
        ("Block", {"User": "nobody"}, "NotFound"),
        ("GiveContact", {"UserKey": 1}, "NotFound"),
        ("GiveContact", {"UserKey": AGENT}, "NotLoggedOn"),
        ("Arrive", {"QueueKey": 1}, "NotFound"),
        ("Remove", {"Key": 90_001}, "NotFound"),
        ("Rename", {"Key": 1, "Name": "x"}, "NotFound"),
        ("EndContact", {"UserKey": AGENT}, "NoContact"),
        ("Add", {"Kind": "User", "Name": "x", "FirstName": "y", "GroupKey": 1}, "NotFound"),
    ],
)
def test_what_cannot_be_is_refused(name: str, fields: dict[str, Any], error: str) -> None:
    with pytest.raises(Refused, match=error):
        act(World(), name, **fields)
