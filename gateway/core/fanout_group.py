"""Fan-out group: readers at the same position share one encoded frame."""

from __future__ import annotations

import abc
import math
from collections.abc import Hashable, Mapping
from typing import Final, Protocol

from gateway.core.element import MADE_AT_ONCE, ChangeSet, Element, WireForms
from gateway.core.ledger import (
    Base,
    Cursor,
    Held,
    Ledger,
    changes_of,
    frames_of,
    patches_of,
)
from gateway.core.view import ME_PREFIX, View
from gateway.domain.model import ALWAYS, NO_ITEMS, UntrackedStruct, with_item
from gateway.protocol.codec import Codec, Members

SIZE: Final = 256
"""With more phones there are more fan-out groups: sending to a group holds the loop for about a
millisecond.
"""


TURN_S: Final = 0.005
"""Phones whose last frames left within this time of each other get the next one together, when the last of
them is due.
"""


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
        patches = patches_of(dirty, ledger, codec, self._frame_bytes // 2)
        if not patches:
            return None
        upto = ledger.shared_seq
        news = ChangesFrame(codec.patches(self.seq, upto, patches), len(dirty), self.since, self.conflated)
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
        written = self._written(upto)
        self.dirty.clear()
        self.since = math.inf
        if written:
            self.seq, self.sent_at = upto, now
        return written

    def _written(self, upto: int) -> list[bytes]:
        """Return the frames of all waiting changes."""
        changes = changes_of(self.dirty, self.ledger, self._view, self.codec)
        if not changes:
            return []
        return list(
            frames_of(
                changes,
                self.codec,
                cursor=Cursor("", self.seq),
                head=Cursor("", upto),
                reset=False,
                frame_bytes=self._frame_bytes,
            )
        )

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
        if found is None:
            return
        if isinstance(found, GroupMember) and found.place(now) == place and self.has_room:
            found.enter_group(self)
