"""Assembly: the present parts of a user's resources, from one link.

Folds the readings of one link, in whatever order they come, into the newest parts of each
resource, and tells which resources may have changed. Rules: a complete reading is the whole
set of its query; a user absent from it is logged off, other kinds absent are gone; an element
older than the held one of the same source, or than the whole set that lacked it, is ignored and
counted; nothing is a resource before its directory object is known; what no query covers any
more is forgotten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import product

from gateway.core.compose import Parts
from gateway.core.link import Query
from gateway.core.told import PASTS_MOST, Address, News, Tellings, Told
from gateway.domain.link_requests import Listen
from gateway.domain.model import Kind, Scope
from gateway.domain.upstream import Part, Reading, Source


class Assembly:
    """The parts that one link has told.

    Invariant: of each resource and source it holds the part with the greatest reading time,
    the last of equal ones.

    Args:
        tellings: Shared by all links of a node.
    """

    def __init__(self, tellings: Tellings | None = None) -> None:
        self.late = 0
        self._tellings = Tellings() if tellings is None else tellings
        self._told: dict[Kind, dict[int, Told]] = {kind: {} for kind in Kind}
        self._read_ms: defaultdict[tuple[Kind, Source], dict[int, int]] = defaultdict(dict)
        """When each source was last read, also when it said that there is nothing."""
        self._newest_ms: defaultdict[tuple[Kind, Source], int] = defaultdict(int)
        """No source was read later."""
        self._queries: dict[int, Query] = {}
        self._realtime: dict[Kind, list[Query]] = {kind: [] for kind in Kind}
        self._missing: set[int] = set()
        """Queries that are done without until their first complete reading comes."""
        self._unread: set[int] = set()
        """Agents that came into scope, of whom no whole set has told yet."""

    # ---- queries ----

    def listening(self, query: int, listen: Listen) -> None:
        """Note that *query* runs; nothing of it is a resource before its first complete reading.

        Changes of the directory have no first reading.
        """
        self._run(query, Query(listen, complete=listen.source is Source.DIRECTORY))

    def refused(self, query: int, listen: Listen) -> set[Address]:
        """Note that *listen* cannot be had: its resources are shown without that source."""
        refused = Query(listen, complete=True, refused=True)
        self._run(query, refused)
        return self._covered(refused)

    def do_without(self, query: int) -> set[Address]:
        """Show resources without what *query* has not told yet; its first complete reading ends that."""
        late = self._queries.get(query)
        if late is None or late.complete:
            return set()
        late.complete = late.refused = True
        self._missing.add(query)
        return self._covered(late)

    def stopped(self, query: int) -> set[Address]:
        """Note that *query* ended: what only it told is forgotten. Directory objects stay."""
        gone = self._queries.pop(query, None)
        self._missing.discard(query)
        if gone is None:
            return set()
        source, covered = gone.listen.source, self._covered(gone)
        if source is Source.REALTIME and gone.listen.kind is not None:
            self._realtime[gone.listen.kind].remove(gone)
        others = [q for q in self._queries.values() if q.listen.source is source and not q.refused]
        for kind, number in covered:
            if source is not Source.DIRECTORY and not any(other.covers(kind, number) for other in others):
                self._told[kind][number] = self._told[kind][number].with_part(source, None)
                self._read_ms[kind, source].pop(number, None)
        return covered

    def runs(self, query: int) -> bool:
        """Tell whether *query* is known."""
        return query in self._queries

    def awaits(self, query: int) -> bool:
        """Tell whether the first complete reading of *query* is waited for."""
        return query in self._queries and not self._queries[query].complete

    def lacks(self, query: int) -> bool:
        """Tell whether *query* is done without until it tells."""
        return query in self._missing

    @property
    def lacks_realtime(self) -> bool:
        """Whether realtime data is done without that may still come."""
        return any(self._queries[query].listen.source is Source.REALTIME for query in self._missing)

    @property
    def settled(self) -> bool:
        """Whether every query has answered once."""
        return all(query.complete for query in self._queries.values())

    def has_told(self, listens: Iterable[Listen]) -> bool:
        """Tell whether all that is asked for by *listens* was read once, or was refused."""
        return all(any(query.tells(listen) for query in self._queries.values()) for listen in listens)

    # ---- readings ----

    def read(self, reading: Reading) -> set[Address]:
        """Take in a reading; returns the resources that may have changed. Unknown queries are ignored."""
        query = self._queries.get(reading.query)
        if query is None:
            return set()
        if query.whole_at_ms is not None and reading.time_ms < query.whole_at_ms:
            self._note_late(len(reading.parts) + len(reading.removed))
            return set()
        changed: set[Address] = set()
        self._note_time(reading)
        if reading.complete:
            query.whole_at_ms = reading.time_ms
            changed = self._gained(query) if query.is_told else self._covered(query) | self._gained(query)
            query.complete, query.refused = True, False
            self._missing.discard(reading.query)
        for part in reading.parts:
            if self._take((part.kind, part.number), reading.source, part, reading.time_ms):
                changed.add((part.kind, part.number))
        for address in self._absent(query, reading):
            if self._take(address, reading.source, None, reading.time_ms):
                changed.add(address)
        return changed

    def follow(self, reading: Reading) -> News | None:
        """Take in a reading as :meth:`read` does, when all it says is what some resources are now.

        Returns:
            What has changed. None, and nothing was taken in, when the reading has to be read.
        """
        kind, source, time_ms = reading.kind, reading.source, reading.time_ms
        if kind is None or not self._is_plain(reading, kind) or time_ms < self._newest_ms[kind, source]:
            return None
        told, known = self._told[kind], self._tellings.news(reading)
        numbers = known[0].order if known else [part.number for part in reading.parts]
        before = list(map(told.get, numbers))
        news = next((news for news in known if news.before == before), None)
        if news is None:
            after = {
                part.number: (old or self._tellings.nothing((kind, part.number))).after(part)
                for old, part in zip(before, reading.parts, strict=True)
            }
            if len(after) < len(before):
                return None
            news = News(before, after, time_ms)
            known.append(news)
            del known[:-PASTS_MOST]
        told.update(news.after)
        self._read_ms[kind, source].update(news.read_ms)
        self._newest_ms[kind, source] = time_ms
        return news

    def directory(self, parts: Iterable[Part]) -> set[Address]:
        """Take in the whole directory; objects absent from it are gone."""
        known = {(part.kind, part.number): part for part in parts}
        lost = {
            told.address for told in self._all() if told.part(Source.DIRECTORY) is not None
        } - known.keys()
        for address, part in known.items():
            self._know(address, part)
        for address in lost:
            self._know(address, None)
        return lost | known.keys()

    def object(self, address: Address, part: Part | None) -> set[Address]:
        """Take in that one directory object was added, changed, or removed (None)."""
        if part is not None or self._find(address) is not None:
            self._know(address, part)
        return {address}

    def gained(self, agents: frozenset[int]) -> None:
        """Note that *agents* came into scope: absence says nothing before the whole set that follows."""
        self._unread |= agents

    def keep(self, scope: Scope) -> set[Address]:
        """Forget all that is outside *scope*, the union of what the sessions may see."""
        self._unread &= scope.agents
        outside: set[Address] = set()
        for kind, told in self._told.items():
            gone = told.keys() - scope.of(kind)
            outside.update((kind, number) for number in gone)
            for number in gone:
                del told[number]
            for number, source in product(gone, Source):
                self._read_ms[kind, source].pop(number, None)
        return outside

    # ---- resources ----

    def parts(self, address: Address) -> Parts | None:
        """Return what a resource is made of now, or None when there is no such resource."""
        told = self._find(address)
        directory = None if told is None else told.part(Source.DIRECTORY)
        if told is None or directory is None:
            return None
        kind, number = address
        queries = [query for query in self._realtime[kind] if query.complete and query.covers(kind, number)]
        if not queries:
            return None
        readable = not all(query.refused for query in queries)
        realtime = told.part(Source.REALTIME)
        if realtime is None and readable and (kind is not Kind.AGENT or number in self._unread):
            return None
        return Parts(
            directory,
            realtime,
            told.part(Source.CUMULATIVE),
            told.part(Source.CONFIGURATION),
            readable,
            told.left_at_ms,
        )

    def plain(self, address: Address) -> Told | None:
        """Return what is told of a resource that is there for sure; None: ask :meth:`parts`."""
        told = self._find(address)
        return told if told is not None and told.is_plain and self._covers_all(address[0]) else None

    def addresses(self) -> set[Address]:
        """Return what anything is known of."""
        return {told.address for told in self._all()}

    def part(self, address: Address, source: Source) -> Part | None:
        """Return the newest part of one source."""
        told = self._find(address)
        return None if told is None else told.part(source)

    # ---- inner ----

    def _run(self, number: int, query: Query) -> None:
        self._queries[number] = query
        if query.listen.source is Source.REALTIME and query.listen.kind is not None:
            self._realtime[query.listen.kind].append(query)

    def _note_late(self, elements: int) -> None:
        self.late += elements
        self._tellings.late += elements

    def _is_plain(self, reading: Reading, kind: Kind) -> bool:
        """Tell whether a reading only says what resources are now, all of which are read by some query."""
        query = self._queries.get(reading.query)
        if query is None or reading.complete or reading.removed or reading.source is Source.CONFIGURATION:
            return False
        return self._covers_all(kind)

    def _note_time(self, reading: Reading) -> None:
        if reading.kind is not None:
            at = (reading.kind, reading.source)
            self._newest_ms[at] = max(self._newest_ms[at], reading.time_ms)

    def _covers_all(self, kind: Kind) -> bool:
        """Tell whether some query reads whatever is of *kind*."""
        return any(query.covers_all for query in self._realtime[kind])

    def _gained(self, query: Query) -> set[Address]:
        """Return the agents of whom a whole set of *query* tells for the first time."""
        if query.listen.source is not Source.REALTIME:
            return set()
        told = {number for number in self._unread if query.covers(Kind.AGENT, number)}
        self._unread -= told
        return {(Kind.AGENT, number) for number in told}

    def _all(self) -> Iterator[Told]:
        for told in self._told.values():
            yield from told.values()

    def _find(self, address: Address) -> Told | None:
        kind, number = address
        return self._told[kind].get(number)

    def _known(self, address: Address) -> Told:
        return self._find(address) or self._tellings.nothing(address)

    def _know(self, address: Address, part: Part | None) -> None:
        kind, number = address
        before = self._known(address)
        after = before.with_part(Source.DIRECTORY, None) if part is None else before.after(part)
        self._told[kind][number] = after

    def _take(self, address: Address, source: Source, part: Part | None, time_ms: int) -> bool:
        kind, number = address
        read_ms = self._read_ms[kind, source]
        if time_ms < read_ms.get(number, time_ms):
            self._note_late(1)
            return False
        read_ms[number] = time_ms
        before = after = self._known(address)
        if part is not None:
            after = before.after(part)
        elif before.part(source) is not None:
            after = before.with_part(source, None, time_ms)
        self._told[kind][number] = after
        return after is not before

    def _absent(self, query: Query, reading: Reading) -> list[Address]:
        """Return what the reading says is no more."""
        absent: list[Address] = []
        if reading.kind is not None:
            absent += [(reading.kind, number) for number in reading.removed]
        if reading.complete:
            present: dict[Kind, set[int]] = {kind: set() for kind in Kind}
            for part in reading.parts:
                present[part.kind].add(part.number)
            absent += [
                (kind, number)
                for kind, told in self._told.items()
                for number in told.keys() - present[kind]
                if told[number].part(reading.source) is not None and query.covers(kind, number)
            ]
        return absent

    def _covered(self, query: Query) -> set[Address]:
        return {
            each.address
            for kind, told in self._told.items()
            if query.listen.kind in (None, kind)
            for number, each in told.items()
            if query.covers(kind, number)
        }
