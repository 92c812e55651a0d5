"""Which users are on this node?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.core.compose import Composer
from gateway.core.recall import Recall
from gateway.domain.commands import Outcome
from gateway.domain.errors import CloseCode
from gateway.domain.model import UserId
from gateway.runtime.faults import log_fault
from gateway.runtime.household import Household
from gateway.runtime.ports import Clock
from gateway.runtime.world import World

_LOG: Final = logging.getLogger(__name__)
SLICE_S: Final = 0.002
"""How long users are looked at in one turn of the loop, and one user more."""


class Households:
    """The users of one node.

    Invariant: a user has one household here at most that is not over, and it begins when the last one
    has given up link and lease.

    Args:
        composer: Shares elements between the users.
    """

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._households: dict[UserId, Household] = {}
        self.recall: Recall[UserId, asyncio.Future[Outcome]] = Recall()

    def __iter__(self) -> Iterator[Household]:
        return iter(tuple(self._households.values()))

    def __len__(self) -> int:
        return len(self._households)

    @property
    def present(self) -> Mapping[UserId, Household]:
        """All of them, by user."""
        return self._households

    def get(self, user: UserId) -> Household | None:
        """Return the user's."""
        return self._households.get(user)

    def served(self, user: UserId) -> Household | None:
        """Return the user's, if it takes phones."""
        household = self._households.get(user)
        return None if household is None or household.is_over else household

    def begin(self, user: UserId, world: World, tasks: asyncio.TaskGroup) -> Household:
        """Begin to serve a user who is not served."""
        before = self._households.get(user)
        household = Household(user, world, self._composer, self.recall.came(user))
        self._households[user] = household
        tasks.create_task(self._serve(user, household, before))
        return household

    async def tick(self, clock: Clock) -> None:
        """Do what is due by time for all users, in slices: between two of them everybody else has a turn."""
        began = clock.now()
        for user, household in tuple(self._households.items()):
            if self._households.get(user) is not household:
                continue  # it ended between two slices
            try:
                household.tick(clock.now())
            except Exception as fault:  # noqa: BLE001 - one user's fault must not end the node
                log_fault(_LOG, "user_tick_failed", fault)
            if clock.now() - began >= SLICE_S:
                await clock.sleep(0)
                began = clock.now()
        self.recall.expire(clock.now())

    async def _serve(self, user: UserId, household: Household, before: Household | None) -> None:
        try:
            if before is not None:
                await before.over.wait()
            await household.run()
        except Exception as fault:  # noqa: BLE001 - one user's fault ends one user
            log_fault(_LOG, "user_failed", fault)
            for connection in list(household.feed.connections.values()):
                connection.close(CloseCode.INTERNAL, "internal")
        finally:
            household.over.set()
            if self._households.get(user) is household:
                del self._households[user]
                self.recall.left(user)
