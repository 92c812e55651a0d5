"""What a follower asks of a user's owner: where it is, to accept sessions, to execute commands.

The lease names the owner. An owner that denies the ownership, or does not listen while the bus works, loses
the user to a node that has a phone of that user. A command is forwarded once; it is sent again only when the
other node has certainly not begun it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from gateway.core.bus_health import BusState
from gateway.core.commands import not_begun, patience_s
from gateway.core.follower import FollowMachine
from gateway.core.lease import TTL_S
from gateway.domain.commands import Call, Outcome, Status
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import NodeId, Ticket, UserId
from gateway.domain.upstream import Feature
from gateway.protocol.envelopes import Attach, AttachAnswer, CallAnswer, CallRequest, Detach, Inbox, Refusal
from gateway.runtime.cluster import NotHeardError
from gateway.runtime.event_loop import spawn
from gateway.runtime.mirror import Feed
from gateway.runtime.ports import Grant, Local, Start
from gateway.runtime.world import World

_UNREACHED: Final = "The node that owns the user is unreachable. Try again."
HEALTHY_S: Final = 5.0
"""For how long the bus must have worked before a node's silence is taken for its own."""
STUBBORN_S: Final = 5.0
"""After how long the lease of a node that denies to be the owner is taken from it."""
EXPIRY_S: Final = TTL_S + 5.0
"""A lease's life and 5 s: on servers that do not fence, no node takes a user earlier."""


class DiscoveringFollower(Protocol):
    """The follower."""

    feed: Feed
    machine: FollowMachine

    @property
    def owner(self) -> Grant:
        """The owner of the user, as far as this node knows."""
        ...

    def turn_to(self, grant: Grant, now: float) -> None:
        """Follow the owner that the lease names."""
        ...

    def end(self, start: Start | None) -> None:
        """Follow no more, and own the user if *start* is given."""
        ...


class _Grounds(NamedTuple):
    """The owner from which the user would be taken, and why."""

    token: int
    denied_since: float | None
    deaf_since: float | None


class OwnerDiscovery:
    """One followed user's owner.

    Args:
        subject: The follower.
        world: The outside.
    """

    def __init__(self, subject: DiscoveringFollower, world: World) -> None:
        self.denied_since: float | None = None
        """Since when the node that is asked answers that it is not the owner."""
        self._subject = subject
        self._world = world
        self._deaf_since: float | None = None
        self._is_dead = False
        """Whether the owner's node lives another life."""

    def denied(self, now: float, holder: str | None) -> None:
        """Record that the asked node denies to be the owner; another life of it cannot know better."""
        self.denied_since = now if self.denied_since is None else self.denied_since
        self._is_dead = holder is not None and holder != self._subject.owner.holder

    async def find(self) -> None:
        """Read the lease, and do what follows from it."""
        world, subject = self._world, self._subject
        try:
            grant = await world.leases.read(subject.feed.user)
        except GatewayError:
            return
        now = world.clock.now()
        if grant is None:
            self._nobody(now)
        elif grant.holder == world.holder:
            subject.end(Start(expected=grant.token, floor=subject.machine.floor))
        else:
            await self._somebody(grant, now)

    def _nobody(self, now: float) -> None:
        """A store that forgot is no reason to take a user from an owner that answers."""
        subject = self._subject
        if self.denied_since is not None and not self._world.is_draining():
            subject.end(Start(floor=subject.machine.floor, kind="expired"))
        else:
            subject.turn_to(subject.owner, now)

    async def _somebody(self, grant: Grant, now: float) -> None:
        subject = self._subject
        if grant.token < subject.owner.token and self._world.refuses_writes():
            grant = subject.owner  # the store cannot have this one yet
        if grant[:2] != subject.owner[:2]:
            self.denied_since = self._deaf_since = None
            self._is_dead = False
        elif self._is_dead or (self.denied_since is not None and now - self.denied_since > STUBBORN_S):
            await self._take()
        subject.turn_to(grant, now)

    def tick(self, now: float, tasks: asyncio.TaskGroup | None) -> None:
        """Look whether the owner listens."""
        exchange = self._world.exchange
        if self._subject.owner.node not in exchange.peers.deaf(now):
            self._deaf_since = None
        elif exchange.machine.is_healthy_for(now) >= HEALTHY_S:
            self._deaf_since = now if self._deaf_since is None else self._deaf_since
            spawn(tasks, self._take())

    @property
    def is_deaf(self) -> bool:
        """Whether the owner did not listen in the last tick."""
        return self._deaf_since is not None

    @property
    def _grounds(self) -> _Grounds:
        return _Grounds(self._subject.owner.token, self.denied_since, self._deaf_since)

    async def _take(self) -> None:
        """Take the user from an owner that does not answer; without fencing only when its lease ran out.

        The site may be slow to answer: a node that answers or has the user by then keeps the user.
        """
        world, subject, why = self._world, self._subject, self._grounds
        if world.is_draining():
            return
        try:
            about = await world.upstream.about()
        except GatewayError:
            return
        if self._grounds != why:
            return
        if Feature.LINK_FENCING in about.features:
            subject.end(Start(why.token, subject.machine.floor, kind="early"))
        elif why.deaf_since is not None and world.clock.now() - why.deaf_since >= EXPIRY_S:
            subject.end(Start(floor=subject.machine.floor, kind="expired"))


ANSWER_S: Final = 2.0
"""After how long without an answer an owner is asked again."""
AGAIN_S: Final = 1.0


class AttachingFollower(Protocol):
    """The follower."""

    feed: Feed

    @property
    def owner(self) -> Grant:
        """The owner of the user, as far as this node knows."""
        ...

    def not_mine(self) -> None:
        """Record that the node that was asked denies to be the owner."""
        ...

    def seen(self, epoch: int) -> None:
        """Record that the owner speaks in *epoch*."""
        ...


class RemoteAttach:
    """One followed user's sessions with a phone here.

    Invariant: each is presented again to the owner of the user, until that has accepted or refused it, and
    whenever the replica has lost sight of it.

    Args:
        subject: The follower.
        world: The outside.
        local: The sessions, as they are now.
    """

    def __init__(self, subject: AttachingFollower, world: World, local: Mapping[str, Local]) -> None:
        self._subject = subject
        self._world = world
        self._local = local
        self._accepted: dict[str, int] = {}
        """Under which token's owner a session was accepted."""
        self._again_at: dict[str, float] = {}

    async def ask(self, ticket: Ticket, topics: tuple[str, ...], within_s: float = ANSWER_S) -> bool:
        """Present a session that has a phone here; return whether the owner accepted it.

        Args:
            ticket: The session's.
            topics: What it follows.
            within_s: How long to wait for the answer; at most :data:`ANSWER_S`.

        Raises:
            SessionRefused: The owner has refused it.
        """
        grant, node, now = self._subject.owner, self._world.node, self._world.clock.now()
        local = self._local.get(ticket.handle)
        if local is None:  # its phone has left since, and may have come to another node
            return False
        self._again_at[ticket.handle] = now + ANSWER_S + AGAIN_S
        age_ms = round((now - local.since) * 1000)
        try:
            answer = await self._world.exchange.ask(
                grant.node,
                lambda number: Attach(node, number, ticket, topics, age_ms),
                min(within_s, ANSWER_S),
            )
        except (NotHeardError, TimeoutError, GatewayError):
            return False
        finally:
            if ticket.handle in self._local:  # a phone that left meanwhile is forgotten
                self._again_at[ticket.handle] = self._world.clock.now() + AGAIN_S
        return isinstance(answer, AttachAnswer) and self._is_accepted_by(answer, ticket.handle, grant.token)

    def _is_accepted_by(self, answer: AttachAnswer, handle: str, token: int) -> bool:
        """Process the answer of the owner of *token*; return whether it accepted the session."""
        if answer.refused is not None:
            raise _refused(answer.refused)
        if answer.moved:
            self._subject.not_mine()
            return False
        if handle in self._local:
            self._accepted[handle] = token
        if answer.epoch is not None:
            self._subject.seen(answer.epoch)
        return True

    def is_accepted(self, handle: str) -> bool:
        """Return whether the present owner has accepted a session."""
        return self._accepted.get(handle) == self._subject.owner.token

    def follow(self, local: Local, tasks: asyncio.TaskGroup | None) -> None:
        """Present a session without waiting; what comes of it is in the replica."""
        self._accepted.pop(local.ticket.handle, None)
        spawn(tasks, self._ask_in_passing(local))

    def left(self, handle: str) -> None:
        """Report to the owner that a session's phone left this node."""
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
        """Present what this owner has not accepted, or no longer knows."""
        for handle, local in list(self._local.items()):
            is_known = self._subject.feed.facts(handle) is not None
            if not (is_known and self.is_accepted(handle)) and now >= self._again_at.get(handle, now):
                self._again_at[handle] = now + ANSWER_S + AGAIN_S
                self.follow(local, tasks)

    @property
    def are_all_accepted(self) -> bool:
        """Whether this owner has accepted each session, and the replica shows it."""
        facts = self._subject.feed.facts
        return all(self.is_accepted(handle) and facts(handle) is not None for handle in self._local)

    async def _ask_in_passing(self, local: Local) -> None:
        try:
            await self.ask(local.ticket, local.topics)
        except SessionRefused as refused:
            connection = self._subject.feed.connections.get(local.ticket.handle)
            # an owner that does not reach OSCC-E knows nothing of the session: its phone keeps what it shows
            if connection is not None and refused.code is not CloseCode.INTERNAL:
                connection.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)


def _refused(told: Refusal) -> SessionRefused:
    try:
        code = CloseCode(told.code)
    except ValueError:  # of a newer node
        code = CloseCode.INTERNAL
    return SessionRefused(code, told.reason, by=told.by, window_s=told.window_s)


class RemoteCommands:
    """One user's commands on their way to the owner.

    Invariant: every command that was sent has one outcome, by its deadline.

    Args:
        user: Whose.
        world: The outside.
        moved: Called when the owner is another one by now.
    """

    def __init__(self, user: UserId, world: World, moved: Callable[[], None]) -> None:
        self._user = user
        self._world = world
        self._moved = moved
        self._under_way: set[asyncio.Task[Outcome | None]] = set()

    async def send(self, node: NodeId, call: Call, tasks: asyncio.TaskGroup | None) -> Outcome | None:
        """Have *node* execute a command; None when it has not begun it."""
        if self._world.exchange.machine.state is BusState.DOWN:
            return not_begun(call, ErrorCode.BUS_DOWN, _UNREACHED)
        left_s = patience_s(call, self._world.clock.wall_ms())
        if left_s <= 0 or tasks is None:
            return None
        asking = tasks.create_task(self._ask(node, call, left_s))
        self._under_way.add(asking)
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            if asking.cancelled():  # the owner is gone, not the caller
                return _unknown(ErrorCode.OWNER_LOST)
            asking.cancel()
            raise
        finally:
            self._under_way.discard(asking)

    def give_up(self) -> None:
        """Record that the owner is gone: what it did not answer is unknown."""
        for asking in list(self._under_way):
            asking.cancel()

    async def _ask(self, node: NodeId, call: Call, left_s: float) -> Outcome | None:
        user, here = self._user, self._world.node
        left_ms = call.deadline_ms - self._world.clock.wall_ms()
        try:
            answer = await self._world.exchange.ask(
                node, lambda number: CallRequest(user, here, number, call, left_ms), left_s
            )
        except NotHeardError:
            return None
        except (TimeoutError, GatewayError):
            return _unknown(ErrorCode.UPSTREAM_TIMEOUT)
        if not isinstance(answer, CallAnswer):
            return _unknown(ErrorCode.UPSTREAM_TIMEOUT)
        if answer.outcome is None:
            self._moved()
        return answer.outcome


def _unknown(code: ErrorCode) -> Outcome:
    message = "It may have been executed. Check the state, then retry with a new key."
    return Outcome(Status.UNKNOWN, GatewayError(code, message))
