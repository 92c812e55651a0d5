"""Objects, counters and changes of a simulated contact centre. Data only.

The rules are in :mod:`routing`, :mod:`contact_center` and the modules beside them. Instants are ms of the
centre's clock. Immutable data is frozen.
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from gateway.simulator.fields import Refused
from gateway.simulator.settings import ALL_FEATURES

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
    """An ability of agents, and the bounds of level and preference."""

    key: int
    name: str
    level_min: int = 1
    level_max: int = 100
    preference_min: int = 1
    preference_max: int = 10


@dataclass(frozen=True, slots=True)
class AgentSkill:
    """How well one agent has a skill."""

    level: int
    preference: int = 5
    active: bool = True


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an agent is unavailable, works, post-processes or wraps up."""

    key: int
    name: str
    kind: ReasonKind
    required_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Several queues as one."""

    key: int
    name: str
    queue_keys: tuple[int, ...]


@dataclass(slots=True)
class Contact:
    """One contact. In a queue until *agent_key* is set."""

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
    """A test controls it: it has no random events."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Counts of a queue since *window_start_ms*."""

    window_start_ms: int
    received: int = 0
    answered: int = 0
    within_threshold: int = 0
    abandoned: int = 0
    wait_total_ms: int = 0
    wait_max_ms: int = 0


@dataclass(frozen=True, slots=True)
class UserCounters:
    """Counts of an agent since *window_start_ms*."""

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
    """Whether post-processing follows each contact, and for how long."""

    on: bool = False
    duration_s: int = 30


@dataclass(frozen=True, slots=True)
class Remote:
    """An agent who works at *number* in a RemoteAssistant session.

    *routed_until_ms* is set once the session has ended during a contact: the latest end of the routing.
    """

    number: str
    present: bool = False
    absent_since_ms: int | None = None
    routed_until_ms: int | None = None


@dataclass(slots=True)
class Agent:
    """A person who handles contacts, and their present state.

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
    state_by: By = "Self"
    """Who set the routing state."""
    pending: Pending | None = None
    contacts: list[Contact] = field(default_factory=list)
    post: PostProcessing | None = None
    post_wanted_s: float | None = None
    """Post-processing of this length is to follow the present contact."""
    last_contact: Contact | None = None
    last_contact_ms: int = 0
    unprocessed: Contact | None = None
    """The last finished contact that they talked to and whose post-processing has not begun; None once
    handling is empty.
    """
    auto: AutoPostProcessing = field(default_factory=AutoPostProcessing)
    remote: Remote | None = None
    retired: bool = False
    """After a remote log-on, an agent does not log on at the desk by a random event."""

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}"

    @property
    def handling(self) -> bool:
        """Whether there is any handling state, post-processing included."""
        return bool(self.contacts) or self.post is not None

    @property
    def idle(self) -> bool:
        """Whether a contact may be given to them."""
        return self.logged_on and self.state == "Available" and not self.handling and self.pending is None


@dataclass(frozen=True, slots=True)
class Scope:
    """The objects that a session may see."""

    users: frozenset[int] = frozenset()
    queues: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    aggregates: frozenset[int] = frozenset()

    def __or__(self, other: Scope) -> Scope:
        """Return the union, with unchanged sets as the same objects: equal scopes stay one object."""
        return Scope(
            _union(self.users, other.users),
            _union(self.queues, other.queues),
            _union(self.groups, other.groups),
            _union(self.aggregates, other.aggregates),
        )

    def __contains__(self, key: int) -> bool:
        """Return whether the object may be seen."""
        return key in self.queues or key in self.users or key in self.groups or key in self.aggregates

    @property
    def keys(self) -> frozenset[int]:
        """All keys; they are unique over all kinds of objects."""
        return self.users | self.queues | self.groups | self.aggregates


def _union(one: frozenset[int], other: frozenset[int]) -> frozenset[int]:
    if other <= one:
        return one
    return other if one <= other else one | other


SERVICE_LEVEL_FORMULA = "AnsweredWithinThreshold/(Answered+Abandoned)"


def received(counters: Counters) -> Counters:
    """Count a contact that arrived at the queue."""
    return replace(counters, received=counters.received + 1)


def answered(counters: Counters, wait_ms: int, threshold_s: float) -> Counters:
    """Count a contact that was answered after *wait_ms*."""
    return replace(
        counters,
        answered=counters.answered + 1,
        within_threshold=counters.within_threshold + (wait_ms <= threshold_s * 1000),
        wait_total_ms=counters.wait_total_ms + wait_ms,
        wait_max_ms=max(counters.wait_max_ms, wait_ms),
    )


def abandoned(counters: Counters, wait_ms: int) -> Counters:
    """Count a contact that hung up after *wait_ms*."""
    return replace(
        counters,
        abandoned=counters.abandoned + 1,
        wait_max_ms=max(counters.wait_max_ms, wait_ms),
    )


def handled(counters: UserCounters, talk_ms: int) -> UserCounters:
    """Count a contact that an agent handled."""
    return replace(counters, handled=counters.handled + 1, talk_ms=counters.talk_ms + talk_ms)


def service_level(within: int, answered_: int, abandoned_: int) -> float | None:
    """Return the percentage answered in time; None without any to answer."""
    finished = answered_ + abandoned_
    return round(100 * within / finished, 1) if finished else None


def abandoned_rate(counters: Counters) -> float | None:
    """Return the percentage of finished contacts that hung up; None without a finished one."""
    finished = counters.answered + counters.abandoned
    return round(100 * counters.abandoned / finished, 1) if finished else None


def average_wait_s(counters: Counters) -> float | None:
    """Return the mean wait of answered contacts in seconds; None while none was answered."""
    return round(counters.wait_total_ms / counters.answered / 1000, 1) if counters.answered else None


def midnight_before(now_ms: int, zone: str) -> int:
    """Return the local midnight at or before *now_ms*."""
    return _ms(_midnight(now_ms, zone))


def midnight_after(now_ms: int, zone: str) -> int:
    """Return the local midnight after *now_ms*."""
    return _ms(_midnight(now_ms, zone) + timedelta(days=1))


def _midnight(now_ms: int, zone: str) -> datetime:
    local = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def _ms(instant: datetime) -> int:
    return round(instant.astimezone(UTC).timestamp() * 1000)


class Schedule:
    """Events in the order of their instants; equal ones in the order of planning.

    An outdated event is not removed: when it happens, it does nothing.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        """Return the number of planned events."""
        return len(self._heap)

    @property
    def next_ms(self) -> int | None:
        """When the next event is due."""
        return self._heap[0][0] if self._heap else None

    def plan(self, due_ms: int, happening: Callable[[], None]) -> None:
        """Plan *happening* for *due_ms*."""
        heapq.heappush(self._heap, (due_ms, next(self._order), happening))

    def happen(self) -> int:
        """Let the next event happen; return its instant."""
        due_ms, _, happening = heapq.heappop(self._heap)
        happening()
        return due_ms

    def shift(self, by_ms: int) -> None:
        """Delay all events by the same time."""
        self._heap = [(due_ms + by_ms, order, happening) for due_ms, order, happening in self._heap]


class Kind(enum.StrEnum):
    """The event types that carry elements with keys."""

    USER = "UserRealtime"
    QUEUE = "QueueRealtime"
    GROUP = "GroupRealtime"
    AGGREGATE = "AggregateRealtime"
    QUEUE_CUMULATIVE = "QueueCumulative"
    USER_CUMULATIVE = "UserCumulative"
    CONFIGURATION = "Configuration"


@dataclass(slots=True)
class Changes:
    """Keys by kind. *own*: users for whom only the fields of their own session changed.

    Invariant: bounded by the number of objects; a key that changed twice is there once.
    """

    keys: dict[Kind, set[int]] = field(default_factory=lambda: {kind: set() for kind in Kind})
    own: set[int] = field(default_factory=set)

    def add(self, kind: Kind, keys: Iterable[int]) -> None:
        """Add changed elements."""
        self.keys[kind].update(keys)

    def discard(self, other: Changes) -> None:
        """Remove the changes in *other*, which were read since."""
        for kind, keys in other.keys.items():
            self.keys[kind] -= keys
        self.own -= other.own

    def __len__(self) -> int:
        """Return the number of changed elements."""
        return sum(map(len, self.keys.values())) + len(self.own)

    def __iter__(self) -> Iterator[Kind]:
        """Return the kinds with changes."""
        return (kind for kind, keys in self.keys.items() if keys or (kind is Kind.USER and self.own))


REMEMBERED_MS = 600_000
REMEMBERED_MOST = 50_000
"""First responses that are kept for repeated ``RequestKey``s; the oldest is removed first."""


@dataclass(slots=True)
class FirstResponses:
    """Responses by session and ``RequestKey``, for ten minutes."""

    _kept: OrderedDict[tuple[str, str], tuple[int, Json]] = field(default_factory=OrderedDict)

    def get(self, at: tuple[str, str], now_ms: int) -> Json | None:
        """Return the first response, if it is not too old."""
        while self._kept and now_ms - next(iter(self._kept.values()))[0] >= REMEMBERED_MS:
            self._kept.popitem(last=False)
        found = self._kept.get(at)
        return None if found is None else found[1]

    def put(self, at: tuple[str, str], now_ms: int, response: Json) -> None:
        """Keep the first response."""
        self._kept[at] = (now_ms, response)
        if len(self._kept) > REMEMBERED_MOST:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Remove all responses."""
        self._kept.clear()


@dataclass(slots=True)
class About:
    """Versions and features, as offered and as enforced."""

    extensions_version: str = "V2R1"
    contact_center_version: str = "V8R2"
    features: set[str] = field(default_factory=lambda: set(ALL_FEATURES))

    def need(self, feature: str) -> None:
        """Return only with *feature*.

        Raises:
            Refused: ``Unsupported``.
        """
        if feature not in self.features:
            raise Refused("Unsupported")

    def as_json(self) -> Json:
        """Return the answer of ``GET /oscce/v1/about``; features in the page's order."""
        known = [feature for feature in ALL_FEATURES if feature in self.features]
        return {
            "Product": "OSCC-E",
            "ExtensionsVersion": self.extensions_version,
            "ContactCenterVersion": self.contact_center_version,
            "Protocol": 1,
            "Features": known + sorted(self.features.difference(ALL_FEATURES)),
        }
