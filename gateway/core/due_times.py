"""Due times: what needs attention now, and when each phone of a drain is closed.

Pure. *now* is monotonic seconds.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

KeyT = TypeVar("KeyT")

_SLACK: Final = 64
"""Outdated entries that the heap may hold beside one for each thing."""


class DueTime(Generic[KeyT]):
    """When one thing is due next. It holds nothing of the thing but its key.

    Args:
        key: Names the thing.
        touched: Collects what is due at once.
    """

    __slots__ = ("_touched", "at", "entry_at", "is_over", "is_touched", "key")

    def __init__(self, key: KeyT, touched: list[DueTime[KeyT]]) -> None:
        self.key = key
        self.at = math.inf
        self.entry_at = math.inf
        """The time of its entry in the heap; infinity without one."""
        self.is_touched = False
        self.is_over = False
        self._touched = touched

    def touch(self) -> None:
        """Record that something happened, so that its due time may be earlier: it is due at once."""
        if not self.is_touched:
            self.is_touched = True
            self._touched.append(self)


class DueTimes(Generic[KeyT]):
    """The due times of all things of one kind.

    Invariants: each thing is due once at most in one :meth:`take`; the heap has at most twice as many entries
    as there are things, and :data:`_SLACK`.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, DueTime[KeyT]]] = []
        self._touched: list[DueTime[KeyT]] = []
        self._count = 0
        self._serial = 0

    def __len__(self) -> int:
        """Return the number of entries in the heap, for tests and gauges."""
        return len(self._heap)

    def add(self, key: KeyT) -> DueTime[KeyT]:
        """Return the due time of a new thing: at once."""
        due = DueTime(key, self._touched)
        due.touch()
        self._count += 1
        return due

    def drop(self, due: DueTime[KeyT]) -> None:
        """Forget a thing: it is never due again. An entry that is left in the heap does not name it."""
        if not due.is_over:
            due.is_over, due.at, due.entry_at = True, math.inf, math.inf
            del due.key
            self._count -= 1
            if len(self._heap) > 2 * self._count + _SLACK:
                self._compact()

    @property
    def are_touched(self) -> bool:
        """Whether anything was touched since the last :meth:`take`."""
        return bool(self._touched)

    def put(self, due: DueTime[KeyT], at: float) -> None:
        """Set when a thing is due next; it is due earlier when it is touched."""
        if due.is_over:
            return
        due.at = at
        if at < due.entry_at:  # a later time is found when the entry's has come
            self._push(due)

    def take(self, now: float) -> list[DueTime[KeyT]]:
        """Return what is due, and expect :meth:`put` for each: until then it is not due again."""
        taken = [due for due in self._touched if not due.is_over]
        self._touched.clear()
        for due in taken:
            due.is_touched, due.at = False, math.inf
        while self._heap and self._heap[0][0] <= now:
            at, _, due = heapq.heappop(self._heap)
            if due.entry_at != at:
                continue
            due.entry_at = math.inf
            if due.at <= now:
                due.at = math.inf
                taken.append(due)
            elif due.at < math.inf:
                self._push(due)
        return taken

    def _push(self, due: DueTime[KeyT]) -> None:
        if len(self._heap) >= 2 * self._count + _SLACK:
            self._compact()
        self._serial += 1
        due.entry_at = due.at
        heapq.heappush(self._heap, (due.at, self._serial, due))

    def _compact(self) -> None:
        """Leave out the entries that are outdated: one at most remains for each thing."""
        self._heap = [entry for entry in self._heap if entry[2].entry_at == entry[0]]
        heapq.heapify(self._heap)


_WINDOW_S: Final = 1.0
"""A phone uses no more of its slot: it is away for no longer than it must."""


class Moving(NamedTuple):
    """What a site must take: so many users that are owned here open their links elsewhere."""

    users: int
    log_ons_per_s: float
    """The site's budget; above 0."""


@dataclass(frozen=True, slots=True)
class DrainSchedule:
    """When one phone gets its `bye`, s from now, and from when until when it comes back, s after that."""

    at_s: float
    window_s: tuple[float, float]


def farewells(
    phones: int, *, accepts_per_s: Iterable[float], moving: Iterable[Moving], grace_s: float
) -> tuple[DrainSchedule, ...]:
    """Return the schedule of so many phones, in the order in which they get their `bye`.

    Each phone has a slot of its own to come back in. So in any time at most two more of them return
    than the survivors accept and the sites' budgets allow in that time, however the phones choose within
    their slots; for the budgets the caller mixes the phones of the users that are owned here with the others.

    All get it within the grace. When there is time, each gets it when its slot begins, so that it is
    away for a second at most. Otherwise the `bye`s are spread evenly over the grace, as many in its last
    moment might not leave. When no other node is left to take the phones, waiting is of no use: all
    get it at once, and come back over the grace at least, to the node that starts here next.

    Args:
        phones: How many are connected here.
        accepts_per_s: Handshakes that each survivor takes on beyond its own.
        moving: Of each site.
        grace_s: Within how many seconds all get their `bye`.
    """
    links_s = max((users / per_s for users, per_s in moving), default=0.0)
    accepted_per_s = sum(accepts_per_s)
    if accepted_per_s > 0:
        whole_s = max(links_s, phones / accepted_per_s)
        told_s = min(whole_s, grace_s)
    else:
        whole_s = max(links_s, grace_s)
        told_s = 0.0
    return tuple(_drain_schedule(place, phones, told_s, whole_s) for place in range(phones))


def _drain_schedule(place: int, phones: int, told_s: float, whole_s: float) -> DrainSchedule:
    at_s = told_s * place / phones
    low_s = whole_s * place / phones - at_s
    return DrainSchedule(at_s, (low_s, low_s + min(_WINDOW_S, whole_s / phones)))
