"""Resources that phones see, catalogues among them, with the privacy class of each field.

Each resource is an immutable value. A field is declared once, with its privacy class and its meaning: the
inventory, the schemas, the types of the SDKs and the tables of docs/protocol.md and docs/privacy.md are
generated from it.
Units: ``*_ms`` instants in ms since 1970 UTC (gateway time), ``*_s`` seconds, ``*_pct`` 0..100.
Unknown or not applicable is None; None is left out of the wire form.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.domain.model import Right, value


class Privacy(enum.StrEnum):
    """How a field may be handled."""

    NEUTRAL = "neutral"
    PERSONAL = "personal"
    REALTIME = "realtime"
    CREDENTIAL = "credential"


Words = tuple[str, str]
"""The name of a figure in English and in German, as the web client shows it."""


def _of(privacy: Privacy, meaning: str, *, many: bool, shown: bool = True, words: Words | None = None) -> Any:  # noqa: ANN401 - dataclasses.field returns Any by design
    default: object = () if many else None
    metadata = {"privacy": privacy, "meaning": meaning, "words": words}
    return dataclasses.field(default=default, repr=shown, metadata=metadata)


def neutral(meaning: str, *, many: bool = False) -> Any:  # noqa: ANN401 - as _of
    """Declare a field that reveals nothing about a person, and its *meaning* in one line.

    Pages, schemas and the types of the SDKs give the meaning of a field as it stands here.
    """
    return _of(Privacy.NEUTRAL, meaning, many=many)


def personal(meaning: str, *, many: bool = False, shown: bool = True) -> Any:  # noqa: ANN401 - as _of
    """Declare a field that identifies or describes a person. *shown*: whether a repr shows it."""
    return _of(Privacy.PERSONAL, meaning, many=many, shown=shown)


def realtime(meaning: str, *, many: bool = False, words: Words | None = None) -> Any:  # noqa: ANN401 - as _of
    """Declare a field with a present state; never stored anywhere.

    A figure with *words* is in the web client's list of figures; the views place the others themselves.
    """
    return _of(Privacy.REALTIME, meaning, many=many, words=words)


# ---- values ----

Scalar = bool | int | float | str | None
Parameter = Scalar | tuple[Scalar, ...]
"""Value of a routing parameter; references to other objects are id strings."""


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill that agents may have, with its bounds."""

    skill_id: str = neutral("the id of the skill")
    name: str | None = neutral("the name")
    level_min: int | None = neutral("the lowest level that an agent may have")
    level_max: int | None = neutral("the highest level that an agent may have")
    preference_min: int | None = neutral("the lowest preference that an agent may have")
    preference_max: int | None = neutral("the highest preference that an agent may have")


@dataclass(frozen=True, slots=True)
class Skills:
    """The catalogue of skills."""

    skills: tuple[Skill, ...] = neutral("all skills", many=True)


ReasonKind = Literal["unavailable", "work", "post_processing", "wrapup"]


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason that agents may give for a state. A state needs one when any reason lists it."""

    reason_id: str = neutral("the id of the reason")
    kind: ReasonKind = neutral("what it is given for: a state, or a contact that has ended (`wrapup`)")
    name: str | None = neutral("the name")
    required_for: tuple[str, ...] = neutral("the states that need a reason", many=True)


@dataclass(frozen=True, slots=True)
class Reasons:
    """The catalogue of reasons."""

    reasons: tuple[Reason, ...] = neutral("all reasons", many=True)


@dataclass(frozen=True, slots=True)
class RoutingParameter:
    """A routing parameter of queues or groups, with its type and bounds."""

    name: str = neutral("the name of the parameter, as in `routing_parameters`")
    applies_to: str = neutral("what has the parameter: `queue` or `group`")
    data_type: str = neutral(
        "the type of the value: `boolean`, `integer`, `number`, `string`, `enum`, a reference such as "
        "`queue_reference`, or another word of the OSCC-E Server"
    )
    min: float | None = neutral("the lowest value")
    max: float | None = neutral("the highest value")
    step: float | None = neutral("the distance between two values")
    values: tuple[Parameter, ...] | None = neutral(
        "the values to choose from; `null` where any value within the bounds may be set"
    )
    unit: str | None = neutral("the unit of the value")
    read_only: bool | None = neutral("whether the parameter cannot be set")
    default: Parameter = neutral("the value that the parameter has until it is set; a reference is an id")


@dataclass(frozen=True, slots=True)
class RoutingParameters:
    """The catalogue of routing parameters."""

    parameters: tuple[RoutingParameter, ...] = neutral("all routing parameters", many=True)


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

    skill_id: str = neutral("the id of a skill of the agent")
    level: int | None = personal("how well the agent has the skill")
    preference: int | None = personal("how much the agent is preferred for the skill")
    active: bool | None = personal("whether contacts are routed to the agent by the skill")


@value()
class Handling:
    """One contact that an agent has in hand."""

    contact_id: str = realtime("the id of the contact")
    media: Medium = realtime("the medium of the contact")
    state: HandlingState = realtime("how far the agent is with the contact")
    since_ms: int | None = realtime("when this state began")
    direct: bool | None = realtime("whether the contact came to the agent directly, not from a queue")
    queue_id: str | None = realtime("the queue from which the contact came")


@value()
class PostProcessing:
    """Post-processing of an agent."""

    since_ms: int | None = realtime("when post-processing began")
    ends_at_ms: int | None = realtime("when post-processing ends by itself")
    extendable: bool | None = realtime("whether post-processing can still be extended")
    next_state: RoutingState | None = realtime("the routing state that follows post-processing")
    reason_id: str | None = realtime("the reason of the state that follows")


@dataclass(frozen=True, slots=True)
class AutoPostProcessing:
    """Whether post-processing begins by itself; only sent of one's own agent."""

    on: bool | None = personal(
        "whether post-processing follows each contact by itself; only on the user's own agent"
    )
    duration_s: int | None = personal(
        "how long post-processing lasts when it follows by itself; only on the user's own agent"
    )


@value()
class Media:
    """Which media an agent is logged on to."""

    voice: Switch | None = realtime("whether the agent is logged on to calls")
    callback: Switch | None = realtime("whether the agent is logged on to callbacks")
    email: Switch | None = realtime("whether the agent is logged on to e-mail")
    web_collaboration: Switch | None = realtime("whether the agent is logged on to web collaboration")
    open_media: Switch | None = realtime("whether the agent is logged on to open media")


@value()
class Agent:
    """A user to whom contacts are routed."""

    display_name: str | None = personal("the agent's name")
    extension: str | None = personal("the extension at which contacts reach the agent")
    group_ids: tuple[str, ...] = neutral("the groups that the agent is a member of", many=True)
    queue_ids: tuple[str, ...] = neutral("the queues that the agent serves", many=True)
    skills: tuple[AgentSkill, ...] = personal("the agent's skills", many=True)
    routing_state: RoutingState | None = realtime(
        'whether contacts are routed to the agent; there is no state "busy": `handling` shows it'
    )
    routing_state_since_ms: int | None = realtime("when the routing state began")
    reason_id: str | None = realtime("the reason of the routing state")
    routing_state_by: Actor | None = realtime("who set the routing state; a role, never a name")
    pending_routing_state: RoutingState | None = realtime("the state that follows when handling ends")
    pending_by: Actor | None = realtime("who requested the pending routing state; a role, never a name")
    pending_reason_id: str | None = realtime("the reason of the pending routing state")
    pending_post_processing: bool | None = realtime(
        "`true` while post-processing was requested to follow the contact that is being handled"
    )
    handling: tuple[Handling, ...] = realtime("the contacts that the agent has in hand", many=True)
    post_processing: PostProcessing | None = realtime("the agent's post-processing; `null` without one")
    auto_post_processing: AutoPostProcessing | None = personal("whether post-processing begins by itself")
    media: Media | None = realtime("the media that the agent is logged on to")
    presence_state: str | None = realtime("presence as the OSCC-E Server names it")
    logged_on_remotely: bool | None = realtime("whether the agent is logged on with a remote number")
    app_present: bool | None = realtime("whether the OSCC-E Server reports the agent's app as connected")
    app_absent_since_ms: int | None = realtime("since when the OSCC-E Server reports it as not connected")
    handled_today: int | None = realtime("contacts handled since `day_start_ms`")
    talk_s_today: float | None = realtime("time in conversation since `day_start_ms`")
    day_start_ms: int | None = neutral("when the count of `handled_today` and `talk_s_today` began")
    allowed_actions: tuple[str, ...] = realtime(
        "the actions that the state allows; a client offers those that its rights allow too", many=True
    )
    version: int | None = neutral("the version of the skills; for `if_version`")


@value()
class Queue:
    """A queue and its figures."""

    name: str | None = neutral("the name of the queue")
    media: Medium | None = neutral("the medium of its contacts")
    skill_ids: tuple[str, ...] | None = neutral(
        "the skills that an agent needs to serve the queue; `null` where the server does not report them"
    )
    contacts_waiting: int | None = realtime("contacts that wait in the queue now")
    oldest_since_ms: int | None = realtime(
        "when the contact that has waited longest came; `null` when none waits"
    )
    service_level_pct: float | None = realtime(
        "share of contacts that were answered in time, by `service_level_formula`; `null` when there was "
        "none to count"
    )
    service_level_threshold_s: float | None = neutral('the wait that counts as "in time"')
    service_level_formula: str | None = neutral("the OSCC-E Server's formula of the service level")
    abandoned_rate_pct: float | None = realtime(
        "share of finished contacts that were abandoned before an answer; `null` when none has finished"
    )
    estimated_wait_s: float | None = realtime("the OSCC-E Server's estimate for a contact that comes now")
    agents_logged_on: int | None = realtime("agents of the queue who are logged on")
    agents_available: int | None = realtime("agents available, without a contact or post-processing")
    agents_handling: int | None = realtime("agents who handle a contact, of any queue")
    agents_post_processing: int | None = realtime("agents in post-processing")
    agents_unavailable: int | None = realtime("agents unavailable, without a contact or post-processing")
    agents_work: int | None = realtime("agents in work, without a contact or post-processing")
    window_start_ms: int | None = neutral("when the count of the next five fields began")
    received: int | None = realtime("contacts that came", words=("Received", "Eingegangen"))
    answered: int | None = realtime("contacts that were answered", words=("Answered", "Angenommen"))
    abandoned: int | None = realtime(
        "contacts that were abandoned before an answer", words=("Abandoned", "Verloren (Abbrüche)")
    )
    average_wait_s: float | None = realtime(
        "the mean wait of answered contacts; `null` when none was answered",
        words=("Average wait", "Mittlere Wartezeit"),
    )
    maximum_wait_s: float | None = realtime(
        "the longest wait; `null` when the OSCC-E Server has none",
        words=("Longest wait today", "Längste heute"),
    )
    level: Literal["ok", "attention", "action", "unknown"] | None = realtime(
        "the OSCC-E Server's judgement of the queue"
    )
    routing_parameters: dict[str, Parameter] | None = neutral(
        "the value of each routing parameter, by name; a reference is an id"
    )
    version: int | None = neutral("the version of the routing parameters; for `if_version`")


@value()
class QueueEntry:
    """What the directory holds of a queue: a part of :class:`Queue`, in a quarter of its memory."""

    name: str | None = None
    media: Medium | None = None
    skill_ids: tuple[str, ...] | None = None


@value()
class QueueFigures:
    """A queue's realtime figures: a part of :class:`Queue`, in less memory."""

    contacts_waiting: int | None = None
    oldest_since_ms: int | None = None
    service_level_pct: float | None = None
    service_level_threshold_s: float | None = None
    service_level_formula: str | None = None
    abandoned_rate_pct: float | None = None
    estimated_wait_s: float | None = None
    agents_logged_on: int | None = None
    agents_available: int | None = None
    agents_handling: int | None = None
    agents_post_processing: int | None = None
    agents_unavailable: int | None = None
    agents_work: int | None = None
    level: Literal["ok", "attention", "action", "unknown"] | None = None


@value()
class QueueWindow:
    """What a queue has counted since its window began: a part of :class:`Queue`, in less memory."""

    window_start_ms: int | None = None
    received: int | None = None
    answered: int | None = None
    abandoned: int | None = None
    average_wait_s: float | None = None
    maximum_wait_s: float | None = None


@value()
class Group:
    """A group of agents and its figures."""

    name: str | None = neutral("the name of the group")
    users_logged_on: int | None = realtime("members who are logged on")
    users_idle: int | None = realtime("members who are available, without a contact or post-processing")
    users_busy: int | None = realtime("members with a contact or in post-processing")
    users_away: int | None = realtime("all other members who are logged on")
    users_handling_routed: int | None = realtime(
        "members with a contact from a queue", words=("Handling routed", "Mit verteiltem Kontakt")
    )
    users_handling_direct: int | None = realtime(
        "members with a direct contact", words=("Handling direct", "Mit direktem Kontakt")
    )
    calls_waiting: int | None = realtime(
        "contacts that wait in the queues of the group", words=("Calls waiting", "Wartende Anrufe")
    )
    routing_parameters: dict[str, Parameter] | None = neutral(
        "the value of each routing parameter, by name; a reference is an id"
    )
    version: int | None = neutral("the version of the routing parameters; for `if_version`")


@value()
class Aggregate:
    """Figures over several queues."""

    name: str | None = neutral("the name of the aggregate")
    queue_ids: tuple[str, ...] = neutral("its queues", many=True)
    contacts_waiting: int | None = realtime("contacts that wait in these queues now")
    service_level_pct: float | None = realtime(
        "share of contacts of these queues that were answered in time; `null` when there was none to count"
    )
    oldest_since_ms: int | None = realtime(
        "when the contact that has waited longest came; `null` when none waits"
    )


@dataclass(frozen=True, slots=True)
class Functions:
    """Which functions of the OSCC-E Server work."""

    realtime: FunctionState = neutral("the state of realtime figures")
    routing: FunctionState = neutral("the state of routing")
    administration: FunctionState = neutral("the state of administration")
    voice: FunctionState = neutral("the state of calls")
    email: FunctionState = neutral("the state of e-mail")
    callback: FunctionState = neutral("the state of callbacks")
    web_collaboration: FunctionState = neutral("the state of web collaboration")
    remote_agent: FunctionState = neutral("the state of routing to remote numbers")


@dataclass(frozen=True, slots=True)
class Site:
    """The OSCC-E Server itself."""

    extensions_version: str | None = neutral("the version of the OSCC-E Server's extensions for the gateway")
    contact_center_version: str | None = neutral("the version of the contact centre")
    functions: Functions | None = neutral("which functions of the OSCC-E Server work")


@dataclass(frozen=True, slots=True)
class LastEnd:
    """How the user's previous session ended."""

    reason: str | None = personal("why the user's previous session ended")
    by: str | None = personal("who ended it")
    at_ms: int | None = personal("when it ended")


@dataclass(frozen=True, slots=True)
class Me:
    """The session's own user, as one session may see them."""

    user_id: str | None = personal("the id of the user")
    display_name: str | None = personal("the user's name")
    agent: str | None = personal("the id of the user's own agent; `null` for a user without one")
    rights: tuple[Right, ...] = neutral("what the session may do", many=True)
    scope_size: int | None = neutral("how many resources the session may see")
    remote_number: str | None = personal(
        "the number to which contacts are routed: whole in the Remote Assistant's session, masked in the "
        "user's others",
        shown=False,
    )
    last_end: LastEnd | None = personal("how the user's previous session ended")


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


STEADY_MS: Final = 2_000
"""Instants that move by no more than this make no change."""

Composed = Agent | Queue | Group | Aggregate
