"""Commands of users, requests on a link, and audit records."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, Right, SessionId, SessionSecret, UserId
from gateway.domain.resources import Parameter, Reason, RoutingParameter, Skill
from gateway.domain.upstream import Attached, Feature, FunctionName, Part, Source

TargetState = Literal["available", "unavailable", "work", "logged_off"]
OwnTargetState = Literal["available", "unavailable", "work"]
When = Literal["now", "after_contact"]


@dataclass(frozen=True, slots=True)
class SkillChange:
    """One skill to set, or to remove (*level* None); other None fields are not changed."""

    skill_id: str
    level: int | None
    preference: int | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class SetSkills:
    """A supervisor changes an agent's skills: some of them, or all at once."""

    agent_id: str
    changes: tuple[SkillChange, ...]
    mode: Literal["patch", "replace"]
    if_version: int
    """The version that the supervisor saw; another one is a conflict."""
    kind: Literal["agent.skills.set"] = "agent.skills.set"


@dataclass(frozen=True, slots=True)
class SetAgentRoutingState:
    """A supervisor changes another user's routing state."""

    agent_id: str
    state: TargetState
    reason_id: str | None = None
    when: When = "now"
    kind: Literal["agent.routing_state.set"] = "agent.routing_state.set"


@dataclass(frozen=True, slots=True)
class SetQueueParameters:
    """A supervisor changes routing parameters of a queue."""

    queue_id: str
    changes: Mapping[str, Parameter]
    if_version: int
    kind: Literal["queue.routing_parameters.set"] = "queue.routing_parameters.set"


@dataclass(frozen=True, slots=True)
class SetGroupParameters:
    """A supervisor changes routing parameters of a group."""

    group_id: str
    changes: Mapping[str, Parameter]
    if_version: int
    kind: Literal["group.routing_parameters.set"] = "group.routing_parameters.set"


@dataclass(frozen=True, slots=True)
class SetRoutingState:
    """An agent changes their own routing state; there is no agent id, so it cannot name another agent."""

    state: OwnTargetState
    reason_id: str | None = None
    when: When = "now"
    kind: Literal["routing_state.set"] = "routing_state.set"


@dataclass(frozen=True, slots=True)
class StartPostProcessing:
    """An agent requests post-processing after their contact."""

    kind: Literal["post_processing.start"] = "post_processing.start"


@dataclass(frozen=True, slots=True)
class ExtendPostProcessing:
    """An agent extends post-processing until *until_ms*, gateway wall clock."""

    until_ms: int
    kind: Literal["post_processing.extend"] = "post_processing.extend"


@dataclass(frozen=True, slots=True)
class FinishPostProcessing:
    """An agent ends post-processing: to *next_state*, or else to the pending or the previous state."""

    next_state: OwnTargetState | None = None
    wrap_up_reason_ids: tuple[str, ...] = ()
    kind: Literal["post_processing.finish"] = "post_processing.finish"


@dataclass(frozen=True, slots=True)
class SetAutoPostProcessing:
    """Whether post-processing follows each of an agent's contacts, and for how long."""

    on: bool
    duration_s: int | None = None
    kind: Literal["post_processing.set_auto"] = "post_processing.set_auto"


@dataclass(frozen=True, slots=True, repr=False)
class ChangeRemoteNumber:
    """An agent has their calls routed to another number. Its repr shows nothing."""

    number: str
    kind: Literal["remote_number.change"] = "remote_number.change"


@dataclass(frozen=True, slots=True)
class AcknowledgeNotice:
    """A user has read a notice; their token contains this from now on. OSCC-E is not involved."""

    notice_id: str
    version: int
    kind: Literal["notices.acknowledge"] = "notices.acknowledge"


Command = (
    SetSkills
    | SetAgentRoutingState
    | SetQueueParameters
    | SetGroupParameters
    | SetRoutingState
    | StartPostProcessing
    | ExtendPostProcessing
    | FinishPostProcessing
    | SetAutoPostProcessing
    | ChangeRemoteNumber
    | AcknowledgeNotice
)


@dataclass(frozen=True, slots=True)
class CommandRule:
    """The sessions that may send a command, and the functions of OSCC-E that it needs.

    *application* and *right* None: any session may. *functions*: refused while one of them is down.
    *feature*: refused by servers that lack it.
    """

    application: Application | None
    right: Right | None
    functions: tuple[FunctionName, ...] = ()
    feature: Feature | None = None


_ROUTING: Final[tuple[FunctionName, ...]] = ("routing", "realtime")


def _own_post_processing(feature: Feature) -> CommandRule:
    return CommandRule(Application.REMOTE_ASSISTANT, Right.OWN_POST_PROCESSING, _ROUTING, feature)


_PARAMETERS: Final = CommandRule(
    Application.DASHBOARD, Right.ROUTING_PARAMETERS_WRITE, ("administration",), Feature.ROUTING_PARAMETERS
)

RULES: Final[dict[type[Command], CommandRule]] = {
    SetSkills: CommandRule(Application.DASHBOARD, Right.SKILLS_WRITE, ("administration",), Feature.SKILLS),
    SetAgentRoutingState: CommandRule(Application.DASHBOARD, Right.ROUTING_STATE_WRITE, _ROUTING),
    SetQueueParameters: _PARAMETERS,
    SetGroupParameters: _PARAMETERS,
    SetRoutingState: CommandRule(Application.REMOTE_ASSISTANT, Right.OWN_ROUTING_STATE, _ROUTING),
    StartPostProcessing: _own_post_processing(Feature.POST_PROCESSING_START),
    ExtendPostProcessing: _own_post_processing(Feature.POST_PROCESSING_EXTEND),
    FinishPostProcessing: _own_post_processing(Feature.POST_PROCESSING_FINISH),
    SetAutoPostProcessing: _own_post_processing(Feature.POST_PROCESSING_SET_AUTO),
    ChangeRemoteNumber: CommandRule(
        Application.REMOTE_ASSISTANT, None, ("routing", "remote_agent"), Feature.REMOTE_AGENT
    ),
    AcknowledgeNotice: CommandRule(None, None),
}


class Status(enum.StrEnum):
    """Status of an outcome. It is not the state change: that arrives through the mirror."""

    APPLIED = "applied"
    PENDING = "pending"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The one answer to a command. *error* is set when it is rejected or unknown.

    *trace_id*: the recorded trace of its execution, which phones do not get.
    """

    status: Status
    error: GatewayError | None = None
    version: int | None = None
    trace_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """One intended action on its way: *key* identifies it, so that it is executed at most once."""

    key: str
    """A UUID, one per intended action."""
    session: str
    """The handle of the session of the command (:attr:`gateway.domain.model.Ticket.handle`)."""
    command: Command
    stream_epoch: int | None
    """The epoch in force when it was first sent; None when the phone had none."""
    retry: bool
    deadline_ms: int
    """Absolute, gateway wall clock; holds for all hops."""
    waited: bool = False
    """Whether a node delayed it before it reached an owner with an open link: the phone may have sent it
    again by another node since.
    """


def unknown(code: ErrorCode) -> Outcome:
    """Return the outcome of a command that may have been executed."""
    message = "It may have been executed. Check the state, then retry with a new key."
    return Outcome(Status.UNKNOWN, GatewayError(code, message))


def rejected(code: ErrorCode, message: str) -> Outcome:
    """Return the outcome of a command that was not executed."""
    return Outcome(Status.REJECTED, GatewayError(code, message))


RETRY_S: Final = 4.0
"""How long after its deadline the owner is asked for the outcome of a command."""


def patience_s(call: Call, wall_ms: int) -> float:
    """Return how long to ask the user's owner; at least a minimum for a command sent again."""
    left_s = (call.deadline_ms - wall_ms) / 1000
    return max(left_s, RETRY_S) if call.retry else left_s


def not_begun(call: Call, code: ErrorCode, why: str) -> Outcome:
    """Return the outcome of a command that was sent to no node.

    A command that is sent again may have been executed when it was sent first.
    """
    if call.retry:
        message = "Outcome unknown: the owner is unreachable. Check the state, then retry with a new key."
        return Outcome(Status.UNKNOWN, GatewayError(ErrorCode.OWNER_LOST, message))
    return rejected(code, why)


class Remembered(msgspec.Struct, frozen=True, array_like=True):
    """One outcome on its way to the next owner; it has the time left, not an instant.

    Like :class:`History` it is a list on the wire; nodes ignore what later versions add at its end.
    """

    key: str
    body_hash: bytes
    outcome: Outcome
    left_s: float


class History(msgspec.Struct, frozen=True, array_like=True):
    """All commands that a giving owner has records of: every outcome since epoch *since*."""

    since: int
    blind_s: float
    """How long a missing key proves nothing."""
    outcomes: tuple[Remembered, ...]
    numbers_changed: tuple[float, ...] = ()
    """Seconds since each change of the remote number that counts, the oldest first."""


@dataclass(frozen=True, slots=True, repr=False)
class AttachSession:
    """Attach a further session of the user. Answer: :class:`Attached`."""

    secret: SessionSecret


@dataclass(frozen=True, slots=True)
class DetachSession:
    """Detach a session from this link without ending it. Answer: None."""

    alias: int


@dataclass(frozen=True, slots=True)
class Presence:
    """Report whether a device of the session is connected. Answer: None."""

    alias: int
    present: bool


@dataclass(frozen=True, slots=True)
class Listen:
    """Request parts of one *kind* and *source*; *numbers* None means all in the union of scopes.

    ``Listen(None, CONFIGURATION, None)`` and ``Listen(None, DIRECTORY, None)`` (live directory, scope and
    catalogue changes) cover all kinds. Answer: :class:`Listening`.
    """

    kind: Kind | None
    source: Source
    numbers: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class StopListening:
    """End a query. Answer: None."""

    query: int


@dataclass(frozen=True, slots=True)
class QueryDirectory:
    """Request all directory objects and catalogues in the union of scopes. Answer: :class:`Directory`."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """End a silence of the link. Answer: :class:`Alive`, or None from a server that sends no time."""


@dataclass(frozen=True, slots=True)
class Execute:
    """Execute *command* for the session. Answer: :class:`Executed`."""

    alias: int
    command: Command
    key: str
    not_after_ms: int
    """Server clock."""


LinkRequest = (
    AttachSession | DetachSession | Presence | Listen | StopListening | QueryDirectory | KeepAlive | Execute
)


# ---- answers ----


@dataclass(frozen=True, slots=True)
class Listening:
    """A query runs; its first complete reading follows."""

    query: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows of one kind of the directory that were left out for one reason."""

    kind: str
    """The server's name of the kind."""
    why: str
    """A field and its fault; never a value."""
    rows: int


@dataclass(frozen=True, slots=True)
class Directory:
    """All directory objects that the attached sessions may see, and the catalogues."""

    parts: tuple[Part, ...]
    skills: tuple[Skill, ...]
    reasons: tuple[Reason, ...]
    parameters: tuple[RoutingParameter, ...]
    dropped: tuple[Dropped, ...] = ()
    """The rows that could not be read."""


@dataclass(frozen=True, slots=True)
class Executed:
    """The server's answer to a command; its effect arrived before. *trace_id*: its recorded trace."""

    state: Literal["applied", "pending", "unchanged"]
    version: int | None = None
    trace_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Alive:
    """The server's time when it answered a keep-alive."""

    time_ms: int


LinkAnswer = Attached | Listening | Directory | Executed | Alive | None


# ---- audit records ----


class UserHash(str):
    """A user's keyed hash, where the user is unknown."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class NumberAct:
    """Calls were routed to a remote number, or routing was requested."""

    user: UserId
    session: SessionId
    act: Literal["log_on", "change"]
    """Where the number came from: a log-on, or a change while logged on."""
    number: str
    """Masked (:func:`gateway.domain.model.masked`)."""
    result: str
    """A status or an error code."""


@dataclass(frozen=True, slots=True)
class OperatorAct:
    """An operator requested an operation, or tried to."""

    act: str
    subject: str | None
    """A user's keyed hash, or the hash of a session's public id."""
    node: str | None
    """The addressed node."""
    result: str
    """``ok``, ``not_in_force`` or an error code."""
    status: int
    """The status of the HTTP answer."""
    suppressed: int = 0
    """Refused tries before it that were counted and not recorded one by one."""
    user: UserHash | None = None
    """The user concerned, once a node has found them."""
    act_id: str = ""
    """Drawn for each request; other nodes use the same id for their part."""


@dataclass(frozen=True, slots=True)
class OrderAct:
    """This node carried out the request of an operator at another node."""

    act: str
    act_id: str
    """:attr:`OperatorAct.act_id` of the operator's request."""
    asked_node: str
    """The node that received the request."""
    result: str
    """``ok``, ``not_in_force``, ``not_found`` (it was not here) or an error code."""
    user: UserHash | None = None


Act = NumberAct | OperatorAct | OrderAct
"""Acts with audit records."""
