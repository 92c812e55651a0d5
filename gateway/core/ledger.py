"""What is the newest value of each of a user's keys, and what is a reader missing?

A compacted log: the owner records into it, every other node keeps a replica and asks again
when it finds a gap. One query, :meth:`Ledger.since`, answers first snapshot, resume and
repair alike, of any length, from current state and tombstones; there is no history.

Prior art: Kubernetes list+watch with bookmarks (KEP-956), Synapse's POSITION/RDATA,
Centrifuge's epoch and offset.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import NamedTuple, Protocol

from gateway.core.element import Element
from gateway.domain.model import Position


class Update(NamedTuple):
    """The newest element of one key; None when the key is gone."""

    key: str
    seq: int
    element: Element | None


class Delta(NamedTuple):
    """Everything that happened in ``(after, upto]`` of one epoch, compacted.

    *reset*: forget every key first, *updates* is the whole state. No updates and
    ``after == upto`` is a heartbeat.
    """

    epoch: int
    after: int
    upto: int
    reset: bool
    updates: tuple[Update, ...]


class Receipt(enum.Enum):
    """What :meth:`Ledger.receive` did."""

    APPLIED = enum.auto()
    STALE = enum.auto()
    GAP = enum.auto()


class Reader(Protocol):
    """Someone who wants to know which keys changed. Readers are told apart by identity."""

    def __hash__(self) -> int:
        """By identity."""
        ...

    def waiting(self) -> str | None:
        """Return whom to wake: the key of what is told to one session alone. None: nothing waits."""
        ...

    def mark(self, key: str, before: Element | None) -> None:
        """Note that *key* changed; *before* is what the ledger held until now."""
        ...

    def epoch_began(self) -> None:
        """Note that the position is of another epoch."""
        ...


class Ledger:
    """The mirror of one user's keys.

    Invariant: a key's seq is the seq of its last change, no two keys share one within an
    epoch, and ``position.seq`` is at least the largest.

    Args:
        epoch: The lease token for an owner; 0 for a replica that knows nothing.
        tombstones: How many removed keys to remember. A resume from before the oldest
            forgotten removal gets a reset.
    """

    def __init__(self, epoch: int = 0, *, tombstones: int = 1024) -> None:
        self.position = Position(epoch, 0)
        self.readers: dict[Reader, None] = {}
        self.meeting: dict[Hashable, object] = {}
        """Where readers that know all find others that do; empty as soon as there is more to know."""
        self._live: dict[str, tuple[int, Element]] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()
        self._tombstones = tombstones
        self._floor = 0

    def get(self, key: str) -> Element | None:
        """Return the newest element of *key*."""
        found = self._live.get(key)
        return None if found is None else found[1]

    def items(self) -> list[tuple[str, Element]]:
        """Return every key that has a value, with its element."""
        return [(key, element) for key, (_, element) in self._live.items()]

    def record(self, key: str, element: Element | None) -> bool:
        """Write one change, for the owner only. The same element, or an equal one, makes no change."""
        held = self.get(key)
        if element is held or (element is not None and held is not None and element.value == held.value):
            return False
        self._move(Position(self.position.epoch, self.position.seq + 1))
        self._store(Update(key, self.position.seq, element))
        return True

    def record_all(self, keys: Iterable[str], elements: Iterable[Element | None]) -> None:
        """Write the values of several keys, for the owner only, as :meth:`record` does one after another.

        Whoever gives them has compared them: an element that equals the held one is the held one.
        """
        live, gone, seq = self._live, self._gone, self.position.seq
        changed: list[tuple[str, Element | None]] = []
        for key, element in zip(keys, elements, strict=True):
            found = live.get(key)
            before = None if found is None else found[1]
            if element is before:
                continue
            seq += 1
            if element is None:
                del live[key]
                self._bury(Update(key, seq, None))
            else:
                gone.pop(key, None)
                live[key] = (seq, element)
            changed.append((key, before))
        if changed:
            self._move(Position(self.position.epoch, seq))
            for key, before in changed:
                self._tell(key, before)

    def receive(self, delta: Delta) -> Receipt:
        """Take in the owner's *delta*, for a replica only.

        Duplicates, overlaps and late answers are harmless. On GAP nothing changed: ask the
        owner for what is since :attr:`position`.
        """
        upto = Position(delta.epoch, delta.upto)
        if upto <= self.position:
            return Receipt.STALE
        if delta.reset:
            self._forget_all_but({update.key for update in delta.updates})
        elif delta.epoch != self.position.epoch or delta.after > self.position.seq:
            return Receipt.GAP
        for update in delta.updates:
            self._store(update)
        if delta.reset:
            self._gone.clear()
            self._floor = delta.upto
        self._move(upto)
        return Receipt.APPLIED

    def disown(self) -> None:
        """Note that what a replica holds is of no owner: whatever is received next takes its place."""
        self._move(Position(0, 0))
        self._gone.clear()
        self._floor = 0

    def rebase(self, epoch: int) -> None:
        """Begin *epoch* with the keys at hand, for a node that becomes the owner.

        Values stay; every key counts as changed in the new epoch. Readers see no change.
        """
        self._live = {
            key: (seq, element) for seq, (key, (_, element)) in enumerate(self._live.items(), start=1)
        }
        self._gone.clear()
        self._floor = 0
        self._move(Position(epoch, len(self._live)))

    def since(self, seen: Position) -> Delta:
        """Return what a reader at *seen* is missing: changes, or a reset when they are not known."""
        epoch, head = self.position
        if seen.epoch != epoch or not self._floor <= seen.seq <= head:
            everything = [Update(key, seq, element) for key, (seq, element) in self._live.items()]
            return Delta(epoch, 0, head, reset=True, updates=_in_order(everything))
        missing = [Update(k, seq, element) for k, (seq, element) in self._live.items() if seq > seen.seq]
        missing += [Update(k, seq, None) for k, seq in self._gone.items() if seq > seen.seq]
        return Delta(epoch, seen.seq, head, reset=False, updates=_in_order(missing))

    def told(self, seen: Position, keys: Iterable[str]) -> Delta:
        """Return what :meth:`since` does, for a reader who was told of every change: they are of *keys*."""
        epoch, head = self.position
        if seen.epoch != epoch or not self._floor <= seen.seq <= head:
            return self.since(seen)
        return Delta(epoch, seen.seq, head, reset=False, updates=_in_order([self._newest(k) for k in keys]))

    def _newest(self, key: str) -> Update:
        found = self._live.get(key)
        return Update(key, self._gone[key], None) if found is None else Update(key, *found)

    def _move(self, position: Position) -> None:
        is_new = position.epoch != self.position.epoch
        self.position = position
        self.meeting.clear()
        for reader in list(self.readers) if is_new else ():
            reader.epoch_began()

    def _store(self, update: Update) -> None:
        before = self.get(update.key)
        self._gone.pop(update.key, None)
        if update.element is not None:
            self._live[update.key] = (update.seq, update.element)
        else:
            self._live.pop(update.key, None)
            self._bury(update)
        if update.element is not before:
            self._tell(update.key, before)

    def _tell(self, key: str, before: Element | None) -> None:
        for reader in list(self.readers):  # some part from others when they are told
            reader.mark(key, before)

    def _bury(self, update: Update) -> None:
        self._gone[update.key] = update.seq
        if len(self._gone) > self._tombstones:
            _, forgotten = self._gone.popitem(last=False)
            self._floor = max(self._floor, forgotten)

    def _forget_all_but(self, kept: set[str]) -> None:
        for key in [key for key in self._live if key not in kept]:
            self._store(Update(key, self.position.seq, None))


def _in_order(updates: list[Update]) -> tuple[Update, ...]:
    return tuple(sorted(updates, key=lambda update: update.seq))
