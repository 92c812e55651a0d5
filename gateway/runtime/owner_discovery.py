"""Who owns a user that this node follows, and when may he be taken from his owner?

The lease names the owner. Who denies to be the owner, or is deaf while the bus works, loses the user to
whoever has a phone of his.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple, Protocol

from gateway.core.follower import Follow
from gateway.core.lease import TTL_S
from gateway.domain.errors import GatewayError
from gateway.domain.upstream import Feature
from gateway.runtime.feed import Feed
from gateway.runtime.ports import Grant
from gateway.runtime.role import Start
from gateway.runtime.spawn import spawn
from gateway.runtime.world import World

HEALTHY_S: Final = 5.0
"""For how long the bus must have worked before somebody's silence is taken for his."""
STUBBORN_S: Final = 5.0
"""After how long the lease of a node that denies to be the owner is taken from it."""
EXPIRY_S: Final = TTL_S + 5.0
"""A lease's life and 5 s: on servers that do not fence, nobody takes a user earlier."""


class Subject(Protocol):
    """Who follows."""

    feed: Feed
    machine: Follow

    @property
    def owner(self) -> Grant:
        """Who owns the user, as far as this node knows."""
        ...

    def turn_to(self, grant: Grant, now: float) -> None:
        """Follow whom the lease names."""
        ...

    def end(self, start: Start | None) -> None:
        """Follow no more, and own the user if *start* is given."""
        ...


class _Grounds(NamedTuple):
    """From whom the user would be taken, and why."""

    token: int
    denied_since: float | None
    deaf_since: float | None


class OwnerDiscovery:
    """One followed user's owner.

    Args:
        subject: Who follows.
        world: The outside.
    """

    def __init__(self, subject: Subject, world: World) -> None:
        self.denied_since: float | None = None
        """Since when whoever is asked says that he is not the owner."""
        self._subject = subject
        self._world = world
        self._deaf_since: float | None = None
        self._is_dead = False
        """Whether the owner's node lives another life."""

    def denied(self, now: float, holder: str | None) -> None:
        """Note that who was asked denies to be the owner; another life of his node cannot know better."""
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
        """A store that forgot is no reason to take a user from an owner who answers."""
        subject = self._subject
        if self.denied_since is not None and not self._world.is_draining():
            subject.end(Start(floor=subject.machine.floor, kind="expired"))
        else:
            subject.turn_to(subject.owner, now)

    async def _somebody(self, grant: Grant, now: float) -> None:
        subject = self._subject
        if grant.token < subject.owner.token and self._world.refuses_writes():
            grant = subject.owner  # the store cannot have heard of that one
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
    def _grounds(self) -> _Grounds:
        return _Grounds(self._subject.owner.token, self.denied_since, self._deaf_since)

    async def _take(self) -> None:
        """Take the user from an owner who does not answer; without fencing only when his lease ran out.

        The site may be slow to tell what it can: who answers by then, or has the user by then, keeps him.
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
