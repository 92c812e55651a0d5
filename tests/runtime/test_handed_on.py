"""Who serves a user whose owner changes while something slow is under way?"""

from __future__ import annotations

import pytest

from gateway.domain.model import SessionSecret, UserId
from tests.doubles.fake_link import FakeLink
from tests.runtime.rivals import Gate
from tests.runtime.street import street

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
