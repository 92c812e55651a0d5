"""What does one user's link say his resources are, right now?

Folds the readings of one link, in whatever order they come, into the newest parts of each
resource, and tells which resources may have changed. Rules: a complete reading is the whole
set of its query; a user absent from it is logged off, other kinds absent are gone; an element
older than the held one of the same source, or than the whole set that lacked it, is ignored and
counted; nothing is a resource before its directory object is known; what no query covers any
more is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.core.compose import Parts
from gateway.domain.link_requests import Listen
from gateway.domain.model import Kind, Scope
from gateway.domain.upstream import Part, Reading, Source

Address = tuple[Kind, int]


@dataclass(slots=True, eq=False)
class _Query:
    listen: Listen
    complete: bool = False
    """Whether its first complete reading came, or it was refused."""
    refused: bool = False
    whole_at_ms: int | None = None
    """When its whole set was last read: whatever was not in it was not there then."""

    def covers(self, kind: Kind, number: int) -> bool:
        numbers = self.listen.numbers
        return self.listen.kind in (None, kind) and (numbers is None or number in numbers)


@dataclass(slots=True)
class _Slots:
    parts: dict[Source, Part] = field(default_factory=dict)
    read_at_ms: dict[Source, int] = field(default_factory=dict)
    """When each source was last read, also when it said that there is nothing."""
    left_at_ms: int | None = None
    """When the realtime part was last seen to be there no more; None: it never was there."""


class Assembly:
    """The parts that one link has told.

    Invariant: of each resource and source it holds the part with the greatest reading time,
    the last of equal ones.
    """

    def __init__(self) -> None:
        self.late = 0
        self._slots: dict[Address, _Slots] = {}
        self._queries: dict[int, _Query] = {}
        self._realtime: dict[Kind, list[_Query]] = {kind: [] for kind in Kind}
        self._unread: set[int] = set()
        """Agents that came into scope, of whom no whole set has told yet."""

    # ---- queries ----

    def listening(self, query: int, listen: Listen) -> None:
        """Note that *query* runs; nothing of it is a resource before its first complete reading.

        Changes of the directory have no first reading.
        """
        self._run(query, _Query(listen, complete=listen.source is Source.DIRECTORY))

    def refused(self, query: int, listen: Listen) -> set[Address]:
        """Note that *listen* cannot be had: its resources are shown without that source."""
        refused = _Query(listen, complete=True, refused=True)
        self._run(query, refused)
        return self._covered(refused)

    def stopped(self, query: int) -> set[Address]:
        """Note that *query* ended: what only it told is forgotten. Directory objects stay."""
        gone = self._queries.pop(query, None)
        if gone is None:
            return set()
        source, covered = gone.listen.source, self._covered(gone)
        if source is Source.REALTIME and gone.listen.kind is not None:
            self._realtime[gone.listen.kind].remove(gone)
        others = [q for q in self._queries.values() if q.listen.source is source and not q.refused]
        for address in covered:
            if source is not Source.DIRECTORY and not any(other.covers(*address) for other in others):
                self._slots[address].parts.pop(source, None)
                self._slots[address].read_at_ms.pop(source, None)
                if source is Source.REALTIME:
                    self._slots[address].left_at_ms = None
        return covered

    @property
    def settled(self) -> bool:
        """Whether every query has answered once."""
        return all(query.complete for query in self._queries.values())

    # ---- readings ----

    def read(self, reading: Reading) -> set[Address]:
        """Take in a reading; returns the resources that may have changed. Unknown queries are ignored."""
        query = self._queries.get(reading.query)
        if query is None:
            return set()
        if query.whole_at_ms is not None and reading.time_ms < query.whole_at_ms:
            self.late += len(reading.parts) + len(reading.removed)
            return set()
        changed: set[Address] = set()
        if reading.complete:
            query.whole_at_ms = reading.time_ms
            changed = self._told(query) if query.complete else self._covered(query) | self._told(query)
            query.complete = True
        for part in reading.parts:
            if self._take((part.kind, part.number), reading.source, part, reading.time_ms):
                changed.add((part.kind, part.number))
        for address in self._absent(query, reading):
            if self._take(address, reading.source, None, reading.time_ms):
                changed.add(address)
        return changed

    def directory(self, parts: Iterable[Part]) -> set[Address]:
        """Take in the whole directory; objects absent from it are gone."""
        known = {(part.kind, part.number): part for part in parts}
        lost = {a for a, slots in self._slots.items() if Source.DIRECTORY in slots.parts} - known.keys()
        for address, part in known.items():
            self._slot(address).parts[Source.DIRECTORY] = part
        for address in lost:
            del self._slots[address].parts[Source.DIRECTORY]
        return lost | known.keys()

    def object(self, address: Address, part: Part | None) -> set[Address]:
        """Take in that one directory object was added, changed, or removed (None)."""
        if part is not None:
            self._slot(address).parts[Source.DIRECTORY] = part
        elif address in self._slots:
            self._slots[address].parts.pop(Source.DIRECTORY, None)
        return {address}

    def gained(self, agents: frozenset[int]) -> None:
        """Note that *agents* came into scope: absence says nothing before the whole set that follows."""
        self._unread |= agents

    def keep(self, scope: Scope) -> set[Address]:
        """Forget all that is outside *scope*, the union of what the sessions may see."""
        self._unread &= scope.agents
        outside = {(kind, number) for kind, number in self._slots if number not in scope.of(kind)}
        for address in outside:
            del self._slots[address]
        return outside

    # ---- resources ----

    def parts(self, address: Address) -> Parts | None:
        """Return what a resource is made of now, or None when there is no such resource."""
        slots = self._slots.get(address)
        directory = None if slots is None else slots.parts.get(Source.DIRECTORY)
        if slots is None or directory is None:
            return None
        kind, number = address
        queries = [query for query in self._realtime[kind] if query.complete and query.covers(kind, number)]
        if not queries:
            return None
        readable = not all(query.refused for query in queries)
        realtime = slots.parts.get(Source.REALTIME)
        if realtime is None and readable and (kind is not Kind.AGENT or number in self._unread):
            return None
        return Parts(
            directory,
            realtime,
            slots.parts.get(Source.CUMULATIVE),
            slots.parts.get(Source.CONFIGURATION),
            readable,
            slots.left_at_ms if realtime is None else None,
        )

    def addresses(self) -> set[Address]:
        """Return what anything is known of."""
        return set(self._slots)

    def part(self, address: Address, source: Source) -> Part | None:
        """Return the newest part of one source."""
        slots = self._slots.get(address)
        return None if slots is None else slots.parts.get(source)

    # ---- inner ----

    def _run(self, number: int, query: _Query) -> None:
        self._queries[number] = query
        if query.listen.source is Source.REALTIME and query.listen.kind is not None:
            self._realtime[query.listen.kind].append(query)

    def _told(self, query: _Query) -> set[Address]:
        """Return the agents of whom a whole set of *query* tells for the first time."""
        if query.listen.source is not Source.REALTIME:
            return set()
        told = {number for number in self._unread if query.covers(Kind.AGENT, number)}
        self._unread -= told
        return {(Kind.AGENT, number) for number in told}

    def _slot(self, address: Address) -> _Slots:
        slots = self._slots.get(address)
        if slots is None:
            slots = self._slots[address] = _Slots()
        return slots

    def _take(self, address: Address, source: Source, part: Part | None, time_ms: int) -> bool:
        slots = self._slot(address)
        if time_ms < slots.read_at_ms.get(source, time_ms):
            self.late += 1
            return False
        slots.read_at_ms[source] = time_ms
        if part is slots.parts.get(source):
            return False
        if part is not None:
            slots.parts[source] = part
            return True
        del slots.parts[source]
        if source is Source.REALTIME:
            slots.left_at_ms = time_ms
        return True

    def _absent(self, query: _Query, reading: Reading) -> list[Address]:
        """Return what the reading says is no more."""
        absent: list[Address] = []
        if reading.kind is not None:
            absent += [(reading.kind, number) for number in reading.removed]
        if reading.complete:
            present = {(part.kind, part.number) for part in reading.parts}
            absent += [
                address
                for address, slots in self._slots.items()
                if reading.source in slots.parts and query.covers(*address) and address not in present
            ]
        return absent

    def _covered(self, query: _Query) -> set[Address]:
        return {address for address in self._slots if query.covers(*address)}
