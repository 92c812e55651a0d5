"""Map with usually one value per key."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Few(Generic[K, V]):
    """Values by key, in the order in which they came; a single one needs no container of its own.

    Invariant: the values are no tuples; a key without any takes no room.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[K, V | tuple[V, ...]] = {}

    def __len__(self) -> int:
        """How many keys have values."""
        return len(self._held)

    def of(self, key: K) -> tuple[V, ...]:
        """Return the values under *key*."""
        held = self._held.get(key, ())
        return held if isinstance(held, tuple) else (held,)

    def add(self, key: K, value: V) -> None:
        """Put *value* under *key*."""
        others = self.of(key)
        self._held[key] = (*others, value) if others else value

    def drop(self, key: K, value: V) -> None:
        """Take *value* away, which is under *key*; by identity."""
        left = tuple(each for each in self.of(key) if each is not value)
        del self._held[key]
        for each in left:
            self.add(key, each)
