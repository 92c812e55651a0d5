"""Two real Redis servers that both grant the lease of one user.

Two primaries without Sentinel, or a wrong `bus.url`: nodes of one cluster that do not share their leases.
"""

from __future__ import annotations

import asyncio

import pytest

from gateway.core import link
from gateway.domain.errors import CloseCode
from tests.doubles.servers import redis_server, until
from tests.runtime.scene import user
from tests.scenarios.test_redis_without_writes import live, nodes

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(120)]

BACK_OFF_S = 0.5
"""Who is replaced waits so long at first, instead of 5 s."""
SERVED_S = 3.0


@pytest.mark.takes(5)
async def test_the_phones_of_the_node_that_loses_are_sent_on_and_the_other_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "KICKED_BACK_OFF_S", BACK_OFF_S)
    async with redis_server() as one, redis_server() as other, nodes(one, other) as (upstream, scenes):
        phones = [await scenes[0].served(), await scenes[1].served(device="d2")]

        async def has_lost() -> bool:
            for phone in phones:
                if phone.closed is None:
                    phone.tick()
            return any(phone.closed is not None for phone in phones)

        await until(has_lost, "nobody is sent on")
        (loser,) = [phone for phone in phones if phone.closed is not None]
        (winner,) = [phone for phone in phones if phone is not loser]
        assert loser.closed is not None
        assert loser.closed.code == CloseCode.REBALANCE
        assert loser.closed.window_s is not None, "not all phones at once"
        await live(winner)
        token = upstream.wires[user(1)].link.token
        for _ in range(round(SERVED_S / 0.5)):
            await asyncio.sleep(0.5)
            winner.tick()
        assert winner.closed is None
        assert upstream.wires[user(1)].link.token == token, "the winner is left in peace"
