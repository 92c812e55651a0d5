"""Due times: users and leases that need work now, and the part of the event loop's time for one kind of work.

Pure. *now* is monotonic seconds.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

KeyT = TypeVar("KeyT")

_SLACK: Final = 64
"""Outdated entries that the heap may hold beside one for each item."""


class DueTime(Generic[KeyT]):
    """The next due time of one item. It holds only the key of the item.

    Args:
        key: Identifies the item.
        touched: Collects the items that are due at once.
    """

    __slots__ = ("_touched", "at", "entry_at", "is_over", "is_touched", "key", "was_touched")

    def __init__(self, key: KeyT, touched: list[DueTime[KeyT]]) -> None:
        self.key = key
        self.at = math.inf
        self.entry_at = math.inf
        """The time of its entry in the heap; infinity without one."""
        self.is_touched = False
        self.was_touched = True
        """Whether :meth:`DueTimes.take` last returned it because it was touched, not because of its time."""
        self.is_over = False
        self._touched = touched

    def touch(self) -> None:
        """Record a change, after which the due time may be earlier: the item is due at once."""
        if not self.is_touched:
            self.is_touched = True
            self._touched.append(self)


class DueTimes(Generic[KeyT]):
    """The due times of all items of one kind.

    Invariants: one :meth:`take` returns an item at most once. The heap has at most twice as many entries as
    there are items, plus :data:`_SLACK`.
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
        """Return the due time of a new item, which is due at once."""
        due = DueTime(key, self._touched)
        due.touch()
        self._count += 1
        return due

    def drop(self, due: DueTime[KeyT]) -> None:
        """Remove an item: it is never due again. An entry that remains in the heap does not refer to it."""
        if not due.is_over:
            due.is_over, due.at, due.entry_at = True, math.inf, math.inf
            del due.key
            self._count -= 1
            if len(self._heap) > 2 * self._count + _SLACK:
                self._compact()

    @property
    def touched(self) -> Iterator[KeyT]:
        """The items that were touched since the last :meth:`take`."""
        return (due.key for due in self._touched if not due.is_over)

    def put(self, due: DueTime[KeyT], at: float) -> None:
        """Set the next due time of an item; it is due earlier when it is touched."""
        if due.is_over:
            return
        due.at = at
        if at < due.entry_at:  # a later time is applied when the entry's time has come
            self._push(due)

    def take(self, now: float) -> list[DueTime[KeyT]]:
        """Return the due items, each to be followed by :meth:`put`: until then it is not due again."""
        taken = [due for due in self._touched if not due.is_over]
        self._touched.clear()
        for due in taken:
            due.is_touched, due.was_touched, due.at = False, True, math.inf
        while self._heap and self._heap[0][0] <= now:
            at, _, due = heapq.heappop(self._heap)
            if due.entry_at != at:
                continue
            due.entry_at = math.inf
            if due.at <= now:
                due.was_touched, due.at = False, math.inf
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
        """Remove outdated entries: at most one remains for each item."""
        self._heap = [entry for entry in self._heap if entry[2].entry_at == entry[0]]
        heapq.heapify(self._heap)


SLOT_S: Final = 0.25
"""Length of a slot of :class:`DueSlots`."""
NO_SLOT: Final = -1
"""The slot of an item without a due time."""


class Slotted(Protocol):
    """An item of :class:`DueSlots`."""

    slot: int
    """Its slot, or :data:`NO_SLOT`; only :class:`DueSlots` changes it."""


SlottedT = TypeVar("SlottedT", bound=Slotted)


class DueSlots(Generic[SlottedT]):
    """The next due times of many items that may be due up to :data:`SLOT_S` early.

    It takes less memory than :class:`DueTimes`. Its work depends on the items that are due, not on their
    number. Invariant: each item is in at most one slot.
    """

    def __init__(self) -> None:
        self._slots: dict[int, dict[SlottedT, None]] = {}
        self._order: list[int] = []
        """The numbers of the slots, as a heap."""

    def __len__(self) -> int:
        """Return the number of items with a due time."""
        return sum(map(len, self._slots.values()))

    def put(self, item: SlottedT, at: float) -> None:
        """Set the due time of *item*, also if it has one. The next :meth:`take` returns it if it is past."""
        slot = int(at // SLOT_S) if at > 0.0 else 0
        if slot == item.slot:
            return
        if item.slot != NO_SLOT:
            self.drop(item)
        item.slot = slot
        items = self._slots.get(slot)
        if items is None:
            items = self._slots[slot] = {}
            heapq.heappush(self._order, slot)
        items[item] = None

    def drop(self, item: SlottedT) -> None:
        """Remove the due time of *item*, if it has one."""
        items = self._slots.get(item.slot)
        if items is not None:
            items.pop(item, None)
        item.slot = NO_SLOT

    def take(self, now: float) -> list[SlottedT]:
        """Return the items that are due, each once. They have no due time until the next :meth:`put`."""
        taken: list[SlottedT] = []
        while self._order and self._order[0] * SLOT_S <= now:
            taken += self._slots.pop(heapq.heappop(self._order))
        for item in taken:
            item.slot = NO_SLOT
        return taken


OWN_PART: Final = 0.25
"""How long a kind of work may take in a turn of the event loop, as a part of what all others took. Up to four
kinds that have more to do than they can do not make each other's times grow without end.
"""
TURN_MAX_S: Final = 0.1
"""The longest time that it may take."""


class TurnShare:
    """How long one kind of work may take in one turn of the event loop, before other work has its turn.

    That is short, so that nothing else is delayed. But where the work of others makes the turns long, as on a
    node that does not get its core, the time grows with them. A fixed time would become so small a part of
    all time that the work would never be done.

    Args:
        least_s: The time while the turns are short.
    """

    __slots__ = ("_least_s", "time_s")

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self.time_s = least_s

    def others_took(self, seconds: float) -> None:
        """Record how long all others took in a turn."""
        self.time_s = min(max(self._least_s, OWN_PART * seconds), max(self._least_s, TURN_MAX_S))
