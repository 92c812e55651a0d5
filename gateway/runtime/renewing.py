"""How do sessions live on at OSCC-E while their phones are there?"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from gateway.core.roster import Member, Roster
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.runtime.feed import Feed
from gateway.runtime.mirror import Mirror
from gateway.runtime.ports import Clock
from gateway.runtime.spawn import spawn
from gateway.runtime.world import World

SESSION_RENEW_AGAIN_S: Final = 30.0
RENEWALS_IN_A_LIFE: Final = 12
"""A short life is renewed more often: its last third has room for four tries."""

_TELLS_S: Final = 0.5
"""Within which time the link tells how a session ended that is denied to be known."""


class Speaker(Protocol):
    """Who speaks for the sessions."""

    clock: Clock
    feed: Feed
    roster: Roster
    mirror: Mirror

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Take out a session that OSCC-E ended or refused."""
        ...


class Renewing:
    """The lives of one user's sessions.

    Args:
        speaker: Who speaks for them.
        world: The outside.
    """

    def __init__(self, speaker: Speaker, world: World) -> None:
        self._speaker = speaker
        self._world = world

    def tick(self, now: float, tasks: asyncio.TaskGroup) -> None:
        """Ask for more life where little is left."""
        speaker = self._speaker
        for member in speaker.roster.expiring(now, speaker.clock.wall_ms()):
            member.renew_after = now + min(SESSION_RENEW_AGAIN_S, member.life_s / RENEWALS_IN_A_LIFE)
            spawn(tasks, self._renew(member))

    async def _renew(self, member: Member) -> None:
        speaker = self._speaker
        try:
            expires_at_ms = await self._world.authority.keep_alive(member.ticket.secret)
        except GatewayError as error:
            if error.code is ErrorCode.SESSION_ENDED:
                self._not_renewed(member)
            return
        if expires_at_ms > member.expires_at_ms and speaker.roster.get(member.handle) is member:
            member.lived_from_ms, member.expires_at_ms = speaker.clock.wall_ms(), expires_at_ms
            speaker.mirror.show_session(member)
            speaker.feed.flush()

    async def doubt(self, member: Member) -> None:
        """End a session that the server denied to know, unless the link tells soon how it ended."""
        await self._speaker.clock.sleep(_TELLS_S)
        self._speaker.ended(member, EndReason.UNKNOWN, None)

    def _not_renewed(self, member: Member) -> None:
        """Take in that OSCC-E does not know the session: the link that carries it should tell why.

        The answer may overtake what the link tells; only that says whether the phone is to stop or to
        log on again.
        """
        if member.on_link and not member.doubted:
            member.doubted = True
        else:
            self._speaker.ended(member, EndReason.UNKNOWN, None)
