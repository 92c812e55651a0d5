"""Decode the server's names, instants, figures and elements into those of the domain, and back.

Tables both ways, and the numbers that may stand on the wire. An unknown word becomes ``unknown`` where the
domain has such a value. There are elements of agents, queues, groups and aggregates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, cast

import msgspec

from gateway.domain.commands import TargetState, When
from gateway.domain.errors import EndReason
from gateway.domain.model import VALUE_CHARS, WORD_CHARS, Application, Kind, Right, readable, readable_or_none
from gateway.domain.resources import (
    Actor,
    Agent,
    AgentSkill,
    Aggregate,
    AutoPostProcessing,
    FunctionState,
    Group,
    Handling,
    HandlingState,
    Media,
    Medium,
    Parameter,
    PostProcessing,
    Queue,
    QueueFigures,
    QueueWindow,
    RoutingState,
    Scalar,
    Switch,
)
from gateway.domain.upstream import Category, Feature, FunctionName, Part, Source

MOST: Final = 2**53 - 1
"""Larger integers are no integers for a JSON peer (RFC 8259 §6)."""
Key = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
"""OSCC-E's Key of an object."""
Millis = Annotated[int, msgspec.Meta(ge=0, le=8_640_000_000_000_000)]
"""Milliseconds since 1970 UTC, as far as dates go (ECMA-262 §21.4.1.1): no offset leads beyond MOST."""
Count = Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
Seconds = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
Percentage = Annotated[float, msgspec.Meta()]


_INSTANCE: Final = re.compile(r"[\x21-\x7e]{1,64}")


def server_name(field: str) -> str:
    """Spell a field as the server does: ``call_id`` → ``CallID``."""
    return "".join("ID" if word == "id" else word.capitalize() for word in field.split("_"))


def own_name(word: str) -> str:
    """Spell a word of the server as the gateway's clients do: ``PostProcessing`` → ``post_processing``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower()


class WireElement(msgspec.Struct, rename=server_name, gc=False, kw_only=True):
    """A struct from the server; other fields are ignored."""


def ids(keys: Iterable[int]) -> tuple[str, ...]:
    """Return keys as the ids of clients."""
    return tuple(str(key) for key in keys)


def identity(key: int | None) -> str | None:
    """Return a key as an id."""
    return None if key is None else str(key)


EnumT = TypeVar("EnumT", bound=StrEnum)


def spelled(*words: str) -> dict[str, Any]:
    """Return words of the server, each with its spelling in the domain."""
    return {word: own_name(word) for word in words}


def _members(kind: type[EnumT], *words: str) -> dict[str, EnumT]:
    """Return words of the server, each with the member of an enumeration that has this word."""
    return {word: kind(own_name(word)) for word in words}


APPLICATIONS: Final = _members(Application, "Dashboard", "RemoteAssistant")
APPLICATION_NAMES: Final[dict[Application, str]] = {own: name for name, own in APPLICATIONS.items()}
RIGHTS: Final = _members(
    Right,
    "SkillsWrite",
    "RoutingStateWrite",
    "RoutingParametersWrite",
    "OwnRoutingState",
    "OwnPostProcessing",
)
FEATURES: Final = _members(
    Feature, "Skills", "RoutingParameters", "PostProcessing.Start", "PostProcessing.Extend",
    "PostProcessing.Finish", "PostProcessing.SetAuto", "RemoteAgent", "LinkFencing", "RequestKeys",
)  # fmt: skip
KINDS: Final[dict[str, Kind]] = {
    "User": Kind.AGENT,
    "Queue": Kind.QUEUE,
    "Group": Kind.GROUP,
    "Aggregate": Kind.AGGREGATE,
}

ROUTING_STATES: Final = _members(RoutingState, "Available", "Unavailable", "Work", "LoggedOff")
TARGET_STATES: Final[dict[TargetState, str]] = {
    own: name for name, own in spelled("Available", "Unavailable", "Work", "LoggedOff").items()
}
WHENS: Final[dict[When, str]] = {"now": "Now", "after_contact": "AfterContact"}
ACTORS: Final[dict[str, Actor]] = spelled("Self", "Supervisor", "System")
HANDLING_STATES: Final[dict[str, HandlingState]] = spelled(
    "Pending", "Ringing", "Talking", "Holding", "Consulting", "PostProcessing"
)
MEDIA: Final[dict[str, Medium]] = spelled("Voice", "Callback", "Email", "WebCollaboration", "OpenMedia")
SWITCHES: Final = _members(Switch, "Off", "On", "Failed")
ACTIONS: Final[dict[str, str]] = spelled(
    "SetAvailable", "SetUnavailable", "SetWork", "LogOff", "StartPostProcessing", "ExtendPostProcessing",
    "FinishPostProcessing", "ChangeRemoteNumber",
)  # fmt: skip
"""An unknown action is not offered."""
END_REASONS: Final = _members(
    EndReason, "LoggedOff", "LoggedOffBySupervisor", "TakenOver", "Blocked", "Expired", "Maintenance"
)
CATEGORIES: Final[dict[str, Category]] = spelled("Privacy", "Security", "Maintenance")
FUNCTIONS: Final[dict[str, FunctionName]] = {
    "RealTime": "realtime",
    "Historical": "historical",
    "LocalRouting": "routing",
    "NetworkRouting": "routing",
    "AdministrationDatabase": "administration",
    "Voice": "voice",
    "Email": "email",
    "Callback": "callback",
    "WebCollaboration": "web_collaboration",
    "RemoteAgent": "remote_agent",
}

FUNCTION_STATES: Final = _members(FunctionState, "Up", "Degraded", "Down")


def instance(sent: object) -> str | None:
    """Return a server's instance; None for anything but a short word."""
    return sent if isinstance(sent, str) and _INSTANCE.fullmatch(sent) is not None else None


def is_reference(data_type: str) -> bool:
    """Return whether values of a routing parameter of *data_type* are Keys of other objects.

    ``Reference``, ``QueueReference``, ``Queue`` and ``QueueKey`` all count.
    """
    return "Reference" in data_type or data_type.removesuffix("Key") in {*KINDS, "Skill"}


def is_name(name: str) -> bool:
    """Return whether *name* is printable: a parameter is sent back to the server by its name."""
    return readable(name) == name


def parameter(value: Any, *, reference: bool) -> Parameter:  # noqa: ANN401 - whatever JSON holds
    """Return the value of a routing parameter; Keys become ids, and what frames cannot carry becomes None."""
    if isinstance(value, list):
        return tuple(_scalar(item, reference=reference) for item in value)
    return _scalar(value, reference=reference)


def _scalar(value: Any, *, reference: bool) -> Scalar:  # noqa: ANN401 - whatever JSON holds
    match value:
        case None | bool():
            return value
        case float():
            return value + 0.0  # turns -0.0 into 0.0
        case str():
            return readable(value, VALUE_CHARS)
        case int() if reference and value >= 0:
            return str(value)
        case int() if abs(value) <= MOST:
            return value
        case _:
            return None


def in_gateway_time(instant_ms: int, offset_ms: int) -> int:
    """Return an instant of the server's clock in the gateway's, within the range of frames."""
    return min(max(instant_ms + offset_ms, 0), MOST)


def bound(sent: int | float | None) -> int | float | None:
    """Return a bound of a parameter's values; None for an integer that frames cannot carry."""
    return None if isinstance(sent, int) and abs(sent) > MOST else sent


def count(sent: int | None) -> int | None:
    """Return a count: never below 0."""
    return None if sent is None or sent < 0 else sent


def duration(sent: float | None) -> float | None:
    """Return a duration in seconds: never below 0."""
    return None if sent is None or sent < 0 else sent + 0.0  # turns -0.0 into 0.0


def percentage(sent: float | None) -> float | None:
    """Return a percentage."""
    return sent + 0.0 if sent is not None and 0 <= sent <= 100 else None


def since(time_ms: int, seconds: float | None) -> int | None:
    """Return the instant *seconds* before *time_ms*, in the server's clock; none after it."""
    return None if seconds is None or seconds < 0 else time_ms - round(seconds * 1000)


class _Handling(WireElement):
    handling_state: str
    call_id: str
    time_in_handling_state: Seconds | None = None
    media: str | None = None
    queue_key: Key | None = None
    direct: bool | None = None


class _PostProcessing(WireElement):
    ends_at: Millis | None = None
    extendable: bool | None = None
    next_state: str | None = None
    reason_key: Key | None = None


class _AutoPostProcessing(WireElement):
    on: bool | None = None
    duration: Seconds | None = None


class _Media(WireElement):
    voice: str | None = None
    callback: str | None = None
    email: str | None = None
    web_collaboration: str | None = None
    open_media: str | None = None


class _Remote(WireElement):
    logged_on: bool | None = None
    app_present: bool | None = None
    app_absent_since: Millis | None = None
    remote_number: str | None = None


class UserRealtime(WireElement):
    """A logged-on user's present values."""

    user_key: Key
    extension: str | None = None
    routing_state: str | None = None
    time_in_routing_state: Seconds | None = None
    reason_key: Key | None = None
    routing_state_by: str | None = None
    pending_routing_state: str | None = None
    pending_by: str | None = None
    pending_reason_key: Key | None = None
    pending_post_processing: bool | None = None
    presence_state: str | None = None
    handling_states: tuple[_Handling, ...] | None = None
    post_processing: _PostProcessing | None = None
    auto_post_processing: _AutoPostProcessing | None = None
    media: _Media | None = None
    remote: _Remote | None = None
    allowed_actions: tuple[str, ...] | None = None


_NOT_REMOTE: Final = _Remote()


def user_realtime(sent: UserRealtime, time_ms: int) -> Part:
    """Map a logged-on user. ``TimeIn…`` become instants in the server's clock."""
    handling = tuple(_handling(contact, time_ms) for contact in sent.handling_states or ())
    remote = sent.remote or _NOT_REMOTE
    agent = Agent(
        extension=readable_or_none(sent.extension, WORD_CHARS),
        routing_state=_present_state(sent.routing_state),
        routing_state_since_ms=since(time_ms, sent.time_in_routing_state),
        reason_id=identity(sent.reason_key),
        routing_state_by=_actor(sent.routing_state_by),
        pending_routing_state=_routing_state(sent.pending_routing_state),
        pending_by=_actor(sent.pending_by),
        pending_reason_id=identity(sent.pending_reason_key),
        pending_post_processing=sent.pending_post_processing,
        handling=handling,
        post_processing=_post_processing(sent.post_processing, handling),
        auto_post_processing=_auto(sent.auto_post_processing),
        media=_media(sent.media),
        presence_state=readable_or_none(sent.presence_state, VALUE_CHARS),
        logged_on_remotely=remote.logged_on,
        app_present=remote.app_present,
        app_absent_since_ms=_not_after(time_ms, remote.app_absent_since),
        allowed_actions=tuple(ACTIONS[name] for name in sent.allowed_actions or () if name in ACTIONS),
    )
    number = None if remote.remote_number is None else readable_or_none(remote.remote_number, WORD_CHARS)
    return Part(Kind.AGENT, sent.user_key, Source.REALTIME, agent, number, time_ms)


def _not_after(time_ms: int, date_ms: int | None) -> int | None:
    """Return when a state at *time_ms* began, whichever clock of the server dated it."""
    return None if date_ms is None else min(date_ms, time_ms)


def _handling(sent: _Handling, time_ms: int) -> Handling:
    return Handling(
        contact_id=readable(sent.call_id),
        media=MEDIA.get(sent.media or "", "unknown"),
        state=HANDLING_STATES.get(sent.handling_state, "unknown"),
        since_ms=since(time_ms, sent.time_in_handling_state),
        direct=sent.direct,
        queue_id=identity(sent.queue_key),
    )


def _post_processing(sent: _PostProcessing | None, handling: tuple[Handling, ...]) -> PostProcessing | None:
    """Its begin is in the contact whose handling state is PostProcessing."""
    if sent is None:
        return None
    since_ms = next((held.since_ms for held in handling if held.state == "post_processing"), None)
    return PostProcessing(
        since_ms=since_ms,
        ends_at_ms=sent.ends_at,
        extendable=sent.extendable,
        next_state=_routing_state(sent.next_state),
        reason_id=identity(sent.reason_key),
    )


def _auto(sent: _AutoPostProcessing | None) -> AutoPostProcessing | None:
    if sent is None:
        return None
    duration_s = duration(sent.duration)
    return AutoPostProcessing(sent.on, None if duration_s is None else round(duration_s))


def _media(sent: _Media | None) -> Media | None:
    if sent is None:
        return None
    return Media(
        voice=_switch(sent.voice),
        callback=_switch(sent.callback),
        email=_switch(sent.email),
        web_collaboration=_switch(sent.web_collaboration),
        open_media=_switch(sent.open_media),
    )


class UserCumulative(WireElement):
    """A user's counts since the window began."""

    user_key: Key
    window_start: Millis | None = None
    handled: Count | None = None
    total_talk_time: Seconds | None = None


def user_cumulative(sent: UserCumulative, time_ms: int) -> Part:
    """Map a user's day."""
    agent = Agent(
        handled_today=count(sent.handled),
        talk_s_today=duration(sent.total_talk_time),
        day_start_ms=sent.window_start,
    )
    return Part(Kind.AGENT, sent.user_key, Source.CUMULATIVE, agent, None, time_ms)


class UserSkill(WireElement):
    """One skill of a user."""

    skill_key: Key
    level: Count | None = None
    preference: Count | None = None
    active: bool | None = None


def skills(sent: tuple[UserSkill, ...] | None) -> tuple[AgentSkill, ...]:
    """Map the skills of a user."""
    return tuple(
        AgentSkill(str(skill.skill_key), skill.level, skill.preference, skill.active) for skill in sent or ()
    )


def _present_state(name: str | None) -> RoutingState | None:
    """Map a user's present state: never logged off, as the server sends no element of such a user."""
    state = _routing_state(name)
    return RoutingState.UNKNOWN if state is RoutingState.LOGGED_OFF else state


def _routing_state(name: str | None) -> RoutingState | None:
    return None if name is None else ROUTING_STATES.get(name, RoutingState.UNKNOWN)


def _actor(name: str | None) -> Actor | None:
    return None if name is None else ACTORS.get(name, "unknown")


def _switch(name: str | None) -> Switch | None:
    return None if name is None else SWITCHES.get(name, Switch.UNKNOWN)


_QUEUE: Final = Kind.QUEUE
_REALTIME: Final = Source.REALTIME
_LEVELS: Final[dict[str, Literal["ok", "attention", "action"]]] = spelled("Ok", "Attention", "Action")


_usual: Final = {tenths / 10: tenths / 10 for tenths in range(1001)}.get
"""Returns usual shares and seconds, one object for all queues: each other one takes 32 bytes."""


class QueueRealtime(WireElement):
    """A queue as it is now."""

    queue_key: Key
    contacts: Count | None = None
    oldest_contact_wait_time: Seconds | None = None
    service_level: Percentage | None = None
    service_level_threshold: Seconds | None = None
    service_level_formula: str | None = None
    abandoned_rate: Percentage | None = None
    estimated_wait_time: Seconds | None = None
    logged_on_users: Count | None = None
    available_users: Count | None = None
    handling_users: Count | None = None
    post_processing_users: Count | None = None
    unavailable_users: Count | None = None
    work_users: Count | None = None
    level: str | None = None


_SHOWN: Final[dict[Any, tuple[Any, Callable[[Any], Any]]]] = {
    Count | None: (Annotated[int, msgspec.Meta(ge=0, le=MOST)] | None, count),
    Seconds | None: (Annotated[float, msgspec.Meta(ge=0, le=1e12)] | None, duration),
    Percentage | None: (Annotated[float, msgspec.Meta(ge=0, le=100)] | None, percentage),
}
"""Type of a figure → the same with the bounds of those that can be shown, and what makes others None."""
_QUEUE_FIELDS: Final = msgspec.structs.fields(QueueRealtime)
_QUEUE_FIGURES: Final = {each.name: _SHOWN[each.type][1] for each in _QUEUE_FIELDS if each.type in _SHOWN}


def _usual_queue() -> type[QueueRealtime]:
    """Return `QueueRealtime` with the bounds of figures that can be shown: nearly all queues fit it.

    So msgspec checks the figures as it reads them. It finds fields faster in the order of the page.
    """
    optional = [each for each in _QUEUE_FIELDS if not each.required]
    bounded = [(each.name, _SHOWN.get(each.type, (each.type,))[0], each.default) for each in optional]
    made = msgspec.defstruct("UsualQueue", bounded, bases=(QueueRealtime,), kw_only=True, gc=False)
    return cast("type[QueueRealtime]", made)


def queue_realtime(sent: QueueRealtime, time_ms: int) -> Part:
    """Map a queue; figures that cannot be shown are left out."""
    received = msgspec.structs.asdict(sent)
    figures = {name: shown(received[name]) for name, shown in _QUEUE_FIGURES.items()}
    formula = readable_or_none(sent.service_level_formula, VALUE_CHARS)
    return usual_queue(msgspec.structs.replace(sent, **figures, service_level_formula=formula), time_ms)


_formulas: Final[dict[int, str]] = {}
"""The last formula of each length, which mostly all queues have: it is kept once."""


def usual_queue(sent: QueueRealtime, time_ms: int) -> Part:
    """Map a queue whose figures can all be shown, and whose formula has no control characters.

    The oldest contact's waiting time becomes an instant in the server's clock. Most updates are this, so the
    fields are given by place.
    """
    oldest_s, level_pct, lost_pct = sent.oldest_contact_wait_time, sent.service_level, sent.abandoned_rate
    threshold_s, wait_s, level = sent.service_level_threshold, sent.estimated_wait_time, sent.level
    formula = sent.service_level_formula or None
    if formula is not None:
        known = _formulas.get(len(formula))
        if formula == known:
            formula = known
        else:  # without control characters ASCII is printable; isprintable() takes 7,000 instructions for 256
            if not formula.isascii() or len(formula) > VALUE_CHARS:
                formula = readable(formula, VALUE_CHARS) or None
            if formula is not None:
                _formulas[len(formula)] = formula
    queue = QueueFigures(
        sent.contacts,
        None if oldest_s is None else since(time_ms, oldest_s),
        None if level_pct is None else _usual(level_pct, level_pct),
        None if threshold_s is None else _usual(threshold_s, threshold_s),
        formula,
        None if lost_pct is None else _usual(lost_pct, lost_pct),
        None if wait_s is None else _usual(wait_s, wait_s),
        sent.logged_on_users,
        sent.available_users,
        sent.handling_users,
        sent.post_processing_users,
        sent.unavailable_users,
        sent.work_users,
        None if level is None else _LEVELS.get(level, "unknown"),
    )
    return Part(_QUEUE, sent.queue_key, _REALTIME, queue, None, time_ms)


class QueueCumulative(WireElement):
    """A queue's figures since the window began."""

    queue_key: Key
    window_start: Millis | None = None
    received: Count | None = None
    answered: Count | None = None
    abandoned: Count | None = None
    average_wait_time: Seconds | None = None
    maximum_wait_time: Seconds | None = None


def queue_cumulative(sent: QueueCumulative, time_ms: int) -> Part:
    """Map a queue's figures."""
    queue = QueueWindow(
        window_start_ms=sent.window_start,
        received=count(sent.received),
        answered=count(sent.answered),
        abandoned=count(sent.abandoned),
        average_wait_s=duration(sent.average_wait_time),
        maximum_wait_s=duration(sent.maximum_wait_time),
    )
    return Part(Kind.QUEUE, sent.queue_key, Source.CUMULATIVE, queue, None, time_ms)


class GroupRealtime(WireElement):
    """A group as it is now."""

    group_key: Key
    logged_on_users: Count | None = None
    idle_users: Count | None = None
    busy_users: Count | None = None
    away_users: Count | None = None
    handling_routed_users: Count | None = None
    handling_direct_users: Count | None = None
    calls_waiting: Count | None = None


def group_realtime(sent: GroupRealtime, time_ms: int) -> Part:
    """Map a group."""
    group = Group(
        users_logged_on=count(sent.logged_on_users),
        users_idle=count(sent.idle_users),
        users_busy=count(sent.busy_users),
        users_away=count(sent.away_users),
        users_handling_routed=count(sent.handling_routed_users),
        users_handling_direct=count(sent.handling_direct_users),
        calls_waiting=count(sent.calls_waiting),
    )
    return Part(Kind.GROUP, sent.group_key, Source.REALTIME, group, None, time_ms)


class AggregateRealtime(WireElement):
    """Figures over several queues as they are now."""

    aggregate_key: Key
    contacts: Count | None = None
    service_level: Percentage | None = None
    oldest_contact_wait_time: Seconds | None = None


def aggregate_realtime(sent: AggregateRealtime, time_ms: int) -> Part:
    """Map an aggregate."""
    aggregate = Aggregate(
        contacts_waiting=count(sent.contacts),
        service_level_pct=percentage(sent.service_level),
        oldest_since_ms=since(time_ms, sent.oldest_contact_wait_time),
    )
    return Part(Kind.AGGREGATE, sent.aggregate_key, Source.REALTIME, aggregate, None, time_ms)


class References(NamedTuple):
    """Names of the routing parameters whose values are Keys of other objects."""

    queue: frozenset[str] = frozenset()
    group: frozenset[str] = frozenset()


Read = Callable[[bytes | str, int, References], Part | None]
"""Maps an element's bytes, read by the server at an instant; raises any error of msgspec."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The elements of one event type."""

    kind: Kind | None
    source: Source
    read: Read


class _Configuration(WireElement):
    object_type: str
    key: Key
    skills: tuple[UserSkill, ...] | None = None
    routing_parameters: dict[str, Any] | None = None
    version: Count | None = None


def _configuration(sent: _Configuration, references: References) -> Part | None:
    value: Agent | Queue | Group
    match sent.object_type:
        case "User":
            value = Agent(skills=skills(sent.skills), version=sent.version)
        case "Queue":
            value = Queue(
                routing_parameters=_parameters(sent.routing_parameters, references.queue),
                version=sent.version,
            )
        case "Group":
            value = Group(
                routing_parameters=_parameters(sent.routing_parameters, references.group),
                version=sent.version,
            )
        case _:
            return None
    return Part(KINDS[sent.object_type], sent.key, Source.CONFIGURATION, value)


def _parameters(sent: dict[str, Any] | None, references: frozenset[str]) -> dict[str, Parameter] | None:
    if sent is None:
        return None
    named = ((name, value) for name, value in sent.items() if is_name(name))
    return {name: parameter(value, reference=name in references) for name, value in named}


def _read_configuration(raw: bytes | str, _: int, references: References) -> Part | None:
    return _configuration(_decode_configuration(raw), references)


_decode_configuration: Final = msgspec.json.Decoder(_Configuration).decode


ReadPart = Callable[[Any, int], Part]
"""Maps an element, read by the server at an instant."""


def _reader(element: type[WireElement], part: ReadPart) -> Read:
    decode = msgspec.json.Decoder(element).decode

    def read(raw: bytes | str, time_ms: int, _: References) -> Part:
        return part(decode(raw), time_ms)

    return read


_MAPPED: Final[tuple[tuple[Kind, Source, type[WireElement], ReadPart], ...]] = (
    (Kind.AGENT, Source.REALTIME, UserRealtime, user_realtime),
    (Kind.QUEUE, Source.REALTIME, QueueRealtime, queue_realtime),
    (Kind.GROUP, Source.REALTIME, GroupRealtime, group_realtime),
    (Kind.AGGREGATE, Source.REALTIME, AggregateRealtime, aggregate_realtime),
    (Kind.AGENT, Source.CUMULATIVE, UserCumulative, user_cumulative),
    (Kind.QUEUE, Source.CUMULATIVE, QueueCumulative, queue_cumulative),
)
"""The elements of each event type but one, whose names are theirs."""
SHAPES: Final[dict[str, Shape]] = {
    **{each.__name__: Shape(kind, source, _reader(each, part)) for kind, source, each, part in _MAPPED},
    "Configuration": Shape(None, Source.CONFIGURATION, _read_configuration),
}
"""Event type → shape of its elements."""


class Event(WireElement, tag_field="EventType"):
    """An event with all its elements; there is a struct for each event type."""

    type: Literal["Event"]
    query_id: Count
    time: Millis
    elements: tuple[Any, ...]
    complete: bool = False
    removed: tuple[Key, ...] | None = None


def _event_of(element: type[WireElement], name: str) -> type[Event]:
    """Return the struct of the event type *name* with these elements."""
    elements = tuple[element, ...]  # type: ignore[valid-type] # known at import
    made = msgspec.defstruct(name, [("elements", elements)], bases=(Event,), tag=name, kw_only=True, gc=False)
    return cast("type[Event]", made)


_QUEUES: Final = QueueRealtime.__name__
_USUAL_QUEUES: Final = _event_of(_usual_queue(), _QUEUES)
_OTHER_EVENTS: Final[dict[type[Event], tuple[Kind, Source, ReadPart]]] = {
    _event_of(each, each.__name__): (kind, source, part) for kind, source, each, part in _MAPPED
}
EVENTS: Final = {**_OTHER_EVENTS, _USUAL_QUEUES: (Kind.QUEUE, Source.REALTIME, usual_queue)}
"""Struct of an event → its elements."""


def _decoder(*events: type[Event]) -> Callable[[bytes], Event]:
    return msgspec.json.Decoder(cast("type[Event]", Union[events])).decode  # noqa: UP007 - a bar joins no tuple


read_event: Final = _decoder(*_OTHER_EVENTS)
"""Read an event with elements of one kind; raises any error of msgspec for each other message."""
read_usual_event: Final = _decoder(
    _USUAL_QUEUES, *[each for each in _OTHER_EVENTS if each.__name__ != _QUEUES]
)
"""Read an event in which neither an escape nor DEL is, so no control character; queues are usual ones."""
EVENT_TYPES: Final[dict[tuple[Kind | None, Source], str]] = {
    **{(shape.kind, shape.source): event_type for event_type, shape in SHAPES.items()},
    (None, Source.DIRECTORY): "Administration",
}
"""Query → event type."""
