"""Each element of the link agrees with the page."""

from __future__ import annotations

from gateway.simulator.elements import render
from gateway.simulator.model import AutoPostProcessing, Json, Kind
from tests.simulator.peer import AGENT, World


def seen(world: World, kind: Kind, key: int, *, own: bool = False) -> Json:
    found = render(world.sim.center, kind, key, own=own)
    assert found is not None
    return found


def test_a_user_in_post_processing_with_something_pending(world: World) -> None:
    world.log_on("agent1")
    agent, center = world.agent(), world.sim.center
    agent.auto = AutoPostProcessing(on=True, duration_s=30)
    contact = center.give(agent, center.directory.queues[60_001], None, "Talking")
    world.pass_time(7)
    center.end(contact)
    center.ask(agent, "Work", 95_005, "AfterContact", "Supervisor")
    center.skew_ms = -3_600_000
    world.pass_time(2)
    found = seen(world, Kind.USER, AGENT)
    wall_ms = world.clock.now_ms() - 3_600_000
    assert found["TimeInRoutingState"] == 9.0
    assert (found["PendingRoutingState"], found["PendingBy"]) == ("Work", "Supervisor")
    assert (found["RoutingStateBy"], found["PendingReasonKey"]) == ("Self", 95_005)
    assert found["HandlingStates"] == [
        {
            "HandlingState": "PostProcessing",
            "TimeInHandlingState": 2.0,
            "CallID": contact.call_id,
            "Media": "Voice",
            "Direct": False,
            "QueueKey": 60_001,
        }
    ]
    assert found["PostProcessing"] == {
        "EndsAt": wall_ms + 28_000,
        "Extendable": True,
        "NextState": "Work",
        "ReasonKey": 95_005,
    }
    assert found["Remote"] == {"LoggedOn": True, "AppPresent": False, "AppAbsentSince": wall_ms - 9000}
    assert "AutoPostProcessing" not in found
    own = seen(world, Kind.USER, AGENT, own=True)
    assert own["AutoPostProcessing"] == {"On": True, "Duration": 30}
    assert own["Remote"] == {**found["Remote"], "RemoteNumber": "+49300000001"}


def test_queues_groups_and_aggregates_count_together(world: World) -> None:
    center = world.sim.center
    queue = center.directory.queues[60_001]
    first, second = center.directory.agents_of[60_001][:2]
    center.log_on(first)
    center.log_on(second)
    center.give(first, queue, None, "Talking")
    for _ in range(3):
        center.arrive(queue)
    world.pass_time(4)
    found = seen(world, Kind.QUEUE, 60_001)
    assert (found["Contacts"], found["OldestContactWaitTime"], found["Level"]) == (3, 4.0, "Attention")
    assert (found["LoggedOnUsers"], found["HandlingUsers"], found["UnavailableUsers"]) == (2, 1, 1)
    assert (found["ServiceLevel"], found["AbandonedRate"]) == (100.0, 0.0)
    (group_key,) = first.group_keys
    group = seen(world, Kind.GROUP, group_key)
    assert (group["BusyUsers"], group["AwayUsers"], group["HandlingRoutedUsers"], group["CallsWaiting"]) == (
        1,
        1,
        1,
        3,
    )
    (aggregate_key,) = center.directory.aggregates_of[60_001]
    aggregate = seen(world, Kind.AGGREGATE, aggregate_key)
    assert (aggregate["Contacts"], aggregate["OldestContactWaitTime"], aggregate["ServiceLevel"]) == (
        3,
        4.0,
        100.0,
    )


def test_a_medium_that_is_down_has_failed(world: World) -> None:
    world.sim.center.log_on(world.agent())
    world.sim.center.functions.states["Voice"] = "Down"
    assert seen(world, Kind.USER, AGENT)["Media"] == {
        "Voice": "Failed",
        "Email": "Off",
        "Callback": "Off",
        "WebCollaboration": "Off",
        "OpenMedia": "Off",
    }
