"""Session renewal: keep sessions alive at OSCC-E while their phones are connected."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Protocol

from gateway.core.user_sessions import Member, UserSessions
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.runtime.feed import Feed
from gateway.runtime.mirror import Mirror
from gateway.runtime.ports import Clock
from gateway.runtime.spawn import spawn
from gateway.runtime.world import World

SESSION_RENEW_AGAIN_S: Final = 30.0
RENEWALS_IN_A_LIFE: Final = 12
"""A short life is renewed more often: its last third has room for four tries."""
_SHORTEST_TRY_S: Final = 1.0
_TELLS_S: Final = 0.5
"""Within which time the link tells how a session ended that is denied to be known."""


class RenewingOwner(Protocol):
    """Who speaks for the sessions."""

    clock: Clock
    feed: Feed
    user_sessions: UserSessions
    mirror: Mirror

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Take out a session that OSCC-E ended or refused."""
        ...


class SessionRenewal:
    """The lives of one user's sessions.

    Invariant: for each one renewal at a time. It is given up after half of what is left of the life, so that
    a request that hangs leaves time for another; past its end, haste helps no session any more.

    Args:
        speaker: Who speaks for them.
        world: The outside.
    """

    def __init__(self, speaker: RenewingOwner, world: World) -> None:
        self._speaker = speaker
        self._world = world
        self._under_way: dict[str, asyncio.Task[None] | None] = {}

    def tick(self, now: float, tasks: asyncio.TaskGroup) -> None:
        """Ask for more life where little is left."""
        speaker = self._speaker
        for member in speaker.user_sessions.expiring(now, speaker.clock.wall_ms()):
            if member.handle not in self._under_way:
                often_s = min(SESSION_RENEW_AGAIN_S, member.life_s / RENEWALS_IN_A_LIFE)
                member.renew_after = now + (often_s if self._left_s(member) > 0 else SESSION_RENEW_AGAIN_S)
                spawn(tasks, self._renew(member))

    def stop(self) -> None:
        """Give up what is under way: another owner renews, or nobody needs it."""
        for task in self._under_way.values():
            if task is not None:
                task.cancel()

    async def _renew(self, member: Member) -> None:
        left_s = self._left_s(member)
        patience_s = max(_SHORTEST_TRY_S, left_s / 2) if left_s > 0 else SESSION_RENEW_AGAIN_S
        self._under_way[member.handle] = asyncio.current_task()
        try:
            async with self._speaker.clock.timeout(patience_s):
                expires_at_ms = await self._world.authority.keep_alive(member.ticket.secret)
        except TimeoutError:
            return
        except GatewayError as error:
            if error.code is ErrorCode.SESSION_ENDED:
                await self._not_renewed(member)
            elif error.retry_after_s is not None and member.renew_after is not None:
                told_s = min(error.retry_after_s, left_s / 2)
                member.renew_after = max(member.renew_after, self._speaker.clock.now() + told_s)
            return
        finally:
            del self._under_way[member.handle]
        self._renewed(member, expires_at_ms)

    def _left_s(self, member: Member) -> float:
        return (member.expires_at_ms - self._speaker.clock.wall_ms()) / 1000

    def _renewed(self, member: Member, expires_at_ms: int) -> None:
        speaker = self._speaker
        if expires_at_ms > member.expires_at_ms and speaker.user_sessions.get(member.handle) is member:
            member.lived_from_ms, member.expires_at_ms = speaker.clock.wall_ms(), expires_at_ms
            member.renew_after = None  # it was of the life before
            speaker.mirror.show_session(member)
            speaker.feed.flush()

    async def doubt(self, member: Member) -> None:
        """End a session that the server denied to know, unless the link tells soon how it ended."""
        await self._speaker.clock.sleep(_TELLS_S)
        await self._end(member)

    async def _end(self, member: Member) -> None:
        reason = EndReason.UNKNOWN
        with suppress(GatewayError):
            reason = member.end_at((await self._world.upstream.about()).server)
        self._speaker.ended(member, reason, None)

    async def _not_renewed(self, member: Member) -> None:
        """Take in that OSCC-E does not know the session: the link that carries it should tell why.

        The answer may overtake what the link tells; only that says whether the phone is to stop or to
        log on again.
        """
        if member.on_link and not member.doubted:
            member.doubted = True
        else:
            await self._end(member)
