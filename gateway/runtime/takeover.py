"""When does a follower ask to own its user, and may it open his link at once when it does?

A node that leaves gives whoever is asked for, all of them at the same moment if it is asked so, while a site
takes only so many links a second. Whoever waits for his turn is best served by the owner that he has:
so a user whose owner leaves is asked for when it is his turn, and his new owner need not queue.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

from gateway.core.admission_queue import Place
from gateway.core.bus_state import BusState
from gateway.core.follower import Follow
from gateway.core.throttle import Urgency
from gateway.domain.errors import GatewayError
from gateway.protocol.envelopes import Offer
from gateway.runtime.feed import Feed
from gateway.runtime.ports import Grant
from gateway.runtime.role import Start
from gateway.runtime.world import World

WISH_S: Final = 6.0
"""For how long a wish to own the user stands; so long an owner takes to give, and a message to come."""
GRANTED_S: Final = 8.0
"""Within which time after the wish the lease must be granted: after 10 s the owner goes on."""
TURN_S: Final = 4.0
"""How long a place in the admission queue is kept for an offer: an owner waits 3 s for commands under way."""
AGAIN_S: Final = 6.0
"""For how long after a turn that came to nothing others have theirs."""


class TakingFollower(Protocol):
    """Who follows."""

    feed: Feed
    machine: Follow

    @property
    def owner(self) -> Grant:
        """Who owns the user, as far as this node knows."""
        ...

    def look(self) -> None:
        """Have :meth:`Takeover.step` asked again soon."""
        ...


class Takeover:
    """One follower's wishes to own its user.

    Invariant: what was entered at the admission queue is given back, or goes on with the :class:`Start`.

    Args:
        subject: Who wishes.
        world: The outside.
    """

    __slots__ = (
        "_again_at",
        "_entered_at",
        "_number",
        "_place",
        "_queued_at",
        "_subject",
        "_wished_at",
        "_world",
    )

    def __init__(self, subject: TakingFollower, world: World) -> None:
        self._subject = subject
        self._world = world
        self._number = 0
        self._wished_at = -math.inf
        self._place: Place | None = None
        self._queued_at = 0.0
        self._entered_at: float | None = None
        """Since when the user's link might be opened here; None before it is his turn."""
        self._again_at = -math.inf

    def is_open(self, now: float) -> bool:
        """Tell whether the owner leaves, and nothing has been done about it here."""
        is_idle = self._place is None and self._entered_at is None
        return is_idle and now >= self._again_at and self._is_left()

    def due_at(self, now: float) -> float:
        """Return when to ask for :meth:`step` at the latest."""
        if self._entered_at is not None:
            return self._entered_at + TURN_S
        if self._place is not None:
            return now + self._world.admission_queue.wait_s(self._place, now)
        return self._again_at if now < self._again_at else math.inf

    def step(self, now: float) -> bool:
        """Queue for a user whose owner leaves; tells whether it has become his turn to be asked for."""
        if self._entered_at is not None and now - self._entered_at >= TURN_S:
            self.drop()
            self._again_at = now + AGAIN_S
        if not self._is_left():
            self.drop()
        elif self._entered_at is None and now >= self._again_at:
            return self._enter(now)
        return False

    def number(self, now: float) -> int:
        """Return the number of the wish to tell the owner; 0 when there is none, or it could not be met."""
        if self._is_left():
            is_turn = self._entered_at is not None
        else:
            is_turn = self._is_wanted() and self._world.admission_queue.would_admit(now, Urgency.GIVING)
        if not is_turn:
            return 0
        self._number, self._wished_at = self._number + 1, now
        return self._number

    async def taking(self, offer: Offer) -> Start | None:
        """Return how to own the user, if he was wished for lately and OSCC-E is reached from here."""
        wish = (self._number, self._subject.machine.floor)
        wished_at = self._wished_at
        if (offer.adopt, offer.token) != wish or self._world.is_draining():
            return None
        if offer.island:
            try:
                await self._world.upstream.about()
            except GatewayError:
                return None
        if self._world.clock.now() - wished_at > WISH_S or not self._subject.feed.connections:
            return None
        is_entered, self._entered_at = self._entered_at is not None, None
        return Start(
            expected=offer.token,
            floor=offer.token,
            history=offer.history,
            by=wished_at + GRANTED_S,
            lingering=offer.lingering,
            kind="planned",
            entered=is_entered,
        )

    def drop(self) -> None:
        """Wish for nothing any more."""
        if self._place is not None:
            self._world.admission_queue.withdraw(self._place)
            self._place = None
        if self._entered_at is not None:
            self._world.admission_queue.done()
            self._entered_at = None

    def _enter(self, now: float) -> bool:
        admission_queue = self._world.admission_queue
        if self._place is None:
            self._place, self._queued_at = admission_queue.join(Urgency.GIVING, self._subject.look), now
        if not admission_queue.enter(self._place, now):
            return False
        self._world.tally.waited(Urgency.GIVING, now - self._queued_at)
        self._place, self._entered_at = None, now
        return True

    def _is_wanted(self) -> bool:
        return bool(self._subject.feed.connections) and not self._world.is_draining()

    def _is_left(self) -> bool:
        """Tell whether the owner leaves, and can be told a wish."""
        is_heard = self._world.exchange.machine.state is not BusState.DOWN
        return is_heard and self._is_wanted() and self._world.is_leaving(self._subject.owner.holder)
