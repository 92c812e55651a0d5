"""Pool of messages that this node has decoded, keyed by their bytes.

Sharing is by bytes, never by name. A link gets a shared part only if it received the same bytes, or bytes
that differ by instants within their jitter: nobody is shown what their own link did not deliver.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.domain.model import Kind
from gateway.domain.steady import steady
from gateway.domain.upstream import Part, Reading, Source
from gateway.upstream.wire_elements import References, Shape
from gateway.upstream.wire_errors import UNREADABLE
from gateway.upstream.wire_mending import read_without_giants
from gateway.upstream.wire_names import Key

PERIOD_S: Final = 2.0
"""A reading reaches all links well within it."""
MOST_PARTS: Final = 40_000
"""A generation with more is given up early: 1,500 agents once a second are 3,000 of them."""

MOST_BYTES: Final = 2 * 2**20
"""Of the elements in a generation; with more it is given up early. Of users who share nothing a node would
keep all that came in two periods."""
MOST_CHARS: Final = 2 * 2**20
"""Of the texts in a generation; with more it is given up early. A whole set of 1,500 agents has 600,000."""

_Readings = dict[tuple[str, int], dict[bytes, Part]]
_Subject = tuple[Kind, int, Source]
_decode_keys: Final = msgspec.json.Decoder(tuple[Key | None, ...] | None).decode


class TextPool:
    """Knows what whole messages say that came on several links, as far as all links are told the same.

    Invariant: what is found for a text is what was noted for that very text, one to two periods ago at
    most. A text is kept when it comes a second time: most links of a site may be told what no other is.
    """

    def __init__(self) -> None:
        self._young: dict[str, Reading] = {}
        self._old: dict[str, Reading] = {}
        self._met: set[int] = set()
        self._chars = 0
        self._turned_at: float | None = None

    def find(self, text: str, now: float) -> Reading | None:
        """Return what *text* says, if that was noted."""
        self.turn(now)
        return self._young.get(text) or self._old.get(text)

    def note(self, text: str, reading: Reading) -> None:
        """Note that *text* says *reading*."""
        mark = hash(text)
        if mark not in self._met:
            self._met.add(mark)
        elif text not in self._young:
            self._young[text] = reading
            self._chars += len(text)

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old, self._met, self._chars = {}, {}, set(), 0

    def turn(self, now: float) -> None:
        """Forget what is too old; also called by time, lest the last texts stay when nothing comes."""
        if self._turned_at is None:
            self._turned_at = now
        elif now - self._turned_at >= PERIOD_S or self._chars >= MOST_CHARS or len(self._met) >= MOST_PARTS:
            fresh = now - self._turned_at < 2 * PERIOD_S
            self._old = self._young if fresh else {}
            self._young, self._met, self._chars = {}, set(), 0
            self._turned_at = now


class PartPool:
    """Reads elements, each distinct one once per node.

    Invariants: equal bytes of one event type (and, where a part depends on it, of one reading
    time) give the same part for as long as it is remembered: dated parts for one to two
    periods, the others while anybody holds them. A dated part that says the same as the newest of
    its resource, but for jitter, is that one, while anybody holds it.
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
        self._young: _Readings = {}
        self._old: _Readings = {}
        self._young_parts = self._young_bytes = 0
        self._turned_at: float | None = None
        self._lasting: weakref.WeakValueDictionary[tuple[str, bytes], Part] = weakref.WeakValueDictionary()
        self._newest: weakref.WeakValueDictionary[_Subject, Part] = weakref.WeakValueDictionary()
        self._sets: weakref.WeakValueDictionary[bytes, frozenset[int]] = weakref.WeakValueDictionary()
        self._texts = TextPool()

    def parts(
        self, event_type: str, shape: Shape, time_ms: int, raws: Iterable[msgspec.Raw], now: float
    ) -> tuple[Part, ...]:
        """Return the parts of one reading, in order; elements about nothing known are left out.

        Raises:
            Exception: Whatever msgspec raises on an element that cannot be read.
        """
        if shape.dated:
            return self._dated(event_type, shape, time_ms, raws, now)
        found = (self.part(event_type, shape, bytes(raw)) for raw in raws)
        return tuple(part for part in found if part is not None)

    def part(self, label: str, shape: Shape, raw: bytes) -> Part | None:
        """Return the part that *raw* means at any time; *label* says what *raw* is."""
        key = (label, raw)
        part = self._lasting.get(key)
        if part is not None:
            self.shared += 1
            return part
        self.parsed += 1
        part = self._read(shape, raw, 0)
        if part is not None:
            self._lasting[key] = part
        return part

    def reading(self, text: str, now: float) -> Reading | None:
        """Return what an event whose *text* is the same from some place on said to another link."""
        reading = self._texts.find(text, now)
        if reading is not None:
            self.shared += len(reading.parts)
        return reading

    def note(self, text: str, reading: Reading) -> None:
        """Note what an event says whose *text*, from some place on, other links may get too."""
        self._texts.note(text, reading)

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
        """Note which routing parameters are references; parts made before are not shared any more."""
        if references != self.references:
            self.references = references
            self._lasting.clear()
            self._texts.clear()

    def _dated(
        self, event_type: str, shape: Shape, time_ms: int, raws: Iterable[msgspec.Raw], now: float
    ) -> tuple[Part, ...]:
        known = self._reading(event_type, time_ms, now)
        before = len(known)
        parts: list[Part] = []
        for element in raws:
            raw = bytes(element)
            part = known.get(raw)
            if part is None:
                part = self._read(shape, raw, time_ms)
                if part is None:
                    continue
                part = known[raw] = self._one(part)
                self._young_bytes += len(raw)
            parts.append(part)
        made = len(known) - before
        self._young_parts += made
        self.parsed += made
        self.shared += len(parts) - made
        return tuple(parts)

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

    def _one(self, part: Part) -> Part:
        """Return the part that says the same of the same, if that is what was said last; else *part*.

        Whoever joins late is told the whole set anew, at another time: of most it says what others know,
        but for instants that jitter.
        """
        subject = (part.kind, part.number, part.source)
        newest = self._newest.get(subject)
        if (
            newest is not None
            and newest.remote_number == part.remote_number
            and steady(newest.value, part.value) == newest.value
        ):
            return newest
        self._newest[subject] = part
        return part

    def turn(self, now: float) -> None:
        """Forget what is too old; also called by time, lest the last parts stay when nothing comes."""
        self._texts.turn(now)
        self._turn(now)

    def _turn(self, now: float) -> None:
        if self._turned_at is None:
            self._turned_at = now
        elif (
            now - self._turned_at >= PERIOD_S
            or self._young_parts >= MOST_PARTS
            or self._young_bytes >= MOST_BYTES
        ):
            fresh = now - self._turned_at < 2 * PERIOD_S
            self._old = self._young if fresh else {}
            self._young = {}
            self._young_parts = self._young_bytes = 0
            self._turned_at = now

    def _reading(self, event_type: str, time_ms: int, now: float) -> dict[bytes, Part]:
        self._turn(now)
        key = (event_type, time_ms)
        known = self._young.get(key)
        if known is None:
            known = self._young[key] = self._old.pop(key, {})
            self._young_parts += len(known)
        return known
