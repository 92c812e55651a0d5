"""How does a follower have its sessions accepted by a user's owner, and by the next one?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from gateway.domain.errors import CloseCode, GatewayError, SessionRefused
from gateway.domain.model import Ticket
from gateway.protocol.envelopes import Attach, AttachAnswer, Detach, Inbox, Refusal
from gateway.runtime.cluster_transport import NotHeardError
from gateway.runtime.feed import Feed
from gateway.runtime.ports import Grant
from gateway.runtime.role import Local
from gateway.runtime.spawn import spawn
from gateway.runtime.world import World

ANSWER_S: Final = 2.0
"""After how long without an answer an owner is asked again."""
AGAIN_S: Final = 1.0


class Subject(Protocol):
    """Who follows."""

    feed: Feed

    @property
    def owner(self) -> Grant:
        """Who owns the user, as far as this node knows."""
        ...

    def not_mine(self) -> None:
        """Note that who was asked denies to be the owner."""
        ...

    def seen(self, epoch: int) -> None:
        """Note that the owner speaks in *epoch*."""
        ...


class RemoteAttach:
    """One followed user's sessions with a phone here.

    Invariant: each is presented again to whoever owns the user, until he has accepted or refused it, and
    whenever the replica has lost sight of it.

    Args:
        subject: Who follows.
        world: The outside.
        local: The sessions, as they are now.
    """

    def __init__(self, subject: Subject, world: World, local: Mapping[str, Local]) -> None:
        self._subject = subject
        self._world = world
        self._local = local
        self._accepted: dict[str, int] = {}
        """Under which token's owner a session was accepted."""
        self._again_at: dict[str, float] = {}

    async def ask(self, ticket: Ticket, topics: tuple[str, ...], within_s: float = ANSWER_S) -> bool:
        """Present a session; tells whether the owner accepted it.

        Args:
            ticket: The session's.
            topics: What it follows.
            within_s: How long to wait for the answer; at most :data:`ANSWER_S`.

        Raises:
            SessionRefused: He has refused it.
        """
        grant, node = self._subject.owner, self._world.node
        self._again_at[ticket.handle] = self._world.clock.now() + ANSWER_S + AGAIN_S
        try:
            answer = await self._world.exchange.ask(
                grant.node, lambda number: Attach(node, number, ticket, topics), min(within_s, ANSWER_S)
            )
        except (NotHeardError, TimeoutError, GatewayError):
            return False
        finally:
            if ticket.handle in self._local:  # who left meanwhile is forgotten
                self._again_at[ticket.handle] = self._world.clock.now() + AGAIN_S
        if not isinstance(answer, AttachAnswer):
            return False
        if answer.refused is not None:
            raise _refused(answer.refused)
        if answer.moved:
            self._subject.not_mine()
            return False
        if ticket.handle in self._local:
            self._accepted[ticket.handle] = grant.token
        if answer.epoch is not None:
            self._subject.seen(answer.epoch)
        return True

    def is_accepted(self, handle: str) -> bool:
        """Tell whether the present owner has accepted a session."""
        return self._accepted.get(handle) == self._subject.owner.token

    def follow(self, local: Local, tasks: asyncio.TaskGroup | None) -> None:
        """Present a session without waiting; what comes of it is in the replica."""
        self._accepted.pop(local.ticket.handle, None)
        spawn(tasks, self._ask_in_passing(local))

    def left(self, handle: str) -> None:
        """Tell the owner that a session's phone left this node."""
        self._again_at.pop(handle, None)
        self._accepted.pop(handle, None)
        gone = Detach(self._subject.feed.user, handle, self._world.node)
        self._world.exchange.send(Inbox(self._subject.owner.node), gone)

    def turned(self, tasks: asyncio.TaskGroup | None) -> None:
        """Present at once to a new owner what the last one had accepted."""
        self._again_at = {
            handle: at for handle, at in self._again_at.items() if self._subject.feed.facts(handle) is None
        }
        self.tick(self._world.clock.now(), tasks)

    def tick(self, now: float, tasks: asyncio.TaskGroup | None) -> None:
        """Present what this owner has not accepted, or does not know any more."""
        for handle, local in list(self._local.items()):
            is_known = self._subject.feed.facts(handle) is not None
            if not (is_known and self.is_accepted(handle)) and now >= self._again_at.get(handle, now):
                self._again_at[handle] = now + ANSWER_S + AGAIN_S
                self.follow(local, tasks)

    async def _ask_in_passing(self, local: Local) -> None:
        try:
            await self.ask(local.ticket, local.topics)
        except SessionRefused as refused:
            connection = self._subject.feed.connections.get(local.ticket.handle)
            # an owner who does not reach OSCC-E says nothing of the session: its phone keeps what it shows
            if connection is not None and refused.code is not CloseCode.INTERNAL:
                connection.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)


def _refused(told: Refusal) -> SessionRefused:
    try:
        code = CloseCode(told.code)
    except ValueError:  # of a newer node
        code = CloseCode.INTERNAL
    return SessionRefused(code, told.reason, by=told.by, window_s=told.window_s)
