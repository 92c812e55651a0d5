"""When does an owner give his user to another node, and how?

One mechanism for roaming, drain and a site that cannot be reached: new commands are sent on, those in
flight get their outcome, what is known of commands travels with the offer, and the new owner's link
takes the place of the old one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Protocol

from gateway.core.roster import Roster
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import Inbox, Offer
from gateway.runtime.execution import Execution
from gateway.runtime.feed import Feed
from gateway.runtime.ports import Grant, Link
from gateway.runtime.spawn import spawn
from gateway.runtime.tally import Gift
from gateway.runtime.world import World

ALONE_S: Final = 30.0
"""After how long without a phone on this node the user goes to a node that has one."""
UNLINKED_S: Final = 15.0
"""After how long without a link another node may try."""
IN_FLIGHT_S: Final = 3.0
_TAKEN_S: Final = 10.0
"""Within which time whoever was offered a user has his link; else the owner goes on."""


class Giver(Protocol):
    """Who gives."""

    feed: Feed
    roster: Roster
    execution: Execution
    epoch: int
    owned_by: Grant | None
    """Who has the user, once that is known to be another node."""

    @property
    def link(self) -> Link | None:
        """The open link."""
        ...


class Giving:
    """One owner's readiness to give.

    Invariant: the user is offered to one node at a time.

    Args:
        giver: Who gives.
        world: The outside.
    """

    def __init__(self, giver: Giver, world: World) -> None:
        self._giver = giver
        self._world = world
        self._is_giving = False
        self._over = asyncio.Event()
        self._alone_since: float | None = None
        self._unlinked_since: float | None = None

    def tick(self, now: float) -> None:
        """Note whether a phone is here, and a link."""
        self._alone_since = None if self._giver.feed.connections else (self._alone_since or now)
        self._unlinked_since = None if self._giver.link is not None else (self._unlinked_since or now)

    def asked(self, node: NodeId, tasks: asyncio.TaskGroup | None) -> None:
        """Note that *node* would speak for the user: let it, when this node should not."""
        reason = self._reason(self._world.clock.now())
        if reason is not None:
            spawn(tasks, self.give(node, reason))

    def over(self) -> None:
        """Note that the user is gone."""
        self._over.set()

    def _reason(self, now: float) -> Gift | None:
        """Return why this node should not speak for the user; None when it should."""
        if self._is_giving or not self._giver.epoch:
            return None
        if self._world.is_draining():
            return "drain"
        if self._unlinked_since is not None and now - self._unlinked_since >= UNLINKED_S:
            return "island"
        is_alone = self._alone_since is not None and now - self._alone_since >= ALONE_S
        return "roam" if is_alone else None

    async def give(self, to: NodeId, reason: Gift) -> None:
        """Offer the user to *to*, and go on as before when he is not taken."""
        giver, world = self._giver, self._world
        if self._is_giving:
            return
        self._is_giving = True
        try:
            history = await giver.execution.give(IN_FLIGHT_S)
            lingering = tuple(member.ticket for member in giver.roster if not member.present)
            world.exchange.send(
                Inbox(to), Offer(giver.feed.user, world.node, giver.epoch, history, lingering)
            )
            with suppress(TimeoutError):
                async with world.clock.timeout(_TAKEN_S):
                    await self._over.wait()
            if giver.owned_by is not None:
                world.tally.gave(reason)
        finally:
            self._is_giving = False
            giver.execution.resume()
