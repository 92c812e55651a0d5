"""Elements: values of resources, composed from parts that OSCC-E sent, and encoded once for all readers.

Pure functions from the parts of a resource to its value, and the encodings of that value.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from itertools import count
from operator import attrgetter
from typing import Final, TypeVar

from gateway.domain.model import EMPTY_SET, Kind, NextTables, SharedTable, UntrackedStruct, changed, value
from gateway.domain.resources import (
    STEADY_MS,
    Agent,
    Aggregate,
    Composed,
    Group,
    Handling,
    PostProcessing,
    Queue,
    QueueEntry,
    QueueFigures,
    QueueWindow,
    Resource,
    RoutingState,
)
from gateway.domain.upstream import Part, PartValue, Source
from gateway.protocol.codec import Codec, Members
from gateway.protocol.envelopes import SessionFacts, Value

_REALTIME: Final = Source.REALTIME
"""A name of its own, as each update asks for it."""


@value()
class Parts:
    """The newest value of each source of one resource, as one link received them, and when they were read."""

    directory: PartValue | None
    realtime: PartValue | None
    cumulative: PartValue | None
    configuration: PartValue | None
    key: str | None = None
    """The key of the resource in ledgers; None: no link holds these parts."""
    remote_number: str | None = field(default=None, repr=False)
    """Only of the own agent."""
    realtime_ms: int = 0
    """When the part was read (server clock), here and below; 0: never. Without a part, when it left."""
    cumulative_ms: int = 0


NOTHING: Final = Parts(None, None, None, None)
UNREADABLE: Final = Agent(routing_state=RoutingState.UNKNOWN)
"""Shown as an agent's realtime part while there is no realtime data: a user missing in it is logged off only
when there is some.
"""


def with_part(parts: Parts, source: Source, part: Part | None, left_at_ms: int = 0) -> Parts:
    """Return *parts* with another part of one source, or without.

    *left_at_ms*: when a realtime part that is no more left.
    """
    value, time_ms = (None, 0) if part is None else (part.value, part.time_ms)
    if source is _REALTIME:
        number = None if part is None else part.remote_number
        return changed(parts, realtime=value, realtime_ms=time_ms or left_at_ms, remote_number=number)
    if source is Source.CUMULATIVE:
        return changed(parts, cumulative=value, cumulative_ms=time_ms)
    if source is Source.CONFIGURATION:
        return changed(parts, configuration=value)
    return changed(parts, directory=value)


def part_of(parts: Parts, source: Source) -> PartValue | None:
    """Return the part of one source."""
    match source:
        case Source.DIRECTORY:
            return parts.directory
        case Source.REALTIME:
            return parts.realtime
        case Source.CUMULATIVE:
            return parts.cumulative
        case Source.CONFIGURATION:
            return parts.configuration


def time_of(parts: Parts, source: Source) -> int | None:
    """Return when the part of one source was read; None: there is none."""
    if part_of(parts, source) is None:
        return None
    match source:
        case Source.REALTIME:
            return parts.realtime_ms
        case Source.CUMULATIVE:
            return parts.cumulative_ms
        case Source.DIRECTORY | Source.CONFIGURATION:
            return 0


def holds(parts: Parts, source: Source, part: Part) -> bool:
    """Return whether *parts* have just this *part* of one source already."""
    if part.value is not part_of(parts, source) or part.time_ms != time_of(parts, source):
        return False
    return source is not Source.REALTIME or part.remote_number == parts.remote_number


_NUMBERS: Final = count(1)
_NEVER_FRAMED: Final = "facts of sessions are never framed"


class _Patch(UntrackedStruct):
    """The fields in which an element differs from the one with that *number*, in one codec."""

    number: int
    codec: str
    fragment: bytes | None


class Element(UntrackedStruct):
    """One immutable value, with each of its encodings made at most twice per codec.

    Invariant: the value never changes, so all readers may hold the same element. Encodings of the whole value
    and of the patch from the element that most readers hold are kept from the second request on, since most
    are needed once.
    """

    lasting: Value | None
    """None: it is composed when it is needed, as a queue takes more memory than its parts."""
    parts: Parts | None = None
    """The parts of which it was composed, under :attr:`offset_ms`; None: it was not composed."""
    offset_ms: int = 0
    _number: int = 0
    """A number that no other element of the process has; 0: none was assigned yet."""
    _fragments: dict[str, bytes | None] | str | None = None
    _patches: tuple[_Patch, ...] | None = None
    """The kept patches, all from one element: none after the first request; None before it."""

    @property
    def value(self) -> Value:
        """The value."""
        if self.lasting is not None:
            return self.lasting
        if self.parts is None:
            raise ValueError(_UNKNOWN)
        return compose(self.parts, self.offset_ms)

    def fragment(self, codec: Codec) -> bytes:
        """Return the whole value in the encoding of *codec*."""
        kept = self._fragments
        if kept is None:
            self._fragments = codec.name
            return codec.fragment(_framed(self.value))
        if isinstance(kept, str):
            kept = self._fragments = {kept: None}
        made = kept.get(codec.name)
        if made is None:
            made = codec.fragment(_framed(self.value))
            kept[codec.name] = made if codec.name in kept else None
        return made

    def keep(self, codec: Codec) -> bool:
        """Encode the whole value and keep it; False: it was kept already."""
        kept = self._fragments
        if not isinstance(kept, dict):
            kept = self._fragments = {} if kept is None else {kept: None}
        if kept.get(codec.name) is not None:
            return False
        kept[codec.name] = codec.fragment(_framed(self.value))
        return True

    def patch(self, before: Element, codec: Codec, *, keep: bool = False) -> bytes | None:
        """Return the fields that differ from *before*, or None when none does.

        *keep*: whether to keep it from the first request on, as it is needed again soon.
        """
        kept = self._patches
        if kept:
            for each in kept:
                if each.number == before._number and each.codec == codec.name:
                    return each.fragment
        mine, theirs = self.parts, before.parts
        if (
            mine is not None
            and theirs is not None
            and before.offset_ms == self.offset_ms
            and before.lasting is None is self.lasting
            and type(old := theirs.realtime) is type(new := mine.realtime) is QueueFigures
            and old.oldest_since_ms == new.oldest_since_ms  # then no patch has it
            and theirs.directory is mine.directory  # as _OTHERS compares, for nearly all
            and theirs.cumulative is mine.cumulative
            and theirs.configuration is mine.configuration
        ):  # mostly only the figures of a queue differ
            fragment = codec.patch_fragment(old, new)
        elif type(self.lasting) is Queue and type(before.lasting) is Queue:  # from another node
            fragment = codec.patch_fragment(before.lasting, self.lasting)
        else:
            fragment = codec.patch_fragment(*_differing(before, self))
        if kept is None and not keep:
            self._patches = ()
            return fragment
        number = before._number = before._number or next(_NUMBERS)
        others = [each for each in kept or () if each.number == number]
        self._patches = (_Patch(number, codec.name, fragment), *others)
        return fragment


PATCHES_MAX: Final = 64
"""Limit of the keys of one call of :func:`patches_of`."""


def patches_of(
    dirty: Mapping[str, object], elements: Mapping[str, Element], codec: Codec, size_bytes: int
) -> list[tuple[str, bytes]] | None:
    """Return the patches from the bases in *dirty* to the present *elements*: the usual case.

    Args:
        dirty: Keys that the readers may see, each with the readers' element.
        elements: The newest elements.
        codec: Encodes patches.
        size_bytes: The size limit of all patches.

    Returns:
        None where a reader needs more than patches, or they are too many.
    """
    if len(dirty) > PATCHES_MAX:
        return None
    patches: list[tuple[str, bytes]] = []
    for key, base in dirty.items():
        element = elements.get(key)
        if element is None or not isinstance(base, Element):
            return None
        fragment = None if element is base else element.patch(base, codec)
        if fragment is not None:
            patches.append((key, fragment))
            size_bytes -= len(fragment) + len(key)
    return patches if size_bytes > 0 else None


def value_once(element: Element, made: dict[Element, Value]) -> Value:
    """Return the value of *element*; *made* keeps it, so that users who share the element share the value."""
    value = made.get(element) if element.lasting is None else element.lasting
    if value is None:
        value = made[element] = element.value
    return value


def _differing(before: Element, after: Element) -> tuple[Resource | QueueFigures, Resource | QueueFigures]:
    """Return what differs in two values of one key: the figures of a queue, if all else is the same."""
    mine, theirs = after.parts, before.parts
    is_dated_alike = before.offset_ms == after.offset_ms and before.lasting is None is after.lasting
    if mine is not None and theirs is not None and is_dated_alike:
        old, new = theirs.realtime, mine.realtime
        if type(old) is QueueFigures and type(new) is QueueFigures and _OTHERS(theirs) == _OTHERS(mine):
            return _in_gateway_time(old, before.offset_ms), _in_gateway_time(new, after.offset_ms)
    return _framed(before.value), _framed(after.value)


_OTHERS: Final = attrgetter("directory", "cumulative", "configuration")
"""The parts of all sources but realtime; mostly they are the same objects."""


def _in_gateway_time(figures: QueueFigures, offset_ms: int) -> QueueFigures:
    oldest_ms = figures.oldest_since_ms
    if oldest_ms is None or not (offset_ms or oldest_ms < 0):
        return figures
    return changed(figures, oldest_since_ms=_shift(oldest_ms, offset_ms))


class ChangeSet:
    """Changes of several shared keys, the same for all ledgers with the same elements before.

    Args:
        changes: Each key with its element before and its present one, which has another value.
    """

    __slots__ = ("_followed", "_seen_by", "_written", "befores", "elements")

    def __init__(self, changes: Iterable[tuple[str, Element | None, Element]]) -> None:
        self.befores: Final[dict[str, Element | None]] = {}
        self.elements: Final[dict[str, Element]] = {}
        for key, before, element in changes:
            self.befores[key], self.elements[key] = before, element
        self._seen_by: Mapping[str, None] | None = None
        """The keys of the view of the last request, if it sees all of these."""
        self._written: dict[str, Members] = {}
        """All patches, by codec."""
        self._followed: tuple[ChangeSet, ChangeSet] | None = None
        """The last argument of :meth:`then`, and its result."""

    def __len__(self) -> int:
        return len(self.elements)

    def is_within(self, keys: Mapping[str, None]) -> bool:
        """Return whether all keys are among *keys*. The answer for the last ones is kept."""
        if keys is not self._seen_by:
            if not self.elements.keys() <= keys.keys():
                return False
            self._seen_by = keys
        return True

    def then(self, later: ChangeSet) -> ChangeSet:
        """Return these changes and the *later* ones as one set. The last result is kept.

        So readers that missed the same changes share one set and its patches.
        """
        if self._followed is None or self._followed[0] is not later:
            both = ChangeSet(())
            both.befores.update(later.befores)
            both.befores.update(self.befores)
            both.elements.update(self.elements)
            both.elements.update(later.elements)
            self._followed = later, both
        return self._followed[1]

    def patches(self, codec: Codec) -> Members | None:
        """Return all patches, encoded once in each codec.

        None: some key had no element, so there is no patch.
        """
        made = self._written.get(codec.name)
        if made is None:
            patches = []
            for key, element in self.elements.items():
                before = self.befores[key]
                if before is None:
                    return None
                fragment = element.patch(before, codec)
                if fragment is not None:
                    patches.append((key, fragment))
            made = self._written[codec.name] = codec.members(patches)
        return made


_NO_CHANGES: Final = ChangeSet(())
STEPS_MOST: Final = 4
"""Kept steps of one reading: links that have just opened differ from the others for a while."""
OPEN_STEPS: Final = 32
"""Number of steps whose tables can be taken over. It bounds the tables that only steps hold."""
COMPARED_EVERY: Final = 64
"""After so many steps, links with tables of their own compare them with those of others again."""


class ReadingStep:
    """The effect of one reading on all links in the same state.

    A step applies only to a link that received the reading's bytes, held *parts_before*, showed
    *shown_before*, and has a clock *offset_ms* ahead of the server's. *numbers* and *keys* are those of the
    reading's parts, in order.
    """

    __slots__ = (
        "__weakref__", "changed", "changes", "compares_tables", "is_open", "keys", "numbers", "offset_ms",
        "other_times_ms", "parts_after", "parts_before", "rereads", "sent_tables", "shown_after",
        "shown_before", "shown_tables",
    )  # fmt: skip

    def __init__(
        self,
        numbers: list[int],
        keys: list[str],
        parts_before: list[Parts | None],
        shown_before: list[Element | None],
        offset_ms: int,
    ) -> None:
        self.numbers, self.keys = numbers, keys
        self.parts_before, self.shown_before = parts_before, shown_before
        self.offset_ms = offset_ms
        self.parts_after: dict[str, Parts] = {}
        self.shown_after: dict[str, Element] = {}
        """Parts and shown elements after the reading, by key."""
        self.other_times_ms: dict[str, int] = {}
        """The reading's time for each key whose part has another time."""
        self.rereads: list[tuple[int, str, int | None, int | None]] = []
        """Where :attr:`parts_after` has another link's part from another source than the reading's: the place
        of that source, the key, and when the link's own part and that one were read; None: there is none.
        """
        self.changed: frozenset[int] = EMPTY_SET
        """The numbers whose shown element differs now."""
        self.changes = _NO_CHANGES
        """The shown elements of each."""
        self.sent_tables: Final = NextTables[Parts]()
        self.shown_tables: Final = NextTables[Element]()
        """The links' tables of received parts and of shown elements after it."""
        self.compares_tables = False
        """Whether links compare their tables after it."""
        self.is_open = False
        """Whether it is one of :class:`OpenSteps`: only then it may hold tables."""

    def applies(self, parts: list[Parts | None], shown: list[Element | None], offset_ms: int) -> bool:
        """Return whether this step applies to a link that holds *parts* and shows *shown*."""
        return self.shown_before == shown and self.parts_before == parts and self.offset_ms == offset_ms

    def applies_to_tables(
        self, sent: SharedTable[Parts] | None, shown: SharedTable[Element] | None, offset_ms: int
    ) -> bool:
        """Return whether this step applies to a link that shares tables with one to which it applied."""
        has_next = self.sent_tables.has_next(sent) and self.shown_tables.has_next(shown)
        return has_next and self.offset_ms == offset_ms

    def close(self) -> None:
        """Forget all tables."""
        self.is_open = False
        self.sent_tables.close()
        self.shown_tables.close()


class OpenSteps:
    """The steps that hold tables: the newest ones of all links of a node, and older ones taken lately."""

    def __init__(self) -> None:
        self._steps: deque[weakref.ref[ReadingStep]] = deque()
        self._count = 0

    def note(self, step: ReadingStep) -> None:
        """Record a new step."""
        self._count += 1
        step.compares_tables = not self._count % COMPARED_EVERY
        self.open(step)

    def open(self, step: ReadingStep) -> None:
        """Let a step hold tables, for links that come to it now; close another one in its place."""
        step.is_open = True
        self._steps.append(weakref.ref(step))
        if len(self._steps) > OPEN_STEPS:
            oldest = self._steps.popleft()()
            if oldest is not None:
                oldest.close()


def _framed(value: Value) -> Resource:
    if isinstance(value, SessionFacts):
        raise TypeError(_NEVER_FRAMED)
    return value


_UNKNOWN: Final = "nothing is a resource before its directory object is known"
R = TypeVar("R", Agent, Queue, Group, Aggregate)
PartT = TypeVar("PartT", bound=PartValue)
Address = tuple[Kind, int]


def composed_element(parts: Parts, before: Element | None, other: Element | None, offset_ms: int) -> Element:
    """Return the element of *parts* after *before*; *other* is the one that another link shows."""
    composed = value = compose(parts, offset_ms)
    old = None if before is None else before.value
    if before is not None and isinstance(old, Composed):
        value = steady(old, composed)
        if value == old:
            return before
    if other is not None and _is_jitter(other, composed):
        return other
    return Element(None if value is composed and type(composed) is Queue else value, parts, offset_ms)


def queue_element(parts: Parts, before: Element | None, offset_ms: int) -> Element | None:
    """Return the element of a queue after *before*, without composing it.

    None: it has to be composed, as more than its realtime figures may differ.
    """
    if type(parts.directory) is not QueueEntry:
        return None
    if before is None:
        return Element(None, parts, offset_ms)
    others = before.parts
    if others is None or before.offset_ms != offset_ms or before.lasting is not None:
        return None
    old, new = others.realtime, parts.realtime
    if (
        type(old) is not QueueFigures
        or type(new) is not QueueFigures
        or (
            (  # nearly all hold the same objects: their content is not compared
                others.directory is not parts.directory
                or others.cumulative is not parts.cumulative
                or others.configuration is not parts.configuration
            )
            and _OTHERS(others) != _OTHERS(parts)
        )
    ):
        return None
    shown_ms, oldest_ms = old.oldest_since_ms, new.oldest_since_ms
    if shown_ms != oldest_ms:
        if _is_before_1970(shown_ms, offset_ms) or _is_before_1970(oldest_ms, offset_ms):
            return None
        new = changed(new, oldest_since_ms=_kept(shown_ms, oldest_ms))
    if new == old:
        return before
    return Element(None, parts if new is parts.realtime else changed(parts, realtime=new), offset_ms)


def converged(parts: Parts, element: Element) -> Parts:
    """Return the parts of which *element* was composed, for a link whose resource is shown as *element*.

    So links that receive equal parts at other instants soon share one step. The link's own parts stay where
    both differ in a field that *element* does not show, but a later one may.
    """
    others = element.parts
    if others is None or others is parts:
        return parts
    if parts.realtime is UNREADABLE or others.realtime is UNREADABLE:
        return parts
    if parts.remote_number != others.remote_number:
        return parts
    return others if all(map(_hide_the_same, _pieces(parts), _pieces(others))) else parts


def _pieces(parts: Parts) -> tuple[PartValue | None, ...]:
    return parts.directory, parts.realtime, parts.cumulative, parts.configuration


def _hide_the_same(mine: PartValue | None, theirs: PartValue | None) -> bool:
    """Return whether two parts of one source agree in the fields that :func:`compose` may leave out.

    These are an extension behind another one, and skills of a lower version.
    """
    if mine is theirs:
        return True
    if mine is None or theirs is None:
        return False
    if not isinstance(mine, Agent) or not isinstance(theirs, Agent):
        return True
    return (mine.extension, mine.version, mine.skills) == (theirs.extension, theirs.version, theirs.skills)


BEHIND_MS: Final = 60_000
"""How far a link may be behind others. A larger difference means that the server's clock was set back."""


def is_earlier(element: Element, newest: Element | None) -> bool:
    """Return whether *element* is of an earlier reading than *newest*, to which its link comes soon."""
    mine, others = element.parts, None if newest is None else newest.parts
    if mine is None or others is None:
        return False
    earlier_ms = max(others.realtime_ms, others.cumulative_ms) - max(mine.realtime_ms, mine.cumulative_ms)
    return 0 < earlier_ms < BEHIND_MS


def differ_by_jitter(one: PartValue, other: PartValue) -> bool:
    """Return whether two parts of one resource and source differ at most by instants within the jitter."""
    return type(one) is type(other) and (one == other or steady(one, other) == one)


def _is_jitter(shown: Element, composed: Composed) -> bool:
    """Return whether *composed* differs from the shown element only by instants within the jitter."""
    value = shown.value
    return isinstance(value, Composed) and steady(value, composed) == value


def steady(before: PartValue, after: PartT) -> PartT:
    """Return *after* with the instants of *before* where they differ only by jitter.

    An instant is kept only while the value that it dates stays the same.
    """
    instants = _instants(before, after) if type(before) is type(after) else {}
    kept = changed(after, **instants) if instants else after
    return after if kept == after else kept


def _instants(before: PartValue, after: PartValue) -> dict[str, object]:
    """Return the fields of *after* that have instants, with those of *before* where these are kept."""
    if isinstance(before, Agent) and isinstance(after, Agent):
        return _agent_instants(before, after)
    instants: dict[str, object] = {}
    if isinstance(before, Queue | QueueFigures | Aggregate) and isinstance(
        after, Queue | QueueFigures | Aggregate
    ):
        instants["oldest_since_ms"] = _kept(before.oldest_since_ms, after.oldest_since_ms)
    if isinstance(before, Queue | QueueWindow) and isinstance(after, Queue | QueueWindow):
        instants["window_start_ms"] = _kept(before.window_start_ms, after.window_start_ms)
    return instants


def _agent_instants(before: Agent, after: Agent) -> dict[str, object]:
    since_ms = after.routing_state_since_ms
    if before.routing_state is after.routing_state:
        since_ms = _kept(before.routing_state_since_ms, since_ms)
    return {
        "routing_state_since_ms": since_ms,
        "handling": _contacts(before.handling, after.handling),
        "post_processing": _post_processing(before.post_processing, after.post_processing),
        "app_absent_since_ms": _kept(before.app_absent_since_ms, after.app_absent_since_ms),
        "day_start_ms": _kept(before.day_start_ms, after.day_start_ms),
    }


def _contacts(before: tuple[Handling, ...], after: tuple[Handling, ...]) -> tuple[Handling, ...]:
    if not (before and after):
        return after
    held = {(contact.contact_id, contact.state): contact.since_ms for contact in before}
    return tuple([_contact(each, held.get((each.contact_id, each.state))) for each in after])


def _contact(after: Handling, before_ms: int | None) -> Handling:
    since_ms = _kept(before_ms, after.since_ms)
    if since_ms == after.since_ms:
        return after
    return Handling(after.contact_id, after.media, after.state, since_ms, after.direct, after.queue_id)


def _post_processing(before: PostProcessing | None, post: PostProcessing | None) -> PostProcessing | None:
    if before is None or post is None:
        return post
    since_ms, ends_ms = _kept(before.since_ms, post.since_ms), _kept(before.ends_at_ms, post.ends_at_ms)
    return changed(post, since_ms=since_ms, ends_at_ms=ends_ms)


def _kept(before_ms: int | None, after_ms: int | None) -> int | None:
    if before_ms is None or after_ms is None:
        return after_ms
    return before_ms if abs(after_ms - before_ms) <= STEADY_MS else after_ms


def compose(parts: Parts, offset_ms: int) -> Composed:
    """Compose the parts of one resource, in gateway time."""
    if parts.directory is None:
        raise ValueError(_UNKNOWN)
    return _COMPOSE[type(parts.directory)](parts, offset_ms)


def _agent(parts: Parts, offset_ms: int) -> Agent:
    known = _value(parts.directory, _NO_AGENT)
    now = _absent_agent(parts) if parts.realtime is None else _value(parts.realtime, _NO_AGENT)
    day = _value(parts.cumulative, _NO_AGENT)
    skilled = _newest(
        known, _value(parts.configuration, _NO_AGENT), has_configuration=parts.configuration is not None
    )
    return Agent(
        display_name=known.display_name,
        extension=now.extension or known.extension,
        group_ids=known.group_ids,
        queue_ids=known.queue_ids,
        skills=skilled.skills,
        routing_state=now.routing_state,
        routing_state_since_ms=_shift(now.routing_state_since_ms, offset_ms),
        reason_id=now.reason_id,
        routing_state_by=now.routing_state_by,
        pending_routing_state=now.pending_routing_state,
        pending_by=now.pending_by,
        pending_reason_id=now.pending_reason_id,
        pending_post_processing=now.pending_post_processing,
        handling=now.handling and _handling(now.handling, offset_ms),
        post_processing=now.post_processing
        and changed(
            now.post_processing,
            since_ms=_shift(now.post_processing.since_ms, offset_ms),
            ends_at_ms=_shift(now.post_processing.ends_at_ms, offset_ms),
        ),
        auto_post_processing=now.auto_post_processing,
        media=now.media,
        presence_state=now.presence_state,
        logged_on_remotely=now.logged_on_remotely,
        app_present=now.app_present,
        app_absent_since_ms=_shift(now.app_absent_since_ms, offset_ms),
        handled_today=day.handled_today,
        talk_s_today=day.talk_s_today,
        day_start_ms=_shift(day.day_start_ms, offset_ms),
        allowed_actions=now.allowed_actions,
        version=skilled.version,
    )


def _handling(contacts: tuple[Handling, ...], offset_ms: int) -> tuple[Handling, ...]:
    return tuple(
        [
            Handling(h.contact_id, h.media, h.state, _shift(h.since_ms, offset_ms), h.direct, h.queue_id)
            for h in contacts
        ]
    )


def _absent_agent(parts: Parts) -> Agent:
    return Agent(
        routing_state=RoutingState.LOGGED_OFF,
        routing_state_since_ms=parts.realtime_ms or None,
        logged_on_remotely=False,
    )


def _newest(known: Agent, configured: Agent, *, has_configuration: bool) -> Agent:
    """Return the skills of the directory or the configuration, whichever has the higher version."""
    if not has_configuration or (known.version or 0) > (configured.version or 0):
        return known
    return configured


def _queue(parts: Parts, offset_ms: int) -> Queue:
    directory, realtime, cumulative = parts.directory, parts.realtime, parts.cumulative
    configuration = parts.configuration
    known = directory if type(directory) is QueueEntry or type(directory) is Queue else _NO_QUEUE
    now = realtime if type(realtime) is QueueFigures or type(realtime) is Queue else _NO_QUEUE
    window = cumulative if type(cumulative) is QueueWindow or type(cumulative) is Queue else _NO_QUEUE
    configured = configuration if type(configuration) is Queue else _NO_QUEUE
    oldest_ms, window_ms = now.oldest_since_ms, window.window_start_ms
    return Queue(  # by place, in the order of its fields: most updates are this
        known.name,
        known.media,
        known.skill_ids,
        now.contacts_waiting,
        None if oldest_ms is None else _shift(oldest_ms, offset_ms),
        now.service_level_pct,
        now.service_level_threshold_s,
        now.service_level_formula,
        now.abandoned_rate_pct,
        now.estimated_wait_s,
        now.agents_logged_on,
        now.agents_available,
        now.agents_handling,
        now.agents_post_processing,
        now.agents_unavailable,
        now.agents_work,
        None if window_ms is None else _shift(window_ms, offset_ms),
        window.received,
        window.answered,
        window.abandoned,
        window.average_wait_s,
        window.maximum_wait_s,
        now.level,
        configured.routing_parameters,
        configured.version,
    )


def _group(parts: Parts, _: int) -> Group:
    configured = _value(parts.configuration, _NO_GROUP)
    return changed(
        _value(parts.realtime, _NO_GROUP),
        name=_value(parts.directory, _NO_GROUP).name,
        routing_parameters=configured.routing_parameters,
        version=configured.version,
    )


def _aggregate(parts: Parts, offset_ms: int) -> Aggregate:
    known = _value(parts.directory, _NO_AGGREGATE)
    now = _value(parts.realtime, _NO_AGGREGATE)
    return changed(
        now,
        name=known.name,
        queue_ids=known.queue_ids,
        oldest_since_ms=_shift(now.oldest_since_ms, offset_ms),
    )


_COMPOSE: Final[dict[type[PartValue], Callable[[Parts, int], Composed]]] = {
    Agent: _agent,
    QueueEntry: _queue,
    Queue: _queue,
    Group: _group,
    Aggregate: _aggregate,
}
"""By the type of the directory's part."""
_NO_AGENT: Final = Agent()
_NO_QUEUE: Final = Queue()
_NO_GROUP: Final = Group()
_NO_AGGREGATE: Final = Aggregate()


def _value(part: PartValue | None, nothing: R) -> R:
    """Return a part; *nothing* for a missing one."""
    return part if isinstance(part, type(nothing)) else nothing


def _shift(instant_ms: int | None, offset_ms: int) -> int | None:
    """Return an instant in gateway time; frames have none from before 1970."""
    if instant_ms is None or _is_before_1970(instant_ms, offset_ms):
        return None
    return instant_ms + offset_ms


def _is_before_1970(instant_ms: int | None, offset_ms: int) -> bool:
    return instant_ms is not None and instant_ms + offset_ms < 0
