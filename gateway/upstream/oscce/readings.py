"""Readings of links: the newest unread one of each key, and a cache by their bytes for the whole node.

Law of sharing: by bytes, never by label. Whoever gets something shared has received its bytes himself.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable
from itertools import count
from typing import Final

import msgspec

from gateway.domain.upstream import Part, Reading
from gateway.upstream.oscce.decode import Key
from gateway.upstream.oscce.errors import UNREADABLE, read_without_giants
from gateway.upstream.oscce.resources import SHAPES, References, Shape

GENERATION_S: Final = 2.0
"""A reading reaches all links well within it."""
GENERATION_BYTES: Final = 2 * 2**20
"""Of the keys of a generation; with more it is given up early. Of users who share nothing a node would keep
all that came in two periods. A whole set of 1,500 agents has 600,000."""
ENTRY_BYTES: Final = 500
"""What an entry counts besides its key: what was read, and what it has led to."""

MISSES_MAX: Final = 512
SAMPLED: Final = 8
"""After so many readings that no other link got, one of so many is noted and looked for: users may share
nothing."""

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
        self._misses = 0
        """How many readings were noted since one was found last."""
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
        self._misses = 0
        if found.steps is None:
            found.steps = []  # type: ignore[misc] # from now on more than one link has got these bytes
        self.shared += len(found.parts)
        return found

    def note(self, text: str, reading: Reading) -> None:
        """Note what an event says whose *text*, from some place on, other links may get too.

        While nothing that was noted is ever asked for again, only a sample is.
        """
        self._misses += 1
        if self._misses < MISSES_MAX or not self._misses % SAMPLED:
            self._note(text, len(text), reading)

    def single(self, head: re.Match[str]) -> Reading | None:
        """Read the event of a single element that begins with *head*; None: read it as others are."""
        text = head.string
        query, event_type, kind, time, key = head.groups()
        is_sampled = self._misses < MISSES_MAX or not (int(time) + int(key)) % SAMPLED  # alike on all links
        rest = text[head.end(QUERY) + 1 :] if is_sampled else ""
        if is_sampled and (rest in self._young or rest in self._old):
            known = self.reading(rest)
            if known is not None:
                return known if known.query == int(query) else of_query(int(query), known)
        shape, time_ms = SHAPES.get(event_type), int(time)
        if shape is None:
            return None
        begins_at = head.start(KEY) - len(kind) - _BEFORE_KEY
        try:
            part = shape.read(text[begins_at:-2], time_ms, self.references)
        except UNREADABLE:
            return None
        if part is None:
            return None
        self.parsed += 1
        made = Reading(int(query), shape.kind, shape.source, time_ms, False, (part,), (), None)
        self._misses += 1
        if is_sampled:
            self._note(rest, len(rest), made)
        return made

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


_EVENT: Final = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"Type"[ \t\r\n]*:[ \t\r\n]*"Event"').match
_NUMBER: Final = "(0|[1-9][0-9]{0,14})"
_SINGLE_PATTERN: Final = (
    r'\{"Type":"Event","QueryID":~,"EventType":"((User|Queue|Group|Aggregate)(?:Realtime|Cumulative))",'
    r'"Time":~,(?:"Complete":false,)?"Elements":\[\{"\3Key":~(?=[,}])'.replace("~", _NUMBER)
)
QUERY: Final = 1
EVENT_TYPE: Final = 2
KIND: Final = 3
TIME: Final = 4
KEY: Final = 5
"""The groups of the head of a reading of a single element."""
_SINGLE: Final = re.compile(_SINGLE_PATTERN).match
_SINGLE_BYTES: Final = re.compile(_SINGLE_PATTERN.encode()).match
_EVENT_BYTES: Final = b'{"Type":"Event"'
_LAST: Final = ord("]")
"""How a reading begins, as most are written, of a query, a kind, a time and the key of its first element."""
_BEFORE_KEY: Final = len('{"Key":')
"""What stands between the beginning of an element and its number, beside the name of its kind."""
_MORE: Final = ('"Removed"', '"Complete"', '"Elements"', '"Time"', '"QueryID"', "\\")
"""What may not stand behind it, where elements hold others: then it may say more than one element."""


def of_query(query: int, known: Reading) -> Reading:
    """Return what another link was told, as said of *query*."""
    return Reading(
        query,
        known.kind,
        known.source,
        known.time_ms,
        known.complete,
        known.parts,
        known.removed,
        known.steps,
    )


class Unread:
    """The newest unread readings of one link, in the order of their arrival.

    Invariants: digesting what is kept in its order leads where digesting all that came would; of each
    query and key there is one reading of a single element, unless what came later was read earlier.
    """

    __slots__ = ("_kept", "_numbers", "chars", "skipped")

    def __init__(self) -> None:
        self.chars = 0
        """How long the texts are that are kept."""
        self.skipped = 0
        """How many were replaced by newer ones."""
        self._kept: dict[tuple[str, ...] | int, re.Match[str] | str] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, text: str) -> bool:
        """Keep *text* if it is a reading; False: it is something else, and nothing is kept of it."""
        head = _SINGLE(text)
        if head is None or not _is_single(text, head):
            if _EVENT(text) is None:
                return False
            self._kept[next(self._numbers)] = text
            self.chars += len(text)
            return True
        place: tuple[str, ...] = head.group(QUERY, KEY)
        before = self._kept.get(place)
        self.chars += len(text)
        if before is None:
            self._kept[place] = head
        elif int(before[TIME]) <= int(head[TIME]):
            del self._kept[place]  # the newest stands behind all that came before it
            self._kept[place] = head
            self.chars -= len(before.string)  # type: ignore[union-attr] # under a place stand matches only
            self.skipped += 1
        else:
            self._kept[next(self._numbers)] = (
                text  # it was read earlier, and decides nothing: that is seen later
            )
        return True

    def skim(self, data: bytes, starts: list[int], stops: list[int]) -> list[str] | None:
        """Return which of the readings in *data* have to be read, looking from the newest back.

        Readings of a single element that a later one of its key replaces are passed by unread. None when
        something else than events is among them: then all have to be read, one after the other.
        """
        kept: list[str] = []
        newest: dict[tuple[bytes, ...], int] = {}
        for at in range(len(starts) - 1, -1, -1):
            start, stop = starts[at], stops[at]
            head = _SINGLE_BYTES(data, start, stop)
            if head is None and not data.startswith(_EVENT_BYTES, start):
                return None
            if head is not None and data.find(b"}", head.end(), stop) == stop - 3 and data[stop - 2] == _LAST:
                place: tuple[bytes, ...] = head.group(QUERY, KEY)
                time_ms, seen_ms = int(head[TIME]), newest.get(place)
                if seen_ms is not None and time_ms <= seen_ms:
                    continue
                newest[place] = time_ms
            try:
                kept.append(data[start:stop].decode())
            except UnicodeDecodeError:
                return None
        self.skipped += len(starts) - len(kept)
        kept.reverse()
        return kept

    def take(self) -> list[str]:
        """Return all that is kept, in order, and keep nothing."""
        return [each if isinstance(each, str) else each.string for each in self.take_heads()]

    def take_heads(self) -> list[re.Match[str] | str]:
        """Return the same, each reading of a single element by the head that was found in it."""
        kept = list(self._kept.values())
        self._kept.clear()
        self.chars = 0
        return kept


def head_of(text: str) -> re.Match[str] | None:
    """Return the head of a reading of a single element; None: it is none, or is not written as most are."""
    head = _SINGLE(text)
    return head if head is not None and _is_single(text, head) else None


def _is_single(text: str, head: re.Match[str]) -> bool:
    """Tell whether a reading that begins with *head* is of one element, and says nothing else."""
    at = head.end()
    if not text.endswith("}]}"):
        return False
    if text.find("}", at) == len(text) - 3:
        return True  # the element holds nothing that ends, and nothing follows it
    return text.find(f'"{head[KIND]}Key"', at) < 0 and not any(text.find(word, at) >= 0 for word in _MORE)
