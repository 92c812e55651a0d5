"""When does an owner give his user to another node, and how?

One mechanism for roaming, drain and a site that cannot be reached: new commands are sent on, those in
flight get their outcome, what is known of commands travels with the offer, and the new owner's link
takes the place of the old one.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

from gateway.core.user_sessions import UserSessions
from gateway.domain.commands import History
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import Given, Inbox, Lingering, Offer
from gateway.runtime.command_execution import CommandExecution
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
"""After how long whoever wished for a user cannot be granted the lease any more for that wish."""
WISHES: Final = 2
"""So many more wishes of one node an offer answers; then the user is served on here for a while."""
REST_S: Final = 10.0
"""For how long a user who was not taken is offered to nobody."""
_AGAIN_S: Final = 1.0
"""How often an offer is told again, and a renewal asked for again."""
_TOLD_AGAIN_S: Final = 5.0
"""For how long after a wish its offer is told again: an older one is not heeded."""


class HandingOwner(Protocol):
    """Who gives."""

    feed: Feed
    user_sessions: UserSessions
    execution: CommandExecution
    epoch: int
    owned_by: Grant | None
    """Who has the user, once that is known to be another node."""

    async def renew(self) -> bool:
        """Ask to extend the lease, if it is still held; tells whether that was granted."""
        ...

    @property
    def link(self) -> Link | None:
        """The open link."""
        ...


class Handover:
    """One owner's readiness to give.

    Invariants: the user is offered to one node at a time; from the offer on no command is begun here until
    a renewal is granted that was asked for when nobody could take the user any more. That is not put off
    by more than :data:`WISHES` wishes, and then nobody is offered the user for :data:`REST_S`.

    Args:
        giver: Who gives.
        world: The outside.
    """

    def __init__(self, giver: HandingOwner, world: World) -> None:
        self._giver = giver
        self._world = world
        self._to: NodeId | None = None
        self._adopt = 0
        self._offer: Offer | None = None
        self._wishes = 0
        self._until = 0.0
        self._rests_until = -math.inf
        self._over = asyncio.Event()
        self._alone_since: float | None = None
        self._island_since: float | None = None

    def tick(self, now: float) -> None:
        """Note whether a phone is here, and a link."""
        self._alone_since = None if self._giver.feed.connections else (self._alone_since or now)
        if self._giver.link is not None:
            self._island_since = None

    def unreached(self) -> None:
        """Note that a dial failed, or the link is gone."""
        self._island_since = self._island_since or self._world.clock.now()

    def asked(self, node: NodeId, adopt: int, tasks: asyncio.TaskGroup | None) -> None:
        """Note that *node* would speak for the user: let it, when this node should not.

        Args:
            node: Who asks.
            adopt: The number of its wish.
            tasks: Where giving runs.
        """
        now = self._world.clock.now()
        reason = self._reason(now)
        if reason is None or now < self._rests_until:
            return
        if self._to is None:
            self._to, self._wishes = node, 0
            self._heed(adopt, now)
            spawn(tasks, self._give(node, reason))
        elif self._to == node and self._wishes < WISHES:
            # the offer was lost, or the wish for it is too old by now
            self._heed(adopt, now)
            self._tell_again()

    def _heed(self, adopt: int, now: float) -> None:
        # those that come before the offer is made cost nothing: it answers the last of them
        self._wishes += self._offer is not None
        self._adopt = adopt
        self._until = now + _TAKEN_S

    def _tell_again(self) -> None:
        if self._to is not None and self._offer is not None:
            self._world.exchange.send(Inbox(self._to), replace(self._offer, adopt=self._adopt))

    def over(self) -> None:
        """Note that the user is gone."""
        self._over.set()

    def replaced(self, token: int) -> None:
        """Note that the link with *token* took the place of this owner's, and let its owner have the history.

        Nothing was begun since the offer, and nobody had a link between: only so is the history complete.
        """
        if self._to is not None and self._offer is not None:
            history = self._giver.execution.history()
            self._world.exchange.send(Inbox(self._to), Given(self._giver.feed.user, token, history))

    def _reason(self, now: float) -> Gift | None:
        """Return why this node should not speak for the user; None when it should."""
        if not self._giver.epoch:
            return None
        if self._world.is_draining():
            return "drain"
        if self._island_since is not None and now - self._island_since >= UNLINKED_S:
            return "island"
        is_alone = self._alone_since is not None and now - self._alone_since >= ALONE_S
        return "roam" if is_alone else None

    async def _give(self, to: NodeId, reason: Gift) -> None:
        """Offer the user to *to*, and go on as before when he is not taken."""
        giver, world = self._giver, self._world
        try:
            history = await giver.execution.give(IN_FLIGHT_S)
            await self._let_answers_leave()
            self._offer = self._made(history, reason)
            if await self._is_heard(to, self._offer):
                await self._wait()
                self._rests_until = world.clock.now() + REST_S
            if giver.owned_by is not None:
                world.tally.gave(reason)
        finally:
            self._to = self._offer = None
            giver.execution.resume()

    async def _let_answers_leave(self) -> None:
        """Let what became of commands leave before the offer: who takes it waits for no answer any more."""
        for _ in ("execution", "neighbours", "exchange"):
            await self._world.clock.sleep(0)

    def _made(self, history: History, reason: Gift) -> Offer:
        giver, now = self._giver, self._world.clock.now()
        lingering = tuple(
            Lingering(member.ticket, now - member.left_at)
            for member in giver.user_sessions
            if member.left_at is not None
        )
        is_island = reason == "island"
        return Offer(
            giver.feed.user, self._world.node, self._adopt, giver.epoch, history, is_island, lingering
        )

    async def _is_heard(self, to: NodeId, offer: Offer) -> bool:
        try:
            return await self._world.exchange.deliver(Inbox(to), offer) > 0
        except GatewayError:
            return True  # nobody knows

    async def _wait(self) -> None:
        """Return when the user is gone, or certainly still here.

        Whoever was offered him may take the lease until a renewal is granted that is asked for later. An
        offer may be lost, so it is told again; an island's is not, as whoever hears it tries the site.
        """
        clock = self._world.clock
        while not self._over.is_set():
            left_s = self._until - clock.now()
            if left_s <= 0 and await self._giver.renew():
                return
            with suppress(TimeoutError):
                async with clock.timeout(min(left_s, _AGAIN_S) if left_s > 0 else _AGAIN_S):
                    await self._over.wait()
            is_young = self._until - clock.now() >= _TAKEN_S - _TOLD_AGAIN_S
            if is_young and not self._over.is_set() and self._offer is not None and not self._offer.island:
                self._tell_again()
