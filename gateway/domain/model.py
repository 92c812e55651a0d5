"""Identities, positions, states and scopes.

Identities, sessions, scopes and positions. The resources that phones see are in
:mod:`gateway.domain.resources`.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, NewType

NodeId = NewType("NodeId", str)
"""One gateway process, chosen by its operator."""
SessionId = NewType("SessionId", str)
"""OSCC-E's public id of one of a user's sessions; may be shown and listed."""
SessionSecret = NewType("SessionSecret", str)
"""OSCC-E's secret SessionID; lives in sealed tokens and in the owner's memory only."""


class UserId(NamedTuple):
    """One person at one organisation's site. Everything of the gateway is keyed by it."""

    site: str
    key: int
    """OSCC-E's Key of the user."""


class Application(enum.StrEnum):
    """Which of the two apps a session belongs to."""

    DASHBOARD = "dashboard"
    REMOTE_ASSISTANT = "remote_assistant"


class Right(enum.StrEnum):
    """What a session may do, as OSCC-E granted it."""

    SKILLS_WRITE = "skills_write"
    ROUTING_STATE_WRITE = "routing_state_write"
    ROUTING_PARAMETERS_WRITE = "routing_parameters_write"
    OWN_ROUTING_STATE = "own_routing_state"
    OWN_POST_PROCESSING = "own_post_processing"


class Kind(enum.StrEnum):
    """Kinds of resources that have ids. The value is the prefix of their keys."""

    __hash__ = str.__hash__  # an enumeration's own is a call of Python, and each update needs some

    AGENT = "agent"
    QUEUE = "queue"
    GROUP = "group"
    AGGREGATE = "aggregate"


TOPIC_OF_KIND: Final[dict[Kind, str]] = {
    Kind.AGENT: "agents",
    Kind.QUEUE: "queues",
    Kind.GROUP: "groups",
    Kind.AGGREGATE: "aggregates",
}
KIND_OF_TOPIC: Final[dict[str, Kind]] = {topic: kind for kind, topic in TOPIC_OF_KIND.items()}

DEFAULT_TOPICS: Final[dict[Application, tuple[str, ...]]] = {
    Application.DASHBOARD: ("agents", "queues", "groups", "aggregates"),
    Application.REMOTE_ASSISTANT: ("agents", "queues"),
}

ME: Final = "me"
SITE: Final = "site"
SKILLS: Final = "catalogue:skills"
REASONS: Final = "catalogue:reasons"
ROUTING_PARAMETERS: Final = "catalogue:routing_parameters"
ALWAYS: Final = frozenset({SITE, SKILLS, REASONS, ROUTING_PARAMETERS})
"""Keys that every session of a user sees; `me` is seen too, each session its own."""


def key_of(kind: Kind, number: int) -> str:
    """Return the key of a resource, for example ``agent:5``."""
    return f"{kind}:{number}"


def parse_key(key: str) -> tuple[Kind, int] | None:
    """Split a resource's key into kind and number; None when it is no such key.

    Only the one canonical decimal form is accepted, so a key has one spelling.
    """
    prefix, _, number = key.partition(":")
    if prefix not in Kind.__members__.values() or not number.isascii() or not number.isdecimal():
        return None
    if len(number) > 16 or (number[0] == "0" and number != "0"):
        return None
    return Kind(prefix), int(number)


@dataclass(frozen=True, slots=True)
class Scope:
    """The resources that a session may see, as OSCC-E granted them."""

    agents: frozenset[int] = frozenset()
    queues: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    aggregates: frozenset[int] = frozenset()

    def of(self, kind: Kind) -> frozenset[int]:
        """Return the numbers of *kind* in this scope."""
        match kind:
            case Kind.AGENT:
                return self.agents
            case Kind.QUEUE:
                return self.queues
            case Kind.GROUP:
                return self.groups
            case Kind.AGGREGATE:
                return self.aggregates

    @property
    def size(self) -> int:
        """How many resources there are in it."""
        return len(self.agents) + len(self.queues) + len(self.groups) + len(self.aggregates)


class Position(NamedTuple):
    """A place in one user's stream of changes. Positions order lexically."""

    epoch: int
    """The lease token under which the owner writes; the one number that fences everything."""
    seq: int
    """Changes recorded since the epoch began; 0 means none."""


@dataclass(frozen=True, slots=True)
class Device:
    """The phone as it named itself at log-on."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class User:
    """A person as OSCC-E describes him at log-on."""

    id: UserId
    login: str
    display_name: str


@dataclass(frozen=True, slots=True, repr=False)
class Ticket:
    """What a sealed token says: who holds it, and by which OSCC-E session.

    The gateway stores none of it; it lives as long as the request or the connection
    that showed it. Its repr shows no secret.
    """

    user: UserId
    display_name: str
    application: Application
    secret: SessionSecret
    session: SessionId
    device: Device
    notices: tuple[tuple[str, int], ...]
    """Acknowledged notices as (id, version)."""
    issued_at_ms: int
    expires_at_ms: int
    idle_timeout_s: int
    """After how long without a device OSCC-E ends the session; 0 is never."""
    server: str | None = None
    """The OSCC-E Server's instance at the log-on, when it was told."""

    def __repr__(self) -> str:
        return f"Ticket({self.application}, {self.handle})"

    @property
    def handle(self) -> str:
        """A short hash that names this session inside the gateway; safe to keep and to send to nodes."""
        return handle_of(self.user, self.session)


@lru_cache(maxsize=32_768)
def handle_of(user: UserId, session: SessionId) -> str:
    """Return :attr:`Ticket.handle`: asked for at every turn, and kept by all who name the session.

    Of the user as well: sites, and a site that began anew, may give the id of one's session to another's.
    """
    name = f"{user.site}:{user.key}:{session}"
    return hashlib.blake2s(name.encode(), digest_size=8, person=b"session").hexdigest()
