"""The users of this node: the phones of each, and the node's role for the user.

A node first tries to own a user. When another node owns the user it follows that node, until it has to own
the user itself. Phones keep what they show through every change of role.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Final

from gateway.core.commands import Calls, CommandHistory, not_begun, patience_s
from gateway.core.compose import Composer
from gateway.core.due_times import DueTime, DueTimes
from gateway.core.ledger import UNKNOWN_HEALTH
from gateway.domain.commands import Call, Outcome
from gateway.domain.errors import CloseCode, ErrorCode, SessionRefused
from gateway.domain.model import NodeId, Ticket, UserId
from gateway.protocol.envelopes import SessionFacts
from gateway.runtime.follower import Follower
from gateway.runtime.mirror import Feed
from gateway.runtime.owner import Owner
from gateway.runtime.ports import Clock, Grant, Local, RoleOverError, Start, not_reached
from gateway.runtime.sessions import ATTACH_S
from gateway.runtime.spawn import LeanEvent, log_fault
from gateway.runtime.world import World

UNFOLLOW_S: Final = 30.0
"""For how long a user without a phone here is still followed: phones come back."""
_SLACK_S: Final = 1.0
_AGAIN_S: Final = 0.5
_NOBODY: Final = "No node owns the user at the moment. Try again."


@lru_cache(maxsize=256)
def _same(topics: tuple[str, ...]) -> tuple[str, ...]:
    """Return one object for equal topics: most phones follow the same."""
    return topics


class UserState:
    """One user on this node.

    Invariant: one role at a time; the next begins when the last has given up link and lease.

    Args:
        user: The user.
        world: The outside.
        composer: Shares elements between the users of the node.
        calls: What is known of the user's commands.
        due: When :meth:`tick` is to be called next.
    """

    def __init__(
        self,
        user: UserId,
        world: World,
        composer: Composer,
        calls: Calls[asyncio.Future[Outcome]],
        due: DueTime[UserId],
    ) -> None:
        self.due = due
        self.feed = Feed(user)
        self.local: dict[str, Local] = {}
        """The sessions with a phone here, served or about to be."""
        self.over = LeanEvent()
        """Set when link and lease are given up: only then may the next user state begin."""
        self._world = world
        self._composer = composer
        self._calls = calls
        self._is_stopped = False
        self._turned = LeanEvent()
        self._empty_since: float | None = None
        self.role: Owner | Follower = self._own(Start())

    @property
    def owner(self) -> Owner | None:
        """The role, if it is the owner's."""
        return self.role if isinstance(self.role, Owner) else None

    @property
    def follower(self) -> Follower | None:
        """The role, if it is a follower's."""
        return self.role if isinstance(self.role, Follower) else None

    @property
    def is_kept(self) -> bool:
        """Whether sessions of the user, here or on other nodes, are still spoken for by this one."""
        return self.owner is not None and not self.owner.is_over

    @property
    def is_over(self) -> bool:
        """Whether the user is no longer served here: a session that comes needs another user state."""
        return self._is_stopped or (self.role.is_over and self._following is None)

    # ---- phones ----

    async def attach(self, ticket: Ticket, topics: tuple[str, ...]) -> SessionFacts:
        """Return when OSCC-E has accepted the session in this epoch; bounded in time.

        Raises:
            SessionRefused: It has ended, or no answer came in time.
        """
        topics = _same(topics)
        self.local[ticket.handle] = Local(ticket, topics, self._world.clock.now())
        self.due.touch()
        until = self._world.clock.now() + ATTACH_S + _SLACK_S
        try:
            if isinstance(self.role, Owner):  # that is bounded by itself, in less
                with suppress(RoleOverError):
                    return await self.role.attach(ticket, topics)
            async with self._world.clock.timeout(until - self._world.clock.now()):
                while True:
                    role = self.role
                    try:
                        return await role.attach(ticket, topics)
                    except RoleOverError:
                        await self._turn(role)
        except TimeoutError:
            raise not_reached(for_bus=self._world.refuses_writes()) from None
        except SessionRefused:
            self.leave(ticket.handle)
            raise
        finally:
            self.due.touch()

    def follow(self, handle: str, topics: tuple[str, ...]) -> None:
        """Listen to what the session follows now."""
        local = self.local.get(handle)
        if local is not None:
            self.local[handle] = local._replace(topics=topics)
            self.role.follow(handle, topics)

    def leave(self, handle: str) -> None:
        """Record that the session's phone left this node."""
        self.due.touch()
        if self.local.pop(handle, None) is not None:
            self.role.leave(handle)

    def let_go(self, handle: str) -> None:
        """Act for a session no longer: it is over."""
        self.due.touch()
        self.local.pop(handle, None)
        self.role.let_go(handle)

    async def execute(self, call: Call) -> Outcome:
        """Have a command executed at most once by the owner of the user; bounded by its deadline.

        One that is sent again is asked about for a while also after that. One that had to wait for another
        owner is marked: its phone may have sent it again from elsewhere.
        """
        until = self._world.clock.now() + patience_s(call, self._world.clock.wall_ms())
        while True:
            role = self.role
            outcome = await role.execute(call)
            if outcome is not None:
                return outcome
            call = replace(call, waited=True)
            left_s = until - self._world.clock.now()
            if left_s <= 0 or self.is_over:
                for_bus = self._world.refuses_writes()
                code = ErrorCode.BUS_DOWN if for_bus else ErrorCode.UPSTREAM_UNAVAILABLE
                return not_begun(call, code, _NOBODY)
            try:
                async with self._world.clock.timeout(min(_AGAIN_S, left_s)):
                    await self._turn(role)
            except TimeoutError:
                continue
            except SessionRefused:  # the user was let go meanwhile
                return not_begun(call, ErrorCode.UPSTREAM_UNAVAILABLE, _NOBODY)

    async def _turn(self, role: Owner | Follower) -> None:
        """Return when *role* has ended.

        Raises:
            SessionRefused: No other will be played.
        """
        while self.role is role:
            if self.over.is_set():
                raise not_reached(for_bus=self._world.refuses_writes())
            await self._turned.wait()

    # ---- life ----

    async def run(self) -> None:
        """Serve the user until they are no longer needed here."""
        try:
            while True:
                await self.role.run()
                match None if self._is_stopped else self._following:
                    case None:
                        return
                    case Start() as start:
                        self.role = self._own(start)
                    case Grant() as grant:
                        self.role = Follower(self.feed, self._world, grant, self.local, self.due.touch)
                self._wake()
        finally:
            self._is_stopped = True
            self.feed.ledger.meeting.clear()
            if isinstance(self.role, Follower) and self.role.start is not None and self.role.start.entered:
                self._world.admission_queue.done()  # no owner begins who would
            self.over.set()
            self._wake()

    def _wake(self) -> None:
        self.due.touch()
        self._turned.set()
        self._turned = LeanEvent()

    @property
    def _following(self) -> Start | Grant | None:
        """How this node is to own the user after the role that is over, or which owner it is to follow."""
        role = self.role
        if isinstance(role, Follower):
            return role.start
        return role.owned_by if self.local or self.feed.connections else None

    def _own(self, start: Start) -> Owner:
        local = tuple(self.local.values())
        return Owner(self.feed, self._world, self._composer, self._calls, start, local, self.due.touch)

    def stop(self) -> None:
        """Let the user go."""
        self._is_stopped = True
        self.role.stop()

    def tick(self, now: float) -> None:
        """Do what is due by time."""
        self.role.tick(now)
        if self.local or isinstance(self.role, Owner):
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        elif now - self._empty_since >= UNFOLLOW_S:
            self.stop()

    def due_at(self, now: float) -> float:
        """Return when :meth:`tick` has something to do unless the user is touched; *now*: in each tick."""
        role_at = self.role.due_at(now)
        return role_at if self._empty_since is None else min(role_at, self._empty_since + UNFOLLOW_S)


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
        self._due_times: DueTimes[UserId] = DueTimes()
        self._followed: frozenset[NodeId] = frozenset()
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
        calls, due = self.command_history.came(user), self._due_times.add(user)
        user_state = UserState(user, world, self._composer, calls, due)
        self._user_states[user] = user_state
        tasks.create_task(self._serve(user, user_state, before))
        return user_state

    async def tick(self, clock: Clock) -> None:
        """Do what is due by time, in slices: between two of them everything else has a turn.

        Users for which nothing is due, and nothing happened since the last tick, are not looked at.
        """
        began = clock.now()
        for due in self._due_times.take(began):
            self._tick(due, clock.now())
            if clock.now() - began >= SLICE_S:
                await clock.sleep(0)
                began = clock.now()
        self.command_history.expire(clock.now())

    def _tick(self, due: DueTime[UserId], now: float) -> None:
        user_state = None if due.is_over else self._user_states.get(due.key)
        if user_state is None or user_state.due is not due:
            return  # it ended between two slices
        at = now
        try:
            user_state.tick(now)
            at = user_state.due_at(now)
        except Exception as fault:  # noqa: BLE001 - one user's fault must not end the node
            log_fault(_LOG, "user_tick_failed", fault)
        finally:
            self._due_times.put(due, at)

    def touch_all(self) -> None:
        """Have all users looked at in the next tick: something changed that concerns each."""
        for user_state in self._user_states.values():
            user_state.due.touch()

    def followed(self) -> frozenset[NodeId]:
        """Return the nodes that own users who are followed here."""
        if self._due_times.are_touched:  # else no user has another role or owner than before
            states = self._user_states.values()
            self._followed = frozenset(
                home.follower.owner.node for home in states if home.follower is not None
            )
        return self._followed

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
            user_state.feed.ledger.health = UNKNOWN_HEALTH
            self._due_times.drop(user_state.due)
            if self._user_states.get(user) is user_state:
                del self._user_states[user]
                self.command_history.left(user)
