"""Sessions of an owner: accepted by OSCC-E before they are served, and kept alive while their phones are."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Protocol

from gateway.core.user_sessions import Member, UserSessions
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import NodeId, Ticket
from gateway.protocol.envelopes import Inbox, Replaced, SessionFacts
from gateway.runtime.link_session import LinkHealth
from gateway.runtime.mirror import Feed, Mirror
from gateway.runtime.ports import Clock, Grant, Link, RoleOverError, not_reached
from gateway.runtime.spawn import spawn
from gateway.runtime.world import World, refusal

ATTACH_S: Final = 10.0
"""How long a phone waits for its session to be accepted and the first readings to be there."""
TURNS: Final = 3
"""So often it waits as long, while OSCC-E accepts those before it: thousands may come at once."""
UNSURE_S: Final = 5.0
"""By less than this it is not sure on which of two nodes a phone is since later: then the last one counts."""


class AdmittingOwner(Protocol):
    """The owner, as it admits sessions."""

    clock: Clock
    feed: Feed
    user_sessions: UserSessions
    mirror: Mirror
    owned_by: Grant | None
    pulse: LinkHealth

    @property
    def link(self) -> Link | None:
        """The open link."""
        ...

    @property
    def token(self) -> int:
        """The token under which it is spoken; 0 when another may have overtaken it."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether no session is left to act for, or the user was let go."""
        ...

    @property
    def is_settled(self) -> bool:
        """Whether everything that was asked on the open link has answered."""
        ...

    def look(self) -> None:
        """Have it seen to that what is asked of OSCC-E is what is wanted now."""
        ...


class SessionAdmission:
    """One user's sessions on their way to be served.

    Args:
        speaker: The owner that acts for them.
        world: The outside.
    """

    def __init__(self, speaker: AdmittingOwner, world: World) -> None:
        self._speaker = speaker
        self._world = world
        self._waiting: dict[str, asyncio.Event] = {}
        """For which sessions a task waits, by handle."""
        self._shown = 0
        """How often there was news of one session alone: that it was accepted, most of the time."""

    def look(self, handle: str | None = None) -> None:
        """Wake the tasks that wait for one session, or None, for any."""
        if handle is not None:
            self._shown += 1
            changed = self._waiting.pop(handle, None)
            if changed is not None:
                changed.set()
            return
        waiting, self._waiting = self._waiting, {}
        for changed in waiting.values():
            changed.set()

    async def change(self, handle: str) -> None:
        """Return when something of a session may be new."""
        changed = self._waiting.get(handle)
        if changed is None:
            changed = self._waiting[handle] = asyncio.Event()
        await changed.wait()

    async def attach(
        self, ticket: Ticket, topics: tuple[str, ...], node: NodeId | None, since: float | None = None
    ) -> SessionFacts:
        """See :meth:`gateway.runtime.owner.Owner.attach`."""
        speaker = self._speaker
        came_at = speaker.clock.now() if since is None else since
        if self._has_moved_on(speaker.user_sessions.get(ticket.handle), node, came_at):
            raise SessionRefused(CloseCode.REPLACED, "replaced")
        if speaker.user_sessions.is_crowded(ticket, node, self._world.devices):
            raise SessionRefused(CloseCode.TOO_MANY_DEVICES, CloseCode.TOO_MANY_DEVICES.name.lower())
        self._make_way(speaker.user_sessions.get(ticket.handle), node, came_at)
        member = speaker.user_sessions.join(ticket, topics, node)
        member.came_at = came_at
        speaker.look()
        for _ in range(TURNS):
            shown = self._shown
            try:
                await self._ready_in_time(member)
                break
            except TimeoutError:
                if member.attached is not None and speaker.token:
                    break
                if self._shown == shown:
                    raise not_reached(for_bus=self._world.refuses_writes()) from None
        else:
            raise not_reached(for_bus=self._world.refuses_writes())
        for rival in speaker.user_sessions.rivals(ticket):
            self._make_way(rival, node, came_at)
        return member.facts()

    async def _ready_in_time(self, member: Member) -> None:
        if not self._is_ready(member):
            async with self._speaker.clock.timeout(ATTACH_S):
                await self._readiness(member)

    async def _readiness(self, member: Member) -> None:
        while not self._is_ready(member):
            await self.change(member.handle)

    @staticmethod
    def _has_moved_on(member: Member | None, node: NodeId | None, came_at: float) -> bool:
        """Return whether a phone that came to *node* at *came_at* is on another node since.

        A node that was stopped presents phones that have left it: nothing of them was read there yet.
        """
        if member is None or not member.present or member.node == node:
            return False
        return member.came_at > came_at + UNSURE_S

    def _make_way(self, member: Member | None, node: NodeId | None, came_at: float) -> None:
        """Have a phone's connection closed that makes way for one that came to another *node*."""
        if member is None or not member.present or member.node == node:
            return
        feed = self._speaker.feed
        if member.node is not None:
            age_ms = round((self._speaker.clock.now() - came_at) * 1000)
            self._world.exchange.send(Inbox(member.node), Replaced(feed.user, member.handle, age_ms))
        elif (connection := feed.connections.get(member.handle)) is not None:
            connection.close(CloseCode.REPLACED, "replaced")

    def _is_ready(self, member: Member) -> bool:
        speaker = self._speaker
        if speaker.user_sessions.get(member.handle) is not member:
            raise refusal(member.ticket, *member.end)
        if speaker.is_over:
            raise (
                RoleOverError
                if speaker.owned_by is not None
                else not_reached(for_bus=self._world.refuses_writes())
            )
        if member.attached is None:
            return False
        if speaker.link is None:
            return speaker.mirror.has_snapshot and speaker.token > 0
        return member.on_link and (speaker.is_settled or speaker.mirror.has_read(member))


SESSION_RENEW_AGAIN_S: Final = 30.0
RENEWALS_IN_A_LIFE: Final = 12
"""A short life is renewed more often: its last third has room for four tries."""
_SHORTEST_TRY_S: Final = 1.0
_TELLS_S: Final = 0.5
"""Within which time the link reports how a session ended that is denied to be known."""


class RenewingOwner(Protocol):
    """The owner, as it renews sessions."""

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
    a request that hangs leaves time for another; past its end, hurry is of no use.

    Args:
        speaker: The owner that acts for them.
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
        """Give up what is under way: another owner renews, or it is not needed."""
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
        """End a session that the server denied to know, unless the link reports soon how it ended."""
        await self._speaker.clock.sleep(_TELLS_S)
        await self._end(member)

    async def _end(self, member: Member) -> None:
        reason = EndReason.UNKNOWN
        with suppress(GatewayError):
            reason = member.end_at((await self._world.upstream.about()).server)
        self._speaker.ended(member, reason, None)

    async def _not_renewed(self, member: Member) -> None:
        """Record that OSCC-E does not know the session: the link that carries it should report why.

        The answer may overtake the report of the link, which alone decides whether the phone is to stop or to
        log on again.
        """
        if member.on_link and not member.doubted:
            member.doubted = True
        else:
            await self._end(member)
