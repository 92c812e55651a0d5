"""How does a node ask the lease store for one user?

:mod:`gateway.core.lease` decides what an answer means; here the questions are put.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from gateway.core.lease import Acquire, Lease, Renew
from gateway.domain.errors import GatewayError
from gateway.domain.model import UserId
from gateway.runtime.ports import Grant
from gateway.runtime.world import World

Answer = Literal["ours", "refused", "unanswered"]


class Leasing:
    """One user's lease in the store.

    Invariant: one question at a time; every question ends in an answer or in none, also when
    whoever asked is cancelled.

    Args:
        user: Whose lease.
        world: The outside.
    """

    def __init__(self, user: UserId, world: World) -> None:
        self.lease = Lease()
        self.other: Grant | None = None
        """Who had the user when this node was last refused."""
        self._user = user
        self._world = world
        self._asking = asyncio.Lock()

    async def ask(self, *, expected: int | None = None) -> Answer:
        """Ask for the lease, or to extend the one that is held; waits for a question under way first.

        Args:
            expected: Take it from the holder of that token.
        """
        async with self._asking:
            question = self.lease.ask(self._world.clock.now(), expected=expected)
            try:
                match question:
                    case Acquire():
                        return await self._acquire(question)
                    case Renew():
                        return await self._renew(question)
                    case None:
                        return "unanswered"
            except GatewayError:
                self.lease.unanswered(self._world.clock.now())
                return "unanswered"
            except asyncio.CancelledError:
                self.lease.unanswered(self._world.clock.now())
                raise

    async def read(self) -> Grant | None:
        """Return who has the user, as the store knows it.

        Raises:
            GatewayError: ``bus_down``.
        """
        return await self._world.leases.read(self._user)

    async def outbid(self, token: int) -> None:
        """Give the lease up, since OSCC-E has seen *token*: the next one is above it."""
        if self.lease.outbid(token):
            await self._release(self.lease.epoch)

    async def release(self) -> None:
        """Give it up."""
        if self.lease.release():
            await self._release(self.lease.epoch)

    async def _acquire(self, question: Acquire) -> Answer:
        world = self._world
        grant = await world.leases.acquire(
            self._user, world.node, world.holder, floor=question.floor, expected=question.expected
        )
        if grant.holder != world.holder:
            self.other = grant
            self.lease.refused(grant.token)
            return "refused"
        if self.lease.granted(grant.token):
            return "ours"
        await self._release(grant.token)
        return "unanswered"

    async def _renew(self, question: Renew) -> Answer:
        world = self._world
        if not await world.leases.renew(self._user, world.node, world.holder, question.token):
            self.lease.refused()
            return "refused"
        if self.lease.renewed():
            return "ours"
        await self._release(question.token)
        return "unanswered"

    async def _release(self, token: int) -> None:
        """Release in the store; when it does not answer, the lease runs out by itself."""
        try:
            await self._world.leases.release(self._user, self._world.holder, token)
        except GatewayError:
            return
