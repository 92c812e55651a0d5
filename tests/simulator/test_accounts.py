"""Accounts of the simulator: log-ons and tries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.simulator.fields import Refused
from gateway.simulator.sessions import Budget
from tests.simulator.peer import QUIET, World


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


def test_whether_an_account_is_blocked_is_reported_only_to_who_knows_the_password() -> None:
    world = World()
    world.sim.accounts.by_name["supervisor1"].blocked = True
    assert refused(world, "x").name == "InvalidCredentials"
    assert refused(world, "demo").name == "AccountBlocked"


def test_the_budget_is_a_token_bucket() -> None:
    budget = Budget(2)
    assert [budget.take(0) for _ in range(3)] == [True, True, False]
    assert [budget.take(500) for _ in range(2)] == [True, False]
    assert [budget.take(60_000) for _ in range(3)] == [True, True, False]


def test_supervisor1_sees_everything_and_others_their_team() -> None:
    accounts, directory = World().sim.accounts, World().sim.center.directory
    assert accounts.by_name["supervisor1"].scope == directory.everything()
    for name in ("supervisor2", "supervisor3"):
        scope = accounts.by_name[name].scope
        assert len(scope.groups) == 1
        assert 0 < len(scope.users) < 20
        assert scope.aggregates
    assert accounts.by_name["supervisor2"].scope is accounts.by_name["supervisor4"].scope


def test_all_may_see_everything() -> None:
    accounts = World(replace(QUIET, all_see_everything=True)).sim.accounts
    assert accounts.by_name["supervisor4"].scope is accounts.by_name["supervisor1"].scope
