"""What is a node to one of its users?"""

from __future__ import annotations

from gateway.domain.errors import CloseCode, verdict
from gateway.runtime.role import Start, not_reached
from tests.runtime.scene import user
from tests.runtime.street import street


def test_an_ownership_begins_without_anything_of_anybody_unless_said() -> None:
    start = Start()
    assert (start.expected, start.floor, start.assumed, start.history, start.lingering) == (
        None,
        0,
        False,
        None,
        (),
    )


def test_a_phone_for_whose_session_nobody_speaks_comes_back_soon() -> None:
    refused = not_reached()
    assert refused.code is CloseCode.INTERNAL
    assert verdict(refused.code) == "back_off"
    assert refused.window_s == (1.0, 10.0)


async def test_of_all_nodes_one_owns_a_user_and_the_others_follow_him() -> None:
    async with street(3) as at:
        for node in (2, 0, 1):
            await at.scenes[node].served(device=f"device {node}")
        await at.pass_time(1)
        assert at.owners() == [2]
        assert [at.home(node).follower is not None for node in range(3)] == [True, True, False]
        grant = await at.trouble.store(0).leases.read(user(1))
        assert grant is not None
        assert grant.node == "n2"


async def test_phones_that_come_to_all_nodes_at_once_get_one_link() -> None:
    async with street(3) as at:
        phones = [await scene.phone("anna", device=f"device {n}") for n, scene in enumerate(at.scenes)]
        for phone in phones:
            phone.hello()
        await at.pass_time(2)
        assert len(at.openings) == 1
        assert len(at.owners()) == 1
        assert [phone.health for phone in phones] == ["live"] * 3
        assert len({str(sorted(phone.shown)) for phone in phones}) == 1
