"""Types of the values in a mirror: ``cast(AgentValue, client.mirror["agent:5"])``.

Written by docs/_generate/sdk_types.py from the schemas. A field that is absent is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

RoutingState = Literal["logged_off", "available", "unavailable", "work", "unknown"]
RequestedBy = Literal["self", "supervisor", "system", "unknown"]
Medium = Literal["voice", "callback", "email", "web_collaboration", "open_media", "unknown"]
HandlingState = Literal[
    "pending",
    "ringing",
    "talking",
    "holding",
    "consulting",
    "post_processing",
    "unknown",
]
Switch = Literal["off", "on", "failed", "unknown"]
QueueLevel = Literal["ok", "attention", "action", "unknown"]
ParameterScalar = bool | int | float | str | None
ParameterValue = bool | int | float | str | Sequence[ParameterScalar] | None
FunctionState = Literal["up", "degraded", "down", "unknown"]
Right = Literal[
    "skills_write",
    "routing_state_write",
    "routing_parameters_write",
    "own_routing_state",
    "own_post_processing",
]
ReasonKind = Literal["unavailable", "work", "post_processing", "wrapup"]


class AgentSkillValue(TypedDict, total=False):
    """One skill of an agent."""

    skill_id: str
    level: int
    preference: int
    active: bool


class HandlingValue(TypedDict, total=False):
    """One contact that an agent has in hand."""

    contact_id: str
    media: Medium
    state: HandlingState
    since_ms: int
    direct: bool
    queue_id: str


class PostProcessingValue(TypedDict, total=False):
    """What follows an agent's contact."""

    since_ms: int
    ends_at_ms: int
    extendable: bool
    next_state: RoutingState
    reason_id: str


class AutoPostProcessingValue(TypedDict, total=False):
    """Whether post-processing begins by itself; only sent of one's own agent."""

    on: bool
    duration_s: int


class MediaValue(TypedDict, total=False):
    """Which media an agent is logged on to."""

    voice: Switch
    callback: Switch
    email: Switch
    web_collaboration: Switch
    open_media: Switch


class AgentValue(TypedDict, total=False):
    """A user to whom contacts are routed."""

    display_name: str
    extension: str
    group_ids: Sequence[str]
    queue_ids: Sequence[str]
    skills: Sequence[AgentSkillValue]
    routing_state: RoutingState
    routing_state_since_ms: int
    reason_id: str
    routing_state_by: RequestedBy
    pending_routing_state: RoutingState
    pending_by: RequestedBy
    pending_reason_id: str
    pending_post_processing: bool
    handling: Sequence[HandlingValue]
    post_processing: PostProcessingValue
    auto_post_processing: AutoPostProcessingValue
    media: MediaValue
    presence_state: str
    logged_on_remotely: bool
    app_present: bool
    app_absent_since_ms: int
    handled_today: int
    talk_s_today: float
    day_start_ms: int
    allowed_actions: Sequence[str]
    version: int


class QueueValue(TypedDict, total=False):
    """A queue and its figures."""

    name: str
    media: Medium
    skill_ids: Sequence[str]
    contacts_waiting: int
    oldest_since_ms: int
    service_level_pct: float
    service_level_threshold_s: float
    service_level_formula: str
    abandoned_rate_pct: float
    estimated_wait_s: float
    agents_logged_on: int
    agents_available: int
    agents_handling: int
    agents_post_processing: int
    agents_unavailable: int
    agents_work: int
    window_start_ms: int
    received: int
    answered: int
    abandoned: int
    average_wait_s: float
    maximum_wait_s: float
    level: QueueLevel
    routing_parameters: Mapping[str, ParameterValue]
    version: int


class GroupValue(TypedDict, total=False):
    """A group of agents and its figures."""

    name: str
    users_logged_on: int
    users_idle: int
    users_busy: int
    users_away: int
    users_handling_routed: int
    users_handling_direct: int
    calls_waiting: int
    routing_parameters: Mapping[str, ParameterValue]
    version: int


class AggregateValue(TypedDict, total=False):
    """Figures over several queues."""

    name: str
    queue_ids: Sequence[str]
    contacts_waiting: int
    service_level_pct: float
    oldest_since_ms: int


class FunctionsValue(TypedDict, total=False):
    """Which functions of the OSCC-E Server work."""

    realtime: FunctionState
    routing: FunctionState
    administration: FunctionState
    voice: FunctionState
    email: FunctionState
    callback: FunctionState
    web_collaboration: FunctionState
    remote_agent: FunctionState


class SiteValue(TypedDict, total=False):
    """The OSCC-E Server itself."""

    extensions_version: str
    contact_center_version: str
    functions: FunctionsValue


class LastEndValue(TypedDict, total=False):
    """How the user's previous session ended."""

    reason: str
    by: str
    at_ms: int


class MeValue(TypedDict, total=False):
    """The session's own user, as one session may see them."""

    user_id: str
    display_name: str
    agent: str
    rights: Sequence[Right]
    scope_size: int
    remote_number: str
    last_end: LastEndValue


class SkillValue(TypedDict, total=False):
    """A skill that agents may have, with its bounds."""

    skill_id: str
    name: str
    level_min: int
    level_max: int
    preference_min: int
    preference_max: int


class SkillsValue(TypedDict, total=False):
    """The catalogue of skills."""

    skills: Sequence[SkillValue]


class ReasonValue(TypedDict, total=False):
    """A reason that agents may give for a state. A state needs one when any reason lists it."""

    reason_id: str
    kind: ReasonKind
    name: str
    required_for: Sequence[str]


class ReasonsValue(TypedDict, total=False):
    """The catalogue of reasons."""

    reasons: Sequence[ReasonValue]


class RoutingParameterValue(TypedDict, total=False):
    """A routing parameter of queues or groups, with its type and bounds."""

    name: str
    applies_to: str
    data_type: str
    min: float
    max: float
    step: float
    values: Sequence[ParameterValue]
    unit: str
    read_only: bool
    default: ParameterValue


class RoutingParametersValue(TypedDict, total=False):
    """The catalogue of routing parameters."""

    parameters: Sequence[RoutingParameterValue]
