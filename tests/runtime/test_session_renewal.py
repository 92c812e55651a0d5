"""Does a session with a phone live on, and is it noticed when it does not?"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.domain.commands import AttachSession
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError
from gateway.domain.model import SessionSecret
from gateway.runtime.sessions import SESSION_RENEW_AGAIN_S
from tests.doubles.fake_upstream import LIFE_MS
from tests.runtime.scene import PhoneLine, Scene, scene, user


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


class Hanging:
    """Renewals that are not answered, or only in the end: when each began, and how many are open."""

    def __init__(self, at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began: list[float] = []
        self.most = 0
        self._open = 0
        self._clock = at.clock
        self._answer = asyncio.Event()
        self._keep_alive = at.upstream.keep_alive
        monkeypatch.setattr(at.upstream, "keep_alive", self._hang)

    async def _hang(self, secret: SessionSecret) -> int:
        self.began.append(self._clock.now())
        self._open += 1
        self.most = max(self.most, self._open)
        try:
            await self._answer.wait()
            return await self._keep_alive(secret)
        finally:
            self._open -= 1

    def answer(self) -> None:
        """Let the server answer, what is open too."""
        self._answer.set()


async def _short_lived(at: Scene, life_s: int) -> PhoneLine:
    """Give a phone that is served, and whose session lives so long from now on."""
    phone = await at.phone("anna")
    now_ms = at.clock.wall_ms()
    phone.ticket = replace(phone.ticket, issued_at_ms=now_ms, expires_at_ms=now_ms + life_s * 1000)
    phone.hello()
    await at.clock.settle()
    phone.facts.clear()
    return phone


@pytest.mark.parametrize("life_s", [15, 600])
async def test_renewals_that_hang_are_tried_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, life_s: int
) -> None:
    async with scene() as at:
        began_at = at.clock.now()
        phone = await _short_lived(at, life_s)
        hanging = Hanging(at, monkeypatch)
        await at.pass_time(life_s)
        before = len(hanging.began)
        assert before >= 2, "the first one that hangs leaves time for another"
        assert hanging.began[-1] >= began_at + life_s * 0.9, "and so does the last but one"
        await at.pass_time(120)
        assert len(hanging.began) - before <= 4, "there is no haste any more"
        assert hanging.most == 1
        hanging.answer()
        await at.pass_time(SESSION_RENEW_AGAIN_S + 1)
        assert phone.facts[-1].expires_at_ms > at.clock.wall_ms()


async def test_a_session_that_lives_again_after_its_end_is_renewed_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []
    async with scene() as at:
        await _short_lived(at, 2)

        async def renew(_: SessionSecret) -> int:
            asked.append(at.clock.now())
            return at.clock.wall_ms() + 2_000 if len(asked) > 1 else 0

        monkeypatch.setattr(at.upstream, "keep_alive", renew)
        at.clock.jump_wall(2_000)
        await at.pass_time(40)
        assert asked[1] - asked[0] >= 30
        assert asked[2] - asked[1] <= 3


async def test_a_renewal_is_waited_for_though_the_server_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as at:
        phone = await _short_lived(at, 15)
        hanging = Hanging(at, monkeypatch)
        await at.pass_time(12)
        hanging.answer()
        await at.clock.settle()
        assert len(hanging.began) == 1
        assert phone.facts[-1].expires_at_ms > at.clock.wall_ms() + 15_000


@pytest.mark.parametrize(("told_s", "tries"), [(None, 4), (9.0, 3), (300.0, 3)])
async def test_a_server_that_asks_to_wait_is_asked_less_often_while_there_is_time(
    monkeypatch: pytest.MonkeyPatch, told_s: float | None, tries: int
) -> None:
    asked: list[float] = []
    async with scene() as at:
        await _short_lived(at, 60)

        async def refuse(_: SessionSecret) -> int:
            asked.append(at.clock.now())
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "wait", retry_after_s=told_s)

        monkeypatch.setattr(at.upstream, "keep_alive", refuse)
        await at.pass_time(59)
        assert len(asked) == tries


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
        at.owner().user_sessions.unlinked()
        at.clock.jump_wall(LIFE_MS * 2 // 3 + 1_000)
        await at.pass_time(2)
        assert _code(phone) == CloseCode.SESSION_ENDED


@pytest.mark.parametrize("first", ["link", "renewal"])
async def test_a_session_ends_as_the_link_tells_though_its_renewal_is_refused_first(first: str) -> None:
    async with scene() as at:
        phone = await at.served()
        link = at.link()
        if first == "renewal":
            link.mute()
        at.upstream.end_session(at.upstream.session(phone.ticket.secret), EndReason.TAKEN_OVER, "Tablet")
        at.clock.jump_wall(LIFE_MS * 2 // 3 + 1_000)
        await at.pass_time(2)
        link.unmute()
        await at.clock.settle()
        assert (phone.ended.code, phone.ended.by) == (CloseCode.LOGGED_OFF, "Tablet")


async def test_a_renewal_that_hangs_delays_no_change_of_role(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as at:
        await _short_lived(at, 60)
        hanging = Hanging(at, monkeypatch)
        await at.pass_time(45)
        assert hanging.began
        home = at.node.user_states[user(1)]
        home.stop()
        await at.clock.settle()
        assert home.over.is_set()
        assert await at.leases.read(user(1)) is None
