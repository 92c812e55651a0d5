"""Do the users of a node that leaves move as fast as the site allows, served by the old owner until then?"""

from __future__ import annotations

import pytest

from gateway.core.rate_limits import Urgency
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.envelopes import Asks, Here, Leaving, Offer
from gateway.runtime.handover import AGAIN_S, TURN_S
from gateway.runtime.ports import Grant
from tests.runtime.followed import followed, follower
from tests.runtime.scene import PhoneLine, user
from tests.runtime.street import Street, street

USERS = range(101, 109)
APPLIED = {"status": "applied"}


def slow(at: Street, per_s: float) -> None:
    """Let each node open so many links a second, one after the other."""
    for scene in at.scenes:
        budget = scene.node._queues["main"]._budget
        budget._whole = (2 * per_s, 2.0, 32)
        budget.share(2, at.clock.now())


def in_flight(at: Street) -> int:
    return at.scenes[1].node._queues["main"]._budget.in_flight


def waiting(at: Street) -> int:
    return len(at.scenes[1].node._queues["main"])


async def many(at: Street) -> list[PhoneLine]:
    """Let node 0 own users who have a phone on each node; returns those of node 1."""
    far = []
    for key in USERS:
        at.upstream.add_user(key, f"user{key}")
        await at.scenes[0].served(f"user{key}", device="d1")
        far.append(await at.scenes[1].served(f"user{key}", device="d2"))
    await at.pass_time(1)
    assert all(at.owners(key) == [0] for key in USERS)
    return far


async def leave_unmet(at: Street, *, is_queued: bool) -> None:
    """Let node 0 leave, and node 1 wait for its turn, or have it and be offered nobody."""
    if is_queued:
        slow(at, 0.001)
        at.scenes[1].node._queues["main"]._budget._bucket.owe(at.clock.now(), 60.0)
    at.trouble.lose = lambda *told: isinstance(told[-1], Offer)
    at.scenes[0].node.drain()
    await at.pass_time(1)
    assert (waiting(at), in_flight(at)) == ((1, 0) if is_queued else (0, 1))


def moved(at: Street) -> list[int]:
    return [key for key in USERS if at.owners(key) == [1]]


async def test_users_move_one_after_the_other_and_none_is_without_an_owner_until_then() -> None:
    async with street() as at:
        far = await many(at)
        slow(at, 0.5)
        at.scenes[0].node.drain()
        counts = []
        for _ in range(8):
            counts.append(len(moved(at)))
            for key, phone in zip(USERS, far, strict=True):
                assert at.holder(key) == (1 if key in moved(at) else 0)
                assert phone.health == "live"
            await at.pass_time(2)
        assert counts == sorted(counts)
        assert 0 < counts[2] <= 3, "not all at once"
        await at.pass_time(4)
        assert moved(at) == list(USERS)
        assert all(phone.closed is None and phone.health == "live" for phone in far)
        assert in_flight(at) == waiting(at) == 0
        count = at.scenes[1].counted("budget_wait_seconds_count", **{"class": Urgency.GIVING.name.lower()})
        assert count == len(USERS)


async def test_whoever_waits_for_his_turn_is_asked_for_by_nobody() -> None:
    async with street() as at:
        await many(at)
        slow(at, 0.01)
        at.scenes[0].node.drain()
        await at.pass_time(1)
        at.said.clear()
        await at.pass_time(20)
        wishes = [since.adopt for asks in at.heard(Asks) if isinstance(asks, Asks) for since in asks.asks]
        assert wishes
        assert not any(wishes)
        assert not at.heard(Offer)
        assert waiting(at) == len(USERS) - len(moved(at))


async def test_a_turn_that_came_to_nothing_is_given_back_for_others() -> None:
    async with street() as at:
        await followed(at)
        at.trouble.lose = lambda *told: isinstance(told[-1], Offer)
        at.scenes[0].node.drain()
        await at.pass_time(1)
        assert in_flight(at) == 1
        await at.pass_time(TURN_S)
        assert in_flight(at) == 0
        assert at.owners() == [0]
        await at.pass_time(AGAIN_S)
        assert in_flight(at) == 1
        at.trouble.lose = None
        await at.pass_time(2)
        assert at.owners() == [1]
        assert in_flight(at) == 0


@pytest.mark.parametrize("is_queued", [True, False])
async def test_whoever_has_no_phone_here_any_more_holds_no_turn(*, is_queued: bool) -> None:
    async with street() as at:
        _, far = await followed(at)
        await leave_unmet(at, is_queued=is_queued)
        far.bye()
        await at.pass_time(TURN_S)
        assert (waiting(at), in_flight(at)) == (0, 0)


async def test_a_turn_of_an_owner_who_is_not_granted_the_lease_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with street() as at:
        await followed(at)

        async def unanswered(*_: object, **__: object) -> Grant:
            raise GatewayError(ErrorCode.BUS_DOWN, "The bus does not answer.")

        monkeypatch.setattr(at.scenes[1].node._cluster.leases, "acquire", unanswered)
        at.scenes[0].node.drain()
        await at.pass_time(1)
        assert at.owners() == [0, 1]
        assert in_flight(at) == 1
        at.home(1).stop()
        await at.pass_time(2)
        assert in_flight(at) == 0


async def test_that_a_node_leaves_is_known_also_when_its_word_was_lost() -> None:
    async with street() as at:
        await followed(at)
        at.trouble.lose = lambda *told: isinstance(told[-1], Leaving)
        at.scenes[0].node.drain()
        await at.pass_time(0.5)
        at.said.clear()
        while not any(isinstance(said, Here) and said.node.draining for _, _, said in at.said):
            await at.pass_time(0.25)
        await at.pass_time(2)
        assert at.owners() == [1]


async def test_a_phone_that_comes_while_its_owner_leaves_is_served_by_him_and_then_takes_its_user() -> None:
    async with street() as at:
        near = await at.scenes[0].served()
        await at.pass_time(1)
        slow(at, 0.001)
        at.scenes[1].node._queues["main"]._budget._bucket.owe(at.clock.now(), 5.0)
        at.scenes[0].node.drain()
        far = await at.scenes[1].again(near)
        await at.pass_time(1)
        assert far.health == "live"
        assert (at.owners(), at.holder()) == ([0], 0)
        far.command("1", "1")
        await at.pass_time(1)
        assert far.result("1") == APPLIED
        slow(at, 1.0)
        await at.pass_time(10)
        assert (at.owners(), at.holder()) == ([1], 1)
        assert far.closed is None
        assert user(1) in at.scenes[1].node.user_states


@pytest.mark.parametrize("is_queued", [True, False])
async def test_a_follower_that_fails_holds_no_turn(
    monkeypatch: pytest.MonkeyPatch, *, is_queued: bool
) -> None:
    async with street() as at:
        await followed(at)
        follows = follower(at)
        await leave_unmet(at, is_queued=is_queued)

        def fail(_now: float) -> bool:
            raise RuntimeError("a fault of one user")

        monkeypatch.setattr(follows.machine, "need", fail)
        follows.look()
        await at.pass_time(1)
        assert user(1) not in at.scenes[1].node.user_states
        assert (waiting(at), in_flight(at)) == (0, 0)


async def test_nobody_has_a_turn_for_a_user_whose_owner_has_only_given_notice() -> None:
    async with street() as at:
        await followed(at)
        await at.scenes[0].node.membership.give_notice()
        for _ in range(40):
            await at.pass_time(0.25)
            assert (waiting(at), in_flight(at), at.owners()) == (0, 0, [0])
        at.scenes[0].node.drain()
        await at.pass_time(1)
        assert at.owners() == [1]
