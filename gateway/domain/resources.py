"""Resources that phones see, with the privacy class of each field.

Each resource is an immutable value; every field carries its class of :mod:`gateway.domain.privacy`.
Units: ``*_ms`` instants in ms since 1970 UTC (gateway time), ``*_s`` seconds, ``*_pct`` 0..100.
Unknown or not applicable is None; None is left out of the wire form.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

from gateway.domain.catalogue import Parameter, Reasons, RoutingParameters, Skills
from gateway.domain.model import Right
from gateway.domain.privacy import neutral, personal, realtime, value


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
    """Whether post-processing begins by itself; told of one's own agent only."""

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
    pending_routing_state: RoutingState | None = realtime()
    pending_by: Actor | None = realtime()
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
    """The session's own user, as one session may see him."""

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
