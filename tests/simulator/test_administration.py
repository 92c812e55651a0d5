"""Accounts of the simulator; changes of directory and scopes are sent where they may be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.simulator.fields import Refused
from gateway.simulator.sessions import Budget
from tests.simulator.peer import AGENT, QUIET, Message, Peer, World


def administration(peer: Peer) -> list[Message]:
    events = [each for each in peer.take() if each.get("EventType") == "Administration"]
    return [element for event in events for element in event["Elements"]]


def test_a_new_queue_grows_the_scopes_it_belongs_to(world: World) -> None:
    link, peer = world.open()
    world.listen(link, "QueueRealtime", "Administration", "Configuration")
    peer.take()
    key = world.sim.administration.add_queue("New", "Email", 90_001)
    elements = administration(peer)
    assert (elements[0]["ObjectType"], elements[1]["Key"]) == ("Session", key)
    assert key in peer.state["QueueRealtime"]
    assert key in peer.state["Configuration"]


def test_a_removed_object_is_reported_and_leaves_every_set(world: World) -> None:
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


def test_a_dismissed_agent_is_logged_off_and_blocked(world: World) -> None:
    _, peer = world.open("agent1")
    world.sim.administration.remove(AGENT)
    assert peer.take()[0]["Reason"] == "Blocked"
    assert world.sim.sessions.routing_table() == {}
    with pytest.raises(Refused, match="AccountBlocked"):
        world.log_on("agent1")


def test_a_removed_group_leaves_its_members(world: World) -> None:
    members = world.sim.center.directory.members_of[70_001]
    world.sim.administration.remove(70_001)
    assert all(agent.group_keys == () for agent in members)


def test_a_scope_set_by_hand_does_not_follow_the_directory(world: World) -> None:
    account = world.sim.accounts.by_name["supervisor1"]
    scope = account.scope
    world.sim.administration.set_scope(account, scope)
    world.sim.administration.add_group("New")
    assert account.scope == scope


def test_new_skills_and_reasons_are_reported_to_all(world: World) -> None:
    link, peer = world.open("supervisor2")
    world.listen(link, "Administration")
    peer.take()
    world.sim.administration.add_skill("Juggling")
    world.sim.administration.add_reason("Nap", "UnavailableReason", ())
    assert [each["ObjectType"] for each in administration(peer)] == ["Skill", "UnavailableReason"]


# ---- accounts of the simulator ----


def refused(world: World, password: str, user: str = "supervisor1") -> Refused:
    with pytest.raises(Refused) as caught:
        world.log_on(user, password=password)
    return caught.value


def test_lock_out_after_so_many_tries_and_for_so_long() -> None:
    world = World(replace(QUIET, lock_out_tries=3, lock_out_s=30))
    assert [refused(world, "x").name for _ in range(3)] == ["InvalidCredentials"] * 3
    assert refused(world, "demo").details == {"RetryAfter": 30}
    world.pass_time(29.5)
    assert refused(world, "demo").details == {"RetryAfter": 1}
    world.pass_time(0.5)
    world.log_on()


def test_a_success_forgives_failures() -> None:
    world = World(replace(QUIET, lock_out_tries=2))
    for _ in range(5):
        assert refused(world, "x").name == "InvalidCredentials"
        world.log_on()


def test_whether_an_account_is_blocked_is_reported_only_to_who_knows_the_password(world: World) -> None:
    world.sim.accounts.by_name["supervisor1"].blocked = True
    assert refused(world, "x").name == "InvalidCredentials"
    assert refused(world, "demo").name == "AccountBlocked"


def test_the_budget_is_a_token_bucket() -> None:
    budget = Budget(2)
    assert [budget.take(0) for _ in range(3)] == [True, True, False]
    assert [budget.take(500) for _ in range(2)] == [True, False]
    assert [budget.take(60_000) for _ in range(3)] == [True, True, False]


def test_supervisor1_sees_everything_and_others_their_team_unless_all_may() -> None:
    accounts, directory = World().sim.accounts, World().sim.center.directory
    assert accounts.by_name["supervisor1"].scope == directory.everything()
    for name in ("supervisor2", "supervisor3"):
        scope = accounts.by_name[name].scope
        assert len(scope.groups) == 1
        assert 0 < len(scope.users) < 20
        assert scope.aggregates
    assert accounts.by_name["supervisor2"].scope is accounts.by_name["supervisor4"].scope
    accounts = World(replace(QUIET, all_see_everything=True)).sim.accounts
    assert accounts.by_name["supervisor4"].scope is accounts.by_name["supervisor1"].scope
