"""Which users are on this node?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.core.command_history import CommandHistory
from gateway.core.compose import Composer
from gateway.domain.commands import Outcome
from gateway.domain.errors import CloseCode
from gateway.domain.model import UserId
from gateway.runtime.faults import log_fault
from gateway.runtime.ports import Clock
from gateway.runtime.user_state import UserState
from gateway.runtime.world import World

_LOG: Final = logging.getLogger(__name__)
SLICE_S: Final = 0.002
"""How long users are looked at in one turn of the loop, and one user more."""


class UserStates:
    """The users of one node.

    Invariant: a user has one user state here at most that is not over, and it begins when the last one
    has given up link and lease.

    Args:
        composer: Shares elements between the users.
    """

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._user_states: dict[UserId, UserState] = {}
        self.command_history: CommandHistory[UserId, asyncio.Future[Outcome]] = CommandHistory()

    def __iter__(self) -> Iterator[UserState]:
        return iter(tuple(self._user_states.values()))

    def __len__(self) -> int:
        return len(self._user_states)

    @property
    def present(self) -> Mapping[UserId, UserState]:
        """All of them, by user."""
        return self._user_states

    def get(self, user: UserId) -> UserState | None:
        """Return the user's."""
        return self._user_states.get(user)

    def served(self, user: UserId) -> UserState | None:
        """Return the user's, if it takes phones."""
        user_state = self._user_states.get(user)
        return None if user_state is None or user_state.is_over else user_state

    def begin(self, user: UserId, world: World, tasks: asyncio.TaskGroup) -> UserState:
        """Begin to serve a user who is not served."""
        before = self._user_states.get(user)
        user_state = UserState(user, world, self._composer, self.command_history.came(user))
        self._user_states[user] = user_state
        tasks.create_task(self._serve(user, user_state, before))
        return user_state

    async def tick(self, clock: Clock) -> None:
        """Do what is due by time for all users, in slices: between two of them everybody else has a turn."""
        began = clock.now()
        for user, user_state in tuple(self._user_states.items()):
            if self._user_states.get(user) is not user_state:
                continue  # it ended between two slices
            try:
                user_state.tick(clock.now())
            except Exception as fault:  # noqa: BLE001 - one user's fault must not end the node
                log_fault(_LOG, "user_tick_failed", fault)
            if clock.now() - began >= SLICE_S:
                await clock.sleep(0)
                began = clock.now()
        self.command_history.expire(clock.now())

    async def _serve(self, user: UserId, user_state: UserState, before: UserState | None) -> None:
        try:
            if before is not None:
                await before.over.wait()
            await user_state.run()
        except Exception as fault:  # noqa: BLE001 - one user's fault ends one user
            log_fault(_LOG, "user_failed", fault)
            for connection in list(user_state.feed.connections.values()):
                connection.close(CloseCode.INTERNAL, "internal")
        finally:
            user_state.over.set()
            if self._user_states.get(user) is user_state:
                del self._user_states[user]
                self.command_history.left(user)
