"""Readings of links: the newest unread one of each key, and a cache by their bytes for the whole node.

Law of sharing: by bytes, never by label. A link gets a shared object only for bytes that it has received
itself.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from gateway.domain.commands import Dropped
from gateway.domain.model import NO_ITEMS
from gateway.domain.resources import Reason, RoutingParameter, Skill
from gateway.domain.upstream import Part, Reading
from gateway.upstream.oscce.decode import EVENTS, Key, References, Shape, read_event, read_usual_event
from gateway.upstream.oscce.errors import UNREADABLE, read_without_impossible_figures

GENERATION_S: Final = 2.0
"""Time in which a reading reaches all links."""
GENERATION_BYTES: Final = 2 * 2**20
"""Bytes of the keys of a generation; with more it is dropped early. For users who share nothing a node would
keep all readings of two periods. A whole set of 1,500 agents has 600,000.
"""
ENTRY_BYTES: Final = 500
"""Bytes that an entry counts besides its key: the reading, and its result."""

SOUGHT_BYTES: Final = 128
"""Bytes at the beginning and at the end by which a long event is looked up; then all are compared. The hash
of a whole event takes twenty times as long as that.
"""
SHORT_BYTES: Final = 1024
"""Length up to which an event is looked up by all its bytes."""
ALIKE_MAX: Final = 8
"""Number of stored events that are looked up by the same bytes; the oldest one is forgotten."""
_PLACES: Final = 2**18
"""Bits for keys that came once; a directory of a large site has 2,000 objects."""
MISSES_MAX: Final = 128
SAMPLED: Final = 32
"""Readings without another receiver after which only a sample is stored and looked up: users may share
nothing. More of them leave holes in the memory of users who come at once; this finds teams of five among
1,000 such users.
"""
LONG_BYTES: Final = 4096
"""Length from which an event is always looked up before it is read."""
LARGE_BYTES: Final = 64 * 1024
"""Longer messages are read in slices: they have a hundred elements and more."""

_decode_keys: Final = msgspec.json.Decoder(tuple[Key | None, ...] | None).decode


CATALOGUES_MAX: Final = 16
"""Number of different catalogues that are stored: a server has one, and another one after a change."""
Rows = tuple[tuple[bytes, ...], ...]
"""The rows of each catalogue."""


class Catalogues(NamedTuple):
    """The catalogues of a server, and their rows that could not be read."""

    skills: tuple[Skill, ...]
    reasons: tuple[Reason, ...]
    parameters: tuple[RoutingParameter, ...]
    references: References
    dropped: tuple[Dropped, ...]


class _Event(NamedTuple):
    """What many links may receive with the same bytes: those after the query's number, and their content."""

    rest: bytes
    reading: Reading


class _Generation:
    """What was received in one period.

    Invariant: an event is stored by the bytes by which it is looked up, and found by all its bytes.
    """

    __slots__ = ("events", "parts", "size_bytes")

    def __init__(self) -> None:
        self.events: dict[bytes, tuple[_Event, ...]] = {}
        """Those with the same bytes at their beginning and end together, the newest first."""
        self.parts: dict[tuple[str, bytes], Part] = {}
        self.size_bytes = 0
        """Bytes that it counts for."""

    def __len__(self) -> int:
        return len(self.parts) + sum(map(len, self.events.values()))

    def event(self, place: bytes, text: bytes, size_bytes: int) -> _Event | None:
        """Return the event whose bytes are the last *size_bytes* of *text*, if it is stored at *place*."""
        for event in self.events.get(place, ()):
            if len(event.rest) == size_bytes and text.endswith(event.rest):
                return event
        return None


class Readings:
    """Recent readings of all links to one server, with each distinct text and object read once.

    Invariants: a text's entry was stored for that very text. An entry is kept for one to two periods after
    its last use. A generation holds no more than :data:`GENERATION_BYTES` and one entry.
    """

    def __init__(self) -> None:
        self.parsed = 0
        """Number of elements that had to be parsed."""
        self.shared = 0
        """Number of elements that were known."""
        self.giants = 0
        """Number of figures too large for a phone, which are shown as unknown."""
        self.references = References()
        """The routing parameters that hold Keys, by the newest directory."""
        self._young, self._old = _Generation(), _Generation()
        self._turned_at: float | None = None
        self._misses = 0
        """Number of readings noted since the last one that was found and had parts."""
        self._came, self._came_earlier = bytearray(_PLACES // 8), bytearray(_PLACES // 8)
        """A bit for each key that came once in this period, and in the one before it."""
        self._sets: weakref.WeakValueDictionary[bytes, frozenset[int]] = weakref.WeakValueDictionary()
        self._catalogues: dict[Rows, Catalogues] = {}

    def reading(self, text: bytes, at: int = 0) -> Reading | None:
        """Return the content of an event of another link whose *text* is the same from *at* on."""
        place, size_bytes = _place_of(text, at), len(text) - at
        found = self._young.event(place, text, size_bytes)
        if found is None:
            found = self._old.event(place, text, size_bytes)
            if found is None:
                return None
            self._note(place, found)
        reading = found.reading
        if reading.parts:  # empty sets are equal, too, where users share nothing
            self._misses = 0
        if reading.steps is None:
            reading.steps = []  # from now on more than one link has got these bytes
        self.shared += len(reading.parts)
        return reading

    def known(self, head: re.Match[bytes]) -> Reading | None:
        """Return the reading of an event that begins with *head*, if another link received the same."""
        known, query = self.reading(head.string, head.end()), int(head[1])
        return known if known is None or known.query == query else of_query(query, known)

    def note(self, text: bytes, reading: Reading) -> None:
        """Store the content of an event whose *text*, from some place on, other links may receive, too.

        While no stored entry is ever used again, only a sample is stored.
        """
        self._misses += 1
        if self._misses < MISSES_MAX or not self._misses % SAMPLED:
            self._note(_place_of(text, 0), _Event(text, reading))

    def event(self, text: bytes) -> Reading | None:
        """Read an event of elements of one kind, mostly one; None: it is another message, or a large one.

        While links share nothing, only a sample of short events is looked up, by a rule that is equal on all
        links. Those with one element have steps when another link received the same.
        """
        head, is_sampled = None, self._misses < MISSES_MAX
        if is_sampled or len(text) > LONG_BYTES:
            head = EVENT_HEAD(text)
            known = None if head is None else self.known(head)
            if known is not None or len(text) > LARGE_BYTES:
                return known
        try:
            sent = read_event(text) if _ESCAPE in text or _DELETE in text else read_usual_event(text)
        except UNREADABLE:
            try:
                sent = read_event(text)  # perhaps a queue has a figure that cannot be shown
            except UNREADABLE:
                return None
        kind, source, part = EVENTS[type(sent)]
        elements, time_ms = sent.elements, sent.time
        if len(elements) == 1 and not (sent.complete or sent.removed):
            first = part(elements[0], time_ms)
            made = Reading(sent.query_id, kind, source, time_ms, False, (first,), (), None)
            is_sampled = is_sampled or not (time_ms + first.number) % SAMPLED
        else:
            parts = tuple([part(each, time_ms) for each in elements])
            made = Reading(sent.query_id, kind, source, time_ms, sent.complete, parts, sent.removed or ())
            is_sampled = is_sampled or not self._misses % SAMPLED
        if is_sampled:
            return self._sampled(text, head, made)
        self.parsed += len(elements)
        self._misses += 1
        return made

    def _sampled(self, text: bytes, head: re.Match[bytes] | None, made: Reading) -> Reading:
        """Return what another link received in *text*; otherwise *made*, stored for other links.

        *head*: that of *text*, if it was looked up before.
        """
        if head is None and (head := EVENT_HEAD(text)) is not None:
            known = self.known(head)
            if known is not None:
                return known
        self.parsed += len(made.parts)
        self._misses += 1
        if head is not None and (rest := rest_of(head)):
            self._note(_place_of(rest, 0), _Event(rest, made))
        return made

    def parts(self, shape: Shape, time_ms: int, raws: Iterable[msgspec.Raw]) -> tuple[Part, ...]:
        """Return the parts of one reading, in order; elements of unknown kinds are left out.

        Raises:
            Exception: Any that msgspec raises on an unreadable element.
        """
        parts: list[Part] = []
        for raw in raws:
            part = self._read(shape, bytes(raw), time_ms)
            if part is not None:
                parts.append(part)
        self.parsed += len(parts)
        return tuple(parts)

    def part(self, label: str, shape: Shape, raw: bytes) -> Part | None:
        """Return the part that *raw* means at any time; *label* identifies the kind of *raw*.

        It is stored when it comes for the second time: mostly each user has objects of their own.
        """
        key, young = (label, raw), self._young.parts
        found = young.get(key) or self._old.parts.get(key)
        if found is not None:
            self.shared += 1
            is_to_note = key not in young
        else:
            self.parsed += 1
            found = self._read(shape, raw, 0)
            is_to_note = found is not None and self._came_before(key)
        if found is not None and is_to_note:
            young[key] = found
            self._grown_by(len(raw))
        return found

    def _came_before(self, key: tuple[str, bytes]) -> bool:
        """Record that *key* came; return whether it, or another one at its place, came before."""
        place, bit = divmod(hash(key) % _PLACES, 8)
        is_known = (self._came[place] | self._came_earlier[place]) >> bit & 1
        self._came[place] |= 1 << bit
        return bool(is_known)

    def keys(self, raw: bytes) -> frozenset[int]:
        """Return a list of Keys as a set; equal bytes give the same set, while it is in use.

        Null is no Key, and no list either: it gives an empty set.

        Raises:
            Exception: Any that msgspec raises on data that is no list of Keys.
        """
        found = self._sets.get(raw)
        if found is None:
            keys = set(_decode_keys(raw) or ())  # a frozenset made from a set takes half the memory
            keys.discard(None)
            found = self._sets[raw] = frozenset(keys)
        return found

    def catalogues(self, rows: Rows, read: Callable[[], Catalogues]) -> Catalogues:
        """Return the catalogues in *rows*: the same object for all users who receive the same."""
        found = self._catalogues.get(rows)
        if found is None:
            if len(self._catalogues) >= CATALOGUES_MAX:
                self._catalogues.clear()
            found = self._catalogues[rows] = read()
        return found

    def refer(self, references: References) -> None:
        """Store which routing parameters are references; earlier readings are no longer shared."""
        if references != self.references:
            self.references = references
            self._young, self._old = _Generation(), _Generation()

    def prune(self, now: float) -> None:
        """Remove old entries; called by time."""
        if self._turned_at is None:
            self._turned_at = now
        elif now - self._turned_at >= GENERATION_S:
            self._turned_at = now
            self._turn()

    def _note(self, place: bytes, event: _Event) -> None:
        """Store an event that is looked up by *place*."""
        events = self._young.events
        events[place] = (event, *events.get(place, ())[: ALIKE_MAX - 1])
        self._grown_by(len(event.rest))

    def _grown_by(self, size_bytes: int) -> None:
        """Record that an entry with *size_bytes* was stored."""
        self._young.size_bytes += size_bytes + ENTRY_BYTES
        if self._young.size_bytes > GENERATION_BYTES:
            self._turn()

    def _turn(self) -> None:
        self._old, self._young = self._young, _Generation()
        self._came_earlier, self._came = self._came, bytearray(_PLACES // 8)

    def _read(self, shape: Shape, raw: bytes, time_ms: int) -> Part | None:
        try:
            return shape.read(raw, time_ms, self.references)
        except UNREADABLE:
            mended = read_without_impossible_figures(
                lambda text: shape.read(text, time_ms, self.references), raw
            )
            if mended is None:
                raise
        part, giants = mended
        self.giants += giants
        return part


def _place_of(text: bytes, at: int) -> bytes:
    """Return the bytes by which an event is looked up, whose *text* from *at* on is the same on links."""
    if len(text) - at <= SHORT_BYTES:
        return text[at:]
    return text[at : at + SOUGHT_BYTES] + text[-SOUGHT_BYTES:]


EVENT_HEAD: Final = re.compile(
    rb'[ \t\r\n]*\{~"Type"~:~"Event"~,~"QueryID"~:~(0|[1-9][0-9]{0,14})~,'.replace(b"~", rb"[ \t\r\n]*")
).match
"""Beginning of an event that many links may receive with the same rest; the query's number differs by
link.
"""


def rest_of(head: re.Match[bytes]) -> bytes:
    """Return what follows *head* in an event, or nothing if that may name another query."""
    rest = head.string[head.end() :]
    return b"" if b"QueryID" in rest or _ESCAPE in rest else rest


_ESCAPE: Final = ord("\\")
_DELETE: Final = 0x7F
_EVENT: Final = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"Type"[ \t\r\n]*:[ \t\r\n]*"Event"').match
_NUMBER: Final = b"(0|[1-9][0-9]{0,14})"
_BEGIN: Final = (
    rb'\{"Type":"Event","QueryID":~,"EventType":"'
    rb'((?!(?:Group|Aggregate)C)(User|Queue|Group|Aggregate)(?:Realtime|Cumulative))",'
    rb'"Time":~,(?:"Complete":false,)?"Elements":\[\{"\3Key":~(?=[,}])'
).replace(b"~", _NUMBER)
_SINGLE: Final = re.compile(_BEGIN).match
"""Usual beginning of a reading: a query, a kind, a time and the key of its first element."""
QUERY: Final = 1
KIND: Final = 3
TIME: Final = 4
KEY: Final = 5
"""Groups of the head of a reading of a single element."""
EVENT_BYTES: Final = b'{"Type":"Event"'
"""Usual beginning of a reading."""
_END: Final = b"}]}"
_MORE: Final = (b'"Removed"', b'"Complete"', b'"Elements"', b'"Time"', b'"QueryID"', b"\\")
"""Text that must not follow it, where elements hold others: then there may be more than one element."""
SKIM_FROM: Final = 4096
"""Bytes below which readings are not skimmed: there is little to skip."""
Kept = bytes
"""The text of an unread reading."""
_Placed = re.Match[bytes] | bytes
"""An unread reading among others: the head of a single element's, which holds the text, or another text."""


def of_query(query: int, known: Reading) -> Reading:
    """Return a reading of another link as one of *query*."""
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

    Invariants: processing the kept readings in order has the same result as processing all received ones. Of
    each query and key there is one reading of a single element since the last whole set, unless the later one
    was read earlier.
    """

    __slots__ = ("_kept", "_next", "_places", "chars", "only", "skipped")

    def __init__(self) -> None:
        self.chars = 0
        """Length of all kept texts; 0 when there are none."""
        self.skipped = 0
        """Number of readings that were replaced by newer ones."""
        self.only: bytes | None = None
        """The reading that came first, while it is the only one: mostly it is, and has a single element."""
        self._kept: dict[int, _Placed] = NO_ITEMS
        """All, while there are several, by place."""
        self._places: dict[tuple[bytes, ...], int] = NO_ITEMS
        """The place of the newest reading of each query and key since the last whole set."""
        self._next = 0
        """The next place."""

    def __len__(self) -> int:
        return len(self._kept) + (self.only is not None)

    def add_texts(self, data: bytes, texts: Sequence[tuple[int, int]]) -> int:
        """Keep the readings at the beginning of *texts*; return the number of kept texts.

        Of many only the newest of each key is read.

        *texts*: start and end of whole texts in *data*, in order.
        """
        if len(data) > SKIM_FROM and len(texts) > 1 and self._skim(data, texts):
            return len(texts)
        for kept, (start, stop) in enumerate(texts):
            text = data[start:stop]
            if not self.keep(text):
                return kept
        return len(texts)

    def keep(self, text: bytes) -> bool:
        """Keep *text* if it is an event in the usual form; False: nothing is kept of it.

        One of a single element takes the place of an older one of its key.
        """
        if not text.startswith(EVENT_BYTES) or not (text.isascii() or _is_utf8(text)):
            return False
        if self.chars:
            self._keep_behind(text)
        else:
            self.only, self.chars = text, len(text)
        return True

    def add(self, text: str) -> bool:
        """Keep *text* if it is a reading; False: it is another message, and nothing is kept of it."""
        if _EVENT(text) is None:
            return False
        self._keep_behind(text.encode())
        return True

    def _keep_behind(self, text: bytes) -> None:
        """Keep *text* behind others."""
        head = _single_head(text)
        if head is not None:
            self._keep_head(head)
        else:
            self._keep_whole(text)

    def _keep_whole(self, text: bytes) -> None:
        """Keep a reading of several elements; removals of a whole set are not moved behind it."""
        self._place_only()
        self._put(text)
        self.chars += len(text)
        if self._places and _is_removing(text):
            self._places.clear()

    def _place_only(self) -> None:
        """Keep what follows behind the only reading."""
        only, self.only = self.only, None
        if only is not None:
            head = _single_head(only)
            place = self._put(head or only)
            if head is not None:
                self._places[head.group(QUERY, KEY)] = place

    def _put(self, placed: _Placed) -> int:
        """Put a reading behind all others; return its place."""
        if self._kept is NO_ITEMS:
            self._kept, self._places, self._next = {}, {}, 0
        place = self._next
        self._next = place + 1
        self._kept[place] = placed
        return place

    def _keep_head(self, head: re.Match[bytes]) -> None:
        """Keep the reading of a single element that begins with *head*, behind others."""
        self._place_only()
        place: tuple[bytes, ...] = head.group(QUERY, KEY)
        number, kept = self._put(head), self._kept
        self.chars += len(head.string)
        known = self._places.get(place)
        if known is None:
            self._places[place] = number
            return
        before = kept[known]
        if int(before[TIME]) <= int(head[TIME]):  # otherwise it was read earlier, and is outdated
            del kept[known]  # the newest comes after all that arrived before it
            self._places[place] = number
            self.chars -= len(before.string)  # type: ignore[union-attr] # at a place are heads only
            self.skipped += 1

    def _skim(self, data: bytes, texts: Sequence[tuple[int, int]]) -> bool:
        """Keep the readings in *data* that must be read; the others are skipped unread.

        False, and nothing is kept, when *texts* have other messages than events: then all must be read one
        after the other.
        """
        kept = _skimmed(data, texts)
        if kept is None:
            return False
        self.skipped += len(texts) - len(kept)
        for each in kept:
            if isinstance(each, bytes):
                self._keep_behind(each)
            else:
                self._keep_head(each)
        return True

    def take(self) -> list[Kept]:
        """Return and remove all kept readings, in order."""
        only = self.only
        if only is not None:
            self.only, self.chars = None, 0
            return [only]
        kept = [each if isinstance(each, bytes) else each.string for each in self._kept.values()]
        self._kept = self._places = NO_ITEMS
        self.chars = 0
        return kept


def text_of(kept: Kept) -> str:
    """Return the text of a reading."""
    return kept.decode()


def _single_head(text: bytes) -> re.Match[bytes] | None:
    """Return the head of *text*, which is in UTF-8, if it is a reading of one element."""
    head = _SINGLE(text)
    if head is None or not text.endswith(_END):
        return None
    is_flat = text.find(b"}", head.end()) == len(text) - 3  # nearly all have no inner objects
    return head if is_flat or _is_single(text, head) else None


def _is_single(text: bytes, head: re.Match[bytes]) -> bool:
    """Return whether a reading with inner objects that begins with *head* has one element and no more."""
    at = head.end()
    has_others = text.find(b'"%bKey"' % head[KIND], at) >= 0
    return not has_others and all(text.find(word, at) < 0 for word in _MORE)


def _skimmed(data: bytes, texts: Sequence[tuple[int, int]]) -> list[_Placed] | None:
    """Return those of *texts* that no later one of their query and key replaces.

    None: some are no events, or one of these is not in UTF-8.

    It scans from the newest back. Removals of a whole set are not replaced by what follows the set.
    """
    kept: list[_Placed] = []
    newest: dict[tuple[bytes, ...], int] = {}
    for start, stop in reversed(texts):
        if not data.startswith(EVENT_BYTES, start):
            return None
        head = _flat_head(data, start, stop)
        if head is not None:
            place: tuple[bytes, ...] = head.group(QUERY, KEY)
            time_ms = int(head[TIME])
            if time_ms <= newest.get(place, -1):
                continue
            newest[place] = time_ms
        text = data[start:stop]
        if not _is_utf8(text):
            return None
        if head is None and newest and _is_removing(text):
            newest.clear()
        kept.append(text if head is None else _SINGLE(text) or text)  # a head that does not hold the chunk
    kept.reverse()
    return kept


def _flat_head(data: bytes, start: int, stop: int) -> re.Match[bytes] | None:
    """Return the head of a reading of a single element without inner objects; None: it is another."""
    head = _SINGLE(data, start, stop)
    is_flat = head is not None and data.find(b"}", head.end(), stop) == stop - 3 and data[stop - 2] == _END[1]
    return head if is_flat else None


def _is_removing(text: bytes) -> bool:
    """Return whether a reading is a whole set, or removes resources."""
    return b'"Removed"' in text or (b'"Complete"' in text and b'"Complete":false' not in text)


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
