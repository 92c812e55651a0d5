"""Read the server's directory, its changes, sessions with their scopes and rights, and notices."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from gateway.domain.commands import Directory, Dropped
from gateway.domain.model import (
    EMPTY_SET,
    WORD_CHARS,
    Kind,
    Right,
    Scope,
    SessionId,
    User,
    UserId,
    readable,
    readable_or_none,
)
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
from gateway.domain.upstream import (
    Announced,
    Attached,
    CatalogueChanged,
    LinkEvent,
    ObjectChanged,
    Part,
    ScopeChanged,
    Source,
)
from gateway.upstream.oscce.decode import (
    APPLICATIONS,
    CATEGORIES,
    KINDS,
    MEDIA,
    RIGHTS,
    Count,
    Key,
    Millis,
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
    spelled,
)
from gateway.upstream.oscce.errors import UNREADABLE, WireError, read_as_meant, why_unreadable
from gateway.upstream.oscce.readings import Catalogues, Readings, Rows

_NO_KEYS: Final = msgspec.Raw(b"[]")


class Scoped(WireElement):
    """The objects that a session may see: lists of Keys, which are the same for many sessions."""

    users: msgspec.Raw = _NO_KEYS
    queues: msgspec.Raw = _NO_KEYS
    groups: msgspec.Raw = _NO_KEYS
    aggregates: msgspec.Raw = _NO_KEYS


def scope(received: Scoped, pool: Readings) -> Scope:
    """Map a scope.

    Raises:
        Exception: Any that msgspec raises on data that is no list of Keys.
    """
    return Scope(
        *(
            pool.keys(bytes(raw))
            for raw in (received.users, received.queues, received.groups, received.aggregates)
        )
    )


def rights(received: Iterable[object]) -> frozenset[Right]:
    """Map rights; unknown ones are left out."""
    named = frozenset(RIGHTS[name] for name in received if isinstance(name, str) and name in RIGHTS)
    return named or EMPTY_SET


class ServerSession(WireElement):
    """A session in ``LinkOpened`` and ``AttachSession``."""

    session: Count
    id: str
    application: str | None = None
    rights: tuple[Any, ...] | None = None
    scope: Scoped | None = None
    own_user_key: Key | None = None


def attached(received: ServerSession, pool: Readings) -> Attached:
    """Map an attached session; missing fields give empty values."""
    return Attached(
        alias=received.session,
        session=SessionId(received.id),
        application=APPLICATIONS.get(received.application or ""),
        rights=rights(received.rights or ()),
        scope=scope(received.scope or Scoped(), pool),
        own_agent=received.own_user_key,
    )


T = TypeVar("T")
ElementT = TypeVar("ElementT", bound=WireElement)

REASON_KINDS: Final[dict[str, ReasonKind]] = {
    "UnavailableReason": "unavailable",
    "WorkReason": "work",
    "PostProcessingReason": "post_processing",
    "WrapupReason": "wrapup",
}
_REASONED: Final[dict[str, str]] = spelled("Available", "Unavailable", "Work", "LoggedOff", "PostProcessing")
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


def person(site: str, key: int, id_: str | None, first: str | None, last: str | None) -> User:
    """Map a user."""
    login = readable(id_ or "") or str(key)
    return User(UserId(site, key), login, display_name(first, last, login) or login)


def _user(received: _User) -> Part:
    agent = Agent(
        display_name=display_name(received.first_name, received.last_name, received.id),
        extension=readable_or_none(received.extension, WORD_CHARS),
        group_ids=ids(received.group_keys or ()),
        queue_ids=ids(received.queue_keys or ()),
        skills=skills(received.skills),
        version=received.version,
    )
    return Part(Kind.AGENT, received.key, Source.DIRECTORY, agent)


class _Queue(WireElement):
    key: Key
    name: str | None = None
    media: str | None = None
    skill_keys: tuple[Key, ...] | None = None


def _queue(received: _Queue) -> Part:
    queue = QueueEntry(
        name=readable_or_none(received.name),
        media=None if received.media is None else MEDIA.get(received.media, "unknown"),
        skill_ids=None if received.skill_keys is None else ids(received.skill_keys),
    )
    return Part(Kind.QUEUE, received.key, Source.DIRECTORY, queue)


class _Group(WireElement):
    key: Key
    name: str | None = None


def _group(received: _Group) -> Part:
    return Part(Kind.GROUP, received.key, Source.DIRECTORY, Group(name=readable_or_none(received.name)))


class _Aggregate(WireElement):
    key: Key
    name: str | None = None
    queue_keys: tuple[Key, ...] | None = None


def _aggregate(received: _Aggregate) -> Part:
    aggregate = Aggregate(name=readable_or_none(received.name), queue_ids=ids(received.queue_keys or ()))
    return Part(Kind.AGGREGATE, received.key, Source.DIRECTORY, aggregate)


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

    def add(self, dropped: Iterable[Dropped]) -> None:
        """Count rows that another reader has dropped."""
        for each in dropped:
            self._dropped[each.kind, each.why] += each.rows

    def read(self, kind: str, received: _Rows, read: Callable[[str | bytes], T]) -> list[T]:
        """Return the readable rows of one kind."""
        rows: list[T] = []
        for raw in received or ():
            try:
                rows.append(read_as_meant(read, bytes(raw)))
            except UNREADABLE as fault:
                self._dropped[kind, why_unreadable(fault)] += 1
        return rows


ROWS_AT_ONCE: Final = 64
"""Rows of the directory that are read in one slice: up to 3 ms, less if others have received the same."""


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
    received, sieve = _decode_queried(body).objects, _RowReader()
    catalogues = pool.catalogues(_catalogue_rows(received), partial(_read_catalogues, received))
    pool.refer(catalogues.references)
    sieve.add(catalogues.dropped)
    yield
    parts: list[Part] = []
    rows = {
        "User": received.user,
        "Queue": received.queue,
        "Group": received.group,
        "Aggregate": received.aggregate,
    }
    for name, listed in rows.items():
        read = partial(_object, name, pool)
        for at in range(0, len(listed or ()), ROWS_AT_ONCE):
            found = sieve.read(name, (listed or ())[at : at + ROWS_AT_ONCE], read)
            parts += [part for part in found if part is not None]
            yield
    return Directory(
        parts=tuple(parts),
        skills=catalogues.skills,
        reasons=catalogues.reasons,
        parameters=catalogues.parameters,
        dropped=sieve.dropped,
    )


def _catalogue_rows(received: _Catalogues) -> Rows:
    listed = (
        received.skill,
        received.unavailable_reason,
        received.work_reason,
        received.post_processing_reason,
        received.wrapup_reason,
        received.routing_parameter,
    )
    return tuple([tuple(map(bytes, rows or ())) for rows in listed])


def _read_catalogues(received: _Catalogues) -> Catalogues:
    sieve = _RowReader()
    parameters = sieve.read("RoutingParameter", received.routing_parameter, _decode_parameter)
    return Catalogues(
        skills=tuple(_skill(each) for each in sieve.read("Skill", received.skill, _decode_skill)),
        reasons=tuple(_reasons(received, sieve)),
        parameters=tuple(_parameters(parameters)),
        references=References(
            frozenset(each.name for each in parameters if _refers(each, "Queue")),
            frozenset(each.name for each in parameters if _refers(each, "Group")),
        ),
        dropped=sieve.dropped,
    )


def _object(name: str, pool: Readings, raw: str | bytes) -> Part | None:
    return pool.part(name, _OBJECTS[name], raw if isinstance(raw, bytes) else raw.encode())


def _skill(received: _Skill) -> Skill:
    return Skill(
        skill_id=str(received.key),
        name=readable_or_none(received.name),
        level_min=received.level_min,
        level_max=received.level_max,
        preference_min=received.preference_min,
        preference_max=received.preference_max,
    )


def _reasons(received: _Catalogues, sieve: _RowReader) -> Iterator[Reason]:
    rows = {
        "UnavailableReason": received.unavailable_reason,
        "WorkReason": received.work_reason,
        "PostProcessingReason": received.post_processing_reason,
        "WrapupReason": received.wrapup_reason,
    }
    for name, kind in REASON_KINDS.items():
        for each in sieve.read(name, rows[name], _decode_reason):
            states = tuple(_REASONED.get(state, "unknown") for state in each.required_for or ())
            yield Reason(str(each.key), kind, readable_or_none(each.name), states)


def _refers(received: _RoutingParameter, applies_to: str) -> bool:
    return applies_to in _object_types(received) and is_reference(received.data_type)


def _object_types(received: _RoutingParameter) -> tuple[str, ...]:
    return (received.applies_to,) if isinstance(received.applies_to, str) else received.applies_to


def _parameters(rows: Iterable[_RoutingParameter]) -> Iterator[RoutingParameter]:
    """Map routing parameters; one with several object types becomes one of each."""
    for received in rows:
        if is_name(received.name):
            for applies_to in dict.fromkeys(map(_applies_to, _object_types(received))):
                yield _parameter(received, applies_to)


def _applies_to(object_type: str) -> str:
    return _PARAMETRISED.get(object_type, "unknown")


def _parameter(received: _RoutingParameter, applies_to: str) -> RoutingParameter:
    reference = is_reference(received.data_type)
    values = None if received.values is None else [parameter(v, reference=reference) for v in received.values]
    return RoutingParameter(
        name=received.name,
        applies_to=applies_to,
        data_type=own_name(readable(received.data_type, WORD_CHARS)),
        min=bound(received.min),
        max=bound(received.max),
        step=bound(received.step),
        values=None if values is None else tuple(values),
        unit=readable_or_none(received.unit, WORD_CHARS),
        read_only=received.read_only,
        default=parameter(received.default, reference=reference),
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


def _change(received: _Change, pool: Readings) -> LinkEvent | None:
    if received.object_type == "Session":
        return _rescoped(received, pool)
    if received.object_type in CATALOGUES:
        return CatalogueChanged()
    kind = KINDS.get(received.object_type)
    if kind is None:
        return None
    if not isinstance(received.key, int):
        raise WireError("an object changed that has no key")
    if received.change == "Removed":
        return ObjectChanged(kind, received.key, None)
    part = None if received.object == _NULL else _object(received.object_type, pool, bytes(received.object))
    # without the new object the directory must be queried again
    return CatalogueChanged() if part is None else ObjectChanged(kind, received.key, part)


def _rescoped(received: _Change, pool: Readings) -> ScopeChanged:
    if received.session is None or received.rights is None or received.scope is None:
        raise WireError("a session changed that has no alias, rights or scope")
    return ScopeChanged(received.session, rights(received.rights), scope(received.scope, pool))


# ---- notices ----


_NOTICE: Final = "OSCC-E"
"""Title of a notice without one, or without any other text, and prefix of its id."""
_ID_CHARS: Final = 32
_MARK_CHARS: Final = 12
_TITLE_CHARS: Final = 200
_SUMMARY_CHARS: Final = 4_000
_LINK: Final = re.compile(r"https://[\x21-\x7e]{1,2000}")


class Notice(WireElement, tag_field="Type", tag="Notice"):
    """A message for people, of which any field may be absent or null."""

    id: str | None = None
    version: Count | None = None
    category: str | None = None
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    link: str | None = None
    effective_at: Millis | None = None


def announced(received: Notice) -> tuple[Announced, ...]:
    """Map a notice; None without content."""
    title = readable(received.title or "", _TITLE_CHARS)
    summary = readable(received.summary or received.text or "", _SUMMARY_CHARS)
    if not (title or summary):
        return ()
    return (
        Announced(
            id=_notice_id(readable(received.id or "", _SUMMARY_CHARS), f"{title}\0{summary}"),
            version=1 if received.version is None else received.version,
            category=CATEGORIES.get(received.category or "", "maintenance"),
            title=title if title and summary else _NOTICE,
            summary=summary or title,
            link=_link(received.link),
            effective_at_ms=received.effective_at,
        ),
    )


def _link(received: str | None) -> str | None:
    """Return an address that a phone may open."""
    return received if received is not None and _LINK.fullmatch(received) is not None else None


def _notice_id(received: str, text: str) -> str:
    """Return an id of at most 32 characters, by which a phone recognises a notice.

    Without a valid id, the id is a hash of the content, so another content has another id.
    """
    if 0 < len(received) <= _ID_CHARS:
        return received
    mark = hashlib.sha256((received or text).encode("utf-8", "surrogatepass")).hexdigest()[:_MARK_CHARS]
    return f"{(received or _NOTICE)[: _ID_CHARS - 1 - _MARK_CHARS]}-{mark}"
