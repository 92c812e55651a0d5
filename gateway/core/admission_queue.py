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


class AdmissionQueue:
    """The queue before a site's budget. Pure: ``now`` is monotonic seconds.

    Whoever joined asks :meth:`enter` at once, whenever it is woken, and after :meth:`wait_s`. Log-ons
    have a queue and a part of the budget of their own (:mod:`gateway.core.log_on_queue`), and wait
    for those who logged on already and wait for their link.

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
        self._log_ons_in_row = 0
        """Log-ons admitted while links wait, since the last that was lost or roams."""

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
        if place.urgency is not Urgency.PERSON:
            self._log_ons_in_row = 0
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
        """Admit a log-on, unless a user who has logged on waits for the link.

        Beside links that were lost or roam it takes turns: each log-on that succeeds needs a link
        itself, which comes before theirs. Where there is a single place, every link that waits comes
        first: it would never meet a free one.
        """
        head = self._head()
        is_free = self._leaves_room(head)
        if not (is_free and self._budget.admit_log_on(now)):
            return False
        self._log_ons_in_row = 0 if head is None else self._log_ons_in_row + 1
        return True

    def _leaves_room(self, head: Place | None) -> bool:
        """Tell whether the link that waits first leaves a log-on its turn."""
        if head is None:
            return True
        if head.urgency is Urgency.PERSON or self._budget.has_one_place:
            return False
        is_in_turn = head.urgency <= Urgency.REOPENING and self._budget.has_place(head.urgency)
        return not (is_in_turn and self._log_ons_in_row)

    def wait_s(self, place: Place, now: float) -> float:
        """Return when to ask again, s; inf for a place that is not the first, which will be woken."""
        return self._budget.wait_s(now, place.urgency) if self._head() is place else math.inf

    def log_on_wait_s(self, now: float) -> float:
        """Return when a log-on that was refused may be tried again, s."""
        return self._budget.log_on_wait_s(now)

    @property
    def log_ons_per_s(self) -> float:
        """This node's rate of log-ons."""
        return self._budget.log_ons_per_s

    def begin_beside(self, nodes: int, now: float, unknown_s: float) -> None:
        """Begin beside others, which know of this node after *unknown_s*."""
        self._budget.begin_beside(nodes, now, unknown_s)

    def share(self, nodes: int, now: float) -> None:
        """Take this node's part of the site's budget: one of *nodes* that live."""
        self._budget.share(nodes, now)
        self._wake_first()

    def slow(self, now: float, *, is_slowed: bool) -> None:
        """Note whether the node is overloaded: then newcomers are let in slowly."""
        self._budget.slow(now, is_slowed=is_slowed)

    def done(self) -> None:
        """Give back what was entered: the link is open, or it failed."""
        self._budget.done()
        self._wake_first()

    def log_on_done(self) -> None:
        """Give back what a log-on was admitted to: it was answered, or failed."""
        self._budget.log_on_done()
        self._wake_first()

    def _wake_first(self) -> None:
        head = self._head()
        if head is not None:
            head.wake()

    def _head(self) -> Place | None:
        while self._queue and self._queue[0].gone:
            heapq.heappop(self._queue)
        return self._queue[0] if self._queue else None
