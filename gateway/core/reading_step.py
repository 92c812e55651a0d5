"""Steps: the effect of one reading on all links in the same state, and the tables that such links share."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Final, Generic, TypeVar

from gateway.core.element import ChangeSet, Element, Parts

V = TypeVar("V")
_NO_CHANGES: Final = ChangeSet(())

PASTS_MOST: Final = 4
"""Places of one reading whose steps are kept, and tables of each step: links that have just opened differ
from the others for a while.
"""
COPIED_FOR: Final = 64
"""A shared table is copied for all links that share it, if it has at most so many items for each change of
each link. Otherwise each link has a copy of its own from its next change on.
"""
OPEN_STEPS: Final = 32
"""Number of steps whose tables can be taken over. It bounds the tables that only steps hold."""
MEETING_STEPS: Final = 64
"""After so many steps, links with tables of their own compare them with those of others again."""
OFFERS_MAX: Final = 64
"""Number of tables of a sort that are offered. With more all offers are forgotten."""


class SharedTable(Generic[V]):
    """A table that several links hold. It is replaced instead of changed, unless one link holds it.

    A link that is freed stays counted: then the table is copied once in vain.
    """

    __slots__ = ("__weakref__", "crowd", "holders", "is_taken", "items")

    def __init__(self, items: dict[str, V]) -> None:
        self.items: Final = items
        self.holders = 1
        self.crowd = 0
        """Number of links that may still come to it, as they held one before it; half as many at each step
        with which none came.
        """
        self.is_taken = False
        """Whether the items belong to one link, which changes them."""

    def leave(self) -> dict[str, V]:
        """Return the items for one holder alone, which may change them."""
        self.holders -= 1
        if self.holders:
            return self.items.copy()
        self.is_taken = True
        return self.items


class Passages(Generic[V]):
    """The tables after one step, by the tables before it."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: list[tuple[SharedTable[V], SharedTable[V]]] = []

    def lead_from(self, shared: SharedTable[V] | None) -> bool:
        """Return whether the table after *shared* is known."""
        for before, _ in self._known:  # noqa: SIM110 - a call less for each event
            if before is shared:
                return True
        return False

    def go(
        self, items: dict[str, V], shared: SharedTable[V] | None, changes: dict[str, V]
    ) -> tuple[dict[str, V], SharedTable[V] | None]:
        """Return the table of a link after *changes*, and with whom it is shared.

        Args:
            items: The table of the link.
            shared: With whom it is shared; None: it is the link's own.
            changes: The items that the step changes.
        """
        if shared is None:
            items.update(changes)
            return items, None
        for before, after in self._known:
            if before is shared and not after.is_taken:
                shared.holders -= 1
                after.holders += 1
                return after.items, after
        crowd = max(shared.holders, shared.crowd // 2)
        few = crowd == 1 or crowd * len(changes) * COPIED_FOR < len(items)
        if few or len(self._known) >= PASTS_MOST:
            own = shared.leave()
            own.update(changes)
            return own, None
        shared.holders -= 1
        made = SharedTable(items | changes)
        made.crowd = crowd
        self._known.append((shared, made))
        return made.items, made

    def close(self) -> None:
        """Forget all."""
        self._known.clear()


class Meeting(Generic[V]):
    """Where links with equal tables of one sort find each other."""

    def __init__(self) -> None:
        self._offers: dict[tuple[str, int], weakref.ref[SharedTable[V]]] = {}
        """By name and number of items."""

    def meet(
        self, name: str, items: dict[str, V], shared: SharedTable[V] | None
    ) -> tuple[dict[str, V], SharedTable[V]]:
        """Return an equal table of other links, or the same and offer it to them."""
        place = name, len(items)
        offer = self._offers.get(place)
        offered = None if offer is None else offer()
        if offered is None or offered.is_taken:
            offered = SharedTable(items) if shared is None else shared
            if len(self._offers) >= OFFERS_MAX:
                self._offers.clear()
            self._offers[place] = weakref.ref(offered)
            return items, offered
        if offered is shared or (shared is not None and shared.holders > 1) or offered.items != items:
            return items, SharedTable(items) if shared is None else shared
        if shared is not None:
            shared.leave()
        offered.holders += 1
        return offered.items, offered


class ReadingStep:
    """The result of one reading.

    A step applies only to a link that received the reading's bytes, received *befores* and shows *held*, with
    a clock *offset_ms* ahead of the server's.

    Args:
        numbers: The numbers of the reading's parts, in order.
        keys: Their keys in a ledger.
        befores: The parts received before.
        held: The elements shown before.
    """

    __slots__ = (
        "__weakref__",
        "afters",
        "befores",
        "changed",
        "changes",
        "held",
        "is_meeting",
        "is_open",
        "keys",
        "numbers",
        "offset_ms",
        "other_times_ms",
        "rereads",
        "sent",
        "shown",
    )

    def __init__(
        self,
        numbers: list[int],
        keys: list[str],
        befores: list[Parts | None],
        held: list[Element | None],
        offset_ms: int,
    ) -> None:
        self.numbers = numbers
        self.keys = keys
        self.befores = befores
        self.held = held
        self.offset_ms = offset_ms
        self.afters: dict[str, Parts] = {}
        """The parts received now, by key."""
        self.other_times_ms: dict[str, int] = {}
        """The reading's time for each key whose part has another time."""
        self.rereads: list[tuple[int, str, int | None, int | None]] = []
        """Where :attr:`afters` has the part of another link: the place of its source, the key, and when the
        link's own part and that one were read; None: there is none.
        """
        self.changed: frozenset[int] = frozenset()
        """The numbers whose shown element differs now."""
        self.changes = _NO_CHANGES
        """The shown elements of each."""
        self.sent: Final = Passages[Parts]()
        self.shown: Final = Passages[Element]()
        """The links' tables of what they received and show."""
        self.is_meeting = False
        """Whether links compare their tables after it."""
        self.is_open = False
        """Whether it is one of :class:`OpenSteps`: only then it may hold tables."""

    def applies(self, befores: list[Parts | None], held: list[Element | None], offset_ms: int) -> bool:
        """Return whether this step applies to a link."""
        return self.held == held and self.befores == befores and self.offset_ms == offset_ms

    def leads_from(
        self, sent: SharedTable[Parts] | None, shown: SharedTable[Element] | None, offset_ms: int
    ) -> bool:
        """Return whether this step applies to a link that shares tables with one to which it applied."""
        return self.offset_ms == offset_ms and self.sent.lead_from(sent) and self.shown.lead_from(shown)

    def close(self) -> None:
        """Forget all tables."""
        self.is_open = False
        self.sent.close()
        self.shown.close()


class OpenSteps:
    """The newest steps of all links of a node, and older ones taken lately; all others hold no tables."""

    def __init__(self) -> None:
        self._steps: deque[weakref.ref[ReadingStep]] = deque()
        self._count = 0

    def note(self, step: ReadingStep) -> None:
        """Record a new step."""
        self._count += 1
        step.is_meeting = not self._count % MEETING_STEPS
        self.open(step)

    def open(self, step: ReadingStep) -> None:
        """Let a step hold tables, for links that come to it now; another one is closed for it."""
        step.is_open = True
        self._steps.append(weakref.ref(step))
        if len(self._steps) > OPEN_STEPS:
            oldest = self._steps.popleft()()
            if oldest is not None:
                oldest.close()
