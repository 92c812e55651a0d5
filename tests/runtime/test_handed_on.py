"""Who serves a user whose owner changes while something slow is under way?"""

from __future__ import annotations

import pytest

from gateway.domain.model import SessionSecret, UserId
from gateway.domain.upstream import About
from tests.doubles.fake_link import FakeLink
from tests.runtime.followed import TRUSTED_S, followed
from tests.runtime.rivals import Gate
from tests.runtime.street import Street, street

TAKEN_S = 5.0
"""Within which time an owner who is gone is missed, and his user taken."""


# ---- an owner who is over ----


async def test_whoever_comes_while_a_link_that_nobody_needs_is_closed_is_served_by_the_next_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with street() as at:
        near, far = await at.scenes[0].phone("anna"), await at.scenes[1].phone("anna", device="d2")
        opening, closing, opens, closes = at.upstream.open, FakeLink.close, Gate(), Gate()

        async def open_(user: UserId, secret: SessionSecret, *, token: int, holder: str) -> FakeLink:
            await opens.passed()
            return await opening(user, secret, token=token, holder=holder)

        async def close(link: FakeLink) -> None:
            await closes.passed()
            await closing(link)

        monkeypatch.setattr(at.upstream, "open", open_)
        monkeypatch.setattr(FakeLink, "close", close)
        opens.shut()
        closes.shut()
        near.hello()
        await at.clock.settle()
        at.scenes[0].node.logged_off(near.ticket)
        opens.open()
        await at.clock.settle()
        assert closes.waiting == 1
        far.hello()
        await at.clock.settle()
        closes.open()
        await at.pass_time(5)
        assert far.of_kind("welcome")
        assert at.holder() == 1


async def test_whoever_comes_while_an_owner_who_is_over_finishes_something_is_served_by_the_next() -> None:
    async with street() as at:
        near, far = await at.scenes[0].served(), await at.scenes[1].phone("anna", device="d2")
        await at.pass_time(1)
        owner = at.scenes[0].owner()
        owner.doubted(near.ticket.handle)
        await at.clock.settle()
        at.scenes[0].node.logged_off(near.ticket)
        await at.clock.settle()
        assert (at.owners(), owner.is_over) == ([0], True)
        far.hello()
        await at.pass_time(3)
        assert (far.closed, at.holder()) == (None, 1)


# ---- an owner who is missed by several ----


def shut_about(at: Street, node: int, patch: pytest.MonkeyPatch) -> Gate:
    """Let the site not tell a node what it can, until the gate is open."""
    gate, about = Gate(), at.ways[node].about

    async def kept() -> About:
        await gate.passed()
        return await about()

    patch.setattr(at.ways[node], "about", kept)
    gate.shut()
    return gate


async def test_whoever_took_a_user_first_keeps_him_though_a_slow_site_answers_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with street(3) as at:
        await followed(at)
        await at.scenes[2].served(device="d3")
        await at.pass_time(TRUSTED_S)
        first, second = (shut_about(at, node, monkeypatch) for node in (1, 2))
        await at.kill(0)
        await at.pass_time(TAKEN_S)
        assert (first.waiting > 0, second.waiting > 0) == (True, True)
        first.open()
        await at.pass_time(TAKEN_S)
        assert at.holder() == 1
        second.open()
        await at.pass_time(TAKEN_S)
        assert [one.node for one in at.openings] == [0, 1]


async def test_an_owner_who_answers_again_while_a_slow_site_does_not_keeps_his_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with street() as at:
        await followed(at)
        await at.pass_time(TRUSTED_S)
        gate = shut_about(at, 1, monkeypatch)
        at.trouble.lose = lambda *told: told[:2] == (0, 1)
        await at.pass_time(TAKEN_S)
        assert gate.waiting
        at.trouble.lose = None
        await at.pass_time(TAKEN_S)
        gate.open()
        await at.pass_time(TAKEN_S)
        assert at.owners() == [0]
        assert len(at.openings) == 1
