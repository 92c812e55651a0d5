"""Names of the server, and the domain's names for the same things.

Tables both ways, and the numbers that may stand on the wire. An unknown word becomes
``unknown`` where the domain has such a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from gateway.domain.catalogue import Parameter, Scalar
from gateway.domain.commands import TargetState, When
from gateway.domain.errors import EndReason
from gateway.domain.model import Application, Kind, Right
from gateway.domain.resources import Actor, FunctionState, HandlingState, Medium, RoutingState, Switch
from gateway.domain.texts import VALUE_CHARS, readable
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


class Element(msgspec.Struct, rename=server_name, gc=False, kw_only=True):
    """Something that the server tells; fields that stand nowhere here are ignored."""


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
    """Return a server's instance; what is no short word tells nothing."""
    return told if isinstance(told, str) and _INSTANCE.fullmatch(told) is not None else None


def is_reference(data_type: str) -> bool:
    """Tell whether values of a routing parameter of *data_type* are Keys of other objects.

    The page names no data types: ``Reference``, ``QueueReference``, ``Queue`` and ``QueueKey`` all count.
    """
    return "Reference" in data_type or data_type.removesuffix("Key") in {*KINDS, "Skill"}


def is_name(name: str) -> bool:
    """Tell whether people may see *name* as it is: a parameter is told back to the server by its name."""
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
