"""Resources that phones see, catalogues among them, with the privacy class of each field.

Each resource is an immutable value; every field carries its class of :mod:`gateway.domain.model`.
Units: ``*_ms`` instants in ms since 1970 UTC (gateway time), ``*_s`` seconds, ``*_pct`` 0..100.
Unknown or not applicable is None; None is left out of the wire form.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

from gateway.domain.model import Right, neutral, personal, realtime, value

Scalar = bool | int | float | str | None
Parameter = Scalar | tuple[Scalar, ...]
"""Value of a routing parameter; references to other objects are id strings."""


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill that agents may have, with its bounds."""

    skill_id: str = neutral()
    name: str | None = neutral()
    level_min: int | None = neutral()
    level_max: int | None = neutral()
    preference_min: int | None = neutral()
    preference_max: int | None = neutral()


@dataclass(frozen=True, slots=True)
class Skills:
    """The catalogue of skills."""

    skills: tuple[Skill, ...] = neutral(many=True)


ReasonKind = Literal["unavailable", "work", "post_processing", "wrapup"]


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason that agents may give for a state. A state needs one when any reason lists it."""

    reason_id: str = neutral()
    kind: ReasonKind = neutral()
    name: str | None = neutral()
    required_for: tuple[str, ...] = neutral(many=True)


@dataclass(frozen=True, slots=True)
class Reasons:
    """The catalogue of reasons."""

    reasons: tuple[Reason, ...] = neutral(many=True)


@dataclass(frozen=True, slots=True)
class RoutingParameter:
    """A routing parameter of queues or groups, with its type and bounds."""

    name: str = neutral()
    applies_to: str = neutral()
    data_type: str = neutral()
    min: float | None = neutral()
    max: float | None = neutral()
    step: float | None = neutral()
    values: tuple[Parameter, ...] | None = neutral()
    unit: str | None = neutral()
    read_only: bool | None = neutral()
    default: Parameter = neutral()


@dataclass(frozen=True, slots=True)
class RoutingParameters:
    """The catalogue of routing parameters."""

    parameters: tuple[RoutingParameter, ...] = neutral(many=True)


class RoutingState(enum.StrEnum):
    """Whether contacts are routed to an agent. Busy is never a routing state."""

    LOGGED_OFF = "logged_off"
    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    WORK = "work"
    UNKNOWN = "unknown"


class Switch(enum.StrEnum):
    """State of one medium of an agent."""

    OFF = "off"
    ON = "on"
    FAILED = "failed"
    UNKNOWN = "unknown"


class FunctionState(enum.StrEnum):
    """State of one of OSCC-E's functions."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


Medium = Literal["voice", "callback", "email", "web_collaboration", "open_media", "unknown"]
HandlingState = Literal[
    "pending", "ringing", "talking", "holding", "consulting", "post_processing", "unknown"
]
Actor = Literal["self", "supervisor", "system", "unknown"]


@dataclass(frozen=True, slots=True)
class AgentSkill:
    """One skill of an agent."""

    skill_id: str = neutral()
    level: int | None = personal()
    preference: int | None = personal()
    active: bool | None = personal()


@value()
class Handling:
    """One contact that an agent has in hand."""

    contact_id: str = realtime()
    media: Medium = realtime()
    state: HandlingState = realtime()
    since_ms: int | None = realtime()
    direct: bool | None = realtime()
    queue_id: str | None = realtime()


@value()
class PostProcessing:
    """What follows an agent's contact."""

    since_ms: int | None = realtime()
    ends_at_ms: int | None = realtime()
    extendable: bool | None = realtime()
    next_state: RoutingState | None = realtime()
    reason_id: str | None = realtime()


@dataclass(frozen=True, slots=True)
class AutoPostProcessing:
    """Whether post-processing begins by itself; only sent of one's own agent."""

    on: bool | None = personal()
    duration_s: int | None = personal()


@value()
class Media:
    """Which media an agent is logged on to."""

    voice: Switch | None = realtime()
    callback: Switch | None = realtime()
    email: Switch | None = realtime()
    web_collaboration: Switch | None = realtime()
    open_media: Switch | None = realtime()


@value()
class Agent:
    """A user to whom contacts are routed."""

    display_name: str | None = personal()
    extension: str | None = personal()
    group_ids: tuple[str, ...] = neutral(many=True)
    queue_ids: tuple[str, ...] = neutral(many=True)
    skills: tuple[AgentSkill, ...] = personal(many=True)
    routing_state: RoutingState | None = realtime()
    routing_state_since_ms: int | None = realtime()
    reason_id: str | None = realtime()
    routing_state_by: Actor | None = realtime()
    pending_routing_state: RoutingState | None = realtime()
    pending_by: Actor | None = realtime()
    pending_reason_id: str | None = realtime()
    pending_post_processing: bool | None = realtime()
    handling: tuple[Handling, ...] = realtime(many=True)
    post_processing: PostProcessing | None = realtime()
    auto_post_processing: AutoPostProcessing | None = personal()
    media: Media | None = realtime()
    presence_state: str | None = realtime()
    logged_on_remotely: bool | None = realtime()
    app_present: bool | None = realtime()
    app_absent_since_ms: int | None = realtime()
    handled_today: int | None = realtime()
    talk_s_today: float | None = realtime()
    day_start_ms: int | None = neutral()
    allowed_actions: tuple[str, ...] = realtime(many=True)
    version: int | None = neutral()


@value()
class Queue:
    """A queue and its figures."""

    name: str | None = neutral()
    media: Medium | None = neutral()
    skill_ids: tuple[str, ...] | None = neutral()
    contacts_waiting: int | None = realtime()
    oldest_since_ms: int | None = realtime()
    service_level_pct: float | None = realtime()
    service_level_threshold_s: float | None = neutral()
    service_level_formula: str | None = neutral()
    abandoned_rate_pct: float | None = realtime()
    estimated_wait_s: float | None = realtime()
    agents_logged_on: int | None = realtime()
    agents_available: int | None = realtime()
    agents_handling: int | None = realtime()
    agents_post_processing: int | None = realtime()
    agents_unavailable: int | None = realtime()
    agents_work: int | None = realtime()
    window_start_ms: int | None = neutral()
    received: int | None = realtime()
    answered: int | None = realtime()
    abandoned: int | None = realtime()
    average_wait_s: float | None = realtime()
    maximum_wait_s: float | None = realtime()
    level: Literal["ok", "attention", "action", "unknown"] | None = realtime()
    routing_parameters: dict[str, Parameter] | None = neutral()
    version: int | None = neutral()


@value()
class QueueEntry:
    """What the directory holds of a queue: a part of :class:`Queue`, in a quarter of its memory."""

    name: str | None = neutral()
    media: Medium | None = neutral()
    skill_ids: tuple[str, ...] | None = neutral()


@value()
class QueueFigures:
    """A queue's realtime figures: a part of :class:`Queue`, in less memory."""

    contacts_waiting: int | None = realtime()
    oldest_since_ms: int | None = realtime()
    service_level_pct: float | None = realtime()
    service_level_threshold_s: float | None = neutral()
    service_level_formula: str | None = neutral()
    abandoned_rate_pct: float | None = realtime()
    estimated_wait_s: float | None = realtime()
    agents_logged_on: int | None = realtime()
    agents_available: int | None = realtime()
    agents_handling: int | None = realtime()
    agents_post_processing: int | None = realtime()
    agents_unavailable: int | None = realtime()
    agents_work: int | None = realtime()
    level: Literal["ok", "attention", "action", "unknown"] | None = realtime()


@value()
class QueueWindow:
    """What a queue has counted since its window began: a part of :class:`Queue`, in less memory."""

    window_start_ms: int | None = neutral()
    received: int | None = realtime()
    answered: int | None = realtime()
    abandoned: int | None = realtime()
    average_wait_s: float | None = realtime()
    maximum_wait_s: float | None = realtime()


@value()
class Group:
    """A group of agents and its figures."""

    name: str | None = neutral()
    users_logged_on: int | None = realtime()
    users_idle: int | None = realtime()
    users_busy: int | None = realtime()
    users_away: int | None = realtime()
    users_handling_routed: int | None = realtime()
    users_handling_direct: int | None = realtime()
    calls_waiting: int | None = realtime()
    routing_parameters: dict[str, Parameter] | None = neutral()
    version: int | None = neutral()


@value()
class Aggregate:
    """Figures over several queues."""

    name: str | None = neutral()
    queue_ids: tuple[str, ...] = neutral(many=True)
    contacts_waiting: int | None = realtime()
    service_level_pct: float | None = realtime()
    oldest_since_ms: int | None = realtime()


@dataclass(frozen=True, slots=True)
class Functions:
    """Which functions of the OSCC-E Server work."""

    realtime: FunctionState = neutral()
    routing: FunctionState = neutral()
    administration: FunctionState = neutral()
    voice: FunctionState = neutral()
    email: FunctionState = neutral()
    callback: FunctionState = neutral()
    web_collaboration: FunctionState = neutral()
    remote_agent: FunctionState = neutral()


@dataclass(frozen=True, slots=True)
class Site:
    """The OSCC-E Server itself."""

    extensions_version: str | None = neutral()
    contact_center_version: str | None = neutral()
    functions: Functions | None = neutral()


@dataclass(frozen=True, slots=True)
class LastEnd:
    """How the user's previous session ended."""

    reason: str | None = personal()
    by: str | None = personal()
    at_ms: int | None = personal()


@dataclass(frozen=True, slots=True)
class Me:
    """The session's own user, as one session may see them."""

    user_id: str | None = personal()
    display_name: str | None = personal()
    agent: str | None = personal()
    """The id of the own agent, or None."""
    rights: tuple[Right, ...] = neutral(many=True)
    scope_size: int | None = neutral()
    remote_number: str | None = personal(shown=False)
    """In full in the Remote Assistant's session, masked in the user's others."""
    last_end: LastEnd | None = personal()


Resource = Agent | Queue | Group | Aggregate | Site | Me | Skills | Reasons | RoutingParameters
RESOURCES: Final[dict[str, type[Resource]]] = {
    "agent": Agent,
    "queue": Queue,
    "group": Group,
    "aggregate": Aggregate,
    "site": Site,
    "me": Me,
    "catalogue:skills": Skills,
    "catalogue:reasons": Reasons,
    "catalogue:routing_parameters": RoutingParameters,
}
"""Prefix of a key, or the whole key, → the type of its value."""


def resource_type(key: str) -> type[Resource] | None:
    """Return the type of the value that stands under *key*, or None when no resource has such a key."""
    return RESOURCES.get(key) or RESOURCES.get(key.partition(":")[0])


STEADY_MS: Final = 2_000
"""Instants that move by no more than this make no change."""

Composed = Agent | Queue | Group | Aggregate
