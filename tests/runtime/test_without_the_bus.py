"""What do phones have while the bus is away, and after?"""

from __future__ import annotations

import pytest

from gateway.domain.errors import CloseCode
from tests.runtime.followed import (
    TRUSTED_S,
    followed,
    is_cut_off,
    resets,
    wait_for,
    waiting,
)
from tests.runtime.street import street


async def test_without_the_bus_the_owners_phones_stay_live_and_command_as_long_as_it_lasts() -> None:
    async with street() as at:
        near, _ = await followed(at)
        at.trouble.take_away()
        await at.pass_time(120)
        assert (near.closed, near.health) == (None, "live")
        wait_for(at, 9)
        near.command("1", "1")
        await at.pass_time(1)
        assert waiting(near) == 9
        assert near.result("1") == {"status": "applied"}
        assert len(at.openings) == 1
        assert at.counted("self_fences_total") == [1, 0]


async def test_without_the_bus_other_phones_are_stale_and_cannot_command() -> None:
    async with street() as at:
        _, far = await followed(at)
        at.trouble.take_away()
        await at.pass_time(8)
        ping = far.of_kind("ping")[-1]
        assert (far.closed, ping["upstream"], ping["bus"]) == (None, "stale", "down")
        far.command("1", "1")
        await at.clock.settle()
        assert far.outcome() == ("rejected", "bus_down")
        wait_for(at, 9)
        await at.pass_time(60)
        assert (far.closed, waiting(far)) == (None, 3)
        at.trouble.give_back()
        await at.pass_time(8)
        ping = far.of_kind("ping")[-1]
        assert (waiting(far), ping["upstream"], ping["bus"]) == (9, "live", "live")
        assert len(at.openings) == 1
        assert resets(far) == 1, "it only was told what it missed"


@pytest.mark.parametrize("away_s", [3, 8], ids=["degraded", "down"])
async def test_when_the_bus_is_back_old_data_is_stale_until_the_owner_has_answered(away_s: float) -> None:
    async with street() as at:
        _, far = await followed(at)
        at.trouble.take_away()
        await at.pass_time(away_s)
        wait_for(at, 9)
        at.trouble.give_back()
        at.trouble.lose = lambda *told: told[:2] == (1, 0)
        await at.pass_time(3)
        ping = far.of_kind("ping")[-1]
        assert (ping["upstream"], ping["bus"]) == ("stale", "live")
        at.trouble.lose = None
        await at.pass_time(4)
        assert (waiting(far), far.health) == (9, "live")


async def test_without_the_bus_a_new_phone_has_the_node_in_hand_open_the_link() -> None:
    async with street() as at:
        near, far = await followed(at)
        at.trouble.take_away()
        await at.pass_time(8)
        fresh = await at.scenes[1].served(device="d3")
        await at.pass_time(1)
        assert fresh.of_kind("welcome")
        assert (fresh.health, far.health) == ("live", "live")
        assert [(one.node, one.instead_of) for one in at.openings] == [(0, None), (1, "n0-1")]
        assert at.openings[1].token > at.openings[0].token
        assert (far.closed, fresh.closed) == (None, None)
        assert near.code is CloseCode.REBALANCE
        fresh.command("1", "1")
        await at.pass_time(1)
        assert fresh.result("1") == {"status": "applied"}
        assert at.counted("takeovers_total", kind="assumed") == [0, 1]
        assert at.counted("ownership_moves_total", reason="island") == [0, 1]


async def test_who_was_replaced_without_the_bus_is_cut_off_until_it_is_back() -> None:
    async with street() as at:
        near, far = await followed(at)
        at.trouble.take_away(0)
        await at.pass_time(TRUSTED_S)
        await at.pass_time(3)
        assert at.holder() == 1, "node 1 reaches the bus, and heard nothing of node 0"
        assert [is_cut_off(at, node) for node in range(2)] == [True, False]
        assert near.code is CloseCode.REBALANCE
        assert near.ended.window_s is not None
        assert (far.closed, far.health) == (None, "live")
        at.trouble.give_back(0)
        await at.pass_time(TRUSTED_S + 1)
        assert at.owners() == [1]
        assert not is_cut_off(at, 0)
        assert len(at.openings) == 2


@pytest.mark.parametrize("first", [0, 1])
async def test_when_the_bus_is_back_whoever_was_outbid_yields(first: int) -> None:
    async with street() as at:
        _, far = await followed(at)
        at.trouble.take_away()
        await at.pass_time(8)
        fresh = await at.scenes[1].served(device="d3")
        await at.pass_time(20)
        at.trouble.give_back(first)
        at.trouble.give_back(1 - first)
        await at.pass_time(10)
        assert at.owners() == [1]
        assert len(at.openings) == 2
        assert (far.closed, fresh.closed) == (None, None)
        grant = await at.grant()
        assert grant.holder == "n1-1"
        assert grant.token >= at.openings[1].token
