"""Decode the server's names, instants and figures into those of the domain, and back.

Tables both ways, and the numbers that may stand on the wire. An unknown word becomes
``unknown`` where the domain has such a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final

import msgspec

from gateway.domain.commands import TargetState, When
from gateway.domain.errors import EndReason
from gateway.domain.model import VALUE_CHARS, Application, Kind, Right, readable
from gateway.domain.resources import (
    Actor,
    FunctionState,
    HandlingState,
    Medium,
    Parameter,
    RoutingState,
    Scalar,
    Switch,
)
from gateway.domain.upstream import Category, Feature, FunctionName

MOST: Final = 2**53 - 1
"""Integers beyond it are no integers for a JSON peer (RFC 8259 §6)."""
Key = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
"""OSCC-E's Key of an object."""
Millis = Annotated[int, msgspec.Meta(ge=0, le=8_640_000_000_000_000)]
"""Milliseconds since 1970 UTC, as far as dates go (ECMA-262 §21.4.1.1): no offset leads beyond MOST."""
Count = Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
Seconds = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]


_INSTANCE: Final = re.compile(r"[\x21-\x7e]{1,64}")


def server_name(field: str) -> str:
    """Spell a field as the server does: ``call_id`` → ``CallID``."""
    return "".join("ID" if word == "id" else word.capitalize() for word in field.split("_"))


def own_name(word: str) -> str:
    """Spell a word of the server as the gateway's clients do: ``PostProcessing`` → ``post_processing``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower()


class WireElement(msgspec.Struct, rename=server_name, gc=False, kw_only=True):
    """A struct that the server sends; fields that stand nowhere here are ignored."""


def ids(keys: Iterable[int]) -> tuple[str, ...]:
    """Return keys as the ids that clients know."""
    return tuple(str(key) for key in keys)


def identity(key: int | None) -> str | None:
    """Return a key as an id."""
    return None if key is None else str(key)


APPLICATIONS: Final[dict[str, Application]] = {
    "Dashboard": Application.DASHBOARD,
    "RemoteAssistant": Application.REMOTE_ASSISTANT,
}
APPLICATION_NAMES: Final[dict[Application, str]] = {own: name for name, own in APPLICATIONS.items()}

RIGHTS: Final[dict[str, Right]] = {
    "SkillsWrite": Right.SKILLS_WRITE,
    "RoutingStateWrite": Right.ROUTING_STATE_WRITE,
    "RoutingParametersWrite": Right.ROUTING_PARAMETERS_WRITE,
    "OwnRoutingState": Right.OWN_ROUTING_STATE,
    "OwnPostProcessing": Right.OWN_POST_PROCESSING,
}

FEATURES: Final[dict[str, Feature]] = {
    "Skills": Feature.SKILLS,
    "RoutingParameters": Feature.ROUTING_PARAMETERS,
    "PostProcessing.Start": Feature.POST_PROCESSING_START,
    "PostProcessing.Extend": Feature.POST_PROCESSING_EXTEND,
    "PostProcessing.Finish": Feature.POST_PROCESSING_FINISH,
    "PostProcessing.SetAuto": Feature.POST_PROCESSING_SET_AUTO,
    "RemoteAgent": Feature.REMOTE_AGENT,
    "LinkFencing": Feature.LINK_FENCING,
    "RequestKeys": Feature.REQUEST_KEYS,
}

KINDS: Final[dict[str, Kind]] = {
    "User": Kind.AGENT,
    "Queue": Kind.QUEUE,
    "Group": Kind.GROUP,
    "Aggregate": Kind.AGGREGATE,
}

ROUTING_STATES: Final[dict[str, RoutingState]] = {
    "Available": RoutingState.AVAILABLE,
    "Unavailable": RoutingState.UNAVAILABLE,
    "Work": RoutingState.WORK,
    "LoggedOff": RoutingState.LOGGED_OFF,
}
TARGET_STATES: Final[dict[TargetState, str]] = {
    "available": "Available",
    "unavailable": "Unavailable",
    "work": "Work",
    "logged_off": "LoggedOff",
}
WHENS: Final[dict[When, str]] = {"now": "Now", "after_contact": "AfterContact"}

ACTORS: Final[dict[str, Actor]] = {"Self": "self", "Supervisor": "supervisor", "System": "system"}

HANDLING_STATES: Final[dict[str, HandlingState]] = {
    "Pending": "pending",
    "Ringing": "ringing",
    "Talking": "talking",
    "Holding": "holding",
    "Consulting": "consulting",
    "PostProcessing": "post_processing",
}

MEDIA: Final[dict[str, Medium]] = {
    "Voice": "voice",
    "Callback": "callback",
    "Email": "email",
    "WebCollaboration": "web_collaboration",
    "OpenMedia": "open_media",
}

SWITCHES: Final[dict[str, Switch]] = {"Off": Switch.OFF, "On": Switch.ON, "Failed": Switch.FAILED}

ACTIONS: Final[dict[str, str]] = {
    name: own_name(name)
    for name in (
        "SetAvailable",
        "SetUnavailable",
        "SetWork",
        "LogOff",
        "StartPostProcessing",
        "ExtendPostProcessing",
        "FinishPostProcessing",
        "ChangeRemoteNumber",
    )
}
"""An action that is not known is not offered."""

END_REASONS: Final[dict[str, EndReason]] = {
    "LoggedOff": EndReason.LOGGED_OFF,
    "LoggedOffBySupervisor": EndReason.LOGGED_OFF_BY_SUPERVISOR,
    "TakenOver": EndReason.TAKEN_OVER,
    "Blocked": EndReason.BLOCKED,
    "Expired": EndReason.EXPIRED,
    "Maintenance": EndReason.MAINTENANCE,
}

CATEGORIES: Final[dict[str, Category]] = {
    "Privacy": "privacy",
    "Security": "security",
    "Maintenance": "maintenance",
}

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

FUNCTION_STATES: Final[dict[str, FunctionState]] = {
    "Up": FunctionState.UP,
    "Degraded": FunctionState.DEGRADED,
    "Down": FunctionState.DOWN,
}


def instance(told: object) -> str | None:
    """Return a server's instance; what is no short word is none."""
    return told if isinstance(told, str) and _INSTANCE.fullmatch(told) is not None else None


def is_reference(data_type: str) -> bool:
    """Return whether values of a routing parameter of *data_type* are Keys of other objects.

    The page names no data types: ``Reference``, ``QueueReference``, ``Queue`` and ``QueueKey`` all count.
    """
    return "Reference" in data_type or data_type.removesuffix("Key") in {*KINDS, "Skill"}


def is_name(name: str) -> bool:
    """Return whether people may see *name* as it is: a parameter is sent back to the server by its name."""
    return readable(name) == name


def parameter(value: Any, *, reference: bool) -> Parameter:  # noqa: ANN401 - whatever JSON holds
    """Return the value of a routing parameter; a reference's Keys become ids, objects and giants nothing."""
    if isinstance(value, list):
        return tuple(_scalar(item, reference=reference) for item in value)
    return _scalar(value, reference=reference)


def _scalar(value: Any, *, reference: bool) -> Scalar:  # noqa: ANN401 - whatever JSON holds
    match value:
        case None | bool():
            return value
        case float():
            return value + 0.0  # of -0.0 this makes 0.0
        case str():
            return readable(value, VALUE_CHARS)
        case int() if reference and value >= 0:
            return str(value)
        case int() if abs(value) <= MOST:
            return value
        case _:
            return None


NONE_BELOW_MS: Final = 2_000
"""Nearer clocks count as one: a `Date` has whole seconds, and was on its way for a while."""
_HALF_A_SECOND_MS: Final = 500
"""A `Date` is the beginning of its second; the answer was given somewhere within."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
RETRY_AFTER_S: Final = (1.0, 300.0)
"""Whatever `Retry-After` says: no client asks at once, and none is kept away for long by a slip."""


def offset_ms(date: str | None, received_ms: int) -> int:
    """Return gateway clock minus server clock.

    Args:
        date: The header `Date` (RFC 9110 §5.6.7), in any of its three forms.
        received_ms: When the answer came, ms since 1970 in the gateway's clock.

    Returns:
        ms; 0 when the clocks are less than 2 s apart, or the header is missing or cannot be read.
    """
    told_ms = None if date is None else _instant_ms(date)
    if told_ms is None:
        return 0
    offset = received_ms - (told_ms + _HALF_A_SECOND_MS)
    return offset if abs(offset) >= NONE_BELOW_MS else 0


def retry_after_s(told: str | None, offset_ms: int, received_ms: int) -> float | None:
    """Return how long to wait before the server is asked again.

    Args:
        told: The header `Retry-After` (RFC 9110 §10.2.3): seconds, or a date of the server's clock.
        offset_ms: Gateway clock minus server clock.
        received_ms: When the answer came, ms since 1970 in the gateway's clock.

    Returns:
        Within :data:`RETRY_AFTER_S`; None when the header is missing or cannot be read.
    """
    if told is None:
        return None
    shortest_s, longest_s = RETRY_AFTER_S
    if re.fullmatch("[0-9]+", told):
        # a number of so many digits is too long for int(), too
        wait_s = float(told) if len(told) < len(str(MOST)) else longest_s
    elif (at_ms := _instant_ms(told)) is not None:
        wait_s = (at_ms + offset_ms - received_ms) / 1000
    else:
        return None
    return min(max(wait_s, shortest_s), longest_s)


def _instant_ms(date: str) -> int | None:
    """Return the instant that a header names; None when it cannot be read."""
    try:
        told = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    # the oldest form names no zone: HTTP's dates are always UTC
    since_1970 = (told if told.tzinfo is not None else told.replace(tzinfo=UTC)) - _EPOCH
    return since_1970 // timedelta(milliseconds=1)


def in_gateway_time(instant_ms: int, offset_ms: int) -> int:
    """Return an instant of the server's clock in the gateway's, within what frames can carry."""
    return min(max(instant_ms + offset_ms, 0), MOST)


def bound(told: int | float | None) -> int | float | None:
    """Return a bound of a parameter's values; an integer that no frame can carry bounds nothing."""
    return None if isinstance(told, int) and abs(told) > MOST else told


def count(told: int | None) -> int | None:
    """Return how many there are: never fewer than none."""
    return None if told is None or told < 0 else told


def duration(told: float | None) -> float | None:
    """Return how many seconds something takes: never fewer than none."""
    return None if told is None or told < 0 else told + 0.0  # of -0.0 this makes 0.0


def percentage(told: float | None) -> float | None:
    """Return a share of a hundred."""
    return told + 0.0 if told is not None and 0 <= told <= 100 else None


def since(time_ms: int, seconds: float | None) -> int | None:
    """Return the instant *seconds* before *time_ms*, in the server's clock; none after it."""
    return None if seconds is None or seconds < 0 else time_ms - round(seconds * 1000)
