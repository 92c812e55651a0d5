"""Messages of an OSCC-E Server, independent of its wire.

These are the types of the ports in :mod:`gateway.runtime.ports`; :mod:`gateway.domain.commands` has the
requests. An adapter maps the names of its wire to these types, and no floor above it uses those names.
Instants are ms since 1970: of the link in the *server's* clock, of log-on and log-off in the gateway's.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.domain.errors import EndReason
from gateway.domain.model import (
    Application,
    Device,
    Kind,
    Right,
    Scope,
    SessionId,
    SessionSecret,
    User,
    value,
)
from gateway.domain.resources import (
    Agent,
    Aggregate,
    FunctionState,
    Group,
    LastEnd,
    Queue,
    QueueEntry,
    QueueFigures,
    QueueWindow,
)


class Feature(enum.StrEnum):
    """Optional abilities of a server; a missing one is not offered."""

    SKILLS = "skills"
    ROUTING_PARAMETERS = "routing_parameters"
    POST_PROCESSING_START = "post_processing.start"
    POST_PROCESSING_EXTEND = "post_processing.extend"
    POST_PROCESSING_FINISH = "post_processing.finish"
    POST_PROCESSING_SET_AUTO = "post_processing.set_auto"
    REMOTE_AGENT = "remote_agent"
    LINK_FENCING = "link_fencing"
    REQUEST_KEYS = "request_keys"


@dataclass(frozen=True, slots=True)
class About:
    """Identity and features of a server; the adapter has checked the versions."""

    extensions_version: str
    contact_center_version: str
    features: frozenset[Feature]
    server: str | None = None
    """The server's instance, if it sends one: it changes at a restart, which loses all sessions."""


# ---- log-on and log-off (request and response) ----


@dataclass(frozen=True, slots=True, repr=False)
class LogOn:
    """Credentials on their way to OSCC-E. They live for one request; their repr shows nothing."""

    application: Application
    user_name: str
    password: str
    device: Device
    remote_number: str | None = None
    takeover: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class LoggedOn:
    """A session that OSCC-E has opened."""

    secret: SessionSecret
    session: SessionId
    expires_at_ms: int
    idle_timeout_s: int
    user: User
    remote_number: str | None
    """The number in effect."""
    server: str | None = None
    """The server's instance, if it sends one."""


@dataclass(frozen=True, slots=True)
class LoggedOff:
    """OSCC-E's report on a session's end: whether calls are still routed to the remote number."""

    routing: Literal["removed", "after_contact", "none"]
    routed_until_ms: int | None


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One of a user's sessions in OSCC-E's list."""

    session: SessionId
    application: Application
    device: Device
    since_ms: int
    attached: bool


# ---- the link ----


class Source(enum.StrEnum):
    """The part of a resource that a message has."""

    __hash__ = str.__hash__  # see Kind

    DIRECTORY = "directory"
    REALTIME = "realtime"
    CUMULATIVE = "cumulative"
    CONFIGURATION = "configuration"


SOURCES: Final = tuple(Source)
PLACES: Final = {source: place for place, source in enumerate(SOURCES)}
"""The place of each source among all."""


PartValue = Agent | Queue | QueueEntry | QueueFigures | QueueWindow | Group | Aggregate
"""The fields of one source; all others have their defaults."""


@value(eq=False)
class Part:
    """One piece of one resource, from one server message. Links that received the same bytes share it."""

    kind: Kind
    number: int
    source: Source
    value: PartValue
    remote_number: str | None = field(default=None, repr=False)
    """Only in the own agent's realtime part."""
    time_ms: int = 0
    """The server's time of the message."""


@dataclass(frozen=True, slots=True)
class Attached:
    """OSCC-E has accepted a session on this link."""

    alias: int
    session: SessionId
    application: Application | None
    """The server's alias; None: the gateway has no name for it, and the caller has the session."""
    rights: frozenset[Right]
    scope: Scope
    own_agent: int | None


@dataclass(frozen=True, slots=True)
class Opened:
    """The link is open; always its first message."""

    time_ms: int
    keep_alive_s: float
    user: User
    attached: Attached
    last_end: LastEnd | None
    server: str | None = None
    """The server's instance, if it sends one."""


@value(frozen=False)
class Reading:
    """Parts of one kind and source, read at *time_ms*.

    *complete*: the whole set of the query. A user missing in a complete realtime set is logged off; missing
    objects of other kinds are gone. *removed* lists single ones.
    """

    query: int
    kind: Kind | None
    """None for configuration, which covers several kinds."""
    source: Source
    time_ms: int
    complete: bool
    parts: tuple[Part, ...]
    removed: tuple[int, ...] = ()
    steps: list[object] | None = field(default_factory=list, compare=False, repr=False)
    """The :class:`gateway.core.element.ReadingStep` that it caused for links that received its bytes.
    None for a single part that only one link is known to have received.
    """


@dataclass(frozen=True, slots=True)
class ObjectChanged:
    """A directory object was added, changed (with its *part*) or removed (without)."""

    kind: Kind
    number: int
    part: Part | None


@dataclass(frozen=True, slots=True)
class CatalogueChanged:
    """Skills, reasons or routing parameters changed: query them again."""


@dataclass(frozen=True, slots=True)
class ScopeChanged:
    """A session's rights or scope changed in place."""

    alias: int
    rights: frozenset[Right]
    scope: Scope


FunctionName = Literal[
    "realtime",
    "historical",
    "routing",
    "administration",
    "voice",
    "email",
    "callback",
    "web_collaboration",
    "remote_agent",
]


@dataclass(frozen=True, slots=True)
class FunctionChanged:
    """A function of the server went up or down."""

    function: FunctionName
    state: FunctionState


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """OSCC-E ended a session."""

    alias: int
    reason: EndReason
    by: str | None


@dataclass(frozen=True, slots=True)
class LinkReplaced:
    """Another link with *token* replaced this one; the link is closed."""

    token: int


Category = Literal["privacy", "security", "maintenance"]


@dataclass(frozen=True, slots=True)
class Announced:
    """A notice of the server for users: shown at once, stored nowhere."""

    id: str
    version: int
    category: Category
    title: str
    summary: str
    link: str | None
    effective_at_ms: int | None


LinkEvent = (
    Opened
    | Reading
    | ObjectChanged
    | CatalogueChanged
    | ScopeChanged
    | FunctionChanged
    | SessionEnded
    | LinkReplaced
    | Announced
)


Trouble = Literal["dns", "refused", "tls", "timeout", "connection", "unreadable", "status", "other"]
"""Why no usable answer came: unknown name, connection refused, certificate or protocol not accepted,
timeout, broken connection or no route, an answer that is not that of an OSCC-E Server, an HTTP status, or
unknown.
"""


class UnreachedError(Exception):
    """No usable answer came; this is the cause of the reported error. Its text has no value."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble)
        self.trouble: Trouble = trouble


def trouble_of(error: BaseException) -> Trouble:
    """Return why no usable answer came, from the causes of *error*."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnreachedError):
            return cause.trouble
        cause = cause.__cause__
    return "other"


class LinkClosed(Exception):  # noqa: N818 - names what happened, as asyncio.CancelledError's kin do
    """The link is gone. Unanswered requests may have taken effect.

    Args:
        reason: ``session_unknown``, ``stale`` (another holder's token is higher), ``unavailable``,
            ``version_unsupported``, ``unfenced`` or ``lost``.
        token: The highest token, when *reason* is ``stale``.
        retry_after_s: The wait before the next dial that the server requested.
        is_unsent: Whether the request was certainly not sent.
    """

    def __init__(
        self,
        reason: Literal["session_unknown", "stale", "unavailable", "version_unsupported", "lost"],
        *,
        token: int | None = None,
        retry_after_s: float | None = None,
        is_unsent: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.token = token
        self.retry_after_s = retry_after_s
        self.is_unsent = is_unsent
