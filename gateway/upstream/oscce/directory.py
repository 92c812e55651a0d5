"""Read the server's directory, its changes, and a session's scope and rights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from gateway.domain.commands import Directory, Dropped
from gateway.domain.model import WORD_CHARS, Kind, Right, Scope, readable, readable_or_none
from gateway.domain.resources import (
    Agent,
    Aggregate,
    Group,
    QueueEntry,
    Reason,
    ReasonKind,
    RoutingParameter,
    Skill,
)
from gateway.domain.upstream import CatalogueChanged, LinkEvent, ObjectChanged, Part, ScopeChanged, Source
from gateway.upstream.oscce.decode import (
    KINDS,
    MEDIA,
    RIGHTS,
    Count,
    Key,
    Read,
    References,
    Shape,
    UserSkill,
    WireElement,
    bound,
    ids,
    is_name,
    is_reference,
    own_name,
    parameter,
    skills,
)
from gateway.upstream.oscce.errors import UNREADABLE, WireError, read_as_meant, why_unreadable
from gateway.upstream.oscce.readings import Readings

_NO_KEYS: Final = msgspec.Raw(b"[]")


class Scoped(WireElement):
    """The objects that a session may see: lists of Keys, which are the same for many sessions."""

    users: msgspec.Raw = _NO_KEYS
    queues: msgspec.Raw = _NO_KEYS
    groups: msgspec.Raw = _NO_KEYS
    aggregates: msgspec.Raw = _NO_KEYS


def scope(told: Scoped, pool: Readings) -> Scope:
    """Map a scope.

    Raises:
        Exception: Any that msgspec raises on data that is no list of Keys.
    """
    return Scope(*(pool.keys(bytes(raw)) for raw in (told.users, told.queues, told.groups, told.aggregates)))


def rights(told: Iterable[object]) -> frozenset[Right]:
    """Map rights; unknown ones are left out."""
    return frozenset(RIGHTS[name] for name in told if isinstance(name, str) and name in RIGHTS)


T = TypeVar("T")
ElementT = TypeVar("ElementT", bound=WireElement)

REASON_KINDS: Final[dict[str, ReasonKind]] = {
    "UnavailableReason": "unavailable",
    "WorkReason": "work",
    "PostProcessingReason": "post_processing",
    "WrapupReason": "wrapup",
}
_REASONED: Final[dict[str, str]] = {
    name: own_name(name) for name in ("Available", "Unavailable", "Work", "LoggedOff", "PostProcessing")
}
"""States that may need a reason."""
_PARAMETRISED: Final[dict[str, str]] = {"Queue": "queue", "Group": "group"}
"""Objects with routing parameters. No page lists their data types, so each is shown as it is."""
CATALOGUES: Final = frozenset({"Skill", *REASON_KINDS, "RoutingParameter"})
DIRECTORY_KINDS: Final = (*KINDS, "Skill", *REASON_KINDS, "RoutingParameter")
"""All objects that can be queried."""


# ---- objects ----


class _User(WireElement):
    key: Key
    id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    extension: str | None = None
    group_keys: tuple[Key, ...] | None = None
    queue_keys: tuple[Key, ...] | None = None
    skills: tuple[UserSkill, ...] | None = None
    version: Count | None = None


def display_name(first: str | None, last: str | None, id_: str | None) -> str | None:
    """Return a person's display name: their names, or else their ID."""
    return readable(" ".join(filter(None, (first, last)))) or readable_or_none(id_)


def _user(told: _User) -> Part:
    agent = Agent(
        display_name=display_name(told.first_name, told.last_name, told.id),
        extension=readable_or_none(told.extension, WORD_CHARS),
        group_ids=ids(told.group_keys or ()),
        queue_ids=ids(told.queue_keys or ()),
        skills=skills(told.skills),
        version=told.version,
    )
    return Part(Kind.AGENT, told.key, Source.DIRECTORY, agent)


class _Queue(WireElement):
    key: Key
    name: str | None = None
    media: str | None = None
    skill_keys: tuple[Key, ...] | None = None


def _queue(told: _Queue) -> Part:
    queue = QueueEntry(
        name=readable_or_none(told.name),
        media=None if told.media is None else MEDIA.get(told.media, "unknown"),
        skill_ids=None if told.skill_keys is None else ids(told.skill_keys),
    )
    return Part(Kind.QUEUE, told.key, Source.DIRECTORY, queue)


class _Group(WireElement):
    key: Key
    name: str | None = None


def _group(told: _Group) -> Part:
    return Part(Kind.GROUP, told.key, Source.DIRECTORY, Group(name=readable_or_none(told.name)))


class _Aggregate(WireElement):
    key: Key
    name: str | None = None
    queue_keys: tuple[Key, ...] | None = None


def _aggregate(told: _Aggregate) -> Part:
    aggregate = Aggregate(name=readable_or_none(told.name), queue_ids=ids(told.queue_keys or ()))
    return Part(Kind.AGGREGATE, told.key, Source.DIRECTORY, aggregate)


def _shape(kind: Kind, element: type[ElementT], part: Callable[[ElementT], Part]) -> Shape:
    decode = msgspec.json.Decoder(element).decode
    read: Read = lambda raw, _, __: part(decode(raw))  # noqa: E731 - its type is the interface
    return Shape(kind, Source.DIRECTORY, read)


_OBJECTS: Final[dict[str, Shape]] = {
    "User": _shape(Kind.AGENT, _User, _user),
    "Queue": _shape(Kind.QUEUE, _Queue, _queue),
    "Group": _shape(Kind.GROUP, _Group, _group),
    "Aggregate": _shape(Kind.AGGREGATE, _Aggregate, _aggregate),
}


# ---- catalogues ----


class _Skill(WireElement):
    key: Key
    name: str | None = None
    level_min: Count | None = None
    level_max: Count | None = None
    preference_min: Count | None = None
    preference_max: Count | None = None


class _Reason(WireElement):
    key: Key
    name: str | None = None
    required_for: tuple[str, ...] | None = None


class _RoutingParameter(WireElement):
    name: str
    applies_to: str | tuple[str, ...]
    """One object type, or several."""
    data_type: str
    min: int | float | None = None
    max: int | float | None = None
    step: int | float | None = None
    values: tuple[Any, ...] | None = None
    unit: str | None = None
    read_only: bool | None = None
    default: Any = None


_Rows = tuple[msgspec.Raw, ...] | None


class _Catalogues(WireElement):
    skill: _Rows = None
    unavailable_reason: _Rows = None
    work_reason: _Rows = None
    post_processing_reason: _Rows = None
    wrapup_reason: _Rows = None
    routing_parameter: _Rows = None
    user: _Rows = None
    queue: _Rows = None
    group: _Rows = None
    aggregate: _Rows = None


class _Queried(WireElement):
    objects: _Catalogues


_decode_queried: Final = msgspec.json.Decoder(_Queried).decode
_decode_skill: Final = msgspec.json.Decoder(_Skill).decode
_decode_reason: Final = msgspec.json.Decoder(_Reason).decode
_decode_parameter: Final = msgspec.json.Decoder(_RoutingParameter).decode


class _RowReader:
    """Reads rows of the directory. An unreadable row is dropped, and the others are read."""

    def __init__(self) -> None:
        self._dropped: Counter[tuple[str, str]] = Counter()

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """The dropped rows, the most frequent fault first."""
        return tuple(Dropped(kind, why, rows) for (kind, why), rows in self._dropped.most_common())

    def read(self, kind: str, told: _Rows, read: Callable[[str | bytes], T]) -> list[T]:
        """Return the readable rows of one kind."""
        rows: list[T] = []
        for raw in told or ():
            try:
                rows.append(read_as_meant(read, bytes(raw)))
            except UNREADABLE as fault:
                self._dropped[kind, why_unreadable(fault)] += 1
        return rows


ROWS_AT_ONCE: Final = 64
"""Rows of the directory that are read in one slice: 1 to 3 ms."""


def directory(body: str | bytes, pool: Readings) -> Directory:
    """Read the answer to ``QueryDirectory``; the pool stores which routing parameters are references."""
    slices = directory_slices(body, pool)
    while True:
        try:
            next(slices)
        except StopIteration as done:
            read: Directory = done.value
            return read


def directory_slices(body: str | bytes, pool: Readings) -> Generator[None, None, Directory]:
    """Read a directory as :func:`directory` does; yields after each slice, and returns it."""
    told, sieve = _decode_queried(body).objects, _RowReader()
    parameters = sieve.read("RoutingParameter", told.routing_parameter, _decode_parameter)
    pool.refer(
        References(
            frozenset(each.name for each in parameters if _refers(each, "Queue")),
            frozenset(each.name for each in parameters if _refers(each, "Group")),
        )
    )
    yield
    parts: list[Part] = []
    rows = {"User": told.user, "Queue": told.queue, "Group": told.group, "Aggregate": told.aggregate}
    for name, listed in rows.items():
        read = partial(_object, name, pool)
        for at in range(0, len(listed or ()), ROWS_AT_ONCE):
            found = sieve.read(name, (listed or ())[at : at + ROWS_AT_ONCE], read)
            parts += [part for part in found if part is not None]
            yield
    return Directory(
        parts=tuple(parts),
        skills=tuple(_skill(each) for each in sieve.read("Skill", told.skill, _decode_skill)),
        reasons=tuple(_reasons(told, sieve)),
        parameters=tuple(_parameters(parameters)),
        dropped=sieve.dropped,
    )


def _object(name: str, pool: Readings, raw: str | bytes) -> Part | None:
    return pool.part(name, _OBJECTS[name], raw if isinstance(raw, bytes) else raw.encode())


def _skill(told: _Skill) -> Skill:
    return Skill(
        skill_id=str(told.key),
        name=readable_or_none(told.name),
        level_min=told.level_min,
        level_max=told.level_max,
        preference_min=told.preference_min,
        preference_max=told.preference_max,
    )


def _reasons(told: _Catalogues, sieve: _RowReader) -> Iterator[Reason]:
    rows = {
        "UnavailableReason": told.unavailable_reason,
        "WorkReason": told.work_reason,
        "PostProcessingReason": told.post_processing_reason,
        "WrapupReason": told.wrapup_reason,
    }
    for name, kind in REASON_KINDS.items():
        for each in sieve.read(name, rows[name], _decode_reason):
            states = tuple(_REASONED.get(state, "unknown") for state in each.required_for or ())
            yield Reason(str(each.key), kind, readable_or_none(each.name), states)


def _refers(told: _RoutingParameter, applies_to: str) -> bool:
    return applies_to in _object_types(told) and is_reference(told.data_type)


def _object_types(told: _RoutingParameter) -> tuple[str, ...]:
    return (told.applies_to,) if isinstance(told.applies_to, str) else told.applies_to


def _parameters(rows: Iterable[_RoutingParameter]) -> Iterator[RoutingParameter]:
    """Map routing parameters; one with several object types becomes one of each."""
    for told in rows:
        if is_name(told.name):
            for applies_to in dict.fromkeys(map(_applies_to, _object_types(told))):
                yield _parameter(told, applies_to)


def _applies_to(object_type: str) -> str:
    return _PARAMETRISED.get(object_type, "unknown")


def _parameter(told: _RoutingParameter, applies_to: str) -> RoutingParameter:
    reference = is_reference(told.data_type)
    values = None if told.values is None else [parameter(v, reference=reference) for v in told.values]
    return RoutingParameter(
        name=told.name,
        applies_to=applies_to,
        data_type=own_name(readable(told.data_type, WORD_CHARS)),
        min=bound(told.min),
        max=bound(told.max),
        step=bound(told.step),
        values=None if values is None else tuple(values),
        unit=readable_or_none(told.unit, WORD_CHARS),
        read_only=told.read_only,
        default=parameter(told.default, reference=reference),
    )


# ---- changes ----


_NULL: Final = msgspec.Raw(b"null")


class _Change(WireElement):
    object_type: str
    key: Key | str | None = None
    """A name where the object has no Key: routing parameters have none."""
    change: str | None = None
    object: msgspec.Raw = _NULL
    session: Count | None = None
    rights: tuple[Any, ...] | None = None
    scope: Scoped | None = None


_decode_change: Final = msgspec.json.Decoder(_Change).decode


def changes(raws: tuple[msgspec.Raw, ...], pool: Readings) -> tuple[LinkEvent, ...]:
    """Map the elements of one ``Administration`` event; changed catalogues become one event."""
    events: list[LinkEvent] = []
    for raw in raws:
        event = _change(_decode_change(raw), pool)
        if event is not None and not (isinstance(event, CatalogueChanged) and event in events):
            events.append(event)
    return tuple(events)


def _change(told: _Change, pool: Readings) -> LinkEvent | None:
    if told.object_type == "Session":
        return _rescoped(told, pool)
    if told.object_type in CATALOGUES:
        return CatalogueChanged()
    kind = KINDS.get(told.object_type)
    if kind is None:
        return None
    if not isinstance(told.key, int):
        raise WireError("an object changed that has no key")
    if told.change == "Removed":
        return ObjectChanged(kind, told.key, None)
    part = None if told.object == _NULL else _object(told.object_type, pool, bytes(told.object))
    # without the new object the directory must be queried again
    return CatalogueChanged() if part is None else ObjectChanged(kind, told.key, part)


def _rescoped(told: _Change, pool: Readings) -> ScopeChanged:
    if told.session is None or told.rights is None or told.scope is None:
        raise WireError("a session changed that has no alias, rights or scope")
    return ScopeChanged(told.session, rights(told.rights), scope(told.scope, pool))
