"""Assembly: the present parts of a user's resources, from one link, and the composer that links share.

The composer makes each distinct element once per node, however many links deliver it.

An assembly applies the readings of one link, in any order, to the newest parts of each resource, and returns
which resources may have changed. Rules: a complete reading is the whole set of its query. A user missing in
it is logged off; other kinds missing in it are gone. An element older than the held one of the same source,
or than the whole set that lacked it, is ignored and counted. A resource needs a directory object. Data that
no query covers is removed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

from gateway.core.element import (
    NOTHING,
    STEPS_MOST,
    UNREADABLE,
    Address,
    ChangeSet,
    Element,
    OpenSteps,
    Parts,
    ReadingStep,
    composed_element,
    converged,
    differ_by_jitter,
    holds,
    is_earlier,
    part_of,
    queue_element,
    time_of,
    with_part,
)
from gateway.core.link import Query
from gateway.domain.commands import Listen
from gateway.domain.model import (
    ALONE_MOST,
    EMPTY_SET,
    KEY_PREFIXES,
    KINDS,
    NO_ITEMS,
    QUEUE,
    Kind,
    Scope,
    SharedTable,
    TablePool,
    UntrackedStruct,
    changed,
    key_of,
    with_item,
)
from gateway.domain.upstream import PLACES, SOURCES, Part, Reading, Source
from gateway.protocol.envelopes import Value

_REALTIME: Final = Source.REALTIME
_CONFIGURATION: Final = Source.CONFIGURATION
"""Names of their own, as each update asks for them."""
_Change = tuple[str, Element, Element]
"""A key, the element shown before, and the present one."""


RowT = TypeVar("RowT")
CATALOGUES_MAX: Final = 64
"""Number of catalogues that are stored: each site has three, and others after a change."""


class Composer:
    """Composes elements from parts and shares them between all users of a node.

    Sharing is by value with the last element of a resource from any link. So no user is shown data that their
    own link did not deliver, except for instants within :data:`gateway.domain.resources.STEADY_MS`.
    """

    def __init__(self) -> None:
        self.late = 0
        """Number of elements that were older than the known ones, and ignored."""
        self.readings = 0
        """Number of readings of all links."""
        self.newest: Final[dict[str, Element | None]] = {}
        """The element of each resource that some link showed last, while any link holds the resource."""
        self._more_holders: dict[str, int] = {}
        """Number of links that hold a resource, beside the first; mostly there are none."""
        self._catalogues: dict[tuple[int, object], tuple[object, Element]] = {}
        self.sent_tables: Final = TablePool[Parts]()
        self.shown_tables: Final = TablePool[Element]()
        self.open_steps: Final = OpenSteps()

    def catalogue(self, rows: tuple[RowT, ...], make: Callable[[tuple[RowT, ...]], Value]) -> Element:
        """Return the element of a catalogue: one for all users who have received the same object."""
        key = id(rows), make
        found = self._catalogues.get(key)
        if found is None or found[0] is not rows:
            if len(self._catalogues) >= CATALOGUES_MAX:
                self._catalogues.clear()
            found = self._catalogues[key] = rows, Element(make(rows))
        return found[1]

    def holders(self, key: str) -> int:
        """Return how many links hold a resource that some link holds."""
        return self._more_holders.get(key, 0) + 1

    def hold(self, address: Address) -> str:
        """Return the key of a resource, for a link that holds it until :meth:`release`."""
        key = key_of(*address)
        if key in self.newest:
            self._more_holders[key] = self._more_holders.get(key, 0) + 1
        else:
            self.newest[key] = None
        return key

    def release(self, key: str) -> None:
        """Release a resource that a link held."""
        more = self._more_holders.pop(key, 0)
        if more > 1:
            self._more_holders[key] = more - 1
        elif not more:
            del self.newest[key]

    def element(
        self, parts: Parts, before: Element | None, offset_ms: int, like: Element | None = None
    ) -> Element:
        """Return the element of *parts*, following *before*; *offset_ms* is gateway minus server clock.

        While nothing changes, *before* stays, with its own instants. A changed or first element is replaced
        by that of other links when both differ only by jitter: so a thousand links hold one element. *like*:
        the element that another link showed after the same reading, if that is known.
        """
        key, shown = parts.key, self.newest
        other = like if key is None or like is not None else shown.get(key)
        if other is before:
            other = None
        elif before is None and other is not None and other.parts == parts and other.offset_ms == offset_ms:
            return other
        made = queue_element(parts, before, offset_ms) if other is None else None
        if made is None:
            made = composed_element(parts, before, other, offset_ms)
        if made is not before and made is not like and key is not None and key in shown:
            shown[key] = shown[key] if is_earlier(made, shown[key]) else made
        return made

    def first_step(
        self, reading: Reading, step: ReadingStep, other: ReadingStep | None
    ) -> ReadingStep | None:
        """Compute *step* and record it for other links that receive the same; None: as :meth:`_computed`."""
        is_plain, steps = self._computed(reading, step, other), reading.steps
        if is_plain and steps is not None:
            steps.append(step)
            del steps[:-STEPS_MOST]
            self.open_steps.note(step)
        return step if is_plain else None

    def _computed(self, reading: Reading, step: ReadingStep, other: ReadingStep | None) -> bool:
        """Compute the effect of *reading* in *step*; False: it is no plain change of shown elements.

        Elements of the *other* step of this reading, from the state of another link, are taken where they are
        equal: the newest ones of other links may be of a later reading.
        """
        likes = NO_ITEMS if other is None else other.shown_after
        changed: list[int] = []
        changes: list[tuple[str, Element, Element]] = []
        is_realtime, own_place = reading.source is Source.REALTIME, PLACES[reading.source]
        for part, key, before, held in zip(
            reading.parts, step.keys, step.parts_before, step.shown_before, strict=True
        ):
            if before is None or held is None or before.directory is None:
                return False
            if not is_realtime and before.realtime is None:
                return False
            after = with_part(before, reading.source, part)
            element = step.shown_after[key] = self.element(after, held, step.offset_ms, likes.get(key))
            kept = step.parts_after[key] = converged(after, element)
            if part.time_ms != reading.time_ms or time_of(kept, reading.source) != reading.time_ms:
                step.other_times_ms[key] = reading.time_ms
            if kept is not after:
                step.rereads += [each for each in _rereads(key, after, kept) if each[0] != own_place]
            if element is not held:
                changes.append((key, held, element))
                changed.append(part.number)
        step.changed = frozenset(changed)
        if changes:
            step.changes = ChangeSet(changes)
        return len(step.parts_after) == len(step.numbers)


def _rereads(key: str, mine: Parts, others: Parts) -> Iterator[tuple[int, str, int | None, int | None]]:
    """Yield the place of each source whose part was read at another time in *others*, with both times."""
    for source, place in PLACES.items():
        before_ms, after_ms = time_of(mine, source), time_of(others, source)
        if before_ms != after_ms:
            yield place, key, before_ms, after_ms


class _ReadTimes(UntrackedStruct):
    """When the resources of one kind were last read from one source (server clock).

    Mostly that is the time of the held part or of the last whole set. Only other times are stored, in
    *others_ms*: of absent parts, and of parts that are held in place of newer ones. *newest_ms*: the latest
    time of all. While no other time is stored, a part of that time needs no :meth:`read`.
    """

    others_ms: dict[str, int] | None = None
    newest_ms: int = 0
    _whole_ms: int = 0

    def last_ms(self, key: str, held_ms: int | None) -> int:
        """Return when a resource was last read; 0: never. *held_ms*: when its part was read, or None."""
        if self.others_ms is not None and key in self.others_ms:
            return self.others_ms[key]
        return 0 if held_ms is None else max(held_ms, self._whole_ms)

    def read(self, key: str, held_ms: int | None, time_ms: int) -> None:
        """Record that a resource was read at *time_ms*, and holds the part that was read at *held_ms*."""
        newer_ms = self._whole_ms
        if held_ms is not None and held_ms > newer_ms:
            newer_ms = held_ms
        if held_ms is None or newer_ms != time_ms:
            self._others()[key] = time_ms
        elif self.others_ms:
            self.others_ms.pop(key, None)

    def read_whole(self, time_ms: int) -> None:
        """Record that a whole set was read at *time_ms*; :meth:`read` follows for every resource."""
        self._whole_ms = max(self._whole_ms, time_ms)
        self.newest_ms = max(self.newest_ms, time_ms)

    def read_all(self, step: ReadingStep) -> None:
        """Record that all resources of *step* were read, and their parts are held."""
        if self.others_ms:
            for key in step.keys:
                self.others_ms.pop(key, None)
        if step.other_times_ms:
            self._others().update(step.other_times_ms)

    def forget(self, key: str) -> None:
        """Remove the time of a resource without a part."""
        if self.others_ms is not None:
            self.others_ms.pop(key, None)

    def _others(self) -> dict[str, int]:
        if self.others_ms is None:
            self.others_ms = {}
        return self.others_ms


class _KindParts(UntrackedStruct):
    """What one link received of the resources of one kind."""

    prefix: str
    """The beginning of their keys."""
    times: list[_ReadTimes | None]
    """By the place of a source in :data:`gateway.domain.upstream.SOURCES`."""
    sent: dict[str, Parts] = NO_ITEMS
    """By the key of the resource in ledgers, which takes a third less than by its number."""
    shared: SharedTable[Parts] | None = None
    """The table that contains *sent* and that other links hold, too; None: it is the link's own."""
    queries: tuple[Query, ...] = ()
    """The queries for realtime data."""
    covers_all: bool = False
    """Whether some query reads all of them."""

    def times_of(self, source: Source) -> _ReadTimes:
        """Return when they were read from *source*."""
        place = PLACES[source]
        found = self.times[place]
        if found is None:
            found = self.times[place] = _ReadTimes()
        return found

    def own(self) -> dict[str, Parts]:
        """Return what was received, in a table that no other link holds."""
        if self.shared is not None:
            self.sent, self.shared = self.shared.leave(), None
        return self.sent

    def hold(self, table: SharedTable[Parts]) -> None:
        """Hold a table that other links may hold, too."""
        self.sent, self.shared = table.items, table
        if table.alone > ALONE_MOST:
            self.own()

    def converge(self, key: str, mine: Parts, others: Parts) -> None:
        """Hold the parts *others* in place of *mine*; their times of reading stay."""
        if others is not mine:
            self.reread(_rereads(key, mine, others))
            self.own()[key] = others

    def reread(self, rereads: Iterable[tuple[int, str, int | None, int | None]]) -> None:
        """Keep when resources were read, whose parts are those of another link from now on."""
        for place, key, before_ms, after_ms in rereads:
            times = self.times[place]
            if times is not None:
                times.read(key, after_ms, times.last_ms(key, before_ms))

    def numbered(self) -> Iterator[tuple[int, Parts]]:
        """Return what was received of each resource, with its number."""
        start = len(self.prefix)
        return ((int(key[start:]), sent) for key, sent in self.sent.items())


_PLACES: Final = {kind: place for place, kind in enumerate(KINDS)}


class Assembly:
    """The newest parts that one link received.

    Invariant: of each resource and source it holds the part with the greatest reading time; of equal times
    the one that came last. Where a part differs from the shown element only by jitter, it may hold the part
    of which that element was composed.
    """

    __slots__ = (
        "__weakref__", "_composer", "_kinds", "_missing", "_queries", "_unread", "is_unshown",
        "lacks_realtime", "late",
    )  # fmt: skip

    def __init__(self, composer: Composer | None = None) -> None:
        self.late = 0
        self.is_unshown = False
        """Whether its user has been shown nothing yet. Until then the part of other links is held where the
        own one differs only by jitter.
        """
        self.lacks_realtime = False
        """Whether resources are shown without realtime data that may still come."""
        self._composer = Composer() if composer is None else composer
        self._kinds: tuple[_KindParts | None, ...] = (None,) * len(KINDS)
        """By place; None: nothing of that kind was received, or is subscribed to."""
        self._queries: dict[int, Query] = {}
        self._missing: frozenset[int] = EMPTY_SET
        """Queries without which resources are shown, until their first complete reading."""
        self._unread: frozenset[int] = EMPTY_SET
        """Agents that came into scope and have not been in a whole set since."""

    def __del__(self) -> None:
        """Release what other links may still hold."""
        for _, here in self._known():
            for sent in here.sent.values():
                self._release(sent)

    # ---- queries ----

    def listening(self, query: int, listen: Listen) -> None:
        """Record that *query* runs; its data belongs to no resource before its first complete reading.

        Changes of the directory have no first reading.
        """
        self._run(query, Query(listen, complete=listen.source is Source.DIRECTORY))

    def refused(self, query: int, listen: Listen) -> set[Address]:
        """Record that *listen* is refused: its resources are shown without that source."""
        refused = Query(listen, complete=True, refused=True)
        self._run(query, refused)
        return self._covered(refused)

    def do_without(self, query: int) -> set[Address]:
        """Show resources without the missing data of *query*, until its first complete reading."""
        late = self._queries.get(query)
        if late is None or late.complete:
            return set()
        late.complete = late.refused = True
        self._set_missing(self._missing | {query})
        return self._covered(late)

    def stopped(self, query: int) -> set[Address]:
        """Record that *query* ended: data that only it covered is removed. Directory objects stay."""
        gone = self._queries.pop(query, None)
        self._set_missing(self._missing - {query})
        if gone is None:
            return set()
        source, covered = gone.listen.source, self._covered(gone)
        if source is Source.REALTIME and gone.listen.kind is not None:
            here = self._of(gone.listen.kind)
            here.queries = tuple(each for each in here.queries if each is not gone)
            self._queries_changed()
        others = [q for q in self._queries.values() if q.listen.source is source and not q.refused]
        for kind, number in covered:
            if source is not Source.DIRECTORY and not any(other.covers(kind, number) for other in others):
                here, key = self._of(kind), key_of(kind, number)
                here.own()[key] = with_part(here.sent[key], source, None)
                here.times_of(source).forget(key)
        return covered

    def runs(self, query: int) -> bool:
        """Return whether *query* is known."""
        return query in self._queries

    def awaits(self, query: int) -> bool:
        """Return whether the first complete reading of *query* is missing."""
        return query in self._queries and not self._queries[query].complete

    def lacks(self, query: int) -> bool:
        """Return whether resources are shown without *query* until its first complete reading."""
        return query in self._missing

    @property
    def settled(self) -> bool:
        """Whether every query has delivered once."""
        return all(query.complete for query in self._queries.values())

    def has_delivered(self, listens: Iterable[Listen]) -> bool:
        """Return whether all data that *listens* cover was read once, or was refused."""
        queries = self._queries.values()
        for listen in listens:
            for query in queries:
                if query.listen.kind is listen.kind and query.has_delivered(listen):
                    break
            else:
                return False
        return True

    # ---- readings ----

    def read(self, reading: Reading) -> set[Address]:
        """Apply a reading; return the resources that may have changed. Unknown queries are ignored."""
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
            changed = self._gained(query) if query.has_arrived else self._covered(query) | self._gained(query)
            query.complete, query.refused = True, False
            self._queries_changed()
            self._set_missing(self._missing - {reading.query})
            self._read_whole(query, reading)
        for part in reading.parts:
            if self._take((part.kind, part.number), reading.source, part, reading.time_ms):
                changed.add((part.kind, part.number))
        for address in self._absent(query, reading):
            if self._take(address, reading.source, None, reading.time_ms):
                changed.add(address)
        return changed

    def follow(
        self,
        reading: Reading,
        shown: Mapping[str, Element],
        offset_ms: int,
        scope: Scope | None,
        shared: SharedTable[Element] | None = None,
    ) -> ReadingStep | None:
        """Apply a reading like :meth:`read`, if it only changes shown resources.

        *scope* has the resources that may be shown; None: all shown ones may. *shared*: with whom *shown* is
        shared. *offset_ms* is gateway minus server clock.

        Returns:
            The changes. None, and nothing was applied, when :meth:`read` is needed.
        """
        kind, source, time_ms = reading.kind, reading.source, reading.time_ms
        here = None if kind is None else self._kinds[_PLACES[kind]]
        if kind is None or here is None or not self._is_plain(reading, here):
            return None
        times = here.times_of(source)
        if time_ms < times.newest_ms:
            return None
        step = self._step(reading, here, shown, offset_ms, shared)
        if step is None or (scope is not None and not step.changed <= scope.of(kind)):
            return None
        if not step.is_open:
            self._composer.open_steps.open(step)
        if here.shared is not None and step.parts_after:
            here.hold(step.sent_tables.apply(here.shared, step.parts_after))
        elif step.parts_after:
            here.sent.update(step.parts_after)
        times.read_all(step)
        times.newest_ms = time_ms
        if step.rereads:
            here.reread(step.rereads)
        return step

    def follow_one(
        self, reading: Reading, shown: Mapping[str, Element], offset_ms: int, scope: Scope | None
    ) -> _Change | None:
        """Apply a reading of a single part like :meth:`follow`; no other link is known to have received it.

        Returns:
            The key, and the elements shown before and now, which may be equal. None, and nothing was applied,
                when :meth:`read` is needed.
        """
        kind, source, part = reading.kind, reading.source, reading.parts[0]
        if kind is None or reading.query not in self._queries or source is _CONFIGURATION:
            return None
        here, time_ms = self._kinds[_PLACES[kind]] or self._of(kind), reading.time_ms
        number, times, sent = part.number, here.times[PLACES[source]] or here.times_of(source), here.sent
        before = sent.get(here.prefix + str(number))
        if (
            before is None
            or (key := before.key) is None
            or (held := shown.get(key)) is None
            or before.directory is None
            or time_ms < times.newest_ms
            or here.shared is not None
            or not here.covers_all
            or (scope is not None and number not in scope.of(kind))
            or (before.realtime is None and source is not _REALTIME)
        ):
            return None
        if source is _REALTIME:  # as with_part, a call less for each update
            value, read_ms, number_shown = part.value, part.time_ms, part.remote_number
            after = changed(before, realtime=value, realtime_ms=read_ms, remote_number=number_shown)
        else:
            after = with_part(before, source, part)
        newest = self._composer.newest
        is_own = kind is QUEUE and newest.get(key) is held  # no other link has shown another one since
        element = queue_element(after, held, offset_ms) if is_own else None
        if element is None:
            element = self._composer.element(after, held, offset_ms)
        else:  # as Composer.element, a call less for each update
            newest[key] = element
        sent[key], times.newest_ms = after, time_ms
        if times.others_ms or part.time_ms != time_ms:
            times.read(key, part.time_ms, time_ms)
        if element.parts is not after:
            here.converge(key, after, converged(after, element))
        return key, held, element

    def _step(
        self,
        reading: Reading,
        here: _KindParts,
        shown: Mapping[str, Element],
        offset_ms: int,
        shared: SharedTable[Element] | None,
    ) -> ReadingStep | None:
        """Return the step from the state of this link.

        A step of another link with the same state is reused.
        """
        if reading.steps is None:
            if here.shared is None:
                return None
            reading.steps = []  # as if other links had received the same, since its table is theirs, too
        if here.shared is not None and shared is not None:
            for each in reading.steps:
                if isinstance(each, ReadingStep) and each.applies_to_tables(here.shared, shared, offset_ms):
                    return each
        steps = [each for each in reading.steps if isinstance(each, ReadingStep)]
        numbers = steps[0].numbers if steps else [part.number for part in reading.parts]
        keys = steps[0].keys if steps else [here.prefix + str(number) for number in numbers]
        befores, held = list(map(here.sent.get, keys)), list(map(shown.get, keys))
        for step in steps:
            if step.applies(befores, held, offset_ms):
                return step
        made = ReadingStep(numbers, keys, befores, held, offset_ms)
        return self._composer.first_step(reading, made, steps[-1] if steps else None)

    def directory(self, parts: Iterable[Part]) -> set[Address]:
        """Apply the whole directory; objects that are not in it are removed."""
        known = {(part.kind, part.number): part for part in parts}
        lost = {
            (kind, number)
            for kind, here in self._known()
            for number, each in here.numbered()
            if each.directory is not None
        } - known.keys()
        for address, part in known.items():
            self._know(address, part)
        for address in lost:
            self._know(address, None)
        return lost | known.keys()

    def object(self, address: Address, part: Part | None) -> set[Address]:
        """Apply an added, changed, or removed (None) directory object."""
        kind, number = address
        if part is not None or key_of(kind, number) in self._of(kind).sent:
            self._know(address, part)
        return {address}

    def gained(self, agents: frozenset[int]) -> None:
        """Record that *agents* came into scope: until the next whole set they may be missing in it."""
        self._unread |= agents

    def keep(self, scope: Scope) -> set[Address]:
        """Remove all data outside *scope*, the union of the scopes of the sessions."""
        self._unread = self._unread & scope.agents or EMPTY_SET
        outside: set[Address] = set()
        for kind, here in self._known():
            inside, start = scope.of(kind), len(here.prefix)
            for key in [key for key in here.sent if int(key[start:]) not in inside]:
                outside.add((kind, int(key[start:])))
                self._release(here.own().pop(key))
                for times in filter(None, here.times):
                    times.forget(key)
        return outside

    # ---- resources ----

    def parts(self, address: Address) -> Parts | None:
        """Return the present parts of a resource, or None when there is no such resource."""
        kind, number = address
        here = self._of(kind)
        sent = here.sent.get(key_of(kind, number))
        if sent is None or sent.directory is None:
            return None
        if sent.realtime is not None and here.covers_all:
            return sent
        queries = [query for query in here.queries if query.complete and query.covers(kind, number)]
        if not queries:
            return None
        if sent.realtime is not None:
            return sent
        if all(query.refused for query in queries):
            return changed(sent, realtime=UNREADABLE) if kind is Kind.AGENT else sent
        return None if kind is not Kind.AGENT or number in self._unread else sent

    def show(self, address: Address, parts: Parts, element: Element) -> None:
        """Record that a resource of *parts*, which :meth:`parts` returned, is shown as *element*."""
        kind, number = address
        if parts.realtime is not UNREADABLE:
            self._of(kind).converge(key_of(kind, number), parts, converged(parts, element))

    def share_tables(self) -> int:
        """Hold the tables of other links, where they are equal; return how many links may have equal ones."""
        first = next((key for _, here in self._known() for key in here.sent), "")
        links, pool = self._composer.holders(first), self._composer.sent_tables
        if links > 1:
            for _, here in self._known():
                here.hold(pool.share(here.prefix, here.shared or SharedTable(here.sent), links))
        return links

    def addresses(self) -> set[Address]:
        """Return the resources with received data."""
        return {(kind, number) for kind, here in self._known() for number, _ in here.numbered()}

    @property
    def size(self) -> int:
        """Number of resources with received data."""
        return sum([len(here.sent) for _, here in self._known()])

    def received(self, address: Address) -> Parts:
        """Return everything that was received of a resource, shown or not."""
        kind, number = address
        here = self._kinds[_PLACES[kind]]
        return NOTHING if here is None else here.sent.get(key_of(kind, number), NOTHING)

    # ---- inner ----

    def _of(self, kind: Kind) -> _KindParts:
        place = _PLACES[kind]
        found = self._kinds[place]
        if found is None:
            found = _KindParts(KEY_PREFIXES[kind], [None] * len(SOURCES))
            self._kinds = (*self._kinds[:place], found, *self._kinds[place + 1 :])
        return found

    def _known(self) -> list[tuple[Kind, _KindParts]]:
        """Return the kinds of which something was received, or is subscribed to."""
        return [(kind, here) for kind, here in zip(KINDS, self._kinds, strict=True) if here is not None]

    def _queries_changed(self) -> None:
        """Record that a query has ended or sent its whole set."""
        for _, here in self._known():
            here.covers_all = any(query.covers_all for query in here.queries)

    def _run(self, number: int, query: Query) -> None:
        """Record a query, which has not sent its whole set yet."""
        self._queries[number] = query
        if query.listen.source is Source.REALTIME and query.listen.kind is not None:
            self._of(query.listen.kind).queries += (query,)

    def _note_late(self, elements: int) -> None:
        self.late += elements
        self._composer.late += elements

    def _set_missing(self, queries: frozenset[int]) -> None:
        """Record the queries without which resources are shown."""
        self._missing = queries or EMPTY_SET
        sources = [self._queries[query].listen.source for query in queries]
        self.lacks_realtime = Source.REALTIME in sources

    def _is_plain(self, reading: Reading, here: _KindParts) -> bool:
        """Return whether a reading contains only present values of resources that some query covers."""
        if reading.complete or reading.removed or reading.source is Source.CONFIGURATION:
            return False
        return reading.query in self._queries and here.covers_all

    def _note_time(self, reading: Reading) -> None:
        if reading.kind is not None:
            times = self._of(reading.kind).times_of(reading.source)
            times.newest_ms = max(times.newest_ms, reading.time_ms)

    def _read_whole(self, query: Query, reading: Reading) -> None:
        """Record the time of a whole set. Its parts and absences are applied afterwards."""
        if query.listen.numbers is None:
            for kind, here in self._known():
                if here.sent and query.listen.kind in (None, kind):
                    here.times_of(reading.source).read_whole(reading.time_ms)

    def _gained(self, query: Query) -> set[Address]:
        """Return the agents that are in a whole set of *query* for the first time."""
        if query.listen.source is not Source.REALTIME:
            return set()
        sent = {number for number in self._unread if query.covers(Kind.AGENT, number)}
        self._unread = self._unread - sent or EMPTY_SET
        return {(Kind.AGENT, number) for number in sent}

    def _keep(self, address: Address, sent: Parts) -> None:
        key = sent.key
        if key is None:
            key = self._composer.hold(address)
            sent = changed(sent, key=key)
        here = self._of(address[0])
        if here.shared is not None:
            here.own()
        here.sent = with_item(here.sent, key, sent)

    def _release(self, sent: Parts) -> None:
        if sent.key is not None:
            self._composer.release(sent.key)

    def _of_another_link(self, before: Parts, part: Part, source: Source) -> Part:
        """Return the part of the element that another link shows, if *part* differs only by jitter.

        So a thousand links that open at once do not hold a thousand copies.
        """
        element = self._composer.newest.get(before.key or key_of(part.kind, part.number))
        others = None if element is None else element.parts
        theirs = None if others is None else part_of(others, source)
        if others is None or theirs is None or not differ_by_jitter(theirs, part.value):
            return part
        number = others.remote_number if source is Source.REALTIME else None
        if number != part.remote_number:
            return part
        return Part(part.kind, part.number, source, theirs, number, time_of(others, source) or 0)

    def _know(self, address: Address, part: Part | None) -> None:
        kind, number = address
        before = self._of(kind).sent.get(key_of(kind, number), NOTHING)
        if before is NOTHING or (None if part is None else part.value) is not before.directory:
            if part is not None and self.is_unshown:
                part = self._of_another_link(before, part, Source.DIRECTORY)
            self._keep(address, with_part(before, Source.DIRECTORY, part))

    def _take(self, address: Address, source: Source, part: Part | None, time_ms: int) -> bool:
        kind, number = address
        here, key = self._of(kind), key_of(kind, number)
        before = after = here.sent.get(key, NOTHING)
        times, held_ms = here.times_of(source), time_of(before, source)
        if time_ms < times.last_ms(key, held_ms):
            self._note_late(1)
            return False
        if part is not None and not holds(before, source, part):
            if self.is_unshown:
                part = self._of_another_link(before, part, source)
            after = with_part(before, source, part)
        elif part is None and held_ms is not None:
            after = with_part(before, source, None, time_ms)
        self._keep(address, after)
        times.read(key, time_of(after, source), time_ms)
        return after is not before

    def _absent(self, query: Query, reading: Reading) -> list[Address]:
        """Return the resources that the reading removes."""
        absent: list[Address] = []
        if reading.kind is not None:
            absent += [(reading.kind, number) for number in reading.removed]
        if reading.complete:
            present: defaultdict[Kind, set[int]] = defaultdict(set)
            for part in reading.parts:
                present[part.kind].add(part.number)
            absent += [
                (kind, number)
                for kind, here in self._known()
                if here.sent and query.listen.kind in (None, kind)
                for number, sent in here.numbered()
                if number not in present[kind]
                and part_of(sent, reading.source) is not None
                and query.covers(kind, number)
            ]
        return absent

    def _covered(self, query: Query) -> set[Address]:
        numbers = query.listen.numbers
        return {
            (kind, number)
            for kind, here in self._known()
            if query.listen.kind in (None, kind)
            for number, _ in here.numbered()
            if numbers is None or number in numbers
        }
