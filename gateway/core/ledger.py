"""Ledger: the newest value of each key of a user, and the changes since a position.

A compacted log: the owner records into it; every other node keeps a replica, and requests changes again after
a gap. One query, :meth:`Ledger.since`, serves first snapshot, resume and repair alike, of any length, from
current state and tombstones; there is no history.

Prior art: Kubernetes list+watch with bookmarks (KEP-956), Synapse's POSITION/RDATA, Centrifuge's epoch and
offset.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable, Iterable, Mapping
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

from gateway.core.element import ChangeSet, Element
from gateway.core.rate_limits import ReaderPace
from gateway.core.view import is_own
from gateway.domain.model import (
    ALONE_MOST,
    NO_ITEMS,
    NextTables,
    Position,
    SharedTable,
    SmallMap,
    TablePool,
    UntrackedStruct,
    value,
    with_item,
)
from gateway.protocol import frames


@value()
class Health:
    """The age of a user's data. *as_of*: when it was read last, by the steady clock; None: never."""

    upstream: frames.HealthStatus
    bus: frames.BusHealth
    as_of: float | None


UNKNOWN_HEALTH: Final = Health("down", "live", None)
"""Health before the first link."""


class Update(NamedTuple):
    """The newest element of one key; None when the key is gone."""

    key: str
    seq: int
    element: Element | None


class VersionedMap(UntrackedStruct):
    """Some of a ledger's keys.

    Invariant: a key that has an element has a seq and is not removed. Removed keys are stored as far as
    *tombstones* allows; all other removals happened at :attr:`floor` or before.

    A shared table dates changes by its clock, from which each ledger computes seqs. They are never too small;
    one that is too large, because the ledger counted other changes, only sends a reader a value twice.
    """

    tombstones: int
    elements: dict[str, Element]
    gone: dict[str, int] = NO_ITEMS
    """The seq of each removal, the last one last."""
    floor: int = 0
    seqs: dict[str, int] = NO_ITEMS
    """When each key changed last: its seq, or the clock of the shared table."""
    _rest: int = 0
    """The seq of keys without a time in :attr:`seqs`, or with one that is not after :attr:`_came_at`."""
    _came_at: int = -1
    """The clock of the shared table when this ledger came to it; -1: there is none."""
    _shift: int = 0
    """The last seq minus the clock of the shared table; 0: there is none."""
    shared: SharedTable[Element] | None = None
    """The table of :attr:`elements`, which other ledgers may hold; None: they are this ledger's own."""

    def own(self) -> dict[str, Element]:
        """Return the elements in a table that no other ledger holds."""
        if self.shared is not None:
            seqs = {key: self.seq_of(key) for key in self.elements}
            self.seqs = {key: seq for key, seq in seqs.items() if seq != self._rest} or NO_ITEMS
            self.elements, self.shared = self.shared.leave(), None
            self._came_at, self._shift = -1, 0
        return self.elements

    def share(self, others: TablePool[Element], links: int, seq: int) -> None:
        """Hold the table of another ledger, if it is equal. *seq*: that of the last change of any key."""
        mine = self.shared
        if mine is None:
            mine = SharedTable(self.elements, changed_at={})
            self._came_at = mine.clock - seq  # so that each seq stays as it is
            mine.changed_at = {key: at + self._came_at for key, at in self.seqs.items()}
        table = others.share("", mine, links)
        self._hold(table, seq, is_another=table is not mine)

    def _hold(self, table: SharedTable[Element], seq: int, *, is_another: bool) -> None:
        """Hold *table*, whose last step has *seq*. *is_another*: its times are of other ledgers."""
        if is_another:
            self._rest, self._came_at = seq, table.clock  # all keys count as changed now
        self.shared, self.elements, self.seqs = table, table.items, table.changed_at or NO_ITEMS
        self._shift = seq - table.clock
        if table.alone > ALONE_MOST:
            self.own()

    def seq_of(self, key: str) -> int:
        """Return the seq of a key that has an element."""
        at = self.seqs.get(key, self._came_at)
        return at + self._shift if at > self._came_at else self._rest

    def store(self, update: Update) -> None:
        """Store the newest value of a key."""
        key, seq, element = update
        self.gone.pop(key, None)
        if element is not None:
            self.own()[key] = element
            self.seqs = with_item(self.seqs, key, seq)
            return
        self.own().pop(key, None)
        self.seqs.pop(key, None)
        self.gone = with_item(self.gone, key, seq)
        if len(self.gone) > self.tombstones:
            self.floor = max(self.floor, self.gone.pop(next(iter(self.gone))))

    def store_all(
        self, elements: dict[str, Element], seq: int, next_tables: NextTables[Element] | None
    ) -> None:
        """Store the elements of several keys that changed in one step."""
        if next_tables is not None and self.shared is not None:
            before, table = self.shared, next_tables.apply(self.shared, elements)
            self._hold(table, seq, is_another=table.clock != before.clock + 1)
        else:
            self.own().update(elements)
            self.seqs = {} if self.seqs is NO_ITEMS else self.seqs
            self.seqs.update(dict.fromkeys(elements, seq))
        if self.gone:
            for key in elements:
                self.gone.pop(key, None)

    def join(self, since: int, seq: int) -> None:
        """Give all keys that have an element and changed after *since* one *seq*, which needs no memory."""
        elements = self.own()
        self.seqs = {key: at for key in elements if (at := self.seq_of(key)) <= since} or NO_ITEMS
        self._rest = seq

    def forget_gone(self, floor: int) -> None:
        """Delete the removed keys, which were all removed at *floor* or before."""
        self.gone, self.floor = NO_ITEMS, floor

    def removed_upto(self) -> int:
        """Return the seq after which no key was removed."""
        return max(self.floor, next(reversed(self.gone.values()), 0))

    def updates(self) -> list[Update]:
        """Return the newest of each key that has an element."""
        return [Update(key, self.seq_of(key), element) for key, element in self.elements.items()]

    def after(self, seen: int) -> list[Update]:
        """Return the newest value of each key, removed ones included, if it is newer than *seen*."""
        if self._rest > seen or self.shared is not None:
            missing = [each for each in self.updates() if each.seq > seen]
        else:
            missing = [Update(key, seq, self.elements[key]) for key, seq in self.seqs.items() if seq > seen]
        return missing + [Update(key, seq, None) for key, seq in self.gone.items() if seq > seen]

    def newest(self, key: str) -> Update | None:
        """Return the newest value of *key*; None: the key is unknown."""
        element = self.elements.get(key)
        if element is not None:
            return Update(key, self.seq_of(key), element)
        seq = self.gone.get(key)
        return None if seq is None else Update(key, seq, None)


class Delta(NamedTuple):
    """All changes in ``(after, upto]`` of one epoch, compacted.

    *reset*: first remove every key; *updates* is the whole state. After *floor* no shared key was removed;
    None: unknown. No updates and ``after == upto`` is a heartbeat.
    """

    epoch: int
    after: int
    upto: int
    reset: bool
    updates: tuple[Update, ...]
    floor: int | None = None


class Receipt(enum.Enum):
    """Result of :meth:`Ledger.receive`."""

    APPLIED = enum.auto()
    STALE = enum.auto()
    GAP = enum.auto()


class OwnReaders(Protocol):
    """The readers of keys of single sessions."""

    def mark(self, key: str, before: Element | None) -> None:
        """Record that *key* changed; *before* is its element in the ledger until now."""


class ChangeReader(OwnReaders, Protocol):
    """A reader of the changes of a ledger."""

    def mark_all(self, changes: ChangeSet) -> None:
        """Record that several shared keys changed, as :meth:`mark` does one by one."""


class Reader(ChangeReader, Protocol):
    """A reader of changes for phones. Readers are compared by identity."""

    @property
    def pace(self) -> ReaderPace | None:
        """When it may be sent changes. None: at any time."""

    def __hash__(self) -> int:
        """By identity."""

    def waiting(self) -> str | None:
        """Return the handle of the session to wake. None: nothing waits."""

    def epoch_began(self) -> None:
        """Record that the position belongs to another epoch."""


LATE_S: Final = 0.5
"""A change may be late if the data before it was this old."""
LATE_KEPT_S: Final = 90.0
"""How long :attr:`Ledger.late` keeps an entry: longer than the longest pace of a phone."""
LATE_MAX: Final = 16


class Ledger:
    """The mirror of one user's keys.

    Invariant: a key's seq is the seq of its last change, within an epoch only keys that changed in one step
    share it, and :attr:`seq` is at least the largest.

    Keys of single sessions are stored separately, as a user may have thousands: operations on one of them, or
    on shared keys, do not depend on their number.

    Args:
        epoch: The lease token for an owner; 0 for a replica without data.
        tombstones: Removed keys to store, of either sort. A resume from before the oldest removal that is no
            longer stored gets a reset.
    """

    __slots__ = (
        "__weakref__", "_own", "came_at", "clock_ms", "epoch", "firsts", "has_new_clock", "has_news",
        "health", "joinable", "late", "outlet", "own_news", "own_readers", "readers", "seq", "shared_seq",
        "under_way_s", "versions",
    )  # fmt: skip

    def __init__(self, epoch: int = 0, *, tombstones: int = 1024) -> None:
        self.epoch, self.seq = epoch, 0
        self.shared_seq = 0
        """The seq of the last change of a shared key. A reader that has all changes up to it, and all keys of
        its own session, is complete; complete readers are at the same position.
        """
        self.readers: SmallMap[Reader, None] = SmallMap()
        self.outlet: ChangeReader | None = None
        """What sends the owner's changes to other nodes; None while no node follows."""
        self.health = UNKNOWN_HEALTH
        """The age of its data."""
        self.came_at = -math.inf
        """When the writer last received data of the user; monotonic seconds, set by the writer."""
        self.under_way_s = 0.0
        """How long the user's owner had had this data by then; 0 at the owner."""
        self.late: tuple[tuple[float, float], ...] = ()
        """When changes came that were late or several, and until when the data before them was true; oldest
        first. An entry stays for as long as a phone may wait for them.
        """
        self.clock_ms = -math.inf
        """The zero of this node's steady clock, by the clock that dates values; -inf: by its own wall clock.

        It is the wall clock of the owner as it was when the values were dated. So neither a node's wall clock
        that is set, nor values that are dated by another node, make a duration wrong.
        """
        self.joinable: dict[Hashable, object] = NO_ITEMS
        """Place → the reader or group that a complete reader joins; empty as soon as a change is recorded."""
        self.firsts: dict[Hashable, object] = NO_ITEMS
        """The first state of phones with the same view, encoded once for all; empty as soon as it is old."""
        self.own_readers: OwnReaders | None = None
        """Learn instead of all readers that a key of one session changed."""
        self.versions: Final = VersionedMap(tombstones, {})
        """The shared keys; only the ledger changes them. Each update reads it, so it is no property."""
        self._own: Final = VersionedMap(tombstones, {})
        self.has_news = False
        """Whether a key has changed for all readers; the task that wakes them resets it."""
        self.has_new_clock = False
        """Whether :attr:`clock_ms` has changed, of which each phone learns alone; reset in the same way."""
        self.own_news: dict[str, None] = NO_ITEMS
        """Keys of single sessions that have changed since :meth:`take_own_news`."""

    def set_clock(self, clock_ms: float) -> None:
        """Set :attr:`clock_ms`, and have all phones woken."""
        self.clock_ms, self.has_new_clock, self.has_news = clock_ms, True, True

    def came_late(self, now: float) -> None:
        """Record that changes come that were made at any time since the instant of :attr:`health`.

        Call it before the health of the new data is set.
        """
        as_of = self.health.as_of
        if as_of is None or now - as_of < LATE_S:
            return
        kept = tuple([each for each in self.late if now - each[0] <= LATE_KEPT_S])
        self.late = (*kept, (now, as_of)) if len(kept) < LATE_MAX else (*kept[:-1], (now, kept[-1][1]))

    def true_until(self, since: float) -> float:
        """Return until when a phone's data was true if changes wait *since* then; monotonic seconds."""
        for came_at, as_of in self.late:
            if came_at >= since:
                return min(as_of, since)
        return since - self.under_way_s

    def dated_ms(self, now: float, wall_ms: int) -> int:
        """Return the time by the clock of the instants in values."""
        return wall_ms if self.clock_ms == -math.inf else round(self.clock_ms + now * 1000)

    @property
    def position(self) -> Position:
        """The position of the last change; as two numbers :attr:`epoch` and :attr:`seq`."""
        return Position(self.epoch, self.seq)

    def get(self, key: str) -> Element | None:
        """Return the newest element of *key*."""
        found = self.versions.elements.get(key)
        return self._own.elements.get(key) if found is None else found

    def items(self) -> list[tuple[str, Element]]:
        """Return every key that has a value, with its element."""
        return [*self.versions.elements.items(), *self._own.elements.items()]

    def shared(self) -> list[tuple[str, Element]]:
        """Return every key that is not one session's own, and has a value, with its element."""
        return list(self.versions.elements.items())

    def seen_by(self, me: str) -> list[tuple[str, Element]]:
        """Return the same plus the key of one session: *me*."""
        own = self._own.elements.get(me)
        return self.shared() if own is None else [*self.shared(), (me, own)]

    def seen_upto(self, me: str) -> int:
        """Return the seq of the last change of shared keys or of the session's key *me*."""
        own = self._own.newest(me)
        return self.shared_seq if own is None else max(self.shared_seq, own.seq)

    def take_own_news(self) -> list[str]:
        """Return the keys for which :attr:`own_readers` were marked since the last call."""
        alone, self.own_news = list(self.own_news), NO_ITEMS
        return alone

    def record(self, key: str, element: Element | None) -> bool:
        """Write one change, for the owner only. An equal element makes no change."""
        held = self.get(key)
        if element is held or (element is not None and held is not None and element.value == held.value):
            return False
        seq, own = self.seq + 1, is_own(key)
        self._move(Position(self.epoch, seq), 0 if own else seq)
        self._store(Update(key, seq, element), own=own)
        return True

    @property
    def elements(self) -> Mapping[str, Element]:
        """The newest element of each shared key that has a value; another object after a change."""
        return self.versions.elements

    def share_table(self, others: TablePool[Element], links: int) -> None:
        """Hold the table of another ledger, if it is equal, as those of *links* may be."""
        self.versions.share(others, links, self.shared_seq)

    def record_all(self, changes: ChangeSet, next_tables: NextTables[Element] | None = None) -> None:
        """Write the values of several shared keys, for the owner only, as :meth:`record` does one by one.

        Args:
            changes: Its elements before are those that the ledger holds.
            next_tables: The tables of other ledgers after the changes.
        """
        if not changes.elements:
            return
        seq = self.seq = self.shared_seq = self.seq + 1
        self.versions.store_all(changes.elements, seq, next_tables)
        self.has_news = True
        self.joinable = self.firsts = NO_ITEMS
        if self.outlet is not None:
            self.outlet.mark_all(changes)
        if (only := self.readers.only_key) is not None:
            only.mark_all(changes)
            return
        for reader in tuple(self.readers):  # some leave their group during this
            reader.mark_all(changes)

    def record_one(
        self, key: str, before: Element | None, element: Element, seq: int = 0, upto: int = 0
    ) -> None:
        """Write the value of a shared key that has *before*, as :meth:`record` and :meth:`receive` do.

        Nearly all changes are of this kind. *seq* and *upto* are those of the owner, for a replica that
        misses no change before; 0: the next, for the owner itself.
        """
        shared, seq = self.versions, seq or self.seq + 1
        if shared.shared is not None or shared.gone or shared.seqs is NO_ITEMS:
            shared.store(Update(key, seq, element))
        else:  # mostly: the same, a call less for each change
            shared.elements[key], shared.seqs[key] = element, seq
        if upto:
            self.seq, self.shared_seq = upto, max(self.shared_seq, seq)
        else:
            self.seq = self.shared_seq = seq
        self.joinable = self.firsts = NO_ITEMS
        if element is before:
            return
        self.has_news = True
        if self.outlet is not None:
            self.outlet.mark(key, before)
        if (only := self.readers.only_key) is not None:
            only.mark(key, before)
            return
        for reader in self.readers:  # none leaves its group because of a shared key
            reader.mark(key, before)

    def receive(self, delta: Delta) -> Receipt:
        """Apply the owner's *delta*, for a replica only.

        Duplicates, overlaps and late answers are harmless. On GAP nothing changed: request the changes since
        :attr:`position` from the owner.
        """
        upto = Position(delta.epoch, delta.upto)
        if upto <= self.position:
            return Receipt.STALE
        if delta.reset:
            self._forget_all_but({update.key for update in delta.updates})
        elif delta.epoch != self.epoch or delta.after > self.seq:
            return Receipt.GAP
        shared_seq = 0
        for update in delta.updates:
            own = is_own(update.key)
            self._store(update, own=own)
            if not own:
                shared_seq = max(shared_seq, update.seq)
        if delta.reset:
            floor = delta.upto if delta.floor is None else delta.floor
            self.versions.forget_gone(floor)
            self._own.forget_gone(delta.upto)
            shared_seq = max(shared_seq, floor)
        self._move(upto, shared_seq)
        return Receipt.APPLIED

    def join_changes(self, since: int) -> None:
        """Record that all changes of shared keys after *since*, which no reader has seen, were one step.

        So a first state has one seq instead of one for each key.
        """
        self.versions.join(since, self.shared_seq)

    def invalidate(self) -> None:
        """Record that a replica belongs to no owner: the next received state replaces it."""
        self._move(Position(0, 0))
        self._forget_gone(0)

    def rebase(self, epoch: int) -> None:
        """Begin *epoch* with the present keys, for a node that becomes the owner.

        Values stay; every key counts as changed in the new epoch. Readers see no change.
        """
        shared_seq = len(self.versions.elements)
        seq = shared_seq + len(self._own.elements)
        self.versions.join(-1, shared_seq)
        self._own.join(-1, seq)
        self._forget_gone(0)
        self._move(Position(epoch, seq), shared_seq)

    def since(self, seen: Position, me: str | None = None) -> Delta:
        """Return the changes that a reader at *seen* misses, or a reset when they are unknown.

        Args:
            seen: The position up to which the reader has everything.
            me: The only key of a single session that the reader sees; None: it sees all of them.
        """
        epoch, head = self.epoch, self.seq
        if not self._knows_since(seen, me):
            own = self._own.updates() if me is None else [each for each in [self._own.newest(me)] if each]
            everything = [each for each in (*self.versions.updates(), *own) if each.element is not None]
            floor = self.versions.removed_upto()
            return Delta(epoch, 0, head, reset=True, updates=_in_order(everything), floor=floor)
        missing = self.versions.after(seen.seq)
        if me is None:
            missing += self._own.after(seen.seq)
        elif (mine := self._own.newest(me)) is not None and mine.seq > seen.seq:
            missing.append(mine)
        return Delta(epoch, seen.seq, head, reset=False, updates=_in_order(missing))

    def delta_of(self, seen: Position, keys: Iterable[str]) -> Delta:
        """Return the same as :meth:`since`, for a reader that has the *keys* of all changes."""
        if not self._knows_since(seen, None):
            return self.since(seen)
        epoch, head = self.epoch, self.seq
        elements, seq_of = self.versions.elements, self.versions.seq_of
        newest = []
        for key in keys:
            element = elements.get(key)
            if element is not None:
                newest.append(Update(key, seq_of(key), element))
            elif (update := (self._own if is_own(key) else self.versions).newest(key)) is not None:
                newest.append(update)
        return Delta(epoch, seen.seq, head, reset=False, updates=_in_order(newest))

    def _knows_since(self, seen: Position, me: str | None) -> bool:
        """Return whether all relevant removals since *seen* are stored."""
        floor = self.versions.floor
        if me is None or me not in self._own.elements:
            floor = max(floor, self._own.floor)
        return seen.epoch == self.epoch and floor <= seen.seq <= self.seq

    def _forget_gone(self, floor: int) -> None:
        self.versions.forget_gone(floor)
        self._own.forget_gone(floor)

    def _move(self, position: Position, shared_seq: int = 0) -> None:
        """Move to *position*. *shared_seq*: the seq of a change of shared keys; 0: none changed."""
        is_new = position.epoch != self.epoch
        self.epoch, self.seq = position
        if shared_seq or is_new:
            self.shared_seq = shared_seq if is_new else max(self.shared_seq, shared_seq)
            self.joinable = self.firsts = NO_ITEMS
        self.has_news = self.has_news or is_new
        for reader in list(self.readers) if is_new else ():
            reader.epoch_began()

    def _store(self, update: Update, *, own: bool) -> None:
        """Store a key's new value. *own*: whether it belongs to one session."""
        versions = self._own if own else self.versions
        before = versions.elements.get(update.key)
        versions.store(update)
        if update.element is not before:
            self._mark_readers(update.key, before, own=own)

    def _mark_readers(self, key: str, before: Element | None, *, own: bool) -> None:
        if self.outlet is not None:
            self.outlet.mark(key, before)
        if own and self.own_readers is not None:
            self.own_news = with_item(self.own_news, key, None)
            self.own_readers.mark(key, before)
            return
        self.has_news = True
        for reader in list(self.readers):  # some leave their group during this
            reader.mark(key, before)

    def _forget_all_but(self, kept: set[str]) -> None:
        for key in [key for key, _ in self.items() if key not in kept]:
            self._store(Update(key, self.seq, None), own=is_own(key))


_SEQ: Final = attrgetter("seq")


def _in_order(updates: list[Update]) -> tuple[Update, ...]:
    return tuple(sorted(updates, key=_SEQ))
