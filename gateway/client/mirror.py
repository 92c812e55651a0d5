"""Mirror: the client's copy of the contact centre, the types of its values, and the events beside it."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypedDict

from gateway.domain.model import Kind
from gateway.protocol.frames import (
    BusHealth,
    Changes,
    ErrorFrame,
    HealthStatus,
    NoticeFrame,
    Ping,
    StreamPosition,
)

Value = Mapping[str, object]
"""A resource with the field names of the protocol's page. A missing field is null."""
Listener = Callable[[str, Value | None, Value | None], None]
"""Called with a key, its value before and its value after; None where there is none."""

PARTS_MAX: Final = 1024
"""Parts of one answer that are held back; more (256 MiB) can only be a fault of the gateway."""


class FrameResult(enum.Enum):
    """Result of a frame."""

    APPLIED = enum.auto()
    HELD_BACK = enum.auto()
    """A part of an answer whose last part is missing: it must not be shown yet."""
    GAP = enum.auto()
    """It does not continue the mirror: nothing changed; request a reset."""


class ClientMirror(Mapping[str, Value]):
    """Keys and values from the gateway; in memory only.

    Invariants: values and position belong together, before and after every frame. An answer of several parts
    is applied as a whole or not at all. After a gap nothing changes until a reset. Values are read-only.
    Listeners are called after a whole frame was processed, and must not raise.
    """

    __slots__ = ("_listeners", "_lost", "_parts", "_position", "_values")

    def __init__(self) -> None:
        self._values: dict[str, MappingProxyType[str, object]] = {}
        self._position: StreamPosition | None = None
        self._parts: list[Changes] = []
        self._lost = False
        self._listeners: list[Listener] = []

    # ---- what one reads ----

    def __getitem__(self, key: str) -> Value:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def position(self) -> StreamPosition | None:
        """The position to resume from; None before the first reset."""
        return self._position

    @property
    def lost(self) -> bool:
        """Whether a gap was found and its reset has not arrived."""
        return self._lost

    def of(self, kind: Kind) -> Iterator[tuple[str, Value]]:
        """Return id and value of each resource of *kind*."""
        prefix = f"{kind}:"
        return ((key[len(prefix) :], value) for key, value in self._values.items() if key.startswith(prefix))

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* with every change from now on; return a function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ---- inputs ----

    def reopen(self) -> None:
        """Record that a new connection begins: incomplete parts of an answer are dropped."""
        self._parts.clear()
        self._lost = False

    def clear(self) -> None:
        """Remove all values: the session is over."""
        self.reopen()
        self._position = None
        self._commit(dict.fromkeys(self._values))

    def receive(self, frame: Changes | Ping) -> FrameResult:
        """Process a frame of the gateway."""
        if isinstance(frame, Ping):
            return self._ping(frame)
        if not self._continues(frame):
            return self._gap()
        self._parts.append(frame)
        if frame.more:
            return FrameResult.HELD_BACK
        return self._apply(self._parts)

    # ---- inner ----

    def _continues(self, frame: Changes) -> bool:
        if frame.reset:
            # parts are never interleaved, so a reset during an incomplete answer begins a new one
            self._parts.clear()
            return frame.stream is not None
        if self._parts:
            first = self._parts[0]
            return frame.after == first.after and frame.stream is None and len(self._parts) < PARTS_MAX
        if self._lost or self._position is None or frame.after != self._position.seq:
            return False
        return frame.stream is not None or frame.upto >= frame.after

    def _ping(self, ping: Ping) -> FrameResult:
        position = self._position
        if position is None or self._lost or self._parts or not position.seq == ping.after <= ping.upto:
            return self._gap()
        self._position = StreamPosition(position.stream, ping.upto)
        return FrameResult.APPLIED

    def _gap(self) -> FrameResult:
        self._parts.clear()
        self._lost = True
        return FrameResult.GAP

    def _apply(self, parts: list[Changes]) -> FrameResult:
        first, last = parts[0], parts[-1]
        news = self._merged(parts)
        if news is None:
            return self._gap()
        if first.reset:
            news |= dict.fromkeys(self._values.keys() - news.keys())
        stream = first.stream
        if stream is None and self._position is not None:
            stream = self._position.stream
        self._position = StreamPosition(stream or "", last.upto)
        self._parts = []
        self._lost = False
        self._commit(news)
        return FrameResult.APPLIED

    def _merged(self, parts: list[Changes]) -> dict[str, MappingProxyType[str, object] | None] | None:
        """Return the values of the keys in *parts*; None when a patch has no value to change."""
        held = {} if parts[0].reset else self._values
        news: dict[str, MappingProxyType[str, object] | None] = {}
        for part in parts:
            for key, value in part.put.items():
                news[key] = _value(value)
            for key, fields in part.patch.items():
                before = news[key] if key in news else held.get(key)
                if before is None:
                    return None
                news[key] = _value(before | fields)
            news |= dict.fromkeys(part.gone)
        return news

    def _commit(self, news: Mapping[str, MappingProxyType[str, object] | None]) -> None:
        changed: list[tuple[str, Value | None, Value | None]] = []
        for key, after in news.items():
            before = self._values.get(key)
            if after is None:
                self._values.pop(key, None)
            else:
                self._values[key] = after
            if before != after:
                changed.append((key, before, after))
        for listener in tuple(self._listeners):
            for change in changed:
                listener(*change)


def _value(fields: dict[str, object]) -> MappingProxyType[str, object]:
    if None in fields.values():
        fields = {name: member for name, member in fields.items() if member is not None}
    return MappingProxyType(fields)


KEPT: Final = 64
"""Events that wait for one reader; a slower reader loses the oldest."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The mirror is in sync. *resumed*: only missing changes were sent."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection is gone for *reason*; the next try is in *in_s*."""

    in_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event: no connection will follow. *by*: who ended the session, if it is known."""

    code: int
    """A close code; its range shows the verdict (:func:`gateway.domain.errors.verdict`)."""
    reason: str
    by: str | None


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """The freshness of the data, whenever a ping changes it.

    *as_of_ms* is None before the first snapshot; gateway clock.
    """

    upstream: HealthStatus
    bus: BusHealth
    as_of_ms: int | None


@dataclass(frozen=True, slots=True)
class NoticeShown:
    """A message for the user; if it must be acknowledged, ask the user and call the client."""

    notice: NoticeFrame


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway did not serve a frame that no call waits for."""

    error: ErrorFrame


@dataclass(frozen=True, slots=True)
class TokenRenewed:
    """The session has a new token: a program that stores tokens stores ``client.session`` again."""

    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class LogOffDelayed:
    """Log-off is not confirmed: until *routed_until_ms* calls may still be routed to the remote number.

    It is None when no gateway answered, or when the gateway has no such instant.

    *retry_in_s*: the wait before the next request; for another session the gateway's advice, if any.
    """

    routed_until_ms: int | None
    retry_in_s: float | None = None


Event = (
    Connected | Reconnecting | Ended | HealthChanged | NoticeShown | Refused | TokenRenewed | LogOffDelayed
)


class EventStream:
    """Events for any number of readers.

    Invariant: a reader gets the events in order from its first step on, or the newest :data:`KEPT` of them.
    It ends when the stream is closed and all earlier events were read.
    """

    __slots__ = ("_closed", "_readers")

    def __init__(self) -> None:
        self._readers: list[tuple[deque[Event], asyncio.Event]] = []
        self._closed = False

    def publish(self, event: Event) -> None:
        """Give *event* to every reader."""
        for waiting, arrived in self._readers:
            waiting.append(event)
            arrived.set()

    def close(self) -> None:
        """End all readers after the events that they have."""
        self._closed = True
        for _, arrived in self._readers:
            arrived.set()

    def read(self) -> AsyncIterator[Event]:
        """Return the events from now on."""
        reader = (deque[Event](maxlen=KEPT), asyncio.Event())
        self._readers.append(reader)
        return self._drain(reader)

    async def _drain(self, reader: tuple[deque[Event], asyncio.Event]) -> AsyncIterator[Event]:
        waiting, arrived = reader
        try:
            while True:
                while waiting:
                    yield waiting.popleft()
                if self._closed:
                    return
                arrived.clear()
                await arrived.wait()
        finally:
            self._readers.remove(reader)


# ---- types of values ----

# for a type checker: cast(AgentValue, client.mirror["agent:5"]); a field that is absent is null

# ---- resources: written by docs/_generate/fields.py ----

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
    """The id of a skill of the agent."""
    level: int
    """How well the agent has the skill."""
    preference: int
    """How much the agent is preferred for the skill."""
    active: bool
    """Whether contacts are routed to the agent by the skill."""


class HandlingValue(TypedDict, total=False):
    """One contact that an agent has in hand."""

    contact_id: str
    """The id of the contact."""
    media: Medium
    """The medium of the contact."""
    state: HandlingState
    """How far the agent is with the contact."""
    since_ms: int
    """When this state began."""
    direct: bool
    """Whether the contact came to the agent directly, not from a queue."""
    queue_id: str
    """The queue from which the contact came."""


class PostProcessingValue(TypedDict, total=False):
    """Post-processing of an agent."""

    since_ms: int
    """When post-processing began."""
    ends_at_ms: int
    """When post-processing ends by itself."""
    extendable: bool
    """Whether post-processing can still be extended."""
    next_state: RoutingState
    """The routing state that follows post-processing."""
    reason_id: str
    """The reason of the state that follows."""


class AutoPostProcessingValue(TypedDict, total=False):
    """Whether post-processing begins by itself; only sent of one's own agent."""

    on: bool
    """Whether post-processing follows each contact by itself; only on the user's own agent."""
    duration_s: int
    """How long post-processing lasts when it follows by itself; only on the user's own agent."""


class MediaValue(TypedDict, total=False):
    """Which media an agent is logged on to."""

    voice: Switch
    """Whether the agent is logged on to calls."""
    callback: Switch
    """Whether the agent is logged on to callbacks."""
    email: Switch
    """Whether the agent is logged on to e-mail."""
    web_collaboration: Switch
    """Whether the agent is logged on to web collaboration."""
    open_media: Switch
    """Whether the agent is logged on to open media."""


class AgentValue(TypedDict, total=False):
    """A user to whom contacts are routed."""

    display_name: str
    """The agent's name."""
    extension: str
    """The extension at which contacts reach the agent."""
    group_ids: Sequence[str]
    """The groups that the agent is a member of."""
    queue_ids: Sequence[str]
    """The queues that the agent serves."""
    skills: Sequence[AgentSkillValue]
    """The agent's skills."""
    routing_state: RoutingState
    """Whether contacts are routed to the agent; there is no state "busy": `handling` shows it."""
    routing_state_since_ms: int
    """When the routing state began."""
    reason_id: str
    """The reason of the routing state."""
    routing_state_by: RequestedBy
    """Who set the routing state; a role, never a name."""
    pending_routing_state: RoutingState
    """The state that follows when handling ends."""
    pending_by: RequestedBy
    """Who requested the pending routing state; a role, never a name."""
    pending_reason_id: str
    """The reason of the pending routing state."""
    pending_post_processing: bool
    """`true` while post-processing was requested to follow the contact that is being handled."""
    handling: Sequence[HandlingValue]
    """The contacts that the agent has in hand."""
    post_processing: PostProcessingValue
    """The agent's post-processing; `null` without one."""
    auto_post_processing: AutoPostProcessingValue
    """Whether post-processing begins by itself."""
    media: MediaValue
    """The media that the agent is logged on to."""
    presence_state: str
    """Presence as the OSCC-E Server names it."""
    logged_on_remotely: bool
    """Whether the agent is logged on with a remote number."""
    app_present: bool
    """Whether the OSCC-E Server reports the agent's app as connected."""
    app_absent_since_ms: int
    """Since when the OSCC-E Server reports it as not connected."""
    handled_today: int
    """Contacts handled since `day_start_ms`."""
    talk_s_today: float
    """Time in conversation since `day_start_ms`."""
    day_start_ms: int
    """When the count of `handled_today` and `talk_s_today` began."""
    allowed_actions: Sequence[str]
    """The actions that the state allows; a client offers those that its rights allow too."""
    version: int
    """The version of the skills; for `if_version`."""


class QueueValue(TypedDict, total=False):
    """A queue and its figures."""

    name: str
    """The name of the queue."""
    media: Medium
    """The medium of its contacts."""
    skill_ids: Sequence[str]
    """The skills that an agent needs to serve the queue; `null` where the server does not report them."""
    contacts_waiting: int
    """Contacts that wait in the queue now."""
    oldest_since_ms: int
    """When the contact that has waited longest came; `null` when none waits."""
    service_level_pct: float
    """Share of contacts that were answered in time, by `service_level_formula`; `null` when there was none to
    count.
    """
    service_level_threshold_s: float
    """The wait that counts as "in time"."""
    service_level_formula: str
    """The OSCC-E Server's formula of the service level."""
    abandoned_rate_pct: float
    """Share of finished contacts that were abandoned before an answer; `null` when none has finished."""
    estimated_wait_s: float
    """The OSCC-E Server's estimate for a contact that comes now."""
    agents_logged_on: int
    """Agents of the queue who are logged on."""
    agents_available: int
    """Agents available, without a contact or post-processing."""
    agents_handling: int
    """Agents who handle a contact, of any queue."""
    agents_post_processing: int
    """Agents in post-processing."""
    agents_unavailable: int
    """Agents unavailable, without a contact or post-processing."""
    agents_work: int
    """Agents in work, without a contact or post-processing."""
    window_start_ms: int
    """When the count of the next five fields began."""
    received: int
    """Contacts that came."""
    answered: int
    """Contacts that were answered."""
    abandoned: int
    """Contacts that were abandoned before an answer."""
    average_wait_s: float
    """The mean wait of answered contacts; `null` when none was answered."""
    maximum_wait_s: float
    """The longest wait; `null` when the OSCC-E Server has none."""
    level: QueueLevel
    """The OSCC-E Server's judgement of the queue."""
    routing_parameters: Mapping[str, ParameterValue]
    """The value of each routing parameter, by name; a reference is an id."""
    version: int
    """The version of the routing parameters; for `if_version`."""


class GroupValue(TypedDict, total=False):
    """A group of agents and its figures."""

    name: str
    """The name of the group."""
    users_logged_on: int
    """Members who are logged on."""
    users_idle: int
    """Members who are available, without a contact or post-processing."""
    users_busy: int
    """Members with a contact or in post-processing."""
    users_away: int
    """All other members who are logged on."""
    users_handling_routed: int
    """Members with a contact from a queue."""
    users_handling_direct: int
    """Members with a direct contact."""
    calls_waiting: int
    """Contacts that wait in the queues of the group."""
    routing_parameters: Mapping[str, ParameterValue]
    """The value of each routing parameter, by name; a reference is an id."""
    version: int
    """The version of the routing parameters; for `if_version`."""


class AggregateValue(TypedDict, total=False):
    """Figures over several queues."""

    name: str
    """The name of the aggregate."""
    queue_ids: Sequence[str]
    """Its queues."""
    contacts_waiting: int
    """Contacts that wait in these queues now."""
    service_level_pct: float
    """Share of contacts of these queues that were answered in time; `null` when there was none to count."""
    oldest_since_ms: int
    """When the contact that has waited longest came; `null` when none waits."""


class FunctionsValue(TypedDict, total=False):
    """Which functions of the OSCC-E Server work."""

    realtime: FunctionState
    """The state of realtime figures."""
    routing: FunctionState
    """The state of routing."""
    administration: FunctionState
    """The state of administration."""
    voice: FunctionState
    """The state of calls."""
    email: FunctionState
    """The state of e-mail."""
    callback: FunctionState
    """The state of callbacks."""
    web_collaboration: FunctionState
    """The state of web collaboration."""
    remote_agent: FunctionState
    """The state of routing to remote numbers."""


class SiteValue(TypedDict, total=False):
    """The OSCC-E Server itself."""

    extensions_version: str
    """The version of the OSCC-E Server's extensions for the gateway."""
    contact_center_version: str
    """The version of the contact centre."""
    functions: FunctionsValue
    """Which functions of the OSCC-E Server work."""


class LastEndValue(TypedDict, total=False):
    """How the user's previous session ended."""

    reason: str
    """Why the user's previous session ended."""
    by: str
    """Who ended it."""
    at_ms: int
    """When it ended."""


class MeValue(TypedDict, total=False):
    """The session's own user, as one session may see them."""

    user_id: str
    """The id of the user."""
    display_name: str
    """The user's name."""
    agent: str
    """The id of the user's own agent; `null` for a user without one."""
    rights: Sequence[Right]
    """What the session may do."""
    scope_size: int
    """How many resources the session may see."""
    remote_number: str
    """The number to which contacts are routed: whole in the Remote Assistant's session, masked in the user's
    others.
    """
    last_end: LastEndValue
    """How the user's previous session ended."""


class SkillValue(TypedDict, total=False):
    """A skill that agents may have, with its bounds."""

    skill_id: str
    """The id of the skill."""
    name: str
    """The name."""
    level_min: int
    """The lowest level that an agent may have."""
    level_max: int
    """The highest level that an agent may have."""
    preference_min: int
    """The lowest preference that an agent may have."""
    preference_max: int
    """The highest preference that an agent may have."""


class SkillsValue(TypedDict, total=False):
    """The catalogue of skills."""

    skills: Sequence[SkillValue]
    """All skills."""


class ReasonValue(TypedDict, total=False):
    """A reason that agents may give for a state. A state needs one when any reason lists it."""

    reason_id: str
    """The id of the reason."""
    kind: ReasonKind
    """What it is given for: a state, or a contact that has ended (`wrapup`)."""
    name: str
    """The name."""
    required_for: Sequence[str]
    """The states that need a reason."""


class ReasonsValue(TypedDict, total=False):
    """The catalogue of reasons."""

    reasons: Sequence[ReasonValue]
    """All reasons."""


class RoutingParameterValue(TypedDict, total=False):
    """A routing parameter of queues or groups, with its type and bounds."""

    name: str
    """The name of the parameter, as in `routing_parameters`."""
    applies_to: str
    """What has the parameter: `queue` or `group`."""
    data_type: str
    """The type of the value: `boolean`, `integer`, `number`, `string`, `enum`, a reference such as
    `queue_reference`, or another word of the OSCC-E Server.
    """
    min: float
    """The lowest value."""
    max: float
    """The highest value."""
    step: float
    """The distance between two values."""
    values: Sequence[ParameterValue]
    """The values to choose from; `null` where any value within the bounds may be set."""
    unit: str
    """The unit of the value."""
    read_only: bool
    """Whether the parameter cannot be set."""
    default: ParameterValue
    """The value that the parameter has until it is set; a reference is an id."""


class RoutingParametersValue(TypedDict, total=False):
    """The catalogue of routing parameters."""

    parameters: Sequence[RoutingParameterValue]
    """All routing parameters."""


# ---- end of the resources ----
