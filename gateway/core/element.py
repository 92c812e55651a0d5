"""How is one value of a resource kept, written and compared only once however many read it?"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from gateway.domain.resources import Resource
from gateway.protocol.codec import Codec
from gateway.protocol.envelopes import SessionFacts, Value

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Element:
    """One immutable value, with its wire forms made at most once per codec.

    Invariant: the value never changes, so every reader may hold the same element, and
    identity implies equality. The patch from the element most readers hold is kept too.
    """

    __slots__ = ("__weakref__", "_fragments", "_patches", "_patches_from", "value")

    def __init__(self, value: Value) -> None:
        self.value = value
        self._fragments: dict[str, bytes] | None = None
        self._patches: dict[str, bytes | None] | None = None
        self._patches_from: weakref.ref[Element] | None = None

    def fragment(self, codec: Codec) -> bytes:
        """Return the whole value in *codec*'s wire form."""
        if self._fragments is None:
            self._fragments = {}
        made = self._fragments.get(codec.name)
        if made is None:
            made = self._fragments[codec.name] = codec.fragment(_framed(self.value))
        return made

    def patch(self, before: Element, codec: Codec) -> bytes | None:
        """Return the fields that differ from *before*, or None when none does."""
        if self._patches is None or self._patches_from is None or self._patches_from() is not before:
            self._patches_from = weakref.ref(before)
            self._patches = {}
        if codec.name not in self._patches:
            self._patches[codec.name] = codec.patch_fragment(_framed(before.value), _framed(self.value))
        return self._patches[codec.name]


def _framed(value: Value) -> Resource:
    if isinstance(value, SessionFacts):
        raise TypeError("facts of sessions are never framed")
    return value


class Pool(Generic[K, V]):
    """Shares what was made from equal keys lately.

    Two generations: an entry not used for one to two periods is forgotten, so what is kept is
    bounded by what is made in that time.

    Args:
        period_s: Length of a generation, 2 s by default: the readings of one instant reach all
            links well within it.
    """

    def __init__(self, *, period_s: float = 2.0) -> None:
        self._period_s = period_s
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._turned_at: float | None = None
        self.hits = 0
        self.misses = 0

    def get(self, key: K, make: Callable[[], V], now: float) -> V:
        """Return what was made for *key*, making it when nothing is remembered."""
        self._turn(now)
        found = self._young.get(key)
        if found is not None:
            self.hits += 1
            return found
        found = self._old.get(key)
        if found is not None:
            self.hits += 1
        else:
            self.misses += 1
            found = make()
        self._young[key] = found
        return found

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def _turn(self, now: float) -> None:
        if self._turned_at is None:
            self._turned_at = now
        elif now - self._turned_at >= self._period_s:
            fresh = now - self._turned_at < 2 * self._period_s
            self._old = self._young if fresh else {}
            self._young = {}
            self._turned_at = self._turned_at + self._period_s if fresh else now


class Interner:
    """Gives equal values of one key one element for as long as anyone holds it."""

    def __init__(self) -> None:
        self._elements: weakref.WeakValueDictionary[tuple[str, bytes], Element] = (
            weakref.WeakValueDictionary()
        )

    def intern(self, key: str, element: Element, codec: Codec) -> Element:
        """Return the element that stands for all equal ones under *key*."""
        return self._elements.setdefault((key, element.fragment(codec)), element)
