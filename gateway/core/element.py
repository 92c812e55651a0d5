"""One value of a resource, kept and written once however many read it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Final, NamedTuple

from gateway.domain.resources import Resource
from gateway.domain.upstream import Part
from gateway.protocol.codec import Codec, Members
from gateway.protocol.envelopes import SessionFacts, Value

_NUMBERS: Final = count(1)
_NEVER_FRAMED: Final = "facts of sessions are never framed"


class Parts(NamedTuple):
    """What one link has sent of one resource: the newest part of each source."""

    directory: Part | None
    realtime: Part | None
    cumulative: Part | None
    configuration: Part | None
    readable: bool
    """Whether realtime data can be had at all; a user absent from it is logged off only then."""
    absent_since_ms: int | None
    """When the realtime part was last seen to be there no more (server clock)."""


class _Patch:
    """The fields in which an element differs from the one with :attr:`number`, in one codec."""

    __slots__ = ("codec", "fragment", "number")

    def __init__(self, number: int, codec: str, fragment: bytes | None) -> None:
        self.number = number
        self.codec = codec
        self.fragment = fragment


class Element:
    """One immutable value, with each of its wire forms made at most twice per codec.

    Invariant: the value never changes, so every reader may hold the same element, and
    identity implies equality. The whole value, and the patch from the element most readers hold, are kept
    from the second time they are asked for, as most are asked for once.
    """

    __slots__ = ("_fragments", "_patches", "number", "offset_ms", "parts", "value")

    def __init__(self, value: Value, parts: Parts | None = None, offset_ms: int = 0) -> None:
        self.value = value
        self.parts = parts
        """What it was composed of, under :attr:`offset_ms`; None: it was not composed."""
        self.offset_ms = offset_ms
        self.number: Final = next(_NUMBERS)
        """Its own, for as long as the process lives."""
        self._fragments: dict[str, bytes | None] | str | None = None
        self._patches: _Patch | tuple[_Patch, ...] | int = 0
        """What differs from the element that was asked about last; its number alone while it was so once."""

    def fragment(self, codec: Codec) -> bytes:
        """Return the whole value in *codec*'s wire form."""
        kept = self._fragments
        if kept is None:
            self._fragments = codec.name
            return codec.fragment(_framed(self.value))
        if isinstance(kept, str):
            kept = self._fragments = {kept: None}
        made = kept.get(codec.name)
        if made is None:
            made = codec.fragment(_framed(self.value))
            kept[codec.name] = made if codec.name in kept else None
        return made

    def keep(self, codec: Codec) -> bool:
        """Make the whole value's wire form and keep it; False: it was kept already."""
        kept = self._fragments
        if not isinstance(kept, dict):
            kept = self._fragments = {} if kept is None else {kept: None}
        if kept.get(codec.name) is not None:
            return False
        kept[codec.name] = codec.fragment(_framed(self.value))
        return True

    def patch(self, before: Element, codec: Codec, *, keep: bool = False) -> bytes | None:
        """Return the fields that differ from *before*, or None when none does.

        Args:
            before: What the reader holds.
            codec: The reader's.
            keep: Whether it is kept from the first time on, as it is asked for again soon.
        """
        kept = self._patches
        if not isinstance(kept, int):
            for each in (kept,) if isinstance(kept, _Patch) else kept:
                if each.number == before.number and each.codec == codec.name:
                    return each.fragment
        elif kept != before.number and not keep:
            self._patches = before.number
            return self._written(before, codec)
        made = _Patch(before.number, codec.name, self._written(before, codec))
        others = () if isinstance(kept, int) else (kept,) if isinstance(kept, _Patch) else kept
        others = tuple(each for each in others if each.number == made.number)
        self._patches = (made, *others) if others else made
        return made.fragment

    def _written(self, before: Element, codec: Codec) -> bytes | None:
        value, old = self.value, before.value
        if isinstance(value, SessionFacts) or isinstance(old, SessionFacts):
            raise TypeError(_NEVER_FRAMED)
        return codec.patch_fragment(old, value)


class ChangeSet:
    """Changes of several shared keys, the same for all ledgers that hold what was there before.

    Args:
        changes: Each key with what it held, and what it holds now, which has another value.
    """

    __slots__ = ("_seen_by", "_written", "befores", "elements")

    def __init__(self, changes: Iterable[tuple[str, Element | None, Element]]) -> None:
        self.befores: Final[dict[str, Element | None]] = {}
        self.elements: Final[dict[str, Element]] = {}
        for key, before, element in changes:
            self.befores[key], self.elements[key] = before, element
        self._seen_by: frozenset[str] | None = None
        """The keys of the view that was asked about last, if it sees all of these."""
        self._written: dict[str, Members] = {}
        """All patches, by codec."""

    def __len__(self) -> int:
        return len(self.elements)

    def is_within(self, keys: frozenset[str]) -> bool:
        """Return whether all keys are among *keys*; asked about the same set again it costs nothing."""
        if keys is not self._seen_by:
            if not self.elements.keys() <= keys:
                return False
            self._seen_by = keys
        return True

    def patches(self, codec: Codec) -> Members | None:
        """Return all patches, written once in each codec. None: some key held nothing, which is no patch."""
        made = self._written.get(codec.name)
        if made is None:
            patches = []
            for key, element in self.elements.items():
                before = self.befores[key]
                if before is None:
                    return None
                fragment = element.patch(before, codec)
                if fragment is not None:
                    patches.append((key, fragment))
            made = self._written[codec.name] = codec.members(patches)
        return made


MADE_AT_ONCE: Final = 64
"""Wire forms that are made in one turn of the loop: 1 to 2 ms."""


class WireForms:
    """The wire forms that a large state needs, made a few at a time before its frames are written.

    Args:
        needed: Each element, with the one that its reader holds; None where the whole value is needed.
        codec: The reader's.
    """

    __slots__ = ("_codec", "_needed")

    def __init__(self, needed: list[tuple[Element, Element | None]], codec: Codec) -> None:
        self._needed = needed
        self._codec = codec

    def make_some(self) -> bool:
        """Make at most :data:`MADE_AT_ONCE`; return whether all are made."""
        needed, codec, room = self._needed, self._codec, MADE_AT_ONCE
        while needed and room:
            element, before = needed.pop()
            if before is None:
                room -= element.keep(codec)
            else:
                element.patch(before, codec, keep=True)
                room -= 1
        return not needed


def _framed(value: Value) -> Resource:
    if isinstance(value, SessionFacts):
        raise TypeError(_NEVER_FRAMED)
    return value
