"""How does a node ask the lease store for one user?

:mod:`gateway.core.lease` decides what an answer means; here the questions are put.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from gateway.core.lease import Acquire, Lease, Renew
from gateway.domain.errors import GatewayError
from gateway.domain.model import UserId
from gateway.runtime.ports import Grant
from gateway.runtime.world import World

Answer = Literal["ours", "refused", "unanswered"]

RENEW_S: Final = 5.0
"""The longest time between two renewals."""
_SPREAD: Final = 0.2
"""By which part of it jitter shortens that time."""


class LeaseKeeper:
    """One user's lease in the store.

    Invariant: one question at a time; every question ends in an answer or in none, also when
    whoever asked is cancelled.

    Args:
        user: Whose lease.
        world: The outside.
    """

    def __init__(self, user: UserId, world: World) -> None:
        # after an outage all ask at once; so they drift apart again
        self.lease = Lease(renew_s=RENEW_S * (1.0 - _SPREAD * world.jitter()))
        self.other: Grant | None = None
        """Who had the user when this node was last refused."""
        self._user = user
        self._world = world
        self._asking = asyncio.Lock()
        self._good_epoch = 0
        """The epoch of the last answer by which the lease was held."""

    async def ask(self, *, expected: int | None = None) -> Answer:
        """Ask for the lease, or to extend the one that is held; waits for a question under way first.

        Args:
            expected: Take it from the holder of that token.
        """
        async with self._asking:
            return await self._ask(expected)

    async def renew(self) -> Answer:
        """Ask to extend the lease, as :meth:`ask`; what is not held any more is not asked for anew.

        A lease beside a link of an earlier token serves nobody: other nodes go by the lease's token,
        and all that this link says is of the earlier one.
        """
        async with self._asking:
            return await self._ask(None) if self.lease.is_ours else "refused"

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

    async def _ask(self, expected: int | None) -> Answer:
        now = self._world.clock.now()
        question = self.lease.ask(now, expected=expected)
        try:
            match question:
                case Acquire():
                    return await self._acquire(question)
                case Renew():
                    self._note_lapse(question.token, now)
                    return await self._renew(question)
                case None:
                    return "unanswered"
        except GatewayError:
            self.lease.unanswered(self._world.clock.now())
            return "unanswered"
        except asyncio.CancelledError:
            self.lease.unanswered(self._world.clock.now())
            raise

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
            self._good_epoch = grant.token
            return "ours"
        await self._release(grant.token)
        return "unanswered"

    async def _renew(self, question: Renew) -> Answer:
        world, is_doubted = self._world, not self.lease.may_dial
        if not await world.leases.renew(self._user, world.node, world.holder, question.token):
            self.lease.refused()
            return "refused"
        if self.lease.renewed():
            self._good_epoch = question.token
            if is_doubted and self.lease.may_dial:  # the lease is ours, and the link another's
                world.tally.saw_two_owners()
            return "ours"
        await self._release(question.token)
        return "unanswered"

    def _note_lapse(self, token: int, now: float) -> None:
        if self._good_epoch == token and not self.lease.holds(now):
            self._good_epoch = 0
            self._world.tally.fenced_itself()

    async def _release(self, token: int) -> None:
        """Release in the store; when it does not answer, the lease runs out by itself."""
        try:
            await self._world.leases.release(self._user, self._world.holder, token)
        except GatewayError:
            return
