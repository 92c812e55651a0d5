"""Versioned map: the newest element of each key, and removed keys."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from gateway.core.element import Element


class Update(NamedTuple):
    """The newest element of one key; None when the key is gone."""

    key: str
    seq: int
    element: Element | None


class VersionedMap:
    """Some of a ledger's keys.

    Invariant: a key that has an element has a seq and is not gone. Gone ones are remembered as far as
    *tombstones* allows; all that are not went at :attr:`floor` or before.
    """

    __slots__ = ("_seqs", "_tombstones", "elements", "floor", "gone")

    def __init__(self, tombstones: int) -> None:
        self.elements: dict[str, Element] = {}
        self.gone: OrderedDict[str, int] = OrderedDict()
        """When each went, the last one last."""
        self.floor = 0
        self._seqs: dict[str, int] = {}
        self._tombstones = tombstones

    def store(self, update: Update) -> None:
        """Take in what a key has become."""
        key, seq, element = update
        self.gone.pop(key, None)
        if element is not None:
            self.elements[key], self._seqs[key] = element, seq
            return
        self.elements.pop(key, None)
        self._seqs.pop(key, None)
        self.gone[key] = seq
        if len(self.gone) > self._tombstones:
            _, forgotten = self.gone.popitem(last=False)
            self.floor = max(self.floor, forgotten)

    def store_all(self, elements: Mapping[str, Element], after: int) -> None:
        """Take in the elements of several keys in their order; the first one's seq follows *after*."""
        self.elements.update(elements)
        self._seqs.update(zip(elements, range(after + 1, after + 1 + len(elements)), strict=True))
        if self.gone:
            for key in elements:
                self.gone.pop(key, None)

    def renumber(self, after: int) -> int:
        """Give each key that has an element a seq anew, from that which follows *after*; returns the last."""
        self.store_all(dict(self.elements), after)
        return after + len(self.elements)

    def forget_gone(self, floor: int) -> None:
        """Forget which keys are gone, all of which went at *floor* or before."""
        self.gone.clear()
        self.floor = floor

    def removed_upto(self) -> int:
        """Return after which seq no key went."""
        return max(self.floor, next(reversed(self.gone.values()), 0))

    def updates(self) -> list[Update]:
        """Return the newest of each key that has an element."""
        return [Update(key, self._seqs[key], element) for key, element in self.elements.items()]

    def after(self, seen: int) -> list[Update]:
        """Return the newest of each key, also of those that are gone, where it is newer than *seen*."""
        elements = self.elements
        missing = [Update(key, seq, elements[key]) for key, seq in self._seqs.items() if seq > seen]
        return missing + [Update(key, seq, None) for key, seq in self.gone.items() if seq > seen]

    def newest(self, key: str) -> Update | None:
        """Return the newest of *key*; None: nothing is known of it."""
        element = self.elements.get(key)
        if element is not None:
            return Update(key, self._seqs[key], element)
        seq = self.gone.get(key)
        return None if seq is None else Update(key, seq, None)
