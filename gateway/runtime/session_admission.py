"""Session admission: when a session is served, and which one it replaces."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from gateway.core.user_sessions import Member, UserSessions
from gateway.domain.errors import CloseCode, SessionRefused
from gateway.domain.model import NodeId, Ticket
from gateway.protocol.envelopes import Inbox, Replaced, SessionFacts
from gateway.runtime.feed import Feed
from gateway.runtime.link_health import LinkHealth
from gateway.runtime.mirror import Mirror
from gateway.runtime.ports import Clock, Grant, Link
from gateway.runtime.role import RoleOverError, not_reached
from gateway.runtime.world import World, refusal

ATTACH_S: Final = 10.0
"""How long a phone waits for its session to be accepted and the first readings to be there."""
TURNS: Final = 3
"""So often it waits as long, while OSCC-E accepts those before it: thousands may come at once."""


class AdmittingOwner(Protocol):
    """Who speaks for the user."""

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
        """Whether no session is left to speak for, or the user was let go."""
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
        speaker: Who speaks for them.
        world: The outside.
    """

    def __init__(self, speaker: AdmittingOwner, world: World) -> None:
        self._speaker = speaker
        self._world = world
        self._waiting: dict[str, asyncio.Event] = {}
        """For which sessions somebody waits, by handle."""
        self._shown = 0
        """How often there was news of one session alone: that it was accepted, most of the time."""

    def look(self, handle: str | None = None) -> None:
        """Let whoever waits look again: for one session, or None, for any."""
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

    async def attach(self, ticket: Ticket, topics: tuple[str, ...], node: NodeId | None) -> SessionFacts:
        """See :meth:`gateway.runtime.owner.Owner.attach`."""
        speaker = self._speaker
        if speaker.user_sessions.is_crowded(ticket, node, self._world.devices):
            raise SessionRefused(CloseCode.TOO_MANY_DEVICES, CloseCode.TOO_MANY_DEVICES.name.lower())
        self._make_way(speaker.user_sessions.get(ticket.handle), node)
        member = speaker.user_sessions.join(ticket, topics, node)
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
            self._make_way(rival, node)
        return member.facts()

    async def _ready_in_time(self, member: Member) -> None:
        if not self._is_ready(member):
            async with self._speaker.clock.timeout(ATTACH_S):
                await self._readiness(member)

    async def _readiness(self, member: Member) -> None:
        while not self._is_ready(member):
            await self.change(member.handle)

    def _make_way(self, member: Member | None, node: NodeId | None) -> None:
        """Have a phone's connection closed that makes way for one on another *node*."""
        if member is None or not member.present or member.node == node:
            return
        feed = self._speaker.feed
        if member.node is not None:
            self._world.exchange.send(Inbox(member.node), Replaced(feed.user, member.handle))
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
