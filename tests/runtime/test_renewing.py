"""Does a session with a phone live on, and is it noticed when it does not?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError
from gateway.domain.link_requests import AttachSession
from gateway.runtime.renewing import SESSION_RENEW_AGAIN_S
from tests.doubles.fake_upstream import LIFE_MS
from tests.runtime.scene import PhoneLine, scene, user


def _code(phone: PhoneLine) -> int | None:
    return None if phone.closed is None else phone.closed.code


async def test_sessions_with_a_phone_are_renewed_when_a_third_of_their_life_is_left() -> None:
    async with scene() as at:
        phone, gone = await at.served(), await at.served(device="d2")
        gone.leave()
        phone.facts.clear()
        first_ms = phone.ticket.expires_at_ms
        at.clock.jump_wall(LIFE_MS * 2 // 3 - 60_000)
        await at.pass_time(30)
        assert phone.facts == []
        await at.pass_time(45)
        assert phone.facts[-1].expires_at_ms > first_ms
        assert at.upstream.session(gone.ticket.secret).expires_at_ms == first_ms
        assert len(phone.facts) == 1


async def test_a_renewal_that_is_not_answered_is_tried_again_later() -> None:
    async with scene() as at:
        phone = await at.served()
        phone.facts.clear()
        at.upstream.unreachable = True
        at.clock.jump_wall(LIFE_MS * 2 // 3 + 1_000)
        await at.pass_time(10)
        at.upstream.unreachable = False
        await at.pass_time(10)
        assert phone.facts == []
        await at.pass_time(15)
        assert len(phone.facts) == 1


async def test_a_short_life_is_renewed_in_time_though_the_first_try_fails() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        now_ms = at.clock.wall_ms()
        phone.ticket = replace(phone.ticket, issued_at_ms=now_ms, expires_at_ms=now_ms + 15_000)
        phone.hello()
        await at.clock.settle()
        at.upstream.unreachable = True
        await at.pass_time(11)
        at.upstream.unreachable = False
        phone.facts.clear()
        await at.pass_time(3)
        assert phone.facts[-1].expires_at_ms > now_ms + 15_000


async def test_a_session_that_is_gone_when_it_is_renewed_twice_has_ended() -> None:
    async with scene() as at:
        phone, other = await at.served(), await at.served(device="d2")
        del at.upstream.live[phone.ticket.secret]
        at.clock.jump_wall(LIFE_MS * 2 // 3 + 1_000)
        await at.pass_time(2)
        assert _code(phone) is None, "the link should tell why"
        await at.pass_time(SESSION_RENEW_AGAIN_S)
        assert _code(phone) == CloseCode.SESSION_ENDED
        assert _code(other) is None


async def test_a_session_that_is_on_no_link_has_ended_when_its_renewal_is_refused() -> None:
    async with scene() as at:
        phone = await at.served()
        at.upstream.refusals[AttachSession] = GatewayError(ErrorCode.BUSY, "busy")
        del at.upstream.live[phone.ticket.secret]
        at.owner().roster.unlinked()
        at.clock.jump_wall(LIFE_MS * 2 // 3 + 1_000)
        await at.pass_time(2)
        assert _code(phone) == CloseCode.SESSION_ENDED


@pytest.mark.parametrize("first", ["link", "renewal"])
async def test_a_session_ends_as_the_link_tells_though_its_renewal_is_refused_first(first: str) -> None:
    async with scene() as at:
        phone = await at.served()
        link = at.upstream.link(user(1))
        assert link is not None
        if first == "renewal":
            link.mute()
        at.upstream.end_session(at.upstream.session(phone.ticket.secret), EndReason.TAKEN_OVER, "Tablet")
        at.clock.jump_wall(LIFE_MS * 2 // 3 + 1_000)
        await at.pass_time(2)
        link.unmute()
        await at.clock.settle()
        assert phone.closed is not None
        assert (phone.closed.code, phone.closed.by) == (CloseCode.LOGGED_OFF, "Tablet")
