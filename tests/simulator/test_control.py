"""Control interface of the simulator, and the events that a test can cause by it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.simulator.administration import Acts
from gateway.simulator.fields import Refused
from gateway.simulator.server import cause
from tests.simulator.client import SimulatorClient
from tests.simulator.peer import AGENT, Free, World

FAULTS = [
    *({"Fault": fault} for fault in ("DropLinks", "ExpireSessions", "RefuseLogOns", "Restart", "Split")),
    *({"Fault": fault} for fault in ("Malformed", "Oversized", "DuplicateEvent", "LateEvent")),
    {"Fault": "Freeze", "Seconds": 0},
    {"Fault": "Delay", "Seconds": 0, "User": "supervisor1"},
    {"Fault": "UnknownEnum", "UserKey": AGENT, "Value": "Levitating"},
    {"Fault": "Function", "Function": "Voice", "State": "Degraded"},
    {"Fault": "LinkFencing", "On": False},
    {"Fault": "Features", "Features": ["Skills"]},
    {"Fault": "Versions", "Extensions": "V1R9", "ContactCenter": "garbage"},
    {"Fault": "Answer", "Error": "Busy"},
    {"Fault": "Notice", "Text": "hello"},
]


async def test_the_views(client: SimulatorClient) -> None:
    session = await client.log_on("agent1")
    line = await client.link(session["SessionID"], 7)
    await line.greeting()
    assert (await client.control("GET", "routing"))[1] == {"agent1": "+49300000001"}
    truth = (await client.control("GET", "truth"))[1]
    assert truth["Time"] == client.clock.now_ms()
    assert len(truth["QueueRealtime"]) == 4
    assert truth["Own"][str(AGENT)]["Remote"]["RemoteNumber"] == "+49300000001"
    assert len(truth["Directory"]["User"]) == 20
    users = (await client.control("GET", "users"))[1]["Users"]
    assert {"supervisor1", "agent20"} <= {each["UserName"] for each in users}
    links = (await client.control("GET", "links"))[1]
    counts = {"Present": 1, "Opens": 1, "Replacements": 0, "Refusals": 0}
    assert links["Links"]["agent1"] == {**counts, "Token": 7, "LongestGap": 0}
    assert (links["LogOns"], links["Sessions"][0]["Attached"]) == (1, True)
    assert session["SessionID"] not in str(links)
    assert (await client.control("GET", "counts"))[1] == {"LogOnAttempts": 1}


async def test_pause_resume_publish_and_clock(client: SimulatorClient) -> None:
    began_ms = client.clock.now_ms()
    assert (await client.control("POST", "resume"))[0] == 200
    assert (await client.control("POST", "clock", {"Advance": 5}))[1] == {"Time": began_ms + 5000}
    assert (await client.control("POST", "clock", {"Step": -60}))[1] == {"Time": began_ms - 55_000}
    assert (await client.control("POST", "pause"))[1] == {"Time": began_ms - 55_000}
    assert (await client.control("POST", "publish"))[0] == 200
    assert (await client.control("POST", "clock", {"Advance": "x"}))[0] == 400
    assert client.sim.center.paused_ms is not None


@pytest.mark.parametrize("body", FAULTS, ids=lambda body: str(body["Fault"]))
async def test_every_fault_is_at_the_door(client: SimulatorClient, body: dict[str, object]) -> None:
    assert (await client.control("POST", "fault", body))[0] == 200


async def test_dropped_links_are_counted(client: SimulatorClient) -> None:
    line = await client.link((await client.log_on())["SessionID"])
    await line.greeting()
    dropped = await client.control("POST", "fault", {"Fault": "DropLinks", "User": "supervisor1"})
    assert dropped == (200, {"Count": 1})
    assert await line.closed() == 1006


@pytest.mark.parametrize(
    "body",
    [
        {"Fault": "Earthquake"},
        {"Fault": "Answer", "Error": "Nonsense"},
        {"Fault": "Freeze"},
        {"Fault": "Features", "Features": [1]},
        {"Fault": "Function", "Function": "Voice", "State": "Sideways"},
        {},
    ],
)
def test_what_is_no_fault_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(Refused, match="BadRequest"):
        cause(World().sim.faults, body)


# ---- events that a test can cause in the simulator ----


def act(world: World, name: str, **fields: Free) -> Free:
    sim = world.sim
    return Acts(sim.center, sim.accounts, sim.administration).act({"Act": name, **fields})


def test_a_contact_is_given_turned_and_ended(world: World) -> None:
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


def test_contacts_arrive_and_agents_are_set(world: World) -> None:
    world.sim.center.log_on(world.agent())
    assert act(world, "Arrive", QueueKey=60_001)["CallID"]
    assert len(world.sim.center.directory.queues[60_001].waiting) == 1
    answer = act(world, "SetRoutingState", UserKey=AGENT, RoutingState="Work", ReasonKey=95_005)
    assert answer["State"] == "Applied"
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
def test_objects_are_added_renamed_and_removed(kind: str, more: dict[str, Any], world: World) -> None:
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
