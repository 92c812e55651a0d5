"""Objects of a contact centre.

Data only; the rules stand in :mod:`routing`, :mod:`contact_center` and their neighbours.
Instants are ms of the centre's clock. What never changes is frozen.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

Json = dict[str, object]
"""A JSON object on its way to or from the wire."""

Value = bool | int | float | str | None
"""The value of a routing parameter."""

RoutingState = Literal["Available", "Unavailable", "Work"]
TargetState = Literal["Available", "Unavailable", "Work", "LoggedOff"]
By = Literal["Self", "Supervisor", "System"]
Media = Literal["Voice", "Email", "Callback", "WebCollaboration", "OpenMedia"]
ContactState = Literal["Pending", "Ringing", "Talking", "Holding", "Consulting"]
ReasonKind = Literal["UnavailableReason", "WorkReason", "PostProcessingReason", "WrapupReason"]

TARGET_STATES: Final[tuple[TargetState, ...]] = ("Available", "Unavailable", "Work", "LoggedOff")
MEDIA: Final[tuple[Media, ...]] = ("Voice", "Email", "Callback", "WebCollaboration", "OpenMedia")
CONTACT_STATES: Final[tuple[ContactState, ...]] = ("Pending", "Ringing", "Talking", "Holding", "Consulting")


@dataclass(frozen=True, slots=True)
class Skill:
    """What an agent may be able to do, and the bounds of level and preference."""

    key: int
    name: str
    level_min: int = 1
    level_max: int = 100
    preference_min: int = 1
    preference_max: int = 10


@dataclass(frozen=True, slots=True)
class AgentSkill:
    """How well one agent does it."""

    level: int
    preference: int = 5
    active: bool = True


@dataclass(frozen=True, slots=True)
class Reason:
    """Why somebody is unavailable, works, post-processes or wraps up."""

    key: int
    name: str
    kind: ReasonKind
    required_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Several queues seen as one."""

    key: int
    name: str
    queue_keys: tuple[int, ...]


@dataclass(slots=True)
class Contact:
    """One customer. In a queue until *agent_key* is set."""

    call_id: str
    media: Media
    queue_key: int | None
    arrived_ms: int
    since_ms: int
    state: ContactState = "Pending"
    direct: bool = False
    answered_ms: int | None = None
    agent_key: int | None = None
    driven: bool = False
    """A test holds its strings: nothing happens to it by itself."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What happened at a queue since *window_start_ms*."""

    window_start_ms: int
    received: int = 0
    answered: int = 0
    within_threshold: int = 0
    abandoned: int = 0
    wait_total_ms: int = 0
    wait_max_ms: int = 0


@dataclass(frozen=True, slots=True)
class UserCounters:
    """What an agent did since *window_start_ms*."""

    window_start_ms: int
    handled: int = 0
    talk_ms: int = 0


@dataclass(slots=True)
class Queue:
    """Contacts of one medium that wait for agents of one skill, oldest first."""

    key: int
    name: str
    media: Media
    skill_key: int
    level_min: int
    parameters: dict[str, Value]
    counters: Counters
    version: int = 1
    waiting: deque[Contact] = field(default_factory=deque)


@dataclass(slots=True)
class Group:
    """Agents under one supervisor."""

    key: int
    name: str
    parameters: dict[str, Value]
    version: int = 1


@dataclass(frozen=True, slots=True)
class Pending:
    """The state that an agent enters once handling is empty."""

    state: TargetState
    reason_key: int | None
    by: By
    by_name: str | None = None


@dataclass(frozen=True, slots=True)
class PostProcessing:
    """Work after a contact, until *ends_ms* (None: until finished)."""

    call_id: str
    media: Media
    queue_key: int | None
    direct: bool
    since_ms: int
    ends_ms: int
    limit_ms: int


@dataclass(frozen=True, slots=True)
class AutoPostProcessing:
    """Does post-processing follow each contact by itself, and for how long?"""

    on: bool = False
    duration_s: int = 30


@dataclass(frozen=True, slots=True)
class Remote:
    """An agent who works at *number* by a RemoteAssistant session.

    *routed_until_ms* is set once the session has ended during a contact: the latest instant of the routing.
    """

    number: str
    present: bool = False
    absent_since_ms: int | None = None
    routed_until_ms: int | None = None


@dataclass(slots=True)
class Agent:
    """A person who handles contacts, and everything that is true of him now.

    Invariant: logged off ⇒ no contacts, no post-processing, nothing pending, not remote.
    """

    key: int
    user_id: str
    first_name: str
    last_name: str
    extension: str
    group_keys: tuple[int, ...]
    skills: dict[int, AgentSkill]
    counters: UserCounters
    version: int = 1
    logged_on: bool = False
    state: RoutingState = "Unavailable"
    since_ms: int = 0
    reason_key: int | None = None
    pending: Pending | None = None
    contacts: list[Contact] = field(default_factory=list)
    post: PostProcessing | None = None
    post_wanted_s: float | None = None
    """Post-processing of this length is to follow the present contact."""
    last_contact: Contact | None = None
    last_contact_ms: int = 0
    unprocessed: Contact | None = None
    """The last contact that he talked to and that is over, for which no post-processing has begun; None
    once handling is empty."""
    auto: AutoPostProcessing = field(default_factory=AutoPostProcessing)
    remote: Remote | None = None
    retired: bool = False
    """Once logged on remotely, an agent does not return to his desk by himself."""

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}"

    @property
    def handling(self) -> bool:
        """Is there any handling state? Post-processing is one."""
        return bool(self.contacts) or self.post is not None

    @property
    def idle(self) -> bool:
        """May a contact be given to him?"""
        return self.logged_on and self.state == "Available" and not self.handling and self.pending is None


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects a session may see."""

    users: frozenset[int] = frozenset()
    queues: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    aggregates: frozenset[int] = frozenset()

    def __or__(self, other: Scope) -> Scope:
        """Unite, keeping the very sets where nothing is gained: equal scopes stay one object."""
        return Scope(
            _union(self.users, other.users),
            _union(self.queues, other.queues),
            _union(self.groups, other.groups),
            _union(self.aggregates, other.aggregates),
        )

    @property
    def keys(self) -> frozenset[int]:
        """All keys; they are unique over all kinds of objects."""
        return self.users | self.queues | self.groups | self.aggregates


def _union(one: frozenset[int], other: frozenset[int]) -> frozenset[int]:
    if other <= one:
        return one
    return other if one <= other else one | other
