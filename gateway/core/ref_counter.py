"""Reference counter: distinct values with many holders."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

V = TypeVar("V", bound=Hashable)


class RefCounter(Generic[V]):
    """Values with how many hold each.

    Invariants: equal values are one object, the first that came; *changes* differs from what it was
    whenever the set of values may.
    """

    __slots__ = ("_held", "changes")

    def __init__(self) -> None:
        self.changes = 0
        self._held: dict[V, tuple[V, int]] = {}

    def __iter__(self) -> Iterator[V]:
        """Return each value once."""
        return iter([value for value, _ in self._held.values()])

    def add(self, value: V) -> V:
        """Note that one more holds *value*; returns the object that stands for it."""
        found = self._held.get(value)
        if found is None:
            self.changes += 1
            self._held[value] = (value, 1)
            return value
        self._held[value] = (found[0], found[1] + 1)
        return found[0]

    def drop(self, value: V) -> None:
        """Note that one holds *value* no more, who did."""
        first, holders = self._held[value]
        if holders > 1:
            self._held[value] = (first, holders - 1)
        else:
            self.changes += 1
            del self._held[value]
