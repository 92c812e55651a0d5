"""Commands of a session, and their effects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.peer import AGENT, Message, World


def test_groups_have_parameters_of_their_own(world: World) -> None:
    link, _ = world.open()
    request: Message = {"Session": 1, "ObjectType": "Group", "Key": 70_001, "Version": 1}
    assert (
        world.ask(link, "SetRoutingParameters", **request, Parameters={"OverflowEnabled": False})["Error"]
        == 0
    )
    request["Version"] = 2
    wrong = world.ask(link, "SetRoutingParameters", **request, Parameters={"Priority": 1})
    assert wrong["ErrorName"] == "ParameterUnknown"
    wrong = world.ask(link, "SetRoutingParameters", **(request | {"Key": 60_001}), Parameters={})
    assert wrong["ErrorName"] == "WrongObjectType"
    wrong = world.ask(link, "SetRoutingParameters", **(request | {"ObjectType": "User"}), Parameters={})
    assert wrong["ErrorName"] == "WrongObjectType"


def test_a_session_that_logs_off_cannot_be_held_back(world: World) -> None:
    session = world.log_on("agent1")
    world.sim.center.give(world.agent(), None, "Voice", "Talking")
    world.sim.sessions.end(session, "LoggedOff")
    link, _ = world.open()
    request = {"Session": 1, "UserKey": AGENT, "RoutingState": "Available", "When": "Now"}
    assert world.ask(link, "SetRoutingState", **request)["ErrorName"] == "NotLoggedOn"
    assert world.agent().pending.state == "LoggedOff"


def test_the_same_number_is_unchanged_and_none_is_invalid(world: World) -> None:
    link, _ = world.open("agent1")
    answer = world.ask(link, "ChangeRemoteNumber", Session=1, RemoteNumber="030 0000001")
    assert answer["State"] == "Unchanged"
    assert (
        world.ask(link, "ChangeRemoteNumber", Session=1, RemoteNumber="")["ErrorName"]
        == "RemoteNumberInvalid"
    )
    world.sim.center.give(world.agent(), None, "Voice", "Talking")
    answer = world.ask(link, "ChangeRemoteNumber", Session=1, RemoteNumber="030 7654321")
    assert answer["ErrorName"] == "NotAllowedWhileHandling"


def test_a_dashboard_has_no_number(world: World) -> None:
    link, _ = world.open()
    answer = world.ask(link, "ChangeRemoteNumber", Session=1, RemoteNumber="030 7654321")
    assert answer["ErrorName"] == "Forbidden"


@pytest.mark.parametrize("action", ["Start", "Extend", "Finish", "SetAuto"])
def test_each_action_is_a_feature(action: str, world: World) -> None:
    link, _ = world.open("agent1")
    world.sim.about.features.discard(f"PostProcessing.{action}")
    answer = world.ask(link, "PostProcessing", Session=1, Action=action, On=True)
    assert answer["ErrorName"] == "Unsupported"


def test_what_follows_post_processing_can_be_said_when_it_starts(world: World) -> None:
    link, _ = world.open("agent1")
    world.sim.center.give(world.agent(), None, "Voice", "Talking")
    answer = world.ask(link, "PostProcessing", Session=1, Action="Start", NextState="Available", Duration=9)
    assert answer["State"] == "Pending"
    world.sim.center.end(world.agent().contacts[0])
    assert world.agent().post.ends_ms == world.clock.now_ms() + 9000
    world.pass_time(9)
    assert world.agent().state == "Available"


@pytest.mark.parametrize("action", ["Start", "Finish"])
def test_what_follows_post_processing_may_need_a_reason(action: str, world: World) -> None:
    link, _ = world.open("agent1")
    world.sim.center.end(world.sim.center.give(world.agent(), None, "Voice", "Talking"))
    if action == "Finish":
        assert world.ask(link, "PostProcessing", Session=1, Action="Start")["State"] == "Applied"
    before = world.agent().post
    answer = world.ask(link, "PostProcessing", Session=1, Action=action, NextState="Work")
    assert answer["ErrorName"] == "ReasonRequired"
    assert (world.agent().post, world.agent().pending) == (before, None)


def test_automatic_needs_on_or_off(world: World) -> None:
    link, _ = world.open("agent1")
    assert world.ask(link, "PostProcessing", Session=1, Action="SetAuto")["ErrorName"] == "BadRequest"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"Action": "Start", "Duration": 301}, "ValueOutOfRange"),
        ({"Action": "SetAuto", "On": True, "Duration": 0}, "ValueOutOfRange"),
        ({"Action": "Start", "Until": 2**45}, "LimitReached"),
        ({"Action": "Finish", "WrapupReasonKeys": [1]}, "ReasonUnknown"),
        ({"Action": "Finish", "WrapupReasonKeys": [95_001]}, "ReasonWrongKind"),
    ],
)
def test_what_may_not_be_asked_of_post_processing_is_refused(fields: dict[str, Any], error: str) -> None:
    world = World()
    link, _ = world.open("agent1")
    world.sim.center.end(world.sim.center.give(world.agent(), None, "Voice", "Talking"))
    until = {"Action": "Start", "Until": world.clock.now_ms() + 300_000}
    if fields["Action"] == "Finish":
        states = [world.ask(link, "PostProcessing", Session=1, **until)["State"] for _ in range(2)]
        assert states == ["Applied", "Unchanged"]
    assert world.ask(link, "PostProcessing", Session=1, **fields)["ErrorName"] == error
