"""Frames of changes, and fan-out groups: readers at one position share an encoded frame."""

from __future__ import annotations

import abc
import enum
import math
from collections.abc import Hashable, Iterator, Mapping
from typing import Final, Literal, NamedTuple, Protocol

from gateway.core.element import ChangeSet, Element, patches_of
from gateway.core.ledger import Ledger
from gateway.core.view import ME_PREFIX, View
from gateway.domain.model import ALWAYS, NO_ITEMS, UntrackedStruct, with_item
from gateway.protocol.codec import Codec, Members

# ---- frames of changes ----

FRAME_BYTES_MAX: Final = 256 * 1024
_FRAME_HEAD_BYTES: Final = 256
_PER_KEY_BYTES: Final = 8


class Held(enum.Enum):
    """What a reader holds of a key without a known element: nothing, or an unknown version."""

    NOTHING = enum.auto()
    SOMETHING = enum.auto()


Base = Element | Held


class Cursor(NamedTuple):
    """Where frames take a phone. *stream*: the name of its stream; None: the phone has it."""

    stream: str | None
    seq: int


class Change(NamedTuple):
    """The change of one key, from the reader's element to the present one."""

    verb: Literal["put", "patch", "gone"]
    key: str
    fragment: bytes


class _Puts(NamedTuple):
    """The values of keys, and their bytes in a frame."""

    puts: list[tuple[str, bytes]]
    size_bytes: int


def _everything(ledger: Ledger, view: View, codec: Codec) -> _Puts:
    """Return the whole state for a reader without data.

    The common part of views with equal shared keys is kept when a second reader needs it.
    """
    place = view.common.digest, codec.name
    found = ledger.firsts.get(place)
    if not isinstance(found, _Puts):
        shared = view.shared
        seen = [(key, element) for key, element in ledger.shared() if key in shared or key in ALWAYS]
        puts = [(key, element.fragment(codec)) for key, element in seen]
        made = _Puts(puts, sum([len(key) + len(fragment) + _PER_KEY_BYTES for key, fragment in puts]))
        if len(ledger.readers) != 1:  # one alone needs it once
            is_again = place in ledger.firsts
            ledger.firsts = with_item(ledger.firsts, place, made if is_again else None)
        found = made
    me = ledger.get(view.me)
    if me is None:
        return found
    own = View.wire_key(view.me), Element(me.value).fragment(codec)  # as in :func:`_change`
    return _Puts([*found.puts, own], found.size_bytes + _size_of(*own))


def first_of(ledger: Ledger, view: View, codec: Codec, *, head: Cursor, frame_bytes: int) -> list[bytes]:
    """Return the frames that replace a reader's data by the state at *head*."""
    first = _everything(ledger, view, codec)
    if first.size_bytes > frame_bytes - _FRAME_HEAD_BYTES:
        changes = [Change("put", key, fragment) for key, fragment in first.puts]
        return list(frames_of(changes, codec, after=0, head=head, reset=True, frame_bytes=frame_bytes))
    frame = codec.changes(
        after=0,
        upto=head.seq,
        stream=head.stream,
        reset=True,
        more=False,
        put=first.puts,
        patch=(),
        gone=(),
    )
    return [frame]


def news_of(
    dirty: Mapping[str, Base],
    ledger: Ledger,
    view: View,
    codec: Codec,
    after: int,
    head: Cursor,
    *,
    frame_bytes: int,
    is_owed: bool = False,
) -> list[bytes]:
    """Return the frames that take a reader that holds the bases in *dirty* from the seq *after* to *head*.

    There are none when it holds everything, unless one *is_owed* or the stream has a new name.
    """
    changes = changes_of(dirty, ledger, view, codec)
    if not (changes or is_owed or head.stream):
        return []
    return list(frames_of(changes, codec, after=after, head=head, reset=False, frame_bytes=frame_bytes))


def changes_of(dirty: Mapping[str, Base], ledger: Ledger, view: View, codec: Codec) -> list[Change]:
    """Return the changes from the bases in *dirty* to the ledger's present values."""
    changes = []
    for key, base in dirty.items():
        change = _change(key, base, ledger.get(key) if view.sees(key) else None, codec)
        if change is not None:
            changes.append(change)
    return changes


def _change(key: str, base: Base, element: Element | None, codec: Codec) -> Change | None:
    name = View.wire_key(key)
    if element is None:
        return None if base is Held.NOTHING else Change("gone", name, b"")
    if element is not base and key.startswith(ME_PREFIX):
        element = Element(element.value)  # one phone reads it, once: its encodings are not kept
    if isinstance(base, Held):
        return Change("put", name, element.fragment(codec))
    patch = None if element is base else element.patch(base, codec)
    return None if patch is None else Change("patch", name, patch)


def frames_of(
    changes: list[Change], codec: Codec, *, after: int, head: Cursor, reset: bool, frame_bytes: int
) -> Iterator[bytes]:
    """Return *changes*, one for a key in any order, as frames that take a reader from *after* to *head*.

    Args:
        changes: What they contain.
        codec: The reader's.
        after: The reader's seq; 0 at a reset.
        head: Its position after the frames.
        reset: Whether the frames replace all its data.
        frame_bytes: The size limit of one frame, as far as single values allow.
    """
    parts = _split(changes, frame_bytes)
    for index, part in enumerate(parts):
        first, last = index == 0, index == len(parts) - 1
        yield codec.changes(
            after=after,
            upto=head.seq if last else after,
            stream=head.stream if first else None,
            reset=reset and first,
            more=not last,
            put=[(key, fragment) for verb, key, fragment in part if verb == "put"],
            patch=[(key, fragment) for verb, key, fragment in part if verb == "patch"],
            gone=[key for verb, key, _ in part if verb == "gone"],
        )


def _split(changes: list[Change], size_bytes: int) -> list[list[Change]]:
    """Split into parts whose frames stay within *size_bytes*, as far as single values allow."""
    if len(changes) < 2:
        return [changes]
    parts: list[list[Change]] = [[]]
    room = size_bytes - _FRAME_HEAD_BYTES
    for change in changes:
        need = _size_of(change.key, change.fragment)
        if need > room and parts[-1]:
            parts.append([])
            room = size_bytes - _FRAME_HEAD_BYTES
        parts[-1].append(change)
        room -= need
    return parts


def _size_of(key: str, fragment: bytes) -> int:
    return len(key) + len(fragment) + _PER_KEY_BYTES


MADE_AT_ONCE: Final = 64
"""Encodings that are made in one turn of the loop: 1 to 2 ms."""


class WireForms:
    """The encodings that a large state needs, made a few at a time before its frames.

    Args:
        needed: Each element, with the reader's element; None where the whole value is needed.
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


def forms_of(dirty: Mapping[str, Base], ledger: Ledger, view: View, codec: Codec) -> WireForms:
    """Return the encodings that :func:`changes_of` needs, if they are kept."""
    elements, shared = ledger.elements, view.shared
    return WireForms(
        [
            (element, base if isinstance(base, Element) else None)
            for key, base in dirty.items()
            if (key in shared or key in ALWAYS)
            and (element := elements.get(key)) is not None
            and element is not base
        ],
        codec,
    )


def forms_of_all(ledger: Ledger, view: View, codec: Codec) -> WireForms:
    """Return the encodings that :func:`first_of` needs, if they are kept."""
    shared = view.shared
    seen = [element for key, element in ledger.shared() if key in shared or key in ALWAYS]
    return WireForms([(element, None) for element in seen], codec)


# ---- groups ----


SIZE: Final = 256
"""With more phones there are more fan-out groups: sending to a group holds the loop for about a
millisecond.
"""


TURN_S: Final = 0.005
"""Phones whose last frames left within this time of each other get the next one together, when the last of
them is due.
"""


def place_of(
    view: View, codec: Codec, *, seq: int, interval_s: float, sent_at: float, frame_bytes: int, now: float
) -> Hashable:
    """Return the key of readers that hold everything: those with equal keys may get the same frames.

    For those that may be sent to at once, the time of the last frame does not matter.
    """
    turn = None if now - sent_at >= interval_s else int(sent_at / TURN_S)
    return (view.common.digest, codec.name, frame_bytes, interval_s, seq, turn)


class ChangesFrame(UntrackedStruct):
    """One frame of changes.

    *elements*: the number of elements that waited for this frame. *since*: when the oldest of them came, see
    :attr:`gateway.core.outbox.Outbox.waits`. *conflated*: the number of values that newer ones have replaced
    so far.
    """

    frame: bytes
    elements: int
    since: float
    conflated: int


class Writer(Protocol):
    """The sink of frames for one phone."""

    @property
    def open_fd(self) -> int:
        """The descriptor while it may be written to directly; negative: it may not."""

    def put(self, data: bytes) -> None:
        """Send *data*, which is whole WebSocket frames. Never blocks."""


class Sink(Protocol):
    """The server of one phone."""

    @property
    def channel(self) -> Writer:
        """The channel of the phone."""

    def wake(self) -> None:
        """Record that something may be due."""

    def fail(self, fault: Exception) -> None:
        """Record that a write failed."""


class GroupMember(abc.ABC):
    """The outbox of one phone, as a fan-out group sees it."""

    __slots__ = ()

    sink: Sink | None
    view: View
    """The keys that its phone may see."""

    @abc.abstractmethod
    def place(self, now: float) -> Hashable | None:
        """Return the key by which readers at the same position are found.

        None while it has frames of its own.
        """

    @abc.abstractmethod
    def leave_group(self) -> None:
        """Leave the fan-out group, and continue alone from its position."""

    @abc.abstractmethod
    def enter_group(self, fanout_group: FanoutGroup) -> None:
        """Continue in *fanout_group*, which holds the same."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Send everything again, alone."""

    @abc.abstractmethod
    def mark(self, key: str, before: Element | None) -> None:
        """Record that *key* changed."""


class FanoutGroup:
    """Reads the ledger for phones with the same view, the same data and the same time of the next frame.

    They share one set of dirty keys and one frame: each phone costs one write. Before anything for one phone
    alone happens, the phone leaves the group. Phones that unite for a change may be at different positions,
    because their own values came at different times: this change is encoded once, with a frame for each.

    Invariants: each member's phone was sent all changes up to :attr:`seq`, or up to its position in
    :attr:`positions`, in this epoch, and has no frames of its own. The shared keys of their views are equal,
    and so are their codecs and paces. :attr:`positions` is empty while nothing waits.

    It reads *ledger* until its last member has left. *view* is that of each member, except keys of single
    sessions. *interval_s* is the minimum time between two frames.
    """

    __slots__ = (
        "_forms", "_frame_bytes", "_view", "codec", "conflated", "dirty", "frame_bytes", "frames",
        "interval_s", "ledger", "members", "own_frames", "positions", "sent_at", "seq", "since", "writer",
    )  # fmt: skip

    def __init__(
        self, ledger: Ledger, view: View, codec: Codec, *, interval_s: float, frame_bytes: int
    ) -> None:
        self.seq = ledger.shared_seq
        self.sent_at = -math.inf
        self.since = math.inf
        """When the oldest waiting change came to this node; infinity while none waits."""
        self.interval_s = interval_s
        self.conflated = self.frames = self.frame_bytes = 0
        """What was sent to each phone that is a member from the start: values replaced, frames, bytes."""
        self.writer: object | None = None
        """Writes the due frames to the phones; it lives as long as this group."""
        self.ledger = ledger
        self._view = view
        self.codec: Final = codec
        self._frame_bytes = frame_bytes
        self.dirty: dict[str, Base] = {}
        """The waiting keys, each with the element that the members hold."""
        self._forms: WireForms | None = None
        """The encodings that a large number of changes still needs."""
        self.members: Final[dict[GroupMember, None]] = {}
        """The outboxes of its phones."""
        self.positions: dict[GroupMember, int] = NO_ITEMS
        """The positions of those that are not at :attr:`seq`."""
        self.own_frames: dict[GroupMember, bytes] = NO_ITEMS
        """The frames of those, from :meth:`take_news` until they are written."""
        ledger.readers[self] = None

    # ---- members ----

    @property
    def has_room(self) -> bool:
        """Whether another member may join for which the same changes wait, or none."""
        return 0 < len(self.members) < SIZE  # one without members is no longer used

    def join(self, member: GroupMember, seq: int, sent_at: float) -> None:
        """Add a reader that holds the same, is at *seq*, and was last sent a frame at *sent_at*."""
        self.members[member] = None
        if seq != self.seq:
            self.positions = self.positions or {}
            self.positions[member] = seq
        self.sent_at = max(self.sent_at, sent_at)

    def leave(self, member: GroupMember) -> tuple[int, dict[str, Base] | None, float]:
        """Remove a member; return its position and waiting changes, and when the oldest of them came."""
        del self.members[member]
        if not self.members:
            del self.ledger.readers[self]
        seq = self.positions.pop(member, self.seq)
        return (seq, dict(self.dirty), self.since) if self.dirty else (seq, None, math.inf)

    def _part(self, member: GroupMember) -> None:
        """Have a member sent its frames alone."""
        member.leave_group()
        if member.sink is not None:
            member.sink.wake()

    # ---- Reader ----

    @property
    def pace(self) -> FanoutGroup:
        """See :attr:`gateway.core.ledger.Reader.pace`."""
        return self

    def waiting(self) -> str | None:
        """Return the handle of a member: waking it wakes all. None: nothing waits."""
        return next(iter(self.members)).view.handle if self.dirty else None

    def mark(self, key: str, before: Element | None) -> None:
        """Record that *key* changed in the ledger, which held *before*."""
        if key in self.dirty:
            self.conflated += 1
        elif key in self._view.shared or key in ALWAYS:
            if not self.dirty:
                self.since = self.ledger.came_at
            self.dirty[key] = Held.NOTHING if before is None else before
        elif key.startswith(ME_PREFIX):
            handle = key.removeprefix(ME_PREFIX)
            for member in [member for member in self.members if member.view.handle == handle]:
                member.leave_group()
                member.mark(key, before)

    def mark_all(self, changes: ChangeSet) -> None:
        """Record that several shared keys changed."""
        for key, before in changes.befores.items():
            self.mark(key, before)

    def epoch_began(self) -> None:
        """Dissolve the group: each member is sent the name of its new stream."""
        for member in list(self.members):
            member.leave_group()

    # ---- what it gives ----

    @property
    def waits(self) -> tuple[int, float]:
        """Number of waiting keys, and when the oldest change among them came."""
        return len(self.dirty), self.since

    def due_at(self, now: float) -> float | None:
        """Return when there is something to send: *now* or later, or None when nothing waits."""
        return max(now, self.sent_at + self.interval_s) if self.dirty else None

    def prepare(self) -> bool:
        """Encode some of the elements that many changes need; False: call it again in a later turn."""
        forms = self._forms
        if forms is None:
            if len(self.dirty) <= MADE_AT_ONCE:
                return True
            forms = forms_of(self.dirty, self.ledger, self._view, self.codec)
        is_made = forms.make_some()
        self._forms = None if is_made else forms
        return is_made

    def take_news(self, now: float) -> ChangesFrame | float | None:
        """Remove and return the waiting changes as one frame of patches, if they are few.

        Patches need an older state of each element at the members.

        Returns:
            The frame; or when it may be sent, if that is later than *now*; or None: nothing waits, or
                :meth:`take` has to be called.
        """
        dirty, ledger, codec = self.dirty, self.ledger, self.codec
        if not (dirty and self.members):
            return None
        due_at = self.sent_at + self.interval_s
        if due_at > now:
            return due_at
        patches = patches_of(dirty, ledger.versions.elements, codec, self._frame_bytes // 2)
        if not patches:
            return None
        after, upto = self.seq, ledger.shared_seq
        is_one = len(patches) == 1
        frame = codec.one_patch(after, upto, *patches[0]) if is_one else codec.patches(after, upto, patches)
        news = ChangesFrame(frame, len(dirty), self.since, self.conflated)
        if self.positions:
            self._make_own_frames(codec.members(patches), upto, len(news.frame))
        dirty.clear()
        self.seq, self.sent_at, self.since = upto, now, math.inf
        return news

    def _make_own_frames(self, patches: Members, upto: int, size_bytes: int) -> None:
        """Make the frames of members at other positions; all frames of a group have the same size."""
        make = self.codec.patches
        self.own_frames = {member: make(seq, upto, patches) for member, seq in self.positions.items()}
        for member, frame in self.own_frames.items():
            if len(frame) != size_bytes:
                self._part(member)
        self.positions = NO_ITEMS

    def take(self, now: float) -> list[bytes]:
        """Remove all waiting changes; return the frames that carry them to every member, in order.

        Members at other positions leave before.
        """
        for member in tuple(self.positions):
            self._part(member)
        upto = self.ledger.shared_seq
        written = news_of(
            self.dirty,
            self.ledger,
            self._view,
            self.codec,
            self.seq,
            Cursor(None, upto),
            frame_bytes=self._frame_bytes,
        )
        self.dirty.clear()
        self.since = math.inf
        if written:
            self.seq, self.sent_at = upto, now
        return written

    def due_place(self, now: float) -> Hashable | None:
        """Return the same key as a phone alone for which the same changes are due; None: not due."""
        if not self.dirty or self._forms is not None or self.sent_at + self.interval_s > now:
            return None
        return (self._view.common.digest, self.codec.name, self._frame_bytes, self.interval_s)

    def join_group(self, found: FanoutGroup) -> bool:
        """Have all members continue in *found*, which holds the same, if that is possible."""
        if not found.has_room or len(found.members) + len(self.members) > SIZE or self.dirty != found.dirty:
            return False
        for member in list(self.members):
            member.enter_group(found)
        return True

    def unite(self, now: float) -> None:
        """Unite with readers at the same position, after the taken frames were written and counted."""
        place = place_of(
            self._view,
            self.codec,
            seq=self.seq,
            interval_s=self.interval_s,
            sent_at=self.sent_at,
            frame_bytes=self._frame_bytes,
            now=now,
        )
        ledger = self.ledger
        found = ledger.joinable.get(place)
        if isinstance(found, FanoutGroup) and self.join_group(found):
            return
        ledger.joinable = with_item(ledger.joinable, place, self)
        if isinstance(found, GroupMember) and found.place(now) == place and self.has_room:
            found.enter_group(self)
