"""What is a node to one of its users?"""

from __future__ import annotations

import pytest

from gateway.core.commands import RETRY_S, not_begun, patience_s
from gateway.domain.commands import AcknowledgeNotice, Call, Status
from gateway.domain.errors import ErrorCode
from tests.runtime.street import street


def _call(*, retry: bool) -> Call:
    return Call("key", "session", AcknowledgeNotice("n", 1), None, retry, deadline_ms=10_000)


def test_the_owner_is_asked_until_the_deadline_and_about_what_was_sent_before_for_a_while_in_any_case() -> (
    None
):
    assert [patience_s(_call(retry=False), wall_ms) for wall_ms in (4_000, 11_000)] == [6.0, -1.0]
    assert [patience_s(_call(retry=True), wall_ms) for wall_ms in (4_000, 11_000)] == [6.0, RETRY_S]


def test_a_command_that_nobody_was_asked_for_is_refused_unless_it_may_have_been_done_before() -> None:
    told = [not_begun(_call(retry=retry), ErrorCode.BUS_DOWN, "why") for retry in (False, True)]
    assert [one.status for one in told] == [Status.REJECTED, Status.UNKNOWN]
    assert [one.error and one.error.code for one in told] == [ErrorCode.BUS_DOWN, ErrorCode.OWNER_LOST]


@pytest.mark.parametrize("is_away", [False, True], ids=["after its deadline", "without the bus"])
async def test_what_was_done_is_not_called_refused_when_it_is_sent_again(is_away: bool) -> None:
    async with street() as at:
        near = await at.scenes[0].served()
        far = await at.scenes[1].served(device="d2")
        await at.pass_time(1)
        assert at.owners() == [0]
        far.command("1", "1", expires_at_ms=at.clock.wall_ms() + 2_000)
        await at.clock.settle()
        assert far.result("1") == {"status": "applied"}
        if is_away:
            at.trouble.take_away()
        await at.pass_time(9)
        far.command("2", "1", expires_at_ms=at.clock.wall_ms() - 7_000, retry=True)
        await at.pass_time(5)
        told = far.result("2")
        assert told is not None
        assert told["status"] == ("unknown" if is_away else "applied")
        assert near.closed is None


async def test_of_all_nodes_one_owns_a_user_and_the_others_follow_him() -> None:
    async with street(3) as at:
        for node in (2, 0, 1):
            await at.scenes[node].served(device=f"device {node}")
        await at.pass_time(1)
        assert at.owners() == [2]
        assert [at.home(node).follower is not None for node in range(3)] == [True, True, False]
        grant = await at.grant()
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
