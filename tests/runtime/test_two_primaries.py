"""Two Redis primaries that both grant the lease of one user."""

from __future__ import annotations

from gateway.domain.errors import CloseCode
from gateway.runtime.ownership import GIVES_WAY_S
from tests.runtime.followed import followed
from tests.runtime.street import street

CONTESTED_S = 25.0
"""Within this time the same node was replaced twice."""


async def test_the_node_that_loses_sends_its_phones_on_and_the_other_is_left_in_peace() -> None:
    async with street() as at:
        near, far = await followed(at)
        at.trouble.split(1)
        await at.pass_time(CONTESTED_S)
        assert (near.closed and near.closed.code) == CloseCode.REBALANCE
        assert (near.closed and near.closed.window_s) is not None, "not all phones at once"
        assert (far.closed, far.health, at.holder()) == (None, "live", 1)
        openings = len(at.openings)
        await at.pass_time(2 * GIVES_WAY_S)
        assert (at.owners(), at.holder(), len(at.openings)) == ([1], 1, openings), (
            "nobody is left to dial for"
        )
        assert (far.closed, far.health) == (None, "live")


async def test_a_phone_that_comes_back_to_the_loser_is_sent_on_and_served_by_the_other() -> None:
    async with street() as at:
        await followed(at)
        at.trouble.split(1)
        await at.pass_time(CONTESTED_S)
        openings = len(at.openings)
        back = await at.scenes[0].served(device="other")
        assert (back.closed and back.closed.code) == CloseCode.REBALANCE
        there = await at.scenes[1].served(device="other")
        assert (there.closed, there.health, len(at.openings)) == (None, "live", openings)


async def test_one_replacement_alone_sends_nobody_away() -> None:
    async with street() as at:
        near, far = await followed(at)
        at.trouble.split(1)
        while at.holder() == 0:
            await at.pass_time(0.5)
        at.trouble.sides.clear()
        await at.pass_time(60)
        assert (near.closed, far.closed) == (None, None)
        assert (near.health, far.health) == ("live", "live")
