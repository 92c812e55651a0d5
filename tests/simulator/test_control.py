"""Control interface of the simulator for tests and demonstrations."""

from __future__ import annotations

import pytest

from gateway.simulator.fields import Refused
from gateway.simulator.server import cause
from tests.simulator.peer import AGENT, World
from tests.simulator.wire import Wire

FAULTS = [
    {"Fault": "DropLinks"},
    {"Fault": "Freeze", "Seconds": 0},
    {"Fault": "Delay", "Seconds": 0, "User": "supervisor1"},
    {"Fault": "ExpireSessions"},
    {"Fault": "RefuseLogOns"},
    {"Fault": "Restart"},
    {"Fault": "Split"},
    {"Fault": "Malformed"},
    {"Fault": "Oversized"},
    {"Fault": "UnknownEnum", "UserKey": AGENT, "Value": "Levitating"},
    {"Fault": "DuplicateEvent"},
    {"Fault": "LateEvent"},
    {"Fault": "Function", "Function": "Voice", "State": "Degraded"},
    {"Fault": "LinkFencing", "On": False},
    {"Fault": "Features", "Features": ["Skills"]},
    {"Fault": "Versions", "Extensions": "V1R9", "ContactCenter": "garbage"},
    {"Fault": "Answer", "Error": "Busy"},
    {"Fault": "Notice", "Text": "hello"},
]


async def test_the_views(wire: Wire) -> None:
    session = await wire.log_on("agent1")
    line = await wire.link(session["SessionID"], 7)
    await line.greeting()
    assert (await wire.control("GET", "routing"))[1] == {"agent1": "+49300000001"}
    truth = (await wire.control("GET", "truth"))[1]
    assert truth["Time"] == wire.clock.now_ms()
    assert len(truth["QueueRealtime"]) == 4
    assert truth["Own"][str(AGENT)]["Remote"]["RemoteNumber"] == "+49300000001"
    assert len(truth["Directory"]["User"]) == 20
    users = (await wire.control("GET", "users"))[1]["Users"]
    assert {"supervisor1", "agent20"} <= {each["UserName"] for each in users}
    links = (await wire.control("GET", "links"))[1]
    assert links["Links"]["agent1"] == {
        "Present": 1,
        "MostAtOnce": 1,
        "Opens": 1,
        "Replacements": 0,
        "Refusals": 0,
        "Token": 7,
        "LongestGap": 0,
    }
    assert (links["LogOns"], links["Sessions"][0]["Attached"]) == (1, True)
    assert session["SessionID"] not in str(links)


async def test_pause_resume_publish_and_clock(wire: Wire) -> None:
    began_ms = wire.clock.now_ms()
    assert (await wire.control("POST", "resume"))[0] == 200
    assert (await wire.control("POST", "clock", {"Advance": 5}))[1] == {"Time": began_ms + 5000}
    assert (await wire.control("POST", "clock", {"Step": -60}))[1] == {"Time": began_ms - 55_000}
    assert (await wire.control("POST", "pause"))[1] == {"Time": began_ms - 55_000}
    assert (await wire.control("POST", "publish"))[0] == 200
    assert (await wire.control("POST", "clock", {"Advance": "x"}))[0] == 400
    assert wire.sim.center.paused_ms is not None


@pytest.mark.parametrize("body", FAULTS, ids=lambda body: str(body["Fault"]))
async def test_every_fault_is_at_the_door(wire: Wire, body: dict[str, object]) -> None:
    assert (await wire.control("POST", "fault", body))[0] == 200


async def test_dropped_links_are_counted(wire: Wire) -> None:
    line = await wire.link((await wire.log_on())["SessionID"])
    await line.greeting()
    assert await wire.control("POST", "fault", {"Fault": "DropLinks", "User": "supervisor1"}) == (
        200,
        {"Count": 1},
    )
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
