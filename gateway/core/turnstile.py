"""Whose turn is it to open a link at a site, when all want to at once?"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from gateway.core.throttle import Budget, Urgency


@dataclass(order=True, slots=True)
class Place:
    """A place in the queue: the most urgent first, then who came first."""

    urgency: Urgency
    number: int
    wake: Callable[[], None] = field(compare=False)
    gone: bool = field(default=False, compare=False)


class Turnstile:
    """The queue before a site's budget. Pure: ``now`` is monotonic seconds.

    Whoever joined asks :meth:`enter` at once, whenever it is woken, and after :meth:`wait_s`. Log-ons
    of people do not queue: they are told when to come back, and come before everybody but those
    who logged on already and wait for their link.

    Invariants: nobody overtakes a place that is more urgent or came before; whoever is first has
    been woken since it is; whoever entered gives its place back with :meth:`done`; the queue is as
    long as there are users without a link.

    Args:
        budget: The site's.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget: Final = budget
        self._queue: list[Place] = []
        self._numbers = count()

    def __len__(self) -> int:
        return sum(not place.gone for place in self._queue)

    def join(self, urgency: Urgency, wake: Callable[[], None]) -> Place:
        """Take a place; *wake* is called when its turn may have come: it must not call back."""
        place = Place(urgency, next(self._numbers), wake)
        heapq.heappush(self._queue, place)
        return place

    def enter(self, place: Place, now: float) -> bool:
        """Go through if it is the place's turn and the budget allows it."""
        if self._head() is not place or not self._budget.admit(now, place.urgency):
            return False
        self.withdraw(place)
        return True

    def would_admit(self, now: float, urgency: Urgency) -> bool:
        """Tell whether somebody would enter at once."""
        return self._head() is None and self._budget.wait_s(now, urgency) == 0

    def withdraw(self, place: Place) -> None:
        """Leave the queue."""
        was_first = self._head() is place
        place.gone = True
        if was_first:
            self._wake_first()

    def admit_log_on(self, now: float) -> bool:
        """Let a person's log-on through, unless somebody who logged on waits for his link."""
        head = self._head()
        is_free = head is None or head.urgency > Urgency.PERSON
        return is_free and self._budget.admit(now)

    def wait_s(self, place: Place, now: float) -> float:
        """Return when to ask again, s; inf for a place that is not the first, which will be woken."""
        return self._budget.wait_s(now, place.urgency) if self._head() is place else math.inf

    def log_on_wait_s(self, now: float) -> float:
        """Return when a log-on that was refused may be tried again, s."""
        return self._budget.wait_s(now)

    def begin_beside(self, nodes: int, now: float, unknown_s: float) -> None:
        """Begin beside others, which know of this node after *unknown_s*."""
        self._budget.begin_beside(nodes, now, unknown_s)

    def share(self, nodes: int, now: float) -> None:
        """Take this node's part of the site's budget: one of *nodes* that live."""
        self._budget.share(nodes, now)
        self._wake_first()

    def done(self) -> None:
        """Give back what was entered: the log-on or the link is open, or it failed."""
        self._budget.done()
        self._wake_first()

    def _wake_first(self) -> None:
        head = self._head()
        if head is not None:
            head.wake()

    def _head(self) -> Place | None:
        while self._queue and self._queue[0].gone:
            heapq.heappop(self._queue)
        return self._queue[0] if self._queue else None
