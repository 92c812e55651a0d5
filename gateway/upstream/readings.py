"""Cache of what the links of a node brought, by its bytes: equal bytes are read once.

Law of sharing: by bytes, never by label. Whoever gets something shared has received its bytes himself.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.domain.upstream import Part, Reading
from gateway.upstream.wire_elements import References, Shape
from gateway.upstream.wire_errors import UNREADABLE
from gateway.upstream.wire_mending import read_without_giants
from gateway.upstream.wire_names import Key

GENERATION_S: Final = 2.0
"""A reading reaches all links well within it."""
GENERATION_BYTES: Final = 2 * 2**20
"""Of the keys of a generation; with more it is given up early. Of users who share nothing a node would keep
all that came in two periods. A whole set of 1,500 agents has 600,000."""
ENTRY_BYTES: Final = 500
"""What an entry counts besides its key: what was read, and what it has led to."""

_decode_keys: Final = msgspec.json.Decoder(tuple[Key | None, ...] | None).decode


class Readings:
    """What the links of a node to one server brought lately, each distinct text and object read once.

    Invariants: what is found for a text is what was noted for that very text, for one to two periods after it
    was looked for last; a generation holds no more than :data:`GENERATION_BYTES` and one entry.
    """

    def __init__(self) -> None:
        self.parsed = 0
        """Elements that had to be read."""
        self.shared = 0
        """Elements that were known."""
        self.giants = 0
        """Figures that no phone can be told, and are shown as unknown."""
        self.references = References()
        """Which routing parameters hold Keys, as the newest directory has it."""
        self._young: dict[str | tuple[str, bytes], Reading | Part] = {}
        self._old: dict[str | tuple[str, bytes], Reading | Part] = {}
        self._young_bytes = 0
        self._turned_at: float | None = None
        self._sets: weakref.WeakValueDictionary[bytes, frozenset[int]] = weakref.WeakValueDictionary()

    def reading(self, text: str) -> Reading | None:
        """Return what an event said to another link whose *text* is the same from some place on."""
        found = self._young.get(text)
        if found is None:
            found = self._old.get(text)
            if found is None:
                return None
            self._note(text, len(text), found)
        if not isinstance(found, Reading):
            return None
        self.shared += len(found.parts)
        return found

    def note(self, text: str, reading: Reading) -> None:
        """Note what an event says whose *text*, from some place on, other links may get too."""
        self._note(text, len(text), reading)

    def parts(self, shape: Shape, time_ms: int, raws: Iterable[msgspec.Raw]) -> tuple[Part, ...]:
        """Return the parts of one reading, in order; elements about nothing known are left out.

        Raises:
            Exception: Whatever msgspec raises on an element that cannot be read.
        """
        parts: list[Part] = []
        for raw in raws:
            part = self._read(shape, bytes(raw), time_ms)
            if part is not None:
                parts.append(part)
        self.parsed += len(parts)
        return tuple(parts)

    def part(self, label: str, shape: Shape, raw: bytes) -> Part | None:
        """Return the part that *raw* means at any time; *label* says what *raw* is."""
        key = (label, raw)
        found = self._young.get(key) or self._old.get(key)
        if isinstance(found, Part):
            self.shared += 1
        else:
            self.parsed += 1
            found = self._read(shape, raw, 0)
        if found is not None and key not in self._young:
            self._note(key, len(raw), found)
        return found

    def keys(self, raw: bytes) -> frozenset[int]:
        """Return a list of Keys as a set; for the same bytes the same one, while anybody holds it.

        Null is no Key, and no list either: it lets nobody see anything.

        Raises:
            Exception: Whatever msgspec raises on what is no list of Keys.
        """
        found = self._sets.get(raw)
        if found is None:
            found = self._sets[raw] = frozenset(key for key in _decode_keys(raw) or () if key is not None)
        return found

    def refer(self, references: References) -> None:
        """Note which routing parameters are references; what was read before is not shared any more."""
        if references != self.references:
            self.references = references
            self._young, self._old, self._young_bytes = {}, {}, 0

    def turn(self, now: float) -> None:
        """Forget what is too old; called by time."""
        if self._turned_at is None:
            self._turned_at = now
        elif now - self._turned_at >= GENERATION_S:
            self._turned_at = now
            self._turn()

    def _note(self, key: str | tuple[str, bytes], size_bytes: int, found: Reading | Part) -> None:
        self._young[key] = found
        self._young_bytes += size_bytes + ENTRY_BYTES
        if self._young_bytes > GENERATION_BYTES:
            self._turn()

    def _turn(self) -> None:
        self._old, self._young, self._young_bytes = self._young, {}, 0

    def _read(self, shape: Shape, raw: bytes, time_ms: int) -> Part | None:
        try:
            return shape.read(raw, time_ms, self.references)
        except UNREADABLE:
            mended = read_without_giants(lambda text: shape.read(text, time_ms, self.references), raw)
            if mended is None:
                raise
        part, giants = mended
        self.giants += giants
        return part
