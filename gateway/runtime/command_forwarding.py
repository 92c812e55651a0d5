"""Commands of phones of one node on their way to the owners of their users, here or on other nodes.

Most need no task. A command that an owner has denied, because another one is about to own the user, is sent
to the next owner. It and the later commands of the user are sent in the order in which they came.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from gateway.core.commands import not_begun, patience_s, unknown
from gateway.domain.commands import Call, Outcome
from gateway.domain.errors import ErrorCode, SessionRefused
from gateway.domain.model import UserId
from gateway.runtime.command_execution import OnOutcome
from gateway.runtime.event_loop import LeanEvent, log_fault, spawn
from gateway.runtime.follower import Follower
from gateway.runtime.ports import Clock
from gateway.runtime.user_state import Owner, UserState

AGAIN_S: Final = 0.5
"""How long a denied command waits for another owner before the same one is asked again. For as long a command
without an answer holds back later ones, since its owner may deny it.
"""
_IDLE_S: Final = 3600.0
"""Longest wait without a change; only a bound."""
_NOBODY: Final = "No node owns the user at the moment. Try again."
_LOG: Final = logging.getLogger(__name__)


class _Asked(NamedTuple):
    """What a command was sent to: the role of its user on this node, and the token of the owner."""

    role: Owner | Follower
    token: int


def _asked(user_state: UserState) -> _Asked:
    role = user_state.role
    return _Asked(role, role.owner.token if isinstance(role, Follower) else role.epoch)


class _Waiting:
    """The commands of one user that wait for their turn, while there are any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holds_until: dict[int, float] = {}
        """Until when each command holds back later ones, by its place."""
        self._news = LeanEvent()

    def __len__(self) -> int:
        return len(self._holds_until)

    @property
    def is_holding(self) -> bool:
        """Whether a command holds back those that come now."""
        now = self._clock.now()
        return any(until > now for until in self._holds_until.values())

    def hold(self, place: int, until: float = math.inf) -> None:
        """Let the command at *place* hold back later ones."""
        self._holds_until[place] = until
        self._changed()

    def leave(self, place: int) -> None:
        """Remove a command: it has its outcome, or nobody waits for it."""
        self._holds_until.pop(place, None)
        self._changed()

    def _changed(self) -> None:
        self._news.set()
        self._news = LeanEvent()

    async def turn(self, place: int) -> None:
        """Return when no earlier command holds back the one at *place*."""
        while True:
            now = self._clock.now()
            held = (until for other, until in self._holds_until.items() if other < place)
            left_s = max(held, default=-math.inf) - now
            if left_s <= 0:
                return
            with suppress(TimeoutError):
                async with self._clock.timeout(min(left_s, _IDLE_S)):
                    await self._news.wait()


class CommandForwarding:
    """The commands of one node's phones, until they have an outcome.

    Invariant: a command that an owner has denied is not overtaken by a later one of the same user.

    Args:
        clock: The node's time.
        refuses_writes: Returns whether the store of leases is reachable and accepts no writes.
    """

    def __init__(self, clock: Clock, refuses_writes: Callable[[], bool]) -> None:
        self._clock = clock
        self._refuses_writes = refuses_writes
        self._places = itertools.count()
        self._waiting: dict[UserId, _Waiting] = {}

    def begin(
        self, user_state: UserState, call: Call, settle: OnOutcome, tasks: asyncio.TaskGroup | None
    ) -> Callable[[], None] | None:
        """Have the owner execute a command without a task; None: use :meth:`execute`.

        *settle* is called once, perhaps in this call, unless the returned function is called before.

        Args:
            user_state: The user.
            call: The command.
            settle: Gets the outcome.
            tasks: Where it continues when the owner on another node has not begun it.
        """
        role = user_state.role
        if self._is_held(user_state):
            return None
        if isinstance(role, Owner):
            return role.begin(call, settle)
        place, asked, settles = next(self._places), _asked(user_state), [settle]

        def answered(outcome: Outcome | None) -> None:
            if outcome is not None:
                settle(outcome)
                return
            self._wait(user_state.feed.user, place)
            if not spawn(tasks, self._search(user_state, call, place, asked, settles)):
                self._leave(user_state.feed.user, place)
                settle(unknown(ErrorCode.OWNER_LOST))

        leave_owner = role.begin(call, answered)
        if leave_owner is None:
            return None

        def leave() -> None:
            settles.clear()
            leave_owner()

        return leave

    async def execute(self, user_state: UserState, call: Call) -> Outcome:
        """Have the owner of the user execute a command at most once; bounded by its deadline.

        For a command that is sent again, the owner is asked for a while after the deadline, too.
        """
        place, asked = next(self._places), None
        if not self._is_held(user_state):
            asked = _asked(user_state)
            outcome = await asked.role.execute(call)
            if outcome is not None:
                return outcome
        self._wait(user_state.feed.user, place)
        return await self._in_turn(user_state, call, place, asked)

    async def _search(
        self, user_state: UserState, call: Call, place: int, asked: _Asked, settles: list[OnOutcome]
    ) -> None:
        """Have a denied command executed; its outcome is for those who wait for it by then."""
        outcome = unknown(ErrorCode.OWNER_LOST)
        try:
            outcome = await self._in_turn(user_state, call, place, asked)
        except Exception as fault:  # noqa: BLE001 - one command's fault must not end the node
            log_fault(_LOG, "command_failed", fault)
        finally:  # also when the node ends
            for settle in settles:
                settle(outcome)

    async def _in_turn(
        self, user_state: UserState, call: Call, place: int, denied_by: _Asked | None
    ) -> Outcome:
        """Have a command executed that holds back later ones until it has been sent.

        It is marked as one that waited, since its phone may have sent it again from elsewhere.
        """
        user, clock = user_state.feed.user, self._clock
        until, call = clock.now() + patience_s(call, clock.wall_ms()), replace(call, waited=True)
        try:
            while (left_s := until - clock.now()) > 0 and not user_state.is_over:
                with suppress(TimeoutError):
                    async with clock.timeout(left_s):
                        await self._waiting[user].turn(place)
                        await self._moved(user_state, denied_by)
                        denied_by = _asked(user_state)
                    self._wait(user, place, clock.now() + AGAIN_S)
                    outcome = await denied_by.role.execute(call)
                    if outcome is not None:
                        return outcome
                    self._wait(user, place)
        except SessionRefused:  # the user was released during the wait
            pass
        finally:
            self._leave(user, place)
        code = ErrorCode.BUS_DOWN if self._refuses_writes() else ErrorCode.UPSTREAM_UNAVAILABLE
        return not_begun(call, code, _NOBODY)

    async def _moved(self, user_state: UserState, denied_by: _Asked | None) -> None:
        """Return when another owner may be asked, or the same one again."""
        if denied_by is None:
            return
        with suppress(TimeoutError):
            async with self._clock.timeout(AGAIN_S):
                await user_state.until_moved(*denied_by)

    def _is_held(self, user_state: UserState) -> bool:
        """Return whether a command that comes now has to wait for its turn."""
        waiting = self._waiting.get(user_state.feed.user)
        return waiting is not None and waiting.is_holding

    def _wait(self, user: UserId, place: int, until: float = math.inf) -> None:
        waiting = self._waiting.get(user)
        if waiting is None:
            waiting = self._waiting[user] = _Waiting(self._clock)
        waiting.hold(place, until)

    def _leave(self, user: UserId, place: int) -> None:
        waiting = self._waiting[user]
        waiting.leave(place)
        if not len(waiting):
            del self._waiting[user]
